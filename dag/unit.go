package dag

import (
	"fmt"
	"reflect"
	"slices"
	"sync"

	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

// unit is one host's output and what it was made from.
type unit struct {
	output
	read map[manifest.Key]struct{}
	// table answers lookups; it is made when first asked for.
	table func() *table
}

// output is the value of a unit. A nil vhost means that nobody claims the
// host.
type output struct {
	vhost    *VirtualHost
	problems []problem.Problem
	// reached says how HTTPProxies were included, in Inclusion.compare's order.
	reached []Inclusion
}

// rebuild builds one host again and enters what changed into the delta, and
// what it changes for endpoints into d.
func (g *Graph) rebuild(host string, delta *Delta, d *dirty) {
	old := g.units[host]
	previous := g.memory[host]
	if old != nil {
		previous = old.vhost
	}
	r := &reader{graph: g, read: map[manifest.Key]struct{}{}}
	out := g.build(host, r, previous)
	delta.Work.Reads += r.count
	g.countProbes(out.vhost, 1, d)
	if old != nil {
		g.countProbes(old.vhost, -1, d)
	}
	g.replace(host, old, out, r.read)
	if out.vhost != nil {
		delete(g.memory, host)
	}
	switch {
	case out.vhost == nil && old != nil:
		delta.Hosts[host] = nil
	case out.vhost != nil && (old == nil || !reflect.DeepEqual(old.vhost, out.vhost)):
		delta.Hosts[host] = out.vhost
	case out.vhost != nil:
		// Keep the pointer: what did not change stays the same value.
		g.units[host].vhost = old.vhost
		g.units[host].table = old.table
	}
}

// build runs the unit. A panic, which would be a defect of this package,
// costs only this host: what it served before stays, as far as the objects
// behind it still exist.
func (g *Graph) build(host string, r *reader, previous *VirtualHost) (out output) {
	defer func() {
		if cause := recover(); cause != nil {
			out = survive(host, r, previous, cause)
		}
	}()
	if g.fault != nil {
		g.fault(host)
	}
	return buildHost(host, r, g.opts, previous)
}

// survive is the output of a unit that panicked.
func survive(host string, r *reader, previous *VirtualHost, cause any) output {
	claimants := r.claimants(host)
	if len(claimants) == 0 {
		return output{}
	}
	b := &hostBuild{host: host, reader: r, previous: previous}
	owner := claimants[0]
	if i := slices.IndexFunc(claimants, b.ownedBefore); i >= 0 {
		owner = claimants[i]
	}
	vhost := &VirtualHost{Host: host, Owner: owner.key(), Routes: []Route{}}
	if previous != nil && b.ownedBefore(owner) && previous.TLS.still(r) {
		vhost.Claims = previous.Claims
		vhost.Policy = previous.Policy
		if previous.TCP == nil || b.stillLinked(previous.TCP.Chain) {
			vhost.TLS, vhost.TCP = previous.TLS, previous.TCP
		}
		for _, route := range previous.Routes {
			if len(route.Chain) > 0 && b.stillThere(route) {
				route.LastGood = true
				vhost.Routes = append(vhost.Routes, route)
				for _, child := range route.Chain[1:] {
					b.reach(owner.key(), child, Match{})
				}
			}
		}
	}
	return output{vhost: vhost, reached: b.inclusions(), problems: []problem.Problem{{
		Severity: problem.Error, Type: "InternalError", Reason: "Panic", Object: owner.key().Ref(),
		Message: fmt.Sprintf("building host %q failed inside Isoline: %v; what it served before stays", host, cause),
		Remedy:  "this is a defect of Isoline: please report it with the object",
	}}}
}

// replace enters the new unit into the indexes.
func (g *Graph) replace(host string, old *unit, out output, read map[manifest.Key]struct{}) {
	if old != nil {
		for d := range old.read {
			if _, still := read[d]; !still {
				removeFrom(g.readers, d, host)
			}
		}
		for _, i := range old.reached {
			removeFrom(g.reached, i.Child, host)
		}
	}
	delete(g.troubled, host)
	if out.vhost == nil {
		// Nobody claims the host: when somebody does, the claim itself brings
		// the unit back, so nothing has to be remembered.
		for d := range read {
			removeFrom(g.readers, d, host)
		}
		delete(g.units, host)
		return
	}
	for d := range read {
		addTo(g.readers, d, host)
	}
	for _, i := range out.reached {
		addTo(g.reached, i.Child, host)
	}
	if len(out.problems) > 0 {
		g.troubled[host] = struct{}{}
	}
	g.units[host] = &unit{output: out, read: read, table: sync.OnceValue(func() *table { return newTable(out.vhost) })}
}
