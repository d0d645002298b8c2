package team

import (
	"fmt"
	"net/netip"
	"strings"

	discoveryv1 "k8s.io/api/discovery/v1"

	"isoline.dev/isoline/config"
	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

// endpoints: an EndpointSlice out of a repository points only where the
// platform allows, so that a commit cannot make the edge reach what its
// author cannot. Addresses elsewhere are left out.
func endpoints(p *Policy, t *config.Team, o *manifest.Object) (*manifest.Object, []problem.Problem) {
	v, ok := o.Value.(*discoveryv1.EndpointSlice)
	if !ok {
		return o, nil
	}
	var problems []problem.Problem
	kept := v.DeepCopy()
	kept.Endpoints = nil
	for i, e := range v.Endpoints {
		allowed := e.DeepCopy()
		allowed.Addresses = nil
		for j, text := range e.Addresses {
			if p.mayPoint(text) {
				allowed.Addresses = append(allowed.Addresses, text)
				continue
			}
			problems = append(problems, refuse(t, o, "EndpointNotAllowed", fmt.Sprintf("endpoints[%d].addresses[%d]", i, j),
				fmt.Sprintf("address %q is outside what endpoints may point to", text), p.endpointRemedy()))
		}
		if len(allowed.Addresses) > 0 {
			kept.Endpoints = append(kept.Endpoints, *allowed)
		}
	}
	if len(problems) == 0 {
		return o, nil
	}
	return &manifest.Object{Key: o.Key, Team: o.Team, Origin: o.Origin, Value: kept,
		Digest: o.Digest + partSuffix(problems)}, problems
}

// mayPoint reports whether an address may be an endpoint. Loopback and
// link-local addresses (where cloud metadata and this machine's own ports
// are) must be listed as such: 0.0.0.0/0 does not cover them.
func (p *Policy) mayPoint(text string) bool {
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return false
	}
	ip = ip.Unmap()
	special := ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsUnspecified()
	for _, prefix := range p.endpoints {
		if !prefix.Contains(ip) {
			continue
		}
		if first := prefix.Addr(); !special || first.IsLoopback() || first.IsLinkLocalUnicast() {
			return true
		}
	}
	return false
}

func (p *Policy) endpointRemedy() string {
	if len(p.endpoints) == 0 {
		return "the platform's configuration allows none: it lists CIDRs under endpoints.allow"
	}
	var list []string
	for _, prefix := range p.endpoints {
		list = append(list, prefix.String())
	}
	return "endpoints.allow of the platform's configuration lists " + strings.Join(list, ", ")
}
