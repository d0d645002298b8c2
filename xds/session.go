package xds

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// session is one stream's side of the delta protocol, without the stream: it
// is given requests, changes and the time, and asked what to send next. It
// does no I/O, starts nothing and is not safe for concurrent use. What it asks
// of the cache takes the cache's lock for a moment.
//
// A response is made only when it can be sent, from what is wanted at that
// moment. So an Envoy that reads slowly gets the newest version of a thing and
// none that came between.
type session struct {
	cache  *Cache
	limits limits
	node   string
	now    time.Time

	subs    [kinds]subscription
	units   map[string]*resident
	number  uint64             // of the last response; 1 before the first
	names   int                // how many were asked for by name
	refused map[edition]string // and the words with which
	keep    bool               // what is unheard of is not removed

	// settling are units whose state may have to move on.
	settling []*resident
	// undone counts the units of which the Envoy has not all yet; early the
	// routes that it has had since before the stream.
	undone, early int
	// foreign says that the Envoy began with clusters, and perhaps with routes
	// to them that nobody here knows.
	foreign, hadScopes bool
	graces             []grace
	condemned          []condemned
	// doomed are clusters that are to be removed once foreign is false.
	doomed []*thing

	events []event
	extra  []*delivery // answers for types that are not served
}

// limits bound what one stream may cost.
type limits struct {
	warmGrace    time.Duration
	removalDelay time.Duration
	// names is how many names may be asked for, bytes about how large a response
	// gets and inFlight how many responses of a type may be unanswered.
	names, bytes, inFlight int
}

// event is something that others want to know: exactly one field is set.
type event struct {
	unit     *unitEvent
	ack      *ackEvent
	nack     *nackEvent
	rejected *Rejection
}

// unitEvent says where a unit stands on the stream. served says that all of it
// is there as of seq; otherwise it is on its way, or frozen: the Envoy does
// without, because it has refused it.
type unitEvent struct {
	name           string
	seq            Seq
	served, frozen bool
}

type ackEvent struct {
	kind      kind
	resources int
}

type nackEvent struct {
	kind    kind
	message string
	names   []string
}

// delivery is a response to send.
type delivery struct {
	*discoveryv3.DeltaDiscoveryResponse
	bytes int
}

var errTooManyNames = errors.New("too many names are asked for")

func newSession(c *Cache, node string, l limits) *session {
	s := &session{cache: c, limits: l, node: node, number: 1, units: map[string]*resident{}, refused: map[edition]string{}}
	for k := range kinds {
		s.subs[k] = subscription{kind: k, things: map[string]*thing{}, inFlight: map[uint64]*response{}}
	}
	return s
}

// request takes in a request. After an error the stream must end.
func (s *session) request(now time.Time, req *discoveryv3.DeltaDiscoveryRequest) error {
	s.now = now
	k, ok := kindOf(req.TypeUrl)
	if !ok {
		s.foreignType(req)
		return nil
	}
	sub := &s.subs[k]
	if req.ResponseNonce != "" {
		s.answer(sub, req)
	}
	if err := s.subscribe(sub, req); err != nil {
		return err
	}
	s.settle()
	return nil
}

// foreignType says of every name of a type that is not served that it does
// not exist, so that the Envoy does not wait for it.
func (s *session) foreignType(req *discoveryv3.DeltaDiscoveryRequest) {
	if req.ResponseNonce != "" && len(req.ResourceNamesSubscribe) == 0 {
		return
	}
	d := draft{}
	for _, name := range req.ResourceNamesSubscribe {
		if name != "*" {
			d.removed = append(d.removed, name)
			d.bytes += framed(len(name))
		}
	}
	s.extra = append(s.extra, s.response(req.TypeUrl, d))
}

func (s *session) response(typeURL string, d draft) *delivery {
	s.number++
	return &delivery{&discoveryv3.DeltaDiscoveryResponse{
		TypeUrl:          typeURL,
		Nonce:            strconv.FormatUint(s.number, 10),
		Resources:        d.resources,
		RemovedResources: d.removed,
	}, d.bytes}
}

// settled reports whether the Envoy has acknowledged all that it is to have.
func (s *session) settled() bool {
	for k := range s.subs {
		sub := &s.subs[k]
		if sub.asked && (len(sub.inFlight) > 0 || !sub.queue.empty()) {
			return false
		}
	}
	return s.familiar()
}

