package lab

import (
	"context"
	"crypto/tls"
	"strconv"
	"strings"
	"sync/atomic"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	statusv1 "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// Authorizer is a server of Envoy's external authorization over gRPC.
//
// The request's header x-auth says what it does: "allow" lets the request
// pass, with the header x-auth-by added; a status such as "401" denies it with
// that; "hang" does not answer and "error" fails. Without the header it does
// what it was told by Set, at first "deny": 403, with the header
// x-auth-reason and a body.
//
// The facts of its records are method, path, host, scheme, body, raw-body,
// "context KEY", header NAME, and of the call itself sni and client on TLS.
type Authorizer struct {
	grpcServer
	usually atomic.Pointer[string]
}

// StartAuthorizer serves until ctx ends; on TLS where config is not nil.
func StartAuthorizer(ctx context.Context, name string, config *tls.Config) (*Authorizer, error) {
	s := &Authorizer{grpcServer: grpcServer{name: name}}
	s.Set("deny")
	return s, s.serve(ctx, config, func(g *grpc.Server) { authv3.RegisterAuthorizationServer(g, s) })
}

// Set says what becomes of requests without x-auth.
func (s *Authorizer) Set(usually string) { s.usually.Store(&usually) }

// Check answers one request.
func (s *Authorizer) Check(ctx context.Context, in *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	r := in.GetAttributes().GetRequest().GetHttp()
	call := callOf(ctx)
	one := Record{"method": {r.GetMethod()}, "path": {r.GetPath()}, "host": {r.GetHost()}, "scheme": {r.GetScheme()},
		"body": {r.GetBody()}, "raw-body": {string(r.GetRawBody())}}
	for _, fact := range []string{"sni", "client"} {
		if v, ok := call[fact]; ok {
			one[fact] = v
		}
	}
	for key, value := range in.GetAttributes().GetContextExtensions() {
		one["context "+key] = []string{value}
	}
	for name, value := range r.GetHeaders() {
		one["header "+name] = []string{value}
	}
	s.add(one)
	what, told := r.GetHeaders()["x-auth"]
	if !told {
		what = *s.usually.Load()
	}
	if err := behaviour(what).obey(ctx); err != nil {
		return nil, err
	}
	if what == "allow" {
		return &authv3.CheckResponse{Status: &statusv1.Status{}, HttpResponse: &authv3.CheckResponse_OkResponse{
			OkResponse: &authv3.OkHttpResponse{Headers: []*corev3.HeaderValueOption{header("x-auth-by", s.name)}}}}, nil
	}
	code, err := strconv.Atoi(what)
	if err != nil {
		code = 403
	}
	return &authv3.CheckResponse{Status: &statusv1.Status{Code: int32(codes.PermissionDenied)}, HttpResponse: &authv3.CheckResponse_DeniedResponse{
		DeniedResponse: &authv3.DeniedHttpResponse{Status: &typev3.HttpStatus{Code: typev3.StatusCode(code)},
			Headers: []*corev3.HeaderValueOption{header("x-auth-reason", strings.TrimSpace(what))}, Body: "denied by " + s.name}}}, nil
}

func header(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: name, Value: value}}
}
