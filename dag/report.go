package dag

import (
	"maps"
	"slices"

	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

// Status is an object's state as its author sees it.
type Status string

const (
	// Valid: no error; there may be warnings.
	Valid Status = "valid"
	// Invalid: something in it is not in effect. The rest of it may serve.
	Invalid Status = "invalid"
	// Orphaned: an HTTPProxy without a virtualhost that nothing includes.
	Orphaned Status = "orphaned"
)

// ObjectStatus is the state of one routing object.
type ObjectStatus struct {
	Object manifest.Key   `json:"object"`
	Team   string         `json:"team,omitempty"`
	Status Status         `json:"status"`
	Origin problem.Origin `json:"origin"`
	// IncludedBy has the ways in which roots reach an HTTPProxy without a
	// virtualhost, sorted by host.
	IncludedBy []Inclusion `json:"includedBy,omitempty"`
}

// Objects are the HTTPProxies, Ingresses, TLSCertificateDelegations and
// ExtensionServices that take part, in the order of their keys.
func (g *Graph) Objects() []ObjectStatus {
	failed := map[problem.Object]bool{}
	for _, p := range g.Problems() {
		if p.Severity == problem.Error {
			failed[p.Object] = true
		}
	}
	var all []ObjectStatus
	for key, e := range g.entries {
		if e.proxy == nil && e.ingress == nil && e.delegation == nil && e.extension == nil {
			continue
		}
		s := ObjectStatus{Object: key, Team: e.object.Team, Origin: e.object.Origin, Status: Valid, IncludedBy: g.inclusionsOf(key)}
		_, child := g.children[key]
		switch {
		case child && len(s.IncludedBy) == 0:
			s.Status = Orphaned
		case failed[key.Ref()]:
			s.Status = Invalid
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b ObjectStatus) int { return a.Object.Compare(b.Object) })
	return all
}

// HostState says how well a host is served.
type HostState string

const (
	// Serving: every route is as written, or what is left of it.
	Serving HostState = "serving"
	// LastGood: at least one route serves its last good action.
	LastGood HostState = "lastGood"
	// Rejected: no route does what its author wrote.
	Rejected HostState = "rejected"
)

// HostReport is the state of one host.
type HostReport struct {
	Host   string         `json:"host"`
	State  HostState      `json:"state"`
	Owner  manifest.Key   `json:"owner"`
	Team   string         `json:"team,omitempty"`
	Origin problem.Origin `json:"origin"`
	Routes int            `json:"routes"`
}

// HostReports are the states of all hosts, sorted by name.
func (g *Graph) HostReports() []HostReport {
	all := make([]HostReport, 0, len(g.units))
	for _, host := range slices.Sorted(maps.Keys(g.units)) {
		v := g.units[host].vhost
		r := HostReport{Host: host, State: stateOf(v), Owner: v.Owner, Routes: len(v.Routes)}
		if e := g.entries[v.Owner]; e != nil {
			r.Team, r.Origin = e.object.Team, e.object.Origin
		}
		all = append(all, r)
	}
	return all
}

func stateOf(v *VirtualHost) HostState {
	state := Rejected
	if v.TCP != nil {
		state = Serving
	}
	for _, r := range v.Routes {
		switch {
		case r.LastGood:
			return LastGood
		case !r.Unresolved || len(r.Action.Clusters) > 0:
			state = Serving
		}
	}
	return state
}
