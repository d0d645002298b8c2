package dag

import (
	"reflect"
	"slices"
	"strconv"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
)

// ingressPolicy is what the annotations of an Ingress say of all its paths. As
// in Contour a value that is wrong leaves the default; that is a warning.
type ingressPolicy struct {
	retry    *Retry
	response Timeout
	// websockets are the paths, as written, that may become websockets.
	websockets []string
}

// readIngressPolicy reads the annotations; response is the platform's timeout.
func (e *entry) readIngressPolicy(response Timeout) {
	p := &ingressPolicy{response: e.responseOfIngress(response), websockets: e.websocketsOfIngress()}
	p.retry = e.retryOfIngress(p.response)
	e.policy = p
}

// of is the policy of the path, nil where it says nothing.
func (p *ingressPolicy) of(path string) *RoutePolicy {
	policy := &RoutePolicy{
		Timeouts: Timeouts{Response: p.response}, Retry: p.retry, Websockets: slices.Contains(p.websockets, path),
	}
	if reflect.ValueOf(*policy).IsZero() {
		return nil
	}
	return policy
}

func (e *entry) responseOfIngress(otherwise Timeout) Timeout {
	name := responseLimit
	if _, set := e.ingress.Annotations[name]; !set {
		name = requestLimit
	} else if _, too := e.ingress.Annotations[requestLimit]; too {
		e.warnOfAnnotation(requestLimit, "IgnoredAnnotation", "%s has no effect beside %s", requestLimit, responseLimit)
	}
	timeout, err := parseTimeout(e.ingress.Annotations[name])
	if err != nil {
		e.warnOfAnnotation(name, "AnnotationNotValid", "%s; the default is used", err)
	}
	return or(timeout, otherwise)
}

func (e *entry) retryOfIngress(response Timeout) *Retry {
	conditions, set := e.ingress.Annotations[retryOn]
	if !set {
		for _, name := range []string{numRetries, perTryTimeout} {
			if _, set := e.ingress.Annotations[name]; set {
				e.warnOfAnnotation(name, "IgnoredAnnotation", "%s has no effect without %s", name, retryOn)
			}
		}
		return nil
	}
	var on []string
	for item := range strings.SplitSeq(conditions, ",") {
		on = append(on, strings.TrimSpace(item))
	}
	count := int64(0)
	if text, set := e.ingress.Annotations[numRetries]; set {
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil || n < -1 {
			e.warnOfAnnotation(numRetries, "AnnotationNotValid", "%q is no number of retries, nor -1 for none; one is used", text)
			n = 0
		}
		count = n
	}
	perTry := e.ingress.Annotations[perTryTimeout]
	if _, err := parseTimeout(perTry); err != nil {
		e.warnOfAnnotation(perTryTimeout, "AnnotationNotValid", "%s; the tries have no timeout of their own", err)
		perTry = ""
	}
	retry, err := readRetry(count, perTry, on, nil)
	if err != nil {
		e.warnOfAnnotation(retryOn, "AnnotationNotValid", "%s; nothing is tried again", err)
		return nil
	}
	if why := retry.withoutEffect(response); len(why) > 0 {
		e.warnOfAnnotation(retryOn, "IgnoredAnnotation", "%s", strings.Join(why, "; "))
	}
	return retry
}

func (e *entry) websocketsOfIngress() []string {
	value, set := e.ingress.Annotations[websocketPaths]
	if !set {
		return nil
	}
	var paths []string
	for item := range strings.SplitSeq(value, ",") {
		path := strings.TrimSpace(item)
		if paths = append(paths, path); !hasPath(e.ingress, path) {
			e.warnOfAnnotation(websocketPaths, "AnnotationNotValid", "the Ingress has no path %q", path)
		}
	}
	return paths
}

// hasPath reports whether an Ingress has the path, as it writes it.
func hasPath(i *networkingv1.Ingress, path string) bool {
	if i.Spec.DefaultBackend != nil && path == "/" {
		return true
	}
	for _, rule := range i.Spec.Rules {
		if rule.HTTP == nil {
			continue
		}
		for _, p := range rule.HTTP.Paths {
			if or(p.Path, "/") == path {
				return true
			}
		}
	}
	return false
}
