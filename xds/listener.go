package xds

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	inspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	earlyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	"google.golang.org/protobuf/proto"

	"isoline.dev/isoline/dag"
)

// ListenerAddress is where a listener listens.
type ListenerAddress struct {
	// Address is an IP address; "::" takes IPv4 too.
	Address string
	Port    uint32
}

// ListenerOptions say where and how Envoy takes requests.
type ListenerOptions struct {
	// HTTP and HTTPS are where.
	HTTP, HTTPS ListenerAddress
	// TLS bounds the versions and ciphers of handshakes that are not a host's.
	TLS dag.TLSVersions
	// RateLimit is nil where there is no rate limit service.
	RateLimit *RateLimit
	Edge
}

// ListenerUnit is the name of a listener's unit.
func ListenerUnit(listener string) string { return "listener/" + listener }

// Listeners returns the listeners as units, by their names, for Update.Units:
// the HTTPS one is nil where there are no chains. The chains are of different
// hosts.
func Listeners(opts ListenerOptions, chains []*Chain) (map[string]*Unit, error) {
	plain, err := httpListener(opts)
	if err != nil {
		return nil, err
	}
	secure, err := httpsListener(opts, chains)
	if err != nil {
		return nil, err
	}
	all := map[string]*Unit{ListenerUnit(HTTPSListener): nil}
	for _, l := range []*listenerv3.Listener{plain, secure} {
		if l == nil {
			continue
		}
		r, err := NewResource(l)
		if err != nil {
			return nil, err
		}
		all[ListenerUnit(l.Name)] = &Unit{Name: ListenerUnit(l.Name), Listeners: []*Resource{r}}
	}
	if secure == nil {
		return all, nil
	}
	all[ListenerUnit(HTTPSListener)].Clusters, err = chainClusters(chains)
	return all, err
}

// chainClusters are the clusters that the chains lead to without routes. The
// listener waits for their endpoints, and not for what else makes them slow to
// warm: that would let one host's health checks hold up all others.
func chainClusters(chains []*Chain) ([]*Cluster, error) {
	byName := map[string]upstream{}
	for _, c := range chains {
		for _, u := range c.clusters {
			byName[u.config.Name] = u
		}
	}
	list := make([]*Cluster, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		u := byName[name]
		c, err := u.cluster()
		if err != nil {
			return nil, err
		}
		c.SlowToWarm = false
		list = append(list, c)
	}
	return list, nil
}

func httpListener(opts ListenerOptions) (*listenerv3.Listener, error) {
	l, err := newListener(HTTPListener, opts)
	if err != nil {
		return nil, err
	}
	manager := connectionManager(HTTPListener, opts)
	manager.EarlyHeaderMutationExtensions = scopeHeaders(HTTPListener, "%REQ(:AUTHORITY)%")
	manager.RouteSpecifier = scopedRoutes(HTTPListener)
	manager.HttpFilters = append(fallbackFilters(), httpFilters(opts)...)
	l.FilterChains = []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{managerFilter(manager)}}}
	if err := validateMessage(l); err != nil {
		return nil, fmt.Errorf("listener %s: %w", HTTPListener, err)
	}
	return l, nil
}

// newListener is a listener without filter chains.
func newListener(name string, opts ListenerOptions) (*listenerv3.Listener, error) {
	at := opts.HTTP
	if name == HTTPSListener {
		at = opts.HTTPS
	}
	if why := checkAddress(at.Address, at.Port); why != "" {
		return nil, fmt.Errorf("listener %s: %s", name, why)
	}
	l := &listenerv3.Listener{
		Name:       name,
		StatPrefix: name,
		Address:    listenAddress(at.Address, at.Port),
	}
	opts.apply(l)
	if name == HTTPSListener {
		l.ListenerFilters = append(l.ListenerFilters, &listenerv3.ListenerFilter{
			Name:       "envoy.filters.listener.tls_inspector",
			ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: mustAny(&inspectorv3.TlsInspector{})},
		})
	}
	return l, nil
}

func listenAddress(address string, port uint32) *corev3.Address {
	a := socketAddress(address, port)
	if ip, _ := netip.ParseAddr(address); ip == netip.IPv6Unspecified() {
		a.GetSocketAddress().Ipv4Compat = true
	}
	return a
}

// scopeHeaders writes the scope's key over whatever the client has sent. The
// Host header itself is left alone, port and case included: upstreams and
// redirects need what the client asked for.
func scopeHeaders(listener, host string) []*corev3.TypedExtensionConfig {
	set := func(name, value string, how corev3.HeaderValueOption_HeaderAppendAction) *mutationv3.HeaderMutation {
		return &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Append{Append: &corev3.HeaderValueOption{
			Header:       &corev3.HeaderValue{Key: name, Value: value},
			AppendAction: how,
		}}}
	}
	return []*corev3.TypedExtensionConfig{{
		Name: "envoy.http.early_header_mutation.header_mutation",
		TypedConfig: mustAny(&earlyv3.HeaderMutation{Mutations: []*mutationv3.HeaderMutation{
			set(listenerHeader, listener, corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD),
			set(hostHeader, host, corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD),
			// As Contour does. A balancer in front knows better, and so does a route.
			set("x-request-start", "t=%START_TIME(%s.%3f)%", corev3.HeaderValueOption_ADD_IF_ABSENT),
		}}),
	}}
}

// scopedRoutes chooses the route configuration by the two headers.
func scopedRoutes(name string) *hcmv3.HttpConnectionManager_ScopedRoutes {
	type builder = hcmv3.ScopedRoutes_ScopeKeyBuilder
	fragment := func(header string) *hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder {
		return &hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder{
			Type: &hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder_HeaderValueExtractor_{
				HeaderValueExtractor: &hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder_HeaderValueExtractor{
					Name:        header,
					ExtractType: &hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder_HeaderValueExtractor_Index{Index: 0},
				},
			},
		}
	}
	return &hcmv3.HttpConnectionManager_ScopedRoutes{ScopedRoutes: &hcmv3.ScopedRoutes{
		Name: name,
		ScopeKeyBuilder: &builder{Fragments: []*hcmv3.ScopedRoutes_ScopeKeyBuilder_FragmentBuilder{
			fragment(listenerHeader), fragment(hostHeader),
		}},
		RdsConfigSource: overADS(),
		ConfigSpecifier: &hcmv3.ScopedRoutes_ScopedRds{
			ScopedRds: &hcmv3.ScopedRds{ScopedRdsConfigSource: overADS()},
		},
	}}
}

// scopeOf leads the requests for host on a listener to a route configuration.
func scopeOf(listener, host, routes string) *routev3.ScopedRouteConfiguration {
	scope := &routev3.ScopedRouteConfiguration{
		Name:                   listener + "/" + host,
		RouteConfigurationName: routes,
		Key:                    &routev3.ScopedRouteConfiguration_Key{},
	}
	for _, part := range scopeKey(listener, host) {
		scope.Key.Fragments = append(scope.Key.Fragments, &routev3.ScopedRouteConfiguration_Key_Fragment{
			Type: &routev3.ScopedRouteConfiguration_Key_Fragment_StringKey{StringKey: part},
		})
	}
	return scope
}

func httpFilter(name string, config proto.Message) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{
		Name:       name,
		ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: mustAny(config)},
	}
}

func routerFilter() *hcmv3.HttpFilter {
	return httpFilter("envoy.filters.http.router", &routerv3.Router{})
}
