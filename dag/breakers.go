package dag

import (
	"strconv"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
	contourv1alpha1 "github.com/projectcontour/contour/apis/projectcontour/v1alpha1"

	"isoline.dev/isoline/problem"
)

// CircuitBreakers bound what one Envoy has open towards a cluster at a time. A
// zero leaves the bound to Envoy: 1024, 3 for retries, none for each endpoint.
type CircuitBreakers struct {
	MaxConnections        uint32 `json:"maxConnections,omitempty"`
	MaxPendingRequests    uint32 `json:"maxPendingRequests,omitempty"`
	MaxRequests           uint32 `json:"maxRequests,omitempty"`
	MaxRetries            uint32 `json:"maxRetries,omitempty"`
	PerHostMaxConnections uint32 `json:"perHostMaxConnections,omitempty"`
}

// breakerAnnotations are those of a Service, each with what it sets.
var breakerAnnotations = []struct {
	name string
	of   func(*CircuitBreakers) *uint32
}{
	{"projectcontour.io/max-connections", func(b *CircuitBreakers) *uint32 { return &b.MaxConnections }},
	{"projectcontour.io/max-pending-requests", func(b *CircuitBreakers) *uint32 { return &b.MaxPendingRequests }},
	{"projectcontour.io/max-requests", func(b *CircuitBreakers) *uint32 { return &b.MaxRequests }},
	{"projectcontour.io/max-retries", func(b *CircuitBreakers) *uint32 { return &b.MaxRetries }},
	{"projectcontour.io/per-host-max-connections", func(b *CircuitBreakers) *uint32 { return &b.PerHostMaxConnections }},
}

// readBreakers reads a Service's annotations. One that is not a number is
// reported and counts as absent.
func (e *entry) readBreakers() {
	for _, annotation := range breakerAnnotations {
		text, set := e.service.Annotations[annotation.name]
		if !set {
			continue
		}
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			p := errorIn(e, contourv1.ConditionTypeServiceError, "AnnotationNotValid", "metadata.annotations["+annotation.name+"]",
				"%.64q is not a number from 0 to 4294967295; the platform's default holds", text)
			p.Severity = problem.Warning
			e.report(p)
			continue
		}
		*annotation.of(&e.breakers) = uint32(n)
	}
}

// or is b with the platform's defaults, which may be nil, for what it leaves
// open; nil where that is all.
func (b CircuitBreakers) or(defaults *contourv1alpha1.CircuitBreakers) *CircuitBreakers {
	if defaults != nil {
		platform := CircuitBreakers(*defaults)
		for _, annotation := range breakerAnnotations {
			of := annotation.of(&b)
			*of = or(*of, *annotation.of(&platform))
		}
	}
	if b == (CircuitBreakers{}) {
		return nil
	}
	return &b
}
