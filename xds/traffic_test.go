package xds

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"

	"isoline.dev/isoline/dag"
	"isoline.dev/isoline/lab"
)

// patience bounds waits that only end by an error.
const patience = time.Minute

// echo is what an upstream says of a request.
type echo struct {
	Upstream string
	Protocol string
	Method   string
	Host     string
	URI      string
	Header   http.Header
}

// upstreamServer answers with an echo, over HTTP/1.1 and HTTP/2 without TLS.
func upstreamServer(t *testing.T, name string) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server", "upstream")
		_ = json.NewEncoder(w).Encode(echo{name, r.Proto, r.Method, r.Host, r.RequestURI, r.Header})
	}), Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return netip.MustParseAddrPort(l.Addr().String())
}

// proxy is an Envoy under test.
type proxy struct {
	t       *testing.T
	envoy   *lab.Envoy
	address string
	clients map[string]*http.Client // by protocol
}

func newProxy(t *testing.T, envoy *lab.Envoy, port int) *proxy {
	p := &proxy{t: t, envoy: envoy, address: fmt.Sprintf("127.0.0.1:%d", port), clients: map[string]*http.Client{}}
	for _, name := range []string{"HTTP/1.1", "HTTP/2.0"} {
		transport := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true}
		transport.Protocols.SetHTTP1(name == "HTTP/1.1")
		transport.Protocols.SetUnencryptedHTTP2(name == "HTTP/2.0")
		p.clients[name] = &http.Client{
			Transport:     transport,
			Timeout:       patience,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		t.Cleanup(transport.CloseIdleConnections)
	}
	return p
}

// serveStatically starts an Envoy that has the real listener, with all that
// would come over xDS in its bootstrap. Every service has the endpoint that
// bears its name.
func serveStatically(t *testing.T, services map[string]netip.AddrPort, hosts ...*dag.VirtualHost) *proxy {
	t.Helper()
	return serveAtEdge(t, Edge{}, BootstrapOptions{}, services, hosts...)
}

// serveAtEdge is serveStatically with an edge and limits of the bootstrap.
func serveAtEdge(t *testing.T, edge Edge, boot BootstrapOptions, services map[string]netip.AddrPort, hosts ...*dag.VirtualHost) *proxy {
	t.Helper()
	admin, port := freePort(t), freePort(t)
	boot.XDSAddress, boot.XDSPort, boot.NodeID, boot.AdminPort = "127.0.0.1", 1, "test", admin
	body, err := Bootstrap(boot)
	if err != nil {
		t.Fatal(err)
	}
	var bootstrap map[string]any
	if err := json.Unmarshal(body, &bootstrap); err != nil {
		t.Fatal(err)
	}
	delete(bootstrap, "dynamicResources")
	var translated []*hostResources
	seen := map[string]bool{}
	var clusters []any
	for _, vh := range hosts {
		h, problems := translateHost(vh, Options{})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		translated = append(translated, h)
		for _, u := range h.clusters {
			if !seen[u.config.Name] {
				seen[u.config.Name] = true
				clusters = append(clusters, asJSON(t, staticCluster(t, u, services)))
			}
		}
	}
	static := bootstrap["staticResources"].(map[string]any)
	static["clusters"] = clusters
	static["listeners"] = []any{asJSON(t, staticListener(t, port, edge, translated))}
	if body, err = json.Marshal(bootstrap); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	envoy, err := lab.StartEnvoy(ctx, nil, t.TempDir(), body, admin)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		envoy.Kill()
		cancel()
	})
	ready, stop := context.WithTimeout(ctx, patience)
	defer stop()
	if err := envoy.AwaitReady(ready); err != nil {
		t.Fatal(err)
	}
	return newProxy(t, envoy, port)
}

