package xds

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"isoline.dev/isoline/dag"
	"isoline.dev/isoline/problem"
)

// filterConfig has what a host or route sets of the filters, by their names.
// What a route sets stands in place of what its host does.
type filterConfig map[string]*anypb.Any

func (c filterConfig) set(filter string, config proto.Message) { c[filter] = mustAny(config) }

func hostFilters(p *dag.HostPolicy) filterConfig {
	c := filterConfig{}
	if p.CORS != nil {
		c.set(corsName, cors(p.CORS))
	}
	c.limits(p.IPFilter, p.LocalRateLimit, p.GlobalRateLimit)
	if p.Authorization != nil {
		c.authorize(p.Authorization)
	}
	if p.JWT != nil && p.JWT.Default != "" {
		c.verify(p.JWT.Default)
	}
	return c
}

func routeFilters(p *dag.RoutePolicy) filterConfig {
	c := filterConfig{}
	c.limits(p.IPFilter, p.LocalRateLimit, p.GlobalRateLimit)
	if p.Authorization != nil {
		c.authorize(p.Authorization)
	}
	if p.JWT != nil {
		c.verify(p.JWT.Require)
	}
	return c
}

func (c filterConfig) limits(ip *dag.IPFilter, local *dag.LocalRateLimit, global *dag.GlobalRateLimit) {
	if ip != nil {
		c.set(ipFilterName, ipFilter(ip))
		c.set(ipFilterAgainName, ipFilter(ip))
	}
	if local != nil {
		c.set(localRateLimitName, localRateLimit(local))
	}
	if global != nil {
		c.set(globalRateLimitName, globalRateLimit(global))
	}
}

// hostClusters are those that a host's filters call, and routeClusters those
// of a route. The policy may be nil.
func hostClusters(p *dag.HostPolicy) []upstream {
	if p == nil {
		return nil
	}
	return append(authorizationClusters(p.Authorization), jwtClusters(p.JWT)...)
}

func routeClusters(p *dag.RoutePolicy) []upstream {
	if p == nil {
		return nil
	}
	return authorizationClusters(p.Authorization)
}

func authorizationClusters(a *dag.Authorization) []upstream {
	if a == nil || a.Disabled {
		return nil
	}
	return []upstream{upstreamOf(&a.Service.Cluster)}
}

// checkRouteFilters says what Envoy would not take of a route's filters.
func checkRouteFilters(p *dag.RoutePolicy) []string {
	if p.JWT != nil && !text(p.JWT.Require) {
		return []string{fmt.Sprintf("%.200q is no JWT provider", p.JWT.Require)}
	}
	return checkProtections(p.IPFilter, p.LocalRateLimit, p.GlobalRateLimit, p.Authorization)
}

// checkHostFilters says what Envoy would not take of a host's protections.
// Without one that it asks for, nothing of the host is served.
func checkHostFilters(p *dag.HostPolicy) []string {
	why := checkProtections(p.IPFilter, p.LocalRateLimit, p.GlobalRateLimit, p.Authorization)
	if p.JWT != nil {
		if s := checkJWT(p.JWT); s != "" {
			why = append(why, s)
		}
	}
	return why
}

func checkProtections(ip *dag.IPFilter, local *dag.LocalRateLimit, global *dag.GlobalRateLimit, a *dag.Authorization) []string {
	var why []string
	add := func(s string) {
		if s != "" {
			why = append(why, s)
		}
	}
	if ip != nil {
		add(checkIPFilter(ip))
	}
	if local != nil {
		add(checkLocalRateLimit(local))
	}
	if global != nil {
		add(checkGlobalRateLimit(global))
	}
	if a != nil {
		add(checkAuthorization(a))
	}
	return why
}

// usablePolicy is what Envoy takes of a host's policy. What it does not take is
// a problem; closed says that a protection is among it.
func usablePolicy(vh *dag.VirtualHost) (policy *dag.HostPolicy, closed bool, problems []problem.Problem) {
	if vh.Policy == nil {
		return nil, false, nil
	}
	usable := *vh.Policy
	if usable.CORS != nil {
		if why := checkCORS(usable.CORS); why != "" {
			usable.CORS = nil
			problems = append(problems, policyProblem(vh, []string{why}, "the host is served without it"))
		}
	}
	if why := checkHostFilters(&usable); len(why) > 0 {
		return nil, true, append(problems, policyProblem(vh, why, "the host is not served without it"))
	}
	return &usable, false, problems
}

func policyProblem(vh *dag.VirtualHost, why []string, outcome string) problem.Problem {
	return problem.Problem{
		Severity: problem.Error, Type: ProblemType, Reason: ProblemReason,
		Message: fmt.Sprintf("the policy of host %q cannot be given by Envoy: %s; %s", vh.Host, strings.Join(why, "; "), outcome),
		Object:  vh.Owner.Ref(),
		Field:   "spec.virtualhost",
	}
}
