package lab

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// silent is for servers whose clients break connections on purpose.
var silent = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)

// TCP is a server on 127.0.0.1 that greets with its name and a newline, and
// then sends back what it gets. The facts of its records, one for each
// connection, are sni and client on TLS, and remote.
type TCP struct {
	records
	name     string
	listener net.Listener
	running  sync.WaitGroup
	done     chan struct{}
}

// StartTCP serves until ctx ends; on TLS where config is not nil.
func StartTCP(ctx context.Context, name string, config *tls.Config) (*TCP, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start upstream %s: %w", name, err)
	}
	s := &TCP{name: name, listener: l, done: make(chan struct{})}
	s.running.Go(func() { s.accept(ctx, config) })
	go func() {
		s.running.Wait()
		close(s.done)
	}()
	context.AfterFunc(ctx, func() { _ = l.Close() })
	return s, nil
}

// Done is closed when the server has ended.
func (s *TCP) Done() <-chan struct{} { return s.done }

// Port is the TCP port on 127.0.0.1.
func (s *TCP) Port() int { return s.listener.Addr().(*net.TCPAddr).Port }

func (s *TCP) accept(ctx context.Context, config *tls.Config) {
	for {
		c, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		} else if err != nil {
			continue
		}
		s.running.Go(func() { s.serve(ctx, c, config) })
	}
}

// idle bounds how long a connection may say nothing.
const idle = 30 * time.Second

func (s *TCP) serve(ctx context.Context, c net.Conn, config *tls.Config) {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	_ = c.SetDeadline(time.Now().Add(idle))
	one := Record{"remote": {c.RemoteAddr().String()}}
	if config != nil {
		secured := tls.Server(c, config)
		if secured.HandshakeContext(ctx) != nil {
			return
		}
		state := secured.ConnectionState()
		one["sni"] = []string{state.ServerName}
		for _, cert := range state.PeerCertificates[:min(1, len(state.PeerCertificates))] {
			one["client"] = []string{cert.Subject.CommonName}
		}
		c = secured
	}
	s.add(one)
	if _, err := io.WriteString(c, s.name+"\n"); err == nil {
		_, _ = io.Copy(c, c) // until the client has enough
	}
}
