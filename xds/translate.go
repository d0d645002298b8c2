package xds

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"isoline.dev/isoline/dag"
	"isoline.dev/isoline/problem"
)

// HTTPListener is the name of the plain HTTP listener, and the first part of
// the names of its scopes and route configurations.
const HTTPListener = "http"

// The problems that translation finds: what Envoy would refuse, or take and
// never use as it was meant.
const (
	ProblemType   = "RouteError"
	ProblemReason = "EnvoyValidation"
)

// Options hold for every translated host.
type Options struct {
	// RouteSource makes the object that a route comes from known to the access
	// log.
	RouteSource bool
}

// UnitName is the name of the unit, the scope and the route configuration of
// a host on the plain HTTP listener.
func UnitName(host string) string { return HTTPListener + "/" + host }

// Translate turns a virtual host into what Envoy is sent for it: clusters, a
// route configuration and the scope that leads to it. The result depends on
// its arguments alone.
//
// A route that Envoy would refuse costs only itself and is a problem: where
// its match can be expressed, requests that it takes are answered with 503,
// so that they do not fall through to a broader route; else it is left out.
// The unit is nil where nothing at all can be served, which the problems say.
func Translate(vh *dag.VirtualHost, opts Options) (*Unit, []problem.Problem) {
	h, problems := translateHost(vh, opts)
	if h == nil {
		return nil, problems
	}
	unit, err := h.unit()
	if err != nil {
		return nil, append(problems, hostProblem(vh, err.Error()))
	}
	return unit, problems
}

// hostResources are the messages of one host, before they are marshalled.
type hostResources struct {
	// routes and scope are those for plain HTTP, which every host has. secure
	// and secureScopes are those for HTTPS; nil without TLS.
	routes       *routev3.RouteConfiguration
	scope        *routev3.ScopedRouteConfiguration
	secure       *routev3.RouteConfiguration
	secureScopes []*routev3.ScopedRouteConfiguration
	clusters     []upstream
}

func translateHost(vh *dag.VirtualHost, opts Options) (*hostResources, []problem.Problem) {
	if why := checkHost(vh.Host); why != "" {
		return nil, []problem.Problem{hostProblem(vh, why)}
	}
	policy, closed, problems := usablePolicy(vh)
	var (
		routes   []*routev3.Route
		secure   []*routev3.Route
		named    = map[string]bool{noRouteName: true}
		clusters = map[string]upstream{}
	)
	served := vh.Routes
	if closed {
		served = nil
	}
	for i := range served {
		r := &served[i]
		route, used, why := translateRoute(r, opts)
		if named[r.Match.Key()] {
			route, why = nil, append(why, "another route of the host has the same match and comes first")
		}
		if len(why) > 0 {
			problems = append(problems, routeProblem(vh, r, why))
		}
		if route == nil {
			continue
		}
		named[route.Name] = true
		plain := plainRoute(route, r)
		if plain != route {
			leaveUnasked(plain, policy)
		}
		routes = append(routes, plain)
		if !r.PlainOnly {
			secure = append(secure, route)
		}
		for _, u := range used {
			clusters[u.config.Name] = u
		}
	}
	name := UnitName(vh.Host)
	h := &hostResources{
		routes: routeConfiguration(name, vh.Host, append(routes, lastRoute(closed))),
		scope:  scopeOf(HTTPListener, vh.Host, name),
	}
	setHostPolicy(h.routes.VirtualHosts[0], policy)
	if vh.TLS != nil && vh.TCP == nil {
		h.secure = secureRoutes(vh, append(secure, lastRoute(closed)))
		setHostPolicy(h.secure.VirtualHosts[0], policy)
		h.secureScopes = append(h.secureScopes, scopeOf(HTTPSListener, vh.Host, h.secure.Name))
		if !vh.TLS.Fallback.IsZero() {
			h.secureScopes = append(h.secureScopes, scopeOf(fallbackListener, vh.Host, h.secure.Name))
		}
	}
	for _, u := range hostClusters(policy) {
		clusters[u.config.Name] = u
	}
	for _, u := range clusters {
		h.clusters = append(h.clusters, u)
	}
	slices.SortFunc(h.clusters, func(a, b upstream) int { return cmp.Compare(a.config.Name, b.config.Name) })
	if err := h.validate(); err != nil {
		return nil, append(problems, hostProblem(vh, err.Error()))
	}
	return h, problems
}

func (h *hostResources) validate() error {
	errs := []error{validateMessage(h.routes), h.scope.ValidateAll(), validateMessage(h.secure)}
	for _, scope := range h.secureScopes {
		errs = append(errs, scope.ValidateAll())
	}
	return errors.Join(errs...)
}

// plainRoute is a route as the plain HTTP listener serves it.
func plainRoute(route *routev3.Route, r *dag.Route) *routev3.Route {
	if r.Plain == dag.PlainServe {
		return route
	}
	plain := &routev3.Route{Name: route.Name, Match: route.Match}
	if r.Plain == dag.PlainRedirect {
		plain.Action = &routev3.Route_Redirect{Redirect: &routev3.RedirectAction{
			SchemeRewriteSpecifier: &routev3.RedirectAction_HttpsRedirect{HttpsRedirect: true},
		}}
	} else {
		plain.Action = directResponse(&dag.DirectResponse{StatusCode: http.StatusNotFound})
	}
	return plain
}

// hostProblem says that a host cannot be served at all.
func hostProblem(vh *dag.VirtualHost, why string) problem.Problem {
	return problem.Problem{
		Severity: problem.Error, Type: ProblemType, Reason: ProblemReason,
		Message: fmt.Sprintf("host %q cannot be served by Envoy: %s", vh.Host, why),
		Object:  vh.Owner.Ref(),
		Field:   "spec.virtualhost.fqdn",
	}
}

// routeProblem says that one route cannot be served as written.
func routeProblem(vh *dag.VirtualHost, r *dag.Route, why []string) problem.Problem {
	return problem.Problem{
		Severity: problem.Error, Type: ProblemType, Reason: ProblemReason,
		Message: fmt.Sprintf("route %q of host %q cannot be served by Envoy: %s", r.Match.Key(), vh.Host, strings.Join(why, "; ")),
		Object:  r.Owner.Ref(),
		Field:   r.Field,
		Team:    r.Team,
	}
}

// unit marshals what was translated.
func (h *hostResources) unit() (*Unit, error) {
	u := &Unit{Name: h.routes.Name}
	for _, m := range []*routev3.RouteConfiguration{h.routes, h.secure} {
		if m == nil {
			continue
		}
		r, err := NewResource(m)
		if err != nil {
			return nil, err
		}
		u.Routes = append(u.Routes, r)
	}
	for _, m := range append([]*routev3.ScopedRouteConfiguration{h.scope}, h.secureScopes...) {
		r, err := NewResource(m)
		if err != nil {
			return nil, err
		}
		u.Scopes = append(u.Scopes, r)
	}
	for _, from := range h.clusters {
		c, err := from.cluster()
		if err != nil {
			return nil, err
		}
		u.Clusters = append(u.Clusters, c)
	}
	return u, nil
}

// cluster marshals the cluster.
func (u *upstream) cluster() (*Cluster, error) {
	r, err := NewResource(u.config)
	if err != nil {
		return nil, err
	}
	return &Cluster{Resource: r, Endpoints: u.endpoints, SlowToWarm: u.slow}, nil
}
