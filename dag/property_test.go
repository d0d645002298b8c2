package dag

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

// TestIncrementalEqualsFresh walks random histories. After every step the
// graph must equal one built afresh from the same objects and the memory
// before the step, in whatever order they come, and one built on its own
// output; and the delta must say exactly what differs.
func TestIncrementalEqualsFresh(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		opts := drawOptions(t)
		g := New(opts, nil)
		objects := map[manifest.Key]*manifest.Object{}
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			changes := drawChanges(t, objects)
			before, memory, problems := outputs(g), reloaded(t, g.Memory()), g.Problems()
			was := printed(before.Hosts, problems)
			delta := g.Update(changes)
			g.Problems()
			if now := printed(before.Hosts, problems); was != now {
				t.Fatalf("values that were handed out changed:\n%s", cmp.Diff(was, now))
			}
			if diff := cmp.Diff(before.apply(delta), outputs(g)); diff != "" {
				t.Fatalf("the delta does not lead from before to now (-applied +now):\n%s", diff)
			}
			before.noIdle(t, delta)
			checkFresh(t, "fresh", g, opts, objects, memory)
			checkFresh(t, "its own output", g, opts, objects, reloaded(t, g.Memory()))
			checkInvariants(t, g)
		}
	})
}

func printed(hosts map[string]*VirtualHost, problems []problem.Problem) string {
	j, err := json.MarshalIndent(map[string]any{"hosts": hosts, "problems": problems}, "", " ")
	if err != nil {
		panic(err)
	}
	return string(j)
}

func drawChanges(t *rapid.T, objects map[manifest.Key]*manifest.Object) []Change {
	var changes []Change
	for range rapid.IntRange(1, 5).Draw(t, "changes") {
		keys := slices.SortedFunc(maps.Keys(objects), manifest.Key.Compare)
		switch kind := few(t, 5); {
		case kind == 0 && len(keys) > 0:
			key := rapid.SampledFrom(keys).Draw(t, "gone")
			delete(objects, key)
			changes = append(changes, Change{Key: key})
		case kind == 1 && len(keys) > 0:
			moved := *objects[rapid.SampledFrom(keys).Draw(t, "moved")]
			moved.Origin.Line++
			objects[moved.Key] = &moved
			changes = append(changes, Change{Key: moved.Key, Object: &moved})
		default:
			o := drawObject(t)
			objects[o.Key] = o
			changes = append(changes, Change{Key: o.Key, Object: o})
		}
	}
	return changes
}

func checkFresh(t *rapid.T, name string, g *Graph, opts Options, objects map[manifest.Key]*manifest.Object, memory map[string]*VirtualHost) {
	keys := slices.SortedFunc(maps.Keys(objects), manifest.Key.Compare)
	var all []Change
	for _, key := range rapid.Permutation(keys).Draw(t, "order") {
		all = append(all, Change{Key: key, Object: objects[key]})
	}
	fresh := New(opts, memory)
	fresh.Update(all)
	if got, want := snapshot(g), snapshot(fresh); !reflect.DeepEqual(got, want) {
		t.Fatalf("the graph differs from one built on %s (-graph +fresh):\n%s", name, cmp.Diff(got, want))
	}
}

// state is all that a graph serves, by name.
type state struct {
	Hosts     map[string]*VirtualHost
	Endpoints map[EndpointsKey]*Endpoints
}

func outputs(g *Graph) state {
	s := state{map[string]*VirtualHost{}, map[EndpointsKey]*Endpoints{}}
	for _, v := range g.Hosts() {
		s.Hosts[v.Host] = v
	}
	for _, e := range g.Endpoints() {
		s.Endpoints[e.Key] = e
	}
	return s
}

func (s state) apply(d Delta) state {
	out := state{maps.Clone(s.Hosts), maps.Clone(s.Endpoints)}
	for host, v := range d.Hosts {
		if out.Hosts[host] = v; v == nil {
			delete(out.Hosts, host)
		}
	}
	for key, e := range d.Endpoints {
		if out.Endpoints[key] = e; e == nil {
			delete(out.Endpoints, key)
		}
	}
	return out
}

