package xds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// stream joins a session to a gRPC stream and tells others how it stands. Its
// session belongs to the goroutine that sends; a second goroutine receives.
type stream struct {
	server  *Server
	peer    discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
	session *session
	watcher *watcher

	mu   sync.Mutex
	node Node
	seen Seq
	// behind are the units that are not served as of seen; true for those that
	// this Envoy does without.
	behind map[string]bool
}

// message is what the receiving goroutine hands over.
type message struct {
	*discoveryv3.DeltaDiscoveryRequest
	err error
}

func newStream(s *Server, peer discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) *stream {
	return &stream{server: s, peer: peer, behind: map[string]bool{}}
}

// serve runs until the Envoy goes away, errs, or the server is closed.
func (st *stream) serve() error {
	done := make(chan struct{})
	defer close(done)
	in := st.receive(done)
	var first message
	select {
	case first = <-in:
	case <-st.server.closing:
		return errClosing
	}
	if first.err != nil {
		return ended(first.err)
	}
	if err := st.introduce(first.Node); err != nil {
		return err
	}
	o := st.server.opts
	st.session = newSession(st.server.cache, st.node.ID, limits{
		warmGrace: o.WarmGrace, removalDelay: o.RemovalDelay,
		names: o.MaxNames, bytes: o.MaxResponseBytes, inFlight: 4096,
	})
	st.watcher = st.server.cache.watch()
	defer st.server.cache.unwatch(st.watcher)
	st.server.add(st)
	defer st.server.remove(st)
	o.Observer.StreamOpened(st.report())
	err := ended(st.run(first, in))
	o.Observer.StreamClosed(st.report(), err)
	return err
}

// receive reads requests in a goroutine, which ends when the stream does: gRPC
// ends Recv once serve has returned.
func (st *stream) receive(done <-chan struct{}) <-chan message {
	in := make(chan message, 16)
	st.server.running.Go(func() {
		for {
			req, err := st.peer.Recv()
			select {
			case in <- message{req, err}:
			case <-done:
				return
			}
			if err != nil {
				return
			}
		}
	})
	return in
}

// introduce takes the node's word for who it is, as far as it is allowed.
func (st *stream) introduce(n *corev3.Node) error {
	if n.GetId() == "" {
		return status.Error(codes.InvalidArgument, "the first request has no node id: start Envoy with --service-node, or set node.id")
	}
	if authorize := st.server.opts.Authorize; authorize != nil {
		if err := authorize(st.peer.Context(), n); err != nil {
			return status.Errorf(codes.PermissionDenied, "node %q: %v", words(n.GetId(), 256), err)
		}
	}
	version := words(n.GetUserAgentVersion(), 64)
	if v := n.GetUserAgentBuildVersion().GetVersion(); v != nil {
		version = fmt.Sprintf("%d.%d.%d", v.GetMajorNumber(), v.GetMinorNumber(), v.GetPatch())
	}
	st.node = Node{ID: words(n.GetId(), 256), Cluster: words(n.GetCluster(), 256), Version: version, Since: time.Now()}
	return nil
}

// run is the life of a stream: take in what is there, send one response, and
// wait when there is none to send.
func (st *stream) run(first message, in <-chan message) error {
	if err := st.take(first); err != nil {
		return err
	}
	st.watcher.notify()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if err := st.absorb(in); err != nil {
			return err
		}
		d := st.session.next(time.Now())
		st.publish()
		if d != nil {
			if err := st.send(d); err != nil {
				return err
			}
			continue
		}
		st.rest()
		timeout := stopped
		if at, ok := st.session.deadline(); ok {
			timer.Reset(time.Until(at))
			timeout = timer.C
		}
		select {
		case m := <-in:
			if err := st.take(m); err != nil {
				return err
			}
		case <-st.watcher.wake:
			st.watcher.notify() // for absorb
		case <-timeout:
		case <-st.peer.Context().Done():
			return context.Cause(st.peer.Context())
		case <-st.server.closing:
			return errClosing
		}
	}
}

