package contour

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"isoline.dev/isoline/config"
)

func TestAnEmptyFileMeansContoursDefaults(t *testing.T) {
	got, problems, err := parse("f", nil)
	if err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	want := config.Config{Listeners: config.Listeners{
		ServerHeader: "overwrite",
		AccessLog:    config.AccessLog{Level: "info"},
		Timeouts:     config.ClientTimeouts{Request: config.Infinity, ConnectionIdle: config.Timeout(time.Minute)},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// everything has every documented key that has an effect.
const everything = `
accesslog-format: json

accesslog-level: error

json-fields: ["@timestamp", "id=%REQ(X-ID)%"]

compression: {algorithm: brotli}

default-http-versions: [HTTP/1.1, http/2]

disableMergeSlashes: true

disablePermitInsecure: true

enableExternalNameService: true

serverHeaderTransformation: append_if_absent

tls:
  minimum-protocol-version: "1.3"
  maximum-protocol-version: "1.3"
  cipher-suites: ['[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]', ECDHE-RSA-AES256-GCM-SHA384]
  fallback-certificate: {name: fallback, namespace: edge}
  envoy-client-certificate: {name: client, namespace: edge}

timeouts:
  request-timeout: 30s
  connection-idle-timeout: 90s
  stream-idle-timeout: infinity
  max-connection-duration: 1h
  delayed-close-timeout: 2s
  connection-shutdown-grace-period: 7s
  connect-timeout: 3s

cluster:
  dns-lookup-family: v4
  max-requests-per-connection: 5
  per-connection-buffer-limit-bytes: 40000
  circuit-breakers: {max-connections: 1, max-pending-requests: 2, max-requests: 3, max-retries: 4, per-host-max-connections: 5}
  upstream-tls: {minimum-protocol-version: "1.2", maximum-protocol-version: "1.2", cipher-suites: [AES128-SHA]}

network: {num-trusted-hops: 2, strip-trailing-host-dot: true}

listener:
  connection-balancer: exact
  max-requests-per-connection: 6
  per-connection-buffer-limit-bytes: 50000
  socket-options: {tos: 64}
  max-requests-per-io-cycle: 7
  http2-max-concurrent-streams: 8
  max-connections-per-listener: 9
  max-connections-to-accept-per-socket-event: 10

policy:
  request-headers: {set: {X-Edge: "%HOSTNAME%"}, remove: [X-Debug]}
  response-headers: {set: {X-Flags: "%RESPONSE_FLAGS%"}}
  applyToIngress: true

globalExtAuth:
  extensionService: auth/htpasswd
  failOpen: true
  authPolicy: {context: {a: b}}
  responseTimeout: 1s
  withRequestBody: {maxRequestBytes: 7, allowPartialMessage: true, packAsBytes: true}

rateLimitService:
  extensionService: limits/service
  domain: shop
  failOpen: true
  enableXRateLimitHeaders: true
  enableResourceExhaustedCode: true
  defaultGlobalRateLimitPolicy: {descriptors: [{entries: [{genericKey: {value: foo}}]}]}
`

func TestEveryKeyIsTaken(t *testing.T) {
	got, problems, err := parse("f", []byte(everything))
	if err != nil || len(problems) > 0 {
		t.Fatal(problems, err)
	}
	no := false
	want := config.Config{
		Listeners: config.Listeners{
			TrustedHops: 2, StripTrailingHostDot: true, HTTPVersions: []string{"HTTP/1.1", "HTTP/2"}, MergeSlashes: &no,
			ServerHeader: "append_if_absent", Compression: "brotli", ConnectionBalancer: "exact",
			TLS: config.TLS{Minimum: "1.3", Maximum: "1.3", Ciphers: []string{
				"[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]", "ECDHE-RSA-AES256-GCM-SHA384"}},
			Socket:    config.Socket{TOS: 64},
			AccessLog: config.AccessLog{Level: "error", Format: "json", Fields: []string{"@timestamp", "id=%REQ(X-ID)%"}},
			Limits: config.ClientLimits{RequestsPerConnection: 6, Buffer: 50000, RequestsPerIOCycle: 7, HTTP2Streams: 8,
				Connections: 9, AcceptsPerEvent: 10},
			Timeouts: config.ClientTimeouts{
				Request: config.Timeout(30 * time.Second), ConnectionIdle: config.Timeout(90 * time.Second),
				StreamIdle: config.Infinity, MaxConnectionDuration: config.Timeout(time.Hour),
				DelayedClose: config.Timeout(2 * time.Second), ShutdownGrace: config.Duration(7 * time.Second)},
		},
		Routing: config.Routing{
			FallbackCertificate:   config.NamespacedName{Namespace: "edge", Name: "fallback"},
			DisablePermitInsecure: true, ExternalNames: true, HeadersOnIngress: true,
			RequestHeaders:  &config.Headers{Set: map[string]string{"X-Edge": "%HOSTNAME%"}, Remove: []string{"X-Debug"}},
			ResponseHeaders: &config.Headers{Set: map[string]string{"X-Flags": "%RESPONSE_FLAGS%"}},
			Authorization: &config.Authorization{
				ExtensionService: config.NamespacedName{Namespace: "auth", Name: "htpasswd"}, FailOpen: true,
				ResponseTimeout: config.Timeout(time.Second), AuthPolicy: config.AuthPolicy{Context: map[string]string{"a": "b"}},
				WithRequestBody: &config.RequestBody{MaxRequestBytes: 7, AllowPartialMessage: true, PackAsBytes: true}},
			RateLimit: got.Routing.RateLimit,
		},
		Upstreams: config.Upstreams{
			ClientCertificate: config.NamespacedName{Namespace: "edge", Name: "client"},
			TLS:               config.TLS{Minimum: "1.2", Maximum: "1.2", Ciphers: []string{"AES128-SHA"}},
			ConnectTimeout:    config.Duration(3 * time.Second), DNSLookupFamily: "v4", RequestsPerConnection: 5, Buffer: 40000,
			CircuitBreakers: config.CircuitBreakers{MaxConnections: 1, MaxPendingRequests: 2, MaxRequests: 3, MaxRetries: 4, PerHostMaxConnections: 5},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	limit := got.Routing.RateLimit
	if limit.ExtensionService.String() != "limits/service" || limit.Domain != "shop" || !limit.FailOpen || !limit.EnableXRateLimitHeaders ||
		!limit.EnableResourceExhaustedCode || limit.DefaultGlobalRateLimitPolicy.Descriptors[0].Entries[0].GenericKey.Value != "foo" {
		t.Errorf("the rate limit service is %+v", limit)
	}
}

func TestAKeyWithoutEffectIsAWarningWithItsLine(t *testing.T) {
	for _, tc := range []struct {
		body, key string
		line      int // 0: none
	}{
		{"debug: true", "debug", 1},
		{"debug: false", "", 0},
		{"incluster: true", "incluster", 1},
		{"\nkubeconfig: /x", "kubeconfig", 2},
		{"kubeconfig: \"\"", "", 0},
		{"server:\n  xds-server-type: contour", "server.xds-server-type", 2},
		{"server:\n  xds-server-type: envoy", "", 0},
		{"leaderelection:\n  configmap-name: leader-elect", "leaderelection", 1},
		{"leaderelection: {}", "", 0},
		{"gateway:\n  gatewayRef: {name: a, namespace: b}", "gateway", 1},
		{"gateway: {controllerName: a}", "gateway", 1},
		{"gateway: {namespace: a, name: b}", "gateway", 1},
		{"network: {num-trusted-hops: 1,\n  admin-port: 9001}", "network.admin-port", 2},
		{"disableAllowChunkedLength: false", "disableAllowChunkedLength", 1},
		{"disableAllowChunkedLength: true", "", 0},
		{"envoy-service-name: envoy", "envoy-service-name", 1},
		{"envoy-service-namespace: projectcontour", "envoy-service-namespace", 1},
		{"ingress-status-address: 10.0.0.1", "ingress-status-address", 1},
		{"kubernetesClientQPS: 1.5", "kubernetesClientQPS", 1},
		{"kubernetesClientBurst: 5", "kubernetesClientBurst", 1},
		{"featureFlags: [useEndpointSlices]", "featureFlags", 1},
		{"featureFlags: []", "", 0},
		{"metrics:\n  envoy: {address: 0.0.0.0, port: 8002}", "metrics", 1},
		{"omEnforcedHealthListener: {address: 0.0.0.0, port: 8003}", "omEnforcedHealthListener", 1},
		{"tracing: {extensionService: a/b, customTags: [{tagName: a, literal: b}]}", "tracing", 1},
		{"tls:\n  fallback-certificate:\n", "", 0},
	} {
		_, problems, err := parse("f", []byte(tc.body))
		switch {
		case err != nil:
			t.Errorf("%q: %v", tc.body, err)
		case tc.line == 0 && len(problems) > 0:
			t.Errorf("%q: %v", tc.body, problems)
		case tc.line > 0 && (len(problems) != 1 || problems[0].Field != tc.key || problems[0].Origin.Line != tc.line || problems[0].Origin.Path != "f"):
			t.Errorf("%q: %v, want line %d", tc.body, problems, tc.line)
		}
	}
}

func TestEveryMistakeIsNamedInContoursWords(t *testing.T) {
	for _, tc := range []struct{ name, body, want string }{
		{"an unknown key", "tls:\n  minimum-version: x", "f:2: unknown field minimum-version"},
		{"an unknown key without effect", "metrics:\n  isoline: {}", "f:2: unknown field isoline"},
		{"a ConfigMap", "kind: ConfigMap\ndata: {}", "this is a ConfigMap; give the file that is under data"},
		{"another object", "kind: ContourConfiguration", "a ContourConfiguration is not"},
		{"a format", "accesslog-format: xml", "f:1: accesslog-format: \"xml\""},
		{"a level", "accesslog-level: loud", "f:1: accesslog-level"},
		{"a format string", "\naccesslog-format-string: \"%NO%\"", "f:2: accesslog-format-string"},
		{"a field", "accesslog-format: json\njson-fields:\n- method\n- colour", "f:4: json-fields[1]"},
		{"a version of HTTP", "default-http-versions: [HTTP/3]", "f:1: default-http-versions[0]"},
		{"a transformation", "serverHeaderTransformation: no", "f:1: serverHeaderTransformation"},
		{"an algorithm", "compression:\n  algorithm: lzma", "f:2: compression.algorithm"},
		{"a TLS version", "tls:\n  minimum-protocol-version: \"1.1\"", "f:2: tls.minimum-protocol-version"},
		{"an upstream's TLS version", "cluster:\n  upstream-tls:\n    maximum-protocol-version: \"1.1\"", "f:3: cluster.upstream-tls.maximum-protocol-version"},
		{"a cipher", "tls:\n  cipher-suites: [RC4]", "f:2: tls.cipher-suites[0]"},
		{"half a name", "tls:\n  fallback-certificate: {name: a}", "f:2: tls.fallback-certificate: needs both"},
		{"a time", "timeouts:\n  request-timeout: soon", "f:2: timeouts.request-timeout: \"soon\""},
		{"a grace without an end", "timeouts:\n  connection-shutdown-grace-period: infinity", "f:2: timeouts.connection-shutdown-grace-period"},
		{"a connect timeout", "timeouts: {connect-timeout: 9000h}", "f:1: timeouts.connect-timeout"},
		{"a family", "cluster:\n  dns-lookup-family: v5", "f:2: cluster.dns-lookup-family"},
		{"a limit of nothing", "listener:\n  max-requests-per-connection: 0", "f:2: listener.max-requests-per-connection: must be at least 1"},
		{"a balancer", "listener: {connection-balancer: fair}", "f:1: listener.connection-balancer"},
		{"a socket option", "listener:\n  socket-options:\n    tos: 256", "f:3: listener.socket-options.tos"},
		{"a header", "policy:\n  request-headers:\n    set: {\"a b\": c}", "f:3: policy.request-headers.set.a b"},
		{"a service", "globalExtAuth:\n  failOpen: true", "f:1: globalExtAuth.extensionService: is required"},
		{"a name of a service", "rateLimitService:\n  extensionService: ratelimit", "f:2: \"ratelimit\" is not a namespace/name"},
		{"a word for a number", "network:\n  num-trusted-hops: many", "f:2: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := parse("f", []byte(tc.body))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}
