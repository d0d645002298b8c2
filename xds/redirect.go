package xds

import (
	"fmt"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	previousv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/internal_redirect/previous_routes/v3"
	safev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/internal_redirect/safe_cross_scheme/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"isoline.dev/isoline/dag"
)

// locationHeader is on a request only while Envoy looks whether a redirect
// leads to one of its routes, and until the request is sent on.
const locationHeader = "location"

func followsRedirects(r *routev3.Route) bool { return r.GetRoute().GetInternalRedirectPolicy() != nil }

// followWithin prepares the table of a host that has routes that follow
// redirects. Envoy follows one only where it finds a route for the new URL, and
// it looks for it in this table: so the table takes no other host's URL, and
// redirects to elsewhere stay the client's to follow. And it looks where the
// request's headers lead: so those routes leave them in place, which show to
// their upstreams.
func followWithin(rc *routev3.RouteConfiguration, host string) {
	vh := rc.VirtualHosts[0]
	if host != "*" {
		vh.Domains = []string{host, host + ":"} // which the scope has found, in any case
		rc.IgnorePortInHostMatching = true
	}
	rc.RequestHeadersToRemove = []string{locationHeader}
	hidden := make([]*routev3.Route, len(vh.Routes))
	for i, r := range vh.Routes {
		if hidden[i] = r; !followsRedirects(r) {
			hidden[i] = proto.CloneOf(r)
			hidden[i].RequestHeadersToRemove = append(hidden[i].RequestHeadersToRemove, listenerHeader, hostHeader)
		}
	}
	vh.Routes = hidden
}

// noRedirect matches requests proper, and not the question whether a redirect
// leads to a route.
func noRedirect() *routev3.HeaderMatcher {
	return &routev3.HeaderMatcher{
		Name: locationHeader, InvertMatch: true,
		HeaderMatchSpecifier: &routev3.HeaderMatcher_PresentMatch{PresentMatch: true},
	}
}

func internalRedirect(r *dag.InternalRedirect) *routev3.InternalRedirectPolicy {
	p := &routev3.InternalRedirectPolicy{
		MaxInternalRedirects:     wrapperspb.UInt32(r.Max),
		RedirectResponseCodes:    r.StatusCodes,
		ResponseHeadersToCopy:    []string{locationHeader},
		AllowCrossSchemeRedirect: r.CrossScheme == dag.CrossSchemeAlways || r.CrossScheme == dag.CrossSchemeSafeOnly,
	}
	if r.CrossScheme == dag.CrossSchemeSafeOnly {
		p.Predicates = append(p.Predicates, &corev3.TypedExtensionConfig{
			Name:        "envoy.internal_redirect_predicates.safe_cross_scheme",
			TypedConfig: mustAny(&safev3.SafeCrossSchemeConfig{}),
		})
	}
	if r.DenyRepeatedRoute {
		p.Predicates = append(p.Predicates, &corev3.TypedExtensionConfig{
			Name:        "envoy.internal_redirect_predicates.previous_routes",
			TypedConfig: mustAny(&previousv3.PreviousRoutesConfig{}),
		})
	}
	return p
}

func checkInternalRedirect(r *dag.InternalRedirect) string {
	switch {
	case r.Max == 0:
		return "internal redirects: at least one must be allowed"
	case len(r.StatusCodes) == 0 || slices.ContainsFunc(r.StatusCodes, func(code uint32) bool { return redirectCodes[code] == 0 && code != 301 }):
		return fmt.Sprintf("internal redirects: %v are not all of 301, 302, 303, 307 and 308", r.StatusCodes)
	}
	switch r.CrossScheme {
	case dag.CrossSchemeNever, dag.CrossSchemeAlways, dag.CrossSchemeSafeOnly:
		return ""
	}
	return fmt.Sprintf("internal redirects: %.32q is neither Never nor Always nor SafeOnly", r.CrossScheme)
}
