package xds

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	overloadv3 "github.com/envoyproxy/go-control-plane/envoy/config/overload/v3"
	connectionsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/downstream_connections/v3"
	heapv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/fixed_heap/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	// NodeCluster is the node.cluster of every Envoy that Isoline programs.
	NodeCluster = "isoline"
	// xdsCluster is the static cluster through which Envoy reaches Isoline.
	xdsCluster = "isoline-xds"
	// defaultConnections bounds the client connections of one Envoy.
	defaultConnections = 50_000
)

// BootstrapOptions say how an Envoy finds Isoline, and itself.
type BootstrapOptions struct {
	// XDSAddress is an IP address or a host name.
	XDSAddress string
	XDSPort    int
	// AdminSocket is the path of a unix socket for the admin interface, and
	// AdminPort a port for it on 127.0.0.1. At most one is set; with neither
	// there is none.
	AdminSocket string
	AdminPort   int
	// NodeID names this Envoy.
	NodeID string
	// MaxHeapBytes, if positive, is the heap size that overload protection
	// keeps Envoy below.
	MaxHeapBytes uint64
	// MaxConnections bounds the client connections. Zero is 50,000.
	MaxConnections int64
	// ListenerConnections bounds the client connections of each listener, and
	// RequestsPerIOCycle the requests that are read off one connection at one
	// go. Zero is no bound.
	ListenerConnections, RequestsPerIOCycle uint32
}

// Bootstrap is the file that `envoy -c` takes: JSON, which is YAML too.
func Bootstrap(opts BootstrapOptions) ([]byte, error) {
	if err := opts.check(); err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	b := &bootstrapv3.Bootstrap{
		Node:             &corev3.Node{Id: opts.NodeID, Cluster: NodeCluster},
		DynamicResources: dynamicResources(),
		StaticResources: &bootstrapv3.Bootstrap_StaticResources{
			Clusters: []*clusterv3.Cluster{xdsServer(opts)},
		},
		Admin:           admin(opts),
		LayeredRuntime:  runtime(opts),
		OverloadManager: overload(opts),
		// A cluster's counters cost memory from its first request on, not before.
		DeferredStatOptions: &bootstrapv3.Bootstrap_DeferredStatOptions{EnableDeferredCreationStats: true},
	}
	if err := validateMessage(b); err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	return indented(b)
}

func (o BootstrapOptions) check() error {
	switch {
	case o.NodeID == "":
		return errors.New("the node id is empty")
	case o.XDSAddress == "":
		return errors.New("the xDS address is empty")
	case o.XDSPort < 1 || o.XDSPort > 65535:
		return fmt.Errorf("xDS port %d is not between 1 and 65535", o.XDSPort)
	case o.AdminPort < 0 || o.AdminPort > 65535:
		return fmt.Errorf("admin port %d is not between 1 and 65535", o.AdminPort)
	case o.AdminPort != 0 && o.AdminSocket != "":
		return errors.New("only one of admin socket and admin port can be set")
	case o.MaxConnections < 0:
		return fmt.Errorf("a limit of %d connections is negative", o.MaxConnections)
	}
	return nil
}

func dynamicResources() *bootstrapv3.Bootstrap_DynamicResources {
	return &bootstrapv3.Bootstrap_DynamicResources{
		LdsConfig: overADS(),
		CdsConfig: overADS(),
		AdsConfig: &corev3.ApiConfigSource{
			ApiType:                   corev3.ApiConfigSource_DELTA_GRPC,
			TransportApiVersion:       corev3.ApiVersion_V3,
			SetNodeOnFirstMessageOnly: true,
			GrpcServices: []*corev3.GrpcService{{
				TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{
					ClusterName: xdsCluster,
					// Envoy's own backoff leaves it without updates for up to
					// 4 s after a restart of Isoline.
					RetryPolicy: &corev3.RetryPolicy{RetryBackOff: &corev3.BackoffStrategy{
						BaseInterval: durationpb.New(100 * time.Millisecond),
						MaxInterval:  durationpb.New(time.Second),
					}},
				}},
			}},
		},
	}
}

