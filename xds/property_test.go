package xds

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"isoline.dev/isoline/dag"
)

// TestWhateverIsTranslatedIsTakenByEnvoy makes hosts of which much is wrong.
// What translation lets through, a real Envoy has to take; what it does not,
// it has to name.
func TestWhateverIsTranslatedIsTakenByEnvoy(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(r *rapid.T) {
		var o offer
		opts := Options{RouteSource: rapid.Bool().Draw(r, "route source")}
		for range 10 {
			vh := testHost("a.example.com", rapid.SliceOfN(rapid.Custom(anyRoute), 1, 12).Draw(r, "routes")...)
			h, problems := translateHost(vh, opts)
			if h == nil {
				r.Fatalf("nothing is left of %v: %v", vh, problems)
			}
			checkTranslated(r, vh, h, len(problems))
			again, _ := translateHost(vh, opts)
			if !proto.Equal(h.routes, again.routes) || len(h.clusters) != len(again.clusters) {
				r.Fatalf("a second translation differs")
			}
			o.hosts = append(o.hosts, h)
		}
		// Ten tables, but their scopes must not be the same.
		for i, h := range o.hosts {
			h.scope = scopeOf(HTTPListener, strings.Repeat("a", i+1), h.routes.Name)
			h.scope.Name = strings.Repeat("a", i+1)
		}
		if why := envoyRefuses(t, dir, o); why != "" {
			r.Fatalf("Envoy refuses it: %s", why)
		}
	})
}

// checkTranslated holds the routes of h against those of vh: the order stays,
// and for every route that is not there, or answers 503, there is a problem.
// (No route that is made here asks for 503.)
func checkTranslated(r *rapid.T, vh *dag.VirtualHost, h *hostResources, problems int) {
	routes := h.routes.VirtualHosts[0].Routes
	known := map[string]bool{}
	for _, u := range h.clusters {
		known[u.config.Name] = true
	}
	at, whole := 0, 0
	for i := range vh.Routes {
		if routes[at].Name != vh.Routes[i].Match.Key() {
			continue
		}
		action := routes[at].GetRoute()
		names := []string{action.GetCluster()}
		for _, c := range action.GetWeightedClusters().GetClusters() {
			names = append(names, c.Name)
		}
		for _, name := range names {
			if name != "" && !known[name] {
				r.Fatalf("route %q uses cluster %q, which the unit does not have", routes[at].Name, name)
			}
		}
		if routes[at].GetDirectResponse().GetStatus() != 503 {
			whole++
		}
		at++
	}
	if at != len(routes)-1 || routes[at].Name != noRouteName {
		r.Fatalf("%d of %d routes are not in the order of the virtual host", len(routes)-at, len(routes))
	}
	if problems != len(vh.Routes)-whole {
		r.Fatalf("%d problems for %d routes, %d of them whole", problems, len(vh.Routes), whole)
	}
}

func anyRoute(r *rapid.T) dag.Route {
	m := dag.Match{
		Path:    anyPath(r),
		Headers: rapid.SliceOfN(rapid.Custom(anyHeaderCondition), 0, 2).Draw(r, "headers"),
		Query:   rapid.SliceOfN(rapid.Custom(anyQueryCondition), 0, 2).Draw(r, "query"),
	}
	return dag.Route{Match: m, Action: anyAction(r)}
}

// mostly draws from good, and once in about twenty times from bad, so that
// whole routes are often good, and often bad in one thing only.
func mostly[V any](r *rapid.T, name string, good, bad []V) V {
	if rare(r, name) {
		return rapid.SampledFrom(bad).Draw(r, "bad "+name)
	}
	return rapid.SampledFrom(good).Draw(r, name)
}

func rare(r *rapid.T, name string) bool {
	return rapid.SampledFrom(oneOf20[:]).Draw(r, name+" is bad")
}

var oneOf20 = [20]bool{19: true}

func anyText(r *rapid.T, name string, harmless ...string) string {
	if !rare(r, name) {
		return rapid.SampledFrom(harmless).Draw(r, name)
	}
	hostile := []string{"", "?", "#", "\x00", "\r\n", " ", "é", "\xff", "%41", "%", "//", "/../", "*", "\\", "\"", "a", "/", ":", "{x}", "%REQ(a)%", "\x7f", "\t", strings.Repeat("x", 1100)}
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom(hostile), 0, 4).Draw(r, name), "")
}

func anyPath(r *rapid.T) dag.Path {
	kind := rapid.SampledFrom([]dag.PathType{dag.PathPrefix, dag.PathExact, dag.PathSegment, dag.PathRegex}).Draw(r, "path type")
	if kind == dag.PathRegex {
		return dag.Path{Type: kind, Value: mostlyRegex(r)}
	}
	return dag.Path{Type: kind, Value: "/" + anyText(r, "path", "a", "a/b", "", "x-y_z", "a%20b")}
}