// noIdle checks that nothing in the delta was so before.
func (s state) noIdle(t *rapid.T, d Delta) {
	for host, v := range d.Hosts {
		if old, ok := s.Hosts[host]; reflect.DeepEqual(old, v) || v == nil && !ok {
			t.Fatalf("host %s is in the delta and did not change", host)
		}
	}
	for key, e := range d.Endpoints {
		if old, ok := s.Endpoints[key]; reflect.DeepEqual(old, e) || e == nil && !ok {
			t.Fatalf("endpoints %s are in the delta and did not change", key)
		}
	}
}

// checkInvariants holds every virtual host to what model.go promises.
func checkInvariants(t *rapid.T, g *Graph) {
	for _, v := range g.Hosts() {
		seen := map[string]bool{}
		for i, r := range v.Routes {
			if seen[r.Match.Key()] {
				t.Fatalf("%s: %s is there twice", v.Host, r.Match.Key())
			}
			seen[r.Match.Key()] = true
			if i > 0 && compareRoutes(v.Routes[i-1], r) >= 0 {
				t.Fatalf("%s: routes %d and %d are out of order", v.Host, i-1, i)
			}
			if r.Chain[len(r.Chain)-1] != r.Owner {
				t.Fatalf("%s: the chain %v does not end with %v", v.Host, r.Chain, r.Owner)
			}
			for _, key := range r.Chain {
				if g.Object(key) == nil {
					t.Fatalf("%s: %s is served and does not exist", v.Host, key)
				}
			}
			checkConsent(t, g, r.Chain)
			checkAction(t, g, r.Action)
		}
		checkTLS(t, g, v)
		if !slices.ContainsFunc(v.Claims, func(c Claim) bool { return c.Object == v.Owner }) {
			t.Fatalf("%s: the owner has no claim", v.Host)
		}
	}
	for _, p := range g.Problems() {
		if p.Type == "InternalError" {
			t.Fatalf("%v", p)
		}
		// What the platform's configuration names may be nowhere.
		if p.Origin.IsZero() && g.Object(manifest.Key(p.Object)) != nil {
			t.Fatalf("no origin: %v", p)
		}
	}
}

// checkConsent: nothing is included against its will.
func checkConsent(t *rapid.T, g *Graph, chain []manifest.Key) {
	for i := range chain[1:] {
		if by, child := chain[i], chain[i+1]; !g.entries[child].admits(by) {
			t.Fatalf("%s is served below %s against its will", child, by)
		}
	}
}

// checkTLS: what a host shows and asks for is there, and may be used.
func checkTLS(t *rapid.T, g *Graph, v *VirtualHost) {
	if v.TCP != nil {
		checkConsent(t, g, v.TCP.Chain)
		if v.TLS == nil {
			t.Fatalf("%s has a TCP proxy without TLS", v.Host)
		}
	}
	if v.TLS != nil && !v.TLS.Passthrough {
		r := &reader{graph: g, read: map[manifest.Key]struct{}{}}
		if _, err := r.certificate(v.TLS.Certificate, v.TLS.Owner.Namespace); err != nil {
			t.Fatalf("%s shows %s: %v", v.Host, v.TLS.Certificate, err)
		}
	}
}

// TestAStrangerChangesNoOtherHost: whatever a namespace that nobody includes
// brings, the hosts of HTTPProxies stay as they are, and what Ingresses serve
// stays theirs.
func TestAStrangerChangesNoOtherHost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := New(drawOptions(t), nil)
		var world, strangers []Change
		for range 12 {
			o := drawObject(t)
			world = append(world, Change{Key: o.Key, Object: o})
			s := drawObject(t)
			value := s.Value.DeepCopyObject().(manifest.Value)
			value.SetNamespace("stranger")
			s = objectOf(s.Key.Kind, "strangers", value, s.Origin)
			strangers = append(strangers, Change{Key: s.Key, Object: s})
		}
		g.Update(world)
		before := g.Hosts()
		g.Update(strangers)
		for _, was := range before {
			is := g.Host(was.Host)
			if was.Owner.Kind == manifest.HTTPProxy && !reflect.DeepEqual(was, is) {
				t.Fatalf("a stranger changed %s (-was +is):\n%s", was.Host, cmp.Diff(was, is))
			}
			for _, r := range was.Routes {
				same := func(o Route) bool {
					return o.Match.Key() == r.Match.Key() && o.Owner == r.Owner && reflect.DeepEqual(o.Action, r.Action)
				}
				if !slices.ContainsFunc(is.Routes, same) {
					t.Fatalf("a stranger took %s of %s: %v", r.Match.Key(), was.Host, is.Routes)
				}
			}
		}
	})
}

