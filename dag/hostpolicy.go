package dag

import (
	"reflect"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
)

// protect reads what holds for the whole host: what its HTTPProxy says, if one
// of those whose claims stand is one, and what the platform says. Where that
// asks for something that the host cannot have, it is blocked: nothing of it
// is served.
func (b *hostBuild) protect(accepted []*entry, vhost *VirtualHost) {
	var root *entry
	for _, e := range accepted {
		if e.proxy != nil {
			root = e
		}
	}
	if root == nil {
		b.policy, b.blocked = b.platformPolicy(accepted[0])
		vhost.Policy = b.policy
		return
	}
	var ok bool
	b.tls, ok = b.proxyTLS(root)
	var tcp *TCPProxy
	if root.proxy.Spec.TCPProxy != nil && b.tls != nil {
		tcp = b.tcpProxy(root)
		ok = ok && tcp != nil
	}
	policy, given := b.hostPolicy(root)
	if b.blocked = !ok || !given; !b.blocked {
		b.policy = policy
		vhost.TLS, vhost.TCP, vhost.Policy = b.tls, tcp, policy
	}
}

// platformPolicy is what holds for a host that has Ingresses alone. The entry
// is the one that problems are reported at.
func (b *hostBuild) platformPolicy(e *entry) (policy *HostPolicy, blocked bool) {
	a := actionReader{reader: b.reader, settings: b.settings, owner: e, field: hostField(e, b.host)}
	p := &HostPolicy{Authorization: a.hostAuthorization(nil)}
	b.problems = append(b.problems, a.problems...)
	return p.orNil(), a.withheld
}

// hostPolicy is what a root says for all of its host's routes, nil where it
// says nothing. It is not ok where a protection cannot be given.
func (b *hostBuild) hostPolicy(root *entry) (policy *HostPolicy, ok bool) {
	a := actionReader{reader: b.reader, settings: b.settings, owner: root, field: "spec.virtualhost"}
	v := root.proxy.Spec.VirtualHost
	p := &HostPolicy{CORS: a.cors(v.CORSPolicy), IPFilter: a.hostIPFilter(v)}
	p.LocalRateLimit, p.GlobalRateLimit = a.hostRateLimits(v.RateLimitPolicy)
	p.Authorization = a.hostAuthorization(v)
	p.JWT = a.hostJWT(v)
	if root.proxy.Spec.TCPProxy != nil {
		a.guardsTCP(v, p)
	}
	b.problems = append(b.problems, a.problems...)
	return p.orNil(), !a.withheld
}

// guardsTCP refuses what is asked of connections that are handed on as they
// are: all of it is about requests.
func (a *actionReader) guardsTCP(v *contourv1.VirtualHost, p *HostPolicy) {
	for _, of := range []struct {
		field string
		asked bool
	}{
		{".authorization", p.Authorization != nil && v.Authorization != nil},
		{".jwtProviders", p.JWT != nil},
		{".ipAllowPolicy", p.IPFilter != nil && p.IPFilter.Allow},
		{".ipDenyPolicy", p.IPFilter != nil && !p.IPFilter.Allow},
		{".rateLimitPolicy.local", p.LocalRateLimit != nil},
		{".rateLimitPolicy.global", p.GlobalRateLimit != nil && ownGlobalRateLimit(v.RateLimitPolicy)},
	} {
		if of.asked {
			a.withhold(contourv1.ConditionTypeTCPProxyError, "UnsupportedField", of.field,
				"%s does not protect the connections of a tcpproxy; the host is not served without it", of.field[1:])
		}
	}
}

// ownGlobalRateLimit reports whether a root itself asks for descriptors, as
// against the platform's default.
func ownGlobalRateLimit(p *contourv1.RateLimitPolicy) bool {
	return p != nil && p.Global != nil && len(p.Global.Descriptors) > 0
}

func (p *HostPolicy) orNil() *HostPolicy {
	if reflect.ValueOf(*p).IsZero() {
		return nil
	}
	return p
}
