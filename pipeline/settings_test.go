package pipeline

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"

	"isoline.dev/isoline/config"
	"isoline.dev/isoline/dag"
	"isoline.dev/isoline/xds"
)

// documented is the configuration in docs/config.md; with all of its keys in
// effect, or only those that are not commented out.
func documented(t *testing.T, all bool) *config.Config {
	t.Helper()
	doc, err := os.ReadFile("../docs/config.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(doc), "```yaml\n")
	body, _, ok := strings.Cut(rest, "```\n")
	if !ok {
		t.Fatal("docs/config.md has no configuration")
	}
	if all {
		body = regexp.MustCompile(`(?m)^  # `).ReplaceAllString(body, "  ")
	}
	file := filepath.Join(t.TempDir(), "isoline.yaml")
	if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTheDocumentedConfigurationStatesTheDefaults(t *testing.T) {
	listener := func(c *config.Config) string {
		all, err := xds.Listeners(newTranslator(c).listeners, nil)
		if err != nil {
			t.Fatal(err)
		}
		return all[xds.ListenerUnit(xds.HTTPListener)].Listeners[0].Version()
	}
	bootstrap := func(c *config.Config) string {
		o := xds.BootstrapOptions{NodeID: "n", XDSAddress: "127.0.0.1", XDSPort: 1}
		BootstrapLimits(c, &o)
		body, err := xds.Bootstrap(o)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	stated, silent := documented(t, false), config.Default()
	if listener(stated) != listener(silent) {
		t.Error("the listener is another when its defaults are written out")
	}
	if diff := cmp.Diff(bootstrap(silent), bootstrap(stated)); diff != "" {
		t.Errorf("the bootstrap is another when its defaults are written out (-without +with):\n%s", diff)
	}
	// The graph's are written out in more words than the zero value has.
	if got := settings(stated); got.ConnectTimeout != 2*time.Second || got.ResponseTimeout != 15*time.Second ||
		got.DNSLookupFamily != "auto" || got.CircuitBreakers != nil || got.ExternalNames || got.DisablePermitInsecure {
		t.Errorf("the settings are %+v", got)
	}
}

func TestEveryDocumentedSettingReachesTheGraph(t *testing.T) {
	got := settings(documented(t, true))
	want := dag.Settings{
		FallbackCertificate: dag.SecretRef{Namespace: "platform", Name: "fallback"},
		ClientCertificate:   dag.SecretRef{Namespace: "platform", Name: "envoy"},
		RequestHeaders:      &contourv1.HeadersPolicy{Set: []contourv1.HeaderValue{{Name: "x-edge", Value: "yes"}}, Remove: []string{"x-debug"}},
		ResponseHeaders:     &contourv1.HeadersPolicy{Set: []contourv1.HeaderValue{{Name: "x-frame-options", Value: "DENY"}}},
		Authorization: &contourv1.AuthorizationServer{
			ExtensionServiceRef: contourv1.ExtensionServiceReference{Namespace: "platform", Name: "auth"},
			ResponseTimeout:     "1s",
			AuthPolicy:          &contourv1.AuthorizationPolicy{Context: map[string]string{"key": "value"}},
			WithRequestBody:     &contourv1.AuthorizationServerBufferSettings{MaxRequestBytes: 1024},
		},
		RateLimit: &dag.RateLimitService{
			Namespace: "platform", Name: "ratelimit", Domain: "contour",
			Default: &contourv1.GlobalRateLimitPolicy{Descriptors: []contourv1.RateLimitDescriptor{{
				Entries: []contourv1.RateLimitDescriptorEntry{{RemoteAddress: &contourv1.RemoteAddressDescriptor{}}},
			}}},
		},
		DownstreamTLS:   dag.TLSVersions{Minimum: "1.2", Maximum: "1.3", Ciphers: []string{}},
		UpstreamTLS:     dag.TLSVersions{Minimum: "1.2", Maximum: "1.3", Ciphers: []string{}},
		DNSLookupFamily: "auto", ConnectTimeout: 2 * time.Second, ResponseTimeout: 15 * time.Second,
		BufferLimit: 32 << 10,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// unset are the fields of a struct that have their zero value.
func unset(v any) (names []string) {
	r := reflect.ValueOf(v)
	for i := range r.NumField() {
		if r.Field(i).IsZero() {
			names = append(names, r.Type().Field(i).Name)
		}
	}
	return names
}

func TestEverySettingHasAKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "isoline.yaml")
	if err := os.WriteFile(file, []byte(`apiVersion: isoline.dev/v1alpha1
kind: Config
listeners:
  http: {address: "::"}
  https: {address: "::"}
  proxyProtocol: true
  trustedHops: 1
  httpVersions: [HTTP/1.1, HTTP/2]
  serverHeader: overwrite
  compression: zstd
  normalizePaths: false
  mergeSlashes: false
  escapedSlashes: keep
  underscores: allow
  stripTrailingHostDot: true
  connectionBalancer: exact
  limits: {buffer: 1Ki, requestHeaders: 2Ki, acceptsPerEvent: 3, requestsPerConnection: 4, http2Streams: 5,
    http2StreamWindow: 70000, http2ConnectionWindow: 80000, connections: 8, requestsPerIOCycle: 9}
  timeouts: {request: 1s, requestHeaders: 2s, connectionIdle: 3s, streamIdle: 4s, maxConnectionDuration: 5s,
    delayedClose: 6s, shutdownGrace: 7s}
  tls: {minimum: "1.2", maximum: "1.2", ciphers: [AES128-SHA]}
  socket: {tos: 1, trafficClass: 2}
  accessLog: {level: error, format: json, fields: [method], path: /x}
routing:
  fallbackCertificate: a/b
  disablePermitInsecure: true
  externalNames: true
  requestHeaders: {set: {a: b}}
  responseHeaders: {set: {a: b}}
  headersOnIngress: true
  authorization: {extensionService: a/b}
  rateLimit: {extensionService: a/b, failOpen: true, enableXRateLimitHeaders: true, enableResourceExhaustedCode: true,
    defaultGlobalRateLimitPolicy: {descriptors: []}}
upstreams:
  clientCertificate: a/b
  tls: {minimum: "1.3"}
  connectTimeout: 1s
  responseTimeout: infinity
  dnsLookupFamily: v4
  requestsPerConnection: 1
  buffer: 1Ki
  circuitBreakers: {maxRequests: 1}
envoy: {maxHeap: 1Gi, maxConnections: 2}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if names := unset(edge(&c.Listeners)); len(names) > 0 {
		t.Errorf("the edge's %v cannot be set", names)
	}
	if names := unset(settings(c)); len(names) > 0 {
		t.Errorf("the settings' %v cannot be set", names)
	}
	if names := unset(*settings(c).RateLimit); len(names) > 0 {
		t.Errorf("the rate limit service's %v cannot be set", names)
	}
	log := accessLog(c.Listeners.AccessLog)
	log.Text = "the other format"
	if names := unset(log); len(names) > 0 {
		t.Errorf("the access log's %v cannot be set", names)
	}
	var o xds.BootstrapOptions
	BootstrapLimits(c, &o)
	if o.MaxHeapBytes != 1<<30 || o.MaxConnections != 2 || o.ListenerConnections != 8 || o.RequestsPerIOCycle != 9 {
		t.Errorf("the bootstrap's limits are %+v", o)
	}
}

// TestHeadersThatCannotBeTheDefaultKeepIsolineFromStarting: without the check
// every route would silently be without them.
func TestHeadersThatCannotBeTheDefaultKeepIsolineFromStarting(t *testing.T) {
	for name, value := range map[string]string{"Host": "a.test", "X-Isoline-Host": "a", "Content-Length": "0", "X-A": ""} {
		c := &config.Config{Routing: config.Routing{RequestHeaders: &config.Headers{Set: map[string]string{name: value}}}}
		if _, err := newGraph(c, nil, nil); err == nil || !strings.Contains(err.Error(), "routing.requestHeaders") {
			t.Errorf("%s: %q: %v", name, value, err)
		}
	}
	c := &config.Config{Routing: config.Routing{ResponseHeaders: &config.Headers{Set: map[string]string{"X-By": "%CONTOUR_SERVICE_NAME%"}}}}
	if _, err := newGraph(c, nil, nil); err != nil {
		t.Error(err)
	}
}
