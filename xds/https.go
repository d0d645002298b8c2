package xds

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"isoline.dev/isoline/dag"
	"isoline.dev/isoline/problem"
)

// HTTPSListener is the name of the HTTPS listener, and the first part of the
// names of its scopes and route configurations.
const HTTPSListener = "https"

// fallbackListener stands for the HTTPS listener's chain for clients that name
// no server with a certificate of its own.
const fallbackListener = "https-fallback"

// Every host with TLS has a filter chain of its own, chosen by the server name
// in the handshake: its certificate, its versions, its demands on the client.
// The chain leads every request to the host's route configuration, whatever
// the request's Host; there, another Host is answered with 421. The routes come
// over the scopes that the plain listener has too, so that a chain never waits
// for routes, and no host for another's.

// Chain is how the HTTPS listener serves one host.
type Chain struct {
	host string
	// filters is the host's own; fallback says that the host is also served by
	// the chain for everybody else, with this certificate.
	filters  *listenerv3.FilterChain
	fallback dag.SecretRef
	versions dag.TLSVersions
	// clusters are those of a TCP proxy.
	clusters []upstream
}

// Equal reports whether two chains, possibly nil, come to the same.
func (c *Chain) Equal(o *Chain) bool {
	if c == nil || o == nil {
		return c == o
	}
	return c.host == o.host && c.fallback == o.fallback && proto.Equal(c.filters, o.filters)
}

// TranslateChain is the chain of a host, nil for one without TLS. What Envoy
// would not take is a problem, and then the host has none: a listener is
// refused as a whole.
func TranslateChain(vh *dag.VirtualHost, opts ListenerOptions) (*Chain, []problem.Problem) {
	if vh.TLS == nil {
		return nil, nil
	}
	c := &Chain{host: vh.Host, filters: &listenerv3.FilterChain{
		Name:             vh.Host,
		FilterChainMatch: &listenerv3.FilterChainMatch{ServerNames: []string{vh.Host}, TransportProtocol: "tls"},
	}}
	why := checkHost(vh.Host)
	if vh.Host == "*" {
		why = "a host for all names cannot have TLS"
	}
	if why == "" && vh.TCP != nil {
		why = checkTCP(vh.TCP)
	}
	if why == "" {
		alpn := opts.alpn()
		if vh.TCP != nil {
			alpn = nil
			c.filters.Filters = []*listenerv3.Filter{tcpFilter(vh, opts)}
			for _, s := range sharesOf(vh.TCP.Clusters) {
				c.clusters = append(c.clusters, s.upstream)
			}
		} else {
			c.filters.Filters = []*listenerv3.Filter{managerFilter(hostManager(vh, opts))}
		}
		if !vh.TLS.Passthrough {
			c.filters.TransportSocket = downstreamTLS(vh.TLS, alpn)
			c.fallback, c.versions = vh.TLS.Fallback, vh.TLS.Versions
		}
		if err := validateMessage(c.filters); err != nil {
			why = err.Error()
		}
	}
	if why != "" {
		return nil, []problem.Problem{hostProblem(vh, why)}
	}
	return c, nil
}

func checkTCP(t *dag.TCPProxy) string {
	for i := range t.Clusters {
		if why := checkCluster(&t.Clusters[i].Cluster); why != "" {
			return why
		}
	}
	return checkWeights(t.Clusters)
}

// hostManager reads the requests of one host.
func hostManager(vh *dag.VirtualHost, opts ListenerOptions) *hcmv3.HttpConnectionManager {
	manager := connectionManager(HTTPSListener, opts)
	manager.RouteSpecifier = scopedRoutes(HTTPListener)
	if client := vh.TLS.Client; client != nil && client.Forward != nil {
		manager.ForwardClientCertDetails = hcmv3.HttpConnectionManager_SANITIZE_SET
		manager.SetCurrentClientCertDetails = &hcmv3.HttpConnectionManager_SetCurrentClientCertDetails{
			Subject: wrapperspb.Bool(client.Forward.Subject),
			Cert:    client.Forward.Cert, Chain: client.Forward.Chain,
			Dns: client.Forward.DNS, Uri: client.Forward.URI,
		}
	}
	if strings.HasPrefix(vh.Host, "*.") {
		// Which of its names it is has to be looked at: a host without TLS may
		// have it for its own, or it may have one label too many.
		manager.EarlyHeaderMutationExtensions = scopeHeaders(HTTPListener, "%REQUESTED_SERVER_NAME%")
		manager.HttpFilters = append([]*hcmv3.HttpFilter{luaFilter("isoline.scope.server_name", luaServerName)}, chainFilters(vh, opts)...)
		return manager
	}
	manager.EarlyHeaderMutationExtensions = scopeHeaders(HTTPSListener, vh.Host)
	manager.HttpFilters = chainFilters(vh, opts)
	return manager
}

