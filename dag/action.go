package dag

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"

	"isoline.dev/isoline/problem"
)

// actionReader turns what a route says into an Action, and collects what is
// wrong with it.
type actionReader struct {
	reader   *reader
	settings *Settings
	// host is what holds for the host; nil for nothing.
	host *HostPolicy
	// blocked: nothing of the host is served, so host is not what it says.
	blocked  bool
	owner    *entry
	field    string
	problems []problem.Problem
	// withheld: a protection that is asked for cannot be given.
	withheld bool
}

// withhold reports a protection that cannot be given. What it was to protect
// is not served, and its last good action would not have it either.
func (a *actionReader) withhold(typ, reason, field, format string, args ...any) {
	a.fail(typ, reason, field, format, args...)
	a.withheld = true
}

func (a *actionReader) fail(typ, reason, field, format string, args ...any) {
	a.problems = append(a.problems, errorIn(a.owner, typ, reason, a.field+field, format, args...))
}

// warn reports what is not as it seems and keeps nothing from serving.
func (a *actionReader) warn(typ, reason, field, format string, args ...any) {
	p := errorIn(a.owner, typ, reason, a.field+field, format, args...)
	p.Severity = problem.Warning
	a.problems = append(a.problems, p)
}

// route is the action of an HTTPProxy's route with the given merged path. One
// that is broken has its policy alone, for what serves in its place.
func (a *actionReader) route(r *contourv1.Route, path Path) (Action, verdict) {
	policy, ok := a.policy(r)
	if a.withheld {
		return Action{}, withheld
	}
	kinds := 0
	for _, set := range []bool{len(r.Services) > 0, r.RequestRedirectPolicy != nil, r.DirectResponsePolicy != nil} {
		if set {
			kinds++
		}
	}
	if kinds != 1 {
		a.fail(contourv1.ConditionTypeRouteError, "RouteActionCountNotValid", "",
			"must set exactly one of route.services or route.requestRedirectPolicy or route.directResponsePolicy")
		return Action{Policy: policy}, broken
	}
	if !ok {
		return Action{Policy: policy}, broken
	}
	var action Action
	var state verdict
	switch {
	case r.RequestRedirectPolicy != nil:
		action, state = a.redirect(r.RequestRedirectPolicy)
	case r.DirectResponsePolicy != nil:
		action, state = a.directResponse(r.DirectResponsePolicy)
	default:
		action, state = a.forward(r, path, policy)
		if !a.routeCookies(r, &action) {
			return Action{Policy: policy}, broken
		}
	}
	action.Policy = policy
	a.platformHeaders(&action)
	return action, state
}

func (a *actionReader) redirect(p *contourv1.HTTPRequestRedirectPolicy) (Action, verdict) {
	to, err := readRedirect(p)
	if err != nil {
		a.fail(contourv1.ConditionTypeRouteError, "RequestRedirectPolicy", ".requestRedirectPolicy",
			"route.requestRedirectPolicy is invalid: %s", err)
		return Action{}, broken
	}
	return Action{Redirect: &to}, whole
}

// readRedirect reads a redirect. Where no API server checked the object
// against its schema, the schema's rules are checked here.
func readRedirect(p *contourv1.HTTPRequestRedirectPolicy) (Redirect, error) {
	to := Redirect{
		Scheme: deref(p.Scheme), Hostname: deref(p.Hostname), Path: deref(p.Path), Prefix: deref(p.Prefix),
		StatusCode: 302,
	}
	if p.StatusCode != nil {
		to.StatusCode = uint32(*p.StatusCode)
	}
	switch to.StatusCode {
	case 301, 302, 303, 307, 308:
	default:
		return to, fmt.Errorf("invalid status code %d, must be 301, 302, 303, 307 or 308", to.StatusCode)
	}
	if p.Port != nil {
		if *p.Port < 1 || *p.Port > 65535 {
			return to, errors.New("port must be in the range 1-65535")
		}
		to.Port = uint32(*p.Port)
	}
	switch {
	case p.Path != nil && p.Prefix != nil:
		return to, errors.New("cannot specify both redirect path and redirect prefix")
	case p.Path != nil && !visiblePath(to.Path), p.Prefix != nil && !visiblePath(to.Prefix):
		return to, errors.New("path and prefix must start with / and be visible ASCII")
	case p.Scheme != nil && to.Scheme != "http" && to.Scheme != "https":
		return to, fmt.Errorf("invalid scheme %q, must be http or https", to.Scheme)
	case p.Hostname != nil && (!validHost(to.Hostname) || strings.HasPrefix(to.Hostname, "*")):
		return to, fmt.Errorf("invalid hostname %q", to.Hostname)
	}
	return to, nil
}

