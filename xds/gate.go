package xds

import (
	"slices"
	"time"
)

// resident is a unit on one stream: what the Envoy has of it, and what it is
// to have.
//
// New clusters are sent at once. What leads to them moves from one version to
// the next as a whole (release), when all clusters of the next are warm and
// nothing of the version before is in flight. Clusters of the version that is
// left are given up when the Envoy has none of its routes any more.
type resident struct {
	name string
	seq  Seq
	// desired and served are the cache's.
	desired, served *Unit
	// target is what this Envoy is to have: served, unless it has refused it.
	// released is the version whose scopes and routes may be sent.
	target, released *Unit
	// leaving are the versions before released, oldest first, of which the Envoy
	// may still have routes: until released is acknowledged, and longer where
	// something of it is refused, or a removal was overtaken.
	leaving []*Unit
	// kept is desired while nothing known can be served and the Envoy, which had
	// routes from before the stream, goes on with those.
	kept *Unit
	// missing counts the clusters of target that are cold, open the scopes and
	// routes that are in line or in flight.
	missing, open int
	// done says that the Envoy has all of target, proven that the cache was told.
	done, proven bool
}

func (s *session) updateUnit(c change) {
	u := s.units[c.name]
	if u == nil {
		if c.desired == nil {
			return
		}
		u = &resident{name: c.name}
		s.units[c.name] = u
		s.undone++
	}
	u.seq, u.desired, u.served = c.seq, c.desired, c.served
	s.choose(u)
}

// choose decides which version of a unit the Envoy is to have: the newest of
// which it has refused nothing.
func (s *session) choose(u *resident) {
	var target, kept *Unit
	if u.desired != nil {
		target = u.served
		if !s.acceptable(target) {
			target = s.cache.goodOf(entryKey{unitKind, u.name})
		}
		for _, have := range slices.Backward(append(slices.Clip(u.leaving), u.released)) {
			if !s.acceptable(target) {
				target = have
			}
		}
		if !s.acceptable(target) {
			target = nil
			if s.serves(u.desired) {
				kept = u.desired
			}
		}
	}
	s.expect(kept, 1)
	s.expect(u.kept, -1)
	u.kept = kept
	s.retarget(u, target)
	s.setDone(u, false)
	s.settling = append(s.settling, u)
}

func (s *session) acceptable(u *Unit) bool {
	if u == nil {
		return false
	}
	for r := range u.resources {
		if s.hasRefused(r) {
			return false
		}
	}
	return true
}

// serves reports whether the Envoy has some version of every listener and route
// of u, or may have, as it has not said yet.
func (s *session) serves(u *Unit) bool {
	some := false
	for r := range u.paths {
		if r.kind == kindScope {
			continue
		}
		sub := &s.subs[r.kind]
		if t := sub.things[r.Name()]; sub.asked && (t == nil || t.held == "") {
			return false
		}
		some = true
	}
	return some
}

func (s *session) setDone(u *resident, done bool) {
	if u.done != done {
		u.done = done
		if done {
			s.undone--
		} else {
			s.undone++
		}
	}
	s.events = append(s.events, event{unit: &unitEvent{
		name: u.name, seq: u.seq,
		served: done && u.released == u.served,
		frozen: u.served != nil && u.target != u.served || u.desired != nil && u.served == nil,
	}})
}

// expect counts n units more that have the scopes and routes of u.
func (s *session) expect(u *Unit, n int) {
	for r := range u.paths {
		sub := &s.subs[r.kind]
		t := sub.get(r.Name())
		t.expected += n
		t.unheard = false
		if t.expected == 0 && t.want == nil {
			s.mark(t)
			sub.tidy(t)
		}
	}
}

func (s *session) retarget(u *resident, target *Unit) {
	from := u.target
	if from == target {
		return
	}
	u.target, u.proven = target, false
	s.expect(target, 1)
	s.acquire(target)
	if from != nil {
		for _, c := range from.Clusters {
			t := s.subs[kindCluster].things[c.Name()]
			delete(t.targets, u)
			if !t.warm {
				u.missing--
			}
		}
	}
	if target != nil {
		for _, c := range target.Clusters {
			s.aim(u, c)
		}
	}
	s.drop(from)
	s.expect(from, -1)
}

// aim makes a cluster one that u is to have.
func (s *session) aim(u *resident, c *Cluster) {
	t := s.subs[kindCluster].get(c.Name())
	if !same(t.want, c.Resource) {
		t.want, t.cluster, t.unheard, t.due = c.Resource, c, false, time.Time{}
		s.attach(t, c.Endpoints)
		if t.sent != c.Version() {
			s.cool(t)
		}
		s.reheat(t)
		s.mark(t)
	}
	t.targets[u] = struct{}{}
	if !t.warm {
		u.missing++
	}
	if t.load != nil {
		t.load.unheard = false
		if len(t.targets) == 1 {
			s.mark(t.load)
		}
	}
}

