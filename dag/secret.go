package dag

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
	corev1 "k8s.io/api/core/v1"

	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

// A Secret may be referred to from its own namespace, and from others as far
// as TLSCertificateDelegations of its own namespace allow. A Secret or a
// delegation that is withdrawn takes what depends on it with it at once: it is
// never part of a last good action.

// secretContent is what can be said of a Secret alone. Each part has either a
// value or the reason why there is none.
type secretContent struct {
	certificate    *Certificate
	certificateErr error
	leaf           *x509.Certificate
	// ca and crl are PEM.
	ca, crl       string
	caErr, crlErr error
}

// Certificate is a certificate chain and its private key, both PEM. It is
// never part of a VirtualHost, which refers to it by name: memories and logs
// hold no keys.
type Certificate struct {
	Chain, Key []byte
}

// String says that there is one, and no more.
func (c *Certificate) String() string { return "certificate" }

func readSecret(s *corev1.Secret) *secretContent {
	c := &secretContent{}
	c.certificate, c.leaf, c.certificateErr = readCertificate(s)
	c.ca, c.caErr = readCA(s)
	c.crl, c.crlErr = readCRL(s)
	return c
}

// secretData is a value of a Secret. What an API server would have done with
// stringData is done here.
func secretData(s *corev1.Secret, key string) []byte {
	if v, ok := s.StringData[key]; ok {
		return []byte(v)
	}
	return s.Data[key]
}

// minRSABits is what Envoy takes at least.
const minRSABits = 2048

func readCertificate(s *corev1.Secret) (*Certificate, *x509.Certificate, error) {
	if s.Type != "" && s.Type != corev1.SecretTypeTLS && s.Type != corev1.SecretTypeOpaque {
		return nil, nil, secretError(fmt.Sprintf("Secret type is not %q", corev1.SecretTypeTLS))
	}
	chain, key := secretData(s, corev1.TLSCertKey), secretData(s, corev1.TLSPrivateKeyKey)
	switch {
	case len(chain) == 0:
		return nil, nil, errors.New("missing TLS certificate")
	case len(key) == 0:
		return nil, nil, errors.New("missing TLS private key")
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		// The error may quote what it could not read; only what it is about is told.
		return nil, nil, errors.New("invalid TLS certificate or private key, or they do not belong together")
	}
	if why := weakKey(pair.Leaf); why != "" {
		return nil, nil, errors.New(why)
	}
	c, err := encode(pair)
	if err != nil {
		return nil, nil, err
	}
	return c, pair.Leaf, nil
}

// encode writes a certificate anew. What an author wrote may hold more than Go
// looks at, and that Envoy refuses: a broken certificate further up the chain,
// or a public key in the private one that is not its own.
func encode(pair tls.Certificate) (*Certificate, error) {
	c := &Certificate{}
	for _, der := range pair.Certificate {
		if _, err := x509.ParseCertificate(der); err != nil {
			return nil, errors.New("invalid certificate in the chain of the TLS certificate")
		}
		c.Chain = append(c.Chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		return nil, errors.New("invalid TLS private key")
	}
	c.Key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return c, nil
}

// readCA is the bundle of certificates under ca.crt.
func readCA(s *corev1.Secret) (string, error) {
	return readBundle(s, "ca.crt", "CERTIFICATE", "certificate", func(der []byte) error {
		_, err := x509.ParseCertificate(der)
		return err
	})
}

// readCRL are the lists under crl.pem.
func readCRL(s *corev1.Secret) (string, error) {
	return readBundle(s, "crl.pem", "X509 CRL", "revocation list", func(der []byte) error {
		_, err := x509.ParseRevocationList(der)
		return err
	})
}

// readBundle is PEM under a key of a Secret: at least one block, all of one
// type and good, and nothing behind them.
func readBundle(s *corev1.Secret, key, blockType, what string, parse func([]byte) error) (string, error) {
	bundle := secretData(s, key)
	if len(bundle) == 0 {
		return "", fmt.Errorf("empty %q key", key)
	}
	rest, n := bundle, 0
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != blockType {
			return "", fmt.Errorf("%q in %q is not a %s", block.Type, key, what)
		}
		if parse(block.Bytes) != nil {
			return "", fmt.Errorf("invalid %s in %q", what, key)
		}
		n++
	}
	if n == 0 || len(bytes.TrimSpace(rest)) > 0 {
		return "", fmt.Errorf("failed to locate %s in %q", what, key)
	}
	return string(bundle), nil
}

// secretRef reads "name", in the namespace of the object that says it, or
// "namespace/name".
func secretRef(text, namespace string) SecretRef {
	if ns, name, ok := strings.Cut(text, "/"); ok {
		return SecretRef{Namespace: ns, Name: name}
	}
	return SecretRef{Namespace: namespace, Name: text}
}

// secretError is why a Secret cannot be used, in Contour's words.
type secretError string

func (e secretError) Error() string { return string(e) }

