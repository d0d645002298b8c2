package xds

import (
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"isoline.dev/isoline/dag"
)

// setEndpoints says where the endpoints of a cluster are found: with us, or in
// DNS.
func setEndpoints(config *clusterv3.Cluster, c *dag.Cluster) {
	if c.ExternalName == "" {
		config.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS}
		config.EdsClusterConfig = &clusterv3.Cluster_EdsClusterConfig{
			EdsConfig:   overADS(),
			ServiceName: c.EndpointsKey().String(),
		}
		return
	}
	config.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STRICT_DNS}
	config.DnsLookupFamily = dnsFamilies[c.DNSLookupFamily]
	config.LoadAssignment = &endpointv3.ClusterLoadAssignment{
		ClusterName: c.ExternalName,
		Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{
			lbEndpoint(c.ExternalName, uint32(c.Port), uint32(c.HealthPort)),
		}}},
	}
}

var dnsFamilies = map[string]clusterv3.Cluster_DnsLookupFamily{
	"":     clusterv3.Cluster_AUTO,
	"auto": clusterv3.Cluster_AUTO,
	"all":  clusterv3.Cluster_ALL,
	"v4":   clusterv3.Cluster_V4_ONLY,
	"v6":   clusterv3.Cluster_V6_ONLY,
}

// lbEndpoint is an endpoint that is probed at the health port; 0 for the port.
func lbEndpoint(address string, port, healthPort uint32) *endpointv3.LbEndpoint {
	e := &endpointv3.Endpoint{Address: socketAddress(address, port)}
	if healthPort != 0 {
		e.HealthCheckConfig = &endpointv3.Endpoint_HealthCheckConfig{PortValue: healthPort}
	}
	return &endpointv3.LbEndpoint{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: e}}
}

// setBalancer says how requests are shared among the endpoints.
func setBalancer(config *clusterv3.Cluster, c *dag.Cluster) {
	config.LbPolicy = balancers[c.LoadBalancer]
	if c.SlowStart == nil {
		return
	}
	slow := &clusterv3.Cluster_SlowStartConfig{
		SlowStartWindow: durationpb.New(c.SlowStart.Window),
		// The key is required; our bootstrap sets nothing under it.
		Aggression:       &corev3.RuntimeDouble{DefaultValue: c.SlowStart.Aggression, RuntimeKey: "isoline.slow_start.aggression"},
		MinWeightPercent: &typev3.Percent{Value: float64(c.SlowStart.MinWeightPercent)},
	}
	if c.LoadBalancer == dag.BalanceLeastRequest {
		config.LbConfig = &clusterv3.Cluster_LeastRequestLbConfig_{LeastRequestLbConfig: &clusterv3.Cluster_LeastRequestLbConfig{SlowStartConfig: slow}}
		return
	}
	config.LbConfig = &clusterv3.Cluster_RoundRobinLbConfig_{RoundRobinLbConfig: &clusterv3.Cluster_RoundRobinLbConfig{SlowStartConfig: slow}}
}

var balancers = map[dag.LoadBalancer]clusterv3.Cluster_LbPolicy{
	dag.BalanceRoundRobin:   clusterv3.Cluster_ROUND_ROBIN,
	dag.BalanceRandom:       clusterv3.Cluster_RANDOM,
	dag.BalanceLeastRequest: clusterv3.Cluster_LEAST_REQUEST,
	dag.BalanceHash:         clusterv3.Cluster_RING_HASH,
}

// hashPolicies are what a route's requests are hashed by, for the clusters
// that balance by it.
func hashPolicies(hashes []dag.Hash) []*routev3.RouteAction_HashPolicy {
	var all []*routev3.RouteAction_HashPolicy
	for _, h := range hashes {
		p := &routev3.RouteAction_HashPolicy{Terminal: h.Terminal}
		switch {
		case h.Header != "":
			p.PolicySpecifier = &routev3.RouteAction_HashPolicy_Header_{
				Header: &routev3.RouteAction_HashPolicy_Header{HeaderName: h.Header},
			}
		case h.QueryParameter != "":
			p.PolicySpecifier = &routev3.RouteAction_HashPolicy_QueryParameter_{
				QueryParameter: &routev3.RouteAction_HashPolicy_QueryParameter{Name: h.QueryParameter},
			}
		case h.Cookie != "":
			p.PolicySpecifier = &routev3.RouteAction_HashPolicy_Cookie_{
				// A lifetime of zero is a cookie for the session; with none
				// Envoy would not set one.
				Cookie: &routev3.RouteAction_HashPolicy_Cookie{Name: h.Cookie, Path: "/", Ttl: durationpb.New(0)},
			}
		default: // checkHash knows no other than SourceIP
			p.PolicySpecifier = &routev3.RouteAction_HashPolicy_ConnectionProperties_{
				ConnectionProperties: &routev3.RouteAction_HashPolicy_ConnectionProperties{SourceIp: true},
			}
		}
		all = append(all, p)
	}
	return all
}