// maxBody is the longest direct response that Envoy takes, in bytes, unless
// told otherwise.
const maxBody = 4096

func (a *actionReader) directResponse(p *contourv1.HTTPDirectResponsePolicy) (Action, verdict) {
	switch {
	case p.StatusCode < 200 || p.StatusCode > 599:
		a.fail(contourv1.ConditionTypeRouteError, "DirectResponsePolicyInvalid", ".directResponsePolicy.statusCode",
			"invalid status code %d, must be in the range [200, 599]", p.StatusCode)
		return Action{}, broken
	case len(p.Body) > maxBody:
		a.fail(contourv1.ConditionTypeRouteError, "DirectResponsePolicyInvalid", ".directResponsePolicy.body",
			"the body has %d bytes, at most %d are allowed", len(p.Body), maxBody)
		return Action{}, broken
	}
	return Action{DirectResponse: &DirectResponse{StatusCode: uint32(p.StatusCode), Body: p.Body}}, whole
}

func (a *actionReader) forward(r *contourv1.Route, path Path, policy *RoutePolicy) (Action, verdict) {
	rewrite, ok := a.rewrite(r.PathRewritePolicy, path)
	if !ok {
		return Action{}, broken
	}
	check, err := readHealthCheck(r.HealthCheckPolicy)
	if err != nil {
		a.fail(contourv1.ConditionTypeRouteError, "HealthCheckPolicyInvalid", ".healthCheckPolicy", "%s", err)
		return Action{}, broken
	}
	idle, ok := a.idleConnection(r.TimeoutPolicy)
	if !ok {
		return Action{}, broken
	}
	action := Action{Rewrite: rewrite}
	use := upstreamUse{
		check: check, balancer: readBalance(r.LoadBalancerPolicy).balancer, idle: idle, headers: r.RequestHeadersPolicy,
		typ: contourv1.ConditionTypeServiceError, prefix: "Spec.Routes unresolved service reference: ",
	}
	for i, s := range r.Services {
		field := fmt.Sprintf(".services[%d]", i)
		if isMirror(s) {
			a.mirror(s, use, field, &action)
		} else if w, ok := a.treatedService(s, use, field, policy); ok {
			action.Clusters = append(action.Clusters, w)
		}
	}
	shares := answering(r.Services)
	if len(shares) == 0 {
		a.fail(contourv1.ConditionTypeServiceError, "OnlyMirror", ".services", "a route needs a service that is not a mirror")
	}
	state := a.weigh(shares, action.Clusters)
	switch {
	case a.withheld && state == partial:
		state = reduced
	case a.withheld && state == broken:
		state = withheld
	}
	return action, state
}

// treatedService is one upstream, and what is done to the requests and answers
// that it shares in.
func (a *actionReader) treatedService(s contourv1.Service, use upstreamUse, field string, policy *RoutePolicy) (WeightedCluster, bool) {
	w, ok := a.service(s, use, field)
	if !ok || !a.serviceHeaders(s, &w, field) {
		return w, false
	}
	a.overruled(field, &w, policy)
	w.Cookies, ok = a.cookies(s.CookieRewritePolicies, field, "service")
	return w, ok
}

