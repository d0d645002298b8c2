package xds

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"isoline.dev/isoline/dag"
)

// setTimeouts leaves what t does not bound to Envoy's defaults.
func setTimeouts(action *routev3.RouteAction, t dag.Timeouts) {
	if t.Response != 0 {
		action.Timeout = timeout(t.Response)
	}
	if t.Idle != 0 {
		action.IdleTimeout = timeout(t.Idle)
	}
}

// timeout is t as Envoy writes it, to which zero is no bound.
func timeout(t dag.Timeout) *durationpb.Duration {
	if t == dag.NoTimeout {
		return durationpb.New(0)
	}
	return durationpb.New(time.Duration(t))
}

func retryPolicy(r *dag.Retry) *routev3.RetryPolicy {
	p := &routev3.RetryPolicy{
		RetryOn:              strings.Join(r.On, ","),
		NumRetries:           wrapperspb.UInt32(r.Count),
		RetriableStatusCodes: r.StatusCodes,
	}
	if r.PerTry > 0 {
		p.PerTryTimeout = timeout(r.PerTry)
	}
	return p
}

func checkTimeout(name string, t dag.Timeout) string {
	d := time.Duration(t)
	if t != 0 && t != dag.NoTimeout && (d < time.Millisecond || d > longestSeconds*time.Second) {
		return fmt.Sprintf("%s: %v is not between a millisecond and a year", name, d)
	}
	return ""
}

var retryCondition = regexp.MustCompile(`^[a-z0-9-]+$`)

func checkRetry(r *dag.Retry) string {
	switch {
	case len(r.On) == 0 || slices.ContainsFunc(r.On, func(on string) bool { return !retryCondition.MatchString(on) }):
		return fmt.Sprintf("retries: %.200q are not conditions to retry on", r.On)
	case slices.ContainsFunc(r.StatusCodes, func(code uint32) bool { return code < 100 || code > 599 }):
		return fmt.Sprintf("retries: %v are not all between 100 and 599", r.StatusCodes)
	}
	return checkTimeout("retries: timeout of a try", r.PerTry)
}
