package dag

import (
	"slices"

	"isoline.dev/isoline/manifest"
)

// Support is what is in effect of one kind of object.
type Support struct {
	Kind string
	// Fields are paths with "[]" for lists, such as "spec.routes[].conditions".
	// The whole subtree of each is in effect.
	Fields []string
	// Annotations are in effect, Unsupported have a meaning that is not given.
	Annotations, Unsupported []string
}

// Supported lists what is in effect, by kind. What is neither here nor
// reported as a problem when it is set is not part of the routing API.
func Supported() []Support {
	class := []string{"kubernetes.io/ingress.class", "projectcontour.io/ingress.class"}
	return []Support{
		{Kind: manifest.HTTPProxy, Fields: slices.Clone(proxyFields.supported), Annotations: append(class, includedBy)},
		{Kind: manifest.TLSCertificateDelegation, Fields: []string{"spec.delegations"}},
		{Kind: manifest.ExtensionService},
		annotated(manifest.Ingress, slices.Clone(ingressFields.supported), append([]string{
			"ingress.kubernetes.io/force-ssl-redirect",
			"kubernetes.io/ingress.allow-http",
			"projectcontour.io/num-retries",
			"projectcontour.io/per-try-timeout",
			"projectcontour.io/request-timeout",
			"projectcontour.io/response-timeout",
			"projectcontour.io/retry-on",
			"projectcontour.io/tls-cert-namespace",
			"projectcontour.io/tls-maximum-protocol-version",
			"projectcontour.io/tls-minimum-protocol-version",
			"projectcontour.io/websocket-routes",
		}, class...), ingressAnnotations),
		annotated(manifest.Service, nil, []string{
			"projectcontour.io/max-connections",
			"projectcontour.io/max-pending-requests",
			"projectcontour.io/max-requests",
			"projectcontour.io/max-retries",
			"projectcontour.io/per-host-max-connections",
			"projectcontour.io/upstream-protocol.h2",
			"projectcontour.io/upstream-protocol.h2c",
			"projectcontour.io/upstream-protocol.tls",
		}, nil),
	}
}

// annotated splits the annotations of the API into those in effect and not.
func annotated(kind string, fields, known, unsupported []string) Support {
	s := Support{Kind: kind, Fields: fields}
	slices.Sort(known)
	for _, name := range known {
		if slices.Contains(unsupported, name) {
			s.Unsupported = append(s.Unsupported, name)
		} else {
			s.Annotations = append(s.Annotations, name)
		}
	}
	return s
}
