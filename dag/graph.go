// Package dag turns objects into virtual hosts: inclusion, conditions,
// ownership of hosts and matches, services and their endpoints.
//
// The unit of compilation is the host. A unit is a pure function of the
// objects that it reads, of the platform's policy and of what the host served
// before (its memory); it reads through a reader that notes all it asked for,
// also what was not there, and is built again only when one of those changed.
// So an incremental graph equals one built afresh from the same objects and
// memory, and building twice with one's own output as memory changes nothing.
//
// The package knows no Envoy and no Kubernetes client, reads no clock and
// does no I/O.
package dag

import (
	"maps"
	"slices"

	discoveryv1 "k8s.io/api/discovery/v1"

	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

// Options are fixed for the life of a Graph.
type Options struct {
	// RootNamespaces may hold HTTPProxies with a virtualhost. Empty: all.
	RootNamespaces []string
	// WatchNamespaces are those whose objects take part, of every kind; the
	// others have no status either. Empty: all.
	WatchNamespaces []string
	// IngressClasses are the classes that take part. Empty: objects without a
	// class, or with the class "contour" or "isoline".
	IngressClasses []string
	// Policy says whom the platform prefers. Nil: nobody.
	Policy   Policy
	Settings Settings
}

// Policy answers what the platform's config says about ownership. It must
// give the same answers for the life of a Graph.
type Policy interface {
	// HostOwner is the team that is preferred when a host has several
	// claimants. The host is in lower case.
	HostOwner(host string) (team string, ok bool)
}

// Change is one object's new state. A nil Object means that it is gone.
type Change struct {
	Key    manifest.Key
	Object *manifest.Object
}

// Delta is what an Update changed, and nothing else.
type Delta struct {
	// Hosts by name; nil where the host is gone.
	Hosts map[string]*VirtualHost
	// Endpoints by key; nil where the Service's port is gone.
	Endpoints map[EndpointsKey]*Endpoints
	// Certificates of Secrets that have a valid one; nil where there is none
	// any more.
	Certificates map[SecretRef]*Certificate
	// Extensions are those that listeners use: the platform's rate limit
	// service; nil where it cannot be used any more.
	Extensions map[manifest.Key]*Extension
	Work       Work
}

// Empty reports whether nothing changed.
func (d Delta) Empty() bool {
	return len(d.Hosts) == 0 && len(d.Endpoints) == 0 && len(d.Certificates) == 0 && len(d.Extensions) == 0
}

// Work counts what an Update did.
type Work struct {
	// Objects that differed from what the graph held, origins aside.
	Objects int
	// Units built, one for every host that was looked at.
	Units int
	// Reads of objects and claims by those units.
	Reads int
	// Services whose endpoints were computed.
	Services int
}

// Graph holds the objects and what they compile to. It is for one goroutine
// at a time; the values that it hands out are immutable and may be shared.
type Graph struct {
	opts    Options
	entries map[manifest.Key]*entry
	// claims has, for every host, the objects that claim it.
	claims map[string]map[manifest.Key]struct{}
	units  map[string]*unit
	// readers has, for every object asked for, the hosts whose units asked.
	readers map[manifest.Key]map[string]struct{}
	// reached has, for every HTTPProxy that is included, the hosts whose units
	// do.
	reached map[manifest.Key]map[string]struct{}
	// includers has, for every HTTPProxy that is named in includes, whoever
	// names it, whether or not that is in effect.
	includers map[manifest.Key]map[manifest.Key]struct{}
	// troubled are the hosts whose units have problems.
	troubled map[string]struct{}
	// flawed are the objects with problems of their own.
	flawed map[manifest.Key]struct{}
	// children are the HTTPProxies without a virtualhost.
	children map[manifest.Key]struct{}
	// delegations has the TLSCertificateDelegations by namespace.
	delegations map[string]map[manifest.Key]struct{}
	slices      map[serviceName]map[manifest.Key]struct{}
	served      map[serviceName]*serviceEndpoints
	// probed counts the uses of endpoints with a health port of their own.
	probed map[serviceName]map[EndpointsKey]int
	// extensions are the units of the ExtensionServices, and extensionReaders
	// has, for every object asked for, those whose units asked.
	extensions       map[manifest.Key]*extensionUnit
	extensionReaders map[manifest.Key]map[manifest.Key]struct{}
	// memory is what New was given of hosts that nobody has claimed since.
	memory map[string]*VirtualHost
	// fault is called before a unit is built; tests make it panic.
	fault func(host string)
}

// New is an empty graph. The memory is what each host served before, as
// Memory gave it; it may be nil. A host's memory counts when the host is first
// claimed, so the first Update has to bring all objects that are known at the
// start; after that the graph remembers by itself.
func New(opts Options, memory map[string]*VirtualHost) *Graph {
	return &Graph{
		opts:        opts,
		includers:   map[manifest.Key]map[manifest.Key]struct{}{},
		entries:     map[manifest.Key]*entry{},
		claims:      map[string]map[manifest.Key]struct{}{},
		units:       map[string]*unit{},
		readers:     map[manifest.Key]map[string]struct{}{},
		reached:     map[manifest.Key]map[string]struct{}{},
		troubled:    map[string]struct{}{},
		flawed:      map[manifest.Key]struct{}{},
		children:    map[manifest.Key]struct{}{},
		slices:      map[serviceName]map[manifest.Key]struct{}{},
		served:      map[serviceName]*serviceEndpoints{},
		memory:      withoutNil(memory),
		delegations: map[string]map[manifest.Key]struct{}{},
		probed:      map[serviceName]map[EndpointsKey]int{},
		extensions:  map[manifest.Key]*extensionUnit{},

		extensionReaders: map[manifest.Key]map[manifest.Key]struct{}{},
	}
}

// Update takes the changes in, all at once, and says what they changed. Of
// several changes to one key the last counts. An object that differs from the
// one held only in its origin rebuilds nothing.
func (g *Graph) Update(changes []Change) Delta {
	delta := Delta{
		Hosts: map[string]*VirtualHost{}, Endpoints: map[EndpointsKey]*Endpoints{},
		Certificates: map[SecretRef]*Certificate{}, Extensions: map[manifest.Key]*Extension{},
	}
	last := make(map[manifest.Key]*manifest.Object, len(changes))
	for _, c := range changes {
		last[c.Key] = c.Object
	}
	dirty := newDirty()
	for key, object := range last {
		before := g.certificateOf(key)
		if g.put(key, object, dirty) {
			delta.Work.Objects++
		}
		if now := g.certificateOf(key); !before.equal(now) {
			delta.Certificates[SecretRef{Namespace: key.Namespace, Name: key.Name}] = now
		}
	}
	for _, host := range g.affected(dirty) {
		delta.Work.Units++
		g.rebuild(host, &delta, dirty)
	}
	for _, name := range slices.SortedFunc(maps.Keys(dirty.services), serviceName.compare) {
		delta.Work.Services++
		g.rebuildEndpoints(name, &delta)
	}
	for _, key := range g.affectedExtensions(dirty) {
		g.rebuildExtension(key, &delta)
	}
	return delta
}

// dirty collects what a batch of changes touched: objects, hosts whose
// claimants changed, and Services whose endpoints may have.
type dirty struct {
	objects  map[manifest.Key]struct{}
	hosts    map[string]struct{}
	services map[serviceName]struct{}
}

func newDirty() *dirty {
	return &dirty{
		objects:  map[manifest.Key]struct{}{},
		hosts:    map[string]struct{}{},
		services: map[serviceName]struct{}{},
	}
}

// put replaces one object and keeps the indexes; it reports whether the
// object changed in more than its origin.
func (g *Graph) put(key manifest.Key, object *manifest.Object, d *dirty) bool {
	old := g.entries[key]
	if old == nil && object == nil {
		return false
	}
	if old != nil && object != nil && object.Digest != "" &&
		old.object.Digest == object.Digest && old.object.Team == object.Team {
		moved := *old
		moved.object = object
		g.entries[key] = &moved
		return false
	}
	if old != nil {
		g.forget(key, old, d)
	}
	if object != nil {
		g.learn(key, newEntry(object, g.opts), d)
	}
	d.objects[key] = struct{}{}
	return true
}

func (g *Graph) forget(key manifest.Key, e *entry, d *dirty) {
	delete(g.entries, key)
	delete(g.flawed, key)
	delete(g.children, key)
	if e.proxy != nil {
		for _, child := range included(e.proxy) {
			removeFrom(g.includers, child, key)
		}
	}
	if e.delegation != nil {
		removeFrom(g.delegations, key.Namespace, key)
		d.objects[anyDelegation(key.Namespace)] = struct{}{}
	}
	for _, host := range e.claims {
		removeFrom(g.claims, host, key)
		d.hosts[host] = struct{}{}
	}
	g.markEndpoints(key, e, d, func(name serviceName) { removeFrom(g.slices, name, key) })
}

func (g *Graph) learn(key manifest.Key, e *entry, d *dirty) {
	g.entries[key] = e
	if len(e.problems) > 0 {
		g.flawed[key] = struct{}{}
	}
	if e.proxy != nil && e.proxy.Spec.VirtualHost == nil {
		g.children[key] = struct{}{}
	}
	if e.proxy != nil {
		for _, child := range included(e.proxy) {
			addTo(g.includers, child, key)
		}
	}
	if e.delegation != nil {
		addTo(g.delegations, key.Namespace, key)
		d.objects[anyDelegation(key.Namespace)] = struct{}{}
	}
	for _, host := range e.claims {
		addTo(g.claims, host, key)
		d.hosts[host] = struct{}{}
	}
	g.markEndpoints(key, e, d, func(name serviceName) { addTo(g.slices, name, key) })
}

func (g *Graph) markEndpoints(key manifest.Key, e *entry, d *dirty, index func(serviceName)) {
	switch {
	case e.service != nil:
		d.services[serviceName{key.Namespace, key.Name}] = struct{}{}
	case e.slice != nil:
		if name := e.slice.Labels[discoveryv1.LabelServiceName]; name != "" {
			of := serviceName{key.Namespace, name}
			index(of)
			d.services[of] = struct{}{}
		}
	}
}

// affected are the hosts to build again, sorted.
func (g *Graph) affected(d *dirty) []string {
	hosts := d.hosts
	for key := range d.objects {
		for host := range g.readers[key] {
			hosts[host] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(hosts))
}

// Host is what a host serves now, or nil if nobody claims it.
func (g *Graph) Host(host string) *VirtualHost {
	if u := g.units[host]; u != nil {
		return u.vhost
	}
	return nil
}

// Hosts are all virtual hosts, sorted by name.
func (g *Graph) Hosts() []*VirtualHost {
	all := make([]*VirtualHost, 0, len(g.units))
	for _, host := range slices.Sorted(maps.Keys(g.units)) {
		all = append(all, g.units[host].vhost)
	}
	return all
}

// Memory is what every host serves now, for New after a restart, and what New
// was given of hosts that nobody has claimed yet: their source may not have
// been in reach. A host that was claimed and is no longer has none. The map is
// the caller's.
func (g *Graph) Memory() map[string]*VirtualHost {
	memory := make(map[string]*VirtualHost, len(g.units)+len(g.memory))
	maps.Copy(memory, g.memory)
	for host, u := range g.units {
		memory[host] = u.vhost
	}
	return memory
}

// Object is the object that the graph holds under the key, or nil. Objects that
// take no part are held too.
func (g *Graph) Object(key manifest.Key) *manifest.Object {
	if e := g.entries[key]; e != nil {
		return e.object
	}
	return nil
}

// Problems are all that is wrong now, in problem.Compare's order, with the
// origins that the objects have now.
func (g *Graph) Problems() []problem.Problem {
	var all []problem.Problem
	for host := range g.troubled {
		all = append(all, g.units[host].problems...)
	}
	for key := range g.flawed {
		all = append(all, g.entries[key].problems...)
	}
	for _, s := range g.served {
		all = append(all, s.problems...)
	}
	for _, x := range g.extensions {
		all = append(all, x.problems...)
	}
	if p, missing := g.rateLimitProblem(); missing {
		all = append(all, p)
	}
	for key := range g.children {
		if len(g.reached[key]) == 0 {
			all = append(all, g.orphaned(key))
		}
	}
	all = append(all, g.delegationProblems()...)
	for i := range all {
		g.place(&all[i])
	}
	return problem.Sort(all)
}

// place fills in where the objects of a problem are now. Problems are shared
// with the units, so Related is copied.
func (g *Graph) place(p *problem.Problem) {
	if e := g.entries[manifest.Key(p.Object)]; e != nil {
		p.Origin, p.Team = e.object.Origin, e.object.Team
	}
	p.Related = slices.Clone(p.Related)
	for i, r := range p.Related {
		if e := g.entries[manifest.Key(r.Object)]; e != nil {
			p.Related[i].Origin = e.object.Origin
		}
	}
}

// withoutNil is a copy, so that the caller may keep the map.
func withoutNil(memory map[string]*VirtualHost) map[string]*VirtualHost {
	out := make(map[string]*VirtualHost, len(memory))
	for host, v := range memory {
		if v != nil {
			out[host] = v
		}
	}
	return out
}

func addTo[K, V comparable](index map[K]map[V]struct{}, k K, v V) {
	if index[k] == nil {
		index[k] = map[V]struct{}{}
	}
	index[k][v] = struct{}{}
}

func removeFrom[K, V comparable](index map[K]map[V]struct{}, k K, v V) {
	delete(index[k], v)
	if len(index[k]) == 0 {
		delete(index, k)
	}
}
