package xds

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"isoline.dev/isoline/lab"
)

// offer is what a real Envoy is asked to load.
type offer struct {
	listeners []*listenerv3.Listener
	hosts     []*hostResources
	upstreams []upstream
	endpoints []*endpointv3.ClusterLoadAssignment
}

// envoyRefuses loads an offer into a real Envoy, with everything in the
// bootstrap that Bootstrap makes, and returns what Envoy says against it.
func envoyRefuses(t testing.TB, dir string, o offer) string {
	t.Helper()
	body, err := Bootstrap(BootstrapOptions{XDSAddress: "127.0.0.1", XDSPort: 1, NodeID: "test"})
	if err != nil {
		t.Fatal(err)
	}
	var bootstrap map[string]any
	if err := json.Unmarshal(body, &bootstrap); err != nil {
		t.Fatal(err)
	}
	static := bootstrap["staticResources"].(map[string]any)
	static["clusters"] = append(static["clusters"].([]any), o.staticClusters(t)...)
	static["listeners"] = o.staticListeners(t)
	if body, err = json.Marshal(bootstrap); err != nil {
		t.Fatal(err)
	}
	return validateMode(t, dir, body)
}

// validateMode returns what Envoy says against a bootstrap; nothing if it
// would start with it.
func validateMode(t testing.TB, dir string, bootstrap []byte) string {
	t.Helper()
	envoy, err := lab.EnvoyPath()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "validate.json")
	if err := os.WriteFile(file, bootstrap, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(envoy, "--mode", "validate", "-c", file, "-l", "error").CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%v: %s", err, out)
	}
	return ""
}

func (o offer) staticClusters(t testing.TB) []any {
	var out []any
	seen := map[string]bool{}
	all := o.upstreams
	for _, h := range o.hosts {
		all = append(all, h.clusters...)
	}
	for _, u := range all {
		if !seen[u.config.Name] {
			seen[u.config.Name] = true
			out = append(out, asJSON(t, withoutSecrets(t, u.config)))
		}
	}
	for i, cla := range o.endpoints {
		out = append(out, asJSON(t, &clusterv3.Cluster{
			Name:                 fmt.Sprintf("endpoints-%d", i),
			ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
			LoadAssignment:       cla,
		}))
	}
	return out
}

// withoutSecrets leaves out certificates that come over ADS: without an ADS
// stream, as in its validation mode, Envoy crashes on them.
func withoutSecrets(t testing.TB, c *clusterv3.Cluster) *clusterv3.Cluster {
	t.Helper()
	if c.TransportSocket == nil {
		return c
	}
	context := &tlsv3.UpstreamTlsContext{}
	if err := c.TransportSocket.GetTypedConfig().UnmarshalTo(context); err != nil {
		t.Fatal(err)
	}
	context.CommonTlsContext.TlsCertificateSdsSecretConfigs = nil
	c = proto.CloneOf(c)
	c.TransportSocket.ConfigType = &corev3.TransportSocket_TypedConfig{TypedConfig: mustAny(context)}
	return c
}

// staticListeners has the listeners, and one more for all hosts, with scopes as
// they are and the tables inside them: static scopes cannot name a table.
func (o offer) staticListeners(t testing.TB) []any {
	out := []any{}
	for _, l := range o.listeners {
		out = append(out, asJSON(t, l))
	}
	if len(o.hosts) == 0 {
		return out
	}
	list := &hcmv3.ScopedRouteConfigurationsList{}
	for _, h := range o.hosts {
		scope := proto.CloneOf(h.scope)
		scope.RouteConfigurationName, scope.RouteConfiguration = "", h.routes
		list.ScopedRouteConfigurations = append(list.ScopedRouteConfigurations, scope)
	}
	scoped := scopedRoutes("test")
	scoped.ScopedRoutes.RdsConfigSource = nil
	scoped.ScopedRoutes.ConfigSpecifier = &hcmv3.ScopedRoutes_ScopedRouteConfigurationsList{ScopedRouteConfigurationsList: list}
	manager := connectionManager("test", ListenerOptions{})
	manager.RouteSpecifier = scoped
	manager.HttpFilters = httpFilters(ListenerOptions{})
	return append(out, asJSON(t, &listenerv3.Listener{
		Name:    "test",
		Address: socketAddress("127.0.0.1", 1),
		FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{
			Name:       "manager",
			ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: mustAny(manager)},
		}}}},
	}))
}

func asJSON(t testing.TB, m proto.Message) any {
	t.Helper()
	body, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return json.RawMessage(body)
}
