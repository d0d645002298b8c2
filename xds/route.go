package xds

import (
	"net/http"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"isoline.dev/isoline/dag"
)

// noRouteName is the name of the route that closes every route configuration.
const noRouteName = "isoline-no-route"

// routeConfiguration is the whole table of one host.
func routeConfiguration(name, host string, routes []*routev3.Route) *routev3.RouteConfiguration {
	rc := &routev3.RouteConfiguration{
		Name: name,
		VirtualHosts: []*routev3.VirtualHost{{
			Name:    name,
			Domains: []string{"*"}, // the scope has chosen the host
			Routes:  routes,
		}},
		RequestHeadersToRemove: []string{listenerHeader, hostHeader},
	}
	if slices.ContainsFunc(routes, followsRedirects) {
		followWithin(rc, host)
	}
	return rc
}

// noRoute answers 404 to what no other route takes. Without it such a request
// would be "not routed", and the fallback filters would offer it to the owner
// of the wildcard host. The empty prefix also takes "OPTIONS *".
func noRoute() *routev3.Route {
	return &routev3.Route{
		Name:   noRouteName,
		Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: ""}},
		Action: directResponse(&dag.DirectResponse{StatusCode: http.StatusNotFound}),
	}
}

// lastRoute is the one that closes the table: noRoute, or, where the host is
// not served for want of a protection, a 503 for every request.
func lastRoute(closed bool) *routev3.Route {
	last := noRoute()
	if closed {
		last.Action = directResponse(&dag.DirectResponse{StatusCode: http.StatusServiceUnavailable})
	}
	return last
}

// translateRoute returns the route, the clusters that it uses, and what is
// wrong with it. Where something is wrong with the action the route answers
// 503; where something is wrong with the match it is nil.
func translateRoute(r *dag.Route, opts Options) (*routev3.Route, []upstream, []string) {
	if why := checkMatch(&r.Match); len(why) > 0 {
		return nil, nil, why
	}
	route := &routev3.Route{Name: r.Match.Key(), Match: matchOf(&r.Match)}
	why := checkAction(&r.Action)
	var used []upstream
	if len(why) == 0 {
		used = append(setAction(route, &r.Action), routeClusters(r.Action.Policy)...)
		why = checkMessages(route, used)
	}
	if opts.RouteSource {
		setSource(route, r.Owner)
	}
	if len(why) == 0 {
		return route, used, nil
	}
	route.Action, route.TypedPerFilterConfig = directResponse(&dag.DirectResponse{StatusCode: http.StatusServiceUnavailable}), nil
	if err := route.ValidateAll(); err != nil {
		return nil, nil, append(why, err.Error())
	}
	return route, nil, why
}

func checkMessages(route *routev3.Route, used []upstream) []string {
	var why []string
	if err := validateMessage(route); err != nil {
		why = append(why, err.Error())
	}
	for _, u := range used {
		if err := validateMessage(u.config); err != nil {
			why = append(why, err.Error())
		}
	}
	return why
}

func matchOf(m *dag.Match) *routev3.RouteMatch {
	match := &routev3.RouteMatch{}
	switch m.Path.Type {
	case dag.PathExact:
		match.PathSpecifier = &routev3.RouteMatch_Path{Path: m.Path.Value}
	case dag.PathSegment:
		match.PathSpecifier = &routev3.RouteMatch_PathSeparatedPrefix{PathSeparatedPrefix: m.Path.Value}
	case dag.PathRegex:
		match.PathSpecifier = &routev3.RouteMatch_SafeRegex{SafeRegex: regex(m.Path.Value)}
	default: // checkMatch knows no other than PathPrefix
		match.PathSpecifier = &routev3.RouteMatch_Prefix{Prefix: m.Path.Value}
	}
	for _, c := range m.Headers {
		match.Headers = append(match.Headers, headerMatch(c))
	}
	for _, c := range m.Query {
		match.QueryParameters = append(match.QueryParameters, queryMatch(c))
	}
	return match
}

func headerMatch(c dag.Condition) *routev3.HeaderMatcher {
	m := &routev3.HeaderMatcher{
		Name:                      c.Name,
		InvertMatch:               c.Invert,
		TreatMissingHeaderAsEmpty: c.MissingIsEmpty,
	}
	if c.Op == dag.OpPresent {
		m.HeaderMatchSpecifier = &routev3.HeaderMatcher_PresentMatch{PresentMatch: true}
	} else {
		m.HeaderMatchSpecifier = &routev3.HeaderMatcher_StringMatch{StringMatch: stringMatch(c)}
	}
	return m
}

func queryMatch(c dag.Condition) *routev3.QueryParameterMatcher {
	m := &routev3.QueryParameterMatcher{Name: c.Name}
	if c.Op == dag.OpPresent {
		m.QueryParameterMatchSpecifier = &routev3.QueryParameterMatcher_PresentMatch{PresentMatch: true}
	} else {
		m.QueryParameterMatchSpecifier = &routev3.QueryParameterMatcher_StringMatch{StringMatch: stringMatch(c)}
	}
	return m
}