// circuitBreakers leaves what b does not bound to Envoy's defaults.
func circuitBreakers(b *dag.CircuitBreakers) *clusterv3.CircuitBreakers {
	if b == nil {
		return nil
	}
	out := &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
		MaxConnections:     unlessZero(b.MaxConnections),
		MaxPendingRequests: unlessZero(b.MaxPendingRequests),
		MaxRequests:        unlessZero(b.MaxRequests),
		MaxRetries:         unlessZero(b.MaxRetries),
		TrackRemaining:     true,
	}}}
	if b.PerHostMaxConnections != 0 {
		out.PerHostThresholds = []*clusterv3.CircuitBreakers_Thresholds{{MaxConnections: unlessZero(b.PerHostMaxConnections)}}
	}
	return out
}

func unlessZero(n uint32) *wrapperspb.UInt32Value {
	if n == 0 {
		return nil
	}
	return wrapperspb.UInt32(n)
}

// setHTTP says which HTTP is spoken to the endpoints, for how long an idle
// connection is kept and for how many requests, and whether requests name the
// server. What Envoy does anyway is not sent.
func setHTTP(config *clusterv3.Cluster, c *dag.Cluster) {
	auto := c.TLS != nil && c.TLS.HostAsServerName
	common := commonHTTP(c)
	if !http2(c) && common == nil && !auto {
		return
	}
	options := http2Upstream()
	if !http2(c) {
		options.UpstreamProtocolOptions = &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{
			ExplicitHttpConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{
					HttpProtocolOptions: &corev3.Http1ProtocolOptions{},
				},
			},
		}
	}
	options.CommonHttpProtocolOptions = common
	if auto {
		options.UpstreamHttpProtocolOptions = &corev3.UpstreamHttpProtocolOptions{AutoSni: true}
	}
	config.TypedExtensionProtocolOptions = httpOptionsOf(options)
}

// commonHTTP is nil where there is nothing to say.
func commonHTTP(c *dag.Cluster) *corev3.HttpProtocolOptions {
	if c.IdleTimeout == 0 && c.RequestsPerConnection == 0 {
		return nil
	}
	o := &corev3.HttpProtocolOptions{}
	if c.IdleTimeout != 0 {
		o.IdleTimeout = timeout(c.IdleTimeout)
	}
	if c.RequestsPerConnection != 0 {
		o.MaxRequestsPerConnection = wrapperspb.UInt32(c.RequestsPerConnection)
	}
	return o
}

func http2(c *dag.Cluster) bool { return c.Protocol == dag.ProtocolH2C || c.Protocol == dag.ProtocolH2 }

// healthChecks are the active ones of a cluster, if any. Probes begin with the
// first moment and go on at the interval that is asked for: Envoy's own
// interval for clusters without traffic is a minute, and a canary or the idle
// side of a cutover has no traffic.
func healthChecks(c *dag.Cluster) []*corev3.HealthCheck {
	var check *corev3.HealthCheck
	switch {
	case c.HealthCheck != nil:
		check = httpHealthCheck(c)
	case c.TCPHealthCheck != nil:
		check = tcpHealthCheck(c.TCPHealthCheck)
	default:
		return nil
	}
	check.NoTrafficInterval = check.Interval
	// Spreads the probes of many Envoys and endpoints without delaying the
	// first ones, which a cluster waits for before it is used.
	check.IntervalJitterPercent = 10
	return []*corev3.HealthCheck{check}
}

func httpHealthCheck(c *dag.Cluster) *corev3.HealthCheck {
	h := c.HealthCheck
	check := &corev3.HealthCheck_HttpHealthCheck{Host: h.Host, Path: h.Path}
	if http2(c) {
		check.CodecClientType = typev3.CodecClientType_HTTP2
	}
	for _, s := range h.ExpectedStatuses {
		check.ExpectedStatuses = append(check.ExpectedStatuses, &typev3.Int64Range{Start: s.Start, End: s.End})
	}
	return &corev3.HealthCheck{
		Timeout:            seconds(h.TimeoutSeconds),
		Interval:           seconds(h.IntervalSeconds),
		UnhealthyThreshold: wrapperspb.UInt32(h.UnhealthyThreshold),
		HealthyThreshold:   wrapperspb.UInt32(h.HealthyThreshold),
		HealthChecker:      &corev3.HealthCheck_HttpHealthCheck_{HttpHealthCheck: check},
	}
}