// luaServerName leads a request in a wildcard's chain to the wildcard's routes,
// unless the request is for another name than the handshake, or the name is
// another host's: every host has routes for plain HTTP, if only to redirect.
const luaServerName = `function envoy_on_request(handle)
  local headers = handle:headers()
  if headers:get("x-isoline-listener") == "https/wildcard" then return end -- again, after a redirect that Envoy followed
  local name = string.lower(handle:streamInfo():requestedServerName())
  local host = string.lower((string.gsub(headers:get(":authority") or "", ":%d*$", "")))
  local parent = string.match(name, "^[^.]+(%..+)$")
  if name ~= host or parent == nil then
    handle:respond({[":status"] = "421"}, "")
    return
  end
  if handle:streamInfo():routeName() ~= "" then
    handle:respond({[":status"] = "421"}, "")
    return
  end
  headers:replace("x-isoline-listener", "https/wildcard")
  headers:replace("x-isoline-host", "*" .. parent)
  handle:clearRouteCache()
  handle:metadata()
  if handle:streamInfo():routeName() == "" then
    handle:respond({[":status"] = "421"}, "")
  end
end
`

// chainFilters are the HTTP filters of one host's chain: those that all
// listeners have, and the host's own.
func chainFilters(vh *dag.VirtualHost, opts ListenerOptions) []*hcmv3.HttpFilter {
	filters := httpFilters(opts)
	if policy, _, _ := usablePolicy(vh); policy != nil && policy.JWT != nil {
		filters = withJWT(filters, policy.JWT)
	}
	return filters
}

// tcpFilter hands the connections of a host on.
func tcpFilter(vh *dag.VirtualHost, opts ListenerOptions) *listenerv3.Filter {
	config := &tcpv3.TcpProxy{StatPrefix: HTTPSListener, AccessLog: opts.AccessLog.loggers()}
	shares := sharesOf(vh.TCP.Clusters)
	if len(shares) == 1 {
		config.ClusterSpecifier = &tcpv3.TcpProxy_Cluster{Cluster: shares[0].config.Name}
	} else {
		weighted := &tcpv3.TcpProxy_WeightedCluster{}
		for _, s := range shares {
			if s.weight > 0 { // Envoy takes none without
				weighted.Clusters = append(weighted.Clusters, &tcpv3.TcpProxy_WeightedCluster_ClusterWeight{
					Name: s.config.Name, Weight: s.weight,
				})
			}
		}
		config.ClusterSpecifier = &tcpv3.TcpProxy_WeightedClusters{WeightedClusters: weighted}
	}
	return &listenerv3.Filter{
		Name:       "envoy.filters.network.tcp_proxy",
		ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: mustAny(config)},
	}
}

func managerFilter(manager *hcmv3.HttpConnectionManager) *listenerv3.Filter {
	return &listenerv3.Filter{
		Name:       "envoy.filters.network.http_connection_manager",
		ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: mustAny(manager)},
	}
}

// downstreamTLS is the TLS of a chain. The private key comes over SDS alone.
func downstreamTLS(t *dag.TLS, alpn []string) *corev3.TransportSocket {
	common := &tlsv3.CommonTlsContext{
		TlsParams:                      tlsParameters(t.Versions),
		AlpnProtocols:                  alpn,
		TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{{Name: t.Certificate.String(), SdsConfig: overADS()}},
	}
	context := &tlsv3.DownstreamTlsContext{CommonTlsContext: common}
	if t.Client != nil {
		context.RequireClientCertificate = wrapperspb.Bool(!t.Client.Optional)
		common.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: clientValidation(t.Client)}
	}
	return &corev3.TransportSocket{
		Name:       "envoy.transport_sockets.tls",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: mustAny(context)},
	}
}

func clientValidation(c *dag.ClientValidator) *tlsv3.CertificateValidationContext {
	v := &tlsv3.CertificateValidationContext{}
	if c.CA != "" {
		v.TrustedCa = inline(c.CA)
	}
	if c.SkipVerify {
		v.TrustChainVerification = tlsv3.CertificateValidationContext_ACCEPT_UNTRUSTED
	}
	if c.CRL != "" {
		v.Crl, v.OnlyVerifyLeafCertCrl = inline(c.CRL), c.CRLLeafOnly
	}
	return v
}

func inline(text string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: text}}
}

