package xds

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"google.golang.org/protobuf/proto"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

	"isoline.dev/isoline/dag"
	"isoline.dev/isoline/manifest"
)

var update = flag.Bool("update", false, "rewrite the golden parts of testdata")

// TestTranslation reads testdata/translate: each file has a virtual host in
// host.json and perhaps a list of endpoints in endpoints.json; resources.json
// is the dump of what comes out, and problems what is wrong, a line each.
// Everything that comes out is loaded by a real Envoy.
func TestTranslation(t *testing.T) {
	files, err := filepath.Glob("testdata/translate/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			o, got := translateCase(t, archive)
			for name, body := range got {
				checkGolden(t, archive, name, body)
			}
			if *update {
				if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if why := envoyRefuses(t, t.TempDir(), o); why != "" {
				t.Errorf("Envoy refuses it: %s", why)
			}
		})
	}
}

func translateCase(t *testing.T, archive *txtar.Archive) (offer, map[string][]byte) {
	t.Helper()
	var vh dag.VirtualHost
	fromJSON(t, archive, "host.json", &vh)
	var endpoints []dag.Endpoints
	if section(archive, "endpoints.json") != nil {
		fromJSON(t, archive, "endpoints.json", &endpoints)
	}
	h, problems := translateHost(&vh, Options{})
	var lines bytes.Buffer
	for _, p := range problems {
		lines.WriteString(p.String() + "\n")
	}
	var o offer
	var messages []proto.Message
	if h != nil {
		o.hosts = []*hostResources{h}
		messages = append(messages, h.routes, h.scope)
		for _, u := range h.clusters {
			messages = append(messages, u.config)
		}
	}
	for i := range endpoints {
		cla, err := loadAssignment(&endpoints[i])
		if err != nil {
			t.Fatal(err)
		}
		o.endpoints = append(o.endpoints, cla)
		messages = append(messages, cla)
	}
	body, err := dumpMessages(messages)
	if err != nil {
		t.Fatal(err)
	}
	return o, map[string][]byte{"resources.json": body, "problems": lines.Bytes()}
}

func section(archive *txtar.Archive, name string) *txtar.File {
	for i := range archive.Files {
		if archive.Files[i].Name == name {
			return &archive.Files[i]
		}
	}
	return nil
}

