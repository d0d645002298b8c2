package dag

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"

	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

var update = flag.Bool("update", false, "write the expected output into the scripts")

// TestScripts walks testdata/*.txtar. A script's files are named
// step/[team/]name.yaml; a step replaces the files that it names (an empty
// one withdraws its objects) and leaves the others. step/restart begins the
// step with a new graph that has only the old one's memory, step/requests has
// one request a line, and step/want is what must come of it all.
// options.yaml sets the graph's options.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, script := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(script), ".txtar"), func(t *testing.T) { runScript(t, script) })
	}
}

func runScript(t *testing.T, script string) {
	archive, err := txtar.ParseFile(script)
	if err != nil {
		t.Fatal(err)
	}
	r := &scriptRun{t: t, files: map[string][]Change{}}
	var steps []string
	for _, f := range archive.Files {
		if f.Name == "options.yaml" {
			r.options(f.Data)
		}
		if step, _, ok := strings.Cut(f.Name, "/"); ok && !slices.Contains(steps, step) {
			steps = append(steps, step)
		}
	}
	r.graph = New(r.opts, nil)
	changed := false
	for _, step := range steps {
		got := r.step(step, archive)
		i := slices.IndexFunc(archive.Files, func(f txtar.File) bool { return f.Name == step+"/want" })
		switch {
		case *update && i >= 0:
			changed = changed || string(archive.Files[i].Data) != got
			archive.Files[i].Data = []byte(got)
		case *update:
			t.Fatalf("add an empty file %s/want", step)
		case i < 0:
			t.Errorf("step %s has no want", step)
		default:
			if diff := cmp.Diff(string(archive.Files[i].Data), got); diff != "" {
				t.Errorf("step %s (-want +got):\n%s", step, diff)
			}
		}
	}
	if changed {
		if err := os.WriteFile(script, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

type scriptRun struct {
	t     *testing.T
	opts  Options
	graph *Graph
	// files has the objects of every file as it stands.
	files map[string][]Change
}

type owners map[string]string

func (o owners) HostOwner(host string) (string, bool) { team, ok := o[host]; return team, ok }

func (r *scriptRun) options(data []byte) {
	var o struct {
		RootNamespaces  []string `json:"rootNamespaces"`
		WatchNamespaces []string `json:"watchNamespaces"`
		IngressClasses  []string `json:"ingressClasses"`
		Owners          owners   `json:"owners"`
		Settings        Settings `json:"settings"`
	}
	if err := yaml.UnmarshalStrict(data, &o); err != nil {
		r.t.Fatal(err)
	}
	r.opts = Options{
		RootNamespaces: o.RootNamespaces, WatchNamespaces: o.WatchNamespaces, IngressClasses: o.IngressClasses,
		Settings: o.Settings,
	}
	if o.Owners != nil {
		r.opts.Policy = o.Owners
	}
}

// step applies one step and prints what stands then.
func (r *scriptRun) step(step string, archive *txtar.Archive) string {
	var changes []Change
	var requests []string
	memory := r.graph.Memory()
	for _, f := range archive.Files {
		name, ok := strings.CutPrefix(f.Name, step+"/")
		switch {
		case !ok:
		case name == "restart":
			memory = reloaded(r.t, memory)
			r.graph = New(r.opts, memory)
			for _, key := range slices.Sorted(maps.Keys(r.files)) {
				changes = append(changes, r.files[key]...)
			}
		case name == "requests":
			requests = strings.Split(strings.TrimSpace(string(f.Data)), "\n")
		case path.Ext(name) == ".yaml":
			for _, c := range r.files[name] {
				changes = append(changes, Change{Key: c.Key})
			}
			r.files[name] = readFile(r.t, name, f.Data)
			changes = append(changes, r.files[name]...)
		}
	}
	delta := r.graph.Update(changes)
	var b strings.Builder
	printDelta(&b, delta)
	printGraph(&b, r.graph)
	for _, request := range requests {
		printRequest(&b, r.graph, request)
	}
	r.checkAgainstFresh(memory)
	return b.String()
}

// checkAgainstFresh holds every step to the package's promise.
func (r *scriptRun) checkAgainstFresh(memory map[string]*VirtualHost) {
	r.t.Helper()
	var all []Change
	for _, key := range slices.Backward(slices.Sorted(maps.Keys(r.files))) {
		all = append(all, r.files[key]...)
	}
	for name, memory := range map[string]map[string]*VirtualHost{
		"built afresh": memory, "built on its own output": reloaded(r.t, r.graph.Memory()),
	} {
		fresh := New(r.opts, memory)
		fresh.Update(all)
		if diff := cmp.Diff(snapshot(r.graph), snapshot(fresh)); diff != "" {
			r.t.Errorf("the graph differs from one %s (-graph +fresh):\n%s", name, diff)
		}
	}
}

// reloaded is the memory after a trip through its file.
func reloaded(t interface{ Fatal(...any) }, memory map[string]*VirtualHost) map[string]*VirtualHost {
	j, err := json.Marshal(memory)
	if err != nil {
		t.Fatal(err)
	}
	var back map[string]*VirtualHost
	if err := json.Unmarshal(j, &back); err != nil {
		t.Fatal(err)
	}
	return back
}

type graphState struct {
	Hosts     []*VirtualHost
	Endpoints []*Endpoints
	Problems  []problem.Problem
	Objects   []ObjectStatus
	Reports   []HostReport
}

func snapshot(g *Graph) graphState {
	return graphState{g.Hosts(), g.Endpoints(), g.Problems(), g.Objects(), g.HostReports()}
}

func readFile(t *testing.T, name string, data []byte) []Change {
	team, _, ok := strings.Cut(name, "/")
	if !ok {
		team = ""
	}
	line := 1
	var out []Change
	for _, doc := range bytes.SplitAfter(data, []byte("\n---\n")) {
		start := line
		line += bytes.Count(doc, []byte("\n"))
		if doc = bytes.TrimSuffix(doc, []byte("\n---\n")); len(bytes.TrimSpace(doc)) == 0 {
			continue
		}
		object, problems := manifest.Decode(doc, team, problem.Origin{Path: name, Line: start}, "")
		if object == nil || len(problems) > 0 {
			t.Fatalf("%s:%d: %v", name, start, problems)
		}
		out = append(out, Change{Key: object.Key, Object: object})
	}
	return out
}

func printDelta(b *strings.Builder, d Delta) {
	var changed []string
	for _, host := range slices.Sorted(maps.Keys(d.Hosts)) {
		if d.Hosts[host] == nil {
			host = "-" + host
		}
		changed = append(changed, host)
	}
	for _, key := range slices.SortedFunc(maps.Keys(d.Endpoints), EndpointsKey.Compare) {
		name := key.String()
		if d.Endpoints[key] == nil {
			name = "-" + name
		}
		changed = append(changed, name)
	}
	for _, key := range slices.SortedFunc(maps.Keys(d.Extensions), manifest.Key.Compare) {
		j, _ := json.Marshal(d.Extensions[key])
		changed = append(changed, key.String()+string(j))
	}
	fmt.Fprintf(b, "changed: %s (units %d)\n", strings.Join(changed, " "), d.Work.Units)
}

func printGraph(b *strings.Builder, g *Graph) {
	for i, report := range g.HostReports() {
		v := g.Hosts()[i]
		fmt.Fprintf(b, "host %s: %s, %s\n", v.Host, report.State, v.Owner)
		if v.Policy != nil {
			j, _ := json.Marshal(v.Policy)
			fmt.Fprintf(b, "  policy%s\n", j)
		}
		printTLS(b, v)
		for _, r := range v.Routes {
			printRoute(b, r)
		}
	}
	for _, e := range g.Endpoints() {
		fmt.Fprintf(b, "endpoints %s:", e.Key)
		printAddresses(b, e.Addresses)
		for _, s := range e.Shares {
			fmt.Fprintf(b, " %s*%d", s.Name, s.Weight)
			printAddresses(b, s.Addresses)
		}
		b.WriteByte('\n')
	}
	for _, o := range g.Objects() {
		fmt.Fprintf(b, "%s: %s\n", o.Object, o.Status)
		for _, i := range o.IncludedBy {
			fmt.Fprintf(b, "  by %s on %s: %s\n", i.Root, i.Host, i.Match.Key())
		}
	}
	for _, p := range g.Problems() {
		fmt.Fprintf(b, "%s\n", p)
	}
}

func printTLS(b *strings.Builder, v *VirtualHost) {
	if v.TLS == nil {
		return
	}
	fmt.Fprintf(b, "  tls of %s", v.TLS.Owner)
	if v.TLS.Passthrough {
		b.WriteString(" passthrough")
	} else {
		fmt.Fprintf(b, " %s", v.TLS.Certificate)
	}
	if n := v.TLS.Versions; n.Minimum != "" || n.Maximum != "" {
		fmt.Fprintf(b, " %s-%s", n.Minimum, n.Maximum)
	}
	if c := v.TLS.Client; c != nil {
		fmt.Fprintf(b, " client ca:%t crl:%t skip:%t optional:%t", c.CA != "", c.CRL != "", c.SkipVerify, c.Optional)
	}
	if !v.TLS.Fallback.IsZero() {
		fmt.Fprintf(b, " fallback %s", v.TLS.Fallback)
	}
	b.WriteByte('\n')
	if v.TCP != nil {
		fmt.Fprintf(b, "  tcp %s\n", actionText(Action{Clusters: v.TCP.Clusters}))
	}
}

func printAddresses(b *strings.Builder, all []Address) {
	for _, a := range all {
		fmt.Fprintf(b, " %s|%d", a.IP, a.Port)
		if a.HealthPort != 0 {
			fmt.Fprintf(b, "(%d)", a.HealthPort)
		}
	}
}

func printRoute(b *strings.Builder, r Route) {
	names := make([]string, len(r.Chain))
	for i, key := range r.Chain {
		names[i] = key.Namespace + "/" + key.Name
	}
	fmt.Fprintf(b, "  %s => %s", r.Match.Key(), actionText(r.Action))
	if r.Plain != PlainServe {
		fmt.Fprintf(b, " PLAIN-%s", strings.ToUpper(string(r.Plain)))
	}
	if r.PlainOnly {
		b.WriteString(" PLAINONLY")
	}
	if r.LastGood {
		b.WriteString(" LASTGOOD")
	}
	if r.Unresolved {
		b.WriteString(" UNRESOLVED")
	}
	fmt.Fprintf(b, " [%s %s]\n", strings.Join(names, " > "), r.Field)
}

func actionText(a Action) string {
	var parts []string
	for _, w := range a.Clusters {
		c := w.Cluster
		s := c.Namespace + "/" + c.Service + ":" + strconv.Itoa(int(c.Port))
		if c.PortName != "" {
			s += "(" + c.PortName + ")"
		}
		if c.Protocol != "" {
			s += "+" + c.Protocol
		}
		if w.Weight != 0 {
			s += "*" + strconv.Itoa(int(w.Weight))
		}
		if h := c.HealthCheck; h != nil {
			s += fmt.Sprintf("{check %s%s %ds/%ds %d/%d %v}", h.Host, h.Path, h.IntervalSeconds, h.TimeoutSeconds,
				h.UnhealthyThreshold, h.HealthyThreshold, h.ExpectedStatuses)
		}
		parts = append(parts, s+upstreamText(c)+treatmentText(w))
	}
	if a.Mirror != nil {
		j, _ := json.Marshal(a.Mirror)
		parts = append(parts, "mirror"+string(j))
	}
	if a.Redirect != nil {
		j, _ := json.Marshal(a.Redirect)
		parts = append(parts, "redirect"+string(j))
	}
	if a.DirectResponse != nil {
		parts = append(parts, strconv.Itoa(int(a.DirectResponse.StatusCode)))
		if a.DirectResponse.Body != "" {
			parts = append(parts, strconv.Quote(a.DirectResponse.Body))
		}
	}
	if w := a.Rewrite; w != nil && w.Regex != "" {
		parts = append(parts, "rewrite "+w.Regex+" to "+w.Substitution)
	} else if w != nil {
		parts = append(parts, "rewrite to "+w.Prefix)
	}
	if a.Policy != nil {
		j, _ := json.Marshal(a.Policy)
		parts = append(parts, "policy"+string(j))
	}
	return strings.Join(parts, " ")
}

// upstreamText is what else a cluster has: its fields in the memory.
func upstreamText(c Cluster) string {
	c.Protocol, c.PortName, c.HealthCheck = "", "", nil
	if c.TLS != nil && c.TLS.Validation != nil {
		of, validation := *c.TLS, *c.TLS.Validation
		validation.CA, of.Validation = strconv.Itoa(len(validation.CA))+" bytes", &validation
		c.TLS = &of
	}
	j, _ := json.Marshal(c)
	var fields map[string]any
	_ = json.Unmarshal(j, &fields)
	for _, shown := range []string{"namespace", "service", "port"} {
		delete(fields, shown)
	}
	if len(fields) == 0 {
		return ""
	}
	j, _ = json.Marshal(fields)
	return string(j)
}

// treatmentText is what is done to the requests of one service.
func treatmentText(w WeightedCluster) string {
	w.Cluster, w.Weight = Cluster{}, 0
	j, _ := json.Marshal(w)
	var fields map[string]any
	_ = json.Unmarshal(j, &fields)
	delete(fields, "cluster")
	delete(fields, "weight")
	if len(fields) == 0 {
		return ""
	}
	j, _ = json.Marshal(fields)
	return string(j)
}

// printRequest takes "GET host/path [header: value], ...", the host perhaps
// behind "https:".
func printRequest(b *strings.Builder, g *Graph, line string) {
	method, rest, _ := strings.Cut(line, " ")
	target, headers, _ := strings.Cut(rest, " ")
	host, p, _ := strings.Cut(target, "/")
	r := Request{Method: method, Host: host, Path: "/" + p, Headers: map[string][]string{}}
	for _, h := range strings.Split(headers, ", ") {
		if name, value, ok := strings.Cut(h, ": "); ok {
			r.Headers[name] = append(r.Headers[name], value)
		}
	}
	r.Host, r.TLS = strings.CutPrefix(r.Host, "https:")
	f := g.Lookup(r)
	fmt.Fprintf(b, "%s -> ", line)
	if f.TCP != nil {
		fmt.Fprintf(b, "%s tcp %s", f.Host, actionText(Action{Clusters: f.TCP.Clusters}))
	} else if f.Matched && f.Route.Plain != PlainServe && !r.TLS {
		fmt.Fprintf(b, "%s %s => %d", f.Host, f.Route.Match.Key(), f.Status)
	} else if f.Matched {
		fmt.Fprintf(b, "%s %s => %s", f.Host, f.Route.Match.Key(), actionText(f.Route.Action))
	} else {
		fmt.Fprintf(b, "%s %d", f.Host, f.Status)
	}
	b.WriteByte('\n')
}
