package xds

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"isoline.dev/isoline/dag"
)

// setPolicy makes a route treat its requests as p says; p may be nil. The
// route's action is set already. Each part of a policy has a function and a
// file of its own.
func setPolicy(_ *routev3.Route, p *dag.RoutePolicy) {
	if p == nil {
		return
	}
}

// setHostPolicy makes all routes of a host that do not say otherwise treat
// their requests as p says; p may be nil.
func setHostPolicy(_ *routev3.VirtualHost, p *dag.HostPolicy) {
	if p == nil {
		return
	}
}
