package dag

import (
	"fmt"
	"slices"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
)

// InternalRedirect makes Envoy follow an upstream's redirect itself, instead of
// handing it to the client.
type InternalRedirect struct {
	// Max is how many one request may follow; at least 1.
	Max uint32 `json:"max"`
	// StatusCodes are the redirects to follow, sorted; at least one.
	StatusCodes []uint32 `json:"statusCodes"`
	// CrossScheme is whether a redirect may change between http and https.
	CrossScheme CrossScheme `json:"crossScheme"`
	// DenyRepeatedRoute does not follow to a route where a redirect of the same
	// route has led before.
	DenyRepeatedRoute bool `json:"denyRepeatedRoute,omitempty"`
}

// CrossScheme says when a followed redirect may change between http and https.
type CrossScheme string

const (
	CrossSchemeNever  CrossScheme = "Never"
	CrossSchemeAlways CrossScheme = "Always"
	// CrossSchemeSafeOnly forbids from http to https, which would show to a
	// client without TLS what was meant for one with it.
	CrossSchemeSafeOnly CrossScheme = "SafeOnly"
)

func (a *actionReader) internalRedirect(p *contourv1.HTTPInternalRedirectPolicy) (*InternalRedirect, bool) {
	if p == nil {
		return nil, true
	}
	r, err := readInternalRedirect(p)
	if err != nil {
		a.fail(contourv1.ConditionTypeRouteError, "InternalRedirectPolicyNotValid", ".internalRedirectPolicy",
			"route.internalRedirectPolicy is invalid: %s", err)
		return nil, false
	}
	return r, true
}

func readInternalRedirect(p *contourv1.HTTPInternalRedirectPolicy) (*InternalRedirect, error) {
	r := &InternalRedirect{
		Max:               or(p.MaxInternalRedirects, 1),
		CrossScheme:       CrossScheme(or(p.AllowCrossSchemeRedirect, string(CrossSchemeNever))),
		DenyRepeatedRoute: p.DenyRepeatedRouteRedirect,
	}
	switch r.CrossScheme {
	case CrossSchemeNever, CrossSchemeAlways, CrossSchemeSafeOnly:
	default:
		return nil, fmt.Errorf("invalid allowCrossSchemeRedirect %q, must be Always, Never or SafeOnly", r.CrossScheme)
	}
	for _, code := range p.RedirectResponseCodes {
		switch code {
		case 301, 302, 303, 307, 308:
			r.StatusCodes = append(r.StatusCodes, uint32(code))
		default:
			return nil, fmt.Errorf("invalid status code %d, must be 301, 302, 303, 307 or 308", code)
		}
	}
	if len(r.StatusCodes) == 0 {
		r.StatusCodes = []uint32{302}
	}
	slices.Sort(r.StatusCodes)
	r.StatusCodes = slices.Compact(r.StatusCodes)
	return r, nil
}