// tcpHealthCheck asks for a connection and no more.
func tcpHealthCheck(h *dag.TCPHealthCheck) *corev3.HealthCheck {
	return &corev3.HealthCheck{
		Timeout:            seconds(h.TimeoutSeconds),
		Interval:           seconds(h.IntervalSeconds),
		UnhealthyThreshold: wrapperspb.UInt32(h.UnhealthyThreshold),
		HealthyThreshold:   wrapperspb.UInt32(h.HealthyThreshold),
		HealthChecker:      &corev3.HealthCheck_TcpHealthCheck_{TcpHealthCheck: &corev3.HealthCheck_TcpHealthCheck{}},
	}
}

func seconds(n int64) *durationpb.Duration { return durationpb.New(time.Duration(n) * time.Second) }

// checkUpstream says what of a cluster Envoy would refuse, or not do as it was
// meant, besides its name and protocol.
func checkUpstream(c *dag.Cluster) string {
	_, family := dnsFamilies[c.DNSLookupFamily]
	_, balancer := balancers[c.LoadBalancer]
	switch {
	case c.ExternalName != "" && !externalName(c.ExternalName):
		return fmt.Sprintf("%.200q is neither a DNS name nor an IP address", c.ExternalName)
	case !family:
		return fmt.Sprintf("the DNS lookup family %.32q is none of auto, all, v4 and v6", c.DNSLookupFamily)
	case !balancer:
		return fmt.Sprintf("the load balancer %.32q is unknown", c.LoadBalancer)
	case c.HealthPort < 0 || c.HealthPort > math.MaxUint16:
		return fmt.Sprintf("the health port %d is not between 1 and 65535", c.HealthPort)
	case c.ConnectTimeout < 0 || c.ConnectTimeout > longestSeconds*time.Second:
		return fmt.Sprintf("a connect timeout of %v is not between 0 and a year", c.ConnectTimeout)
	case c.HealthCheck != nil && c.TCPHealthCheck != nil:
		return "it has both an HTTP and a TCP health check"
	}
	why := checkTimeout("idle timeout of a connection", c.IdleTimeout)
	if why == "" {
		why = checkUpstreamTLS(c)
	}
	if why == "" && c.HealthCheck != nil {
		why = checkHealthCheck(c.HealthCheck)
	}
	if why == "" && c.TCPHealthCheck != nil {
		h := c.TCPHealthCheck
		why = checkProbes(h.IntervalSeconds, h.TimeoutSeconds, h.HealthyThreshold, h.UnhealthyThreshold)
	}
	if why == "" && c.SlowStart != nil {
		why = checkSlowStart(c)
	}
	return why
}

var externalNamePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

func externalName(name string) bool {
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.Zone() == "" || len(name) <= 253 && externalNamePattern.MatchString(name)
}

func checkSlowStart(c *dag.Cluster) string {
	s := c.SlowStart
	switch {
	case c.LoadBalancer != dag.BalanceRoundRobin && c.LoadBalancer != dag.BalanceLeastRequest:
		return fmt.Sprintf("slow start: the load balancer %q has none", c.LoadBalancer)
	case s.Window < time.Millisecond || s.Window > longestSeconds*time.Second:
		return fmt.Sprintf("slow start: a window of %v is not between a millisecond and a year", s.Window)
	case !(s.Aggression > 0 && s.Aggression <= math.MaxUint16): // also not a number
		return fmt.Sprintf("slow start: an aggression of %v is not above 0", s.Aggression)
	case s.MinWeightPercent > 100:
		return fmt.Sprintf("slow start: a least weight of %d is above 100 percent", s.MinWeightPercent)
	}
	return ""
}

func checkHash(h dag.Hash) string {
	n := 0
	for _, set := range []bool{h.Header != "", h.QueryParameter != "", h.Cookie != "", h.SourceIP} {
		if set {
			n++
		}
	}
	switch {
	case n != 1:
		return "hash: it needs exactly one of a header, a query parameter, a cookie and the source address"
	case h.Header != "" && !headerName(h.Header):
		return fmt.Sprintf("hash: %.200q is not a name that a header can have", h.Header)
	case h.Cookie != "" && !headerName(h.Cookie):
		return fmt.Sprintf("hash: %.200q is not a name that a cookie can have", h.Cookie)
	case !visible(h.QueryParameter):
		return fmt.Sprintf("hash: %.200q has a space, a control character or a byte outside ASCII", h.QueryParameter)
	}
	return ""
}
