package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// onFallback asks for a fallback certificate.
const onFallback = `apiVersion: projectcontour.io/v1
kind: HTTPProxy
metadata: {name: f, namespace: default}
spec:
  virtualhost: {fqdn: f.example.com, tls: {secretName: f, enableFallbackCertificate: true}}
  routes: [{directResponsePolicy: {statusCode: 204}}]
---
apiVersion: projectcontour.io/v1
kind: HTTPProxy
metadata: {name: g, namespace: other}
spec:
  virtualhost: {fqdn: g.example.com}
  routes: [{directResponsePolicy: {statusCode: 204}}]
`

func TestContoursConfigurationIsTakenAsItStands(t *testing.T) {
	t.Parallel()
	w := &caseWorld{t: t, secrets: map[string]*caseSecret{}}
	w.makeCertificates([]string{"default/f f.example.com"})
	dir := manifests(t, map[string]string{"routes/p.yaml": onFallback + w.secretManifests(nil),
		"contour.yaml": `accesslog-format: json
network: {num-trusted-hops: 3}
tls:
  fallback-certificate: {name: of-contour, namespace: default}
incluster: true
`,
		"bad.yaml":   "accesslog-format: json\njson-fields:\n- colour\n",
		"typo.yaml":  "accesslog: json\n",
		"empty.yaml": "",
		"isoline.yaml": `apiVersion: isoline.dev/v1alpha1
kind: Config
listeners: {trustedHops: 2}
`})
	routes, file := filepath.Join(dir, "routes"), func(name string) string { return filepath.Join(dir, name) }
	for _, tc := range []struct {
		name string
		args []string
		code int
		want []string
		not  string
	}{
		{"a key without effect is a warning with its place",
			[]string{"check", "--manifests", routes, "--contour-config", file("contour.yaml")}, 1,
			[]string{"contour.yaml:5: warning: ConfigurationError/KeyNotHonoured: incluster"}, ""},
		{"its fallback certificate is asked for",
			[]string{"check", "--manifests", routes, "--contour-config", file("contour.yaml")}, 1,
			[]string{`Secret "default/of-contour"`}, ""},
		{"a flag comes before the file",
			[]string{"check", "--manifests", routes, "--contour-config", file("contour.yaml"), "--fallback-certificate", "default/of-flag"}, 1,
			[]string{`Secret "default/of-flag"`}, "of-contour"},
		{"what it sets is in what Envoy is sent",
			[]string{"xds", "-o", "json", "--manifests", routes, "--contour-config", file("contour.yaml")}, 0,
			[]string{`"xffNumTrustedHops": 3`, `"uber_trace_id"`}, ""},
		{"Isoline's own file comes before it",
			[]string{"xds", "-o", "json", "--manifests", routes, "--contour-config", file("contour.yaml"), "-c", file("isoline.yaml")}, 0,
			[]string{`"xffNumTrustedHops": 2`, `"uber_trace_id"`}, ""},
		{"an empty one means Contour's defaults",
			[]string{"xds", "-o", "json", "--manifests", routes, "--contour-config", file("empty.yaml")}, 0,
			[]string{`"envoy.access_loggers.stdout"`}, `"PASS_THROUGH"`},
		{"none at all does not",
			[]string{"xds", "-o", "json", "--manifests", routes}, 0,
			[]string{`"PASS_THROUGH"`}, `"envoy.access_loggers.stdout"`},
		{"route takes it too",
			[]string{"route", "--manifests", routes, "--contour-config", file("contour.yaml"), "http://g.example.com/"}, 0, []string{"g.example.com"}, ""},
		{"a bad value is an error with its place",
			[]string{"run", "--manifests", routes, "--contour-config", file("bad.yaml")}, 2, []string{"bad.yaml:3: json-fields[0]"}, ""},
		{"an unknown key is one too",
			[]string{"check", "--manifests", routes, "--contour-config", file("typo.yaml")}, 2, []string{"typo.yaml:1: unknown field accesslog"}, ""},
		{"namespaces that are not watched take no part",
			[]string{"check", "--manifests", routes, "--watch-namespaces", "other"}, 0, []string{"g.example.com"}, "f.example.com"},
		{"a root namespace has to be watched",
			[]string{"check", "--manifests", routes, "--watch-namespaces", "other", "--root-namespaces", "default"}, 2, []string{"cluster.rootNamespaces[0]"}, ""},
		{"a fallback certificate needs a namespace",
			[]string{"check", "--manifests", routes, "--fallback-certificate", "f"}, 2, []string{"--fallback-certificate: \"f\" is not a namespace/name"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := isoline(t, tc.args...)
			out := stdout + stderr
			if code != tc.code {
				t.Errorf("exit %d, want %d", code, tc.code)
			}
			for _, want := range tc.want {
				if !strings.Contains(out, want) {
					t.Errorf("it does not say %s", want)
				}
			}
			if tc.not != "" && strings.Contains(out, tc.not) {
				t.Errorf("it says %s", tc.not)
			}
			if t.Failed() {
				t.Log(out)
			}
		})
	}
}

func TestTheBootstrapHasTheConfigurationsLimits(t *testing.T) {
	t.Parallel()
	dir := manifests(t, map[string]string{
		"contour.yaml": "listener: {max-connections-per-listener: 77, max-requests-per-io-cycle: 5}\n",
		"isoline.yaml": "apiVersion: isoline.dev/v1alpha1\nkind: Config\nxds: {port: 4321}\nenvoy: {maxHeap: 1Gi, maxConnections: 1234}\n",
	})
	code, stdout, stderr := isoline(t, "bootstrap", "-c", filepath.Join(dir, "isoline.yaml"), "--contour-config", filepath.Join(dir, "contour.yaml"))
	if code != 0 {
		t.Fatal(stderr)
	}
	for _, want := range []string{`"maxHeapSizeBytes": "1073741824"`, `"maxActiveDownstreamConnections": "1234"`,
		`"envoy.resource_limits.listener.http.connection_limit": 77`, `"envoy.resource_limits.listener.https.connection_limit": 77`,
		`"http.max_requests_per_io_cycle": 5`, `"portValue": 4321`} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the bootstrap lacks %s", want)
		}
	}
}
