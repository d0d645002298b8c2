package xds

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
)

// modelEnvoy behaves on a session as Envoy was measured to behave on a stream,
// one step at a time. It checks what it is sent against what must never
// happen and calls violated with what did.
type modelEnvoy struct {
	cache    *Cache
	node     string
	limits   limits
	now      time.Time
	violated func(string)

	session  *session
	watcher  *watcher
	toServer []*discoveryv3.DeltaDiscoveryRequest
	toEnvoy  []*delivery
	asked    [kinds]bool

	clusters  map[string]*modelCluster
	endpoints map[string]string // by watched name; "" while there are none
	listeners map[string]modelListener
	scopes    map[string]modelScope
	routes    map[string]*modelRoute // by watched name
	heldBack  []*discoveryv3.DeltaDiscoveryRequest
	nacked    map[key]bool
	// doubtful are the probed clusters from before the stream: they may be sent
	// once more, to learn whether they are warm.
	doubtful map[string]bool

	// hung clusters are not warm before healthy is called. A lenient Envoy does
	// not mind routes to clusters that are not warm.
	hung    map[string]bool
	lenient bool
	// received are what was sent, as "type name" and "-type name" for removals,
	// and bytes how many it took.
	received []string
	bytes    int
	// responses are the same, response by response.
	responses [][]string
}

type modelCluster struct {
	version, endpoints string
	probed             bool
	warming            bool // waits for its endpoints
	// active says that a version before this one was warm: it serves on until
	// this one is.
	active bool
}

type modelListener struct {
	version  string
	clusters []string
}

type modelScope struct{ version, route string }

type modelRoute struct {
	version  string // "" while there is none
	clusters []string
}

func newModelEnvoy(c *Cache, node string, violated func(string)) *modelEnvoy {
	e := &modelEnvoy{
		cache: c, node: node, violated: violated,
		limits:    limits{warmGrace: time.Hour, names: 1 << 20, bytes: 1 << 20, inFlight: 4096},
		now:       time.Unix(1_000_000, 0),
		clusters:  map[string]*modelCluster{},
		endpoints: map[string]string{},
		listeners: map[string]modelListener{},
		scopes:    map[string]modelScope{},
		routes:    map[string]*modelRoute{},
		nacked:    map[key]bool{},
		hung:      map[string]bool{},
	}
	return e
}

// connect opens a stream, in place of the one that was open, to a cache.
func (e *modelEnvoy) connect(c *Cache) {
	e.disconnect()
	e.cache = c
	e.session = newSession(c, e.node, e.limits)
	e.watcher = c.watch()
	e.asked = [kinds]bool{}
	if len(e.listeners) == 0 { // nothing asks for them any more
		clear(e.scopes)
		clear(e.routes)
	}
	e.doubtful = map[string]bool{}
	for n, c := range e.clusters {
		e.doubtful[n] = c.probed
	}
	e.ask(kindCluster, nil, nil)
	if len(e.endpoints) > 0 {
		e.ask(kindEndpoints, slices.Sorted(maps.Keys(e.endpoints)), nil)
	}
	e.ask(kindListener, nil, nil)
	if len(e.listeners) > 0 {
		e.ask(kindScope, nil, nil)
	}
	if len(e.routes) > 0 {
		e.ask(kindRoute, slices.Sorted(maps.Keys(e.routes)), nil)
	}
}

func (e *modelEnvoy) disconnect() {
	if e.watcher != nil {
		e.cache.unwatch(e.watcher)
	}
	e.session, e.watcher, e.toServer, e.toEnvoy, e.heldBack = nil, nil, nil, nil, nil
	clear(e.nacked)
}

// ask changes a subscription; the first time it says what is held.
func (e *modelEnvoy) ask(k kind, names, not []string) {
	req := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: typeURLs[k], ResourceNamesSubscribe: names, ResourceNamesUnsubscribe: not}
	if !e.asked[k] {
		e.asked[k] = true
		req.InitialResourceVersions = e.held(k)
	}
	e.toServer = append(e.toServer, req)
}

