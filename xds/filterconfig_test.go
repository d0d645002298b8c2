package xds

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"isoline.dev/isoline/dag"
)

// TestWhateverAHostAsksOfTheFiltersIsTakenByEnvoy makes hosts with policies of
// which much is wrong. What translation lets through, a real Envoy has to take.
// A protection that it does not let through closes the host.
func TestWhateverAHostAsksOfTheFiltersIsTakenByEnvoy(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(r *rapid.T) {
		var o offer
		for i := range 10 {
			vh := testHost("a.example.com", prefixRoute("/", "web"))
			vh.Policy = anyHostPolicy(r)
			h, problems := translateHost(vh, Options{})
			if h == nil {
				r.Fatalf("nothing is left of %v: %v", vh, problems)
			}
			checkHostClosed(r, vh, h, len(problems))
			again, _ := translateHost(vh, Options{})
			if !proto.Equal(h.routes, again.routes) {
				r.Fatalf("a second translation differs")
			}
			h.scope = scopeOf(HTTPListener, strings.Repeat("a", i+1), h.routes.Name)
			h.scope.Name = strings.Repeat("a", i+1)
			o.hosts = append(o.hosts, h)
			o.listeners = append(o.listeners, listenerOf(vh, uint32(i+2)))
		}
		if why := envoyRefuses(t, dir, o); why != "" {
			r.Fatalf("Envoy refuses it: %s", why)
		}
	})
}

// checkHostClosed: a host keeps its routes exactly where it has each
// protection that it asks for, and whatever is missing is a problem.
func checkHostClosed(r *rapid.T, vh *dag.VirtualHost, h *hostResources, problems int) {
	host := h.routes.VirtualHosts[0]
	missing := 0
	known := map[string]bool{}
	for _, u := range h.clusters {
		known[u.config.Name] = true
	}
	authorization := vh.Policy.Authorization
	if authorization != nil && host.TypedPerFilterConfig[filterOf(authorization)] != nil {
		if !authorization.Disabled && !known[upstreamOf(&authorization.Service.Cluster).config.Name] {
			r.Fatalf("the unit has no cluster of its authorization server")
		}
		authorization = nil
	}
	if authorization != nil {
		missing++
		if len(host.Routes) > 1 {
			r.Fatalf("the host is served without authorization")
		}
	}
	if j := vh.Policy.JWT; j != nil {
		filters := chainFilters(vh, ListenerOptions{})
		given := slices.ContainsFunc(filters, func(f *hcmv3.HttpFilter) bool { return f.Name == jwtName })
		if given != (checkJWT(j) == "" && len(host.Routes) > 1) {
			r.Fatalf("the filter for tokens is given: %t", given)
		}
		if !given {
			missing++
			j = &dag.JWT{}
		}
		for _, u := range jwtClusters(j) {
			if !known[u.config.Name] {
				r.Fatalf("the unit has no cluster for keys")
			}
		}
	}
	for name, asked := range map[string]bool{
		corsName:            vh.Policy.CORS != nil,
		ipFilterName:        vh.Policy.IPFilter != nil,
		localRateLimitName:  vh.Policy.LocalRateLimit != nil,
		globalRateLimitName: vh.Policy.GlobalRateLimit != nil,
	} {
		given := host.TypedPerFilterConfig[name] != nil
		if given && !asked {
			r.Fatalf("%s is given and was not asked for", name)
		}
		if asked && !given {
			missing++
			if name != corsName && len(host.Routes) > 1 {
				r.Fatalf("the host is served without %s", name)
			}
		}
	}
	if (missing > 0) != (problems > 0) {
		r.Fatalf("%d filters are missing, and there are %d problems", missing, problems)
	}
}

func anyHostPolicy(r *rapid.T) *dag.HostPolicy {
	p := &dag.HostPolicy{}
	if rapid.Bool().Draw(r, "cors") {
		p.CORS = anyCORS(r)
	}
	p.IPFilter, p.LocalRateLimit, p.GlobalRateLimit = anyLimits(r)
	p.Authorization = anyAuthorization(r)
	if rapid.Bool().Draw(r, "jwt") {
		p.JWT = anyJWT(r)
	}
	return p
}

// listenerOf has the filters of the host's chain, without its TLS.
func listenerOf(vh *dag.VirtualHost, port uint32) *listenerv3.Listener {
	opts := ListenerOptions{RateLimit: &RateLimit{Namespace: "platform", Name: "limiter", Domain: "d"}}
	manager := connectionManager("test", opts)
	manager.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{Name: "none"}}
	manager.HttpFilters = chainFilters(vh, opts)
	return &listenerv3.Listener{
		Name:         fmt.Sprint("chain-", port),
		Address:      socketAddress("127.0.0.1", port),
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{managerFilter(manager)}}},
	}
}

