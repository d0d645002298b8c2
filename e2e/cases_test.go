package e2e

import (
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"

	"isoline.dev/isoline/lab"
	"isoline.dev/isoline/pipeline"
	"isoline.dev/isoline/problem"
)

var update = flag.Bool("update", false, "write the problems that were found into the cases")

// TestCases walks testdata/cases of the repository. Each file there is one
// case: what teams write, the requests that are sent through a real Envoy, and
// what has to come of them. testdata/cases/README.md has the format.
//
// Cases share Isolines and Envoys, each of which has one case at a time;
// between two of them there is nothing. A case with a config.yaml has an
// Isoline and an Envoy of its own.
func TestCases(t *testing.T) {
	files := caseFiles(t)
	if len(files) == 0 {
		t.Fatal("no cases")
	}
	pool := &casePool{t: t}
	byDirectory := map[string][]string{}
	for _, file := range files {
		dir := filepath.Dir(file)
		byDirectory[dir] = append(byDirectory[dir], file)
	}
	for _, dir := range slices.Sorted(maps.Keys(byDirectory)) {
		t.Run(filepath.ToSlash(dir), func(t *testing.T) {
			t.Parallel()
			for _, file := range byDirectory[dir] {
				t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
					t.Parallel()
					runCase(t, pool, filepath.Join(casesDir, file))
				})
			}
		})
	}
}

// casesDir is relative to this package.
const casesDir = "../testdata/cases"

