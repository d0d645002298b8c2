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
		key := EndpointsKey{Namespace: name.namespace, Service: name.name, PortName: port.Name}
		addresses := []Address{}
		for slice := range g.slices[name] {
			addresses = append(addresses, readyAddresses(g.entries[slice].slice, port.Name)...)
		}
		slices.SortFunc(addresses, Address.compare)
		s.byPort[key] = &Endpoints{Key: key, Addresses: slices.Compact(addresses)}
	}
	return s
}

func (a Address) compare(o Address) int {
	return cmp.Or(cmp.Compare(a.IP, o.IP), cmp.Compare(a.Port, o.Port))
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

// readyAddresses are the ready endpoints of a slice on the named port.
// Readiness that is not known counts as ready, as Kubernetes defines it.
func readyAddresses(slice *discoveryv1.EndpointSlice, portName string) []Address {
	if slice.AddressType == discoveryv1.AddressTypeFQDN {
		return nil
	}
	var all []Address
	for _, port := range slice.Ports {
		if deref(port.Name) != portName || port.Port == nil || *port.Port < 1 || *port.Port > 65535 ||
			port.Protocol != nil && *port.Protocol != corev1.ProtocolTCP {
			continue
		}
		for _, endpoint := range slice.Endpoints {
			if endpoint.Conditions.Ready != nil && !*endpoint.Conditions.Ready {
				continue
			}
			for _, address := range endpoint.Addresses {
				if ip, ok := readIP(address); ok {
					all = append(all, Address{IP: ip, Port: uint32(*port.Port)})
				}
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

// Endpoints are those of every TCP port of every Service, sorted by key.
func (g *Graph) Endpoints() []*Endpoints {
	var all []*Endpoints
	for _, s := range g.served {
		for _, endpoints := range s.byPort {
			all = append(all, endpoints)
		}
	}
	slices.SortFunc(all, func(a, b *Endpoints) int { return a.Key.Compare(b.Key) })
	return all
}
