package config

import (
	"os"
	"strings"
	"testing"
)

func TestEveryMistakeAboutTheEdgeIsNamedWithItsLine(t *testing.T) {
	for _, tc := range []struct{ name, body, want string }{
		{"a server header", "listeners:\n  serverHeader: hide", "f:4: listeners.serverHeader: \"hide\" is not one of"},
		{"a compression", "listeners: {compression: lzma}", "listeners.compression"},
		{"an action for slashes", "listeners: {escapedSlashes: drop}", "listeners.escapedSlashes"},
		{"an action for underscores", "listeners: {underscores: no}", "listeners.underscores"},
		{"a balancer", "listeners: {connectionBalancer: fair}", "listeners.connectionBalancer"},
		{"an HTTP version", "listeners:\n  httpVersions:\n  - HTTP/1.1\n  - HTTP/3", "f:6: listeners.httpVersions[1]"},
		{"an unknown key", "listeners:\n  limits:\n    streams: 1", "f:5: unknown field streams"},
		{"a window that HTTP/2 has not", "listeners: {limits: {http2StreamWindow: 1Ki}}", "listeners.limits.http2StreamWindow"},
		{"headers above what Envoy takes", "listeners: {limits: {requestHeaders: 9Mi}}", "listeners.limits.requestHeaders: must be from"},
		{"headers between two steps", "listeners: {limits: {requestHeaders: 1500}}", "must be a multiple of 1Ki"},
		{"a buffer above what Envoy counts", "upstreams: {buffer: 5Gi}", "upstreams.buffer"},
		{"streams above what HTTP/2 counts", "listeners: {limits: {http2Streams: 2147483648}}", "listeners.limits.http2Streams"},
		{"a negative number", "listeners: {trustedHops: -1}", "f:3: "},
		{"a time of nothing", "listeners:\n  timeouts:\n    request: 0s", "f:5: \"0s\" is not a time"},
		{"a time beyond Envoy", "listeners: {timeouts: {streamIdle: 9000h}}", "\"9000h\" is not a time"},
		{"no end for what needs one", "listeners: {timeouts: {shutdownGrace: infinity}}", "\"infinity\" is not a duration"},
		{"a grace beyond Envoy", "listeners: {timeouts: {shutdownGrace: 9000h}}", "listeners.timeouts.shutdownGrace"},
		{"a connect timeout of a blink", "upstreams: {connectTimeout: 1us}", "upstreams.connectTimeout"},
		{"a TLS version", "listeners:\n  tls: {minimum: \"1.1\"}", "f:4: listeners.tls.minimum"},
		{"TLS versions the wrong way round", "upstreams: {tls: {minimum: \"1.3\", maximum: \"1.2\"}}", "upstreams.tls.minimum: is above the maximum"},
		{"a cipher", "listeners:\n  tls:\n    ciphers: [AES256-SHA, RC4]", "f:5: listeners.tls.ciphers[1]"},
		{"an open group of ciphers", "listeners: {tls: {ciphers: [\"[AES128-SHA|AES256-SHA\"]}}", "listeners.tls.ciphers[0]"},
		{"a group without brackets", "listeners: {tls: {ciphers: [\"AES128-SHA|AES256-SHA\"]}}", "listeners.tls.ciphers[0]"},
		{"a TOS", "listeners: {socket: {tos: 256}}", "listeners.socket.tos: must be"},
		{"a TOS without IPv4", "listeners: {https: {address: \"::1\"}, socket: {tos: 8}}", "listeners.socket.tos: is for IPv4"},
		{"a traffic class without IPv6", "listeners: {socket: {trafficClass: 8}}", "listeners.socket.trafficClass: is for IPv6"},
		{"an access log's level", "listeners: {accessLog: {level: loud}}", "listeners.accessLog.level"},
		{"an access log's format", "listeners: {accessLog: {format: xml}}", "listeners.accessLog.format"},
		{"an operator", "listeners:\n  accessLog:\n    text: \"%PROTOCOL% %NOTHING%\"", "f:5: listeners.accessLog.text: %NOTHING%"},
		{"a field", "listeners: {accessLog: {format: json, fields: [method, colour]}}", "listeners.accessLog.fields[1]: \"colour\""},
		{"a field twice", "listeners: {accessLog: {format: json, fields: [method, method]}}", "listeners.accessLog.fields[1]: \"method\" is there already"},
		{"fields of a text", "listeners: {accessLog: {fields: [method]}}", "listeners.accessLog.fields: is for the format json"},
		{"a text of JSON", "listeners: {accessLog: {format: json, text: x}}", "listeners.accessLog.text: is for the format envoy"},
		{"a file by halves", "listeners: {accessLog: {path: log}}", "listeners.accessLog.path"},
		{"a Secret without a namespace", "routing:\n  fallbackCertificate: fallback", "f:4: \"fallback\" is not a namespace/name"},
		{"a header name", "routing:\n  requestHeaders:\n    set: {\"a b\": c}", "f:5: routing.requestHeaders.set.a b: \"a b\" is not a header name"},
		{"a header with a line break", "routing: {responseHeaders: {set: {a: \"b\\nc\"}}}", "the value has a line break"},
		{"a header twice", "routing: {responseHeaders: {set: {a: b}, remove: [A]}}", "routing.responseHeaders.remove[0]: the header \"A\" is named twice"},
		{"a response's Host", "routing: {responseHeaders: {remove: [host]}}", "a response has no Host"},
		{"no authorization service", "routing:\n  authorization:\n    failOpen: true", "f:4: routing.authorization.extensionService: is required"},
		{"no rate limit service", "routing: {rateLimit: {domain: x}}", "routing.rateLimit.extensionService: is required"},
		{"a key that HTTPProxy has not", "routing:\n  rateLimit:\n    extensionService: a/b\n    defaultGlobalRateLimitPolicy:\n      descriptor: []", "f:7: unknown field \"descriptor\""},
		{"a family of addresses", "upstreams: {dnsLookupFamily: v5}", "upstreams.dnsLookupFamily"},
		{"a root namespace that is not watched", "cluster:\n  watchNamespaces: [a]\n  rootNamespaces: [a, b]", "f:5: cluster.rootNamespaces[1]: namespace \"b\" is not one of cluster.watchNamespaces"},
		{"a certificate that is not watched", "cluster: {watchNamespaces: [a]}\nrouting: {fallbackCertificate: b/c}", "routing.fallbackCertificate: namespace \"b\""},
		{"a service that is not watched", "cluster: {watchNamespaces: [a]}\nrouting: {rateLimit: {extensionService: b/c}}", "routing.rateLimit.extensionService: namespace \"b\""},
		{"a namespace that is none", "cluster: {watchNamespaces: [A]}", "cluster.watchNamespaces[0]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := parse(Config{}, "f", []byte("apiVersion: isoline.dev/v1alpha1\nkind: Config\n"+tc.body+"\n"))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

func TestAFormatIsTakenWhereEnvoyTakesIt(t *testing.T) {
	for _, tc := range []struct {
		format string
		good   bool
	}{
		{"", true},
		{"plain", true},
		{"%PROTOCOL%", true},
		{"[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%\"\n", true},
		{"%REQ(X-ID):10%", true},
		{"%START_TIME(%Y/%m/%dT%H:%M:%S%z %3f)%", true},
		{"%METADATA(ROUTE:envoy.access_loggers.file:io.projectcontour.name)%", true},
		{"%REQ_WITHOUT_QUERY(:PATH)%", true},
		{"%TRAILER(grpc-status)%", true},
		{"%ENVIRONMENT(POD_NAME)%", true},
		{"100%", false},
		{"%", false},
		{"%%", false},
		{"%PROTOCOL", false},
		{"%protocol%", false},
		{"%NOTHING%", false},
		{"%REQ%", false},
		{"%REQ()%", false},
		{"%REQ(A B)%", false},
		{"%REQ(A?B?C)%", false},
		{"%REQ(A):x%", false},
		{"%PROTOCOL(a)%", false},
		{"%PROTOCOL:4%", false},
		{"%START_TIME:4%", false},
		{"%START_TIME(\n)%", false},
		{"%METADATA(ROUTE)%", false},
		{"%METADATA(WHATEVER:a)%", false},
		{"%UPSTREAM_FILTER_STATE%", false},
		{"%DYNAMIC_METADATA(a)%", false},
	} {
		if why := checkFormat(tc.format); (why == "") != tc.good {
			t.Errorf("%q: %q", tc.format, why)
		}
	}
}

func TestFieldsOfAnAccessLogAreContours(t *testing.T) {
	got := AccessLog{Format: "json", Fields: []string{"@timestamp", "method", "response_code", "Duration", "id=%REQ(X-ID)%"}}.Members()
	for name, want := range map[string]string{"@timestamp": "%START_TIME%", "method": "%REQ(:METHOD)%",
		"response_code": "%RESPONSE_CODE%", "Duration": "%DURATION%", "id": "%REQ(X-ID)%"} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if n := len(AccessLog{Format: "json"}.Members()); n != 23 {
		t.Errorf("there are %d fields by default", n)
	}
}

// TestEveryOperatorIsProven holds the case that Envoy is given against what is
// allowed here, so that no operator is allowed that Envoy does not have.
func TestEveryOperatorIsProven(t *testing.T) {
	proof, err := os.ReadFile("../testdata/cases/config/access-log-operators.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for name := range withoutArguments {
		if !strings.Contains(string(proof), "%"+name+"%") {
			t.Errorf("%%%s%% is not in the case", name)
		}
	}
	for name := range withArguments {
		if !strings.Contains(string(proof), "%"+name+"(") {
			t.Errorf("%%%s(...)%% is not in the case", name)
		}
	}
}
