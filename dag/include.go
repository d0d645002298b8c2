package dag

import (
	"slices"
	"strconv"
	"strings"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"

	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

// maxWalk bounds the includes and routes that one host may come to. Includes
// may form a diamond, and a chain of diamonds doubles with every link.
const maxWalk = 100_000

// visit is one HTTPProxy reached on one way down from the root.
type visit struct {
	proxy *entry
	chain []manifest.Key // ends with the proxy
	above conditions
	// blocked: the root asks for a protection that cannot be given.
	blocked bool
	// plainOnly: the root hands its TLS connections on as they are.
	plainOnly bool
}

// proxyRoutes adds what a root HTTPProxy and all it includes want to serve.
func (b *hostBuild) proxyRoutes(root *entry, vhost *VirtualHost) {
	b.walk(visit{proxy: root, chain: []manifest.Key{root.key()}, blocked: b.blocked, plainOnly: b.tls == nil || vhost.TCP != nil})
}

func (b *hostBuild) walk(v visit) {
	for i := range v.proxy.proxy.Spec.Routes {
		if !b.spend(v) {
			return
		}
		b.proxyRoute(v, i)
	}
	seen := map[string]bool{}
	for i := range v.proxy.proxy.Spec.Includes {
		if !b.spend(v) {
			return
		}
		b.include(v, i, seen)
	}
}

// spend counts one include or route against maxWalk.
func (b *hostBuild) spend(v visit) bool {
	if b.walked++; b.walked == maxWalk+1 {
		root := b.reader.object(v.chain[0])
		b.report(errorIn(root, contourv1.ConditionTypeIncludeError, "IncludeLimitExceeded", "spec.includes",
			"the includes below this root come to more than %d routes; the rest is not served", maxWalk))
	}
	return b.walked <= maxWalk
}

// include follows one include, if it can be. What is wrong with it costs only
// itself.
func (b *hostBuild) include(v visit, i int, seen map[string]bool) {
	include := v.proxy.proxy.Spec.Includes[i]
	field := "spec.includes[" + strconv.Itoa(i) + "]"
	merged, err := v.above.include(include.Conditions)
	if err != nil {
		b.report(conditionProblem(v.proxy, err, contourv1.ConditionTypeIncludeError, "include: ", field+".conditions"))
		return
	}
	if duplicates(include.Conditions, merged, seen) {
		b.report(errorIn(v.proxy, contourv1.ConditionTypeIncludeError, "DuplicateMatchConditions", field,
			"duplicate conditions defined on an include"))
		return
	}
	child := manifest.Key{Kind: manifest.HTTPProxy, Namespace: include.Namespace, Name: include.Name}
	if child.Namespace == "" {
		child.Namespace = v.proxy.key().Namespace
	}
	if b.refuseChild(v, child, field) {
		if len(include.Conditions) > 0 {
			b.placeholder(v, merged.match(), field)
		}
		return
	}
	if slices.Contains(v.chain, child) {
		b.report(errorIn(v.proxy, contourv1.ConditionTypeIncludeError, "IncludeCreatesCycle", field,
			"include creates an include cycle: %s", cycle(v.chain, child)))
		return
	}
	b.reach(v.chain[0], child, merged.match())
	b.walk(visit{
		proxy: b.reader.object(child), above: merged, blocked: v.blocked, plainOnly: v.plainOnly,
		chain: append(slices.Clip(v.chain), child),
	})
}

// refuseChild reports why a child cannot be included, if it cannot.
func (b *hostBuild) refuseChild(v visit, child manifest.Key, field string) bool {
	e := b.reader.object(child)
	switch {
	case e == nil || e.proxy == nil:
		p := errorIn(v.proxy, contourv1.ConditionTypeIncludeError, "IncludeNotFound", field,
			"include %s/%s not found", child.Namespace, child.Name)
		p.Remedy = "it is in effect as soon as there is such an HTTPProxy, of an ingress class that is served"
		b.report(p)
	case e.proxy.Spec.VirtualHost != nil:
		b.report(errorIn(v.proxy, contourv1.ConditionTypeIncludeError, "RootIncludesRoot", field,
			"root httpproxy cannot include another root httpproxy (%s/%s)", child.Namespace, child.Name))
	case !e.admits(v.proxy.key()):
		b.report(notPermitted(v.proxy, e, contourv1.ConditionTypeIncludeError, field))
	default:
		return false
	}
	return true
}

// placeholder answers 502 for an include that leads nowhere, unless something
// else serves just that match.
func (b *hostBuild) placeholder(v visit, match Match, field string) {
	if v.blocked {
		return
	}
	b.offer(candidate{
		match: match, owner: v.proxy, chain: v.chain, field: field, implied: true,
		plain: b.plainHTTP(false), plainOnly: v.plainOnly,
		unresolved: true, action: Action{DirectResponse: &DirectResponse{StatusCode: 502}},
	})
}

// duplicates reports whether an earlier include of the same proxy has the
// same conditions. Any number may have none.
func duplicates(block []contourv1.MatchCondition, merged conditions, seen map[string]bool) bool {
	own, path, _ := readBlock(block)
	if len(own.headers) == 0 && len(own.query) == 0 && (path.Value == "" || path.Value == "/") {
		return false
	}
	key := merged.match().Key()
	if seen[key] {
		return true
	}
	seen[key] = true
	return false
}

func cycle(chain []manifest.Key, again manifest.Key) string {
	names := make([]string, 0, len(chain)+1)
	for _, key := range append(slices.Clip(chain), again) {
		names = append(names, key.Namespace+"/"+key.Name)
	}
	return strings.Join(names, " -> ")
}

// conditionProblem puts a condition error under the status type that Contour
// has for it: path errors differ between includes and routes.
func conditionProblem(e *entry, err *conditionError, pathType, pathPrefix, field string) problem.Problem {
	if err.reason != pathNotValid {
		return errorIn(e, contourv1.ConditionTypeRouteError, err.reason, field, "%s", err.text)
	}
	return errorIn(e, pathType, err.reason, field, "%s%s", pathPrefix, err.text)
}

// proxyRoute offers one route of an HTTPProxy.
func (b *hostBuild) proxyRoute(v visit, i int) {
	route := &v.proxy.proxy.Spec.Routes[i]
	field := "spec.routes[" + strconv.Itoa(i) + "]"
	match, err := v.above.route(route.Conditions)
	if err != nil {
		p := conditionProblem(v.proxy, err, contourv1.ConditionTypeRouteError, "route: ", field+".conditions")
		p.Remedy = "until this is mended the route takes no requests; those it was meant for go to a broader route, or get 404"
		b.report(p)
		return
	}
	a := actionReader{reader: b.reader, settings: b.settings, host: b.policy, blocked: v.blocked, owner: v.proxy, field: field}
	action, state := a.route(route, match.Path)
	if route.PermitInsecure && b.policy.verifies(&action) {
		a.warn(contourv1.ConditionTypeJWTVerificationError, reasonIgnoredField, ".permitInsecure",
			"ignoring field %q; the route needs a token, and tokens are verified over TLS alone", "permitInsecure")
	}
	if v.blocked {
		b.problems = append(b.problems, a.problems...)
		return
	}
	b.offer(b.settle(candidate{
		match: match, owner: v.proxy, chain: v.chain, field: field, action: action, problems: a.problems,
		rewrites: asksForRewrite(route.PathRewritePolicy, match.Path.Value),
		plain:    b.plainHTTP(route.PermitInsecure), plainOnly: v.plainOnly,
	}, state))
}
