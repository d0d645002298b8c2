package xds

import (
	"context"
	"errors"
	"slices"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"isoline.dev/isoline/dag"
)

// translated is the unit of a host.
func translated(t *testing.T, vh *dag.VirtualHost) *Unit {
	t.Helper()
	u, problems := Translate(vh, Options{})
	if u == nil || len(problems) > 0 {
		t.Fatal(problems)
	}
	return u
}

// remade is a resource with its message changed, past all validation.
func remade[M any](t *testing.T, r *Resource, change func(M)) *Resource {
	t.Helper()
	m, err := r.Message()
	if err != nil {
		t.Fatal(err)
	}
	change(m.(M))
	out, err := NewResource(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// badRoute is u with an expression that Envoy cannot compile.
func badRoute(t *testing.T, u *Unit) *Unit {
	t.Helper()
	out := *u
	out.Routes = []*Resource{remade(t, u.Routes[0], func(rc *routev3.RouteConfiguration) {
		rc.VirtualHosts[0].Routes[0].Match.PathSpecifier = &routev3.RouteMatch_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: "("}}
	})}
	return &out
}

// badCluster is u with a cluster that Envoy does not take.
func badCluster(t *testing.T, u *Unit) *Unit {
	t.Helper()
	out := *u
	bad := *u.Clusters[0]
	bad.Resource = remade(t, bad.Resource, func(c *clusterv3.Cluster) { c.LbPolicy = clusterv3.Cluster_CLUSTER_PROVIDED })
	out.Clusters = []*Cluster{&bad}
	return &out
}

func TestWhatEnvoyRefusesCostsOnlyItsOwnUnit(t *testing.T) {
	for _, tc := range []struct {
		name string
		bad  func(*testing.T, *Unit) *Unit
	}{{"a route configuration", badRoute}, {"a cluster", badCluster}} {
		t.Run(tc.name, func(t *testing.T) {
			c := serveOverADS(t)
			for _, name := range []string{"old", "new", "neighbour", "fresh"} {
				c.apply(nil, endpointsAt(t, name, upstreamServer(t, name)))
			}
			c.apply(map[string]*dag.VirtualHost{"a.example.com": testHost("a.example.com", prefixRoute("/", "old")),
				"b.example.com": testHost("b.example.com", prefixRoute("/", "old"))}, nil)
			c.eventually("a.example.com", "/", "old")
			c.eventually("b.example.com", "/", "old")

			a, b, n := UnitName("a.example.com"), UnitName("b.example.com"), UnitName("n.example.com")
			seq := c.cache.Apply(Update{Units: map[string]*Unit{
				a: tc.bad(t, translated(t, testHost("a.example.com", prefixRoute("/", "new")))),
				b: translated(t, testHost("b.example.com", prefixRoute("/", "neighbour"))),
				n: tc.bad(t, translated(t, testHost("n.example.com", prefixRoute("/", "fresh")))),
			}})
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if _, err := c.server.AwaitServed(ctx, []string{b}, seq); err != nil {
				t.Errorf("the neighbour is not served: %v", err)
			}
			for _, unit := range []string{a, n} {
				if _, err := c.server.AwaitServed(ctx, []string{unit}, seq); !errors.Is(err, ErrRejected) {
					t.Errorf("%s: %v", unit, err)
				}
			}
			c.eventually("b.example.com", "/", "neighbour")
			c.eventually("a.example.com", "/", "old") // its last good
			c.eventually("n.example.com", "/", "404") // it has none
			var refused []string
			for _, r := range c.cache.Rejections() {
				refused = append(refused, r.Units...)
			}
			slices.Sort(refused)
			if !slices.Equal(refused, []string{a, n}) {
				t.Errorf("refused are %v", refused)
			}

			c.apply(map[string]*dag.VirtualHost{"a.example.com": testHost("a.example.com", prefixRoute("/", "new")),
				"n.example.com": testHost("n.example.com", prefixRoute("/", "fresh"))}, nil)
			c.eventually("a.example.com", "/", "new")
			c.eventually("n.example.com", "/", "fresh")
			if left := c.cache.Rejections(); len(left) > 0 {
				t.Errorf("still refused: %v", left)
			}
		})
	}
}

func TestARefusedResponseIsSentAgainOneResourceAtATime(t *testing.T) {
	c := serveOverADS(t)
	for _, name := range []string{"one", "two", "three"} {
		c.apply(nil, endpointsAt(t, name, upstreamServer(t, name)))
	}
	units := map[string]*Unit{}
	for _, name := range []string{"one", "two", "three"} {
		host := name + ".example.com"
		units[UnitName(host)] = translated(t, testHost(host, prefixRoute("/", name)))
	}
	bad := UnitName("two.example.com")
	units[bad] = badCluster(t, units[bad])
	seq := c.cache.Apply(Update{Units: units}) // three clusters, one response
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := c.server.AwaitServed(ctx, []string{UnitName("one.example.com"), UnitName("three.example.com")}, seq); err != nil {
		t.Error(err)
	}
	c.eventually("one.example.com", "/", "one")
	c.eventually("three.example.com", "/", "three")
	c.eventually("two.example.com", "/", "404")
	if list := c.nacks.all(); len(list) != 2 { // all three together, then the culprit alone
		t.Errorf("refused: %v", list)
	}
}
