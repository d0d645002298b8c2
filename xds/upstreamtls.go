package xds

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"isoline.dev/isoline/dag"
)

// upstreamTLS is the TLS to a cluster's endpoints, nil for none. Envoy's own
// private key comes over SDS alone; authorities are part of the cluster, so
// that one with other authorities is a new cluster.
func upstreamTLS(c *dag.Cluster) *corev3.TransportSocket {
	if c.TLS == nil {
		return nil
	}
	common := &tlsv3.CommonTlsContext{TlsParams: tlsParameters(c.TLS.Versions)}
	if http2(c) {
		common.AlpnProtocols = []string{"h2"}
	}
	if ref := c.TLS.ClientCertificate; !ref.IsZero() {
		common.TlsCertificateSdsSecretConfigs = []*tlsv3.SdsSecretConfig{{Name: ref.String(), SdsConfig: overADS()}}
	}
	if v := c.TLS.Validation; v != nil {
		common.ValidationContextType = &tlsv3.CommonTlsContext_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
			TrustedCa:                 inline(v.CA),
			MatchTypedSubjectAltNames: subjectNames(v.SubjectNames),
		}}
	}
	return &corev3.TransportSocket{
		Name: "envoy.transport_sockets.tls",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: mustAny(&tlsv3.UpstreamTlsContext{
			CommonTlsContext: common,
			Sni:              c.TLS.ServerName,
		})},
	}
}

// subjectNames matches a certificate that has one of the names.
func subjectNames(names []string) []*tlsv3.SubjectAltNameMatcher {
	var all []*tlsv3.SubjectAltNameMatcher
	for _, name := range names {
		all = append(all, &tlsv3.SubjectAltNameMatcher{
			SanType: subjectType(name),
			Matcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: name}},
		})
	}
	return all
}

func subjectType(name string) tlsv3.SubjectAltNameMatcher_SanType {
	if _, err := netip.ParseAddr(name); err == nil {
		return tlsv3.SubjectAltNameMatcher_IP_ADDRESS
	}
	if strings.Contains(name, "://") {
		return tlsv3.SubjectAltNameMatcher_URI
	}
	return tlsv3.SubjectAltNameMatcher_DNS
}

func checkUpstreamTLS(c *dag.Cluster) string {
	t := c.TLS
	over := c.Protocol == dag.ProtocolTLS || c.Protocol == dag.ProtocolH2
	switch {
	case over != (t != nil):
		return fmt.Sprintf("its protocol %q does not go with its TLS", c.Protocol)
	case t == nil:
		return ""
	case t.ServerName != "" && !externalName(t.ServerName):
		return fmt.Sprintf("TLS: %.200q is not a server name", t.ServerName)
	case !utf8.ValidString(t.ClientCertificate.String()):
		return "TLS: the name of the client certificate is not UTF-8"
	case t.Validation != nil:
		return checkValidation(t.Validation)
	}
	return ""
}

func checkValidation(v *dag.UpstreamValidation) string {
	if len(v.SubjectNames) == 0 {
		return "TLS validation: it needs a subject name"
	}
	for _, name := range v.SubjectNames {
		if name == "" || !visible(name) {
			return fmt.Sprintf("TLS validation: %.200q is not a subject name", name)
		}
	}
	return checkAuthorities(v.CA)
}

// checkAuthorities holds a bundle of PEM certificates against what Envoy
// takes: at least one, and nothing that is none.
func checkAuthorities(bundle string) string {
	n := 0
	for rest := []byte(bundle); ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil || block.Type != "CERTIFICATE" {
			return "TLS validation: the CA has something that is not a certificate"
		}
	}
	if n == 0 || !utf8.ValidString(bundle) {
		return "TLS validation: the CA has no certificate"
	}
	return ""
}
