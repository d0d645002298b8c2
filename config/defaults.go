package config

import (
	"maps"
	"slices"
)

// The defaults of listeners, routing and upstreams are those of the stages
// that use them: what is left out stays zero here.

func (l *Listeners) setDefaults() {
	l.HTTP.setDefault("0.0.0.0", 8080)
	l.HTTPS.setDefault("0.0.0.0", 8443)
}

func (r *Routing) setDefaults() {
	if r.RateLimit != nil {
		setDefault(&r.RateLimit.Domain, "contour")
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