func (e *modelEnvoy) held(k kind) map[string]string {
	held := map[string]string{}
	switch k {
	case kindCluster:
		for n, c := range e.clusters {
			held[n] = c.version
		}
	case kindEndpoints:
		maps.Copy(held, e.endpoints)
	case kindListener:
		for n, l := range e.listeners {
			held[n] = l.version
		}
	case kindScope:
		for n, s := range e.scopes {
			held[n] = s.version
		}
	case kindRoute:
		for n, r := range e.routes {
			held[n] = r.version
		}
	}
	maps.DeleteFunc(held, func(_, v string) bool { return v == "" })
	return held
}

// serve lets the server look at the changes and send one response.
func (e *modelEnvoy) serve() bool {
	select {
	case <-e.watcher.wake:
	default:
	}
	changes, _ := e.cache.changes(e.watcher)
	e.session.update(e.now, changes, e.watcher.keep.Load())
	d := e.session.next(e.now)
	if d == nil {
		return false
	}
	e.toEnvoy = append(e.toEnvoy, d)
	return true
}

// request lets the server take in one request.
func (e *modelEnvoy) request() bool {
	if len(e.toServer) == 0 {
		return false
	}
	req := e.toServer[0]
	e.toServer = e.toServer[1:]
	if err := e.session.request(e.now, req); err != nil {
		e.violated(err.Error())
	}
	return true
}

// run does everything that there is to do, but for what hangs.
func (e *modelEnvoy) run() {
	for i := 0; e.request() || e.serve() || e.deliver(); i++ {
		if i > 1_000_000 {
			e.violated("it never ends")
			return
		}
	}
}

// healthy ends what hangs: health checks, and the wait for endpoints, which
// Envoy gives up after a time.
func (e *modelEnvoy) healthy() {
	clear(e.hung)
	for _, c := range e.clusters {
		c.warming = false
	}
	e.release()
}

// deliver lets the Envoy take in one response.
func (e *modelEnvoy) deliver() bool {
	if len(e.toEnvoy) == 0 {
		return false
	}
	d := e.toEnvoy[0]
	e.toEnvoy = e.toEnvoy[1:]
	e.bytes += proto.Size(d.DeltaDiscoveryResponse)
	k, _ := kindOf(d.TypeUrl)
	req := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: d.TypeUrl, ResponseNonce: d.Nonce}
	e.note(k, d)
	ask := len(e.toServer)
	if bad := e.take(k, d); bad != "" {
		req.ErrorDetail = &statuspb.Status{Code: 13, Message: bad}
		for _, r := range d.Resources {
			e.nacked[key{k, r.Name}] = true
		}
	} else {
		for _, r := range d.Resources {
			delete(e.nacked, key{k, r.Name})
		}
	}
	if k == kindCluster {
		e.heldBack = append(e.heldBack, req)
		e.release()
		return true
	}
	// The answer goes before what it makes the Envoy ask for.
	e.toServer = slices.Insert(e.toServer, ask, req)
	e.release()
	return true
}

// hangs reports whether a cluster is not warm.
func (e *modelEnvoy) hangs() bool {
	for n, c := range e.clusters {
		if c.warming || e.hung[n] {
			return true
		}
	}
	return false
}

// release answers CDS responses, unless a cluster is warming.
func (e *modelEnvoy) release() {
	if e.hangs() {
		return
	}
	e.toServer = append(e.toServer, e.heldBack...)
	e.heldBack = nil
}

// note remembers what was sent, and minds what is sent for nothing.
func (e *modelEnvoy) note(k kind, d *delivery) {
	name := shortNames[k]
	held := e.held(k)
	var all []string
	for _, r := range d.Resources {
		all = append(all, name+" "+r.Name)
		if k != kindEndpoints && held[r.Name] == r.Version && !e.nacked[key{k, r.Name}] && !(k == kindCluster && e.doubtful[r.Name]) {
			e.violated(fmt.Sprintf("%s %s is sent again, unchanged", name, r.Name))
		}
		if k == kindCluster {
			delete(e.doubtful, r.Name)
		}
	}
	for _, n := range d.RemovedResources {
		all = append(all, "-"+name+" "+n)
	}
	e.received = append(e.received, all...)
	e.responses = append(e.responses, all)
	if k == kindRoute && len(d.Resources) > 1 {
		e.violated("two route configurations in a response")
	}
}

var shortNames = [kinds]string{"cds", "eds", "sds", "lds", "srds", "rds"}

