package xds

import "time"

// When a cluster may be removed: when no route that the Envoy has, is being
// sent or is about to be sent leads to it. For routes that went over this
// stream that is known exactly, cluster by cluster (thing.refs). An Envoy that
// came with a configuration may have routes that nobody here knows; so of the
// clusters that it came with none is removed until all its routes are known.

// condemned is a cluster that is to be removed when its time has come.
type condemned struct {
	cluster *thing
	due     time.Time
}

// condemn puts in line for removal a cluster that nothing leads to.
func (s *session) condemn(t *thing) {
	switch {
	case !t.due.IsZero():
	case t.early && s.foreign:
		s.doomed = append(s.doomed, t)
	default:
		t.due = s.now.Add(s.limits.removalDelay)
		s.condemned = append(s.condemned, condemned{t, t.due})
	}
}

// removals removes the clusters whose time has come. It is asked only when
// there is nothing else to send.
func (s *session) removals() *delivery {
	if len(s.doomed) > 0 && s.familiar() {
		doomed := s.doomed
		s.doomed, s.foreign = nil, false
		for _, t := range doomed {
			if t.want == nil && t.holds {
				s.condemn(t)
			}
		}
	}
	sub := &s.subs[kindCluster]
	if len(sub.inFlight) >= s.limits.inFlight {
		return nil
	}
	var d draft
	for len(s.condemned) > 0 && d.bytes < s.limits.bytes {
		c := s.condemned[0]
		if c.due.After(s.now) {
			break
		}
		s.condemned = s.condemned[1:]
		t := c.cluster
		if t.due.Equal(c.due) && t.want == nil && t.holds && !t.told && sub.covers(t) {
			d.remove(t)
		}
	}
	if len(d.items) == 0 {
		return nil
	}
	return s.send(sub, d)
}

// familiar reports whether all routes that the Envoy has came from here.
func (s *session) familiar() bool {
	if s.undone > 0 || s.early > 0 || !s.subs[kindListener].asked || !s.subs[kindScope].asked ||
		s.hadScopes && !s.subs[kindRoute].asked {
		return false
	}
	for _, k := range [3]kind{kindListener, kindScope, kindRoute} {
		if len(s.subs[k].inFlight) > 0 || !s.subs[k].queue.empty() {
			return false
		}
	}
	return true
}

// deadline is when next has to be asked again, though nothing happens.
func (s *session) deadline() (time.Time, bool) {
	s.expire()
	var at time.Time
	if len(s.graces) > 0 {
		at = s.graces[0].ends
	}
	if len(s.condemned) > 0 && len(s.subs[kindCluster].inFlight) < s.limits.inFlight {
		if due := s.condemned[0].due; at.IsZero() || due.Before(at) {
			at = due
		}
	}
	return at, !at.IsZero()
}
