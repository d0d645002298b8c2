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
	c.Apply(Update{Units: units(plainListener("http", ""))})
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

func TestAProbedClusterFromBeforeTheStreamIsWarmOnceItIsAcknowledgedAgain(t *testing.T) {
	u := Update{Units: units(plainUnit("u1", "", plainCluster("c", "e", "check hangs")))}
	s := newScene(t, u)
	s.gets("cds c", "lds http", "-eds e")
	s.connect(s.cache)
	s.gets("cds c", "-eds e")
	s.healthy()
	s.gets("srds u1", "rds u1")
}

func TestEndpointsGoAlsoWhereAClusterThatWantedThemWasNeverSent(t *testing.T) {
	old, next := plainCluster("old", "e", ""), plainCluster("new", "e", "")
	s := newScene(t, Update{Units: units(plainUnit("u1", "", old)), Endpoints: byName(plainEndpoints("e", "1"))})
	s.run()
	s.limits.inFlight = 0
	s.session.limits.inFlight = 0
	s.cache.Apply(Update{Units: units(plainUnit("u1", "", next))})
	s.run()
	s.cache.Apply(Update{Units: units(plainUnit("u1", "", old)), Endpoints: map[string]*Resource{"e": nil}})
	s.run()
	s.received, s.session.limits.inFlight = nil, 1
	s.gets("-eds e")
}

func TestARefusedVersionDoesNotCostTheClustersOfTheOneThatServes(t *testing.T) {
	old, next := plainCluster("old", "e1", ""), plainCluster("new", "e2", "")
	s := newScene(t, Update{Units: units(plainUnit("u1", "", old))})
	s.run()
	s.cache.Apply(Update{Units: units(plainUnit("u1", "bad"))})
	for s.serve() {
	}
	s.cache.Apply(Update{Units: units(plainUnit("u1", "", next))})
	s.received = nil
	s.gets("rds u1", "cds new", "-eds e2", "rds u1", "-cds old")
}

func TestARemovalThatIsOvertakenDoesNotCostTheClustersOfTheRoutesThatStay(t *testing.T) {
	s := newScene(t, Update{Units: units(plainUnit("u1", "", plainCluster("c", "e", "")))})
	s.run()
	s.cache.Apply(Update{Units: map[string]*Unit{"u1": nil}, Endpoints: byName(plainEndpoints("e", "1"))})
	s.serve() // endpoints go first
	s.received = nil
	s.cache.Apply(Update{Units: units(plainUnit("u1", "bad"))})
	s.gets("eds e", "rds u1")
}

func TestWhatIsServedAgainAndWasRefusedIsKnownToBeRejected(t *testing.T) {
	s := newScene(t, Update{})
	s.run()
	for range 2 {
		s.cache.Apply(Update{Units: units(plainListener("http", "bad"))})
		s.run()
		if got := s.cache.Rejections(); len(got) != 1 || got[0].Message != "a bad listener" {
			t.Errorf("rejections: %v", got)
		}
		s.cache.Apply(Update{Units: units(plainListener("http", ""))})
		s.run()
	}
}

func TestEndpointsThatGoWhileAStreamBeginsAreRemoved(t *testing.T) {
	s := newScene(t, Update{
		Units: units(plainUnit("u1", "", plainCluster("c", "e", ""))), Endpoints: byName(plainEndpoints("e", "1")),
	})
	s.run()
	s.connect(s.cache)
	s.request() // clusters
	s.request() // endpoints
	s.cache.Apply(Update{Endpoints: map[string]*Resource{"e": nil}})
	s.received = nil
	s.gets("-eds e")
}

func TestASessionIsSettledWhenNothingMoreIsToBeSent(t *testing.T) {
	s := newScene(t, Update{Units: units(plainUnit("u1", "", plainCluster("c", "e", ""))), Endpoints: byName(plainEndpoints("e", "1"))})
	settledAfter := func(what string, u Update) {
		t.Helper()
		s.cache.Apply(u)
		settled := false
		for more := true; more; more = s.request() || s.deliver() {
			for s.serve() {
				if settled {
					t.Errorf("%s: settled, and then more is sent", what)
				}
			}
			if settled = s.session.settled(); settled && len(s.toEnvoy) > 0 {
				t.Errorf("%s: settled, and the Envoy has not read all", what)
			}
		}
		if !s.session.settled() {
			t.Errorf("%s: not settled in the end", what)
		}
	}
	settledAfter("the first build", Update{})
	settledAfter("new endpoints", Update{Endpoints: byName(plainEndpoints("e", "2"))})
	settledAfter("a changed route", Update{Units: units(plainUnit("u1", "x", plainCluster("c", "e", "")))})
}

func TestAListenerWaitsForTheClustersThatItLeadsTo(t *testing.T) {
	s := newScene(t, Update{
		Units:     units(plainListener("https", "", plainCluster("old", "e1", ""))),
		Endpoints: byName(plainEndpoints("e1", "1"), plainEndpoints("e2", "1")),
	})
	s.gets("cds old", "lds http", "eds e1", "lds https")
	s.cache.Apply(Update{Units: units(plainListener("https", "", plainCluster("new", "e2", "")))})
	s.gets("cds new", "eds e2", "lds https", "-cds old")
}

func TestAListenerOfWhichNothingGoodIsKnownStays(t *testing.T) {
	s := newScene(t, Update{})
	s.run()
	s.cache.Apply(Update{Units: units(plainListener("http", "bad"))})
	s.run()
	kept, err := s.cache.Quarantine()
	if err != nil {
		t.Fatal(err)
	}
	again := NewCache()
	if err := again.Restore(kept); err != nil {
		t.Fatal(err)
	}
	delete(again.restored.good, entryKey{unitKind, ListenerUnit("http")})
	again.Apply(Update{Units: units(plainListener("http", "bad"))})
	again.Open()
	s.connect(again)
	s.received = nil
	s.run()
	for _, what := range s.received {
		if what == "-lds http" {
			t.Error("the Envoy loses its listener")
		}
	}
}
