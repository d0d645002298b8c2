package xds

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// next is what to send now, or nil. The kinds are in the order of their
// numbers, and removals of clusters come last.
func (s *session) next(now time.Time) *delivery {
	s.now = now
	if len(s.extra) > 0 {
		d := s.extra[0]
		s.extra = s.extra[1:]
		return d
	}
	s.expire()
	for {
		s.settle()
		for k := range kinds {
			if d := s.fill(&s.subs[k]); d != nil {
				return d
			}
		}
		if len(s.settling) == 0 {
			return s.removals()
		}
	}
}

// verdict is what to do with a thing that is looked at.
type verdict uint8

const (
	leave  verdict = iota
	put            // send what is wanted
	remove         // say that there is none
)

// fill makes a response of one type from what is in line.
func (s *session) fill(sub *subscription) *delivery {
	if !sub.asked || len(sub.inFlight) >= s.limits.inFlight {
		return nil
	}
	var d draft
	for t := sub.queue.front(); t != nil; t = sub.queue.front() {
		v := s.judge(sub, t)
		single := t.lone || t.kind == kindRoute && v == put
		if t.kind == kindRoute && v == remove && !s.subs[kindScope].queue.empty() {
			break // a route is not removed before the scope that leads to it
		}
		if v != leave && len(d.items) > 0 && (single || d.bytes+size(t, v) > s.limits.bytes) {
			break
		}
		sub.queue.pop()
		t.queued = false
		switch v {
		case leave:
			t.force, t.lone = false, false
			s.proveAlone(t)
			if t.at == 0 || !sub.flying(t) {
				s.resolve(t)
			}
			sub.tidy(t)
			continue
		case put:
			d.put(t, t.want)
		case remove:
			d.remove(t)
		}
		if single {
			break
		}
	}
	if len(d.items) == 0 && !sub.owes {
		return nil
	}
	sub.owes = false
	return s.send(sub, d)
}

// flying reports whether the response that spoke last of t is unanswered.
func (sub *subscription) flying(t *thing) bool { return sub.inFlight[t.at] != nil }

func size(t *thing, v verdict) int {
	if v == put {
		return framed(t.want.size)
	}
	return framed(len(t.name))
}

// judge decides what a thing needs.
func (s *session) judge(sub *subscription, t *thing) verdict {
	switch {
	case !sub.covers(t):
		return leave
	case t.want != nil:
		if !t.force && t.sent == t.want.Version() || s.hasRefused(t.want) {
			return leave
		}
		return put
	case t.expected > 0: // it may not be sent yet
		return leave
	case t.holds && (t.blocked || s.keep && t.unheard):
		return leave
	case t.holds && !t.told:
		return s.judgeRemoval(t)
	case t.named && (!t.told || t.force):
		return remove
	}
	return leave
}

// judgeRemoval lets go of what nothing depends on, and leaves the rest to
// those that will.
func (s *session) judgeRemoval(t *thing) verdict {
	switch t.kind {
	case kindCluster:
		s.condemn(t)
		return leave
	case kindEndpoints:
		for c := range t.users {
			if len(c.targets) == 0 {
				return leave // looked at again when that cluster is removed
			}
		}
	}
	return remove
}

// send notes what a response says.
func (s *session) send(sub *subscription, d draft) *delivery {
	out := s.response(typeURLs[sub.kind], d)
	sub.inFlight[s.number] = &response{s.number, d.items}
	for _, it := range d.items {
		t := it.thing
		t.at, t.force = s.number, false
		t.sent, t.told = it.version, it.version == ""
		t.holds = t.holds || it.version != ""
		if t.clusterState != nil {
			s.sentCluster(t)
		}
	}
	return out
}

func sorted(things map[string]*thing) []*thing {
	return slices.SortedFunc(maps.Values(things), func(a, b *thing) int { return cmp.Compare(a.name, b.name) })
}

func sortedUnits(units map[*resident]struct{}) []*resident {
	return slices.SortedFunc(maps.Keys(units), func(a, b *resident) int { return cmp.Compare(a.name, b.name) })
}