func stringMatch(c dag.Condition) *matcherv3.StringMatcher {
	m := &matcherv3.StringMatcher{IgnoreCase: c.IgnoreCase}
	switch c.Op {
	case dag.OpContains:
		m.MatchPattern = &matcherv3.StringMatcher_Contains{Contains: c.Value}
	case dag.OpPrefix:
		m.MatchPattern = &matcherv3.StringMatcher_Prefix{Prefix: c.Value}
	case dag.OpSuffix:
		m.MatchPattern = &matcherv3.StringMatcher_Suffix{Suffix: c.Value}
	case dag.OpRegex:
		m.MatchPattern = &matcherv3.StringMatcher_SafeRegex{SafeRegex: regex(c.Value)}
		m.IgnoreCase = false
	default: // checkMatch knows no other than OpExact
		m.MatchPattern = &matcherv3.StringMatcher_Exact{Exact: c.Value}
	}
	return m
}

func regex(expr string) *matcherv3.RegexMatcher { return &matcherv3.RegexMatcher{Regex: expr} }

// setAction sets the action of route, and returns the clusters that it uses.
func setAction(route *routev3.Route, a *dag.Action) []upstream {
	switch {
	case a.Redirect != nil:
		route.Action = &routev3.Route_Redirect{Redirect: redirect(a.Redirect)}
	case a.DirectResponse != nil:
		route.Action = directResponse(a.DirectResponse)
	default:
		action, used := forward(a)
		route.Action = &routev3.Route_Route{Route: action}
		setPolicy(route, a.Policy)
		return used
	}
	setPolicy(route, a.Policy)
	return nil
}

func directResponse(d *dag.DirectResponse) *routev3.Route_DirectResponse {
	action := &routev3.DirectResponseAction{Status: d.StatusCode}
	if d.Body != "" {
		action.Body = &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: d.Body}}
	}
	return &routev3.Route_DirectResponse{DirectResponse: action}
}

var redirectCodes = map[uint32]routev3.RedirectAction_RedirectResponseCode{
	http.StatusMovedPermanently:  routev3.RedirectAction_MOVED_PERMANENTLY,
	http.StatusFound:             routev3.RedirectAction_FOUND,
	http.StatusSeeOther:          routev3.RedirectAction_SEE_OTHER,
	http.StatusTemporaryRedirect: routev3.RedirectAction_TEMPORARY_REDIRECT,
	http.StatusPermanentRedirect: routev3.RedirectAction_PERMANENT_REDIRECT,
}

func redirect(r *dag.Redirect) *routev3.RedirectAction {
	action := &routev3.RedirectAction{
		HostRedirect: r.Hostname,
		PortRedirect: r.Port,
		ResponseCode: redirectCodes[r.StatusCode],
	}
	if r.Scheme != "" {
		action.SchemeRewriteSpecifier = &routev3.RedirectAction_SchemeRedirect{SchemeRedirect: r.Scheme}
	}
	switch {
	case r.Path != "":
		action.PathRewriteSpecifier = &routev3.RedirectAction_PathRedirect{PathRedirect: r.Path}
	case r.Prefix != "":
		action.PathRewriteSpecifier = &routev3.RedirectAction_PrefixRewrite{PrefixRewrite: r.Prefix}
	}
	return action
}

func forward(a *dag.Action) (*routev3.RouteAction, []upstream) {
	action := &routev3.RouteAction{}
	shares := sharesOf(a.Clusters)
	used := make([]upstream, 0, len(shares)+1)
	for _, s := range shares {
		used = append(used, s.upstream)
	}
	if len(shares) == 1 && shares[0].plain() {
		action.ClusterSpecifier = &routev3.RouteAction_Cluster{Cluster: shares[0].config.Name}
	} else {
		action.ClusterSpecifier = &routev3.RouteAction_WeightedClusters{WeightedClusters: weighted(shares)}
	}
	if a.Mirror != nil {
		to := upstreamOf(&a.Mirror.Cluster)
		used = append(used, to)
		action.RequestMirrorPolicies = []*routev3.RouteAction_RequestMirrorPolicy{mirror(a.Mirror, to.config.Name)}
	}
	if a.Rewrite != nil {
		rewrite(action, a.Rewrite)
	}
	return action, used
}

func rewrite(action *routev3.RouteAction, r *dag.PathRewrite) {
	if r.Regex == "" {
		action.PrefixRewrite = r.Prefix
		return
	}
	action.RegexRewrite = &matcherv3.RegexMatchAndSubstitute{
		// Envoy replaces every match; the path is to be matched as a whole.
		Pattern:      regex(wholePath(r.Regex)),
		Substitution: r.Substitution,
	}
}

func wholePath(expr string) string { return "^(?:" + expr + ")$" }
