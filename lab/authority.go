package lab

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"time"
)

// Authority signs certificates for servers and clients on loopback.
type Authority struct {
	// PEM is its own certificate.
	PEM  []byte
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	// above are its own certificate and those above it but for the root's: what
	// is shown along with what it signs.
	above [][]byte
}

// NewAuthority makes a root with a new key. What it signs is valid for 90 days.
func NewAuthority(name string) (*Authority, error) { return newAuthority(name, nil) }

// Authority makes one whose certificate a signs.
func (a *Authority) Authority(name string) (*Authority, error) { return newAuthority(name, a) }

func newAuthority(name string, by *Authority) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := template(name)
	t.IsCA, t.BasicConstraintsValid, t.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	parent, signer := t, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, key.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("make authority %s: %w", name, err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	a := &Authority{PEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), cert: cert, key: key}
	if by != nil {
		a.above = append([][]byte{der}, by.above...)
	}
	return a, nil
}

// Pair is a certificate with its key.
type Pair struct {
	TLS     tls.Certificate
	Leaf    *x509.Certificate
	CertPEM []byte
	KeyPEM  []byte
}

// CertificateOptions say what is signed. A certificate is for a server if it
// has Hosts, and for a client otherwise; a client has its name also as DNS name
// and at the end of a SPIFFE id.
type CertificateOptions struct {
	// Name is the common name; empty for the first host.
	Name string
	// Hosts are names and IP addresses.
	Hosts []string
	// RSA makes the key of 2048 bits of RSA; otherwise it is on P-256.
	RSA bool
	// Expired puts its end into the year 2020.
	Expired bool
}

// Sign makes a key and signs a certificate for it.
func (a *Authority) Sign(o CertificateOptions) (*Pair, error) {
	t := template(o.Name)
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if len(o.Hosts) == 0 {
		t.DNSNames = []string{o.Name}
		t.URIs = []*url.URL{{Scheme: "spiffe", Host: "lab", Path: "/" + o.Name}}
	} else {
		t.Subject.CommonName = cmp.Or(o.Name, o.Hosts[0])
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	for _, h := range o.Hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	if o.Expired {
		t.NotBefore = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
		t.NotAfter = t.NotBefore.Add(24 * time.Hour)
	}
	pair, err := a.sign(t, o.RSA)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate for %s: %w", t.Subject.CommonName, err)
	}
	return pair, nil
}

// Server signs a certificate for a server with these IP addresses or names.
func (a *Authority) Server(hosts ...string) (tls.Certificate, error) {
	pair, err := a.Sign(CertificateOptions{Hosts: hosts})
	if err != nil {
		return tls.Certificate{}, err
	}
	return pair.TLS, nil
}

// Client signs a client's certificate and returns it and its key in PEM.
func (a *Authority) Client(name string) (cert, key []byte, err error) {
	pair, err := a.Sign(CertificateOptions{Name: name})
	if err != nil {
		return nil, nil, err
	}
	return pair.CertPEM, pair.KeyPEM, nil
}

// Revoke signs a list of revoked certificates, in PEM.
func (a *Authority) Revoke(certs ...*x509.Certificate) ([]byte, error) {
	now := time.Now()
	list := &x509.RevocationList{Number: big.NewInt(now.UnixNano()), ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(24 * time.Hour)}
	for _, c := range certs {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: now.Add(-time.Minute)})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.cert, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign a revocation list: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), nil
}

func (a *Authority) sign(t *x509.Certificate, onRSA bool) (*Pair, error) {
	var key crypto.Signer
	var err error
	if onRSA {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
		t.KeyUsage |= x509.KeyUsageKeyEncipherment
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	chain := append([][]byte{der}, a.above...)
	var certPEM []byte
	for _, der := range chain {
		certPEM = append(certPEM, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return &Pair{TLS: tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: leaf}, Leaf: leaf,
		CertPEM: certPEM,
		KeyPEM:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})}, nil
}

func template(name string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(90 * 24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature}
}