// subscribe changes what is asked for.
func (s *session) subscribe(sub *subscription, req *discoveryv3.DeltaDiscoveryRequest) error {
	first := !sub.asked
	if first {
		sub.asked = true
		if s.kindWildcard(sub, req) {
			sub.wildcard, sub.owes = true, true
		}
	}
	for _, name := range req.ResourceNamesUnsubscribe {
		s.unsubscribe(sub, name)
	}
	for _, name := range req.ResourceNamesSubscribe {
		if name == "*" {
			s.subscribeAll(sub)
		} else if err := s.subscribeName(sub, name, first); err != nil {
			return err
		}
	}
	if first {
		if len(req.InitialResourceVersions)+s.names > s.limits.names {
			return fmt.Errorf("%w: the limit is %d", errTooManyNames, s.limits.names)
		}
		for _, name := range slices.Sorted(maps.Keys(req.InitialResourceVersions)) {
			s.initial(sub, name, req.InitialResourceVersions[name])
		}
		s.markAll(sub)
		if sub.kind == kindListener || sub.kind == kindScope || sub.kind == kindRoute {
			for _, name := range slices.Sorted(maps.Keys(s.units)) {
				if u := s.units[name]; u.kept != nil {
					s.choose(u)
				} else {
					s.settling = append(s.settling, u)
				}
			}
		}
	}
	return nil
}

// kindWildcard reports whether a first request asks for all there is.
func (s *session) kindWildcard(sub *subscription, req *discoveryv3.DeltaDiscoveryRequest) bool {
	return sub.kind.wildcard() && len(req.ResourceNamesSubscribe) == 0
}

func (s *session) subscribeAll(sub *subscription) {
	if !sub.wildcard {
		sub.wildcard, sub.owes = true, true
		s.markAll(sub)
	}
}

func (s *session) markAll(sub *subscription) {
	for _, t := range sorted(sub.things) {
		s.mark(t)
	}
}

func (s *session) subscribeName(sub *subscription, name string, first bool) error {
	t := sub.get(name)
	switch {
	case !t.named:
		if s.names++; s.names > s.limits.names {
			return fmt.Errorf("%w: the limit is %d", errTooManyNames, s.limits.names)
		}
		t.named = true
	case first: // the same name twice in a request
		return nil
	}
	t.force = !first
	s.lookUp(t)
	s.mark(t)
	return nil
}

// lookUp finds what is served of a thing of no unit. Units bring their own.
func (s *session) lookUp(t *thing) {
	if t.kind == kindEndpoints || t.kind == kindSecret {
		served, exists := s.cache.find(t.kind, t.name)
		s.wantAlone(t, served.only(), exists)
	}
}

func (s *session) unsubscribe(sub *subscription, name string) {
	if name == "*" {
		if sub.wildcard {
			sub.wildcard, sub.owes = false, false
			for _, t := range sorted(sub.things) {
				if !t.named {
					s.forget(sub, t)
				}
			}
		}
		return
	}
	t := sub.things[name]
	if t == nil || !t.named {
		return
	}
	t.named = false
	s.names--
	if !sub.wildcard {
		s.forget(sub, t)
	}
}

// forget is told that the Envoy has dropped a thing by itself.
func (s *session) forget(sub *subscription, t *thing) {
	sub.hold(t, "")
	t.sent, t.holds, t.told, t.force, t.at, t.answeredAt = "", false, false, false, 0, 0
	s.confirm(t)
	s.resolve(t)
	sub.tidy(t)
}

// initial is told what the Envoy holds from before the stream.
func (s *session) initial(sub *subscription, name, version string) {
	t := sub.things[name]
	if t == nil {
		if !sub.wildcard {
			return
		}
		t = sub.get(name)
	}
	if version == "" {
		version = "unknown"
	}
	sub.hold(t, version)
	t.sent, t.holds, t.early = version, true, true
	t.unheard = t.want == nil && t.expected == 0 && !t.blocked
	switch sub.kind {
	case kindCluster:
		s.foreign = true
	case kindScope:
		s.hadScopes = true
	case kindRoute:
		s.early++
	}
}

// confirm notes that what the Envoy has of t is known.
func (s *session) confirm(t *thing) {
	if t.early && t.kind == kindRoute {
		s.early--
	}
	t.early, t.unheard = t.early && t.kind == kindCluster, false
}

// answer takes in an ACK or NACK. One of a response that is not in flight says
// nothing.
func (s *session) answer(sub *subscription, req *discoveryv3.DeltaDiscoveryRequest) {
	at, err := strconv.ParseUint(req.ResponseNonce, 10, 64)
	if err != nil {
		return
	}
	r := sub.inFlight[at]
	if r == nil {
		return
	}
	delete(sub.inFlight, at)
	if req.ErrorDetail == nil {
		s.accept(sub, r)
	} else {
		s.refuse(sub, r, words(req.ErrorDetail.GetMessage(), 2048))
	}
}

func (s *session) accept(sub *subscription, r *response) {
	sub.lastAck = s.now
	var taken []edition
	for _, it := range r.items {
		t := it.thing
		if t.at < r.at {
			continue // the Envoy has dropped it since
		}
		sub.hold(t, it.version)
		if it.version != "" {
			taken = append(taken, edition{key{t.kind, t.name}, it.version})
		}
		t.answeredAt = max(t.answeredAt, r.at)
		if t.endpointsState != nil {
			s.reheatUsers(t)
		}
		if t.at == r.at {
			s.accepted(sub, t, it.version)
		}
	}
	if len(taken) > 0 {
		s.cache.acked(s.node, taken)
		s.prove(sub.kind, r)
	}
	s.events = append(s.events, event{ack: &ackEvent{sub.kind, len(taken)}})
}

