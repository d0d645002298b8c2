package dag

import (
	"fmt"
	"time"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
)

// Timeout bounds how long something may take. Zero leaves it to the default of
// what it bounds, and NoTimeout bounds nothing; any other is between a
// millisecond, the least that Envoy tells from none at all, and a year.
type Timeout time.Duration

// NoTimeout is written "infinity" in manifests.
const NoTimeout Timeout = -1

// longestTimeout is well inside what Envoy can count.
const longestTimeout = 365 * 24 * time.Hour

// Timeouts bound the requests of a route.
type Timeouts struct {
	// Response runs from the end of the request to the end of the answer, all
	// retries included. Where it is zero Envoy bounds it to 15 seconds.
	Response Timeout `json:"response,omitempty"`
	// Idle is how long nothing may move in either direction of one request.
	// Where it is zero Envoy's connection manager bounds it to 5 minutes.
	Idle Timeout `json:"idle,omitempty"`
}

// parseTimeout reads a Go duration, "infinity" or "infinite". No text and "0s"
// are the default; less than a millisecond is rounded up to one.
func parseTimeout(text string) (Timeout, error) {
	switch text {
	case "":
		return 0, nil
	case "infinity", "infinite":
		return NoTimeout, nil
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return 0, fmt.Errorf("unable to parse timeout string %q: %w", text, err)
	case d < 0:
		return 0, fmt.Errorf("unable to parse timeout string %q: it is negative", text)
	case d > longestTimeout:
		return 0, fmt.Errorf("unable to parse timeout string %q: it is longer than a year, use \"infinity\"", text)
	case d > 0 && d < time.Millisecond:
		d = time.Millisecond
	}
	return Timeout(d), nil
}

// timeouts reads what bounds the requests of a route. The time that an unused
// upstream connection is kept belongs to the cluster and is not read here.
func (a *actionReader) timeouts(p *contourv1.TimeoutPolicy) (Timeouts, bool) {
	t := Timeouts{Response: Timeout(a.settings.ResponseTimeout)}
	if p == nil {
		return t, true
	}
	response, err := parseTimeout(p.Response)
	if err != nil {
		return t, a.timeoutFails(".timeoutPolicy.response", err)
	}
	if response != 0 {
		t.Response = response
	}
	if t.Idle, err = parseTimeout(p.Idle); err != nil {
		return t, a.timeoutFails(".timeoutPolicy.idle", err)
	}
	return t, true
}

func (a *actionReader) timeoutFails(field string, err error) bool {
	a.fail(contourv1.ConditionTypeRouteError, "TimeoutPolicyNotValid", field, "route.timeoutPolicy failed to parse: %s", err)
	return false
}