// tlsParameters are versions and ciphers; 1.2 is the least unless told.
func tlsParameters(v dag.TLSVersions) *tlsv3.TlsParameters {
	p := &tlsv3.TlsParameters{
		TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2,
		TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
		CipherSuites:              v.Ciphers,
	}
	if v.Minimum == "1.3" {
		p.TlsMinimumProtocolVersion = tlsv3.TlsParameters_TLSv1_3
	}
	if v.Maximum == "1.2" {
		p.TlsMaximumProtocolVersion = tlsv3.TlsParameters_TLSv1_2
	}
	return p
}

// TranslateCertificate is what Envoys are sent for a Secret, under the name
// "namespace/name".
func TranslateCertificate(ref dag.SecretRef, c *dag.Certificate) (*Resource, error) {
	r, err := NewResource(&tlsv3.Secret{
		Name: ref.String(),
		Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
			CertificateChain: &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: c.Chain}},
			PrivateKey:       &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: c.Key}},
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("certificate of Secret %s: %w", ref, err)
	}
	return r, nil
}

// misdirectedName is the route that refuses a request for a host that is not
// the chain's.
const misdirectedName = "isoline-misdirected"

// secureRoutes is the route configuration of a host on the HTTPS listener.
func secureRoutes(vh *dag.VirtualHost, routes []*routev3.Route) *routev3.RouteConfiguration {
	rc := routeConfiguration(HTTPSListener+"/"+vh.Host, vh.Host, routes)
	rc.IgnorePortInHostMatching = true
	rc.VirtualHosts[0].Domains = []string{vh.Host}
	rc.VirtualHosts = append(rc.VirtualHosts, misdirected())
	return rc
}

// misdirected answers 421 to whatever comes, and takes no redirect that Envoy
// would follow.
func misdirected() *routev3.VirtualHost {
	return &routev3.VirtualHost{
		Name:    misdirectedName,
		Domains: []string{"*"},
		Routes: []*routev3.Route{{
			Name:   misdirectedName,
			Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: ""}, Headers: []*routev3.HeaderMatcher{noRedirect()}},
			Action: directResponse(&dag.DirectResponse{StatusCode: http.StatusMisdirectedRequest}),
		}},
	}
}

// httpsListener has a chain for every host. It is nil where there is none, as
// Envoy takes no listener without.
func httpsListener(opts ListenerOptions, chains []*Chain) (*listenerv3.Listener, error) {
	if len(chains) == 0 {
		return nil, nil
	}
	l, err := newListener(HTTPSListener, opts)
	if err != nil {
		return nil, err
	}
	var fallback dag.SecretRef
	versions := opts.TLS
	for _, c := range chains {
		l.FilterChains = append(l.FilterChains, c.filters)
		if !c.fallback.IsZero() {
			fallback = c.fallback
			// Which host it will be is not known in the handshake: none is served
			// with an older version than it takes.
			versions.Minimum = max(versions.Minimum, c.versions.Minimum)
		}
	}
	if versions.Maximum < versions.Minimum {
		versions.Maximum = ""
	}
	slices.SortFunc(l.FilterChains, func(a, b *listenerv3.FilterChain) int { return cmp.Compare(a.Name, b.Name) })
	if !fallback.IsZero() {
		l.FilterChains = append(l.FilterChains, fallbackChain(fallback, versions, opts))
	}
	if err := validateMessage(l); err != nil {
		return nil, fmt.Errorf("listener %s: %w", HTTPSListener, err)
	}
	return l, nil
}

// fallbackChain serves clients that name no server with a chain of its own.
// The request's Host leads it to one of the hosts that asked for that.
func fallbackChain(certificate dag.SecretRef, versions dag.TLSVersions, opts ListenerOptions) *listenerv3.FilterChain {
	manager := connectionManager(HTTPSListener, opts)
	manager.EarlyHeaderMutationExtensions = scopeHeaders(fallbackListener, "%REQ(:AUTHORITY)%")
	manager.RouteSpecifier = scopedRoutes(HTTPListener)
	find := slices.Insert(fallbackFilters(), 1, luaFilter("isoline.scope.served_elsewhere", luaServedElsewhere))
	manager.HttpFilters = append(find, httpFilters(opts)...)
	return &listenerv3.FilterChain{
		Name:             fallbackListener,
		FilterChainMatch: &listenerv3.FilterChainMatch{TransportProtocol: "tls"},
		Filters:          []*listenerv3.Filter{managerFilter(manager)},
		TransportSocket:  downstreamTLS(&dag.TLS{Certificate: certificate, Versions: versions}, opts.alpn()),
	}
}