func xdsServer(opts BootstrapOptions) *clusterv3.Cluster {
	discovery := clusterv3.Cluster_STRICT_DNS
	if _, err := netip.ParseAddr(opts.XDSAddress); err == nil {
		discovery = clusterv3.Cluster_STATIC
	}
	options := http2Upstream()
	options.GetExplicitHttpConfig().GetHttp2ProtocolOptions().ConnectionKeepalive = &corev3.KeepaliveSettings{
		Interval: durationpb.New(30 * time.Second),
		Timeout:  durationpb.New(5 * time.Second),
	}
	return &clusterv3.Cluster{
		Name:                          xdsCluster,
		ClusterDiscoveryType:          &clusterv3.Cluster_Type{Type: discovery},
		ConnectTimeout:                durationpb.New(connectTimeout),
		TypedExtensionProtocolOptions: httpOptionsOf(options),
		UpstreamConnectionOptions: &clusterv3.UpstreamConnectionOptions{TcpKeepalive: &corev3.TcpKeepalive{
			KeepaliveProbes:   wrapperspb.UInt32(3),
			KeepaliveTime:     wrapperspb.UInt32(30),
			KeepaliveInterval: wrapperspb.UInt32(5),
		}},
		LoadAssignment: &endpointv3.ClusterLoadAssignment{
			ClusterName: xdsCluster,
			Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{
				HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
					Address: socketAddress(opts.XDSAddress, uint32(opts.XDSPort)),
				}},
			}}}},
		},
	}
}

func admin(opts BootstrapOptions) *bootstrapv3.Admin {
	switch {
	case opts.AdminSocket != "":
		return &bootstrapv3.Admin{Address: &corev3.Address{Address: &corev3.Address_Pipe{
			Pipe: &corev3.Pipe{Path: opts.AdminSocket, Mode: 0o600},
		}}}
	case opts.AdminPort != 0:
		return &bootstrapv3.Admin{Address: socketAddress("127.0.0.1", uint32(opts.AdminPort))}
	}
	return nil
}

// runtime lifts Envoy's own limit on regular expressions, 100 instructions,
// above ours: checkRegex has bounded them before they get here. It is also the
// only place for some limits.
func runtime(opts BootstrapOptions) *bootstrapv3.LayeredRuntime {
	layer := &structpb.Struct{Fields: map[string]*structpb.Value{
		"re2.max_program_size.error_level": structpb.NewNumberValue(re2Limit),
		"re2.max_program_size.warn_level":  structpb.NewNumberValue(re2Limit),
	}}
	limit := func(key string, n uint32) {
		if n > 0 {
			layer.Fields[key] = structpb.NewNumberValue(float64(n))
		}
	}
	limit("http.max_requests_per_io_cycle", opts.RequestsPerIOCycle)
	for _, l := range []string{HTTPListener, HTTPSListener} {
		limit("envoy.resource_limits.listener."+l+".connection_limit", opts.ListenerConnections)
	}
	return &bootstrapv3.LayeredRuntime{Layers: []*bootstrapv3.RuntimeLayer{{
		Name:           "isoline",
		LayerSpecifier: &bootstrapv3.RuntimeLayer_StaticLayer{StaticLayer: layer},
	}}}
}

// overload bounds connections, and the heap where a size is given: Envoy
// frees memory at 95 % of it and stops to take requests at 98 %.
func overload(opts BootstrapOptions) *overloadv3.OverloadManager {
	connections := opts.MaxConnections
	if connections == 0 {
		connections = defaultConnections
	}
	m := &overloadv3.OverloadManager{
		RefreshInterval: durationpb.New(250 * time.Millisecond),
		ResourceMonitors: []*overloadv3.ResourceMonitor{monitor("envoy.resource_monitors.global_downstream_max_connections",
			&connectionsv3.DownstreamConnectionsConfig{MaxActiveDownstreamConnections: connections})},
	}
	if opts.MaxHeapBytes == 0 {
		return m
	}
	const heap = "envoy.resource_monitors.fixed_heap"
	m.ResourceMonitors = append(m.ResourceMonitors, monitor(heap, &heapv3.FixedHeapConfig{MaxHeapSizeBytes: opts.MaxHeapBytes}))
	m.Actions = []*overloadv3.OverloadAction{
		above(heap, 0.95, "envoy.overload_actions.shrink_heap"),
		above(heap, 0.98, "envoy.overload_actions.stop_accepting_requests"),
	}
	return m
}

func monitor(name string, config proto.Message) *overloadv3.ResourceMonitor {
	return &overloadv3.ResourceMonitor{
		Name:       name,
		ConfigType: &overloadv3.ResourceMonitor_TypedConfig{TypedConfig: mustAny(config)},
	}
}

func above(resource string, threshold float64, action string) *overloadv3.OverloadAction {
	return &overloadv3.OverloadAction{Name: action, Triggers: []*overloadv3.Trigger{{
		Name: resource,
		TriggerOneof: &overloadv3.Trigger_Threshold{
			Threshold: &overloadv3.ThresholdTrigger{Value: threshold},
		},
	}}}
}

// indented is m as JSON whose bytes depend on m alone; protojson varies its
// white space on purpose.
func indented(m proto.Message) ([]byte, error) {
	body, err := protojson.Marshal(m)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, body, "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}
