package dag

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"sync"
	"time"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
)

// pairs are two certificates with their keys, PEM; each is its own authority.
var pairs = sync.OnceValue(func() (all [2][2][]byte) {
	for i := range all {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		t := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: "t"}, DNSNames: []string{"x.test", "*.test"},
			NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0), IsCA: true, BasicConstraintsValid: true}
		der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
		if err != nil {
			panic(err)
		}
		der8, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			panic(err)
		}
		all[i] = [2][]byte{
			pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
			pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der8}),
		}
	}
	return all
})

func drawSecret(t *rapid.T, meta metav1.ObjectMeta) *corev1.Secret {
	pair := pairs()[few(t, 1)]
	data := map[string][]byte{"ca.crt": pair[0], "tls.crt": pair[0], "tls.key": pair[1]}
	if few(t, 3) == 0 {
		delete(data, oneOf(t, "ca.crt", "tls.crt"))
	}
	return &corev1.Secret{ObjectMeta: meta, Data: data}
}

func drawDelegation(t *rapid.T, meta metav1.ObjectMeta) *contourv1.TLSCertificateDelegation {
	return &contourv1.TLSCertificateDelegation{ObjectMeta: meta, Spec: contourv1.TLSCertificateDelegationSpec{
		Delegations: []contourv1.CertificateDelegation{{
			SecretName: oneOf(t, "t", "t", "u"), TargetNamespaces: []string{oneOf(t, "a", "b", "*")},
		}},
	}}
}

func drawValidation(t *rapid.T) contourv1.UpstreamValidation {
	return contourv1.UpstreamValidation{CACertificate: oneOf(t, "t", "a/t", "b/t", "none"), SubjectName: oneOf(t, "x", "x", "x", "")}
}
