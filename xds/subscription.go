package xds

import (
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// subscription is one type on one stream.
type subscription struct {
	kind kind
	// asked is set by the first request: before it nothing is sent.
	asked, wildcard bool
	// owes is set until the first wildcard request is answered, if with nothing.
	owes   bool
	things map[string]*thing
	queue  queue
	// inFlight are the responses that are not answered, by number.
	inFlight map[uint64]*response

	acked             int // things with a held version
	lastAck, lastNack time.Time
	lastError         string
}

// thing is one name of one type, as one stream sees it.
type thing struct {
	kind kind
	name string
	// named says that the Envoy has asked for it by name.
	named bool
	// want is what the Envoy should have now; nil for nothing. With want nil
	// and expected above zero there is a version that may not be sent yet, and
	// whatever the Envoy has stays.
	want     *Resource
	expected int
	// blocked is expected for a resource of no unit: it exists, and all that is
	// known of it was refused.
	blocked bool

	// sent is the version that was sent last, held the one that was
	// acknowledged last; empty for none. holds says that the Envoy may have some
	// version, and told that it has been told last that there is none.
	sent, held  string
	holds, told bool
	// at is the number of the response that spoke of it last, answeredAt of the
	// last that the Envoy has acknowledged; 0 before the first.
	at, answeredAt uint64
	// early says that the Envoy had it when the stream began and that what it
	// had is not known to be one of ours. unheard says besides that this cache
	// has never wanted it.
	early, unheard bool

	// queued says that it waits to be looked at, force that it is sent even if
	// unchanged, lone that nothing else may be in its response.
	queued, force, lone bool
	// owner is the unit of a scope or route; counts is set while the thing
	// counts in the owner's open.
	owner, counts *resident

	*clusterState
	*endpointsState
}

// clusterState is what a stream knows of a cluster besides.
type clusterState struct {
	cluster *Cluster
	// load is its ClusterLoadAssignment, nil if it has none.
	load *thing
	// refs count the units that are sent, or have been sent, routes to it.
	// targets are those that are to have it from now on.
	refs    int
	targets map[*resident]struct{}
	// warm says that requests can be routed to it; since is the response after
	// which the endpoints have to be acknowledged for that, 0 for none yet.
	warm  bool
	since uint64
	// due is when it may be removed, zero while it may not.
	due time.Time
}

// endpointsState is what a stream knows of endpoints besides.
type endpointsState struct {
	// users are the clusters that have them.
	users map[*thing]struct{}
}

// response is one that is not answered yet.
type response struct {
	at    uint64
	items []item
}

// item is a version of a thing, or its removal where the version is empty.
type item struct {
	thing   *thing
	version string
}

func (sub *subscription) covers(t *thing) bool { return sub.wildcard || t.named }

// get returns the thing of a name and makes it if there is none.
func (sub *subscription) get(name string) *thing {
	t := sub.things[name]
	if t == nil {
		t = &thing{kind: sub.kind, name: name}
		switch sub.kind {
		case kindCluster:
			t.clusterState = &clusterState{targets: map[*resident]struct{}{}}
		case kindEndpoints:
			t.endpointsState = &endpointsState{users: map[*thing]struct{}{}}
		}
		sub.things[name] = t
	}
	return t
}

// hold sets the version that the Envoy has acknowledged.
func (sub *subscription) hold(t *thing, version string) {
	if t.held == "" && version != "" {
		sub.acked++
	}
	if t.held != "" && version == "" {
		sub.acked--
	}
	t.held = version
}

// tidy drops a thing about which there is nothing to remember.
func (sub *subscription) tidy(t *thing) {
	switch {
	case t.named || t.holds || t.queued || t.expected > 0 || t.counts != nil || sub.things[t.name] != t:
	case t.clusterState != nil && (t.refs > 0 || t.load != nil):
	case t.endpointsState != nil && len(t.users) > 0:
	case t.want != nil && t.kind != kindEndpoints && t.kind != kindSecret: // those are looked up when asked for
	default:
		delete(sub.things, t.name)
	}
}

// queue is first in, first out.
type queue struct {
	list []*thing
	head int
}

func (q *queue) push(t *thing) { q.list = append(q.list, t) }

func (q *queue) front() *thing {
	if q.head == len(q.list) {
		return nil
	}
	return q.list[q.head]
}

func (q *queue) pop() {
	q.list[q.head] = nil
	q.head++
	if q.head == len(q.list) {
		q.list, q.head = q.list[:0], 0
	}
}

func (q *queue) empty() bool { return q.head == len(q.list) }

// draft is a response in the making.
type draft struct {
	items     []item
	resources []*discoveryv3.Resource
	removed   []string
	bytes     int
}

func (d *draft) put(t *thing, r *Resource) {
	d.items = append(d.items, item{t, r.Version()})
	d.resources = append(d.resources, r.wire)
	d.bytes += framed(r.size)
}

func (d *draft) remove(t *thing) {
	d.items = append(d.items, item{t, ""})
	d.removed = append(d.removed, t.name)
	d.bytes += framed(len(t.name))
}

// framed is the size of n bytes as a field of a response: a tag and a length
// of at most four bytes come before them.
func framed(n int) int { return n + 5 }
