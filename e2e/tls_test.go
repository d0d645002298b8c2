package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"isoline.dev/isoline/lab"
)

// secret is the manifest of a certificate.
func secret(namespace, name string, pair *lab.Pair) string {
	indent := func(pem []byte) string {
		return "    " + strings.ReplaceAll(strings.TrimSpace(string(pem)), "\n", "\n    ")
	}
	return fmt.Sprintf(`apiVersion: v1
kind: Secret
metadata: {name: %s, namespace: %s}
type: kubernetes.io/tls
stringData:
  tls.crt: |
%s
  tls.key: |
%s
`, name, namespace, indent(pair.CertPEM), indent(pair.KeyPEM))
}

// TestSwitchesOnTheHTTPSListenerLoseNoConnection renews the certificate,
// changes the services of a host and of a TCP proxy, and adds and removes other
// hosts, each time with a connection of its own for every request.
func TestSwitchesOnTheHTTPSListenerLoseNoConnection(t *testing.T) {
	ca, err := lab.NewAuthority("ca")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	sides := []*lab.Upstream{upstream(t, "even"), upstream(t, "odd")}
	file := filepath.Join(dir, "all.yaml")
	state := func(i int) string {
		pair, err := ca.Sign(lab.CertificateOptions{Hosts: []string{"*.example.com"}})
		if err != nil {
			t.Fatal(err)
		}
		now := fmt.Sprintf("v%d", i)
		docs := []string{
			secret("default", "certificate", pair), service("default", now, sides[i%2]),
			tlsProxy("http", fmt.Sprintf("routes: [{services: [{name: %s, port: 80}]}]", now)),
			tlsProxy("tcp", fmt.Sprintf("tcpproxy: {services: [{name: %s, port: 80}]}", now)),
		}
		for k := range i % 3 {
			docs = append(docs, tlsProxy(fmt.Sprintf("other%d", k), "routes: [{directResponsePolicy: {statusCode: 200}}]"))
		}
		return strings.Join(docs, "---\n")
	}
	replace(t, file, state(0))
	r := newDirectoryRig(t, dir)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.PEM)
	load := func(host string) *lab.Load {
		return lab.StartLoad(t.Context(), lab.LoadOptions{
			URL: fmt.Sprintf("https://127.0.0.1:%d/", r.https), Host: host, Clients: 2, Reconnect: true,
			TLS: &tls.Config{ServerName: host, RootCAs: roots, MinVersion: tls.VersionTLS12},
		})
	}
	hosts := []string{"http.example.com", "tcp.example.com"}
	seen := func(l *lab.Load, name string, before int) {
		t.Helper()
		r.eventually(func() error {
			if n := l.Result().Names[name]; n <= before {
				return fmt.Errorf("%s has answered %d requests", name, n)
			}
			return nil
		})
	}
	for _, host := range hosts { // until the listener is there, it may fail
		first := load(host)
		seen(first, "even", 0)
		first.Stop()
	}
	loads := []*lab.Load{load(hosts[0]), load(hosts[1])}
	for i := 1; i <= 40; i++ {
		name := []string{"even", "odd"}[i%2]
		before := []int{loads[0].Result().Names[name], loads[1].Result().Names[name]}
		replace(t, file, state(i))
		for k, l := range loads {
			seen(l, name, before[k])
		}
	}
	for _, l := range loads {
		noFailures(t, l)
	}
}

func tlsProxy(name, spec string) string {
	return fmt.Sprintf(`apiVersion: projectcontour.io/v1
kind: HTTPProxy
metadata: {name: %s, namespace: default}
spec:
  virtualhost: {fqdn: %s.example.com, tls: {secretName: certificate}}
  %s
`, name, name, spec)
}
