package dag

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
)

// SlowStart sends new endpoints a growing share of the requests. All fields
// are set.
type SlowStart struct {
	// Window is how long an endpoint counts as new, at least a millisecond.
	Window time.Duration `json:"window"`
	// Aggression is above 0; at 1 the share grows linearly with time.
	Aggression float64 `json:"aggression"`
	// MinWeightPercent is the share at the start: 1 to 100.
	MinWeightPercent uint32 `json:"minWeightPercent"`
}

// Defaults of slow start: the API's. Without an API server to fill them in, a
// minimum of 0 cannot be told from none.
const (
	slowStartAggression = "1.0"
	slowStartMinWeight  = 10
	maxSlowStartWindow  = 24 * time.Hour
	// maxAggression keeps the exponent, which is its inverse, apart from 0.
	maxAggression = 1000
)

// slowStart reads the policy of one service.
func (a *actionReader) slowStart(c *Cluster, p *contourv1.SlowStartPolicy, field string) bool {
	if p == nil {
		return true
	}
	const reason = "SlowStartInvalid"
	if c.LoadBalancer != BalanceRoundRobin && c.LoadBalancer != BalanceLeastRequest {
		a.fail(contourv1.ConditionTypeServiceError, reason, field,
			"slow start is only supported with RoundRobin or WeightedLeastRequest load balancer strategy")
		return false
	}
	slow, err := readSlowStart(p)
	if err != nil {
		a.fail(contourv1.ConditionTypeServiceError, reason, field, "%s on slow start", err)
		return false
	}
	c.SlowStart = slow
	return true
}

func readSlowStart(p *contourv1.SlowStartPolicy) (*SlowStart, error) {
	window, err := time.ParseDuration(p.Window)
	switch {
	case err != nil:
		return nil, fmt.Errorf("error parsing window: %w", err)
	case window < time.Millisecond || window > maxSlowStartWindow:
		return nil, fmt.Errorf("window %s is not in the range 1ms to %s", p.Window, maxSlowStartWindow)
	}
	aggression, err := strconv.ParseFloat(or(p.Aggression, slowStartAggression), 64)
	switch {
	case err != nil:
		return nil, fmt.Errorf("error parsing aggression: %q is not a decimal number", p.Aggression)
	case !(aggression > 0 && aggression <= maxAggression): // also not a number
		return nil, fmt.Errorf("aggression %s is not above 0 and at most %d", p.Aggression, maxAggression)
	case p.MinimumWeightPercent > 100:
		return nil, errors.New("minWeightPercent must be in the range 0-100")
	}
	return &SlowStart{Window: window, Aggression: aggression, MinWeightPercent: or(p.MinimumWeightPercent, slowStartMinWeight)}, nil
}
