package lab

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// grpcServer is what the gRPC servers of the lab have in common.
type grpcServer struct {
	records
	name     string
	listener net.Listener
	done     chan struct{}
}

// serve serves until ctx ends; on TLS where config is not nil.
func (s *grpcServer) serve(ctx context.Context, config *tls.Config, register func(*grpc.Server)) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("start %s: %w", s.name, err)
	}
	var options []grpc.ServerOption
	if config != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(config)))
	}
	server := grpc.NewServer(options...)
	register(server)
	s.listener, s.done = l, make(chan struct{})
	go func() {
		defer close(s.done)
		_ = server.Serve(l) // it ends by Stop, or the listener broke and those who ask will notice
	}()
	context.AfterFunc(ctx, server.Stop)
	return nil
}

// Port is the TCP port on 127.0.0.1.
func (s *grpcServer) Port() int { return s.listener.Addr().(*net.TCPAddr).Port }

// Done is closed when the server has ended.
func (s *grpcServer) Done() <-chan struct{} { return s.done }

// callOf are the facts of a call: header NAME, and sni and client on TLS.
func callOf(ctx context.Context) Record {
	one := Record{}
	md, _ := metadata.FromIncomingContext(ctx)
	for name, values := range md {
		one["header "+name] = values
	}
	if p, ok := peer.FromContext(ctx); ok {
		if secured, ok := p.AuthInfo.(credentials.TLSInfo); ok {
			one["sni"] = []string{secured.State.ServerName}
			for _, cert := range secured.State.PeerCertificates[:min(1, len(secured.State.PeerCertificates))] {
				one["client"] = []string{cert.Subject.CommonName}
			}
		}
	}
	return one
}

// EchoService is the gRPC service of GRPC. Its methods take and return
// google.protobuf.StringValue: Say one for one, Chat each of a stream.
const EchoService = "isoline.lab.Echo"

// GRPC is a server of EchoService and of grpc.health.v1 on 127.0.0.1. A call
// can ask for a gRPC status with the metadata x-answer-status: UNAVAILABLE.
// The facts of its records are method, body, sni and client on TLS, and
// header NAME.
type GRPC struct{ grpcServer }

// StartGRPC serves until ctx ends; on TLS where config is not nil.
func StartGRPC(ctx context.Context, name string, config *tls.Config) (*GRPC, error) {
	s := &GRPC{grpcServer{name: name}}
	return s, s.serve(ctx, config, func(g *grpc.Server) {
		healthv1.RegisterHealthServer(g, health.NewServer())
		g.RegisterService(&grpc.ServiceDesc{
			ServiceName: EchoService, HandlerType: (*any)(nil),
			Methods: []grpc.MethodDesc{{MethodName: "Say", Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				in := &wrapperspb.StringValue{}
				if err := decode(in); err != nil {
					return nil, err
				}
				if err := grpc.SetHeader(ctx, metadata.Pairs(NameHeader, s.name)); err != nil {
					return nil, err
				}
				return s.say(ctx, "Say", in)
			}}},
			Streams: []grpc.StreamDesc{{StreamName: "Chat", ServerStreams: true, ClientStreams: true, Handler: s.chat}},
		}, nil)
	})
}

func (s *GRPC) say(ctx context.Context, method string, in *wrapperspb.StringValue) (*wrapperspb.StringValue, error) {
	one := callOf(ctx)
	one["method"], one["body"] = []string{method}, []string{in.Value}
	s.add(one)
	if asked := one["header x-answer-status"]; len(asked) > 0 {
		var code codes.Code
		if err := code.UnmarshalJSON([]byte(strconv.Quote(asked[0]))); err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
		return nil, status.Error(code, "as was asked for")
	}
	return in, nil
}

func (s *GRPC) chat(_ any, stream grpc.ServerStream) error {
	if err := stream.SetHeader(metadata.Pairs(NameHeader, s.name)); err != nil {
		return err
	}
	for {
		in := &wrapperspb.StringValue{}
		if err := stream.RecvMsg(in); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		out, err := s.say(stream.Context(), "Chat", in)
		if err != nil {
			return err
		}
		if err := stream.SendMsg(out); err != nil {
			return err
		}
	}
}

// behaviour is what an extension service does when it is not told by the
// request: the zero value lets it answer.
type behaviour string

const (
	hanging behaviour = "hang"
	failing behaviour = "error"
)

// obey hangs or fails, if that is what is to be done.
func (b behaviour) obey(ctx context.Context) error {
	switch b {
	case hanging:
		<-ctx.Done()
		return context.Cause(ctx)
	case failing:
		return status.Error(codes.Unavailable, "told to fail")
	}
	return nil
}

// pairs is a map's or list's entries as "key=value,key=value".
func pairs(entries [][2]string) string {
	var list []string
	for _, e := range entries {
		list = append(list, e[0]+"="+e[1])
	}
	return strings.Join(list, ",")
}