// stopped is the channel of a timer that never fires.
var stopped <-chan time.Time

// mostAtOnce bounds how many requests are taken in before a response is sent.
const mostAtOnce = 64

// absorb takes in what is there, without waiting.
func (st *stream) absorb(in <-chan message) error {
	select {
	case <-st.watcher.wake:
		changes, seen := st.server.cache.changes(st.watcher)
		st.session.update(time.Now(), changes, st.watcher.keep.Load())
		st.advance(seen)
		st.server.progress()
	case <-st.server.closing:
		return errClosing
	default:
	}
	for range mostAtOnce {
		select {
		case m := <-in:
			if err := st.take(m); err != nil {
				return err
			}
		default:
			return nil
		}
	}
	return nil
}

func (st *stream) take(m message) error {
	if m.err != nil {
		return m.err
	}
	if err := st.session.request(time.Now(), m.DeltaDiscoveryRequest); err != nil {
		return status.Error(codes.ResourceExhausted, err.Error())
	}
	return nil
}

func (st *stream) send(d *delivery) error {
	if err := st.peer.Send(d.DeltaDiscoveryResponse); err != nil {
		return err
	}
	st.server.opts.Observer.Sent(st.node.ID, d.TypeUrl, len(d.Resources), len(d.RemovedResources), d.bytes)
	return nil
}

// advance notes that the changes up to seen are known to the session, together
// with what they leave to be done.
func (st *stream) advance(seen Seq) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.seen = seen
	st.note()
}

// rest notes that the Envoy has all that it is to have, if so.
func (st *stream) rest() {
	if !st.session.settled() {
		return
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.node.Served = st.seen
}

// note brings behind up to date. The lock is held.
func (st *stream) note() {
	for _, e := range st.session.events {
		switch u := e.unit; {
		case u == nil:
		case u.served:
			delete(st.behind, u.name)
		default:
			st.behind[u.name] = u.frozen
		}
	}
}

// publish tells of what has happened in the session.
func (st *stream) publish() {
	events := st.session.events
	if len(events) == 0 {
		return
	}
	st.mu.Lock()
	st.note()
	st.node.Types = st.session.types()
	st.mu.Unlock()
	st.session.events = nil
	o, node := st.server.opts.Observer, st.node.ID
	for _, e := range events {
		switch {
		case e.ack != nil:
			o.Acked(node, typeURLs[e.ack.kind], e.ack.resources)
		case e.nack != nil:
			o.Nacked(node, typeURLs[e.nack.kind], e.nack.message, e.nack.names)
		case e.rejected != nil:
			o.Rejected(*e.rejected)
		case e.unit.served:
			o.UnitServed(e.unit.name, e.unit.seq, node)
		}
	}
	st.server.progress()
}

// report is the node as it stands.
func (st *stream) report() Node {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.node // Types is replaced, never changed
}

// serves reports whether the units are served as of seq, and one that is not
// going to be.
func (st *stream) serves(units []string, seq Seq) (served bool, frozen string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	served = st.seen >= seq
	for _, name := range units {
		if stuck, behind := st.behind[name]; behind {
			served = false
			if stuck && st.seen >= seq {
				frozen = name
			}
		}
	}
	return served, frozen
}

// types is where the session stands with each type.
func (s *session) types() map[string]NodeType {
	all := map[string]NodeType{}
	for k := range kinds {
		if sub := &s.subs[k]; sub.asked {
			all[typeURLs[k]] = NodeType{
				Acked: sub.acked, Pending: len(sub.inFlight),
				LastAck: sub.lastAck, LastNack: sub.lastNack, LastError: sub.lastError,
			}
		}
	}
	return all
}

// ended is the status of a stream that ends: nil when the Envoy has left.
func ended(err error) error {
	switch {
	case err == nil, errors.Is(err, io.EOF), errors.Is(err, context.Canceled), status.Code(err) == codes.Canceled:
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	}
	return err
}
