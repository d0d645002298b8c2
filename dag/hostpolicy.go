package dag

import (
	"reflect"
)

// protect reads what holds for the whole host: what its HTTPProxy says, if one
// of those whose claims stand is one. Where that asks for something that it
// cannot have, the host is blocked: nothing of it is served.
func (b *hostBuild) protect(accepted []*entry, vhost *VirtualHost) {
	for _, e := range accepted {
		if e.proxy == nil {
			continue
		}
		var ok bool
		b.tls, ok = b.proxyTLS(e)
		ok = ok && !e.blocked.host
		var tcp *TCPProxy
		if e.proxy.Spec.TCPProxy != nil && b.tls != nil {
			tcp = b.tcpProxy(e)
			ok = ok && tcp != nil
		}
		policy, given := b.hostPolicy(e)
		if b.blocked = !ok || !given; !b.blocked {
			vhost.TLS, vhost.TCP, vhost.Policy = b.tls, tcp, policy
		}
	}
}

// hostPolicy is what a root says for all of its host's routes, nil where it
// says nothing. It is not ok where a protection of the host cannot be given:
// then nothing of the host is served.
func (b *hostBuild) hostPolicy(root *entry) (policy *HostPolicy, ok bool) {
	a := actionReader{reader: b.reader, settings: b.settings, owner: root, field: "spec.virtualhost"}
	v := root.proxy.Spec.VirtualHost
	p := &HostPolicy{CORS: a.cors(v.CORSPolicy), IPFilter: a.hostIPFilter(v)}
	p.LocalRateLimit, p.GlobalRateLimit = a.hostRateLimits(v.RateLimitPolicy)
	b.problems = append(b.problems, a.problems...)
	if reflect.ValueOf(*p).IsZero() {
		p = nil
	}
	return p, !a.withheld
}