func (e *modelEnvoy) take(k kind, d *delivery) (bad string) {
	for _, n := range d.RemovedResources {
		e.remove(k, n)
	}
	for _, r := range d.Resources {
		m, err := r.Resource.UnmarshalNew()
		if err != nil {
			e.violated(err.Error())
		}
		switch m := m.(type) {
		case *clusterv3.Cluster:
			if m.AltStatName == "bad" {
				bad = "a bad cluster"
				continue // the good ones are taken
			}
			e.takeCluster(m, r.Version)
		case *endpointv3.ClusterLoadAssignment:
			if m.GetPolicy().GetWeightedPriorityHealth() {
				bad = "bad endpoints"
				continue
			}
			e.takeEndpoints(r.Name, r.Version)
		case *listenerv3.Listener:
			if m.StatPrefix == "bad" {
				bad = "a bad listener"
				continue
			}
			e.takeListener(m, r.Version)
			if !e.asked[kindScope] {
				e.ask(kindScope, nil, nil)
			}
		case *routev3.ScopedRouteConfiguration:
			e.takeScope(m, r.Version)
		case *routev3.RouteConfiguration:
			if m.VirtualHosts[0].Name == "bad" {
				return "a bad route"
			}
			e.takeRoute(m, r.Version)
		}
	}
	return bad
}

func (e *modelEnvoy) remove(k kind, name string) {
	switch k {
	case kindCluster:
		for route, r := range e.routes {
			if slices.Contains(r.clusters, name) && !e.lenient {
				e.violated(fmt.Sprintf("cluster %s is removed while route %s leads to it", name, route))
			}
		}
		for listener, l := range e.listeners {
			if slices.Contains(l.clusters, name) && !e.lenient {
				e.violated(fmt.Sprintf("cluster %s is removed while listener %s leads to it", name, listener))
			}
		}
		c := e.clusters[name]
		delete(e.clusters, name)
		delete(e.hung, name)
		if c != nil && c.endpoints != "" && !e.watches(c.endpoints) {
			delete(e.endpoints, c.endpoints)
			e.ask(kindEndpoints, nil, []string{c.endpoints})
		}
	case kindEndpoints:
		e.takeEndpoints(name, "")
	case kindListener:
		delete(e.listeners, name)
	case kindScope:
		if s, ok := e.scopes[name]; ok {
			delete(e.scopes, name)
			delete(e.routes, s.route)
			e.ask(kindRoute, nil, []string{s.route})
		}
	case kindRoute:
		if r := e.routes[name]; r != nil && r.version != "" {
			e.violated(fmt.Sprintf("route %s is removed before its scope", name))
		}
	}
}

func (e *modelEnvoy) watches(endpoints string) bool {
	for _, c := range e.clusters {
		if c.endpoints == endpoints {
			return true
		}
	}
	return false
}

func (e *modelEnvoy) takeCluster(m *clusterv3.Cluster, version string) {
	if have := e.clusters[m.Name]; have != nil && have.version == version {
		return
	}
	c := &modelCluster{
		version: version, endpoints: m.GetEdsClusterConfig().GetServiceName(), warming: true,
		probed: len(m.HealthChecks) > 0, active: e.usable(m.Name),
	}
	delete(e.hung, m.Name)
	e.clusters[m.Name] = c
	if len(m.HealthChecks) > 0 && strings.Contains(m.AltStatName, "hangs") {
		e.hung[m.Name] = true
	}
	if _, watched := e.endpoints[c.endpoints]; !watched {
		e.endpoints[c.endpoints] = ""
		e.ask(kindEndpoints, []string{c.endpoints}, nil)
	}
}

// usable reports whether requests can be sent to a cluster.
func (e *modelEnvoy) usable(name string) bool {
	c := e.clusters[name]
	return c != nil && (c.active || !c.warming && !e.hung[name])
}

func (e *modelEnvoy) takeEndpoints(name, version string) {
	if _, watched := e.endpoints[name]; !watched {
		return
	}
	e.endpoints[name] = version
	for _, c := range e.clusters {
		if c.endpoints == name {
			c.warming = false
		}
	}
}

