package dag

import (
	"crypto/x509"
	"testing"
	"time"
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
