package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"isoline.dev/isoline/lab"
)

// upstream starts an upstream that lives as long as the test.
func upstream(t *testing.T, name string) *lab.Upstream {
	t.Helper()
	u, err := lab.StartUpstream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// service is a Service with one endpoint at the upstream.
func service(namespace, name string, u *lab.Upstream) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Service
metadata: {name: %[2]s, namespace: %[1]s}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %[2]s, namespace: %[1]s, labels: {kubernetes.io/service-name: %[2]s}}
addressType: IPv4
ports: [{name: http, port: %[3]d}]
endpoints: [{addresses: [127.0.0.1]}]
`, namespace, name, u.Port())
}

// split is an HTTPProxy with weighted services: name, weight, name, weight.
func split(namespace, fqdn, extra string, shares ...any) string {
	var services []string
	for i := 0; i < len(shares); i += 2 {
		services = append(services, fmt.Sprintf("{name: %v, port: 80, weight: %v}", shares[i], shares[i+1]))
	}
	return fmt.Sprintf(`apiVersion: projectcontour.io/v1
kind: HTTPProxy
metadata: {name: split, namespace: %s}
spec:
  virtualhost: {fqdn: %s}
  routes:
  - services: [%s]
%s`, namespace, fqdn, strings.Join(services, ", "), extra)
}

func (r *rig) load(host string) *lab.Load {
	return lab.StartLoad(r.t.Context(), lab.LoadOptions{URL: fmt.Sprintf("http://127.0.0.1:%d/", r.http), Host: host, Clients: 4})
}

// noFailures ends a load and checks that every answer was a 200.
func noFailures(t *testing.T, l *lab.Load) lab.LoadResult {
	t.Helper()
	result := l.Stop()
	if result.Total == 0 || result.Failures() != 0 {
		t.Errorf("not all of the load was answered with 200: %s", result)
	}
	return result
}

// replace writes a file as an editor does, so that no reader sees half of it.
func replace(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file+".tmp", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".tmp", file); err != nil {
		t.Fatal(err)
	}
}

func TestTwoHundredSwitchesOfWeightsAndServicesLoseNoRequest(t *testing.T) {
	dir := t.TempDir()
	sides := []*lab.Upstream{upstream(t, "even"), upstream(t, "odd")}
	file := filepath.Join(dir, "all.yaml")
	state := func(i int) string {
		now, other := fmt.Sprintf("v%d", i), fmt.Sprintf("w%d", i/2)
		return service("default", now, sides[i%2]) + "---\n" + service("default", other, sides[i%2]) +
			"---\n" + split("default", "switch.example.com", "", now, 1+i%7, other, i%2)
	}
	replace(t, file, state(0))
	r := newDirectoryRig(t, dir)
	r.served(200, "even", "switch.example.com", "/")
	load := r.load("switch.example.com")
	for i := 1; i <= 200; i++ {
		replace(t, file, state(i))
		want := []string{"even", "odd"}[i%2]
		r.served(200, want, "switch.example.com", "/")
	}
	result := noFailures(t, load)
	if result.Names["even"] == 0 || result.Names["odd"] == 0 {
		t.Errorf("the load did not see both sides: %v", result.Names)
	}
}

// counter adds up a counter of Isoline's over its labels.
func (r *rig) counter(name string) float64 {
	r.t.Helper()
	resp, err := noRedirects.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", r.web))
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	sum := 0.0
	for _, m := range families[name].GetMetric() {
		sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	return sum
}

func TestKillAndRestartUnderLoadLosesNothingAndResendsNothing(t *testing.T) {
	for _, broken := range []bool{false, true} {
		t.Run(map[bool]string{false: "with a good head", true: "with a broken head"}[broken], func(t *testing.T) {
			t.Parallel()
			u := upstream(t, "steady")
			r := newRig(t,
				teamSpec{name: "a", hosts: []string{"a.example.com"}, files: map[string]string{
					"routes/s.yaml": service("a", "s", u), "routes/p.yaml": split("a", "a.example.com", "", "s", 1)}},
				teamSpec{name: "b", hosts: []string{"b.example.com"}, files: map[string]string{"routes/page.yaml": page("b", "second", "b.example.com")}})
			r.served(200, "steady", "a.example.com", "/")
			r.served(200, "second", "b.example.com", "/")
			if broken {
				r.push("a", map[string]string{"routes/p.yaml": "no: [yaml\n"})
				r.problem("SyntaxError")
			}
			load := r.load("a.example.com")
			for range 3 {
				r.isoline.Kill()
				time.Sleep(200 * time.Millisecond) // Envoy shall notice
				r.startIsoline("run", "-c", r.config)
				r.eventually(func() error {
					if n := len(r.report().Envoys); n != 1 {
						return fmt.Errorf("%d Envoys are connected", n)
					}
					return nil
				})
			}
			r.push("b", map[string]string{"routes/page.yaml": page("b", "third", "b.example.com")})
			r.served(200, "third", "b.example.com", "/")
			noFailures(t, load)
			if n := r.counter("isoline_xds_sent_resources_total"); n != 1 {
				t.Errorf("%v resources were sent since the last restart; one has changed", n)
			}
			if broken {
				r.problem("SyntaxError")
			}
		})
	}
}

func TestAHangingHealthCheckOfOneTeamDelaysNobodyElse(t *testing.T) {
	t.Parallel()
	slow, fast := upstream(t, "slow"), upstream(t, "fast")
	release := slow.HangHealth()
	defer release()
	check := "    healthCheckPolicy: {path: " + lab.HealthPath + ", intervalSeconds: 60, timeoutSeconds: 50}\n"
	r := newRig(t,
		teamSpec{name: "a", hosts: []string{"a.example.com"}, files: map[string]string{"routes/p.yaml": page("a", "before", "a.example.com")}},
		teamSpec{name: "b", hosts: []string{"b.example.com"}, files: map[string]string{
			"routes/s.yaml": service("b", "s0", fast), "routes/p.yaml": split("b", "b.example.com", "", "s0", 1)}})
	r.served(200, "before", "a.example.com", "/")
	r.push("a", map[string]string{"routes/s.yaml": service("a", "s", slow), "routes/p.yaml": split("a", "a.example.com", check, "s", 1)})
	r.eventually(func() error { // the change is in Isoline, and waits for its cluster
		for _, team := range r.report().Teams {
			if team.Name == "a" && team.Commit == r.head("a") {
				return nil
			}
		}
		return fmt.Errorf("team a's revision is not taken")
	})
	load := r.load("b.example.com")
	for i := range 10 {
		name := fmt.Sprintf("s%d", i+1)
		next := upstream(t, name)
		r.push("b", map[string]string{"routes/s.yaml": service("b", name, next), "routes/p.yaml": split("b", "b.example.com", "", name, 1)})
		r.served(200, name, "b.example.com", "/")
		r.still(200, "before", "a.example.com", "/") // what a served before, for as long as its cluster is not warm
	}
	noFailures(t, load)
	release()
	r.served(200, "slow", "a.example.com", "/")
}

func (r *rig) head(team string) string {
	r.t.Helper()
	commit, err := r.work[team].Git("rev-parse", "HEAD")
	if err != nil {
		r.t.Fatal(err)
	}
	return commit
}

func TestWhatEnvoyRefusesCostsOnlyItsHost(t *testing.T) {
	t.Parallel()
	r := newRig(t,
		teamSpec{name: "a", hosts: []string{"a.example.com"}, files: map[string]string{"routes/page.yaml": page("a", "first", "a.example.com")}},
		teamSpec{name: "b", hosts: []string{"b.example.com"}, files: map[string]string{"routes/page.yaml": page("b", "second", "b.example.com")}})
	// An Envoy that takes no regular expression at all: nothing that Isoline
	// could have known.
	r.envoy.Stop()
	r.edit = func(bootstrap map[string]any) {
		bootstrap["layeredRuntime"] = map[string]any{"layers": []any{map[string]any{
			"name": "strict", "staticLayer": map[string]any{"re2.max_program_size.error_level": 1}}}}
	}
	r.startEnvoy()
	r.served(200, "first", "a.example.com", "/")
	r.push("a", map[string]string{"routes/page.yaml": page("a", "changed", "a.example.com",
		"  - conditions: [{regex: '/ab+c'}]\n    directResponsePolicy: {statusCode: 204}\n")})
	p := r.problem("RejectedByEnvoy")
	if p.Object.Name != "changed" || p.Origin.Path != "routes/page.yaml" || p.Team != "a" {
		t.Errorf("the problem is about %s of team %q at %s", p.Object, p.Team, p.Origin)
	}
	r.still(200, "first", "a.example.com", "/")
	for _, h := range r.report().Hosts {
		if want := map[string]string{"a.example.com": "lastGood", "b.example.com": "serving"}[h.Host]; h.State != want {
			t.Errorf("%s is %s, want %s", h.Host, h.State, want)
		}
	}
	r.push("b", map[string]string{"routes/page.yaml": page("b", "third", "b.example.com")})
	r.served(200, "third", "b.example.com", "/")

	t.Log("and a restart does not send it again")
	r.isoline.Kill()
	r.startIsoline("run", "-c", r.config)
	r.push("b", map[string]string{"routes/page.yaml": page("b", "fourth", "b.example.com")})
	r.served(200, "fourth", "b.example.com", "/")
	r.still(200, "first", "a.example.com", "/")
	r.problem("RejectedByEnvoy")
	if n := r.counter("isoline_xds_nacks_total"); n != 0 {
		t.Errorf("%v responses were refused after the restart", n)
	}

	r.push("a", map[string]string{"routes/page.yaml": page("a", "mended", "a.example.com")})
	r.served(200, "mended", "a.example.com", "/")
	if report := r.report(); !report.OK {
		t.Errorf("problems remain: %v", report.Problems)
	}
}

func TestChangingOneHostSendsTheSameAtAHundredAndAtTenThousandHosts(t *testing.T) {
	var sent []string
	for _, hosts := range []int{100, 10_000} {
		dir := t.TempDir()
		for i := range hosts {
			replace(t, filepath.Join(dir, fmt.Sprintf("h%05d.yaml", i)), page("default", fmt.Sprintf("h%05d", i), fmt.Sprintf("h%05d.example.com", i)))
		}
		r := newDirectoryRig(t, dir)
		r.served(200, "h00099", "h00099.example.com", "/")
		resources, bytes := r.counter("isoline_xds_sent_resources_total"), r.counter("isoline_xds_sent_bytes_total")
		replace(t, filepath.Join(dir, "h00042.yaml"), page("default", "fresh", "h00042.example.com"))
		r.served(200, "fresh", "h00042.example.com", "/")
		sent = append(sent, fmt.Sprintf("%v resources, %v bytes",
			r.counter("isoline_xds_sent_resources_total")-resources, r.counter("isoline_xds_sent_bytes_total")-bytes))
		r.envoy.Stop()
		r.isoline.Stop()
	}
	if sent[0] != sent[1] || !strings.HasPrefix(sent[0], "1 resources") {
		t.Errorf("at 100 hosts %s, at 10,000 hosts %s", sent[0], sent[1])
	}
}

// echo reads an upstream's answer.
func echo(t *testing.T, body string) (e lab.Echo) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		t.Fatalf("no upstream's answer: %v: %q", err, body)
	}
	return e
}

func TestRewrittenAndForwardedRequestsArriveAsWritten(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	u := upstream(t, "u")
	replace(t, filepath.Join(dir, "all.yaml"), service("default", "u", u)+`---
