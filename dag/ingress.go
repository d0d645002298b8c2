package dag

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"

	"isoline.dev/isoline/manifest"
)

// catchAll is the host of rules that name none.
const catchAll = "*"

// ingressPath is one path of an Ingress, or its default backend.
type ingressPath struct {
	match    Match
	backend  networkingv1.IngressBackend
	field    string // of the path
	host     string // field of the rule's host
	fallback bool
	policy   *RoutePolicy
}

// readIngress fills in what follows from an Ingress alone.
func (e *entry) readIngress(settings Settings) {
	e.problems = unsupportedFields(e.key(), e.ingress.Spec, ingressFields)
	e.readUnknownAnnotations()
	e.readIngressPolicy(Timeout(settings.ResponseTimeout))
	e.paths = map[string][]ingressPath{}
	if backend := e.ingress.Spec.DefaultBackend; backend != nil {
		e.paths[catchAll] = append(e.paths[catchAll], ingressPath{
			match: Match{Path: Path{PathPrefix, "/"}}, backend: *backend,
			field: "spec.defaultBackend", host: "spec.defaultBackend", fallback: true,
			policy: e.policy.of("/"),
		})
	}
	for i, rule := range e.ingress.Spec.Rules {
		e.readRule(rule, "spec.rules["+strconv.Itoa(i)+"]")
	}
	if len(e.ingress.Spec.Rules) == 0 && e.ingress.Spec.DefaultBackend == nil {
		e.report(errorIn(e, ingressError, "NothingDefined", "spec", "the Ingress has neither rules nor a default backend"))
	}
	e.claims = slices.Sorted(maps.Keys(e.paths))
	e.readIngressTLS()
}

func (e *entry) readRule(rule networkingv1.IngressRule, field string) {
	host := asciiLower(rule.Host)
	if host == "" {
		host = catchAll
	} else if !validHost(host) {
		e.report(errorIn(e, ingressError, "HostNotValid", field+".host", "%q is not a host name", rule.Host))
		return
	}
	if rule.HTTP == nil || len(rule.HTTP.Paths) == 0 {
		e.report(errorIn(e, ingressError, "NothingDefined", field, "the rule for host %q has no paths", host))
		return
	}
	for i, p := range rule.HTTP.Paths {
		at := field + ".http.paths[" + strconv.Itoa(i) + "]"
		path, wrong := readIngressPath(p)
		if wrong != "" {
			e.report(errorIn(e, ingressError, "PathNotValid", at+".path", "path %q %s", p.Path, wrong))
			continue
		}
		e.paths[host] = append(e.paths[host], ingressPath{
			match: Match{Path: path}, backend: p.Backend, field: at, host: field + ".host",
			policy: e.policy.of(or(p.Path, "/")),
		})
	}
}

// readIngressPath is the path as a match, or what is wrong with it.
func readIngressPath(p networkingv1.HTTPIngressPath) (Path, string) {
	value := p.Path
	if value == "" {
		value = "/"
	}
	kind := networkingv1.PathTypeImplementationSpecific
	if p.PathType != nil {
		kind = *p.PathType
	}
	if kind == networkingv1.PathTypeImplementationSpecific && strings.ContainsAny(value, "^+*[]%") {
		if !compiles(value) {
			return Path{}, "is not a valid regular expression: " + regexFault(value)
		}
		if !strings.HasPrefix(strings.TrimPrefix(value, "^"), "/") {
			return Path{}, "must start with /"
		}
		return Path{PathRegex, value}, ""
	}
	if value[0] != '/' {
		return Path{}, "must start with /"
	}
	if neverAPath(value) {
		return Path{}, "must be visible ASCII without ? or #"
	}
	switch kind {
	case networkingv1.PathTypeExact:
		return Path{PathExact, value}, ""
	case networkingv1.PathTypePrefix:
		if bare := strings.TrimRight(value, "/"); bare != "" {
			return Path{PathSegment, bare}, ""
		}
		return Path{PathPrefix, "/"}, ""
	case networkingv1.PathTypeImplementationSpecific:
		return Path{PathPrefix, value}, ""
	default:
		return Path{}, "has the unknown pathType " + string(kind)
	}
}

// hostField is where an Ingress names the host first.
func hostField(e *entry, host string) string {
	if paths := e.paths[host]; len(paths) > 0 {
		return paths[0].host
	}
	return ""
}

// ingressHost offers what an Ingress wants to serve on the host.
func (b *hostBuild) ingressHost(e *entry, vhost *VirtualHost) {
	secure := b.ingressTLS(e)
	b.joinTLS(vhost, e, secure)
	for _, p := range e.paths[b.host] {
		a := actionReader{reader: b.reader, settings: b.settings, owner: e, field: p.field}
		action, state := a.backend(p.backend, p.fallback)
		action.Policy = p.policy
		b.offer(b.settle(candidate{
			match: p.match, owner: e, chain: []manifest.Key{e.key()}, field: p.field,
			plain: ingressPlain(e), plainOnly: secure == nil,
			fallback: p.fallback, action: action, problems: a.problems,
		}, state))
	}
}

// backend is the action of an Ingress's path.
func (a *actionReader) backend(backend networkingv1.IngressBackend, fallback bool) (Action, verdict) {
	field := ".backend"
	if fallback {
		field = ""
	}
	switch {
	case backend.Resource != nil:
		a.fail(ingressError, "UnsupportedBackend", field+".resource", "backends other than services are not supported")
		return Action{}, broken
	case backend.Service == nil:
		a.fail(ingressError, "UnsupportedBackend", field, "the backend names no service")
		return Action{}, broken
	}
	ref := portRef{number: backend.Service.Port.Number, name: backend.Service.Port.Name}
	cluster, ok := a.cluster(backend.Service.Name, ref, nil, field+".service", ingressError, "unresolved service reference: ")
	if !ok {
		return Action{}, broken
	}
	action := Action{Clusters: []WeightedCluster{{Cluster: cluster}}}
	if a.settings.HeadersOnIngress {
		a.platformHeaders(&action)
	}
	return action, whole
}
