package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"

	"isoline.dev/isoline/lab"
)

// caseSecret is a Secret that a case declares under "certificates".
type caseSecret struct {
	namespace, name string
	// kind is the Secret's type, and data its keys.
	kind string
	data map[string][]byte
	// pair is set for certificates, authority for authorities.
	pair      *lab.Pair
	authority *lab.Authority
}

// makeCertificates makes what is declared, line by line:
//
//	NAMESPACE/NAME authority             ca.crt of a new authority, a root without by=
//	NAMESPACE/NAME HOST...               tls.crt and tls.key of a server
//	NAMESPACE/NAME client COMMON-NAME    tls.crt and tls.key of a client
//	NAMESPACE/NAME crl NAMESPACE/NAME... crl.pem that revokes certificates
//
// Words at the end of a line: rsa, expired, by=NAMESPACE/NAME (the authority;
// otherwise the first, or one that has no Secret).
func (w *caseWorld) makeCertificates(lines []string) {
	w.t.Helper()
	for _, line := range lines {
		s, err := w.makeCertificate(strings.Fields(line))
		if err != nil {
			w.t.Fatalf("certificates: %s: %v", line, err)
		}
		w.secrets[s.namespace+"/"+s.name] = s
	}
}

func (w *caseWorld) makeCertificate(words []string) (*caseSecret, error) {
	namespace, name, ok := strings.Cut(words[0], "/")
	if !ok || len(words) < 2 {
		return nil, fmt.Errorf("want NAMESPACE/NAME and what it is")
	}
	s := &caseSecret{namespace: namespace, name: name, kind: "Opaque"}
	var o lab.CertificateOptions
	by := ""
	words = slices.DeleteFunc(words[1:], func(word string) bool {
		signer, signed := strings.CutPrefix(word, "by=")
		switch {
		case signed:
			by = signer
		case word == "rsa":
			o.RSA = true
		case word == "expired":
			o.Expired = true
		default:
			return false
		}
		return true
	})
	var err error
	if words[0] == "authority" {
		if by == "" {
			s.authority, err = lab.NewAuthority(name)
		} else if root, wrong := w.signer(by); wrong == nil {
			s.authority, err = root.Authority(name)
		} else {
			err = wrong
		}
		if err != nil {
			return nil, err
		}
		w.authorities = append(w.authorities, s.authority)
		s.data = map[string][]byte{"ca.crt": s.authority.PEM}
		return s, nil
	}
	signer, err := w.signer(by)
	if err != nil {
		return nil, err
	}
	if words[0] == "crl" {
		var revoked []*x509.Certificate
		for _, name := range words[1:] {
			pair, err := w.pair(name)
			if err != nil {
				return nil, err
			}
			revoked = append(revoked, pair.Leaf)
		}
		list, err := signer.Revoke(revoked...)
		s.data = map[string][]byte{"crl.pem": list}
		return s, err
	}
	if words[0] == "client" {
		o.Name = words[1]
	} else {
		o.Hosts = words
	}
	if s.pair, err = signer.Sign(o); err != nil {
		return nil, err
	}
	s.kind = "kubernetes.io/tls"
	s.data = map[string][]byte{"tls.crt": s.pair.CertPEM, "tls.key": s.pair.KeyPEM}
	return s, nil
}

func (w *caseWorld) signer(name string) (*lab.Authority, error) {
	if name != "" {
		if s := w.secrets[name]; s != nil && s.authority != nil {
			return s.authority, nil
		}
		return nil, fmt.Errorf("%s is not an authority that is declared above", name)
	}
	if len(w.authorities) == 0 {
		a, err := lab.NewAuthority("lab")
		if err != nil {
			return nil, err
		}
		w.authorities = append(w.authorities, a)
	}
	return w.authorities[0], nil
}

// pair is a certificate by the name of its Secret.
func (w *caseWorld) pair(name string) (*lab.Pair, error) {
	if s := w.secrets[name]; s != nil && s.pair != nil {
		return s.pair, nil
	}
	return nil, fmt.Errorf("no certificate %s is declared", name)
}

// manifests are the Secrets, but those that are defined already.
func (w *caseWorld) secretManifests(defined map[string]bool) string {
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(w.secrets)) {
		s := w.secrets[id]
		if defined["Secret "+id] {
			continue
		}
		fmt.Fprintf(&b, "---\napiVersion: v1\nkind: Secret\nmetadata: {name: %q, namespace: %q}\ntype: %s\ndata:\n", s.name, s.namespace, s.kind)
		for _, key := range slices.Sorted(maps.Keys(s.data)) {
			fmt.Fprintf(&b, "  %s: %s\n", key, base64.StdEncoding.EncodeToString(s.data[key]))
		}
	}
	return b.String()
}

// serverTLS is how a server with the certificate of a Secret speaks TLS. With
// an authority, clients need a certificate of it.
func (w *caseWorld) serverTLS(certificate, authority string) (*tls.Config, error) {
	pair, err := w.pair(certificate)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{Certificates: []tls.Certificate{pair.TLS}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	if authority == "" {
		c.ClientAuth = tls.RequestClientCert
		return c, nil
	}
	s := w.secrets[authority]
	if s == nil || s.authority == nil {
		return nil, fmt.Errorf("%s is not an authority that is declared", authority)
	}
	c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	c.ClientCAs.AppendCertsFromPEM(s.authority.PEM)
	return c, nil
}
