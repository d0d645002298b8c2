package dag

import (
	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"pgregory.net/rapid"
)

func drawSecretName(t *rapid.T) string { return oneOf(t, "t", "t", "t", "a/t", "b/t", "none", "") }

func drawTLS(t *rapid.T) *contourv1.TLS {
	if few(t, 2) > 0 {
		return nil
	}
	tls := &contourv1.TLS{SecretName: drawSecretName(t), Passthrough: few(t, 4) == 0}
	if tls.Passthrough && few(t, 4) > 0 {
		tls.SecretName = ""
	}
	if few(t, 4) == 0 {
		tls.ClientValidation = &contourv1.DownstreamValidation{CACertificate: drawSecretName(t), OptionalClientCertificate: rapid.Bool().Draw(t, "optional")}
	}
	tls.MinimumProtocolVersion, tls.MaximumProtocolVersion = oneOf(t, "", "", "1.3", "odd"), oneOf(t, "", "", "", "1.2")
	return tls
}

func drawTCPProxy(t *rapid.T) *contourv1.TCPProxy {
	if few(t, 5) > 0 {
		return nil
	}
	p := &contourv1.TCPProxy{}
	if rapid.Bool().Draw(t, "include") {
		p.Include = &contourv1.TCPProxyInclude{Name: "p" + oneOf(t, "0", "1", "2"), Namespace: oneOf(t, "", "a", "b")}
	}
	if p.Include == nil || few(t, 5) == 0 {
		p.Services = []contourv1.Service{{Name: "s" + oneOf(t, "0", "1", "2"), Port: 80}}
	}
	return p
}

func drawIngressTLS(t *rapid.T) []networkingv1.IngressTLS {
	var all []networkingv1.IngressTLS
	for range max(0, few(t, 3)-1) {
		all = append(all, networkingv1.IngressTLS{
			Hosts: []string{oneOf(t, "x.test", "X.test", "*.test", "", "y.test")}, SecretName: drawSecretName(t),
		})
	}
	return all
}

// drawAnnotations are good and bad values of annotations with a meaning.
func drawAnnotations(t *rapid.T) map[string]string {
	all := map[string]string{}
	for range max(0, few(t, 3)-1) {
		switch few(t, 6) {
		case 0, 1:
			all[includedBy] = oneOf(t, "a/*", "b/*", "a/p0, b/p1", "b/p0,a/p1", "", "nobody")
		case 2:
			all[forceSSLRedirect] = oneOf(t, "true", "false", "odd")
		case 3:
			all[allowHTTP] = oneOf(t, "true", "false", "odd")
		case 4:
			all[tlsCertNamespace] = oneOf(t, "a", "b")
		case 5:
			all[responseLimit] = oneOf(t, "1s", "odd")
		default:
			all[retryOn], all[numRetries] = oneOf(t, "5xx", "odd"), oneOf(t, "-1", "2", "odd")
		}
	}
	return all
}
