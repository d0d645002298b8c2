package xds

import (
	"fmt"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	previousv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/internal_redirect/previous_routes/v3"
	safev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/internal_redirect/safe_cross_scheme/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"isoline.dev/isoline/dag"
)

func internalRedirect(r *dag.InternalRedirect) *routev3.InternalRedirectPolicy {
	p := &routev3.InternalRedirectPolicy{
		MaxInternalRedirects:     wrapperspb.UInt32(r.Max),
		RedirectResponseCodes:    r.StatusCodes,
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