apiVersion: projectcontour.io/v1
kind: HTTPProxy
metadata: {name: rewrite}
spec:
  virtualhost: {fqdn: rewrite.example.com}
  routes:
  - conditions: [{prefix: /api}]
    services: [{name: u, port: 80}]
    pathRewritePolicy: {replacePrefix: [{replacement: /v1}]}
  - conditions: [{prefix: /strip}]
    services: [{name: u, port: 80}]
    pathRewritePolicy: {replacePrefix: [{replacement: /}]}
  - conditions: [{prefix: /moved}]
    requestRedirectPolicy: {hostname: new.example.com, scheme: https, statusCode: 308}
  - services: [{name: u, port: 80}]
`)
	r := newDirectoryRig(t, dir)
	r.served(200, `"u"`, "rewrite.example.com", "/")
	for path, want := range map[string]string{
		"/": "/", "/api": "/v1", "/api/": "/v1/", "/api/x?q=1": "/v1/x?q=1", "/strip": "/", "/strip/": "/", "/strip/a/b": "/a/b", "/other": "/other",
	} {
		_, body := r.get("rewrite.example.com", path, "x-isoline-host", "spoofed")
		e := echo(t, body)
		if e.Path != want || e.Host != "rewrite.example.com" {
			t.Errorf("%s arrives as %s at %s, want %s", path, e.Path, e.Host, want)
		}
		for name := range e.Headers {
			if strings.HasPrefix(name, "X-Isoline") {
				t.Errorf("%s: the upstream sees %s", path, name)
			}
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/moved/x", r.http), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "rewrite.example.com"
	resp, err := noRedirects.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Location"); resp.StatusCode != 308 || got != "https://new.example.com/moved/x" {
		t.Errorf("/moved/x: %d to %q", resp.StatusCode, got)
	}
}
