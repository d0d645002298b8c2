package xds

import (
	"fmt"
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacconfigv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"isoline.dev/isoline/dag"
)

// The filters that judge addresses; without a configuration of the host or
// route they let all pass. The first keeps an authorization server from being
// asked for those who may not come. The second judges by the route that the
// server's answer has led to.
const (
	ipFilterName      = "envoy.filters.http.rbac"
	ipFilterAgainName = "envoy.filters.http.rbac.again"
)

func ipFilter(f *dag.IPFilter) *rbacv3.RBACPerRoute {
	rules := &rbacconfigv3.RBAC{Action: rbacconfigv3.RBAC_DENY}
	if f.Allow {
		rules.Action = rbacconfigv3.RBAC_ALLOW
	}
	policy := &rbacconfigv3.Policy{
		Permissions: []*rbacconfigv3.Permission{{Rule: &rbacconfigv3.Permission_Any{Any: true}}},
	}
	for _, r := range f.Rules {
		block := cidrRange(netip.MustParsePrefix(r.Prefix))
		principal := &rbacconfigv3.Principal{Identifier: &rbacconfigv3.Principal_DirectRemoteIp{DirectRemoteIp: block}}
		if r.Remote {
			principal.Identifier = &rbacconfigv3.Principal_RemoteIp{RemoteIp: block}
		}
		policy.Principals = append(policy.Principals, principal)
	}
	rules.Policies = map[string]*rbacconfigv3.Policy{"ip": policy}
	return &rbacv3.RBACPerRoute{Rbac: &rbacv3.RBAC{Rules: rules}}
}

func cidrRange(p netip.Prefix) *corev3.CidrRange {
	return &corev3.CidrRange{AddressPrefix: p.Addr().String(), PrefixLen: wrapperspb.UInt32(uint32(p.Bits()))}
}

func checkIPFilter(f *dag.IPFilter) string {
	if len(f.Rules) == 0 {
		return "IP filter: it has no rules"
	}
	for _, r := range f.Rules {
		if p, err := netip.ParsePrefix(r.Prefix); err != nil || p.Addr().Zone() != "" {
			return fmt.Sprintf("IP filter: %.64q is not a block of addresses", r.Prefix)
		}
	}
	return ""
}