func freePort(t *testing.T) int {
	t.Helper()
	port, err := lab.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func staticCluster(t *testing.T, u upstream, services map[string]netip.AddrPort) *clusterv3.Cluster {
	t.Helper()
	e := dag.Endpoints{Key: dag.EndpointsKey{Namespace: "x", Service: "x"}}
	if at, ok := services[strings.Split(u.config.Name, "/")[1]]; ok {
		e.Addresses = []dag.Address{{IP: at.Addr().String(), Port: uint32(at.Port())}}
	}
	cla, err := loadAssignment(&e)
	if err != nil {
		t.Fatal(err)
	}
	c := proto.CloneOf(u.config)
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
	c.EdsClusterConfig, c.LoadAssignment = nil, cla
	return c
}

// staticListener is the real listener, but for where its scopes come from.
func staticListener(t *testing.T, port int, edge Edge, hosts []*hostResources) *listenerv3.Listener {
	t.Helper()
	l, err := httpListener(ListenerOptions{HTTP: ListenerAddress{"127.0.0.1", uint32(port)}, Edge: edge})
	if err != nil {
		t.Fatal(err)
	}
	filter := l.FilterChains[0].Filters[0]
	manager := &hcmv3.HttpConnectionManager{}
	if err := filter.GetTypedConfig().UnmarshalTo(manager); err != nil {
		t.Fatal(err)
	}
	list := &hcmv3.ScopedRouteConfigurationsList{}
	for _, h := range hosts {
		scope := proto.CloneOf(h.scope)
		scope.RouteConfigurationName, scope.RouteConfiguration = "", h.routes
		list.ScopedRouteConfigurations = append(list.ScopedRouteConfigurations, scope)
	}
	manager.GetScopedRoutes().RdsConfigSource = nil
	manager.GetScopedRoutes().ConfigSpecifier = &hcmv3.ScopedRoutes_ScopedRouteConfigurationsList{ScopedRouteConfigurationsList: list}
	filter.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: mustAny(manager)}
	return l
}

// answer is what a client sees.
type answer struct {
	status   int
	location string
	echo     echo // of a 200 from an upstream
	body     string
	header   http.Header
}

// ask sends one request. Header names are sent as they are.
func (p *proxy) ask(protocol, method, host, uri string, header map[string]string) answer {
	p.t.Helper()
	a, err := p.try(protocol, method, host, uri, header)
	if err != nil {
		p.t.Fatalf("%s %s of %q: %v", method, uri, host, err)
	}
	return a
}

func (p *proxy) try(protocol, method, host, uri string, header map[string]string) (answer, error) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), method, "http://"+p.address+uri, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Host = host
	for name, value := range header {
		req.Header[name] = []string{value}
	}
	resp, err := p.clients[protocol].Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, location: resp.Header.Get("Location"), body: string(body), header: resp.Header}
	if resp.StatusCode == http.StatusOK && json.Unmarshal(body, &a.echo) != nil && strings.HasPrefix(a.body, "{") {
		p.t.Fatalf("the answer is no echo: %s", body)
	}
	return a, nil
}

// raw sends bytes and returns the status line of what comes back.
func (p *proxy) raw(request string) string {
	p.t.Helper()
	conn, err := net.DialTimeout("tcp", p.address, patience)
	if err != nil {
		p.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, request); err != nil {
		p.t.Fatal(err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil && line == "" {
		return "closed"
	}
	return strings.TrimSpace(line)
}

func prefixRoute(path string, service string) dag.Route {
	return dag.Route{
		Match:  dag.Match{Path: dag.Path{Type: dag.PathPrefix, Value: path}},
		Action: dag.Action{Clusters: []dag.WeightedCluster{{Cluster: testCluster(service), Weight: 1}}},
	}
}

func inBothProtocols(t *testing.T, run func(t *testing.T, protocol string)) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) { run(t, protocol) })
	}
}

