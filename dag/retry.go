package dag

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
)

// Retry says when a request is sent again, perhaps to another endpoint.
type Retry struct {
	// Count is how many times at most, beside the first try.
	Count uint32 `json:"count"`
	// PerTry bounds every try, the first one too. Where it is zero or NoTimeout
	// only the route's response timeout does.
	PerTry Timeout `json:"perTry,omitempty"`
	// On are the conditions, in Envoy's words, each once.
	On []string `json:"on"`
	// StatusCodes are those of the condition "retriable-status-codes".
	StatusCodes []uint32 `json:"statusCodes,omitempty"`
}

const onStatusCodes = "retriable-status-codes"

// retryConditions are those that manifests may name, with the reason why one
// can never come true here, if so.
var retryConditions = map[string]string{
	"5xx": "", "gateway-error": "", "reset": "", "reset-before-request": "", "connect-failure": "",
	"envoy-ratelimited": "", "retriable-4xx": "", "refused-stream": "", onStatusCodes: "",
	"retriable-headers":          "no field names the headers",
	"http3-post-connect-failure": "no upstream is spoken to over HTTP/3",
	"cancelled":                  "", "deadline-exceeded": "", "internal": "", "resource-exhausted": "", "unavailable": "",
}

// readRetry makes a retry policy of its parts as they are written: count -1
// is none and 0 is one, and no condition is "5xx".
func readRetry(count int64, perTry string, on []string, codes []uint32) (*Retry, error) {
	if count < -1 || count > math.MaxUint32 {
		return nil, fmt.Errorf("count %d must be -1 for no retries, or up to %d", count, uint32(math.MaxUint32))
	}
	r := &Retry{Count: uint32(max(0, or(count, 1)))}
	var err error
	if r.PerTry, err = parseTimeout(perTry); err != nil {
		return nil, fmt.Errorf("perTryTimeout: %w", err)
	}
	for _, condition := range on {
		if _, known := retryConditions[condition]; !known {
			return nil, fmt.Errorf("%q is not a condition to retry on", condition)
		}
		if !slices.Contains(r.On, condition) {
			r.On = append(r.On, condition)
		}
	}
	if len(r.On) == 0 {
		r.On = []string{"5xx"}
	}
	for _, code := range codes {
		if code < 100 || code > 599 {
			return nil, errors.New("retriableStatusCodes must be in the range [100, 599]")
		}
	}
	r.StatusCodes = slices.Compact(slices.Sorted(slices.Values(codes)))
	return r, nil
}

// withoutEffect says which parts of r can never make a difference.
func (r *Retry) withoutEffect(response Timeout) []string {
	var why []string
	for _, condition := range r.On {
		if reason := retryConditions[condition]; reason != "" {
			why = append(why, fmt.Sprintf("retryOn %q has no effect: %s", condition, reason))
		}
	}
	asks := slices.Contains(r.On, onStatusCodes)
	switch {
	case asks && len(r.StatusCodes) == 0:
		why = append(why, fmt.Sprintf("retryOn %q has no effect without retriableStatusCodes", onStatusCodes))
	case !asks && len(r.StatusCodes) > 0:
		why = append(why, fmt.Sprintf("retriableStatusCodes has no effect unless retryOn has %q", onStatusCodes))
	}
	if r.PerTry > 0 && response > 0 && r.PerTry >= response {
		why = append(why, "perTryTimeout has no effect: it is not shorter than the response timeout")
	}
	return why
}

func (a *actionReader) retry(p *contourv1.RetryPolicy, response Timeout) (*Retry, bool) {
	if p == nil {
		return nil, true
	}
	on := make([]string, len(p.RetryOn))
	for i, condition := range p.RetryOn {
		on[i] = string(condition)
	}
	r, err := readRetry(p.NumRetries, p.PerTryTimeout, on, p.RetriableStatusCodes)
	if err != nil {
		a.fail(contourv1.ConditionTypeRouteError, "RetryPolicyNotValid", ".retryPolicy", "route.retryPolicy is invalid: %s", err)
		return nil, false
	}
	if why := r.withoutEffect(response); len(why) > 0 {
		a.warn(contourv1.ConditionTypeRouteError, reasonIgnoredField, ".retryPolicy", "route.retryPolicy: %s", strings.Join(why, "; "))
	}
	return r, true
}
