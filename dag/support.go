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
	// Refused are fields within Fields that are a problem wherever they are set.
	Refused []string
	// Annotations are in effect, sorted.
	Annotations []string
}

// Supported lists what is in effect, by kind. What is neither here nor
// reported as a problem when it is set is not part of the routing API.
func Supported() []Support {
	return []Support{
		{Kind: manifest.HTTPProxy, Fields: slices.Clone(proxyFields.supported),
			Refused: []string{
				"spec.includes[].conditions[].exact",
				"spec.includes[].conditions[].regex",
				"spec.tcpproxy.loadBalancerPolicy.requestHashPolicies",
				"spec.tcpproxy.services[].cookieRewritePolicies",
				"spec.tcpproxy.services[].mirror",
				"spec.tcpproxy.services[].requestHeadersPolicy",
				"spec.tcpproxy.services[].responseHeadersPolicy",
				"spec.tcpproxy.services[].slowStartPolicy",
			},
			Annotations: knownAnnotations(manifest.HTTPProxy)},
		{Kind: manifest.TLSCertificateDelegation, Fields: []string{"spec.delegations"}},
		{Kind: manifest.ExtensionService, Fields: []string{"spec"}},
		{Kind: manifest.Ingress, Fields: slices.Clone(ingressFields.supported),
			Refused:     []string{"spec.defaultBackend.resource", "spec.rules[].http.paths[].backend.resource"},
			Annotations: knownAnnotations(manifest.Ingress)},
		{Kind: manifest.Service, Annotations: knownAnnotations(manifest.Service)},
	}
}