// accepted is told that the newest of t was taken.
func (s *session) accepted(sub *subscription, t *thing, version string) {
	t.lone = false
	s.confirm(t)
	if version == "" {
		t.holds = false
	}
	if t.clusterState != nil {
		s.reheat(t)
	}
	s.proveAlone(t)
	if !t.queued {
		s.resolve(t)
	}
	sub.tidy(t)
}

// refuse takes in a NACK. Which of the resources is bad it does not say, nor
// which of the others were taken, so each is sent again in a response of its
// own; one that was alone is the culprit.
func (s *session) refuse(sub *subscription, r *response, message string) {
	sub.lastNack, sub.lastError = s.now, message
	names := make([]string, 0, len(r.items))
	for _, it := range r.items {
		names = append(names, it.thing.name)
		t := it.thing
		switch {
		case t.at != r.at: // something newer is on its way
		case len(r.items) > 1:
			t.sent, t.told, t.holds, t.lone = "", false, true, true
			s.mark(t)
		case it.version == "":
			s.accepted(sub, t, "") // a removal cannot be mended
		default:
			s.refuseOne(sub, t, it.version, message)
		}
	}
	s.events = append(s.events, event{nack: &nackEvent{sub.kind, message, names}})
}

// mostRefused bounds what a stream remembers to have been refused.
const mostRefused = 4096

// refuseOne is told that a version of t is bad. What the Envoy had before, it
// has still.
func (s *session) refuseOne(sub *subscription, t *thing, version, message string) {
	ed := edition{key{t.kind, t.name}, version}
	if len(s.refused) >= mostRefused {
		clear(s.refused)
	}
	s.refused[ed] = message
	t.lone, t.sent, t.holds = false, t.held, t.held != ""
	s.reject(ed)
	switch t.kind {
	case kindCluster:
		for _, u := range sortedUnits(t.targets) {
			s.choose(u)
		}
	case kindListener, kindScope, kindRoute:
		if t.owner != nil {
			s.choose(t.owner)
		}
	default:
		if t.want != nil && t.want.Version() == version {
			s.wantAlone(t, t.want, true)
		}
		s.follow(t)
	}
	s.mark(t)
	if !t.queued {
		s.resolve(t)
	}
	sub.tidy(t)
}

// reject tells the cache of a version that was refused.
func (s *session) reject(ed edition) {
	for _, r := range s.cache.reject(ed, s.node, s.refused[ed]) {
		s.events = append(s.events, event{rejected: &r})
	}
}

// recall tells the cache what was refused before of something that it serves.
// It forgets what nobody wants any more, and would wait for this Envoy.
func (s *session) recall(served *Unit) {
	if len(s.refused) == 0 {
		return
	}
	for r := range served.resources {
		if s.hasRefused(r) {
			s.reject(r.edition())
		}
	}
}

// follow sends endpoints even if the Envoy has them where a cluster still waits
// for any.
func (s *session) follow(t *thing) {
	if t.endpointsState != nil {
		for c := range t.users {
			t.force = t.force || !c.warm
		}
	}
}

// update takes in changes of the cache.
func (s *session) update(now time.Time, changes []change, keep bool) {
	s.now = now
	for _, c := range changes {
		s.recall(c.served)
		if c.kind == unitKind {
			s.updateUnit(c)
			continue
		}
		sub := &s.subs[c.kind]
		t := sub.things[c.name]
		if t == nil {
			continue // nobody has asked for it
		}
		s.wantAlone(t, c.served.only(), c.desired != nil)
	}
	if s.keep && !keep {
		for k := range kinds {
			s.markAll(&s.subs[k])
		}
	}
	s.keep = keep
	s.settle()
}

// wantAlone sets what is wanted of a resource of no unit. A version that was
// refused on this stream is replaced by the last good one.
func (s *session) wantAlone(t *thing, r *Resource, exists bool) {
	if r != nil && s.hasRefused(r) {
		if r = s.cache.goodOf(entryKey{t.kind, t.name}).only(); r != nil && s.hasRefused(r) {
			r = nil
		}
	}
	t.want, t.blocked = r, exists && r == nil
	t.unheard = t.unheard && !exists
	s.mark(t)
}

func (s *session) hasRefused(r *Resource) bool {
	_, refused := s.refused[r.edition()]
	return refused
}

// mark puts a thing in line to be looked at.
func (s *session) mark(t *thing) {
	sub := &s.subs[t.kind]
	if !sub.asked {
		return // all is looked at when it is asked for
	}
	if !t.queued {
		t.queued = true
		sub.queue.push(t)
	}
	if t.owner != nil && t.counts == nil {
		t.counts = t.owner
		t.counts.open++
	}
}

// resolve notes that nothing of t is waiting or in flight any more.
func (s *session) resolve(t *thing) {
	u := t.counts
	if u == nil {
		return
	}
	t.counts = nil
	if u.open--; u.open == 0 {
		s.settling = append(s.settling, u)
	}
}