func TestARequestReachesTheHostThatItNames(t *testing.T) {
	services := map[string]netip.AddrPort{}
	for _, name := range []string{"www", "wild", "app", "any"} {
		services[name] = upstreamServer(t, name)
	}
	hosts := []*dag.VirtualHost{
		testHost("www.example.com", prefixRoute("/", "www")),
		testHost("app.example.com", prefixRoute("/app", "app")),
		testHost("none.example.com"),
		testHost("*.example.com", prefixRoute("/", "wild")),
		testHost("10.0.0.1", prefixRoute("/", "app")),
	}
	cases := []struct {
		name, host, path string
		without, with    string // who answers without and with a host "*"
	}{
		{"exact", "www.example.com", "/", "www", "www"},
		{"with a port", "www.example.com:8080", "/", "www", "www"},
		{"with an empty port", "www.example.com:", "/", "www", "www"},
		{"in upper case", "WWW.Example.COM", "/", "www", "www"},
		{"in upper case with a port", "WWW.Example.COM:80", "/", "www", "www"},
		{"one label under a wildcard", "a.example.com", "/", "wild", "wild"},
		{"one label in upper case with a port", "A.EXAMPLE.com:443", "/", "wild", "wild"},
		{"one label with an underscore", "a_b.example.com", "/", "wild", "wild"},
		{"two labels under a wildcard", "a.b.example.com", "/", "404", "any"},
		{"the wildcard's parent", "example.com", "/", "404", "any"},
		{"a host that nobody has", "www.example.org", "/", "404", "any"},
		{"one label alone", "localhost", "/", "404", "any"},
		{"an address", "10.0.0.1", "/", "app", "app"},
		{"another address", "10.0.0.2:80", "/", "404", "any"},
		{"an IPv6 address", "[::1]:80", "/", "404", "any"},
		{"an IPv6 address without a port", "[fd00::1]", "/", "404", "any"},
		{"a path that a host routes", "app.example.com", "/app/x", "app", "app"},
		{"a path that a host does not route", "app.example.com", "/other", "404", "404"},
		{"a path that a host does not route, with port and case", "APP.example.com:80", "/other", "404", "404"},
		{"a host without routes", "none.example.com", "/", "404", "404"},
		{"a literal wildcard", "*.example.com", "/", "404", "404"},
		{"a literal wildcard in upper case", "*.EXAMPLE.com", "/", "404", "404"},
		{"a literal star", "*", "/", "404", "404"},
		{"a wildcard's wildcard", "*.a.example.com", "/", "404", "404"},
		{"a dot at the end", "www.example.com.", "/", "404", "404"},
		{"a dot at the end, under the wildcard", "a.example.com.", "/", "404", "404"},
		{"a dot at the end, with a port", "a.example.com.:80", "/", "404", "404"},
	}
	for _, world := range []string{"without", "with"} {
		t.Run(world+" a host for all others", func(t *testing.T) {
			served := hosts
			if world == "with" {
				served = append(slices.Clone(hosts), testHost("*", prefixRoute("/", "any")))
			}
			p := serveStatically(t, services, served...)
			inBothProtocols(t, func(t *testing.T, protocol string) {
				p.t = t
				for _, c := range cases {
					want := c.without
					if world == "with" {
						want = c.with
					}
					a := p.ask(protocol, "GET", c.host, c.path, map[string]string{
						"X-Isoline-Host": "www.example.com", "X-Isoline-Listener": "http/wildcard"})
					got := a.echo.Upstream
					if a.status != http.StatusOK {
						got = fmt.Sprint(a.status)
					}
					if got != want {
						t.Errorf("%s (%s): got %s, want %s", c.name, c.host, got, want)
					}
					if a.status == http.StatusOK && a.echo.Host != c.host {
						t.Errorf("%s: the upstream sees the host %q, want %q", c.name, a.echo.Host, c.host)
					}
					for name := range a.echo.Header {
						if strings.HasPrefix(name, "X-Isoline") {
							t.Errorf("%s: the upstream sees %s", c.name, name)
						}
					}
				}
			})
			p.t = t
			for _, c := range []struct{ request, want string }{
				{"GET / HTTP/1.0\r\n\r\n", "HTTP/1.0 400 Bad Request"},
				{"GET / HTTP/1.0\r\nHost: www.example.com\r\n\r\n", "HTTP/1.0 200 OK"},
				{"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request"},
				{"GET / HTTP/1.1\r\nHost:\r\n\r\n", "HTTP/1.1 400 Bad Request|HTTP/1.1 404 Not Found"},
				{"GET / HTTP/1.1\r\nHost: a@www.example.com\r\n\r\n", "HTTP/1.1 400 Bad Request|HTTP/1.1 404 Not Found"},
				{"GET / HTTP/1.1\r\nHost: a b.example.com\r\n\r\n", "HTTP/1.1 400 Bad Request|HTTP/1.1 404 Not Found"},
				{"GET http://www.example.com/ HTTP/1.1\r\nHost: nobody.example.org\r\n\r\n", "HTTP/1.1 200 OK"},
				{"OPTIONS * HTTP/1.1\r\nHost: app.example.com\r\n\r\n", "HTTP/1.1 404 Not Found"},
				{"CONNECT app.example.com:443 HTTP/1.1\r\nHost: app.example.com:443\r\n\r\n", "HTTP/1.1 404 Not Found|HTTP/1.1 403 Forbidden"},
			} {
				if got := p.raw(c.request); !slices.Contains(strings.Split(c.want, "|"), got) {
					t.Errorf("%q: got %q, want %q", c.request, got, c.want)
				}
			}
			if out := p.envoy.Output(); strings.Contains(out, "lua") {
				t.Errorf("the filters fail: %s", out)
			}
		})
	}
}

