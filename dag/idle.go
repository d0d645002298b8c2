package dag

import contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"

// idleConnection is how long an upstream connection is kept without requests.
// It belongs to the cluster, as its connections do.
func (a *actionReader) idleConnection(p *contourv1.TimeoutPolicy) (Timeout, bool) {
	if p == nil {
		return 0, true
	}
	idle, err := parseTimeout(p.IdleConnection)
	if err != nil {
		return 0, a.timeoutFails(".timeoutPolicy.idleConnection", err)
	}
	return idle, true
}