func checkAction(t *rapid.T, g *Graph, a Action) {
	kinds := 0
	for _, set := range []bool{len(a.Clusters) > 0, a.Redirect != nil, a.DirectResponse != nil} {
		if set {
			kinds++
		}
	}
	if kinds != 1 {
		t.Fatalf("an action of %d kinds: %+v", kinds, a)
	}
	for _, w := range a.Clusters {
		if w.Cluster.ExternalName == "" && !slices.ContainsFunc(g.Endpoints(), func(e *Endpoints) bool { return e.Key == w.Cluster.EndpointsKey() }) {
			t.Fatalf("cluster %+v has no endpoints to be found", w.Cluster)
		}
		checkUpstreamTLS(t, g, w.Cluster)
	}
}

// checkUpstreamTLS holds that no cluster, not even one of a last good action,
// relies on a Secret or a delegation that is not there.
func checkUpstreamTLS(t *rapid.T, g *Graph, c Cluster) {
	if c.TLS == nil {
		return
	}
	r := &reader{graph: g, read: map[manifest.Key]struct{}{}}
	if err := r.clientCertificate(c.TLS.ClientCertificate); err != nil {
		t.Fatalf("cluster %+v: %v", c, err)
	}
	if v := c.TLS.Validation; v != nil {
		if ca, err := r.authority(v.Secret, c.Namespace); err != nil || ca != v.CA {
			t.Fatalf("cluster %+v verifies against %s: %v", c, v.Secret, err)
		}
	}
}

// TestPrivateObjectsRebuildOneUnit: what a change costs does not depend on
// how many other hosts there are.
func TestPrivateObjectsRebuildOneUnit(t *testing.T) {
	g := New(Options{}, nil)
	g.Update(manyHosts(50))
	for _, tt := range []struct {
		name   string
		change Change
		want   Work
	}{
		{"the root HTTPProxy", rootOf(7, 2), Work{Objects: 1, Units: 1}},
		{"the included HTTPProxy", childOf(7, 2), Work{Objects: 1, Units: 1}},
		{"the Service", serviceOf(7, 2), Work{Objects: 1, Units: 1, Services: 1}},
		{"the EndpointSlice", sliceOf(7, 2), Work{Objects: 1, Services: 1}},
		{"nothing", rootOf(7, 2), Work{}},
		{"a Service that nobody uses", serviceOf(1000, 1), Work{Objects: 1, Services: 1}},
		{"a new host", rootOf(1000, 1), Work{Objects: 1, Units: 1}},
		{"a host that is withdrawn", withdrawn(rootOf(8, 1)), Work{Objects: 1, Units: 1}},
		{"a Service that nobody uses any more", serviceOf(8, 2), Work{Objects: 1, Services: 1}},
		{"a root that forgets its include", rootAlone(9), Work{Objects: 1, Units: 1}},
		{"the HTTPProxy that was included", childOf(9, 2), Work{Objects: 1}},
	} {
		work := g.Update([]Change{tt.change}).Work
		if work.Reads > 10 {
			t.Errorf("%s: %d reads", tt.name, work.Reads)
		}
		if work.Reads = 0; work != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, work, tt.want)
		}
	}
}

// TestPanicCostsOneHost: a defect in one unit leaves that host as it was, as
// far as its objects still exist, and all others alone.
func TestPanicCostsOneHost(t *testing.T) {
	g := New(Options{}, nil)
	g.Update(manyHosts(3))
	before := g.Host("h1.test")
	g.fault = func(host string) {
		if host == "h1.test" {
			panic("oh no")
		}
	}
	delta := g.Update([]Change{rootOf(0, 5), rootOf(1, 5), childOf(2, 5)})
	if len(delta.Hosts) != 3 {
		t.Errorf("changed: %v", slices.Sorted(maps.Keys(delta.Hosts)))
	}
	after := g.Host("h1.test")
	if len(after.Routes) != len(before.Routes) || !after.Routes[0].LastGood {
		t.Errorf("after the panic: %+v", after)
	}
	if problems := g.Problems(); len(problems) != 1 || problems[0].Reason != "Panic" {
		t.Errorf("problems: %v", problems)
	}
	g.Update([]Change{withdrawn(childOf(1, 1))})
	if after = g.Host("h1.test"); len(after.Routes) != 1 {
		t.Errorf("after the child is gone: %+v", after.Routes)
	}
	g.fault = nil
	g.Update([]Change{childOf(1, 1)})
	if len(g.Problems()) != 0 || len(g.Host("h1.test").Routes) != 2 {
		t.Errorf("after the defect is mended: %v", g.Problems())
	}
}

