package xds

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ServerOptions are limits and hooks. Zero values are the defaults.
type ServerOptions struct {
	// WarmGrace bounds how long a unit's routes wait for one of its clusters to
	// become warm, from when the cluster was sent. Zero is 15 seconds.
	WarmGrace time.Duration
	// RemovalDelay is how long a cluster stays after the last route to it is
	// gone. It has to exceed what filters before the router delay a request by.
	RemovalDelay time.Duration
	// MaxStreams bounds all streams at once. Zero is 1,000.
	MaxStreams int
	// MaxNames bounds the names that one stream asks for, and those that it says
	// it holds of one type. Zero is 1,000,000.
	MaxNames int
	// MaxResponseBytes is the size beyond which nothing is added to a response;
	// a single resource may be larger. Zero is 1 MiB.
	MaxResponseBytes int
	// Authorize decides, at its first request, whether a peer may be the node
	// that it claims to be; an error ends the stream. Nil lets everybody in.
	Authorize func(context.Context, *corev3.Node) error
	// Observer may be nil.
	Observer Observer
}

// Server serves a cache to Envoys over delta ADS. It is safe for concurrent
// use; one goroutine per stream sends and one receives.
type Server struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer

	cache   *Cache
	opts    ServerOptions
	closing chan struct{}
	running sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	streams map[*stream]struct{}
	count   int    // streams that are open, also before their first request
	last    uint64 // stream id
	// moved is closed, and replaced, when a stream has made progress; it is nil
	// while nobody waits for that.
	moved chan struct{}
}

// NewServer returns a server for c. Close ends it.
func NewServer(c *Cache, opts ServerOptions) *Server {
	opts.WarmGrace = cmp.Or(opts.WarmGrace, 15*time.Second)
	opts.MaxStreams = cmp.Or(opts.MaxStreams, 1000)
	opts.MaxNames = cmp.Or(opts.MaxNames, 1_000_000)
	opts.MaxResponseBytes = cmp.Or(opts.MaxResponseBytes, 1<<20)
	if opts.Observer == nil {
		opts.Observer = NopObserver{}
	}
	return &Server{cache: c, opts: opts, closing: make(chan struct{}), streams: map[*stream]struct{}{}}
}

// DeltaAggregatedResources serves one Envoy.
func (s *Server) DeltaAggregatedResources(peer discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	if !s.cache.IsOpen() {
		return status.Error(codes.Unavailable, "the configuration is not complete yet")
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	return newStream(s, peer).serve()
}

// StreamAggregatedResources is the protocol that sends everything every time,
// which is not served.
func (s *Server) StreamAggregatedResources(discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	return status.Error(codes.Unimplemented, "only delta xDS is served: set api_type to DELTA_GRPC")
}

func (s *Server) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosing
	}
	if s.count >= s.opts.MaxStreams {
		return status.Errorf(codes.ResourceExhausted, "there are %d streams already", s.count)
	}
	s.count++
	s.running.Add(1)
	return nil
}

func (s *Server) leave() {
	s.mu.Lock()
	s.count--
	s.mu.Unlock()
	s.running.Done()
}

var errClosing = status.Error(codes.Unavailable, "the server is shutting down")

// shut ends all streams without waiting for them. The Envoys keep what they
// have.
func (s *Server) shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.closing)
	}
}

// Close ends all streams and waits for their goroutines. Those end when the
// gRPC server lets go of the streams, which it does by itself.
func (s *Server) Close() {
	s.shut()
	s.running.Wait()
}

// add makes a stream one of the connected nodes.
func (s *Server) add(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	st.node.Stream = s.last
	s.streams[st] = struct{}{}
}

func (s *Server) remove(st *stream) {
	s.mu.Lock()
	delete(s.streams, st)
	s.mu.Unlock()
	s.progress()
}

// progress wakes those who wait.
func (s *Server) progress() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.moved != nil {
		close(s.moved)
		s.moved = nil
	}
}

// connected are the streams, and a channel that is closed at the next progress.
func (s *Server) connected() ([]*stream, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.moved == nil {
		s.moved = make(chan struct{})
	}
	list := make([]*stream, 0, len(s.streams))
	for st := range s.streams {
		list = append(list, st)
	}
	return list, s.moved
}

// Nodes are the connected Envoys, sorted by id and then by stream.
func (s *Server) Nodes() []Node {
	streams, _ := s.connected()
	nodes := make([]Node, 0, len(streams))
	for _, st := range streams {
		nodes = append(nodes, st.report())
	}
	slices.SortFunc(nodes, func(a, b Node) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Stream, b.Stream))
	})
	return nodes
}

// ErrRejected is returned when what is waited for was refused by an Envoy.
var ErrRejected = errors.New("an Envoy has refused it")

// AwaitServed waits until every connected Envoy serves the units as of seq or
// later, and returns how many there are: with none connected it returns 0 at
// once. Units that are gone are served when the Envoys have acknowledged that.
//
// It returns an error that wraps ErrRejected when a unit is quarantined or an
// Envoy does without it, and the cause of ctx when that ends.
func (s *Server) AwaitServed(ctx context.Context, units []string, seq Seq) (int, error) {
	for {
		streams, moved := s.connected()
		for _, name := range units {
			if r := s.cache.isRejected(entryKey{unitKind, name}); r != nil {
				return 0, fmt.Errorf("unit %q: %w: %s %q: %s", name, ErrRejected, r.TypeURL, r.Name, r.Message)
			}
		}
		n, err := servedBy(streams, units, seq)
		if err != nil || n == len(streams) {
			return n, err
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return n, fmt.Errorf("wait until %d units are served: %d of %d Envoys have them: %w", len(units), n, len(streams), context.Cause(ctx))
		}
	}
}

func servedBy(streams []*stream, units []string, seq Seq) (int, error) {
	n := 0
	for _, st := range streams {
		served, frozen := st.serves(units, seq)
		if frozen != "" {
			return n, fmt.Errorf("unit %q: %w: node %q keeps what it had", frozen, ErrRejected, st.node.ID)
		}
		if served {
			n++
		}
	}
	return n, nil
}
