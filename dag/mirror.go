package dag

import (
	"slices"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
)

// Mirror is an upstream that gets copies of a route's requests, and whose
// answers nobody sees.
type Mirror struct {
	Cluster Cluster `json:"cluster"`
	// Percent of the requests are copied, 1 to 100.
	Percent uint32 `json:"percent"`
	// RequestHeaders may be nil. They come after the route's.
	RequestHeaders *Headers `json:"requestHeaders,omitempty"`
	// HostRewrite is the Host header of the copies. Where it is empty they have
	// that of the request with "-shadow" appended.
	HostRewrite string `json:"hostRewrite,omitempty"`
}

// isMirror tells mirrors from services that answer.
func isMirror(s contourv1.Service) bool { return s.Mirror }

// answering are the services of a route that share its requests.
func answering(services []contourv1.Service) []contourv1.Service {
	return slices.DeleteFunc(slices.Clone(services), isMirror)
}

// mirror reads a service that is a mirror. What is wrong with it costs the
// route only the copies.
func (a *actionReader) mirror(s contourv1.Service, use upstreamUse, field string, action *Action) {
	if action.Mirror != nil {
		a.fail(contourv1.ConditionTypeServiceError, "OnlyOneMirror", field+".mirror",
			"only one service per route may be nominated as mirror")
		return
	}
	if s.Weight < 0 || s.Weight > 100 {
		a.fail(contourv1.ConditionTypeServiceError, "ServiceWeightInvalid", field+".weight",
			"service %q: the weight of a mirror is the percentage of requests to copy, and must be in the range 1-100", s.Name)
		return
	}
	w, ok := a.service(s, use, field)
	if !ok || !a.serviceHeaders(s, &w, field) {
		return
	}
	action.Mirror = &Mirror{
		Cluster: w.Cluster, Percent: or(uint32(s.Weight), 100),
		RequestHeaders: w.RequestHeaders, HostRewrite: w.HostRewrite,
	}
	if w.ResponseHeaders != nil {
		a.warn(contourv1.ConditionTypeServiceError, reasonIgnoredField, field+".responseHeadersPolicy", ignoredOnMirror, "responseHeadersPolicy")
	}
	if len(s.CookieRewritePolicies) > 0 {
		a.warn(contourv1.ConditionTypeServiceError, reasonIgnoredField, field+".cookieRewritePolicies", ignoredOnMirror, "cookieRewritePolicies")
	}
}

const ignoredOnMirror = "ignoring field %q; nobody sees what a mirror answers"