func (e *modelEnvoy) takeListener(m *listenerv3.Listener, version string) {
	l := modelListener{version: version}
	for _, chain := range m.FilterChains {
		l.clusters = append(l.clusters, chain.Name)
		if !e.usable(chain.Name) && !e.lenient {
			e.violated(fmt.Sprintf("listener %s comes before its cluster %s is warm", m.Name, chain.Name))
		}
	}
	e.listeners[m.Name] = l
}

func (e *modelEnvoy) takeScope(m *routev3.ScopedRouteConfiguration, version string) {
	have, known := e.scopes[m.Name]
	e.scopes[m.Name] = modelScope{version, m.RouteConfigurationName}
	if known && have.route == m.RouteConfigurationName {
		return
	}
	if known {
		delete(e.routes, have.route)
		e.ask(kindRoute, nil, []string{have.route})
	}
	e.routes[m.RouteConfigurationName] = &modelRoute{}
	e.ask(kindRoute, []string{m.RouteConfigurationName}, nil)
}

func (e *modelEnvoy) takeRoute(m *routev3.RouteConfiguration, version string) {
	r := e.routes[m.Name]
	if r == nil {
		return
	}
	r.version, r.clusters = version, nil
	for _, route := range m.VirtualHosts[0].Routes {
		name := route.GetRoute().GetCluster()
		r.clusters = append(r.clusters, name)
		if !e.usable(name) && !e.lenient {
			e.violated(fmt.Sprintf("route %s comes before its cluster %s is warm", m.Name, name))
		}
	}
}

// The resources that a modelEnvoy understands.

func must(m proto.Message) *Resource {
	r, err := NewResource(m)
	if err != nil {
		panic(err)
	}
	return r
}

// plainCluster is a cluster whose content is text: "bad" is refused, and one
// with "check" is probed before it is warm.
func plainCluster(name, endpoints, text string) *Cluster {
	m := &clusterv3.Cluster{
		Name: name, AltStatName: text,
		EdsClusterConfig: &clusterv3.Cluster_EdsClusterConfig{ServiceName: endpoints},
	}
	checked := strings.Contains(text, "check")
	if checked {
		m.HealthChecks = []*corev3.HealthCheck{{}}
	}
	return &Cluster{Resource: must(m), Endpoints: endpoints, SlowToWarm: checked}
}

// plainUnit is a unit with one scope and one route configuration of its name.
func plainUnit(name, text string, clusters ...*Cluster) *Unit {
	rc := &routev3.RouteConfiguration{Name: name, VirtualHosts: []*routev3.VirtualHost{{Name: text}}}
	for _, c := range clusters {
		rc.VirtualHosts[0].Routes = append(rc.VirtualHosts[0].Routes, &routev3.Route{
			Action: &routev3.Route_Route{Route: &routev3.RouteAction{
				ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: c.Name()},
			}},
		})
	}
	return &Unit{
		Name: name, Clusters: clusters, Routes: []*Resource{must(rc)},
		Scopes: []*Resource{must(&routev3.ScopedRouteConfiguration{Name: name, RouteConfigurationName: name})},
	}
}

func plainEndpoints(name, text string) *Resource {
	m := &endpointv3.ClusterLoadAssignment{ClusterName: name, Policy: &endpointv3.ClusterLoadAssignment_Policy{}}
	if text == "bad" {
		m.Policy.WeightedPriorityHealth = true
	} else {
		m.NamedEndpoints = map[string]*endpointv3.Endpoint{text: {}}
	}
	return must(m)
}

// plainListener is a listener that leads to clusters without routes.
func plainListener(name, text string, clusters ...*Cluster) *Unit {
	l := &listenerv3.Listener{Name: name, StatPrefix: text}
	for _, c := range clusters {
		l.FilterChains = append(l.FilterChains, &listenerv3.FilterChain{Name: c.Name()})
	}
	return &Unit{Name: ListenerUnit(name), Clusters: clusters, Listeners: []*Resource{must(l)}}
}

func byName(list ...*Resource) map[string]*Resource {
	m := map[string]*Resource{}
	for _, r := range list {
		m[r.Name()] = r
	}
	return m
}

func units(list ...*Unit) map[string]*Unit {
	m := map[string]*Unit{}
	for _, u := range list {
		m[u.Name] = u
	}
	return m
}
