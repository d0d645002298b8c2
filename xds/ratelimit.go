package xds

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rlsv3 "github.com/envoyproxy/go-control-plane/envoy/config/ratelimit/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	localv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/local_ratelimit/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ratelimit/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"isoline.dev/isoline/dag"
)

const (
	localRateLimitName  = "envoy.filters.http.local_ratelimit"
	globalRateLimitName = "envoy.filters.http.ratelimit"
	// localRateLimitStats is the prefix of the filter's statistics.
	localRateLimitStats = "isoline"
)

// RateLimit is the platform's rate limit service, as listeners ask it.
type RateLimit struct {
	// Namespace and Name are those of an ExtensionService, for which there is a
	// unit of TranslateExtension.
	Namespace, Name string
	// Timeout bounds a call; zero is Envoy's 20 milliseconds.
	Timeout dag.Timeout
	// Domain is not empty.
	Domain string
	// FailOpen serves requests that the service does not answer for.
	FailOpen bool
	// Headers adds x-ratelimit-* to answers, and ResourceExhausted makes the
	// status of gRPC answers RESOURCE_EXHAUSTED instead of UNAVAILABLE.
	Headers, ResourceExhausted bool
}

// rateLimitFilter is nil where r is. It asks about requests for which a host
// or route has descriptors.
func rateLimitFilter(r *RateLimit) *hcmv3.HttpFilter {
	if r == nil {
		return nil
	}
	config := &ratelimitv3.RateLimit{
		Domain:                         r.Domain,
		FailureModeDeny:                !r.FailOpen,
		RateLimitedAsResourceExhausted: r.ResourceExhausted,
		RateLimitService: &rlsv3.RateLimitServiceConfig{
			TransportApiVersion: corev3.ApiVersion_V3,
			GrpcService: &corev3.GrpcService{
				TargetSpecifier: envoyGRPC(ExtensionName(r.Namespace, r.Name), r.Name+"."+r.Namespace),
			},
		},
	}
	if r.Timeout != 0 {
		config.Timeout = timeout(r.Timeout)
	}
	if r.Headers {
		config.EnableXRatelimitHeaders = ratelimitv3.RateLimit_DRAFT_VERSION_03
	}
	return httpFilter(globalRateLimitName, config)
}

func localRateLimit(l *dag.LocalRateLimit) *localv3.LocalRateLimit {
	limit := &localv3.LocalRateLimit{
		StatPrefix: localRateLimitStats,
		Status:     &typev3.HttpStatus{Code: typev3.StatusCode(l.StatusCode)},
		TokenBucket: &typev3.TokenBucket{
			MaxTokens:     l.Requests + l.Burst,
			TokensPerFill: wrapperspb.UInt32(l.Requests),
			FillInterval:  durationpb.New(time.Duration(l.UnitSeconds) * time.Second),
		},
		FilterEnabled:  always(),
		FilterEnforced: always(),
	}
	for _, h := range l.Headers {
		limit.ResponseHeadersToAdd = append(limit.ResponseHeadersToAdd, &corev3.HeaderValueOption{
			// A percent sign would begin a variable.
			Header:       &corev3.HeaderValue{Key: h.Name, Value: strings.ReplaceAll(h.Value, "%", "%%")},
			AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		})
	}
	return limit
}

func always() *corev3.RuntimeFractionalPercent {
	return &corev3.RuntimeFractionalPercent{
		DefaultValue: &typev3.FractionalPercent{Numerator: 100, Denominator: typev3.FractionalPercent_HUNDRED},
	}
}

// globalRateLimit stands in place of what the levels above say.
func globalRateLimit(l *dag.GlobalRateLimit) *ratelimitv3.RateLimitPerRoute {
	limits := &ratelimitv3.RateLimitPerRoute{}
	for _, d := range l.Descriptors {
		limit := &routev3.RateLimit{}
		for _, e := range d.Entries {
			limit.Actions = append(limit.Actions, rateLimitAction(e))
		}
		limits.RateLimits = append(limits.RateLimits, limit)
	}
	return limits
}

