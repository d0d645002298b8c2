package lab

import (
	"context"
	"fmt"
	"net"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// DNS is a name server on 127.0.0.1, over UDP, for which every name below its
// domain is 127.0.0.1, and no other name exists.
type DNS struct {
	domain string
	conn   net.PacketConn
	done   chan struct{}
}

// StartDNS serves a domain, such as "external.test", until ctx ends.
func StartDNS(ctx context.Context, domain string) (*DNS, error) {
	conn, err := new(net.ListenConfig).ListenPacket(ctx, "udp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start name server: %w", err)
	}
	d := &DNS{domain: "." + domain + ".", conn: conn, done: make(chan struct{})}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	go d.serve()
	return d, nil
}

// Port is the UDP port on 127.0.0.1.
func (d *DNS) Port() int { return d.conn.LocalAddr().(*net.UDPAddr).Port }

// Done is closed when the server has ended.
func (d *DNS) Done() <-chan struct{} { return d.done }

func (d *DNS) serve() {
	defer close(d.done)
	buf := make([]byte, 512)
	for {
		n, from, err := d.conn.ReadFrom(buf)
		if err != nil {
			return // closed
		}
		var m dnsmessage.Message
		if err := m.Unpack(buf[:n]); err != nil || len(m.Questions) != 1 {
			continue
		}
		if answer, err := d.answer(m); err == nil {
			_, _ = d.conn.WriteTo(answer, from) // who asked will ask again
		}
	}
}

func (d *DNS) answer(m dnsmessage.Message) ([]byte, error) {
	q := m.Questions[0]
	m = dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true}, Questions: m.Questions}
	switch {
	case !strings.HasSuffix(strings.ToLower(q.Name.String()), d.domain):
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60},
			Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
		}}
	}
	return m.Pack()
}
