package dag

import (
	"math"
	"slices"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"

	"isoline.dev/isoline/problem"
)

// weigh judges how the requests of a route are shared among the services that
// it lists. Left are those of them that can be served.
func (a *actionReader) weigh(listed []contourv1.Service, left []WeightedCluster) verdict {
	even := !slices.ContainsFunc(listed, func(s contourv1.Service) bool { return s.Weight != 0 })
	sum := uint64(0)
	for _, w := range left {
		sum += uint64(w.Weight)
	}
	switch {
	case len(left) == 0:
		return broken
	case sum > math.MaxUint32: // what Envoy counts to
		a.fail(contourv1.ConditionTypeServiceError, "ServiceWeightInvalid", ".services",
			"the weights of a route must not exceed %d in all", uint32(math.MaxUint32))
		return broken
	case len(left) < len(listed) && sum == 0 && !even:
		// Not an even split: the author gave these services nothing.
		a.warn(contourv1.ConditionTypeServiceError, "NoWeightLeft", ".services",
			"the services that are left have weight 0, so they get no requests")
		return broken
	case even && len(listed) > 1:
		a.warn(contourv1.ConditionTypeServiceError, "AllWeightsZero", ".services",
			"no service of the route has a weight; the requests are split evenly")
	}
	if len(left) < len(listed) {
		return partial
	}
	return whole
}

// shareTakenOver says what becomes of the requests of services that are left
// out.
func shareTakenOver(c candidate) problem.Problem {
	p := errorIn(c.owner, contourv1.ConditionTypeServiceError, "ShareTakenOver", c.field+".services",
		"not every service of the route can be served; the others take its share of the requests")
	p.Severity = problem.Warning
	return p
}