// caseFiles are the cases, relative to casesDir.
func caseFiles(t *testing.T) (files []string) {
	t.Helper()
	err := filepath.WalkDir(casesDir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".txtar") {
			file, _ := filepath.Rel(casesDir, path)
			files = append(files, file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// routingCase is a case as it is written.
type routingCase struct {
	file    string
	archive *txtar.Archive
	// proves are the fields that it shows the effect of.
	proves []string
	config string
	// contour is Contour's configuration file; empty for none.
	contour string
	steps   []*caseStep
	// certificates and upstreams are for all steps.
	certificates, upstreams []string
}

// caseStep is what changes, and what has to be true then.
type caseStep struct {
	// prefix is that of its files: empty, or "step2/".
	prefix string
	// manifests replace those of the same name; empty ones are withdrawn.
	manifests map[string]string
	requests  []*exchange
	problems  string
}

func readCase(file string) (*routingCase, error) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		return nil, err
	}
	c := &routingCase{file: file, archive: archive}
	for line := range strings.Lines(string(archive.Comment)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "proves:"); ok {
			c.proves = append(c.proves, strings.TrimSpace(path))
		}
	}
	for _, f := range archive.Files {
		if err := c.take(f.Name, string(f.Data)); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	if len(c.steps) == 0 {
		return nil, fmt.Errorf("there are no manifests")
	}
	return c, nil
}

func (c *routingCase) take(name, data string) error {
	switch name {
	case "config.yaml":
		c.config = data
		return nil
	case "contour.yaml":
		c.contour = data
		return nil
	case "certificates":
		c.certificates = declarations(data)
		return nil
	case "upstreams":
		c.upstreams = declarations(data)
		return nil
	}
	prefix, rest := "", name
	if step, inside, ok := strings.Cut(name, "/"); ok && strings.HasPrefix(step, "step") {
		prefix, rest = step+"/", inside
	}
	step := c.step(prefix)
	var err error
	switch manifest, ok := strings.CutPrefix(rest, "manifests/"); {
	case ok:
		step.manifests[manifest] = data
	case rest == "requests":
		step.requests, err = parseExchanges(data)
	case rest == "problems":
		step.problems = data
	default:
		err = fmt.Errorf("a case has no such file")
	}
	return err
}

func (c *routingCase) step(prefix string) *caseStep {
	for _, s := range c.steps {
		if s.prefix == prefix {
			return s
		}
	}
	s := &caseStep{prefix: prefix, manifests: map[string]string{}}
	c.steps = append(c.steps, s)
	return s
}

// declarations are the lines that are neither empty nor a comment.
func declarations(data string) (lines []string) {
	for line := range strings.Lines(data) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

func runCase(t *testing.T, pool *casePool, file string) {
	c, err := readCase(file)
	if err != nil {
		t.Fatal(err)
	}
	w := &caseWorld{t: t, secrets: map[string]*caseSecret{}, servers: map[string]caseServer{}}
	w.makeCertificates(c.certificates)
	w.startServers(c.upstreams)
	w.rig = pool.take(t, c.config, c.contour)
	manifests, changed := map[string]string{}, false
	for _, step := range c.steps {
		maps.Copy(manifests, step.manifests)
		maps.DeleteFunc(manifests, func(_, content string) bool { return strings.TrimSpace(content) == "" })
		report := w.rig.load(t, w.expand(joined(manifests)+w.generated(manifests)))
		got := problemsOf(report)
		if *update {
			changed = c.note(step, got) || changed
		} else if diff := cmp.Diff(sortedLines(w.expand(step.problems)), got); diff != "" {
			t.Errorf("%sproblems (-want +got):\n%s", step.prefix, diff)
		}
		for _, e := range step.requests {
			w.play(e)
		}
	}
	if n := w.rig.nacks(); n != 0 {
		t.Errorf("Envoy has refused %v responses", n)
	}
	if changed {
		if err := os.WriteFile(file, txtar.Format(c.archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if t.Failed() {
		t.Logf("what Envoy was sent: put the manifests into a directory and run isoline xds --manifests DIR -o json\nisoline:\n%s", w.rig.isoline.Output())
	}
}

// note writes the problems of a step into the archive, and reports whether
// that changes it.
func (c *routingCase) note(step *caseStep, problems string) bool {
	name := step.prefix + "problems"
	i := slices.IndexFunc(c.archive.Files, func(f txtar.File) bool { return f.Name == name })
	switch {
	case i < 0 && problems == "":
		return false
	case i < 0:
		c.archive.Files = append(c.archive.Files, txtar.File{Name: name, Data: []byte(problems)})
	case sortedLines(string(c.archive.Files[i].Data)) == problems:
		return false
	case problems == "":
		c.archive.Files = slices.Delete(c.archive.Files, i, i+1)
	default:
		c.archive.Files[i].Data = []byte(problems)
	}
	return true
}

// joined are all manifests as one file, so that they take effect together.
func joined(manifests map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(manifests)) {
		b.WriteString("---\n" + strings.TrimRight(manifests[name], "\n") + "\n")
	}
	return b.String()
}

// problemsOf are the problems as isoline check prints them, without where
// they are.
func problemsOf(r pipeline.Report) string {
	var b strings.Builder
	for _, p := range r.Problems {
		if strings.HasPrefix(p.Object.Name, markerName) {
			continue
		}
		p.Origin = problem.Origin{}
		for i := range p.Related {
			p.Related[i].Origin = problem.Origin{}
		}
		b.WriteString(p.String() + "\n")
	}
	return sortedLines(b.String())
}

func sortedLines(text string) string {
	lines := declarations(text)
	slices.Sort(lines)
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}

// casePool has the rigs that cases share.
type casePool struct {
	t    *testing.T // of all cases; the rigs end with it
	mu   sync.Mutex
	free []*caseRig
}

// take returns a rig on which nothing is served, until the case ends.
func (p *casePool) take(t *testing.T, config, contour string) *caseRig {
	t.Helper()
	if config != "" || contour != "" {
		return newCaseRig(t, config, contour)
	}
	p.mu.Lock()
	var r *caseRig
	if n := len(p.free); n > 0 {
		r, p.free = p.free[n-1], p.free[:n-1]
	}
	p.mu.Unlock()
	if r == nil {
		r = newCaseRig(p.t, "", "")
	}
	t.Cleanup(func() {
		if t.Failed() { // it may be the rig's fault
			r.stop()
			return
		}
		r.load(t, "") // nor may it ask at ports that others get
		p.mu.Lock()
		defer p.mu.Unlock()
		p.free = append(p.free, r)
	})
	return r
}

// caseRig is an Isoline that reads one file, and its Envoy.
type caseRig struct {
	*rig
	file   string
	marker string // manifest of the marker, with %d
	loads  int
}

// markerName begins the names of the objects by which a rig sees that what it
// has written was read.
const markerName = "isoline-case-"

func newCaseRig(t *testing.T, fragment, contour string) *caseRig {
	t.Helper()
	r := &caseRig{rig: &rig{t: t, dir: t.TempDir(), shared: fragment == ""}}
	r.ports()
	r.resolveExternal()
	conf := map[string]any{}
	base := fmt.Sprintf(`
apiVersion: isoline.dev/v1alpha1
kind: Config
listeners: {http: {address: 127.0.0.1, port: %d}, https: {address: 127.0.0.1, port: %d}}
xds: {address: 127.0.0.1, port: %d}
web: {address: 127.0.0.1, port: %d}
`, r.http, r.https, r.xds, r.web)
	for _, part := range []string{base, fragment} {
		more := map[string]any{}
		if err := yaml.Unmarshal([]byte(part), &more); err != nil {
			t.Fatalf("config.yaml: %v", err)
		}
		merge(conf, more)
	}
	r.marker = marker(conf)
	body, err := yaml.Marshal(conf)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(r.dir, "isoline.yaml")
	replace(t, file, string(body))
	manifests := filepath.Join(r.dir, "manifests")
	if err := os.Mkdir(manifests, 0o700); err != nil {
		t.Fatal(err)
	}
	r.file = filepath.Join(manifests, "all.yaml")
	replace(t, r.file, fmt.Sprintf(r.marker, 0))
	args := []string{"run", "-c", file, "--manifests", manifests}
	if contour != "" {
		theirs := filepath.Join(r.dir, "contour.yaml")
		replace(t, theirs, contour)
		args = append(args, "--contour-config", theirs)
	}
	r.startIsoline(args...)
	r.startEnvoy()
	return r
}

// externalDomain has the names that cases can use as externalName.
const externalDomain = "external.test"

// resolveExternal makes Envoy look names up with a name server of ours.
func (r *caseRig) resolveExternal() {
	r.t.Helper()
	dns, err := lab.StartDNS(r.t.Context(), externalDomain)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { <-dns.Done() })
	r.edit = func(bootstrap map[string]any) {
		bootstrap["typedDnsResolverConfig"] = map[string]any{
			"name": "envoy.network.dns_resolver.cares",
			"typedConfig": map[string]any{
				"@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
				"resolvers": []any{map[string]any{"socketAddress": map[string]any{
					"protocol": "UDP", "address": "127.0.0.1", "portValue": dns.Port(),
				}}},
			},
		}
	}
}

func (r *caseRig) stop() {
	r.envoy.Stop()
	r.isoline.Stop()
}

// merge puts more into conf; where both have a map, the maps are merged.
func merge(conf, more map[string]any) {
	for key, value := range more {
		into, ok := conf[key].(map[string]any)
		from, is := value.(map[string]any)
		if ok && is {
			merge(into, from)
			continue
		}
		conf[key] = value
	}
}

// marker is an HTTPProxy that a configuration does not keep out.
func marker(conf map[string]any) string {
	first := func(key, otherwise string) string {
		cluster, _ := conf["cluster"].(map[string]any)
		if list, _ := cluster[key].([]any); len(list) > 0 {
			return fmt.Sprint(list[0])
		}
		return otherwise
	}
	return fmt.Sprintf(`apiVersion: projectcontour.io/v1
kind: HTTPProxy
metadata: {name: %[1]s%%[1]d, namespace: %[2]s}
spec:
  ingressClassName: %[3]s
  virtualhost: {fqdn: %[1]s%%[1]d.invalid}
  routes: [{directResponsePolicy: {statusCode: 204}}]
`, markerName, first("rootNamespaces", first("watchNamespaces", "isoline-cases")), first("ingressClasses", "isoline"))
}

// load replaces what is served by the manifests, and returns the report when
// Envoy has acknowledged and warmed up all of it.
func (r *caseRig) load(t *testing.T, manifests string) pipeline.Report {
	t.Helper()
	r.loads++
	replace(t, r.file, fmt.Sprintf(r.marker, r.loads)+manifests)
	read := fmt.Sprint(markerName, r.loads)
	deadline := time.Now().Add(patience / 3)
	for {
		report := r.report()
		var why string
		switch {
		case r.nacks() != 0:
			why = "Envoy has refused a response"
		case !slices.ContainsFunc(report.Objects, func(o pipeline.ObjectReport) bool { return o.Name == read }):
			why = "Isoline has not taken the manifests"
		case len(report.Envoys) != 1 || !report.Envoys[0].Served:
			why = "Envoy has not acknowledged all"
		case !r.warm():
			why = "Envoy is warming up"
		default:
			// Envoy acknowledges before its worker has what it acknowledges; a round
			// trip through the worker comes after that.
			r.get(read+".invalid", "/")
			return report
		}
		if r.nacks() != 0 || time.Now().After(deadline) {
			t.Fatalf("%s; problems:\n%s\nisoline:\n%s\nmanifests:\n%s", why, problemsOf(report), r.isoline.Output(), manifests)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// nacks counts the responses that Envoy has refused.
func (r *caseRig) nacks() float64 { return r.counter("isoline_xds_nacks_total") }

// warm reports whether Envoy uses everything that it has.
func (r *caseRig) warm() bool {
	body, err := fetch(r.envoy.Admin + "/stats?filter=_warming$|warming_clusters$")
	if err != nil {
		return false
	}
	for line := range strings.Lines(body) {
		if _, n, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && n != "0" {
			return false
		}
	}
	return body != ""
}

func fetch(url string) (string, error) {
	resp, err := noRedirects.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	return bodyOf(resp)
}

// caseWorld is what surrounds a case while it runs.
type caseWorld struct {
	t       *testing.T
	rig     *caseRig
	secrets map[string]*caseSecret
	// authorities in the order in which they are declared.
	authorities []*lab.Authority
	servers     map[string]caseServer
	order       []string // of servers, as declared
	sessions    map[string]http.CookieJar
}
