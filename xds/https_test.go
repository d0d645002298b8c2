package xds

import (
	"fmt"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
	"pgregory.net/rapid"

	"isoline.dev/isoline/dag"
	"isoline.dev/isoline/lab"
)

// TestWhateverTLSIsAskedForIsTakenByEnvoy makes hosts with TLS of every kind.
// A listener is refused as a whole, so what translation lets through has to be
// good.
func TestWhateverTLSIsAskedForIsTakenByEnvoy(t *testing.T) {
	dir := t.TempDir()
	ca, err := lab.NewAuthority("ca")
	if err != nil {
		t.Fatal(err)
	}
	crl, err := ca.Revoke()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Sign(lab.CertificateOptions{Hosts: []string{"example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	opts := ListenerOptions{HTTP: ListenerAddress{"127.0.0.1", 1}, HTTPS: ListenerAddress{"127.0.0.1", 2}}
	rapid.Check(t, func(r *rapid.T) {
		var chains []*Chain
		var o offer
		for i := range 12 {
			vh := anyTLSHost(r, i, string(ca.PEM), string(crl))
			chain, problems := TranslateChain(vh, opts)
			if (chain == nil) == (len(problems) == 0) {
				r.Fatalf("%+v: a chain %t, problems %v", vh.TLS, chain != nil, problems)
			}
			if chain != nil {
				chains = append(chains, chain)
				o.upstreams = append(o.upstreams, chain.clusters...)
			}
		}
		l, err := httpsListener(opts, chains)
		if err != nil {
			r.Fatal(err)
		}
		if l != nil {
			for _, chain := range l.FilterChains {
				inlineCertificate(t, chain, pair)
			}
			o.listeners = []*listenerv3.Listener{l}
		}
		if why := envoyRefuses(t, dir, o); why != "" {
			r.Fatalf("Envoy refuses it: %s", why)
		}
	})
}

// inlineCertificate puts a certificate in place of the one that comes over ADS:
// without a stream, as in its validation mode, Envoy crashes on that.
func inlineCertificate(t *testing.T, chain *listenerv3.FilterChain, pair *lab.Pair) {
	t.Helper()
	if chain.TransportSocket == nil {
		return
	}
	context := &tlsv3.DownstreamTlsContext{}
	if err := chain.TransportSocket.GetTypedConfig().UnmarshalTo(context); err != nil {
		t.Fatal(err)
	}
	context.CommonTlsContext.TlsCertificateSdsSecretConfigs = nil
	context.CommonTlsContext.TlsCertificates = []*tlsv3.TlsCertificate{{
		CertificateChain: inline(string(pair.CertPEM)), PrivateKey: inline(string(pair.KeyPEM)),
	}}
	chain.TransportSocket.ConfigType = &corev3.TransportSocket_TypedConfig{TypedConfig: mustAny(context)}
}

func anyTLSHost(r *rapid.T, i int, ca, crl string) *dag.VirtualHost {
	vh := &dag.VirtualHost{Host: fmt.Sprintf("h%d.example.com", i), TLS: &dag.TLS{
		Certificate: dag.SecretRef{Namespace: "a", Name: "certificate"},
		Versions: dag.TLSVersions{
			Minimum: rapid.SampledFrom([]string{"", "1.2", "1.3"}).Draw(r, "minimum"),
			Ciphers: rapid.SampledFrom([][]string{nil, {"ECDHE-RSA-AES256-GCM-SHA384", "[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]"}}).Draw(r, "ciphers"),
		},
	}}
	if rapid.Bool().Draw(r, "wildcard") {
		vh.Host = "*." + vh.Host
	}
	if vh.TLS.Versions.Minimum != "1.3" && rapid.Bool().Draw(r, "old") {
		vh.TLS.Versions.Maximum = "1.2"
	}
	if rapid.Bool().Draw(r, "client") {
		vh.TLS.Client = anyClientValidator(r, ca, crl)
	} else if rapid.Bool().Draw(r, "fallback") {
		vh.TLS.Fallback = dag.SecretRef{Namespace: "p", Name: "fallback"}
	}
	if rapid.IntRange(0, 2).Draw(r, "tcp") == 0 {
		vh.TCP = &dag.TCPProxy{Clusters: rapid.SliceOfN(rapid.Custom(anyCluster), 1, 4).Draw(r, "clusters")}
		if rapid.Bool().Draw(r, "passthrough") {
			vh.TLS = &dag.TLS{Passthrough: true}
		}
	}
	if rare(r, "host") {
		vh.Host = rapid.SampledFrom([]string{"*", "", "A.example.com", strings.Repeat("a", 254), "a b"}).Draw(r, "bad host")
	}
	return vh
}

func anyClientValidator(r *rapid.T, ca, crl string) *dag.ClientValidator {
	c := &dag.ClientValidator{
		SkipVerify: rapid.Bool().Draw(r, "skip"), Optional: rapid.Bool().Draw(r, "optional"), CA: ca,
	}
	if c.SkipVerify && rapid.Bool().Draw(r, "no ca") {
		c.CA = ""
	}
	if c.CA != "" && rapid.Bool().Draw(r, "crl") {
		c.CRL, c.CRLLeafOnly = crl, rapid.Bool().Draw(r, "leaf only")
	}
	if rapid.Bool().Draw(r, "forward") {
		c.Forward = &contourv1.ClientCertificateDetails{
			Subject: rapid.Bool().Draw(r, "subject"), Cert: rapid.Bool().Draw(r, "cert"), Chain: rapid.Bool().Draw(r, "chain"),
			DNS: rapid.Bool().Draw(r, "dns"), URI: rapid.Bool().Draw(r, "uri"),
		}
	}
	return c
}
