package xds

import (
	"slices"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"isoline.dev/isoline/dag"
)

// setPolicy makes a route treat its requests as p says; p may be nil. The
// route's action is set already. Each part of a policy has a function and a
// file of its own.
func setPolicy(route *routev3.Route, p *dag.RoutePolicy) {
	if p == nil {
		return
	}
	setRouteHeaders(route, p)
	if action := route.GetRoute(); action != nil {
		setTimeouts(action, p.Timeouts)
		action.HashPolicy = hashPolicies(p.Hash)
		if p.Retry != nil {
			action.RetryPolicy = retryPolicy(p.Retry)
		}
		if p.Websockets {
			action.UpgradeConfigs = []*routev3.RouteAction_UpgradeConfig{{UpgradeType: "websocket"}}
		}
		if p.InternalRedirect != nil {
			action.InternalRedirectPolicy = internalRedirect(p.InternalRedirect)
		}
	}
	route.TypedPerFilterConfig = routeFilters(p)
}

// setHostPolicy makes all routes of a host that do not say otherwise treat
// their requests as p says; p may be nil.
func setHostPolicy(host *routev3.VirtualHost, p *dag.HostPolicy) {
	if p == nil {
		return
	}
	host.TypedPerFilterConfig = hostFilters(p)
}

// checkPolicy says what Envoy would refuse of p, which may be nil, or not do as
// it was meant.
func checkPolicy(p *dag.RoutePolicy) []string {
	if p == nil {
		return nil
	}
	why := []string{
		checkHeaders("request headers", p.RequestHeaders),
		checkHeaders("response headers", p.ResponseHeaders),
		checkHostRewrite(p.HostRewrite),
		checkTimeout("response timeout", p.Timeouts.Response),
		checkTimeout("idle timeout", p.Timeouts.Idle),
	}
	for _, h := range p.Hash {
		why = append(why, checkHash(h))
	}
	if p.Retry != nil {
		why = append(why, checkRetry(p.Retry))
	}
	if p.InternalRedirect != nil {
		why = append(why, checkInternalRedirect(p.InternalRedirect))
	}
	why = append(why, checkRouteFilters(p)...)
	return slices.DeleteFunc(why, func(s string) bool { return s == "" })
}
