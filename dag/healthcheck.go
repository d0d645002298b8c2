package dag

import (
	"fmt"
	"math"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
)

// TCPHealthCheck is an active check that an endpoint takes connections. All
// fields are set.
type TCPHealthCheck struct {
	IntervalSeconds    int64  `json:"intervalSeconds"`
	TimeoutSeconds     int64  `json:"timeoutSeconds"`
	UnhealthyThreshold uint32 `json:"unhealthyThreshold"`
	HealthyThreshold   uint32 `json:"healthyThreshold"`
}

func readTCPHealthCheck(p *contourv1.TCPHealthCheckPolicy) (*TCPHealthCheck, error) {
	if p == nil {
		return nil, nil
	}
	for _, n := range []int64{p.IntervalSeconds, p.TimeoutSeconds} {
		if n < 0 || n > maxHealthCheckSeconds {
			return nil, fmt.Errorf("intervalSeconds and timeoutSeconds must be in the range [0, %d]", maxHealthCheckSeconds)
		}
	}
	return &TCPHealthCheck{
		IntervalSeconds:    or(p.IntervalSeconds, healthCheckInterval),
		TimeoutSeconds:     or(p.TimeoutSeconds, healthCheckTimeout),
		UnhealthyThreshold: or(p.UnhealthyThresholdCount, healthCheckUnhealthy),
		HealthyThreshold:   or(p.HealthyThresholdCount, healthCheckHealthy),
	}, nil
}

// healthPort is the port that is probed instead of the one that serves.
func (a *actionReader) healthPort(c *Cluster, s contourv1.Service, use upstreamUse, field string) bool {
	switch {
	case s.HealthPort == 0 || s.HealthPort == s.Port:
		return true
	case !use.probed():
		a.warn(contourv1.ConditionTypeSpecError, reasonIgnoredField, field,
			"ignoring field %q; service %q is not probed without a health check policy", "healthPort", s.Name)
		return true
	case s.HealthPort < 1 || s.HealthPort > math.MaxUint16:
		a.fail(contourv1.ConditionTypeServiceError, "ServicePortInvalid", field,
			"service %q: port must be in the range 1-65535", s.Name)
		return false
	}
	if _, err := findService(a.reader, c.Namespace, c.Service, portRef{number: int32(s.HealthPort)}); err != nil {
		a.fail(use.typ, "ServiceUnresolvedReference", field, "%s%s", use.prefix, err)
		return false
	}
	c.HealthPort = int32(s.HealthPort)
	return true
}