func withdrawn(c Change) Change { return Change{Key: c.Key} }

// rootAlone is a root without its include.
func rootAlone(i int) Change {
	root := rootOf(i, 1).Object.Value.(*contourv1.HTTPProxy)
	root.Spec.Includes = nil
	return change(manifest.HTTPProxy, root)
}

// TestDiamondsAreBounded: every link of a chain of diamonds doubles the
// routes, so a few dozen objects must not cost more than the bound.
func TestDiamondsAreBounded(t *testing.T) {
	const links = 40
	var changes []Change
	for i := range links {
		next := fmt.Sprintf("p%d", i+1)
		p := &contourv1.HTTPProxy{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: fmt.Sprintf("p%d", i)}}
		if i == 0 {
			p.Spec.VirtualHost = &contourv1.VirtualHost{Fqdn: "x.test"}
		}
		if i < links-1 {
			p.Spec.Includes = []contourv1.Include{
				{Name: next, Conditions: []contourv1.MatchCondition{{Prefix: "/a"}}},
				{Name: next, Conditions: []contourv1.MatchCondition{{Prefix: "/b"}}},
			}
		} else {
			p.Spec.Routes = []contourv1.Route{{DirectResponsePolicy: &contourv1.HTTPDirectResponsePolicy{StatusCode: 200}}}
		}
		changes = append(changes, change(manifest.HTTPProxy, p))
	}
	g := New(Options{}, nil)
	work := g.Update(changes).Work
	if work.Reads > 3*maxWalk {
		t.Errorf("%d reads", work.Reads)
	}
	problems := g.Problems()
	if len(problems) != 1 || problems[0].Reason != "IncludeLimitExceeded" {
		t.Errorf("problems: %v", problems)
	}
}

// TestMemoryWaitsForItsHost: the memory of a host whose source was not in
// reach at the start counts when it comes, and is gone once it was withdrawn.
func TestMemoryWaitsForItsHost(t *testing.T) {
	g := New(Options{}, nil)
	g.Update([]Change{rootOf(0, 1), childOf(0, 1), serviceOf(0, 1)})
	memory := reloaded(t, g.Memory())
	memory["nil.test"] = nil
	g = New(Options{}, memory)
	g.Update([]Change{rootOf(1, 1), serviceOf(0, 1)})
	if diff := cmp.Diff(memory["h0.test"], g.Memory()["h0.test"]); diff != "" {
		t.Errorf("the memory of an unclaimed host (-given +kept):\n%s", diff)
	}
	broken := childOf(0, 1).Object.Value.(*contourv1.HTTPProxy)
	broken.Spec.Routes[0].Services[0].Name = "typo"
	g.Update([]Change{rootOf(0, 1), change(manifest.HTTPProxy, broken)})
	if v := g.Host("h0.test"); !v.Routes[0].LastGood {
		t.Errorf("the remembered action does not serve: %+v", v.Routes)
	}
	g.Update([]Change{withdrawn(rootOf(0, 1))})
	if _, kept := g.Memory()["h0.test"]; kept {
		t.Error("a withdrawn host is remembered")
	}
}

// TestMemoryWithoutClaims: a memory that names only the owner still makes it
// the incumbent.
func TestMemoryWithoutClaims(t *testing.T) {
	other := rootOf(0, 1).Object.Value.(*contourv1.HTTPProxy).DeepCopy()
	other.Name = "zzz"
	g := New(Options{}, map[string]*VirtualHost{"h0.test": {Host: "h0.test", Owner: manifest.Key{Kind: manifest.HTTPProxy, Namespace: "n0", Name: "zzz"}}})
	g.Update([]Change{rootOf(0, 1), change(manifest.HTTPProxy, other)})
	if owner := g.Host("h0.test").Owner; owner.Name != "zzz" {
		t.Errorf("%s serves, not the incumbent", owner)
	}
}