func anyJWT(r *rapid.T) *dag.JWT {
	j := &dag.JWT{Default: mostly(r, "default", []string{"", "a"}, []string{"z", "\xff"})}
	names := rapid.SampledFrom([][]string{{"a"}, {"a", "b c%"}, {"a", "é"}}).Draw(r, "names")
	if rare(r, "names") {
		names = []string{"a", anyText(r, "name", "a", "b")}
	}
	for _, name := range names {
		host := mostly(r, "host", []string{"keys.example.com", "127.0.0.1", "::1"}, []string{"", "a b", "\xff"})
		p := dag.JWTProvider{
			Name: name, Issuer: anyText(r, "issuer", "", "me"), Forward: rapid.Bool().Draw(r, "forward"),
			Audiences: rapid.SliceOfN(rapid.Custom(func(r *rapid.T) string { return anyText(r, "audience", "", "a") }), 0, 2).Draw(r, "audiences"),
			Keys: dag.RemoteKeys{
				URI: mostly(r, "uri", []string{"http://keys.example.com/%41?a=b#c", "https://[::1]:1/"}, []string{"", "ftp://a", "http://a b", "http://\xff"}),
				Cluster: dag.Cluster{
					Namespace: "a", ExternalName: host, Port: mostly(r, "port", []int32{1, 443, 65535}, []int32{0, 65536}),
					DNSLookupFamily: mostly(r, "family", []string{"", "auto", "all", "v4", "v6"}, []string{"v5"}),
				},
				Timeout: mostly(r, "timeout", []time.Duration{time.Millisecond, time.Second, longestSeconds * time.Second}, []time.Duration{0, -1, 1 << 62}),
				Cache:   mostly(r, "cache", []time.Duration{time.Millisecond, time.Minute, longestSeconds * time.Second}, []time.Duration{0, -1, 1 << 62}),
			},
		}
		if rapid.Bool().Draw(r, "tls") {
			p.Keys.Cluster.Protocol = dag.ProtocolTLS
			p.Keys.Cluster.TLS = &dag.UpstreamTLS{ServerName: mostly(r, "server name", []string{"", "a.example.com"}, []string{"\x00"})}
		}
		j.Providers = append(j.Providers, p)
	}
	return j
}

func anyAuthorization(r *rapid.T) *dag.Authorization {
	if rapid.Bool().Draw(r, "no authorization") {
		return nil
	}
	a := &dag.Authorization{
		Disabled: rapid.Bool().Draw(r, "disabled"),
		FailOpen: rapid.Bool().Draw(r, "fail open"),
		Service:  dag.Extension{Cluster: anyExtension(r), Timeout: anyTimeout(r, "call")},
		Context:  map[string]string{},
	}
	for range rapid.IntRange(0, 2).Draw(r, "context") {
		a.Context[anyText(r, "key", "a", "b")] = anyText(r, "value", "", "v", "%")
	}
	if rapid.Bool().Draw(r, "body") {
		a.Body = &dag.AuthorizationBody{
			MaxBytes:     mostly(r, "bytes", []uint32{1, 1024, 1<<32 - 1}, []uint32{0}),
			AllowPartial: rapid.Bool().Draw(r, "partial"), Raw: rapid.Bool().Draw(r, "raw"),
		}
	}
	return a
}

func anyExtension(r *rapid.T) dag.Cluster {
	c := dag.Cluster{
		Namespace:    mostly(r, "namespace", []string{"auth"}, []string{"", "a/b"}),
		Extension:    mostly(r, "extension", []string{"authz", "a.b"}, []string{"", "a b", "\xff", "é"}),
		Protocol:     mostly(r, "protocol", []string{"h2c", "h2"}, []string{"", "tls"}),
		LoadBalancer: mostly(r, "balancer", []dag.LoadBalancer{dag.BalanceRoundRobin, dag.BalanceRandom, dag.BalanceLeastRequest}, []dag.LoadBalancer{"x"}),
		IdleTimeout:  anyTimeout(r, "idle"),
	}
	if c.Protocol == "h2" || c.Protocol == "tls" {
		c.TLS = &dag.UpstreamTLS{ServerName: mostly(r, "server name", []string{"", "a.example.com"}, []string{"a b", "\x00"})}
	}
	return c
}