func TestRoutesMatchAsTheGraphSays(t *testing.T) {
	path := func(kind dag.PathType, value string) dag.Match {
		return dag.Match{Path: dag.Path{Type: kind, Value: value}}
	}
	on := func(value string, c dag.Condition) dag.Match {
		m := path(dag.PathExact, value)
		m.Headers = []dag.Condition{c}
		return m
	}
	query := func(value string, c dag.Condition) dag.Match {
		m := path(dag.PathExact, value)
		m.Query = []dag.Condition{c}
		return m
	}
	// Every route answers with its own body.
	matches := map[string]dag.Match{
		"exact": path(dag.PathExact, "/exact"), "segment": path(dag.PathSegment, "/segment"), "prefix": path(dag.PathPrefix, "/prefix"),
		"regex":     path(dag.PathRegex, "/regex/[0-9]+"),
		"present":   on("/present", dag.Condition{Name: "x-a", Op: dag.OpPresent}),
		"absent":    on("/absent", dag.Condition{Name: "x-a", Op: dag.OpPresent, Invert: true}),
		"is":        on("/is", dag.Condition{Name: "x-a", Op: dag.OpExact, Value: "Yes"}),
		"fold":      on("/fold", dag.Condition{Name: "x-a", Op: dag.OpExact, Value: "Yes", IgnoreCase: true}),
		"not":       on("/not", dag.Condition{Name: "x-a", Op: dag.OpExact, Value: "Yes", Invert: true}),
		"notempty":  on("/notempty", dag.Condition{Name: "x-a", Op: dag.OpExact, Value: "Yes", Invert: true, MissingIsEmpty: true}),
		"contains":  on("/contains", dag.Condition{Name: "x-a", Op: dag.OpContains, Value: "es"}),
		"without":   on("/without", dag.Condition{Name: "x-a", Op: dag.OpContains, Value: "es", Invert: true}),
		"like":      on("/like", dag.Condition{Name: "x-a", Op: dag.OpRegex, Value: "Y.s"}),
		"unlike":    on("/unlike", dag.Condition{Name: "x-a", Op: dag.OpRegex, Value: "Y.s", Invert: true}),
		"authority": on("/authority", dag.Condition{Name: "host", Op: dag.OpExact, Value: "a.example.com"}),
		"method":    on("/method", dag.Condition{Name: ":method", Op: dag.OpExact, Value: "POST"}),
		"qpresent":  query("/q", dag.Condition{Name: "present", Op: dag.OpPresent}),
		"qexact":    query("/q", dag.Condition{Name: "exact", Op: dag.OpExact, Value: "V"}),
		"qfold":     query("/q", dag.Condition{Name: "fold", Op: dag.OpExact, Value: "V", IgnoreCase: true}),
		"qcontains": query("/q", dag.Condition{Name: "contains", Op: dag.OpContains, Value: "V"}),
		"qprefix":   query("/q", dag.Condition{Name: "prefix", Op: dag.OpPrefix, Value: "V"}),
		"qsuffix":   query("/q", dag.Condition{Name: "suffix", Op: dag.OpSuffix, Value: "V"}),
		"qregex":    query("/q", dag.Condition{Name: "regex", Op: dag.OpRegex, Value: "V+"}),
	}
	vh := testHost("a.example.com")
	for _, name := range sortedKeys(matches) {
		vh.Routes = append(vh.Routes, dag.Route{Match: matches[name], Owner: vh.Owner,
			Action: dag.Action{DirectResponse: &dag.DirectResponse{StatusCode: 200, Body: name}}})
	}
	p := serveStatically(t, nil, vh)
	cases := []struct {
		uri    string
		header string // of x-a; "-" is none
		method string
		want   string // route, or "404"
	}{
		{"/exact", "-", "", "exact"}, {"/exact?a=b", "-", "", "exact"}, {"/exact/", "-", "", "404"}, {"/exactly", "-", "", "404"}, {"/Exact", "-", "", "404"},
		{"/segment", "-", "", "segment"}, {"/segment/", "-", "", "segment"}, {"/segment/x?y", "-", "", "segment"}, {"/segment?x", "-", "", "segment"}, {"/segments", "-", "", "404"},
		{"/prefix", "-", "", "prefix"}, {"/prefixed", "-", "", "prefix"}, {"/prefix/x", "-", "", "prefix"}, {"/pre", "-", "", "404"},
		{"/regex/42", "-", "", "regex"}, {"/regex/42?x=y", "-", "", "regex"}, {"/regex/42/", "-", "", "404"}, {"/regex/", "-", "", "404"}, {"/x/regex/42", "-", "", "404"},
		{"//exact", "-", "", "exact"}, {"/x/../exact", "-", "", "exact"}, {"/./exact", "-", "", "exact"}, {"/%65xact", "-", "", "exact"},
		{"/present", "", "", "present"}, {"/present", "x", "", "present"}, {"/present", "-", "", "404"},
		{"/absent", "-", "", "absent"}, {"/absent", "x", "", "404"},
		{"/is", "Yes", "", "is"}, {"/is", "yes", "", "404"}, {"/is", "-", "", "404"},
		{"/fold", "YES", "", "fold"}, {"/fold", "no", "", "404"},
		{"/not", "No", "", "not"}, {"/not", "Yes", "", "404"}, {"/not", "-", "", "404"},
		{"/notempty", "No", "", "notempty"}, {"/notempty", "Yes", "", "404"}, {"/notempty", "-", "", "notempty"},
		{"/contains", "Yes!", "", "contains"}, {"/contains", "No", "", "404"}, {"/contains", "-", "", "404"},
		{"/without", "No", "", "without"}, {"/without", "Yes", "", "404"}, {"/without", "-", "", "404"},
		{"/like", "Yes", "", "like"}, {"/like", "Yes!", "", "404"},
		{"/unlike", "Yes!", "", "unlike"}, {"/unlike", "Yes", "", "404"}, {"/unlike", "-", "", "404"},
		{"/authority", "-", "", "authority"}, {"/method", "-", "POST", "method"}, {"/method", "-", "", "404"},
		{"/q?present", "-", "", "qpresent"}, {"/q?present=1", "-", "", "qpresent"}, {"/q", "-", "", "404"}, {"/q?presents=1", "-", "", "404"},
		{"/q?exact=V", "-", "", "qexact"}, {"/q?exact=v", "-", "", "404"}, {"/q?fold=v", "-", "", "qfold"},
		{"/q?contains=xVx", "-", "", "qcontains"}, {"/q?contains=x", "-", "", "404"},
		{"/q?prefix=Vx", "-", "", "qprefix"}, {"/q?prefix=xV", "-", "", "404"},
		{"/q?suffix=xV", "-", "", "qsuffix"}, {"/q?suffix=Vx", "-", "", "404"},
		{"/q?regex=VV", "-", "", "qregex"}, {"/q?regex=VVx", "-", "", "404"},
	}
	inBothProtocols(t, func(t *testing.T, protocol string) {
		p.t = t
		for _, c := range cases {
			header := map[string]string{}
			if c.header != "-" {
				header["X-A"] = c.header
			}
			a := p.ask(protocol, cmp.Or(c.method, "GET"), "a.example.com", c.uri, header)
			got := a.body
			if a.status != http.StatusOK {
				got = fmt.Sprint(a.status)
			}
			if got != c.want {
				t.Errorf("%s with x-a %q: got %s, want %s", c.uri, c.header, got, c.want)
			}
		}
	})
}

