package dag

import (
	"maps"
	"slices"
	"strings"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"

	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

// Annotations of HTTPProxies and Ingresses that name their class. The first
// wins.
var classAnnotations = []string{"projectcontour.io/ingress.class", "kubernetes.io/ingress.class"}

// Annotations of Ingresses, besides those for TLS.
const (
	numRetries     = "projectcontour.io/num-retries"
	perTryTimeout  = "projectcontour.io/per-try-timeout"
	retryOn        = "projectcontour.io/retry-on"
	responseLimit  = "projectcontour.io/response-timeout"
	requestLimit   = "projectcontour.io/request-timeout" // the older name of responseLimit
	websocketPaths = "projectcontour.io/websocket-routes"
)

// ourAnnotations begin the names of annotations that are written for Contour,
// for Isoline, or for whatever serves an Ingress.
var ourAnnotations = []string{"projectcontour.io/", "isoline.dev/", "ingress.kubernetes.io/", "kubernetes.io/ingress."}

// knownAnnotations are those that an object of the kind may have, all in
// effect, sorted.
func knownAnnotations(kind string) []string {
	var known []string
	switch kind {
	case manifest.HTTPProxy:
		known = append(known, includedBy)
		known = append(known, classAnnotations...)
	case manifest.Ingress:
		known = append(known,
			forceSSLRedirect, allowHTTP, tlsCertNamespace, tlsMinimumVersion, tlsMaximumVersion,
			numRetries, perTryTimeout, retryOn, responseLimit, requestLimit, websocketPaths)
		known = append(known, classAnnotations...)
	case manifest.Service:
		known = append(known, upstreamProtocol+"tls", upstreamProtocol+"h2", upstreamProtocol+"h2c")
		for _, annotation := range breakerAnnotations {
			known = append(known, annotation.name)
		}
	}
	slices.Sort(known)
	return known
}

// readUnknownAnnotations warns of annotations that are meant for us and have
// no meaning on an object of the kind.
func (e *entry) readUnknownAnnotations() {
	known := knownAnnotations(e.key().Kind)
	set := e.object.Value.GetAnnotations()
	for _, name := range slices.Sorted(maps.Keys(set)) {
		ours := slices.ContainsFunc(ourAnnotations, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
		if ours && !slices.Contains(known, name) {
			e.warnOfAnnotation(name, "UnknownAnnotation", "%s is not an annotation of %s; it has no effect", name, e.key().Kind)
		}
	}
}

func (e *entry) warnOfAnnotation(name, reason, format string, args ...any) {
	p := errorIn(e, typeOf(e), reason, annotation(name), format, args...)
	p.Severity = problem.Warning
	e.report(p)
}

// typeOf is the type of problems of an object's annotations.
func typeOf(e *entry) string {
	switch e.key().Kind {
	case manifest.HTTPProxy:
		return contourv1.ConditionTypeSpecError
	case manifest.Ingress:
		return ingressError
	default:
		return contourv1.ConditionTypeServiceError
	}
}