// acquire keeps the clusters of u, drop gives them up.
func (s *session) acquire(u *Unit) {
	if u != nil {
		for _, c := range u.Clusters {
			s.subs[kindCluster].get(c.Name()).refs++
		}
	}
}

func (s *session) drop(u *Unit) {
	if u == nil {
		return
	}
	sub := &s.subs[kindCluster]
	for _, c := range u.Clusters {
		t := sub.things[c.Name()]
		if t.refs--; t.refs == 0 {
			t.want = nil
			if !t.holds { // it was never sent, so there is no removal that would do it
				s.attach(t, "")
			}
			s.mark(t)
			sub.tidy(t)
		}
	}
}

// settle moves units on, until none can be.
func (s *session) settle() {
	for i := 0; i < len(s.settling); i++ {
		u := s.settling[i]
		if u.open > 0 {
			continue
		}
		u.leaving = slices.DeleteFunc(u.leaving, func(left *Unit) bool {
			gone := s.hasLeft(left, u.released)
			if gone {
				s.drop(left)
			}
			return gone
		})
		if u.released == u.target {
			s.complete(u)
		} else if u.missing == 0 || s.has(u.target) {
			s.release(u)
		} else if s.informed(u.target) {
			for _, c := range u.target.Clusters {
				s.refresh(s.subs[kindCluster].things[c.Name()])
			}
		}
	}
	clear(s.settling)
	s.settling = s.settling[:0]
}

// hasLeft reports whether the Envoy has nothing of left any more that leads to
// clusters, but for what is the same in now. Nothing of either is in flight.
func (s *session) hasLeft(left, now *Unit) bool {
	for r := range left.paths {
		if r.kind == kindScope {
			continue
		}
		if t := s.subs[r.kind].things[r.Name()]; t != nil && t.held == r.Version() && !now.includes(r) {
			return false
		}
	}
	return true
}

// includes reports whether u, which may be nil, has a path in that version.
func (u *Unit) includes(r *Resource) bool {
	for o := range u.paths {
		if o.edition() == r.edition() {
			return true
		}
	}
	return false
}

// has reports whether the Envoy has the scopes and routes of u already.
func (s *session) has(u *Unit) bool {
	for r := range u.paths {
		if t := s.subs[r.kind].things[r.Name()]; t == nil || t.held != r.Version() || t.sent != t.held {
			return false
		}
	}
	return true
}

// release lets the scopes and routes of u's target go out.
func (s *session) release(u *resident) {
	before := u.released
	if before != nil {
		u.leaving = append(u.leaving, before)
	}
	u.released = u.target
	s.acquire(u.released)
	for r := range before.paths {
		if t := s.subs[r.kind].things[r.Name()]; t != nil && t.owner == u {
			t.want = nil
			s.mark(t)
		}
	}
	for r := range u.released.paths {
		t := s.subs[r.kind].get(r.Name())
		t.want, t.owner = r, u
		s.mark(t)
	}
	if u.open == 0 {
		s.settling = append(s.settling, u)
	}
}

// complete looks whether the Envoy has all of u.
func (s *session) complete(u *resident) {
	if u.desired == nil {
		s.setDone(u, true)
		delete(s.units, u.name)
		return
	}
	if u.done || u.released == nil {
		return
	}
	for r := range u.released.paths {
		if t := s.subs[r.kind].things[r.Name()]; t == nil || t.held != r.Version() {
			return
		}
	}
	for _, r := range u.released.Routes {
		s.confirm(s.subs[kindRoute].things[r.Name()])
	}
	s.setDone(u, true)
	s.proveUnit(u)
}

// prove looks at the units of resources that were just acknowledged.
func (s *session) prove(k kind, r *response) {
	if k != kindCluster {
		return // settle sees to scopes and routes; the others belong to no unit
	}
	for _, it := range r.items {
		for u := range it.thing.targets {
			if u.done {
				s.proveUnit(u)
			}
		}
	}
}

// proveUnit tells the cache of a unit that was acknowledged in whole. For that
// a warm cluster is not enough: its own ACK may be held back by others.
func (s *session) proveUnit(u *resident) {
	if u.proven {
		return
	}
	for _, c := range u.released.Clusters {
		if s.subs[kindCluster].things[c.Name()].held != c.Version() {
			return
		}
	}
	u.proven = true
	s.cache.proven(entryKey{unitKind, u.name}, u.released)
}

// proveAlone tells the cache that a resource of no unit was acknowledged.
func (s *session) proveAlone(t *thing) {
	switch t.kind {
	case kindEndpoints, kindSecret:
		if t.want != nil && t.held == t.want.Version() {
			s.cache.proven(entryKey{t.kind, t.name}, &Unit{Name: t.name, alone: t.want})
		}
	}
}