// errNotDelegated is why a Secret of another namespace may not be used.
var errNotDelegated = errors.New("certificate delegation not permitted")

// secret is a Secret that an object in the namespace refers to, or
// errNotDelegated, or why there is none.
func (r *reader) secret(ref SecretRef, from string) (*secretContent, error) {
	if !r.delegated(ref, from) {
		return nil, errNotDelegated
	}
	e := r.object(manifest.Key{Kind: manifest.Secret, Namespace: ref.Namespace, Name: ref.Name})
	if e == nil || e.secret == nil {
		return nil, secretError("Secret not found")
	}
	return e.secret, nil
}

// certificate is the certificate that an object in the namespace refers to.
func (r *reader) certificate(ref SecretRef, from string) (*secretContent, error) {
	s, err := r.secret(ref, from)
	if err == nil {
		err = s.certificateErr
	}
	return s, err
}

// authority is the CA bundle that an object in the namespace refers to.
func (r *reader) authority(ref SecretRef, from string) (string, error) {
	s, err := r.secret(ref, from)
	if err != nil {
		return "", err
	}
	return s.ca, s.caErr
}

// delegated reports whether objects of a namespace may refer to a Secret.
func (r *reader) delegated(ref SecretRef, to string) bool {
	if ref.Namespace == to {
		return true
	}
	for _, e := range r.delegations(ref.Namespace) {
		for _, d := range e.delegation.Spec.Delegations {
			if d.SecretName == ref.Name && (slices.Contains(d.TargetNamespaces, to) || slices.Contains(d.TargetNamespaces, "*")) {
				return true
			}
		}
	}
	return false
}

// anyDelegation stands for all delegations of a namespace in what a unit has
// read.
func anyDelegation(namespace string) manifest.Key {
	return manifest.Key{Kind: manifest.TLSCertificateDelegation, Namespace: namespace}
}

// expiresSoon is how long before its end a certificate is warned of.
const expiresSoon = 14 * 24 * time.Hour

// Expiries are warnings of certificates that are served and have expired, are
// about to, or are not valid yet, as seen at now.
func (g *Graph) Expiries(now time.Time) []problem.Problem {
	var all []problem.Problem
	for _, host := range g.Hosts() {
		if host.TLS == nil || host.TLS.Passthrough {
			continue
		}
		ref := host.TLS.Certificate
		e := g.entries[manifest.Key{Kind: manifest.Secret, Namespace: ref.Namespace, Name: ref.Name}]
		owner := g.entries[host.TLS.Owner]
		if e == nil || e.secret == nil || e.secret.leaf == nil || owner == nil {
			continue
		}
		reason, text := expiryOf(e.secret.leaf, now)
		if reason == "" {
			continue
		}
		p := against(errorIn(owner, contourv1.ConditionTypeTLSError, reason, host.TLS.Field,
			"the certificate of Secret %q %s", ref, text), e)
		p.Severity = problem.Warning
		p.Remedy = "renew the certificate in the Secret"
		g.place(&p)
		all = append(all, p)
	}
	return problem.Sort(all)
}

func expiryOf(leaf *x509.Certificate, now time.Time) (reason, text string) {
	const day = "2006-01-02 15:04 MST"
	switch {
	case now.After(leaf.NotAfter):
		return "CertificateExpired", "has expired at " + leaf.NotAfter.UTC().Format(day)
	case now.Before(leaf.NotBefore):
		return "CertificateNotYetValid", "is not valid before " + leaf.NotBefore.UTC().Format(day)
	case now.Add(expiresSoon).After(leaf.NotAfter):
		return "CertificateExpiresSoon", "expires at " + leaf.NotAfter.UTC().Format(day)
	}
	return "", ""
}

// covers reports whether a certificate is for the host. That of a wildcard
// host has to name the wildcard.
func covers(leaf *x509.Certificate, host string) bool {
	if strings.HasPrefix(host, "*.") {
		return slices.ContainsFunc(leaf.DNSNames, func(name string) bool { return strings.EqualFold(name, host) })
	}
	return leaf.VerifyHostname(host) == nil
}

// certificateOf is the certificate of an object, nil where it has none.
func (g *Graph) certificateOf(key manifest.Key) *Certificate {
	if e := g.entries[key]; e != nil && e.secret != nil {
		return e.secret.certificate
	}
	return nil
}

func (c *Certificate) equal(o *Certificate) bool {
	return c == o || c != nil && o != nil && bytes.Equal(c.Chain, o.Chain) && bytes.Equal(c.Key, o.Key)
}

// weakKey is why Envoy would not take a certificate's key, if it would not.
func weakKey(leaf *x509.Certificate) string {
	switch key := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSABits {
			return fmt.Sprintf("RSA key of %d bits, at least %d are needed", bits, minRSABits)
		}
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
		default:
			return "ECDSA key on a curve other than P-256, P-384 and P-521"
		}
	default:
		return "key is neither RSA nor ECDSA"
	}
	return ""
}
