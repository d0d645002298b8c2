package xds

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"isoline.dev/isoline/dag"
)

const (
	// connectTimeout bounds the TCP handshake with an endpoint where nothing else does.
	connectTimeout = 2 * time.Second
	// bufferLimit bounds what Envoy holds of one connection, on either side,
	// before it stops reading: the value of Envoy's guide for the edge.
	bufferLimit = 32 << 10
)

// upstream is a cluster in Envoy's words.
type upstream struct {
	config *clusterv3.Cluster
	// endpoints is the name under which its endpoints are sent; empty where
	// they are not ours.
	endpoints string
	// slow: see Cluster.SlowToWarm.
	slow bool
}

// upstreamOf names a cluster by its content: a change is a new cluster, which
// is made and warm before a route leaves the old one.
func upstreamOf(c *dag.Cluster) upstream {
	config := clusterConfig(c)
	hash := contentHash(config)
	switch {
	case c.Extension != "":
		config.Name = ExtensionName(c.Namespace, c.Extension) + "/" + hash
	case c.Service == "":
		config.Name = fmt.Sprintf("dns:%s/%d/%s", c.ExternalName, c.Port, hash)
	default:
		config.Name = fmt.Sprintf("%s/%s/%d/%s", c.Namespace, c.Service, c.Port, hash)
	}
	return upstream{
		config:    config,
		endpoints: config.GetEdsClusterConfig().GetServiceName(),
		slow:      len(config.HealthChecks) > 0 || c.TLS != nil && !c.TLS.ClientCertificate.IsZero(),
	}
}

// contentHash is ten hexadecimal digits over the whole of m. It panics where m
// cannot be marshalled, which checkAction rules out: only strings that are not
// UTF-8 do that.
func contentHash(m proto.Message) string {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:5])
}

func clusterConfig(c *dag.Cluster) *clusterv3.Cluster {
	config := &clusterv3.Cluster{
		// Statistics go by Service port, whatever the configuration's hash.
		AltStatName:                   fmt.Sprintf("%s_%s_%d", c.Namespace, c.Service, c.Port),
		ConnectTimeout:                durationpb.New(cmp.Or(c.ConnectTimeout, connectTimeout)),
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(orElse(c.BufferLimit, bufferLimit)),
		CommonLbConfig: &clusterv3.Cluster_CommonLbConfig{
			// Never send requests to endpoints that are known to fail.
			HealthyPanicThreshold: &typev3.Percent{Value: 0},
		},
		TransportSocket: upstreamTLS(c),
		CircuitBreakers: circuitBreakers(c.CircuitBreakers),
		HealthChecks:    healthChecks(c),
		// An endpoint that is withdrawn is gone, even if it still answers probes.
		IgnoreHealthOnHostRemoval: true,
	}
	setEndpoints(config, c)
	setShares(config, c)
	setBalancer(config, c)
	setHTTP(config, c)
	return config
}

func http2Upstream() *httpv3.HttpProtocolOptions {
	return &httpv3.HttpProtocolOptions{
		UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{
			ExplicitHttpConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
					Http2ProtocolOptions: &corev3.Http2ProtocolOptions{},
				},
			},
		},
	}
}

func httpOptionsOf(o *httpv3.HttpProtocolOptions) map[string]*anypb.Any {
	return map[string]*anypb.Any{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": mustAny(o)}
}

// overADS is the config source of everything that Isoline serves.
func overADS() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ResourceApiVersion:    corev3.ApiVersion_V3,
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
	}
}

// mustAny packs a message of ours, all of whose strings are constants or have
// been checked.
func mustAny(m proto.Message) *anypb.Any {
	a := &anypb.Any{}
	if err := anypb.MarshalFrom(a, m, proto.MarshalOptions{Deterministic: true}); err != nil {
		panic(err)
	}
	return a
}
