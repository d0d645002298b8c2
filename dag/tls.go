package dag

import (
	"errors"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"

	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

// TLS is how the HTTPS listener serves a host.
type TLS struct {
	// Owner is the object that asks for TLS, Field where.
	Owner manifest.Key `json:"owner"`
	Field string       `json:"field,omitempty"`
	// Passthrough hands connections on as they are; then the rest is unset.
	Passthrough bool `json:"passthrough,omitempty"`
	// Certificate is a Secret whose certificate a Delta has brought.
	Certificate SecretRef        `json:"certificate,omitzero"`
	Versions    TLSVersions      `json:"versions,omitzero"`
	Client      *ClientValidator `json:"client,omitempty"`
	// Fallback is the certificate with which the host is also served to clients
	// that name no known server; zero for none.
	Fallback SecretRef `json:"fallback,omitzero"`
}

// ClientValidator is what is asked of a client's certificate.
type ClientValidator struct {
	// CA is a PEM bundle; empty with SkipVerify.
	CA string `json:"ca,omitempty"`
	// SkipVerify asks for a certificate and takes any.
	SkipVerify bool `json:"skipVerify,omitempty"`
	// Optional lets clients without a certificate in.
	Optional bool `json:"optional,omitempty"`
	// CRL is PEM; with CRLLeafOnly it is held against the leaf alone.
	CRL         string `json:"crl,omitempty"`
	CRLLeafOnly bool   `json:"crlLeafOnly,omitempty"`
	// Forward puts parts of the certificate into x-forwarded-client-cert.
	Forward *contourv1.ClientCertificateDetails `json:"forward,omitempty"`
}

// PlainHTTP is what the plain HTTP listener does with a route.
type PlainHTTP string

const (
	// PlainServe serves it as the HTTPS listener does.
	PlainServe PlainHTTP = ""
	// PlainRedirect answers 301 to https.
	PlainRedirect PlainHTTP = "redirect"
	// PlainNone answers 404.
	PlainNone PlainHTTP = "none"
)

const tlsField = "spec.virtualhost.tls"

// proxyTLS reads the TLS of a root HTTPProxy. It is false where the host must
// not be served, which is reported.
func (b *hostBuild) proxyTLS(root *entry) (*TLS, bool) {
	spec := root.proxy.Spec.VirtualHost.TLS
	if spec == nil {
		if root.proxy.Spec.TCPProxy != nil {
			b.report(errorIn(root, contourv1.ConditionTypeTCPProxyError, "TLSMustBeConfigured", "spec.tcpproxy",
				"Spec.TCPProxy requires that either Spec.TLS.Passthrough or Spec.TLS.SecretName be set"))
			return nil, false
		}
		return nil, true
	}
	t := tlsReader{hostBuild: b, root: root, spec: spec}
	of := &TLS{Owner: root.key(), Field: tlsField, Passthrough: spec.Passthrough}
	if !t.consistent() {
		return nil, false
	}
	if spec.Passthrough {
		return of, true
	}
	of.Certificate = secretRef(spec.SecretName, root.key().Namespace)
	of.Versions = t.versions()
	ok := t.served(of.Certificate) && t.rangeOf(of.Versions)
	of.Client, ok = t.client(ok)
	of.Fallback, ok = t.fallback(ok)
	return of, ok
}

// tlsReader reads one root's TLS.
type tlsReader struct {
	*hostBuild
	root *entry
	spec *contourv1.TLS
}

func (t *tlsReader) fail(reason, field, format string, args ...any) bool {
	t.report(errorIn(t.root, contourv1.ConditionTypeTLSError, reason, tlsField+field, format, args...))
	return false
}

// failWith is fail with what to do next.
func (t *tlsReader) failWith(remedy, reason, field, format string, args ...any) bool {
	p := errorIn(t.root, contourv1.ConditionTypeTLSError, reason, tlsField+field, format, args...)
	p.Remedy = remedy
	t.report(p)
	return false
}

// consistent checks what can be seen without looking at Secrets.
func (t *tlsReader) consistent() bool {
	s, v := t.spec, t.root.proxy.Spec.VirtualHost
	switch {
	case s.Passthrough && s.SecretName != "":
		return t.fail("TLSConfigNotValid", "", "Spec.VirtualHost.TLS: both Passthrough and SecretName were specified")
	case !s.Passthrough && s.SecretName == "":
		return t.fail("TLSConfigNotValid", "", "Spec.VirtualHost.TLS: neither Passthrough nor SecretName were specified")
	case s.Passthrough && t.root.proxy.Spec.TCPProxy == nil:
		return t.fail("TLSConfigNotValid", ".passthrough",
			"Spec.VirtualHost.TLS: passthrough needs Spec.TCPProxy to say where the connections go")
	case s.Passthrough && s.ClientValidation != nil:
		return t.fail("TLSIncompatibleFeatures", ".clientValidation",
			"Spec.VirtualHost.TLS passthrough cannot be combined with tls.clientValidation")
	case s.Passthrough && s.EnableFallbackCertificate:
		return t.fail("TLSIncompatibleFeatures", ".enableFallbackCertificate",
			"Spec.VirtualHost.TLS: both Passthrough and enableFallbackCertificate were specified")
	case !s.EnableFallbackCertificate:
		return true
	case s.ClientValidation != nil:
		return t.fail("TLSIncompatibleFeatures", ".enableFallbackCertificate",
			"Spec.Virtualhost.TLS fallback & client validation are incompatible")
	case v.Authorization != nil:
		return t.fail("TLSIncompatibleFeatures", ".enableFallbackCertificate",
			"Spec.Virtualhost.TLS fallback & client authorization are incompatible")
	case len(v.JWTProviders) > 0:
		return t.fail("TLSIncompatibleFeatures", ".enableFallbackCertificate",
			"Spec.Virtualhost.TLS fallback & JWT providers are incompatible")
	}
	return true
}

// served reports whether the certificate can be served.
func (t *tlsReader) served(ref SecretRef) bool {
	secret, err := t.reader.certificate(ref, t.root.key().Namespace)
	switch {
	case errors.Is(err, errNotDelegated):
		return t.failWith("add a TLSCertificateDelegation for it in namespace "+ref.Namespace, "DelegationNotPermitted", ".secretName",
			"Spec.VirtualHost.TLS Secret %q certificate delegation not permitted", t.spec.SecretName)
	case err != nil:
		return t.fail("SecretNotValid", ".secretName", "Spec.VirtualHost.TLS Secret %q is invalid: %s", t.spec.SecretName, err)
	}
	if !covers(secret.leaf, t.host) {
		t.report(uncovered(t.root, tlsField+".secretName", ref, t.host))
	}
	return true
}

// uncovered warns of a certificate that is for other hosts.
func uncovered(e *entry, field string, ref SecretRef, host string) problem.Problem {
	p := errorIn(e, contourv1.ConditionTypeTLSError, "CertificateNameMismatch", field,
		"the certificate of Secret %q is not for %q; clients that check it will refuse to connect", ref, host)
	p.Severity = problem.Warning
	return p
}

// versions are the TLS versions that the root asks for. As in Contour, what is
// not a version stands for the default; that is a warning.
func (t *tlsReader) versions() TLSVersions {
	v := t.settings.DownstreamTLS
	for _, of := range []struct {
		text, field string
		into        *string
	}{
		{t.spec.MinimumProtocolVersion, ".minimumProtocolVersion", &v.Minimum},
		{t.spec.MaximumProtocolVersion, ".maximumProtocolVersion", &v.Maximum},
	} {
		switch of.text {
		case "":
		case "1.2", "1.3":
			*of.into = of.text
		default:
			p := errorIn(t.root, contourv1.ConditionTypeTLSError, "TLSConfigNotValid", tlsField+of.field,
				"%q is neither 1.2 nor 1.3; the default is used", of.text)
			p.Severity = problem.Warning
			t.report(p)
		}
	}
	return v
}

func (t *tlsReader) rangeOf(v TLSVersions) bool {
	if v.Minimum != "" && v.Maximum != "" && v.Minimum > v.Maximum {
		return t.fail("TLSConfigNotValid", "",
			"Spec.Virtualhost.TLS the minimum protocol version is greater than the maximum protocol version")
	}
	return true
}

// client reads clientValidation. ok is what is known so far; all that is wrong
// is reported.
func (t *tlsReader) client(ok bool) (*ClientValidator, bool) {
	s := t.spec.ClientValidation
	if s == nil {
		return nil, ok
	}
	c := &ClientValidator{
		SkipVerify: s.SkipClientCertValidation, Optional: s.OptionalClientCertificate,
		CRLLeafOnly: s.OnlyVerifyLeafCertCrl, Forward: s.ForwardClientCertificate,
	}
	const at = ".clientValidation"
	namespace := t.root.key().Namespace
	switch {
	case s.CACertificate != "":
		ca, err := t.reader.authority(secretRef(s.CACertificate, namespace), namespace)
		if err != nil {
			ok = t.clientSecret(at+".caSecret", "CA", s.CACertificate, err)
		}
		c.CA = ca
	case !s.SkipClientCertValidation:
		ok = t.fail("ClientValidationInvalid", at, "Spec.VirtualHost.TLS client validation is invalid: CA Secret must be specified")
	}
	if s.CertificateRevocationList != "" {
		secret, err := t.reader.secret(secretRef(s.CertificateRevocationList, namespace), namespace)
		if err == nil {
			c.CRL, err = secret.crl, secret.crlErr
		}
		if err != nil {
			ok = t.clientSecret(at+".crlSecret", "CRL", s.CertificateRevocationList, err)
		}
	}
	return c, ok
}

// clientSecret reports what is wrong with a Secret of clientValidation.
func (t *tlsReader) clientSecret(field, what, name string, err error) bool {
	if errors.Is(err, errNotDelegated) {
		return t.fail("DelegationNotPermitted", field, "Spec.VirtualHost.TLS %s Secret %q is invalid: %s", what, name, err)
	}
	return t.fail("ClientValidationInvalid", field,
		"Spec.VirtualHost.TLS client validation is invalid: invalid %s Secret %q: %s", what, name, err)
}

// fallback is the platform's fallback certificate, if the root asks for it.
func (t *tlsReader) fallback(ok bool) (SecretRef, bool) {
	if !t.spec.EnableFallbackCertificate {
		return SecretRef{}, ok
	}
	const at = ".enableFallbackCertificate"
	ref := t.settings.FallbackCertificate
	if ref.IsZero() {
		return ref, t.failWith("the platform sets routing.fallbackCertificate, or tls.fallback-certificate in Contour's file", "FallbackNotPresent", at,
			"Spec.Virtualhost.TLS enabled fallback but the fallback Certificate Secret is not configured in Contour configuration file")
	}
	_, err := t.reader.certificate(ref, t.root.key().Namespace)
	switch {
	case errors.Is(err, errNotDelegated):
		return ref, t.fail("FallbackNotDelegated", at,
			"Spec.VirtualHost.TLS Secret %q is not configured for certificate delegation", ref)
	case err != nil:
		return ref, t.fail("FallbackNotValid", at, "Spec.Virtualhost.TLS Secret %q fallback certificate is invalid: %s", ref, err)
	}
	return ref, ok
}

// plainHTTP is what the plain listener does with a route of a root.
func (b *hostBuild) plainHTTP(permitInsecure bool) PlainHTTP {
	if b.tls == nil || permitInsecure && !b.settings.DisablePermitInsecure {
		return PlainServe
	}
	return PlainRedirect
}

// still reports whether what a host with such TLS served before may be served
// again: its Secrets are there, and may be referred to.
func (t *TLS) still(r *reader) bool {
	if t == nil || t.Passthrough {
		return true
	}
	for _, ref := range []SecretRef{t.Certificate, t.Fallback} {
		if ref.IsZero() {
			continue
		}
		if _, err := r.certificate(ref, t.Owner.Namespace); err != nil {
			return false
		}
	}
	return true
}
