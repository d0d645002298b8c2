package xds

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// scene is a cache with a listener and one Envoy.
type scene struct {
	*modelEnvoy
	t *testing.T
}

func newScene(t *testing.T, u Update) *scene {
	t.Helper()
	c := NewCache()
	c.Apply(Update{Listeners: byName(plainListener("http", ""))})
	c.Apply(u)
	c.Open()
	s := &scene{newModelEnvoy(c, "envoy", func(what string) { t.Helper(); t.Error(what) }), t}
	s.connect(c)
	return s
}

// gets says what the Envoy is sent until nothing more is.
func (s *scene) gets(want ...string) {
	s.t.Helper()
	s.run()
	if diff := cmp.Diff(want, slices.Clip(s.received)); diff != "" {
		s.t.Errorf("what is sent (-want +got):\n%s", diff)
	}
	s.received = nil
}

func TestAFreshEnvoyGetsClustersEndpointsListenersScopesAndRoutesInThatOrder(t *testing.T) {
	a, b := plainCluster("ca", "ea", ""), plainCluster("cb", "eb", "")
	s := newScene(t, Update{
		Units:     units(plainUnit("u1", "", a), plainUnit("u2", "", a, b)),
		Endpoints: byName(plainEndpoints("ea", "1"), plainEndpoints("eb", "1")),
	})
	s.gets("cds ca", "cds cb", "lds http", "eds ea", "eds eb", "srds u1", "srds u2", "rds u1", "rds u2")
}
