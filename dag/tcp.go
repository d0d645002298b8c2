package dag

import (
	"slices"
	"strconv"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"

	"isoline.dev/isoline/manifest"
)

// TCPProxy forwards the connections of a host, after TLS where it is
// terminated, instead of routing requests.
type TCPProxy struct {
	// Owner holds the services; it is the last of Chain, which starts at the root.
	Owner    manifest.Key      `json:"owner"`
	Field    string            `json:"field,omitempty"`
	Chain    []manifest.Key    `json:"chain"`
	Clusters []WeightedCluster `json:"clusters"`
}

const tcpField = "spec.tcpproxy"

// tcpProxy follows a root's tcpproxy to the proxy that holds the services. It
// is nil where the connections lead nowhere, which is reported.
func (b *hostBuild) tcpProxy(root *entry) *TCPProxy {
	at, chain := root, []manifest.Key{root.key()}
	for {
		spec := at.proxy.Spec.TCPProxy
		if spec == nil { // a child without one
			spec = &contourv1.TCPProxy{}
		}
		include, field := tcpInclude(spec)
		fail := func(typ, reason, field, format string, args ...any) *TCPProxy {
			b.report(errorIn(at, typ, reason, field, format, args...))
			return nil
		}
		switch {
		case len(spec.Services) > 0 && include != nil:
			return fail(contourv1.ConditionTypeTCPProxyError, "NoServicesAndInclude", tcpField,
				"cannot specify services and include in the same httpproxy")
		case len(spec.Services) > 0:
			return b.tcpServices(at, chain)
		case include == nil:
			return fail(contourv1.ConditionTypeTCPProxyError, "NothingDefined", tcpField,
				"either services or inclusion must be specified")
		}
		child := manifest.Key{
			Kind: manifest.HTTPProxy, Namespace: or(include.Namespace, at.key().Namespace), Name: include.Name,
		}
		e := b.reader.object(child)
		switch {
		case e == nil || e.proxy == nil:
			return fail(contourv1.ConditionTypeTCPProxyIncludeError, "IncludeNotFound", field,
				"include %s/%s not found", child.Namespace, child.Name)
		case e.proxy.Spec.VirtualHost != nil:
			return fail(contourv1.ConditionTypeTCPProxyIncludeError, "RootIncludesRoot", field,
				"root httpproxy cannot include another root httpproxy (%s/%s)", child.Namespace, child.Name)
		case slices.Contains(chain, child):
			return fail(contourv1.ConditionTypeTCPProxyIncludeError, "IncludeCreatesCycle", field,
				"include creates a cycle: %s", cycle(chain, child))
		case !e.admits(at.key()):
			b.report(notPermitted(at, e, contourv1.ConditionTypeTCPProxyIncludeError, field))
			return nil
		}
		b.reach(root.key(), child, Match{})
		at, chain = e, append(slices.Clip(chain), child)
	}
}

// tcpInclude is the include and where it stands: under its name, or under the
// one that is deprecated.
func tcpInclude(p *contourv1.TCPProxy) (*contourv1.TCPProxyInclude, string) {
	if p.Include != nil {
		return p.Include, tcpField + ".include"
	}
	return p.IncludesDeprecated, tcpField + ".includes"
}

// tcpServices reads the services of a tcpproxy.
func (b *hostBuild) tcpServices(e *entry, chain []manifest.Key) *TCPProxy {
	spec := e.proxy.Spec.TCPProxy
	a := actionReader{reader: b.reader, settings: b.settings, owner: e, field: tcpField}
	defer func() { b.problems = append(b.problems, a.problems...) }()
	check, err := readTCPHealthCheck(spec.HealthCheckPolicy)
	if err != nil {
		a.fail(contourv1.ConditionTypeTCPProxyError, "HealthCheckPolicyInvalid", ".healthCheckPolicy", "%s", err)
		return nil
	}
	use := upstreamUse{
		tcpCheck: check, balancer: a.tcpBalancer(spec.LoadBalancerPolicy),
		typ: contourv1.ConditionTypeTCPProxyError, prefix: "Spec.TCPProxy unresolved service reference: ",
	}
	proxy := &TCPProxy{Owner: e.key(), Field: tcpField, Chain: chain}
	for i, s := range spec.Services {
		field := ".services[" + strconv.Itoa(i) + "]"
		a.ignoredByTCP(s, field)
		s.SlowStartPolicy, s.RequestHeadersPolicy = nil, nil
		if w, ok := a.service(s, use, field); ok {
			proxy.Clusters = append(proxy.Clusters, w)
		}
	}
	if a.weigh(spec.Services, proxy.Clusters) == broken {
		return nil
	}
	return proxy
}

// tcpBalancer is how connections are balanced. There is no request to hash.
func (a *actionReader) tcpBalancer(p *contourv1.LoadBalancerPolicy) LoadBalancer {
	if p != nil && (p.Strategy == strategyCookie || p.Strategy == strategyRequestHash) {
		a.warn(contourv1.ConditionTypeTCPProxyError, reasonIgnoredField, ".loadBalancerPolicy",
			"ignoring field %q; %s load balancer policy is not supported for TCPProxies",
			"Spec.TCPProxy.LoadBalancerPolicy", p.Strategy)
		return BalanceRoundRobin
	}
	b := readBalance(p)
	a.warnIgnored(contourv1.ConditionTypeTCPProxyError, ".loadBalancerPolicy", b)
	return b.balancer
}

// ignoredByTCP warns of what means nothing for connections.
func (a *actionReader) ignoredByTCP(s contourv1.Service, field string) {
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"mirror", s.Mirror},
		{"requestHeadersPolicy", s.RequestHeadersPolicy != nil},
		{"responseHeadersPolicy", s.ResponseHeadersPolicy != nil},
		{"cookieRewritePolicies", len(s.CookieRewritePolicies) > 0},
		{"slowStartPolicy", s.SlowStartPolicy != nil},
	} {
		if f.set {
			a.warn(contourv1.ConditionTypeTCPProxyError, reasonIgnoredField, field+"."+f.name,
				"ignoring field %q; it has no meaning for a TCPProxy", "Spec.TCPProxy.Services."+f.name)
		}
	}
}
