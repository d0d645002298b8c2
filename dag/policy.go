package dag

import (
	"reflect"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
)

// RoutePolicy is how a route treats its requests, besides where they go. It is
// part of the Action, so that a last good action keeps the policy it had.
type RoutePolicy struct{}

// HostPolicy is what holds for all routes of a host that do not say otherwise.
type HostPolicy struct{}

// policy reads what a route of an HTTPProxy says besides where requests go:
// nil where it says nothing. Each part has a reader and a file of its own; what
// is wrong with one part is reported and breaks the route, as it would not do
// what its author meant.
func (a *actionReader) policy(r *contourv1.Route) (*RoutePolicy, bool) {
	p, ok := &RoutePolicy{}, true
	if reflect.ValueOf(*p).IsZero() {
		p = nil
	}
	return p, ok
}