func fromJSON(t *testing.T, archive *txtar.Archive, name string, into any) {
	t.Helper()
	file := section(archive, name)
	if file == nil {
		t.Fatalf("the case has no %s", name)
	}
	dec := json.NewDecoder(bytes.NewReader(file.Data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// checkGolden compares one section, or rewrites it with -update.
func checkGolden(t *testing.T, archive *txtar.Archive, name string, got []byte) {
	t.Helper()
	file := section(archive, name)
	if *update {
		if file == nil {
			archive.Files = append(archive.Files, txtar.File{Name: name})
			file = &archive.Files[len(archive.Files)-1]
		}
		file.Data = got
		return
	}
	if file == nil {
		t.Fatalf("the case has no %s; -update writes it", name)
	}
	if diff := cmp.Diff(string(file.Data), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestARouteThatEnvoyWouldRefuseCostsOnlyItself(t *testing.T) {
	good := dag.Action{Clusters: []dag.WeightedCluster{{Cluster: testCluster("web"), Weight: 1}}}
	with := func(change func(*dag.Cluster)) dag.Action {
		c := testCluster("web")
		change(&c)
		return dag.Action{Clusters: []dag.WeightedCluster{{Cluster: c}}}
	}
	prefix := func(value string) dag.Match {
		return dag.Match{Path: dag.Path{Type: dag.PathPrefix, Value: value}}
	}
	header := func(c dag.Condition) dag.Match {
		m := prefix("/bad")
		m.Headers = []dag.Condition{c}
		return m
	}
	query := func(c dag.Condition) dag.Match {
		m := prefix("/bad")
		m.Query = []dag.Condition{c}
		return m
	}
	path := func(kind dag.PathType, value string) dag.Match {
		return dag.Match{Path: dag.Path{Type: kind, Value: value}}
	}
	cases := []struct {
		name   string
		match  dag.Match
		action dag.Action
		kept   bool // the match stays and answers 503
		says   string
	}{
		{"a regular expression with a syntax error", path(dag.PathRegex, "/a("), good, false, "regular expression is wrong"},
		{"a regular expression that is too large", path(dag.PathRegex, `/(\pL{100}){10}`), good, false, "instructions"},
		{"a character class that RE2 does not know", path(dag.PathRegex, `/\p{Letter}`), good, false, "Letter"},
		{"a regular expression outside ASCII", path(dag.PathRegex, "/é"), good, false, "compares bytes"},
		{"a character beyond Latin-1", path(dag.PathRegex, `/\x{100}`), good, false, "x{100}"},
		{"a path with a query", prefix("/a?b=c"), good, false, "without query"},
		{"a path with a fragment", prefix("/a#b"), good, false, "without query"},
		{"a path without a slash", prefix("a"), good, false, "start with a slash"},
		{"an empty path", prefix(""), good, false, "start with a slash"},
		{"a path with a space", prefix("/a b"), good, false, "space"},
		{"a path with a control character", path(dag.PathExact, "/a\x01"), good, false, "control character"},
		{"a path of segments with a slash at the end", path(dag.PathSegment, "/a/"), good, false, "end with a slash"},
		{"an unknown path type", path("glob", "/a"), good, false, "unknown"},
		{"a header name with a colon inside", header(dag.Condition{Name: "a:b", Op: dag.OpPresent}), good, false, "name that a header can have"},
		{"an empty header name", header(dag.Condition{Op: dag.OpPresent}), good, false, "name that a header can have"},
		{"a header value with a line break", header(dag.Condition{Name: "a", Op: dag.OpExact, Value: "x\r\ny"}), good, false, "CR or LF"},
		{"an empty value to be contained", header(dag.Condition{Name: "a", Op: dag.OpContains}), good, false, "is empty"},
		{"an unknown operator", header(dag.Condition{Name: "a", Op: "glob", Value: "*"}), good, false, "unknown"},
		{"a header regular expression with a look-ahead", header(dag.Condition{Name: "a", Op: dag.OpRegex, Value: "(?!x)"}), good, false, "regular expression is wrong"},
		{"a value that is not UTF-8", header(dag.Condition{Name: "a", Op: dag.OpExact, Value: "\xff"}), good, false, "UTF-8"},
		{"an empty query parameter name", query(dag.Condition{Op: dag.OpPresent}), good, false, "1 to 1024 bytes"},
		{"an inverted query condition", query(dag.Condition{Name: "a", Op: dag.OpPresent, Invert: true}), good, false, "inverted"},
		{"no action", prefix("/bad"), dag.Action{}, true, "exactly one"},
		{"two actions", prefix("/bad"), dag.Action{Clusters: good.Clusters, DirectResponse: &dag.DirectResponse{StatusCode: 200}}, true, "exactly one"},
		{"a body that is too long", prefix("/bad"), dag.Action{DirectResponse: &dag.DirectResponse{StatusCode: 200, Body: strings.Repeat("x", 4097)}}, true, "4096 is the limit"},
		{"a status below 200", prefix("/bad"), dag.Action{DirectResponse: &dag.DirectResponse{StatusCode: 199}}, true, "between 200 and 599"},
		{"a redirect with a line break in its host", prefix("/bad"), dag.Action{Redirect: &dag.Redirect{StatusCode: 301, Hostname: "a\r\nset-cookie: x"}}, true, "not a host name"},
		{"a redirect to another scheme", prefix("/bad"), dag.Action{Redirect: &dag.Redirect{StatusCode: 301, Scheme: "javascript"}}, true, "neither http nor https"},
		{"a redirect with status 304", prefix("/bad"), dag.Action{Redirect: &dag.Redirect{StatusCode: 304}}, true, "304"},
		{"a redirect to a port that is none", prefix("/bad"), dag.Action{Redirect: &dag.Redirect{StatusCode: 301, Port: 65536}}, true, "65536"},
		{"a redirect to a path with a line break", prefix("/bad"), dag.Action{Redirect: &dag.Redirect{StatusCode: 301, Path: "/a\nb"}}, true, "control character"},
		{"weights beyond 32 bits", prefix("/bad"), dag.Action{Clusters: []dag.WeightedCluster{
			{Cluster: testCluster("a"), Weight: 1 << 31}, {Cluster: testCluster("b"), Weight: 1 << 31}}}, true, "add up"},
		{"a rewrite to a group that is not there", prefix("/bad"), dag.Action{Clusters: good.Clusters, Rewrite: &dag.PathRewrite{Regex: "^/a(.*)$", Substitution: `/\2`}}, true, "1 groups"},
		{"a rewrite without a slash", prefix("/bad"), dag.Action{Clusters: good.Clusters, Rewrite: &dag.PathRewrite{Prefix: "a"}}, true, "start with a slash"},
		{"a service without a name", prefix("/bad"), with(func(c *dag.Cluster) { c.Service = "" }), true, "DNS label"},
		{"a service port that is none", prefix("/bad"), with(func(c *dag.Cluster) { c.Port = 0 }), true, "port"},
		{"an unknown protocol", prefix("/bad"), with(func(c *dag.Cluster) { c.Protocol = "gopher" }), true, "gopher"},
		{"a health check without an interval", prefix("/bad"), with(func(c *dag.Cluster) { c.HealthCheck = &dag.HealthCheck{Path: "/", Host: "a", TimeoutSeconds: 1} }), true, "interval"},
		{"a health check that expects nothing", prefix("/bad"), with(func(c *dag.Cluster) {
			c.HealthCheck = testHealthCheck()
			c.HealthCheck.ExpectedStatuses = []dag.StatusRange{{Start: 200, End: 200}}
		}), true, "range"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			owner := manifest.Key{Kind: manifest.HTTPProxy, Namespace: "team", Name: "bad"}
			vh := testHost("a.example.com",
				dag.Route{Match: c.match, Owner: owner, Field: "spec.routes[7]", Team: "team", Action: c.action},
				dag.Route{Match: prefix("/"), Action: good},
			)
			h, problems := translateHost(vh, Options{})
			if len(problems) != 1 {
				t.Fatalf("got problems %v, want one", problems)
			}
			p := problems[0]
			if p.Object != owner.Ref() || p.Field != "spec.routes[7]" || p.Team != "team" || p.Reason != ProblemReason || !strings.Contains(p.Message, c.says) {
				t.Errorf("got %+v, want it to say %q", p, c.says)
			}
			var got []string
			for _, r := range h.routes.VirtualHosts[0].Routes {
				got = append(got, r.Name)
			}
			want := []string{"prefix /", noRouteName}
			if c.kept {
				want = append([]string{c.match.Key()}, want...)
				if s := h.routes.VirtualHosts[0].Routes[0].GetDirectResponse().GetStatus(); s != 503 {
					t.Errorf("the bad route answers %d, want 503", s)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("routes (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAHostThatCannotBeLookedUpIsAProblemOfItsOwner(t *testing.T) {
	for _, host := range []string{"", "A.example.com", "a.example.com.", "a..b", "a.*.b", "**.b", "*.", "a b", "a:80", "a/b", "[::1]", strings.Repeat("a.", 127) + "b"} {
		unit, problems := Translate(testHost(host), Options{})
		if unit != nil || len(problems) != 1 || problems[0].Object != testHost(host).Owner.Ref() {
			t.Errorf("host %q: got unit %v and problems %v", host, unit, problems)
		}
	}
}

func TestASecondRouteWithTheSameMatchIsAProblem(t *testing.T) {
	route := dag.Route{
		Match:  dag.Match{Path: dag.Path{Type: dag.PathPrefix, Value: "/"}},
		Action: dag.Action{DirectResponse: &dag.DirectResponse{StatusCode: 200}},
	}
	h, problems := translateHost(testHost("a.example.com", route, route), Options{})
	if len(problems) != 1 || len(h.routes.VirtualHosts[0].Routes) != 2 {
		t.Errorf("got problems %v and %d routes", problems, len(h.routes.VirtualHosts[0].Routes))
	}
}

func TestAClusterIsNamedByAllThatItIs(t *testing.T) {
	seen := map[string]string{}
	for name, change := range map[string]func(*dag.Cluster){
		"nothing":       func(*dag.Cluster) {},
		"namespace":     func(c *dag.Cluster) { c.Namespace = "other" },
		"service":       func(c *dag.Cluster) { c.Service = "other" },
		"port":          func(c *dag.Cluster) { c.Port = 81 },
		"port name":     func(c *dag.Cluster) { c.PortName = "other" },
		"protocol":      func(c *dag.Cluster) { c.Protocol = "h2c" },
		"health check":  func(c *dag.Cluster) { c.HealthCheck = testHealthCheck() },
		"health path":   func(c *dag.Cluster) { c.HealthCheck = testHealthCheck(); c.HealthCheck.Path = "/other" },
		"health host":   func(c *dag.Cluster) { c.HealthCheck = testHealthCheck(); c.HealthCheck.Host = "other" },
		"interval":      func(c *dag.Cluster) { c.HealthCheck = testHealthCheck(); c.HealthCheck.IntervalSeconds++ },
		"timeout":       func(c *dag.Cluster) { c.HealthCheck = testHealthCheck(); c.HealthCheck.TimeoutSeconds++ },
		"healthy":       func(c *dag.Cluster) { c.HealthCheck = testHealthCheck(); c.HealthCheck.HealthyThreshold++ },
		"unhealthy":     func(c *dag.Cluster) { c.HealthCheck = testHealthCheck(); c.HealthCheck.UnhealthyThreshold++ },
		"buffer limit":  func(c *dag.Cluster) { c.BufferLimit = 1 },
		"requests":      func(c *dag.Cluster) { c.RequestsPerConnection = 1 },
		"status ranges": func(c *dag.Cluster) { c.HealthCheck = testHealthCheck(); c.HealthCheck.ExpectedStatuses[0].End++ },
	} {
		c := testCluster("web")
		change(&c)
		u := upstreamOf(&c)
		if other, ok := seen[u.config.Name]; ok {
			t.Errorf("%q and %q have the same name %s", name, other, u.config.Name)
		}
		seen[u.config.Name] = name
		if again := upstreamOf(&c); again.config.Name != u.config.Name {
			t.Errorf("%q: got the names %s and %s", name, u.config.Name, again.config.Name)
		}
		if want := c.EndpointsKey().String(); u.endpoints != want || u.config.EdsClusterConfig.ServiceName != want {
			t.Errorf("%q: endpoints are %q, want %q", name, u.endpoints, want)
		}
	}
}

func TestEndpointsAreSortedAndWithoutRepeats(t *testing.T) {
	e := dag.Endpoints{
		Key:       dag.EndpointsKey{Namespace: "team", Service: "web"},
		Addresses: []dag.Address{{IP: "10.0.0.2", Port: 80}, {IP: "10.0.0.1", Port: 81}, {IP: "10.0.0.1", Port: 80}, {IP: "10.0.0.2", Port: 80}, {IP: "fd00::1", Port: 80}},
	}
	cla, err := loadAssignment(&e)
	if err != nil {
		t.Fatal(err)
	}
	var got []dag.Address
	for _, l := range cla.Endpoints[0].LbEndpoints {
		a := l.GetEndpoint().Address.GetSocketAddress()
		got = append(got, dag.Address{IP: a.Address, Port: a.GetPortValue()})
	}
	want := []dag.Address{{IP: "10.0.0.1", Port: 80}, {IP: "10.0.0.1", Port: 81}, {IP: "10.0.0.2", Port: 80}, {IP: "fd00::1", Port: 80}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if cla.ClusterName != "team/web" {
		t.Errorf("got the name %q", cla.ClusterName)
	}
	if why := envoyRefuses(t, t.TempDir(), offer{endpoints: []*endpointv3.ClusterLoadAssignment{cla}}); why != "" {
		t.Error(why)
	}
}

func TestAnAddressThatIsNoneIsAProblemOfTheService(t *testing.T) {
	for _, a := range []dag.Address{{IP: "web.example.com", Port: 80}, {IP: "10.0.0.1", Port: 0}, {IP: "10.0.0.1", Port: 65536}, {IP: "fe80::1%eth0", Port: 80}, {Port: 80}} {
		r, problems := TranslateEndpoints(&dag.Endpoints{Key: dag.EndpointsKey{Namespace: "team", Service: "web"}, Addresses: []dag.Address{{IP: "10.0.0.1", Port: 80}, a}})
		if r != nil || len(problems) != 1 || problems[0].Object.Name != "web" {
			t.Errorf("%v: got %v and %v", a, r, problems)
		}
	}
}

func testHost(host string, routes ...dag.Route) *dag.VirtualHost {
	owner := manifest.Key{Kind: manifest.HTTPProxy, Namespace: "team", Name: "root"}
	for i := range routes {
		if routes[i].Owner == (manifest.Key{}) {
			routes[i].Owner = owner
		}
	}
	return &dag.VirtualHost{Host: host, Owner: owner, Routes: routes}
}

func testCluster(service string) dag.Cluster {
	return dag.Cluster{Namespace: "team", Service: service, Port: 80, PortName: "http"}
}

func testHealthCheck() *dag.HealthCheck {
	return &dag.HealthCheck{Path: "/healthz", Host: "web.example.com", IntervalSeconds: 5, TimeoutSeconds: 2,
		UnhealthyThreshold: 3, HealthyThreshold: 2, ExpectedStatuses: []dag.StatusRange{{Start: 200, End: 300}}}
}
