package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// Upstream is an HTTP server on 127.0.0.1 that says who it is and what it was
// asked. It speaks HTTP/1.1 and HTTP/2 without TLS. Its methods may be called
// from several goroutines.
type Upstream struct {
	name     string
	listener net.Listener
	requests atomic.Int64
	status   atomic.Int64
	delay    atomic.Int64
	health   atomic.Pointer[chan struct{}]
	served   chan struct{}
}

// Echo is the JSON body of an Upstream's answers.
type Echo struct {
	Name   string `json:"name"`
	Method string `json:"method"`
	Host   string `json:"host"`
	// Path includes the query.
	Path    string      `json:"path"`
	Proto   string      `json:"proto"`
	Headers http.Header `json:"headers"`
}

// HealthPath is answered apart from the others: it does not count as a
// request, and HangHealth can hold it up.
const HealthPath = "/healthz"

// StartUpstream serves until ctx ends.
func StartUpstream(ctx context.Context, name string) (*Upstream, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start upstream %s: %w", name, err)
	}
	u := &Upstream{name: name, listener: l, served: make(chan struct{})}
	u.status.Store(http.StatusOK)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Handler: u, Protocols: protocols, ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx }}
	go func() {
		defer close(u.served)
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			_ = s.Close() // the listener broke; those who ask will notice
		}
	}()
	context.AfterFunc(ctx, func() { _ = s.Close() })
	return u, nil
}

// Done is closed when the server has ended.
func (u *Upstream) Done() <-chan struct{} { return u.served }

// Port is the TCP port on 127.0.0.1.
func (u *Upstream) Port() int { return u.listener.Addr().(*net.TCPAddr).Port }

// Requests counts the requests so far, health checks aside.
func (u *Upstream) Requests() int64 { return u.requests.Load() }

// SetStatus is the status of the answers from now on.
func (u *Upstream) SetStatus(status int) { u.status.Store(int64(status)) }

// SetDelay is how long every answer waits from now on.
func (u *Upstream) SetDelay(d time.Duration) { u.delay.Store(int64(d)) }

// HangHealth lets requests for HealthPath wait until release is called.
func (u *Upstream) HangHealth() (release func()) {
	hang := make(chan struct{})
	u.health.Store(&hang)
	return func() {
		if u.health.CompareAndSwap(&hang, nil) {
			close(hang)
		}
	}
}

// ServeHTTP answers one request.
func (u *Upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == HealthPath {
		if hang := u.health.Load(); hang != nil {
			select {
			case <-*hang:
			case <-r.Context().Done():
			}
		}
		w.WriteHeader(http.StatusOK)
		return
	}
	u.requests.Add(1)
	if d := time.Duration(u.delay.Load()); d > 0 {
		select {
		case <-time.After(d):
		case <-r.Context().Done():
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(u.status.Load()))
	_ = json.NewEncoder(w).Encode(Echo{Name: u.name, Method: r.Method, Host: r.Host, Path: r.URL.RequestURI(),
		Proto: r.Proto, Headers: r.Header}) // the client has gone: nobody is left to tell
}
