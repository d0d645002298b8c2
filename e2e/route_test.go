package e2e

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"isoline.dev/isoline/config"
	"isoline.dev/isoline/dag"
	"isoline.dev/isoline/pipeline"
)

// The alphabet is small, so that conditions meet and shadow each other.
var (
	paths    = []string{"/", "/a", "/a/", "/a/b", "/ab", "/a/b/c", "/b", "/b.c", "/A"}
	names    = []string{"x-one", "x-two"}
	values   = []string{"1", "2", "12", "a"}
	wildcard = "*.w%d.example.com"
)

// randomTable writes one host's proxies: a root with routes and includes of
// a child. Every route answers with a text of its own.
func randomTable(rnd *rand.Rand, i int) string {
	host := fmt.Sprintf("t%d.example.com", i)
	if i%5 == 0 {
		host = fmt.Sprintf(wildcard, i)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: projectcontour.io/v1
kind: HTTPProxy
metadata: {name: root%d}
spec:
  virtualhost: {fqdn: %q}
`, i, host)
	b.WriteString("  includes:\n")
	for range 1 + rnd.IntN(2) {
		fmt.Fprintf(&b, "  - {name: child%d, conditions: [%s]}\n", i, strings.Join(conditions(rnd, true), ", "))
	}
	b.WriteString(routes(rnd, fmt.Sprintf("root%d", i)))
	fmt.Fprintf(&b, `---
apiVersion: projectcontour.io/v1
kind: HTTPProxy
metadata: {name: child%d}
spec:
%s---
`, i, routes(rnd, fmt.Sprintf("child%d", i)))
	return b.String()
}

func routes(rnd *rand.Rand, owner string) string {
	var b strings.Builder
	b.WriteString("  routes:\n")
	for j := range 1 + rnd.IntN(5) {
		fmt.Fprintf(&b, "  - conditions: [%s]\n    directResponsePolicy: {statusCode: 200, body: %s-%d}\n",
			strings.Join(conditions(rnd, false), ", "), owner, j)
	}
	return b.String()
}

func conditions(rnd *rand.Rand, include bool) []string {
	pick := func(from []string) string { return from[rnd.IntN(len(from))] }
	var out []string
	kind := rnd.IntN(4)
	switch {
	case include || kind < 2:
		out = append(out, fmt.Sprintf("{prefix: %q}", pick(paths)))
	case kind == 2:
		out = append(out, fmt.Sprintf("{exact: %q}", pick(paths)))
	default:
		out = append(out, fmt.Sprintf("{regex: %q}", pick([]string{"/a.*", "/.+", "/[ab]", "/a/.", "/(a|b)/?"})))
	}
	for range rnd.IntN(3) {
		op := pick([]string{"exact", "contains", "notexact", "notcontains", "present", "notpresent", "regex"})
		value := fmt.Sprintf("%q", pick(values))
		if strings.HasSuffix(op, "present") {
			value = "true"
		}
		extra := ""
		if rnd.IntN(4) == 0 && op != "regex" && !strings.HasSuffix(op, "present") {
			extra = ", ignoreCase: true"
		}
		if strings.HasPrefix(op, "not") && rnd.IntN(3) == 0 && op != "notpresent" {
			extra += ", treatMissingAsEmpty: true"
		}
		out = append(out, fmt.Sprintf("{header: {name: %s, %s: %s%s}}", pick(names), op, value, extra))
	}
	if rnd.IntN(4) == 0 {
		op := pick([]string{"exact", "prefix", "suffix", "contains", "regex"})
		out = append(out, fmt.Sprintf("{queryParameter: {name: q, %s: %q}}", op, pick(values)))
	}
	return out
}

// randomRequest is aimed at table i, and sometimes beside it.
func randomRequest(rnd *rand.Rand, i int) dag.Request {
	pick := func(from []string) string { return from[rnd.IntN(len(from))] }
	host := fmt.Sprintf("t%d.example.com", i)
	if i%5 == 0 {
		host = pick([]string{"one", "two.labels", "UPPER", ""}) + strings.TrimPrefix(fmt.Sprintf(wildcard, i), "*")
		host = strings.TrimPrefix(host, ".")
	}
	r := dag.Request{Method: http.MethodGet, Host: pick([]string{host, host, strings.ToUpper(host), host + ":8080"}), Headers: map[string][]string{}}
	r.Path = pick(paths)
	if rnd.IntN(3) == 0 {
		r.Path += pick([]string{"/c", "x", "/", ".c", "//b", "/../a", "/./b", "/..", "%2fb", "%5Cb", "%61", "%41b", "/%2e%2E/b", "%7E%zz", "%25", `\b`, "%c3%a9", "/.../a", "%2"})
	}
	if rnd.IntN(3) == 0 {
		r.Path += "?q=" + pick(values)
	}
	for range rnd.IntN(3) {
		name := http.CanonicalHeaderKey(pick(names))
		r.Headers[name] = append(r.Headers[name], pick(values))
	}
	return r
}

func TestRouteSaysWhatEnvoyDoes(t *testing.T) {
	const tables, requests = 150, 40
	rnd := rand.New(rand.NewPCG(3, 4))
	dir := t.TempDir()
	for i := range tables {
		replace(t, filepath.Join(dir, fmt.Sprintf("t%d.yaml", i)), randomTable(rnd, i))
	}
	replace(t, filepath.Join(dir, "last.yaml"), page("default", "last", "last.example.com"))
	r := newDirectoryRig(t, dir)
	r.served(200, "last", "last.example.com", "/")
	built, err := pipeline.Load(t.Context(), pipeline.Options{Config: config.Default(), Manifests: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[bool]int{}
	for i := range tables {
		for range requests {
			request := randomRequest(rnd, i)
			found := built.Lookup(request)
			seen[found.Matched]++
			want, match := "404 ", ""
			if found.Matched {
				want, match = "200 "+found.Route.Action.DirectResponse.Body, found.Route.Match.Key()
			} else if found.Status != 404 {
				want = fmt.Sprintf("%d ", found.Status)
			}
			status, body := r.ask(request)
			if got := fmt.Sprintf("%d %s", status, body); got != want {
				t.Errorf("%s %s%s %v:\n  Envoy: %s\n  route: %s (%s)", request.Method, request.Host, request.Path, request.Headers, got, want, match)
			}
		}
	}
	if seen[true] < tables || seen[false] < tables {
		t.Errorf("the requests are not a good sample: %v", seen)
	}
}

func (r *rig) ask(request dag.Request) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), request.Method, fmt.Sprintf("http://127.0.0.1:%d/", r.http), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.URL.Opaque = "//" + request.Host + request.Path // sent as it is, in absolute form
	req.Host, req.Header = request.Host, request.Headers
	resp, err := noRedirects.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}
