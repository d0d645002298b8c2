package xds

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestAnEnvoyEndsWithWhatIsServedWhateverHappens drives two Envoys through
// random changes, refusals, hanging health checks, lost streams and restarts
// of the server, one step at a time in any order. On the way modelEnvoy minds
// what must never happen; in the end each has exactly what is served.
func TestAnEnvoyEndsWithWhatIsServedWhateverHappens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		t.Repeat(map[string]func(*rapid.T){
			"change a unit":      w.changeUnit,
			"change endpoints":   w.changeEndpoints,
			"change a listener":  w.changeListener,
			"the server sends":   w.each((*modelEnvoy).serve),
			"the server reads":   w.each((*modelEnvoy).request),
			"an Envoy reads":     w.each((*modelEnvoy).deliver),
			"all is done":        func(*rapid.T) { w.settle() },
			"a stream is lost":   w.reconnect,
			"the server restart": w.restart,
		})
		w.settle()
		w.check(t)
	})
}

type world struct {
	cache   *Cache
	envoys  []*modelEnvoy
	applied Update // everything, as it was applied last
	bad     bool   // something bad was ever applied
}

func newWorld(t *rapid.T) *world {
	w := &world{cache: NewCache(), applied: Update{
		Units: map[string]*Unit{}, Endpoints: map[string]*Resource{},
	}}
	w.apply(Update{Units: units(plainListener("http", ""))})
	w.cache.Open()
	for _, node := range []string{"a", "b"} {
		e := newModelEnvoy(w.cache, node, func(what string) { t.Fatalf("node %s: %s", node, what) })
		e.limits.removalDelay = rapid.SampledFrom([]time.Duration{0, time.Minute}).Draw(t, "removal delay")
		e.limits.bytes = rapid.SampledFrom([]int{1, 200, 1 << 20}).Draw(t, "response size")
		e.limits.inFlight = rapid.SampledFrom([]int{1, 2, 4096}).Draw(t, "responses in flight")
		e.connect(w.cache)
		w.envoys = append(w.envoys, e)
	}
	return w
}

func (w *world) apply(u Update) {
	w.cache.Apply(u)
	merge(w.applied.Units, u.Units)
	merge(w.applied.Endpoints, u.Endpoints)
}

func merge[T any](into, from map[string]*T) {
	for k, v := range from {
		if v == nil {
			delete(into, k)
		} else {
			into[k] = v
		}
	}
}

func (w *world) changeUnit(t *rapid.T) {
	name := rapid.SampledFrom([]string{"u1", "u2", "u3"}).Draw(t, "unit")
	if rapid.IntRange(0, 5).Draw(t, "gone") == 0 {
		w.apply(Update{Units: map[string]*Unit{name: nil}})
		return
	}
	names := []string{"c1", "c2", "c3", "c4"}
	if name == "u1" { // two units would hardly agree on what it is
		names = append(names, "live")
	}
	clusters := w.drawClusters(t, names)
	text := rapid.SampledFrom([]string{"", "", "x", "bad"}).Draw(t, "routes")
	w.bad = w.bad || text == "bad"
	w.apply(Update{Units: units(plainUnit(name, text, clusters...))})
}

func (w *world) drawClusters(t *rapid.T, names []string) []*Cluster {
	var clusters []*Cluster
	for _, c := range rapid.SliceOfNDistinct(rapid.SampledFrom(names), 0, 3, rapid.ID[string]).Draw(t, "clusters") {
		endpoints := map[string]string{"c1": "e1", "c2": "e1", "c3": "e2", "c4": "e3", "live": "e3"}[c]
		content := rapid.SampledFrom([]string{"", "", "v2", "check", "check hangs", "bad"}).Draw(t, "content of "+c)
		switch {
		case content != "bad":
		case c == "live":
			content = ""
		default:
			// Where endpoints are watched already, their ACK says nothing about
			// the cluster, and its NACK may come later than the routes to it. So
			// bad clusters have endpoints that no good one has.
			endpoints, w.bad = "e4", true
		}
		if c != "live" { // the only one whose name does not tell its content
			c += " " + content
		}
		clusters = append(clusters, plainCluster(c, endpoints, content))
	}
	return clusters
}

func (w *world) changeEndpoints(t *rapid.T) {
	name := rapid.SampledFrom([]string{"e1", "e2", "e3", "e4"}).Draw(t, "endpoints")
	text := rapid.SampledFrom([]string{"gone", "1", "2", "bad"}).Draw(t, "content")
	w.bad = w.bad || text == "bad"
	if text == "gone" {
		w.apply(Update{Endpoints: map[string]*Resource{name: nil}})
		return
	}
	w.apply(Update{Endpoints: byName(plainEndpoints(name, text))})
}

