package dag

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

func TestACertificateIsWarnedOfBeforeItEndsAndAfter(t *testing.T) {
	end := time.Date(2030, 6, 1, 12, 0, 0, 0, time.UTC)
	leaf := &x509.Certificate{NotBefore: end.AddDate(-1, 0, 0), NotAfter: end}
	for at, want := range map[time.Time]string{
		end.AddDate(-1, 0, -1):    "CertificateNotYetValid",
		end.AddDate(-1, 0, 1):     "",
		end.Add(-expiresSoon):     "",
		end.Add(-expiresSoon + 1): "CertificateExpiresSoon",
		end:                       "CertificateExpiresSoon",
		end.Add(time.Second):      "CertificateExpired",
	} {
		reason, text := expiryOf(leaf, at)
		if reason != want || (text == "") != (want == "") {
			t.Errorf("%s: %s (%s), want %s", at, reason, text, want)
		}
	}
}

func TestACertificateCoversTheHostsThatItNames(t *testing.T) {
	leaf := &x509.Certificate{DNSNames: []string{"www.example.com", "*.Wild.example.com"}}
	for host, want := range map[string]bool{
		"www.example.com": true, "other.example.com": false, "a.wild.example.com": true, "a.b.wild.example.com": false,
		"*.wild.example.com": true, "*.example.com": false, "wild.example.com": false,
	} {
		if covers(leaf, host) != want {
			t.Errorf("%s: %t, want %t", host, !want, want)
		}
	}
}

// pairOf is a key and a certificate for it, as DER.
func pairOf(t *testing.T) (key *ecdsa.PrivateKey, cert []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}
	if cert, err = x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key); err != nil {
		t.Fatal(err)
	}
	return key, cert
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// Go takes both, and Envoy neither.
func TestACertificateIsReadAsEnvoyWillReadIt(t *testing.T) {
	key, cert := pairOf(t)
	sec1, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	sec1[len(sec1)-1] ^= 1 // a part of the public key
	secret := &corev1.Secret{Data: map[string][]byte{"tls.crt": pemOf("CERTIFICATE", cert), "tls.key": pemOf("EC PRIVATE KEY", sec1)}}
	c, _, err := readCertificate(secret)
	if err != nil || !bytes.Equal(c.Key, pemOf("PRIVATE KEY", pkcs8)) {
		t.Errorf("the key is not mended: %v", err)
	}
	secret.Data["tls.crt"] = append(secret.Data["tls.crt"], pemOf("CERTIFICATE", []byte("broken"))...)
	if _, _, err := readCertificate(secret); err == nil {
		t.Error("a broken certificate in the chain is taken")
	}
}
