package lab

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// Upstream is an HTTP server on 127.0.0.1 that says who it is and what it was
// asked. It speaks HTTP/1.1 and HTTP/2, and echoes the messages of websockets.
// Its methods may be called from several goroutines.
//
// A request can say how it wants to be answered: x-answer-status,
// x-answer-delay (a Go duration), x-answer-body, and any number of
// x-answer-header ("name: value").
//
// The facts of its records are method, path (with the query), host, protocol,
// body, connections (how many have had requests so far), tls (the version), sni
// and client (the name in the client's certificate) on TLS, and header NAME.
type Upstream struct {
	records
	name        string
	listener    net.Listener
	requests    atomic.Int64
	connections atomic.Int64
	status      atomic.Int64
	delay       atomic.Int64
	failing     atomic.Pointer[failures]
	sick        atomic.Bool
	checks      records
	health      atomic.Pointer[chan struct{}]
	served      chan struct{}
}

// failures are answers that are owed.
type failures struct {
	left   atomic.Int64
	status int
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

// HealthPath is for health checks. Requests for it, and those that Envoy's
// health checker sends, are answered apart from the others: they do not count
// as requests, and HangHealth can hold them up.
const HealthPath = "/healthz"

// NameHeader carries an Upstream's name in each of its answers.
const NameHeader = "X-Upstream"

// StartUpstream serves plain HTTP until ctx ends.
func StartUpstream(ctx context.Context, name string) (*Upstream, error) {
	return startUpstream(ctx, name, nil)
}

// StartTLSUpstream serves HTTPS until ctx ends. The configuration says with
// which certificate, and which clients are let in.
func StartTLSUpstream(ctx context.Context, name string, config *tls.Config) (*Upstream, error) {
	return startUpstream(ctx, name, config)
}

func startUpstream(ctx context.Context, name string, config *tls.Config) (*Upstream, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start upstream %s: %w", name, err)
	}
	u := &Upstream{name: name, listener: l, served: make(chan struct{})}
	u.status.Store(http.StatusOK)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{Handler: u, Protocols: protocols, ReadHeaderTimeout: 10 * time.Second, TLSConfig: config,
		BaseContext: func(net.Listener) context.Context { return ctx }, ErrorLog: silent}
	s.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, usedKey{}, new(atomic.Bool))
	}
	go func() {
		defer close(u.served)
		serve := s.Serve
		if config != nil {
			serve = func(l net.Listener) error { return s.ServeTLS(l, "", "") }
		}
		if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
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

// Checks are the health checks so far, oldest first, with the facts of requests.
func (u *Upstream) Checks() []Record { return u.checks.Records() }

// SetStatus is the status of the answers from now on.
func (u *Upstream) SetStatus(status int) { u.status.Store(int64(status)) }

// SetDelay is how long every answer waits from now on.
func (u *Upstream) SetDelay(d time.Duration) { u.delay.Store(int64(d)) }

// SetSick lets health checks fail from now on, or pass again.
func (u *Upstream) SetSick(sick bool) { u.sick.Store(sick) }

// FailNext answers the next n requests with a status. Status 0 closes their
// connections without an answer.
func (u *Upstream) FailNext(n, status int) {
	f := &failures{status: status}
	f.left.Store(int64(n))
	u.failing.Store(f)
}

// HangHealth lets health checks wait until release is called.
func (u *Upstream) HangHealth() (release func()) {
	hang := make(chan struct{})
	u.health.Store(&hang)
	return func() {
		if u.health.CompareAndSwap(&hang, nil) {
			close(hang)
		}
	}
}

// maxBody bounds what is read of a request.
const maxBody = 1 << 20

// ServeHTTP answers one request.
func (u *Upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(NameHeader, u.name)
	if r.URL.Path == HealthPath || strings.HasPrefix(r.UserAgent(), "Envoy/HC") {
		u.check(w, r)
		return
	}
	u.requests.Add(1)
	if r.Header.Get("Upgrade") == "websocket" {
		u.add(u.record(r, nil))
		echoMessages(w, r)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	u.add(u.record(r, body))
	if err != nil {
		return // the client has gone
	}
	a, err := u.answerTo(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if !a.wait(r.Context()) {
		return
	}
	if a.status == 0 {
		panic(http.ErrAbortHandler) // closes the connection
	}
	w.Header().Set("Content-Type", "application/json")
	for _, h := range a.headers {
		name, value, _ := strings.Cut(h, ":")
		w.Header().Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	w.WriteHeader(a.status)
	if a.body != "" {
		_, _ = io.WriteString(w, a.body) // the client has gone: nobody is left to tell
		return
	}
	_ = json.NewEncoder(w).Encode(Echo{Name: u.name, Method: r.Method, Host: r.Host, Path: r.URL.RequestURI(),
		Proto: r.Proto, Headers: r.Header})
}

// check answers a health check.
func (u *Upstream) check(w http.ResponseWriter, r *http.Request) {
	u.checks.add(recordOf(r, nil))
	if hang := u.health.Load(); hang != nil {
		select {
		case <-*hang:
		case <-r.Context().Done():
		}
	}
	if u.sick.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// answer is how one request is answered.
type answer struct {
	status  int
	delay   time.Duration
	body    string
	headers []string
}

func (u *Upstream) answerTo(r *http.Request) (answer, error) {
	a := answer{status: int(u.status.Load()), delay: time.Duration(u.delay.Load()),
		body: r.Header.Get("X-Answer-Body"), headers: r.Header.Values("X-Answer-Header")}
	if f := u.failing.Load(); f != nil && f.left.Add(-1) >= 0 {
		a.status = f.status
		return a, nil
	}
	if s := r.Header.Get("X-Answer-Status"); s != "" {
		var err error
		if a.status, err = strconv.Atoi(s); err != nil || a.status < 200 || a.status > 599 {
			return a, fmt.Errorf("x-answer-status: %q is not a status", s)
		}
	}
	if d := r.Header.Get("X-Answer-Delay"); d != "" {
		var err error
		if a.delay, err = time.ParseDuration(d); err != nil {
			return a, fmt.Errorf("x-answer-delay: %w", err)
		}
	}
	return a, nil
}

// wait reports whether the client is still there after the delay.
func (a answer) wait(ctx context.Context) bool {
	if a.delay <= 0 {
		return true
	}
	select {
	case <-time.After(a.delay):
		return true
	case <-ctx.Done():
		return false
	}
}

// usedKey is the key under which a connection notes that it has had requests.
type usedKey struct{}

// record is that of a request, health checks aside.
func (u *Upstream) record(r *http.Request, body []byte) Record {
	if used, ok := r.Context().Value(usedKey{}).(*atomic.Bool); ok && !used.Swap(true) {
		u.connections.Add(1)
	}
	one := recordOf(r, body)
	one["connections"] = []string{fmt.Sprint(u.connections.Load())}
	return one
}

func recordOf(r *http.Request, body []byte) Record {
	one := Record{"method": {r.Method}, "path": {r.URL.RequestURI()}, "host": {r.Host}, "protocol": {r.Proto},
		"body": {string(body)}}
	one.headers(r.Header)
	if r.TLS != nil {
		one["sni"] = []string{r.TLS.ServerName}
		one["tls"] = []string{strings.TrimPrefix(tls.VersionName(r.TLS.Version), "TLS ")}
		for _, cert := range r.TLS.PeerCertificates[:min(1, len(r.TLS.PeerCertificates))] {
			one["client"] = []string{cert.Subject.CommonName}
		}
	}
	return one
}

// echoMessages sends back what comes until the client closes.
func echoMessages(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return // Accept has answered
	}
	defer c.CloseNow() //nolint:errcheck // it is closed either way
	for {
		kind, message, err := c.Read(r.Context())
		if err != nil {
			return
		}
		if err := c.Write(r.Context(), kind, message); err != nil {
			return
		}
	}
}