func TestActionsDoWhatTheGraphSays(t *testing.T) {
	services := map[string]netip.AddrPort{"web": upstreamServer(t, "web"), "canary": upstreamServer(t, "canary")}
	web := testCluster("web")
	h2c := testCluster("web")
	h2c.Protocol = "h2c"
	checked, failing := h2c, web
	checked.HealthCheck, failing.HealthCheck = testHealthCheck(), testHealthCheck()
	failing.HealthCheck.ExpectedStatuses = []dag.StatusRange{{Start: 404, End: 405}}
	to := func(c dag.Cluster, r *dag.PathRewrite) dag.Action {
		return dag.Action{Clusters: []dag.WeightedCluster{{Cluster: c, Weight: 1}}, Rewrite: r}
	}
	redirect := func(r dag.Redirect) dag.Action { return dag.Action{Redirect: &r} }
	route := func(kind dag.PathType, value string, a dag.Action) dag.Route {
		return dag.Route{Match: dag.Match{Path: dag.Path{Type: kind, Value: value}}, Action: a}
	}
	p := serveStatically(t, services, testHost("a.example.com",
		route(dag.PathSegment, "/h2c", to(h2c, nil)),
		route(dag.PathExact, "/checked", to(checked, nil)),
		route(dag.PathExact, "/failing", to(failing, nil)),
		route(dag.PathSegment, "/api", to(web, &dag.PathRewrite{Prefix: "/v1"})),
		route(dag.PathPrefix, "/strip", to(web, &dag.PathRewrite{Regex: "^/strip/*(.*)$", Substitution: `/\1`})),
		route(dag.PathPrefix, "/part", to(web, &dag.PathRewrite{Regex: "/part", Substitution: "/whole"})),
		route(dag.PathExact, "/canary0", dag.Action{Clusters: []dag.WeightedCluster{{Cluster: web, Weight: 100}, {Cluster: testCluster("canary")}}}),
		route(dag.PathExact, "/even", dag.Action{Clusters: []dag.WeightedCluster{{Cluster: web}, {Cluster: testCluster("canary")}}}),
		route(dag.PathExact, "/nobody", to(testCluster("nobody"), nil)),
		route(dag.PathExact, "/scheme", redirect(dag.Redirect{StatusCode: 301, Scheme: "https"})),
		route(dag.PathExact, "/host", redirect(dag.Redirect{StatusCode: 302, Hostname: "b.example.com", Port: 8443})),
		route(dag.PathExact, "/path", redirect(dag.Redirect{StatusCode: 303, Path: "/new"})),
		route(dag.PathPrefix, "/old", redirect(dag.Redirect{StatusCode: 307, Prefix: "/new"})),
		route(dag.PathExact, "/query", redirect(dag.Redirect{StatusCode: 308, Path: "/new?x=y"})),
		route(dag.PathExact, "/gone", dag.Action{DirectResponse: &dag.DirectResponse{StatusCode: 410, Body: "It was here."}}),
		route(dag.PathExact, "/full", dag.Action{DirectResponse: &dag.DirectResponse{StatusCode: 200, Body: strings.Repeat("x", maxBody)}}),
		route(dag.PathPrefix, "/", to(web, nil)),
	))
	inBothProtocols(t, func(t *testing.T, protocol string) {
		p.t = t
		for _, c := range []struct {
			uri, wantURI, wantProtocol string
		}{
			{"/x?a=b", "/x?a=b", "HTTP/1.1"},
			{"/h2c/x", "/h2c/x", "HTTP/2.0"},
			{"/checked", "/checked", "HTTP/2.0"},
			{"/api", "/v1", "HTTP/1.1"},
			{"/api/x?a=b", "/v1/x?a=b", "HTTP/1.1"},
			{"/strip", "/", "HTTP/1.1"},
			{"/strip/x/y?a=b", "/x/y?a=b", "HTTP/1.1"},
			{"/strip/strip/x", "/strip/x", "HTTP/1.1"},
			{"/part", "/whole", "HTTP/1.1"},
			{"/part/x", "/part/x", "HTTP/1.1"}, // not matched as a whole
		} {
			a := p.ask(protocol, "GET", "a.example.com:8080", c.uri, nil)
			if a.status != 200 || a.echo.URI != c.wantURI || a.echo.Protocol != c.wantProtocol || a.echo.Host != "a.example.com:8080" {
				t.Errorf("%s: got %+v, want %s over %s", c.uri, a, c.wantURI, c.wantProtocol)
			}
		}
		for _, c := range []struct {
			uri      string
			status   int
			location string
			body     string
		}{
			{"/scheme?a=b", 301, "https://a.example.com:8080/scheme?a=b", ""},
			{"/host", 302, "http://b.example.com:8443/host", ""},
			{"/path?a=b", 303, "http://a.example.com:8080/new?a=b", ""},
			{"/old/x?a=b", 307, "http://a.example.com:8080/new/x?a=b", ""},
			{"/query", 308, "http://a.example.com:8080/new?x=y", ""},
			{"/gone", 410, "", "It was here."},
			{"/full", 200, "", strings.Repeat("x", maxBody)},
			{"/nobody", 503, "", "no healthy upstream"},
			{"/failing", 503, "", "no healthy upstream"},
		} {
			a := p.ask(protocol, "GET", "a.example.com:8080", c.uri, nil)
			if a.status != c.status || a.location != c.location || a.body != c.body {
				t.Errorf("%s: got %d, %q, %.40q; want %d, %q", c.uri, a.status, a.location, a.body, c.status, c.location)
			}
		}
		served := map[string]int{}
		for range 200 {
			if up := p.ask(protocol, "GET", "a.example.com", "/canary0", nil).echo.Upstream; up != "web" {
				t.Fatalf("a weight of zero takes requests: got %q", up)
			}
			served[p.ask(protocol, "GET", "a.example.com", "/even", nil).echo.Upstream]++
		}
		// With fair coins, fewer than 50 of 200 come up once in 10^12 runs.
		if served["web"] < 50 || served["canary"] < 50 || len(served) != 2 {
			t.Errorf("an even split serves %v", served)
		}
	})
}

