package xds

import (
	"context"
	"fmt"
	"net"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

const (
	// maxRequest bounds a request: an Envoy that connects again sends the name
	// and version of all that it holds.
	maxRequest = 64 << 20
	// drainTime is how long the end of streams may take before it is forced.
	drainTime = 5 * time.Second
)

// Serve serves s on l until ctx ends, and then ends all streams and waits for
// them. It closes l and s. Further options, such as credentials, are added to
// its own.
func Serve(ctx context.Context, l net.Listener, s *Server, opts ...grpc.ServerOption) error {
	g := grpc.NewServer(append([]grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.MaxConcurrentStreams(8), // of one connection: an Envoy needs one
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.ConnectionTimeout(20 * time.Second),
		grpc.WaitForHandlers(true),
	}, opts...)...)
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(g, s)
	served := make(chan error, 1)
	go func() { served <- g.Serve(l) }()
	var err error
	select {
	case err = <-served:
		if err != nil {
			err = fmt.Errorf("serve xDS on %s: %w", l.Addr(), err)
		}
		served <- nil
	case <-ctx.Done():
	}
	s.shut()
	force := time.AfterFunc(drainTime, g.Stop)
	g.GracefulStop()
	force.Stop()
	if ended := <-served; err == nil && ended != nil {
		err = fmt.Errorf("serve xDS on %s: %w", l.Addr(), ended)
	}
	s.Close()
	return err
}
