package lab

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Issuer signs tokens, and serves the keys to verify them with as a JSON Web
// Key Set on 127.0.0.1, at every path. Its key is on P-256 (ES256). The facts
// of its records are those of an Upstream.
type Issuer struct {
	records
	listener net.Listener
	done     chan struct{}
	mu       sync.Mutex
	key      jose.JSONWebKey // private
	rotated  int
	does     string
}

// StartIssuer serves until ctx ends; on TLS where config is not nil.
func StartIssuer(ctx context.Context, name string, config *tls.Config) (*Issuer, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	s := &Issuer{listener: l, done: make(chan struct{})}
	if err := s.Rotate(); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	server := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, TLSConfig: config, ErrorLog: silent,
		BaseContext: func(net.Listener) context.Context { return ctx }}
	go func() {
		defer close(s.done)
		if config != nil {
			_ = server.ServeTLS(l, "", "") // it ends by Close
		} else {
			_ = server.Serve(l)
		}
	}()
	context.AfterFunc(ctx, func() { _ = server.Close() })
	return s, nil
}

// Port is the TCP port on 127.0.0.1.
func (s *Issuer) Port() int { return s.listener.Addr().(*net.TCPAddr).Port }

// Done is closed when the server has ended.
func (s *Issuer) Done() <-chan struct{} { return s.done }

// Rotate signs with a new key from now on, and no longer serves the old one.
func (s *Issuer) Rotate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rotated++
	s.key = jose.JSONWebKey{Key: key, KeyID: strconv.Itoa(s.rotated), Algorithm: string(jose.ES256), Use: "sig"}
	return nil
}

// Set makes it "hang" or fail ("error") from now on; "answer" ends that.
func (s *Issuer) Set(does string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.does = does
}

// JWKS is the set of public keys.
func (s *Issuer) JWKS() ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{s.key.Public()}})
}

// Token signs claims. iat and exp are set where they are not given: now, and
// in an hour.
func (s *Issuer) Token(claims map[string]any) (string, error) {
	s.mu.Lock()
	key := s.key
	s.mu.Unlock()
	all := map[string]any{"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(all, claims)
	payload, err := json.Marshal(all)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("sign a token: %w", err)
	}
	return signed.CompactSerialize()
}

// ServeHTTP answers with the key set.
func (s *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.add(recordOf(r, nil))
	s.mu.Lock()
	does := s.does
	s.mu.Unlock()
	switch behaviour(does) {
	case hanging:
		<-r.Context().Done()
		return
	case failing:
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	body, err := s.JWKS()
	if err != nil {
		http.Error(w, "the keys cannot be encoded", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body) // the client has gone: nobody is left to tell
}
