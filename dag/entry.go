package dag

import (
	"regexp"
	"slices"
	"strings"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
	contourv1alpha1 "github.com/projectcontour/contour/apis/projectcontour/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

// entry is one object with all that can be said of it alone. At most one of
// the typed values is set; none for kinds that the graph does not read yet.
type entry struct {
	object  *manifest.Object
	proxy   *contourv1.HTTPProxy
	ingress *networkingv1.Ingress
	service *corev1.Service
	slice   *discoveryv1.EndpointSlice
	secret  *secretContent
	// extension is a gRPC service that Envoy asks about requests.
	extension *contourv1alpha1.ExtensionService
	// delegation lets other namespaces refer to Secrets of its own.
	delegation *contourv1.TLSCertificateDelegation
	// breakers are what a Service's annotations say.
	breakers CircuitBreakers
	// ignored: the object is of another ingress class, or outside the watched
	// namespaces, and takes no part.
	ignored bool
	// claims are the hosts that the object wants to serve, sorted.
	claims []string
	// problems are those that follow from the object alone.
	problems []problem.Problem
	// consent is who may include an HTTPProxy; nil for anybody.
	consent *consent
	// paths are an Ingress's paths by host, and policy what holds for them all.
	paths  map[string][]ingressPath
	policy *ingressPolicy
}

func newEntry(object *manifest.Object, opts Options) *entry {
	e := &entry{object: object}
	if len(opts.WatchNamespaces) > 0 && !slices.Contains(opts.WatchNamespaces, object.Key.Namespace) {
		e.ignored = true
		return e
	}
	switch v := object.Value.(type) {
	case *contourv1.HTTPProxy:
		if e.ignored = !classMatches(opts.IngressClasses, v.Annotations, v.Spec.IngressClassName); !e.ignored {
			e.proxy = v
			e.readProxy(opts)
		}
	case *networkingv1.Ingress:
		class := ""
		if v.Spec.IngressClassName != nil {
			class = *v.Spec.IngressClassName
		}
		if e.ignored = !classMatches(opts.IngressClasses, v.Annotations, class); !e.ignored {
			e.ingress = v
			e.readIngress(opts.Settings)
		}
	case *contourv1alpha1.ExtensionService:
		e.extension = v
	case *corev1.Service:
		e.service = v
		e.readUnknownAnnotations()
		e.readBreakers()
	case *discoveryv1.EndpointSlice:
		e.slice = v
	case *corev1.Secret:
		e.secret = readSecret(v)
	case *contourv1.TLSCertificateDelegation:
		e.delegation = v
		e.readDelegation()
	}
	return e
}

func (e *entry) key() manifest.Key { return e.object.Key }

// report adds a problem of the object itself.
func (e *entry) report(p problem.Problem) { e.problems = append(e.problems, p) }

// classMatches applies the class that an object asks for. The annotations win
// over the field, as in Contour.
func classMatches(served []string, annotations map[string]string, field string) bool {
	class := field
	for _, name := range slices.Backward(classAnnotations) {
		if v, ok := annotations[name]; ok {
			class = v
		}
	}
	if len(served) == 0 {
		return class == "" || class == "contour" || class == "isoline"
	}
	return slices.Contains(served, class)
}

// readProxy fills in what follows from an HTTPProxy alone.
func (e *entry) readProxy(opts Options) {
	e.problems = unsupportedFields(e.key(), e.proxy.Spec, proxyFields)
	e.readUnknownAnnotations()
	e.readConsent()
	root := e.proxy.Spec.VirtualHost
	if root == nil {
		return
	}
	if len(opts.RootNamespaces) > 0 && !slices.Contains(opts.RootNamespaces, e.key().Namespace) {
		e.report(errorIn(e, contourv1.ConditionTypeRootNamespaceError, "RootProxyNotAllowedInNamespace",
			"spec.virtualhost", "root HTTPProxy cannot be defined in this namespace"))
		return
	}
	host := asciiLower(root.Fqdn)
	switch {
	case host == "":
		e.report(errorIn(e, contourv1.ConditionTypeVirtualHostError, "FQDNNotSpecified",
			"spec.virtualhost.fqdn", "Spec.VirtualHost.Fqdn must be specified"))
		return
	case !validHost(host):
		e.report(errorIn(e, contourv1.ConditionTypeVirtualHostError, "FQDNNotValid",
			"spec.virtualhost.fqdn", "Spec.VirtualHost.Fqdn %q is not a host name", root.Fqdn))
		return
	}
	e.claims = []string{host}
	spec := e.proxy.Spec
	if len(spec.Routes) == 0 && len(spec.Includes) == 0 && spec.TCPProxy == nil {
		e.report(errorIn(e, contourv1.ConditionTypeSpecError, "NothingDefined", "spec",
			"HTTPProxy.Spec must have at least one Route, Include, or a TCPProxy"))
	}
}

// hostPattern is the one of HTTPProxy's CRD for fqdn.
var hostPattern = regexp.MustCompile(`^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

// validHost reports whether a lower-case host can be served: a DNS name, or
// one with "*" for its first label.
func validHost(host string) bool {
	return len(host) <= 253 && hostPattern.MatchString(host)
}

// Types of problems of kinds that have no status conditions of their own.
const (
	ingressError       = "IngressError"
	endpointSliceError = "EndpointSliceError"
)

func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