func anyLimits(r *rapid.T) (ip *dag.IPFilter, local *dag.LocalRateLimit, global *dag.GlobalRateLimit) {
	if rapid.Bool().Draw(r, "ip filter") {
		ip = &dag.IPFilter{
			Allow: rapid.Bool().Draw(r, "allow"),
			Rules: rapid.SliceOfN(rapid.Custom(func(r *rapid.T) dag.IPRule {
				return dag.IPRule{
					Prefix: mostly(r, "prefix", []string{"10.0.0.0/8", "0.0.0.0/0", "::/0", "fd00::/8", "192.0.2.1/32"}, []string{"", "10.0.0.0/33", "a", "fe80::1%eth0/64"}),
					Remote: rapid.Bool().Draw(r, "remote"),
				}
			}), mostly(r, "at least", []int{1}, []int{0}), 3).Draw(r, "rules"),
		}
	}
	if rapid.Bool().Draw(r, "local rate limit") {
		local = &dag.LocalRateLimit{
			Requests:    mostly(r, "requests", []uint32{1, 100, 1<<32 - 1}, []uint32{0}),
			Burst:       mostly(r, "burst", []uint32{0}, []uint32{1, 1<<32 - 1}),
			UnitSeconds: mostly(r, "unit", []int64{1, 60, 3600}, []int64{0, -1, 1 << 60}),
			StatusCode:  mostly(r, "status", []uint32{400, 429, 503, 599, 450}, []uint32{0, 200, 600}),
			Headers: rapid.SliceOfN(rapid.Custom(func(r *rapid.T) dag.HeaderField {
				return dag.HeaderField{Name: anyText(r, "name", "x-a", "x-b"), Value: anyText(r, "value", "", "v", "100%", "%REQ(x)%")}
			}), 0, 2).Draw(r, "headers"),
		}
	}
	if rapid.Bool().Draw(r, "global rate limit") {
		global = &dag.GlobalRateLimit{Descriptors: rapid.SliceOfN(rapid.Custom(func(r *rapid.T) dag.RateLimitDescriptor {
			return dag.RateLimitDescriptor{
				Entries: rapid.SliceOfN(rapid.Custom(anyRateLimitEntry), mostly(r, "at least", []int{1}, []int{0}), 3).Draw(r, "entries"),
			}
		}), 0, 2).Draw(r, "descriptors")}
	}
	return ip, local, global
}

func anyRateLimitEntry(r *rapid.T) dag.RateLimitEntry {
	var e dag.RateLimitEntry
	switch rapid.IntRange(0, 3).Draw(r, "entry") {
	case 0:
		e.Generic = &dag.GenericEntry{Key: anyText(r, "key", "", "k"), Value: anyText(r, "value", "v", "%REQ(x)%", "100%")}
	case 1:
		e.Header = &dag.HeaderEntry{Name: anyText(r, "name", "x-a", ":path"), Key: anyText(r, "key", "k")}
	case 2:
		e.HeaderMatch = &dag.HeaderMatchEntry{
			Headers: rapid.SliceOfN(rapid.Custom(anyHeaderCondition), mostly(r, "at least", []int{1}, []int{0}), 2).Draw(r, "headers"),
			Unless:  rapid.Bool().Draw(r, "unless"), Value: anyText(r, "value", "v", "%%"),
		}
	default:
		e.RemoteAddress = true
	}
	if rare(r, "two sources") {
		e.RemoteAddress = !e.RemoteAddress
	}
	return e
}

func anyCORS(r *rapid.T) *dag.CORS {
	token := rapid.Custom(func(r *rapid.T) string { return anyText(r, "token", "GET", "x-a", "*") })
	c := &dag.CORS{
		Origins: rapid.SliceOfN(rapid.Custom(func(r *rapid.T) dag.Origin {
			op := mostly(r, "op", []dag.Op{dag.OpPresent, dag.OpExact, dag.OpRegex}, []dag.Op{dag.OpContains, ""})
			switch op {
			case dag.OpExact:
				return dag.Origin{Op: op, Value: anyText(r, "origin", "https://www.example.com")}
			case dag.OpRegex:
				return dag.Origin{Op: op, Value: mostlyRegex(r)}
			default:
				return dag.Origin{Op: op}
			}
		}), mostly(r, "at least", []int{1}, []int{0}), 3).Draw(r, "origins"),
		Methods:        rapid.SliceOfN(token, mostly(r, "at least", []int{1}, []int{0}), 2).Draw(r, "methods"),
		Headers:        rapid.SliceOfN(token, 0, 2).Draw(r, "headers"),
		Expose:         rapid.SliceOfN(token, 0, 2).Draw(r, "expose"),
		Credentials:    rapid.Bool().Draw(r, "credentials"),
		PrivateNetwork: rapid.Bool().Draw(r, "private network"),
	}
	if rapid.Bool().Draw(r, "max age") {
		age := mostly(r, "age", []int64{0, 1, 86400}, []int64{-1})
		c.MaxAgeSeconds = &age
	}
	return c
}