// changeListener changes one of two listeners: only the second leads to clusters
// of its own, and may go.
func (w *world) changeListener(t *rapid.T) {
	name := rapid.SampledFrom([]string{"http", "https"}).Draw(t, "listener")
	if name == "https" && rapid.IntRange(0, 5).Draw(t, "gone") == 0 {
		w.apply(Update{Units: map[string]*Unit{ListenerUnit(name): nil}})
		return
	}
	var clusters []*Cluster
	if name == "https" {
		clusters = w.drawClusters(t, []string{"c1", "c2", "c3", "c4"})
	}
	text := rapid.SampledFrom([]string{"1", "2", "bad"}).Draw(t, "content")
	w.bad = w.bad || text == "bad"
	w.apply(Update{Units: units(plainListener(name, text, clusters...))})
}

func (w *world) each(do func(*modelEnvoy) bool) func(*rapid.T) {
	return func(t *rapid.T) {
		e := w.envoys[rapid.IntRange(0, 1).Draw(t, "node")]
		if !do(e) {
			t.Skip("nothing to do")
		}
	}
}

func (w *world) reconnect(t *rapid.T) {
	w.envoys[rapid.IntRange(0, 1).Draw(t, "node")].connect(w.cache)
}

// restart replaces the server by one that knows the same, and what was
// refused.
func (w *world) restart(t *rapid.T) {
	kept, err := w.cache.Quarantine()
	if err != nil {
		t.Fatal(err)
	}
	c := NewCache()
	if err := c.Restore(kept); err != nil {
		t.Fatal(err)
	}
	c.Apply(w.applied)
	c.Open()
	for _, e := range w.envoys {
		e.connect(c)
	}
	w.cache = c
}

// settle does everything that is to be done, and lets time pass once nothing
// hangs any more.
func (w *world) settle() {
	for again := true; again; {
		again = false
		for _, e := range w.envoys {
			for e.run(); e.hangs(); e.run() {
				e.healthy()
			}
			if at, ok := e.session.deadline(); ok {
				e.now, again = at, true
			}
		}
		// One Envoy's NACK changes what the other is to have.
		for _, e := range w.envoys {
			again = e.serve() || again
		}
	}
}

func (w *world) check(t *rapid.T) {
	for _, e := range w.envoys {
		w.checkEnvoy(t, e)
	}
	if !w.bad {
		if r := w.cache.Rejections(); len(r) > 0 {
			t.Fatalf("rejected although nothing is bad: %v", r)
		}
	}
}

func (w *world) checkEnvoy(t *rapid.T, e *modelEnvoy) {
	if !slices.ContainsFunc(slices.Collect(maps.Values(w.applied.Units)), func(u *Unit) bool {
		served, _ := w.cache.find(unitKind, u.Name)
		return served == nil
	}) {
		// Nothing is withheld, so what the Envoy has is what is served.
		want, got := map[string]string{}, map[string]string{}
		for _, r := range w.cache.Resources() {
			if r.kind == kindEndpoints {
				if _, watched := e.endpoints[r.Name()]; !watched {
					continue
				}
			}
			if !e.asked[r.kind] { // it has not got a listener
				continue
			}
			want[fmt.Sprint(shortNames[r.kind], " ", r.Name())] = r.Version()
		}
		for k := range kinds {
			for name, version := range e.held(k) {
				got[fmt.Sprint(shortNames[k], " ", name)] = version
			}
		}
		// Where all that is known was refused, the Envoy keeps what it had; so
		// it does with clusters, and their endpoints, while it does not say which
		// routes it has.
		maps.DeleteFunc(got, func(place, _ string) bool {
			_, wanted := want[place]
			list, name, _ := strings.Cut(place, " ")
			return !wanted && (list == "eds" && w.applied.Endpoints[name] != nil ||
				list == "lds" || (list == "cds" || list == "eds") && !e.asked[kindScope])
		})
		want["cds live"], got["cds live"] = anyOf(want["cds live"]), anyOf(got["cds live"])
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("node %s (-served +held):\n%s", e.node, diff)
		}
		return
	}
	// Whatever is served is held; what is held besides belongs to units of which
	// nothing can be served.
	for _, r := range w.cache.Resources() {
		held := e.held(r.kind)[r.Name()]
		if !e.asked[r.kind] {
			continue
		}
		if held != r.Version() && r.kind != kindEndpoints && (r.Name() != "live" || held == "") {
			t.Fatalf("node %s: %s %s: held %q, served %q", e.node, shortNames[r.kind], r.Name(), held, r.Version())
		}
	}
}

// anyOf forgets which version it is: two units may want different ones of the
// cluster "live", and then either is right.
func anyOf(version string) string {
	if version != "" {
		return "some"
	}
	return ""
}