// rewrite picks the replacement for the merged prefix: the entry that names
// it, else the one that names none.
func (a *actionReader) rewrite(p *contourv1.PathRewritePolicy, path Path) (*PathRewrite, bool) {
	if p == nil || len(p.ReplacePrefix) == 0 {
		return nil, true
	}
	const field = ".pathRewritePolicy.replacePrefix"
	fail := func(reason, format string, args ...any) (*PathRewrite, bool) {
		a.fail(contourv1.ConditionTypePrefixReplaceError, reason, field, format, args...)
		return nil, false
	}
	if path.Type != PathPrefix && path.Type != PathSegment {
		return fail("MustHavePrefix", "cannot specify prefix replacements without a prefix condition")
	}
	to := map[string]string{}
	for i, r := range p.ReplacePrefix {
		if _, twice := to[r.Prefix]; twice && r.Prefix == "" {
			return fail("AmbiguousReplacement", "ambiguous prefix replacement")
		} else if twice {
			return fail("DuplicateReplacement", "duplicate replacement prefix '%s'", r.Prefix)
		}
		if !visiblePath(r.Replacement) || strings.ContainsAny(r.Replacement, "?#") {
			return fail("ReplacementNotValid", "replacement %s %q must start with / and be visible ASCII without ? or #",
				strconv.Itoa(i), r.Replacement)
		}
		to[r.Prefix] = r.Replacement
	}
	replacement, ok := to[path.Value]
	if !ok {
		if replacement, ok = to[""]; !ok {
			return nil, true
		}
	}
	return rewriteTo(path.Value, replacement), true
}

// Defaults of a health check: Contour's.
const (
	healthCheckHost          = "contour-envoy-healthcheck"
	healthCheckInterval      = 10
	healthCheckTimeout       = 2
	healthCheckUnhealthy     = 3
	healthCheckHealthy       = 2
	maxHealthCheckSeconds    = 24 * 60 * 60
	maxHealthCheckThresholds = math.MaxUint32
)

func readHealthCheck(p *contourv1.HTTPHealthCheckPolicy) (*HealthCheck, error) {
	if p == nil {
		return nil, nil
	}
	for _, n := range []int64{p.IntervalSeconds, p.TimeoutSeconds} {
		if n < 0 || n > maxHealthCheckSeconds {
			return nil, fmt.Errorf("intervalSeconds and timeoutSeconds must be in the range [0, %d]", maxHealthCheckSeconds)
		}
	}
	for _, n := range []int64{p.UnhealthyThresholdCount, p.HealthyThresholdCount} {
		if n < 0 || n > maxHealthCheckThresholds {
			return nil, errors.New("unhealthyThresholdCount and healthyThresholdCount must not be negative")
		}
	}
	if !visiblePath(p.Path) {
		return nil, fmt.Errorf("path %q must start with / and be visible ASCII", p.Path)
	}
	if !visibleASCII(p.Host) {
		return nil, fmt.Errorf("host %q must be visible ASCII", p.Host)
	}
	check := &HealthCheck{
		Path:               p.Path,
		Host:               or(p.Host, healthCheckHost),
		IntervalSeconds:    or(p.IntervalSeconds, healthCheckInterval),
		TimeoutSeconds:     or(p.TimeoutSeconds, healthCheckTimeout),
		UnhealthyThreshold: uint32(or(p.UnhealthyThresholdCount, healthCheckUnhealthy)),
		HealthyThreshold:   uint32(or(p.HealthyThresholdCount, healthCheckHealthy)),
	}
	for _, s := range p.ExpectedStatuses {
		switch {
		case s.Start < 100 || s.Start > 599:
			return nil, errors.New("invalid expected status range: start must be in the range [100, 599]")
		case s.End < 101 || s.End > 600:
			return nil, errors.New("invalid expected status range: end must be in the range [101, 600]")
		case s.Start >= s.End:
			return nil, errors.New("invalid expected status range: start must be less than end")
		}
		check.ExpectedStatuses = append(check.ExpectedStatuses, StatusRange(s))
	}
	return check, nil
}

// or is v, or the default where v is the zero value.
func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

func deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