func TestTheEdgeIsHardened(t *testing.T) {
	services := map[string]netip.AddrPort{"web": upstreamServer(t, "web")}
	p := serveStatically(t, services, testHost("a.example.com", prefixRoute("/", "web")))
	inBothProtocols(t, func(t *testing.T, protocol string) {
		p.t = t
		for _, c := range []struct {
			name, uri string
			status    int
			location  string
			upstream  string
		}{
			{"a plain path", "/a", 200, "", "/a"},
			{"two slashes", "//a//b", 200, "", "/a/b"},
			{"dots", "/x/../a", 200, "", "/a"},
			{"dots out of the root", "/../../etc/passwd", 200, "", "/etc/passwd"},
			{"an escaped slash", "/a%2Fb", 307, "/a/b", ""},
			{"escaped dots behind an escaped slash", "/a%2F..%2Fb", 307, "/b", ""},
			{"an escaped backslash", "/a%5Cb", 307, "/a/b", ""},
		} {
			a := p.ask(protocol, "GET", "a.example.com", c.uri, nil)
			if a.status != c.status || a.location != c.location || a.echo.URI != c.upstream {
				t.Errorf("%s: got %d, %q, %q; want %d, %q, %q", c.name, a.status, a.location, a.echo.URI, c.status, c.location, c.upstream)
			}
		}
		// HTTP/2 resets the stream instead of answering 400.
		if a, err := p.try(protocol, "GET", "a.example.com", "/", map[string]string{"a_b": "c"}); err == nil && a.status != http.StatusBadRequest {
			t.Errorf("a header with an underscore: got %d", a.status)
		}
		a := p.ask(protocol, "GET", "a.example.com", "/", map[string]string{
			"X-Envoy-Upstream-Rq-Timeout-Ms": "1", "X-Envoy-Original-Path": "/x", "X-Envoy-Retry-On": "5xx", "X-Envoy-Internal": "true",
			"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https",
		})
		for name, want := range map[string]string{"X-Forwarded-Proto": "http",
			"X-Envoy-Internal": "", "X-Envoy-Retry-On": "", "X-Envoy-Original-Path": "", "X-Envoy-Upstream-Rq-Timeout-Ms": ""} {
			if got := a.echo.Header.Get(name); got != want {
				t.Errorf("the upstream sees %s: %q, want %q", name, got, want)
			}
		}
		if got := a.echo.Header.Get("X-Forwarded-For"); !strings.HasPrefix(got, "1.2.3.4,") {
			t.Errorf("the upstream sees X-Forwarded-For: %q, without the client's address", got)
		}
		if got := a.echo.Header.Get("X-Envoy-Expected-Rq-Timeout-Ms"); got != "15000" {
			t.Errorf("the client has set the timeout: %s ms", got)
		}
		if got := a.header.Get("Server"); got != "upstream" {
			t.Errorf("the client sees the server %q", got)
		}
	})
	p.t = t
	for _, c := range []struct{ name, request, want string }{
		{"a transfer encoding beside a length", "POST / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 400 Bad Request"},
		{"a NUL in a header", "GET / HTTP/1.1\r\nHost: a.example.com\r\nA: \x00\r\n\r\n", "HTTP/1.1 400 Bad Request"},
		{"two hosts", "GET / HTTP/1.1\r\nHost: a.example.com\r\nHost: b.example.com\r\n\r\n", "HTTP/1.1 404 Not Found"},
		{"headers without an end", "GET / HTTP/1.1\r\nHost: a.example.com\r\n" + strings.Repeat("A: "+strings.Repeat("b", 1000)+"\r\n", 80) + "\r\n", "HTTP/1.1 431 Request Header Fields Too Large"},
	} {
		if got := p.raw(c.request); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	if out := p.envoy.Output(); bytes.Contains([]byte(out), []byte("eprecated")) {
		t.Errorf("Envoy warns: %s", out)
	}
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
