package dag

import (
	"cmp"
	"maps"
	"net/netip"
	"reflect"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

// serviceName is what EndpointSlices are found by.
type serviceName struct{ namespace, name string }

func (s serviceName) compare(o serviceName) int {
	return cmp.Or(cmp.Compare(s.namespace, o.namespace), cmp.Compare(s.name, o.name))
}

// serviceEndpoints is the unit beside the hosts: the endpoints of one
// Service. Hosts do not read endpoints and endpoints do not read hosts.
type serviceEndpoints struct {
	byPort   map[EndpointsKey]*Endpoints
	problems []problem.Problem
}

// rebuildEndpoints computes one Service's endpoints again.
func (g *Graph) rebuildEndpoints(name serviceName, delta *Delta) {
	old := g.served[name]
	if old == nil {
		old = &serviceEndpoints{}
	}
	now := g.endpointsOf(name)
	for key := range old.byPort {
		if now.byPort[key] == nil {
			delta.Endpoints[key] = nil
		}
	}
	for key, endpoints := range now.byPort {
		if before := old.byPort[key]; before != nil && reflect.DeepEqual(before, endpoints) {
			now.byPort[key] = before
			continue
		}
		delta.Endpoints[key] = endpoints
	}
	if len(now.byPort) == 0 && len(now.problems) == 0 {
		delete(g.served, name)
		return
	}
	g.served[name] = now
}

// endpointsOf joins a Service's TCP ports with the EndpointSlices that carry
// its name.
func (g *Graph) endpointsOf(name serviceName) *serviceEndpoints {
	s := &serviceEndpoints{byPort: map[EndpointsKey]*Endpoints{}}
	for _, key := range slices.SortedFunc(maps.Keys(g.slices[name]), manifest.Key.Compare) {
		s.check(g.entries[key])
	}
	e := g.entries[manifest.Key{Kind: manifest.Service, Namespace: name.namespace, Name: name.name}]
	if e == nil || e.service == nil || e.service.Spec.Type == corev1.ServiceTypeExternalName {
		return s
	}
	for _, port := range e.service.Spec.Ports {
		if !tcp(port) {
			continue
		}
		s.add(EndpointsKey{Namespace: name.namespace, Service: name.name, PortName: port.Name}, g.addresses(name, port.Name, nil))
	}
	for key := range g.probed[name] {
		port, err := findPort(e.service, "", portRef{number: key.HealthPort})
		if err == nil && s.byPort[key.serving()] != nil {
			s.add(key, g.addresses(name, key.PortName, &port.Name))
		}
	}
	return s
}

func (s *serviceEndpoints) add(key EndpointsKey, addresses []Address) {
	slices.SortFunc(addresses, Address.compare)
	s.byPort[key] = &Endpoints{Key: key, Addresses: slices.Compact(addresses)}
}

// addresses are the ready ones of a Service's port. With the name of a health
// port each has that as well, where its EndpointSlice lists it.
func (g *Graph) addresses(name serviceName, portName string, healthPort *string) []Address {
	all := []Address{}
	for key := range g.slices[name] {
		slice := g.entries[key].slice
		probed := []uint32{0}
		if healthPort != nil {
			probed = append(slicePorts(slice, *healthPort), 0)
		}
		for _, port := range slicePorts(slice, portName) {
			all = append(all, readyAddresses(slice, port, probed[0])...)
		}
	}
	return all
}

func (a Address) compare(o Address) int {
	return cmp.Or(cmp.Compare(a.IP, o.IP), cmp.Compare(a.Port, o.Port), cmp.Compare(a.HealthPort, o.HealthPort))
}

// check reports addresses that cannot be served.
func (s *serviceEndpoints) check(e *entry) {
	if e.slice.AddressType == discoveryv1.AddressTypeFQDN {
		s.problems = append(s.problems, errorIn(e, endpointSliceError, "UnsupportedAddressType", "addressType",
			"endpoints of address type FQDN are not supported; only IPv4 and IPv6 are served"))
		return
	}
	for _, endpoint := range e.slice.Endpoints {
		for _, address := range endpoint.Addresses {
			if _, ok := readIP(address); !ok {
				s.problems = append(s.problems, errorIn(e, endpointSliceError, "AddressNotValid", "endpoints",
					"%q is not an IP address; it is left out", address))
			}
		}
	}
}

// slicePorts are the numbers of a slice's TCP ports with the name.
func slicePorts(slice *discoveryv1.EndpointSlice, name string) []uint32 {
	var all []uint32
	for _, port := range slice.Ports {
		if deref(port.Name) == name && port.Port != nil && *port.Port >= 1 && *port.Port <= 65535 &&
			(port.Protocol == nil || *port.Protocol == corev1.ProtocolTCP) {
			all = append(all, uint32(*port.Port))
		}
	}
	return all
}

// readyAddresses are the ready endpoints of a slice on a port. Readiness that
// is not known counts as ready, as Kubernetes defines it.
func readyAddresses(slice *discoveryv1.EndpointSlice, port, healthPort uint32) []Address {
	if slice.AddressType == discoveryv1.AddressTypeFQDN {
		return nil
	}
	var all []Address
	for _, endpoint := range slice.Endpoints {
		if endpoint.Conditions.Ready != nil && !*endpoint.Conditions.Ready {
			continue
		}
		for _, address := range endpoint.Addresses {
			if ip, ok := readIP(address); ok {
				all = append(all, Address{IP: ip, Port: port, HealthPort: healthPort})
			}
		}
	}
	return all
}

// readIP is the address in its canonical form. Zones mean nothing to Envoy.
func readIP(address string) (string, bool) {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Zone() != "" {
		return "", false
	}
	return ip.String(), true
}

// serving is the key of the same endpoints without a health port.
func (k EndpointsKey) serving() EndpointsKey {
	k.HealthPort = 0
	return k
}

// probes are the endpoints with a health port of their own that a host uses.
// Only these depend on routes: to have them for every two ports of every
// Service would be their square.
func (v *VirtualHost) probes(yield func(EndpointsKey)) {
	if v == nil {
		return
	}
	probed := func(list []WeightedCluster) {
		for _, w := range list {
			if w.Cluster.HealthPort != 0 && w.Cluster.ExternalName == "" {
				yield(w.Cluster.EndpointsKey())
			}
		}
	}
	for _, r := range v.Routes {
		probed(r.Action.Clusters)
		if m := r.Action.Mirror; m != nil {
			probed([]WeightedCluster{{Cluster: m.Cluster}})
		}
	}
	if v.TCP != nil {
		probed(v.TCP.Clusters)
	}
}

// countProbes enters that n hosts more use what v does, and marks the Services
// for which that makes a difference.
func (g *Graph) countProbes(v *VirtualHost, n int, d *dirty) {
	v.probes(func(key EndpointsKey) {
		name := serviceName{key.Namespace, key.Service}
		counts := g.probed[name]
		if counts == nil {
			counts = map[EndpointsKey]int{}
			g.probed[name] = counts
		}
		before := counts[key]
		counts[key] += n
		if (before == 0) != (counts[key] == 0) {
			d.services[name] = struct{}{}
		}
		if counts[key] == 0 {
			delete(counts, key)
		}
		if len(counts) == 0 {
			delete(g.probed, name)
		}
	})
}

// Endpoints are those of every TCP port of every Service, and those of every
// ExtensionService, sorted by key.
func (g *Graph) Endpoints() []*Endpoints {
	var all []*Endpoints
	for _, s := range g.served {
		for _, endpoints := range s.byPort {
			all = append(all, endpoints)
		}
	}
	for _, x := range g.extensions {
		all = append(all, x.endpoints)
	}
	slices.SortFunc(all, func(a, b *Endpoints) int { return a.Key.Compare(b.Key) })
	return all
}
