package e2e

import (
	"crypto/tls"
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
	"isoline.dev/isoline/lab"
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
  virtualhost: {fqdn: %q%s}
`, i, host, tlsOf(i))
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

// tlsOf gives every third table TLS.
func tlsOf(i int) string {
	if i%3 == 0 {
		return ", tls: {secretName: certificate}"
	}
	return ""
}

func routes(rnd *rand.Rand, owner string) string {
	var b strings.Builder
	b.WriteString("  routes:\n")
	for j := range 1 + rnd.IntN(5) {
		fmt.Fprintf(&b, "  - conditions: [%s]\n    permitInsecure: %t\n    directResponsePolicy: {statusCode: 200, body: %s-%d}\n",
			strings.Join(conditions(rnd, false), ", "), rnd.IntN(2) == 0, owner, j)
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
	r := dag.Request{
		Method: http.MethodGet, Host: pick([]string{host, host, strings.ToUpper(host), host + ":8080"}),
		TLS: rnd.IntN(3) == 0, Headers: map[string][]string{},
	}
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
	ca, err := lab.NewAuthority("ca")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Sign(lab.CertificateOptions{Hosts: []string{"*.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	replace(t, filepath.Join(dir, "certificate.yaml"), secret("default", "certificate", pair))
	replace(t, filepath.Join(dir, "last.yaml"), page("default", "last", "last.example.com"))
	r := newDirectoryRig(t, dir)
	r.served(200, "last", "last.example.com", "/")
	built, err := pipeline.Load(t.Context(), pipeline.Options{Config: config.Default(), Manifests: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for i := range tables {
		for range requests {
			request := randomRequest(rnd, i)
			found := built.Lookup(request)
			seen[fmt.Sprintf("tls %t, %d", request.TLS, found.Status)]++
			want, match := fmt.Sprintf("%d ", found.Status), ""
			if found.Matched {
				match = found.Route.Match.Key()
				if found.Status == 200 {
					want += found.Route.Action.DirectResponse.Body
				}
			}
			status, body := r.ask(request)
			if got := fmt.Sprintf("%d %s", status, body); got != want {
				t.Errorf("%s %s%s %v, TLS %t:\n  Envoy: %s\n  route: %s (%s)", request.Method, request.Host, request.Path, request.Headers, request.TLS, got, want, match)
			}
		}
	}
	for _, answer := range []string{
		"tls false, 200", "tls false, 301", "tls false, 404", "tls true, 200", "tls true, 404", "tls true, 421", "tls true, 0",
	} {
		if seen[answer] < tables/10 {
			t.Errorf("the requests are not a good sample: %v", seen)
		}
	}
}

// ask sends a request; the status is 0 where there is no handshake.
func (r *rig) ask(request dag.Request) (int, string) {
	r.t.Helper()
	// Not a client: that would read the Location of a redirect.
	transport, at := noRedirects.Transport, fmt.Sprintf("http://127.0.0.1:%d/", r.http)
	if request.TLS {
		name, _, _ := strings.Cut(request.Host, ":")
		secure := &http.Transport{TLSClientConfig: &tls.Config{ServerName: name, InsecureSkipVerify: true}}
		defer secure.CloseIdleConnections()
		transport, at = secure, fmt.Sprintf("https://127.0.0.1:%d/", r.https)
	}
	req, err := http.NewRequestWithContext(r.t.Context(), request.Method, at, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.URL.Opaque = "//" + request.Host + request.Path // sent as it is, in absolute form
	req.Host, req.Header = request.Host, request.Headers
	resp, err := transport.RoundTrip(req)
	if err != nil && request.TLS {
		return 0, ""
	}
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
