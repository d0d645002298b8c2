package lab

import (
	"context"
	"crypto/tls"
	"strconv"
	"sync"

	commonv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Limiter is a server of Envoy's global rate limits. It counts each descriptor
// by itself, and answers over limit when one has more than the limit; at first
// there is none.
//
// The facts of its records are domain, hits, and descriptor with a value for
// each: "key=value,key=value".
type Limiter struct {
	grpcServer
	mu    sync.Mutex
	limit uint32 // 0: none
	does  behaviour
	spent map[string]uint32
}

// StartLimiter serves until ctx ends; on TLS where config is not nil.
func StartLimiter(ctx context.Context, name string, config *tls.Config) (*Limiter, error) {
	s := &Limiter{grpcServer: grpcServer{name: name}, spent: map[string]uint32{}}
	return s, s.serve(ctx, config, func(g *grpc.Server) { ratelimitv3.RegisterRateLimitServiceServer(g, s) })
}

// SetLimit is how often each descriptor may come from now on; 0 is no limit.
func (s *Limiter) SetLimit(n uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit, s.does, s.spent = n, "", map[string]uint32{}
}

// Set makes it "hang" or fail ("error") from now on; "answer" ends that.
func (s *Limiter) Set(does string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.does = behaviour(does)
}

// ShouldRateLimit answers for one request.
func (s *Limiter) ShouldRateLimit(ctx context.Context, in *ratelimitv3.RateLimitRequest) (*ratelimitv3.RateLimitResponse, error) {
	one := Record{"domain": {in.GetDomain()}, "hits": {strconv.FormatUint(uint64(in.GetHitsAddend()), 10)}}
	for _, d := range in.GetDescriptors() {
		one["descriptor"] = append(one["descriptor"], nameOf(d))
	}
	s.add(one)
	s.mu.Lock()
	does := s.does
	s.mu.Unlock()
	if err := does.obey(ctx); err != nil {
		return nil, err
	}
	return s.count(in), nil
}

func (s *Limiter) count(in *ratelimitv3.RateLimitRequest) *ratelimitv3.RateLimitResponse {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &ratelimitv3.RateLimitResponse{OverallCode: ratelimitv3.RateLimitResponse_OK}
	for _, d := range in.GetDescriptors() {
		state := &ratelimitv3.RateLimitResponse_DescriptorStatus{Code: ratelimitv3.RateLimitResponse_OK}
		out.Statuses = append(out.Statuses, state)
		if s.limit == 0 {
			continue
		}
		name := in.GetDomain() + " " + nameOf(d)
		state.CurrentLimit = &ratelimitv3.RateLimitResponse_RateLimit{RequestsPerUnit: s.limit, Unit: ratelimitv3.RateLimitResponse_RateLimit_HOUR}
		state.DurationUntilReset = durationpb.New(3600e9)
		if s.spent[name]++; s.spent[name] > s.limit {
			state.Code, out.OverallCode = ratelimitv3.RateLimitResponse_OVER_LIMIT, ratelimitv3.RateLimitResponse_OVER_LIMIT
			continue
		}
		state.LimitRemaining = s.limit - s.spent[name]
	}
	return out
}

func nameOf(d *commonv3.RateLimitDescriptor) string {
	var entries [][2]string
	for _, e := range d.GetEntries() {
		entries = append(entries, [2]string{e.GetKey(), e.GetValue()})
	}
	return pairs(entries)
}
