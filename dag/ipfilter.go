package dag

import (
	"errors"
	"net/netip"
	"strconv"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
)

// IPFilter lets requests pass by their address. An Allow filter lets those
// pass that match a rule; any other those that match none.
type IPFilter struct {
	Allow bool     `json:"allow,omitempty"`
	Rules []IPRule `json:"rules"`
}

// IPRule matches addresses.
type IPRule struct {
	// Prefix is a canonical CIDR block.
	Prefix string `json:"prefix"`
	// Remote compares the client's address, as trusted proxies tell it; else
	// the rule compares the address of the connection itself.
	Remote bool `json:"remote,omitempty"`
}

// hostIPFilter is the filter of a root; nil where it has none.
func (a *actionReader) hostIPFilter(v *contourv1.VirtualHost) *IPFilter {
	if len(v.IPAllowFilterPolicy) > 0 && len(v.IPDenyFilterPolicy) > 0 {
		a.withhold(contourv1.ConditionTypeIPFilterError, "IncompatibleIPAddressFilters", ".ipAllowPolicy",
			"Spec.VirtualHost.IPAllowFilterPolicy and Spec.VirtualHost.IPDepnyFilterPolicy cannot both be defined.")
		return nil
	}
	return a.ipFilter(v.IPAllowFilterPolicy, v.IPDenyFilterPolicy,
		"Spec.VirtualHost.IPAllowFilterPolicy or Spec.VirtualHost.IPDenyFilterPolicy is invalid: ")
}

// routeIPFilter is what stands in place of the host's filter; nil where the
// route has none of its own.
func (a *actionReader) routeIPFilter(r *contourv1.Route) *IPFilter {
	if len(r.IPAllowFilterPolicy) > 0 && len(r.IPDenyFilterPolicy) > 0 {
		a.withhold(contourv1.ConditionTypeIPFilterError, "IncompatibleIPAddressFilters", ".ipAllowPolicy",
			"cannot specify both `ipAllowPolicy` and `ipDenyPolicy`")
		return nil
	}
	return a.ipFilter(r.IPAllowFilterPolicy, r.IPDenyFilterPolicy, "")
}

// ipFilter reads the list that is set; prefix begins the message about an
// entry that is wrong in anything but its block.
func (a *actionReader) ipFilter(allow, deny []contourv1.IPFilterPolicy, prefix string) *IPFilter {
	list, field := deny, ".ipDenyPolicy"
	if len(allow) > 0 {
		list, field = allow, ".ipAllowPolicy"
	}
	if len(list) == 0 {
		return nil
	}
	filter := &IPFilter{Allow: len(allow) > 0}
	for i, p := range list {
		at := field + "[" + strconv.Itoa(i) + "]"
		block, err := readPrefix(p.CIDR)
		if err != nil {
			a.withhold(contourv1.ConditionTypeIPFilterError, "InvalidCIDR", at+".cidr", "%s failed to parse: %s", p.CIDR, err)
		}
		if p.Source != contourv1.IPFilterSourcePeer && p.Source != contourv1.IPFilterSourceRemote {
			a.withhold(contourv1.ConditionTypeIPFilterError, "IPFilterPolicyNotValid", at+".source",
				"%sinvalid source %q, must be Peer or Remote", prefix, p.Source)
		}
		filter.Rules = append(filter.Rules, IPRule{Prefix: block.String(), Remote: p.Source == contourv1.IPFilterSourceRemote})
	}
	return filter
}

// readPrefix reads a CIDR block, or an address for a block of one. IPv4 in
// IPv6's clothes is IPv4: so Envoy sees the connections that it stands for.
func readPrefix(s string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		addr, notAddr := netip.ParseAddr(s)
		if notAddr != nil {
			return netip.Prefix{}, err
		}
		if addr.Zone() != "" {
			return netip.Prefix{}, errors.New("an address with a zone is of no use here")
		}
		prefix = netip.PrefixFrom(addr, addr.BitLen())
	}
	if addr := prefix.Addr(); addr.Is4In6() && prefix.Bits() >= 96 {
		prefix = netip.PrefixFrom(addr.Unmap(), prefix.Bits()-96)
	}
	return prefix.Masked(), nil
}
