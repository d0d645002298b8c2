package xds

import "time"

// When a cluster is warm, that is, when routes to it can go out:
//
//   - As a rule: when the Envoy has acknowledged endpoints
//     that were sent behind the cluster. Its CDS ACK is no use, because Envoy
//     withholds that while any cluster, of whomever, is warming.
//   - With active health checks or a client certificate, or without endpoints
//     of ours: when the Envoy has acknowledged the cluster.
//   - In any case when the grace is over.
//
// An Envoy that watches the endpoints already, for another cluster, takes them
// also where it has refused the cluster behind which they were sent, and its
// NACK may come late: then routes to the cluster answer 503 until it does. What
// an Envoy refuses has passed our validation first, so this is rare; waiting
// for the CDS ACK instead would let every hanging health check delay everybody.
//
// A cluster that the Envoy had before the stream began may still be warming;
// its endpoints, or the cluster itself, are sent again when routes to it wait.

// grace is how long a cluster may keep units waiting.
type grace struct {
	cluster *thing
	since   uint64
	ends    time.Time
}

// attach notes which endpoints a cluster has.
func (s *session) attach(t *thing, endpoints string) {
	before := t.load
	t.load = nil
	if endpoints != "" {
		t.load = s.subs[kindEndpoints].get(endpoints)
		t.load.users[t] = struct{}{}
	}
	if before != nil && before != t.load {
		delete(before.users, t)
		s.mark(before)
		s.subs[kindEndpoints].tidy(before)
	}
}

// sentCluster sends the endpoints right behind a cluster. An Envoy that watches
// them already does not ask for them again, and would wait for them; one that
// does not will ask.
func (s *session) sentCluster(t *thing) {
	s.cool(t)
	if t.sent == "" {
		s.attach(t, "")
		return
	}
	s.await(t, t.at)
	if t.load != nil && t.load.named {
		t.load.force = true
		s.mark(t.load)
	}
}

// await starts the grace of a cluster: what is acknowledged of later responses
// than since makes it warm.
func (s *session) await(t *thing, since uint64) {
	t.since = since
	s.graces = append(s.graces, grace{t, since, s.now.Add(s.limits.warmGrace)})
}

// refresh finds out whether a cluster from before the stream is warm.
func (s *session) refresh(t *thing) {
	if t.warm || t.since > 0 || t.want == nil || t.sent != t.want.Version() {
		return
	}
	if t.load == nil || t.cluster.SlowToWarm {
		t.force = true
		s.mark(t)
	} else if t.load.named {
		s.await(t, s.number)
		t.load.force = true
		s.mark(t.load)
	}
}

// informed reports whether the Envoy has said what it has of the kinds of u's
// paths.
func (s *session) informed(u *Unit) bool {
	if len(u.Listeners) > 0 {
		return s.subs[kindListener].asked
	}
	return s.subs[kindScope].asked && (s.subs[kindRoute].asked || !s.hadScopes)
}

// reheat looks whether a cluster is warm by now.
func (s *session) reheat(t *thing) {
	if t.warm || t.since == 0 || t.want == nil || t.sent != t.want.Version() {
		return
	}
	if t.load == nil || t.cluster.SlowToWarm {
		if t.answeredAt >= t.since {
			s.heat(t)
		}
	} else if t.load.answeredAt > t.since {
		s.heat(t)
	}
}

// reheatUsers looks at the clusters whose endpoints were acknowledged.
func (s *session) reheatUsers(load *thing) {
	if len(load.users) == 0 {
		return
	}
	users := make(map[string]*thing, len(load.users))
	for t := range load.users {
		users[t.name] = t
	}
	for _, t := range sorted(users) {
		s.reheat(t)
	}
}

func (s *session) heat(t *thing) {
	t.warm = true
	for _, u := range sortedUnits(t.targets) {
		if u.missing--; u.missing == 0 {
			s.settling = append(s.settling, u)
		}
	}
}

func (s *session) cool(t *thing) {
	if !t.warm {
		return
	}
	t.warm = false
	for u := range t.targets {
		u.missing++
	}
}

// expire ends the graces that are over.
func (s *session) expire() {
	for len(s.graces) > 0 {
		g := s.graces[0]
		waiting := g.cluster.since == g.since && !g.cluster.warm && g.cluster.want != nil
		if waiting && g.ends.After(s.now) {
			return
		}
		s.graces = s.graces[1:]
		if waiting {
			s.heat(g.cluster)
		}
	}
}
