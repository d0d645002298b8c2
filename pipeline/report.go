package pipeline

import (
	"time"

	"isoline.dev/isoline/dag"
	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

// Report is what there is to say about the routes as they stand: the answer
// of `isoline check` and of the web port. Its JSON form is a contract.
type Report struct {
	// OK is true when no problem is an error.
	OK       bool              `json:"ok"`
	Problems []problem.Problem `json:"problems"`
	Objects  []ObjectReport    `json:"objects"`
	Hosts    []HostReport      `json:"hosts"`
	Teams    []TeamReport      `json:"teams,omitempty"`
	// Envoys are the connected Envoys; absent where none are served.
	Envoys []EnvoyReport `json:"envoys,omitempty"`
}

// ObjectReport is the state of one routing object: valid, invalid or orphaned.
type ObjectReport struct {
	Kind      string         `json:"kind"`
	Namespace string         `json:"namespace"`
	Name      string         `json:"name"`
	Status    string         `json:"status"`
	Origin    problem.Origin `json:"origin"`
	// IncludedBy has the ways in which roots reach an HTTPProxy without a
	// virtualhost; absent for all else, and where none does.
	IncludedBy []InclusionReport `json:"includedBy,omitempty"`
}

// InclusionReport is one way from a root to an HTTPProxy that it includes.
type InclusionReport struct {
	Root problem.Object `json:"root"`
	Host string         `json:"host"`
	// Prefix and Conditions are what the includes on the way come to. Conditions
	// on headers and query parameters are written as in a route's match.
	Prefix     string   `json:"prefix,omitempty"`
	Conditions []string `json:"conditions,omitempty"`
}

// HostReport is the state of one host: serving, lastGood (something that
// served before is served in place of what is written now) or rejected
// (claimed, and not served).
type HostReport struct {
	Host   string         `json:"host"`
	State  string         `json:"state"`
	Object problem.Object `json:"object"`
	Routes int            `json:"routes"`
}

// TeamReport is the state of one team's repository.
type TeamReport struct {
	Name       string `json:"name"`
	Repository string `json:"repository"`
	// Commit is what is served; empty while nothing is. Head is what was
	// fetched last; they differ when Head was not taken.
	Commit string `json:"commit"`
	Head   string `json:"head"`
	// LastFetch is when the remote last answered; zero if it never has.
	LastFetch time.Time `json:"lastFetch,omitzero"`
}

// EnvoyReport is one connected Envoy.
type EnvoyReport struct {
	Node string `json:"node"`
	// Served says that it has acknowledged all that the report tells of.
	Served bool `json:"served"`
}

// RouteReport says what becomes of a request: the answer of `isoline route`.
// Its JSON form is a contract.
type RouteReport struct {
	Matched bool `json:"matched"`
	// Status is that of the answer that Envoy itself gives; absent where the
	// request is forwarded.
	Status int `json:"status,omitempty"`
	// Host and Match are those of the route that takes the request.
	Host     string          `json:"host"`
	Match    string          `json:"match"`
	Services []ServiceReport `json:"services"`
	// Chain runs from the root to the object that holds the route.
	Chain    []ChainReport `json:"chain"`
	LastGood bool          `json:"lastGood,omitempty"`
	// TCP says that the connection is handed on to the services, and that no
	// request in it is looked at.
	TCP bool `json:"tcp,omitempty"`
}

// ServiceReport is one share of a route.
type ServiceReport struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Port      int32  `json:"port"`
	Weight    uint32 `json:"weight"`
}

// ChainReport is one object on the way to a route.
type ChainReport struct {
	Kind      string         `json:"kind"`
	Namespace string         `json:"namespace"`
	Name      string         `json:"name"`
	Origin    problem.Origin `json:"origin"`
}

// Lookup finds the route that takes a request, which is as the client sends it.
func (b *Build) Lookup(r dag.Request) dag.Found {
	received, status := b.edge.Receive(r)
	found := b.graph.Lookup(received)
	// Whether there is a handshake, and whether anybody looks into the
	// connection, is decided before the path is.
	if status != 0 && (!r.TLS || found.Status != 0 || found.Matched) && found.TCP == nil {
		return dag.Found{Status: status}
	}
	return found
}

// Route says what becomes of a request.
func (b *Build) Route(r dag.Request) RouteReport {
	found := b.Lookup(r)
	out := RouteReport{Matched: found.Matched, Status: found.Status, Host: found.Host,
		Services: []ServiceReport{}, Chain: []ChainReport{}}
	var clusters []dag.WeightedCluster
	var chain []manifest.Key
	switch {
	case found.TCP != nil:
		out.Matched, out.TCP = true, true
		clusters, chain = found.TCP.Clusters, found.TCP.Chain
	case found.Matched:
		out.Match, out.LastGood = found.Route.Match.Key(), found.Route.LastGood
		chain = found.Route.Chain
		if found.Status == 0 {
			clusters = found.Route.Action.Clusters
		}
	}
	for _, w := range clusters {
		c := w.Cluster
		out.Services = append(out.Services, ServiceReport{Namespace: c.Namespace, Name: c.Service, Port: c.Port, Weight: w.Weight})
	}
	for _, key := range chain {
		link := ChainReport{Kind: key.Kind, Namespace: key.Namespace, Name: key.Name}
		if o := b.graph.Object(key); o != nil {
			link.Origin = o.Origin
		}
		out.Chain = append(out.Chain, link)
	}
	return out
}
