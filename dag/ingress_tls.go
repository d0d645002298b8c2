package dag

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"isoline.dev/isoline/problem"
)

// Annotations of an Ingress that are about TLS.
const (
	forceSSLRedirect  = "ingress.kubernetes.io/force-ssl-redirect"
	allowHTTP         = "kubernetes.io/ingress.allow-http"
	tlsCertNamespace  = "projectcontour.io/tls-cert-namespace"
	tlsMinimumVersion = "projectcontour.io/tls-minimum-protocol-version"
	tlsMaximumVersion = "projectcontour.io/tls-maximum-protocol-version"
)

// readIngressTLS checks what follows from an Ingress alone.
func (e *entry) readIngressTLS() {
	named := map[string]string{} // the Secret of a host
	for i, t := range e.ingress.Spec.TLS {
		at := "spec.tls[" + strconv.Itoa(i) + "]"
		if t.SecretName == "" {
			e.report(errorIn(e, ingressError, "SecretNotValid", at+".secretName", "spec.tls must name a Secret"))
		}
		if len(t.Hosts) == 0 {
			e.report(errorIn(e, ingressError, "TLSHostNotValid", at,
				"spec.tls must list hosts: a certificate for all hosts is not served"))
		}
		for j, host := range t.Hosts {
			field := at + ".hosts[" + strconv.Itoa(j) + "]"
			switch host = asciiLower(host); {
			case host == "" || host == catchAll:
				e.report(errorIn(e, ingressError, "TLSHostNotValid", field, "a certificate for all hosts is not served"))
			case len(e.paths[host]) == 0:
				p := errorIn(e, ingressError, "TLSHostNotValid", field, "no rule of the Ingress is for host %q; it has no part in TLS", host)
				p.Severity = problem.Warning
				e.report(p)
			case named[host] != "" && named[host] != t.SecretName:
				e.report(errorIn(e, ingressError, "TLSConflict", field, "host %q has Secret %q already", host, named[host]))
			default:
				named[host] = t.SecretName
			}
		}
	}
	for _, name := range []string{tlsCertNamespace, tlsMinimumVersion, tlsMaximumVersion} {
		if _, set := e.ingress.Annotations[name]; set && len(e.ingress.Spec.TLS) == 0 {
			e.warnOfAnnotation(name, "IgnoredAnnotation", "%s has no effect without spec.tls", name)
		}
	}
	for _, name := range []string{forceSSLRedirect, allowHTTP} {
		if v, ok := e.ingress.Annotations[name]; ok && v != "true" && v != "false" {
			e.warnOfAnnotation(name, "AnnotationNotValid", "%q is neither true nor false; it has no effect", v)
		}
	}
}

func annotation(name string) string { return "metadata.annotations[" + name + "]" }

// ingressTLS is the TLS that an Ingress asks for on the host, or nil. What is
// wrong with it is reported; its plain routes stay.
func (b *hostBuild) ingressTLS(e *entry) *TLS {
	for i, t := range e.ingress.Spec.TLS {
		if t.SecretName == "" || !slices.ContainsFunc(t.Hosts, func(h string) bool { return asciiLower(h) == b.host }) {
			continue
		}
		field := "spec.tls[" + strconv.Itoa(i) + "]"
		ref := secretRef(t.SecretName, e.key().Namespace)
		if ns := e.ingress.Annotations[tlsCertNamespace]; ns != "" && !strings.Contains(t.SecretName, "/") {
			ref.Namespace = ns
		}
		secret, err := b.reader.certificate(ref, e.key().Namespace)
		switch {
		case errors.Is(err, errNotDelegated):
			b.report(errorIn(e, ingressError, "DelegationNotPermitted", field+".secretName",
				"Secret %q certificate delegation not permitted", ref))
			return nil
		case err != nil:
			b.report(errorIn(e, ingressError, "SecretNotValid", field+".secretName", "Secret %q is invalid: %s", ref, err))
			return nil
		}
		if !covers(secret.leaf, b.host) {
			p := uncovered(e, field+".secretName", ref, b.host)
			p.Type = ingressError
			b.report(p)
		}
		versions, ok := b.ingressVersions(e)
		if !ok {
			return nil
		}
		return &TLS{Owner: e.key(), Field: field, Certificate: ref, Versions: versions}
	}
	return nil
}

// ingressVersions are the TLS versions that an Ingress asks for.
func (b *hostBuild) ingressVersions(e *entry) (TLSVersions, bool) {
	v := b.settings.DownstreamTLS
	for name, into := range map[string]*string{tlsMinimumVersion: &v.Minimum, tlsMaximumVersion: &v.Maximum} {
		switch text := e.ingress.Annotations[name]; text {
		case "":
		case "1.2", "1.3":
			*into = text
		default:
			p := errorIn(e, ingressError, "AnnotationNotValid", annotation(name), "%q is neither 1.2 nor 1.3; the default is used", text)
			p.Severity = problem.Warning
			b.report(p)
		}
	}
	if v.Minimum != "" && v.Maximum != "" && v.Minimum > v.Maximum {
		b.report(errorIn(e, ingressError, "TLSConfigNotValid", annotation(tlsMinimumVersion),
			"the minimum TLS version is greater than the maximum; the Ingress is served without TLS"))
		return v, false
	}
	return v, true
}

// joinTLS decides whose TLS a host has: the one that came first. Another that
// wants something else is told.
func (b *hostBuild) joinTLS(vhost *VirtualHost, e *entry, t *TLS) {
	switch {
	case t == nil:
	case vhost.TLS == nil:
		vhost.TLS = t
	case vhost.TLS.Passthrough || vhost.TLS.Certificate != t.Certificate || !sameVersions(vhost.TLS.Versions, t.Versions):
		other := b.reader.object(vhost.TLS.Owner)
		b.report(against(errorIn(e, ingressError, "TLSConflict", t.Field,
			"the TLS of host %q is taken: %s keeps deciding it", b.host, vhost.TLS.Owner), other))
	}
}

func sameVersions(a, b TLSVersions) bool {
	return a.Minimum == b.Minimum && a.Maximum == b.Maximum && slices.Equal(a.Ciphers, b.Ciphers)
}

// ingressPlain is what the plain HTTP listener does with an Ingress's routes.
func ingressPlain(e *entry) PlainHTTP {
	switch {
	case e.ingress.Annotations[forceSSLRedirect] == "true":
		return PlainRedirect
	case e.ingress.Annotations[allowHTTP] == "false":
		return PlainNone
	default:
		return PlainServe
	}
}
