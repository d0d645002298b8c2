package xds

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

	"isoline.dev/isoline/dag"
	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

// TranslateEndpoints turns the ready addresses of a Service port into what
// Envoy is sent for them, under the name e.Key.String(). No addresses is a
// valid and empty assignment. An address that is not an IP with a port is a
// problem and fails the whole, so that what Envoy has stays: with a part of
// the endpoints, the rest would take all the requests.
func TranslateEndpoints(e *dag.Endpoints) (*Resource, []problem.Problem) {
	cla, err := loadAssignment(e)
	if err == nil {
		var r *Resource
		if r, err = NewResource(cla); err == nil {
			return r, nil
		}
	}
	return nil, []problem.Problem{{
		Severity: problem.Error, Type: "EndpointsError", Reason: ProblemReason,
		Message: err.Error(),
		Object:  problem.Object{Kind: manifest.Service, Namespace: e.Key.Namespace, Name: e.Key.Service},
	}}
}

func loadAssignment(e *dag.Endpoints) (*endpointv3.ClusterLoadAssignment, error) {
	cla := &endpointv3.ClusterLoadAssignment{ClusterName: e.Key.String()}
	all, err := lbEndpoints(e.Addresses)
	if err == nil && len(all) > 0 {
		cla.Endpoints = []*endpointv3.LocalityLbEndpoints{{LbEndpoints: all}}
	}
	sum := uint64(0)
	for i := range e.Shares {
		if sum += uint64(e.Shares[i].Weight); err == nil && sum > math.MaxUint32 {
			err = fmt.Errorf("the weights add up to more than %d", uint32(math.MaxUint32))
		}
		if err == nil {
			all, err = lbEndpoints(e.Shares[i].Addresses)
			cla.Endpoints = append(cla.Endpoints, localityOf(&e.Shares[i], all))
		}
	}
	if err == nil {
		err = cla.ValidateAll()
	}
	if err != nil {
		return nil, fmt.Errorf("endpoints %s: %w", e.Key, err)
	}
	return cla, nil
}

// lbEndpoints are the addresses in a fixed order, without repeats.
func lbEndpoints(addresses []dag.Address) ([]*endpointv3.LbEndpoint, error) {
	addresses = slices.Clone(addresses)
	slices.SortFunc(addresses, func(a, b dag.Address) int {
		return cmp.Or(cmp.Compare(a.IP, b.IP), cmp.Compare(a.Port, b.Port), cmp.Compare(a.HealthPort, b.HealthPort))
	})
	var all []*endpointv3.LbEndpoint
	for _, a := range slices.Compact(addresses) {
		for _, port := range []uint32{a.Port, cmp.Or(a.HealthPort, a.Port)} {
			if why := checkAddress(a.IP, port); why != "" {
				return nil, errors.New(why)
			}
		}
		all = append(all, lbEndpoint(a.IP, a.Port, a.HealthPort))
	}
	return all, nil
}

func socketAddress(address string, port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address:       address,
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}

// checkAddress says what is wrong with an address and port, if anything.
func checkAddress(address string, port uint32) string {
	ip, err := netip.ParseAddr(address)
	switch {
	case err != nil:
		return fmt.Sprintf("%q is not an IP address", address)
	case ip.Zone() != "":
		return fmt.Sprintf("%q has a zone, which means nothing to another host", address)
	case port < 1 || port > 65535:
		return fmt.Sprintf("port %d of %s is not between 1 and 65535", port, address)
	}
	return ""
}
