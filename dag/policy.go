package dag

import (
	"reflect"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
)

// RoutePolicy is how a route treats its requests, besides where they go. It is
// part of the Action, so that a last good action keeps the policy it had.
type RoutePolicy struct {
	// RequestHeaders and ResponseHeaders come after those of a service; nil
	// where nothing is changed. HostRewrite comes after that of a service too;
	// nil where the Host header is left alone.
	RequestHeaders  *Headers     `json:"requestHeaders,omitempty"`
	ResponseHeaders *Headers     `json:"responseHeaders,omitempty"`
	HostRewrite     *HostRewrite `json:"hostRewrite,omitempty"`
	Timeouts        Timeouts     `json:"timeouts,omitzero"`
	// Retry is nil where nothing is tried again.
	Retry *Retry `json:"retry,omitempty"`
	// Websockets lets requests turn into websocket connections.
	Websockets bool `json:"websockets,omitempty"`
	// InternalRedirect is nil where redirects are the client's to follow.
	InternalRedirect *InternalRedirect `json:"internalRedirect,omitempty"`
	// These stand in place of the host's; nil for the host's.
	IPFilter        *IPFilter        `json:"ipFilter,omitempty"`
	LocalRateLimit  *LocalRateLimit  `json:"localRateLimit,omitempty"`
	GlobalRateLimit *GlobalRateLimit `json:"globalRateLimit,omitempty"`
	Authorization   *Authorization   `json:"authorization,omitempty"`
	JWT             *RouteJWT        `json:"jwt,omitempty"`
	// Hash is what clusters that balance by hash go by.
	Hash []Hash `json:"hash,omitempty"`
}

// guardedAs is a remembered policy with the protections of the one that the
// route has now: an error elsewhere in the route neither keeps an old one in
// effect nor a new one out of it. Either may be nil.
func (p *RoutePolicy) guardedAs(now *RoutePolicy) *RoutePolicy {
	var guarded RoutePolicy
	if p != nil {
		guarded = *p
	}
	if now == nil {
		now = &RoutePolicy{}
	}
	guarded.IPFilter, guarded.LocalRateLimit, guarded.GlobalRateLimit = now.IPFilter, now.LocalRateLimit, now.GlobalRateLimit
	guarded.Authorization, guarded.JWT = now.Authorization, now.JWT
	if reflect.ValueOf(guarded).IsZero() {
		return nil
	}
	return &guarded
}

// HostPolicy is what holds for all routes of a host that do not say otherwise.
type HostPolicy struct {
	// Each may be nil.
	CORS            *CORS            `json:"cors,omitempty"`
	IPFilter        *IPFilter        `json:"ipFilter,omitempty"`
	LocalRateLimit  *LocalRateLimit  `json:"localRateLimit,omitempty"`
	GlobalRateLimit *GlobalRateLimit `json:"globalRateLimit,omitempty"`
	Authorization   *Authorization   `json:"authorization,omitempty"`
	JWT             *JWT             `json:"jwt,omitempty"`
}

// policy reads what a route of an HTTPProxy says besides where requests go:
// nil where it says nothing. Each part has a reader and a file of its own; what
// is wrong with one part is reported and breaks the route, as it would not do
// what its author meant.
func (a *actionReader) policy(r *contourv1.Route) (*RoutePolicy, bool) {
	p := &RoutePolicy{}
	ok := a.routeHeaders(r, p)
	read := func(good bool) { ok = ok && good }
	var good bool
	if len(r.Services) == 0 {
		a.withoutUpstream(r)
	} else {
		p.Websockets = r.EnableWebsockets
		p.Timeouts, good = a.timeouts(r.TimeoutPolicy)
		read(good)
		p.Retry, good = a.retry(r.RetryPolicy, p.Timeouts.Response)
		read(good)
		p.InternalRedirect, good = a.internalRedirect(r.InternalRedirectPolicy)
		read(good)
		p.Hash = a.hashes(r.LoadBalancerPolicy)
	}
	p.IPFilter = a.routeIPFilter(r)
	p.LocalRateLimit, p.GlobalRateLimit = a.routeRateLimits(r.RateLimitPolicy)
	p.Authorization = a.routeAuthorization(r.AuthPolicy)
	p.JWT = a.routeJWT(r.JWTVerificationPolicy)
	if reflect.ValueOf(*p).IsZero() {
		p = nil
	}
	return p, ok
}

// reasonIgnoredField is that of warnings about what is set and does nothing.
const reasonIgnoredField = "IgnoredField"

// withoutUpstream warns of what a route says about upstreams while it has
// none: it redirects, or answers by itself.
func (a *actionReader) withoutUpstream(r *contourv1.Route) {
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"requestHeadersPolicy", r.RequestHeadersPolicy != nil},
		{"cookieRewritePolicies", r.CookieRewritePolicies != nil},
		{"enableWebsockets", r.EnableWebsockets},
		{"timeoutPolicy", r.TimeoutPolicy != nil},
		{"retryPolicy", r.RetryPolicy != nil},
		{"healthCheckPolicy", r.HealthCheckPolicy != nil},
		{"loadBalancerPolicy", r.LoadBalancerPolicy != nil},
		{"pathRewritePolicy", r.PathRewritePolicy != nil},
		{"internalRedirectPolicy", r.InternalRedirectPolicy != nil},
	} {
		if f.set {
			a.warn(contourv1.ConditionTypeRouteError, reasonIgnoredField, "."+f.name,
				"ignoring field %q; the route has no services", f.name)
		}
	}
}
