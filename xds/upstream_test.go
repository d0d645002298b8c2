package xds

import (
	"math"
	"strings"
	"sync"
	"time"

	"pgregory.net/rapid"

	"isoline.dev/isoline/dag"
	"isoline.dev/isoline/lab"
)

// anyUpstream gives a cluster what says how its endpoints are found and
// treated.
func anyUpstream(r *rapid.T, c *dag.Cluster) {
	c.ExternalName = mostly(r, "external name", []string{"", "", "", "shop.example.org", "192.0.2.1", "2001:db8::1"},
		[]string{"a b", "_", "http://x", "*.x", "-", "fe80::1%lo", "\xff"})
	c.DNSLookupFamily = mostly(r, "family", []string{"", "auto", "all", "v4", "v6"}, []string{"v5"})
	c.HealthPort = mostly(r, "health port", []int32{0, 81, 65535}, []int32{-1, 65536})
	c.LoadBalancer = mostly(r, "balancer", []dag.LoadBalancer{dag.BalanceRoundRobin, dag.BalanceRandom, dag.BalanceLeastRequest, dag.BalanceHash},
		[]dag.LoadBalancer{"maglev"})
	c.BufferLimit = rapid.SampledFrom([]uint32{0, 1, 1 << 31, 1<<32 - 1}).Draw(r, "buffer limit")
	c.RequestsPerConnection = rapid.SampledFrom([]uint32{0, 1, 1<<32 - 1}).Draw(r, "requests per connection")
	c.ConnectTimeout = mostly(r, "connect timeout", []time.Duration{0, time.Nanosecond, time.Second}, []time.Duration{-1, 1 << 62})
	c.IdleTimeout = anyTimeout(r, "connection idle timeout")
	if rapid.Bool().Draw(r, "breakers") {
		any32 := rapid.SampledFrom([]uint32{0, 0, 1, math.MaxUint32})
		c.CircuitBreakers = &dag.CircuitBreakers{
			MaxConnections: any32.Draw(r, "connections"), MaxPendingRequests: any32.Draw(r, "pending"),
			MaxRequests: any32.Draw(r, "requests"), MaxRetries: any32.Draw(r, "retries"),
			PerHostMaxConnections: any32.Draw(r, "per host"),
		}
	}
	if c.HealthCheck == nil && rapid.Bool().Draw(r, "checked over TCP") {
		c.TCPHealthCheck = &dag.TCPHealthCheck{
			IntervalSeconds:    mostly(r, "interval", []int64{1, longestSeconds}, []int64{0, 1 << 40}),
			TimeoutSeconds:     mostly(r, "timeout", []int64{1, longestSeconds}, []int64{0, -1}),
			UnhealthyThreshold: mostly(r, "unhealthy", []uint32{1, 1 << 31}, []uint32{0}),
			HealthyThreshold:   mostly(r, "healthy", []uint32{1, 1 << 31}, []uint32{0}),
		}
	}
	if over := c.Protocol == dag.ProtocolTLS || c.Protocol == dag.ProtocolH2; over != rare(r, "TLS") {
		c.TLS = anyUpstreamTLS(r)
	}
	slow := c.LoadBalancer == dag.BalanceRoundRobin || c.LoadBalancer == dag.BalanceLeastRequest
	if slow && rapid.Bool().Draw(r, "slow start") || rare(r, "slow start") {
		c.SlowStart = &dag.SlowStart{
			Window:           mostly(r, "window", []time.Duration{time.Millisecond, time.Hour}, []time.Duration{0, -1, 1 << 62}),
			Aggression:       mostly(r, "aggression", []float64{0.001, 1, 1000}, []float64{0, -1, math.NaN(), math.Inf(1)}),
			MinWeightPercent: mostly(r, "percent", []uint32{0, 10, 100}, []uint32{101, math.MaxUint32}),
		}
	}
}

func anyHash(r *rapid.T) dag.Hash {
	h := dag.Hash{Terminal: rapid.Bool().Draw(r, "terminal")}
	switch rapid.IntRange(0, 3).Draw(r, "hashed") {
	case 0:
		h.Header = anyText(r, "hash header", "X-User", "host")
	case 1:
		h.QueryParameter = anyText(r, "hash parameter", "user")
	case 2:
		h.Cookie = anyText(r, "hash cookie", "X-Contour-Session-Affinity")
	default:
		h.SourceIP = !rare(r, "nothing is hashed")
	}
	return h
}

// someAuthority is a bundle that is right.
var someAuthority = sync.OnceValue(func() string {
	a, err := lab.NewAuthority("upstreams")
	if err != nil {
		panic(err)
	}
	return string(a.PEM)
})

func anyUpstreamTLS(r *rapid.T) *dag.UpstreamTLS {
	t := &dag.UpstreamTLS{
		ServerName:        mostly(r, "server name", []string{"", "", "web.example.com"}, []string{"a b", "a:80", "\xff", strings.Repeat("x", 300)}),
		HostAsServerName:  rapid.Bool().Draw(r, "host as server name"),
		Versions:          dag.TLSVersions{Minimum: rapid.SampledFrom([]string{"", "1.2", "1.3"}).Draw(r, "minimum")},
		ClientCertificate: mostly(r, "client certificate", []dag.SecretRef{{}, {Namespace: "a", Name: "b"}}, []dag.SecretRef{{Namespace: "\xff"}}),
	}
	if rapid.Bool().Draw(r, "validated") {
		t.Validation = &dag.UpstreamValidation{
			CA: mostly(r, "authority", []string{someAuthority(), someAuthority() + someAuthority()},
				[]string{"", "x", someAuthority() + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "\xff"}),
			SubjectNames: mostly(r, "subjects", [][]string{{"a"}, {"a", "10.0.0.1", "spiffe://a/b"}, {"*.x"}}, [][]string{nil, {""}, {"\x00"}, {"\xff"}}),
		}
	}
	return t
}