func mostlyRegex(r *rapid.T) string {
	if rare(r, "regex") {
		return anyRegex(r)
	}
	good := []string{"/v[0-9]+", "/.*", "/(a|b)/c", "[^/]+", `\d{1,3}`, "(?i)x", "^/x$", `\Q.+\E`, "(?P<n>a)?"}
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom(good), 1, 3).Draw(r, "good regex"), "")
}

// anyRegex is glued together from pieces, so that about half of them are
// regular expressions.
func anyRegex(r *rapid.T) string {
	pieces := []string{"a", ".", "*", "+", "?", "*?", "++", "**", "|", "(", ")", "(?:", "(?i)", "(?s:", "(?P<n>", "(?<n>", "(?U)", "(?-i)",
		"[", "]", "[^", "[a-z]", "[[:alpha:]]", "[[:^word:]]", "[]a]", "[a-\\d]", "{2}", "{0,1000}", "{1001}", "{,2}", "{", "}", "{1000}",
		`\d`, `\D`, `\b`, `\B`, `\A`, `\z`, `\Z`, `\Q`, `\E`, `\C`, `\pL`, `\PL`, `\p{Greek}`, `\p{^Greek}`, `\p{greek}`, `\p{Any}`, `\p{LC}`, `\p`, `\x41`, `\x{10FFFF}`, `\x{110000}`, `\8`, `\07`, `\_`, `\é`, `\n`, `\`, "^", "$", "é", "/", "\n", "\x00", "(?=", "(?#", "((((((", "))))))", "[\\pN-z]", "&&", "x*", "(a|b)*", "(|a)", "()", "(?i:ſ)"}
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 6).Draw(r, "regex"), "")
}

func anyHeaderCondition(r *rapid.T) dag.Condition {
	c := dag.Condition{
		Name:           anyText(r, "header", "x-a", "host", ":authority", ":method", ":path", "accept"),
		Op:             rapid.SampledFrom([]dag.Op{dag.OpPresent, dag.OpExact, dag.OpContains, dag.OpRegex}).Draw(r, "op"),
		IgnoreCase:     rapid.Bool().Draw(r, "ignore case"),
		Invert:         rapid.Bool().Draw(r, "invert"),
		MissingIsEmpty: rapid.Bool().Draw(r, "missing is empty"),
	}
	return withValue(r, c)
}

func anyQueryCondition(r *rapid.T) dag.Condition {
	c := dag.Condition{
		Name:       anyText(r, "parameter", "a", "b"),
		Op:         rapid.SampledFrom([]dag.Op{dag.OpPresent, dag.OpExact, dag.OpContains, dag.OpPrefix, dag.OpSuffix, dag.OpRegex}).Draw(r, "op"),
		IgnoreCase: rapid.Bool().Draw(r, "ignore case"),
	}
	return withValue(r, c)
}

func withValue(r *rapid.T, c dag.Condition) dag.Condition {
	switch c.Op {
	case dag.OpPresent:
	case dag.OpRegex:
		c.Value, c.IgnoreCase = mostlyRegex(r), false
	default:
		c.Value = anyText(r, "value", "v", "V", "a b")
	}
	return c
}

func anyAction(r *rapid.T) dag.Action {
	var a dag.Action
	switch rapid.IntRange(0, 5).Draw(r, "action") {
	case 0:
		a.Redirect = &dag.Redirect{
			Scheme:     mostly(r, "scheme", []string{"", "http", "https"}, []string{"ftp", "\n"}),
			Hostname:   mostly(r, "hostname", []string{"", "b.example.com", "[::1]"}, []string{"a\nb", "%", "a:80", "a b"}),
			Port:       mostly(r, "port", []uint32{0, 1, 65535}, []uint32{65536}),
			StatusCode: mostly(r, "status", []uint32{301, 302, 303, 307, 308}, []uint32{0, 300, 304}),
		}
		path := "/" + anyText(r, "path", "new", "new?a=b", "")
		if rapid.Bool().Draw(r, "prefix") {
			a.Redirect.Prefix = path
		} else {
			a.Redirect.Path = path
		}
	case 1:
		a.DirectResponse = &dag.DirectResponse{
			StatusCode: mostly(r, "status", []uint32{200, 204, 404, 599}, []uint32{0, 100, 199, 600, 1 << 31}),
			Body:       strings.Repeat(anyText(r, "body", "x", "%REQ(a)%"), mostly(r, "repeats", []int{0, 1, 512}, []int{4096, 4097})),
		}
	default:
		a.Clusters = rapid.SliceOfN(rapid.Custom(anyCluster), 1, 4).Draw(r, "clusters")
		if rapid.Bool().Draw(r, "mirror") {
			w := anyCluster(r)
			a.Mirror = &dag.Mirror{
				Cluster: w.Cluster, RequestHeaders: w.RequestHeaders, HostRewrite: w.HostRewrite,
				Percent: mostly(r, "percent", []uint32{1, 50, 100}, []uint32{0, 101}),
			}
		}
		a.Rewrite = mostly(r, "rewrite", []*dag.PathRewrite{nil, {Prefix: "/x"}, {Regex: "^/a(.*)$", Substitution: `/\1`}},
			[]*dag.PathRewrite{{Prefix: "x"}, {Prefix: "/\r\n"}, {}, {Regex: anyRegex(r), Substitution: anyText(r, "substitution", `\1`, `\0`, `/x`, `\\`)}})
	}
	a.Policy = anyPolicy(r)
	return a
}

func anyPolicy(r *rapid.T) *dag.RoutePolicy {
	if rapid.Bool().Draw(r, "no policy") {
		return nil
	}
	p := &dag.RoutePolicy{
		RequestHeaders:   anyHeaders(r, "request headers"),
		ResponseHeaders:  anyHeaders(r, "response headers"),
		HostRewrite:      mostly(r, "host rewrite", []*dag.HostRewrite{nil, {Host: "a.example.com:80"}, {Header: "x-host"}}, []*dag.HostRewrite{{}, {Host: "a", Header: "b"}, {Host: "a b"}, {Host: "\n"}, {Header: ":path"}, {Header: "a b"}, {Host: "%REQ(a)%"}}),
		Timeouts:         dag.Timeouts{Response: anyTimeout(r, "response timeout"), Idle: anyTimeout(r, "idle timeout")},
		Retry:            anyRetry(r),
		Hash:             rapid.SliceOfN(rapid.Custom(anyHash), 0, 2).Draw(r, "hash"),
		Websockets:       rapid.Bool().Draw(r, "websockets"),
		InternalRedirect: anyInternalRedirect(r),
	}
	p.IPFilter, p.LocalRateLimit, p.GlobalRateLimit = anyLimits(r)
	p.Authorization = anyAuthorization(r)
	if rapid.Bool().Draw(r, "tokens") {
		p.JWT = &dag.RouteJWT{Require: anyText(r, "provider", "", "a", "b c%")}
	}
	return p
}

func anyHeaders(r *rapid.T, name string) *dag.Headers {
	if rapid.Bool().Draw(r, "no "+name) {
		return nil
	}
	h := &dag.Headers{Remove: rapid.SliceOfN(rapid.Custom(anyHeaderName), 0, 2).Draw(r, name+" to remove")}
	for range rapid.IntRange(0, 3).Draw(r, name+" to set") {
		h.Set = append(h.Set, dag.Header{Name: anyHeaderName(r), Value: anyTemplate(r)})
	}
	return h
}

func anyHeaderName(r *rapid.T) string {
	return mostly(r, "header name", []string{"x-a", "x-b", "server", "set-cookie", "x-forwarded-for", "content-length"},
		[]string{"", "host", ":path", ":authority", "a b", "A", "x-isoline-host", "x\n", "é", "%"})
}

// anyTemplate is made of what an author may write in a header's value and of
// what dag makes of it.
func anyTemplate(r *rapid.T) string {
	pieces := []string{"text", " ", "%%", "é", "\t", "%REQ(x-a)%", "\"", "\\", "{}"}
	for _, v := range dag.HeaderVariables {
		pieces = append(pieces, "%"+v+"%")
	}
	if rare(r, "template") {
		pieces = append(pieces, "%", "%NOPE%", "%REQ()%", "%REQ(:path)%", "%REQ(a?b)%", "%REQ(a)", "%START_TIME(", "\x00", "\r\n", "\xff", "%DYNAMIC_METADATA(a)%", "%%%", strings.Repeat("x", 16385))
	}
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 1, 4).Draw(r, "template"), "")
}

func anyCookie(r *rapid.T) dag.CookieRewrite {
	yes := true
	return dag.CookieRewrite{
		Name:     mostly(r, "cookie", []string{"a", "b", "session", "%", "'", "é"}, []string{"", "a;b", "a=b", "a b", "\x00", "\xff"}),
		Path:     mostly(r, "cookie path", []string{"", "/", "/a b", "\"]]"}, []string{";", "\n", "\xff"}),
		Domain:   mostly(r, "cookie domain", []string{"", "example.com"}, []string{"a;b", "\xff"}),
		SameSite: mostly(r, "same site", []string{"", "Strict", "Lax", "None"}, []string{"strict", "\n"}),
		Secure:   rapid.SampledFrom([]*bool{nil, new(bool), &yes}).Draw(r, "secure"),
	}
}

func anyTimeout(r *rapid.T, name string) dag.Timeout {
	return mostly(r, name, []dag.Timeout{0, dag.NoTimeout, 1e6, 1500e6, longestSeconds * 1e9}, []dag.Timeout{-2, 1, 1 << 62})
}

func anyRetry(r *rapid.T) *dag.Retry {
	if rapid.Bool().Draw(r, "no retries") {
		return nil
	}
	return &dag.Retry{
		Count:       mostly(r, "retries", []uint32{0, 1, 3}, []uint32{1<<32 - 1}),
		PerTry:      anyTimeout(r, "timeout of a try"),
		On:          mostly(r, "retry on", [][]string{{"5xx"}, {"reset", "retriable-4xx"}, {"retriable-status-codes", "internal"}}, [][]string{nil, {"a,b"}, {"\n"}, {"unknown"}}),
		StatusCodes: mostly(r, "retriable codes", [][]uint32{nil, {404, 503}}, [][]uint32{{0}, {600}, {1 << 31}}),
	}
}

func anyInternalRedirect(r *rapid.T) *dag.InternalRedirect {
	if rapid.Bool().Draw(r, "no internal redirects") {
		return nil
	}
	return &dag.InternalRedirect{
		Max:               mostly(r, "redirects", []uint32{1, 5}, []uint32{0, 1<<32 - 1}),
		StatusCodes:       mostly(r, "codes to follow", [][]uint32{{301}, {302, 303, 307, 308}}, [][]uint32{nil, {300}, {200, 301}}),
		CrossScheme:       mostly(r, "cross scheme", []dag.CrossScheme{dag.CrossSchemeNever, dag.CrossSchemeAlways, dag.CrossSchemeSafeOnly}, []dag.CrossScheme{"", "x"}),
		DenyRepeatedRoute: rapid.Bool().Draw(r, "deny repeated"),
	}
}

func anyCluster(r *rapid.T) dag.WeightedCluster {
	c := dag.Cluster{
		Namespace: mostly(r, "namespace", []string{"team", "other", "a"}, []string{"", "a/b"}),
		Service:   mostly(r, "service", []string{"web", "api"}, []string{"a.b", "é"}),
		Port:      mostly(r, "port", []int32{80, 443, 65535}, []int32{0, -1, 65536}),
		PortName:  mostly(r, "port name", []string{"", "http"}, []string{"a b"}),
		Protocol:  mostly(r, "protocol", []string{"", "h2c", "tls", "h2"}, []string{"h3"}),
	}
	if rapid.Bool().Draw(r, "checked") {
		c.HealthCheck = &dag.HealthCheck{
			Path:               "/" + anyText(r, "health path", "healthz"),
			Host:               mostly(r, "health host", []string{"a", "a:80"}, []string{"", "\r", "a b"}),
			IntervalSeconds:    mostly(r, "interval", []int64{1, 5, longestSeconds}, []int64{0, -1, 1 << 40}),
			TimeoutSeconds:     mostly(r, "timeout", []int64{1, 5, longestSeconds}, []int64{0, -1, 1 << 40}),
			UnhealthyThreshold: mostly(r, "unhealthy", []uint32{1, 2, 1 << 31}, []uint32{0}),
			HealthyThreshold:   mostly(r, "healthy", []uint32{1, 2, 1 << 31}, []uint32{0}),
			ExpectedStatuses: rapid.SliceOfN(rapid.Custom(func(r *rapid.T) dag.StatusRange {
				return mostly(r, "statuses", []dag.StatusRange{{Start: 200, End: 300}, {Start: 404, End: 405}, {Start: 100, End: 600}},
					[]dag.StatusRange{{Start: 0, End: 1}, {Start: 300, End: 200}, {Start: 599, End: 601}})
			}), 0, 2).Draw(r, "statuses"),
		}
	}
	anyUpstream(r, &c)
	w := dag.WeightedCluster{Cluster: c}
	if rapid.Bool().Draw(r, "treated") {
		w.RequestHeaders, w.ResponseHeaders = anyHeaders(r, "request headers of a service"), anyHeaders(r, "response headers of a service")
		w.HostRewrite = mostly(r, "host rewrite of a service", []string{"", "b.example.com"}, []string{" ", "\r\n", "%", "\xff"})
		w.Cookies = rapid.SliceOfN(rapid.Custom(anyCookie), 0, 2).Draw(r, "cookies")
	}
	w.Weight = mostly(r, "weight", []uint32{0, 1, 5, 100}, []uint32{1 << 31, 1<<32 - 1})
	return w
}