func rateLimitAction(e dag.RateLimitEntry) *routev3.RateLimit_Action {
	type action = routev3.RateLimit_Action
	switch {
	case e.Generic != nil:
		return &action{ActionSpecifier: &routev3.RateLimit_Action_GenericKey_{GenericKey: &routev3.RateLimit_Action_GenericKey{
			DescriptorKey: e.Generic.Key, DescriptorValue: e.Generic.Value,
		}}}
	case e.Header != nil:
		return &action{ActionSpecifier: &routev3.RateLimit_Action_RequestHeaders_{RequestHeaders: &routev3.RateLimit_Action_RequestHeaders{
			HeaderName: e.Header.Name, DescriptorKey: e.Header.Key,
		}}}
	case e.HeaderMatch != nil:
		match := &routev3.RateLimit_Action_HeaderValueMatch{
			DescriptorValue: e.HeaderMatch.Value, ExpectMatch: wrapperspb.Bool(!e.HeaderMatch.Unless),
		}
		for _, c := range e.HeaderMatch.Headers {
			match.Headers = append(match.Headers, headerMatch(c))
		}
		return &action{ActionSpecifier: &routev3.RateLimit_Action_HeaderValueMatch_{HeaderValueMatch: match}}
	default: // checkGlobalRateLimit knows no other than the address
		return &action{ActionSpecifier: &routev3.RateLimit_Action_RemoteAddress_{RemoteAddress: &routev3.RateLimit_Action_RemoteAddress{}}}
	}
}

func checkLocalRateLimit(l *dag.LocalRateLimit) string {
	switch {
	case l.Requests < 1 || uint64(l.Requests)+uint64(l.Burst) > math.MaxUint32:
		return fmt.Sprintf("local rate limit: %d requests and a burst of %d are not between 1 and %d together", l.Requests, l.Burst, uint32(math.MaxUint32))
	case l.UnitSeconds < 1 || l.UnitSeconds > longestSeconds:
		return fmt.Sprintf("local rate limit: a unit of %d s is not between 1 s and a year", l.UnitSeconds)
	case l.StatusCode < 400 || l.StatusCode > 599 || typev3.StatusCode_name[int32(l.StatusCode)] == "":
		return fmt.Sprintf("local rate limit: status %d is not one of the registered ones between 400 and 599", l.StatusCode)
	}
	for _, h := range l.Headers {
		if !headerName(h.Name) || !text(h.Value) {
			return fmt.Sprintf("local rate limit: %.200q is not the name of a header, or its value is not printable text", h.Name)
		}
	}
	return ""
}

func checkGlobalRateLimit(l *dag.GlobalRateLimit) string {
	for _, d := range l.Descriptors {
		if len(d.Entries) == 0 {
			return "global rate limit: a descriptor has no entries"
		}
		for _, e := range d.Entries {
			if why := checkRateLimitEntry(e); why != "" {
				return "global rate limit: " + why
			}
		}
	}
	return ""
}

func checkRateLimitEntry(e dag.RateLimitEntry) string {
	set := 0
	for _, is := range []bool{e.Generic != nil, e.Header != nil, e.HeaderMatch != nil, e.RemoteAddress} {
		if is {
			set++
		}
	}
	switch {
	case set != 1:
		return "an entry has not exactly one source"
	case e.Generic != nil:
		if e.Generic.Value == "" || !text(e.Generic.Value) || !text(e.Generic.Key) {
			return "a generic key or its value is not printable text"
		}
	case e.Header != nil:
		if !headerName(strings.TrimPrefix(e.Header.Name, ":")) || e.Header.Key == "" || !text(e.Header.Key) {
			return fmt.Sprintf("%.200q is not the name of a header, or its key is not printable text", e.Header.Name)
		}
	case e.HeaderMatch != nil:
		if e.HeaderMatch.Value == "" || !text(e.HeaderMatch.Value) || len(e.HeaderMatch.Headers) == 0 {
			return "the value of a header match is not printable text, or it has no headers"
		}
		if why := checkMatch(&dag.Match{Path: dag.Path{Type: dag.PathPrefix, Value: "/"}, Headers: e.HeaderMatch.Headers}); len(why) > 0 {
			return strings.Join(why, "; ")
		}
	}
	return ""
}

// maxText bounds the length of a header's value and of what may come to be in
// one, in bytes: the limit of Envoy's API.
const maxText = 16384

// text reports whether s is UTF-8 without control characters.
func text(s string) bool {
	return len(s) <= maxText && utf8.ValidString(s) &&
		!strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}
