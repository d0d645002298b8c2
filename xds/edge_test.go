package xds

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"isoline.dev/isoline/dag"
	"isoline.dev/isoline/lab"
)

// allOfEdge has every setting of an Edge set to something else than its default.
var allOfEdge = Edge{
	RequestTimeout: time.Minute, HeadersTimeout: time.Second, IdleTimeout: time.Minute, StreamIdleTimeout: -1,
	MaxConnectionDuration: time.Hour, DelayedCloseTimeout: -1, ShutdownGrace: time.Second,
	BufferLimit: 1 << 20, RequestHeadersKiB: 8192, AcceptsPerEvent: 10, RequestsPerConnection: 1000,
	HTTP2Streams: 1<<31 - 1, HTTP2StreamWindow: 1<<31 - 1, HTTP2ConnectionWindow: 1<<31 - 1,
	HTTP1: true, ProxyProtocol: true, TrustedHops: 2, ServerHeader: ServerOverwrite, Compression: Brotli,
	KeepDotSegments: true, KeepSlashes: true, EscapedSlashes: SlashesReject, Underscores: UnderscoresDrop,
	StripTrailingHostDot: true, ExactBalance: true, TOS: 255,
	AccessLog: AccessLog{Enabled: true, LeastStatus: 300, Text: "%PROTOCOL%"},
}

func TestEnvoyTakesEveryEdge(t *testing.T) {
	json := map[string]string{"a": "%REQ(X-A?:PATH):10%", "b": "%METADATA(ROUTE:x:y)%", "c": "%REQ_WITHOUT_QUERY(:PATH)%"}
	edges := map[string]Edge{
		"everything":    allOfEdge,
		"no compressor": {Compression: Uncompressed},
		"zstd":          {Compression: Zstd, HTTP2: true},
		"no bounds": {RequestTimeout: -1, HeadersTimeout: -1, IdleTimeout: -1, StreamIdleTimeout: -1,
			MaxConnectionDuration: -1, DelayedCloseTimeout: -1},
		"a log of JSON":   {AccessLog: AccessLog{Enabled: true, Fields: json}},
		"a log in a file": {AccessLog: AccessLog{Enabled: true, Path: t.TempDir() + "/log", Text: "%START_TIME(%s.%3f)%\n"}},
		"words":           {ServerHeader: ServerAppendIfAbsent, EscapedSlashes: SlashesUnescape, Underscores: UnderscoresAllow},
		"more words":      {EscapedSlashes: SlashesKeep},
	}
	var all []*listenerv3.Listener
	for _, name := range sortedKeys(edges) {
		l, err := httpListener(ListenerOptions{HTTP: ListenerAddress{"127.0.0.1", uint32(freePort(t))}, Edge: edges[name]})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		l.Name = name
		all = append(all, l)
	}
	l, err := httpListener(ListenerOptions{HTTP: ListenerAddress{"::1", uint32(freePort(t))}, Edge: Edge{TrafficClass: 255}})
	if err != nil {
		t.Fatal(err)
	}
	l.Name = "over IPv6"
	if why := envoyRefuses(t, t.TempDir(), offer{listeners: append(all, l)}); why != "" {
		t.Error(why)
	}
}

// echoes is a host that answers with what its upstream saw.
func echoes(t *testing.T) (map[string]netip.AddrPort, *dag.VirtualHost) {
	return map[string]netip.AddrPort{"web": upstreamServer(t, "web")}, testHost("a.example.com", prefixRoute("/", "web"))
}

func TestTheListenersSettingsAreWhatARequestIsLookedUpBy(t *testing.T) {
	services, vh := echoes(t)
	paths := []string{"/", "/a//b", "//a", "/a/../b", "/a/./b", "/%2e%2e/a", "/a%2Fb", "/a%5cb/..", "/a%2f%2e%2e%2fb", "/x/..%2fy//z", "/%41?b//c/.."}
	for name, e := range map[string]Edge{
		"the default":         {},
		"slashes unescaped":   {EscapedSlashes: SlashesUnescape},
		"slashes rejected":    {EscapedSlashes: SlashesReject},
		"slashes kept":        {EscapedSlashes: SlashesKeep},
		"slashes not merged":  {KeepSlashes: true},
		"dots kept":           {KeepDotSegments: true},
		"all as it is":        {KeepDotSegments: true, KeepSlashes: true, EscapedSlashes: SlashesKeep, Underscores: UnderscoresAllow},
		"headers dropped":     {Underscores: UnderscoresDrop},
		"hosts without a dot": {StripTrailingHostDot: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := serveAtEdge(t, e, BootstrapOptions{}, services, vh)
			for _, path := range paths {
				r, status := e.Receive(dag.Request{Host: "a.example.com", Path: path})
				a := p.ask("HTTP/1.1", "GET", "a.example.com", path, nil)
				switch {
				case status == 0 && (a.status != http.StatusOK || a.echo.URI != r.Path):
					t.Errorf("%s: it is routed as %s; Envoy: %d %s", path, r.Path, a.status, a.echo.URI)
				case status != 0 && a.status != status:
					t.Errorf("%s: the answer is %d; Envoy: %d", path, status, a.status)
				}
			}
			header := map[string][]string{"A_b": {"c"}}
			r, status := e.Receive(dag.Request{Host: "a.example.com", Path: "/", Headers: header})
			a := p.ask("HTTP/1.1", "GET", "a.example.com", "/", map[string]string{"A_b": "c"})
			if status != 0 && a.status != status || status == 0 && len(r.Headers) != len(a.echo.Header["A_b"]) {
				t.Errorf("a header with an underscore: %d, %v; Envoy: %d, %v", status, r.Headers, a.status, a.echo.Header)
			}
			for _, host := range []string{"a.example.com.", "a.example.com.:80"} {
				r, _ = e.Receive(dag.Request{Host: host, Path: "/"})
				found := strings.TrimSuffix(r.Host, ":80") == "a.example.com"
				if a = p.ask("HTTP/1.1", "GET", host, "/", nil); found != (a.status == http.StatusOK) {
					t.Errorf("%s is looked up as %s; Envoy: %d", host, r.Host, a.status)
				}
			}
		})
	}
}

// trickle sends the bytes and returns all that comes back until Envoy closes
// the connection, and how long that took.
func (p *proxy) trickle(request string) (string, time.Duration) {
	p.t.Helper()
	start := time.Now()
	conn, err := net.DialTimeout("tcp", p.address, patience)
	if err != nil {
		p.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(start.Add(patience))
	if _, err := io.WriteString(conn, request); err != nil {
		p.t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil {
		p.t.Fatalf("%q: the connection is not closed: %v", request, err)
	}
	return string(got), time.Since(start)
}

func TestATimeLimitOfTheEdgeEndsWhatItBounds(t *testing.T) {
	const limit = 300 * time.Millisecond
	services, vh := echoes(t)
	slow, err := lab.StartUpstream(t.Context(), "slow")
	if err != nil {
		t.Fatal(err)
	}
	slow.SetDelay(patience)
	services["slow"] = netip.MustParseAddrPort(fmt.Sprintf("127.0.0.1:%d", slow.Port()))
	vh.Routes = append([]dag.Route{prefixRoute("/slow", "slow")}, vh.Routes...)
	for _, c := range []struct {
		name, request, want string
		edge                Edge
	}{
		{"the whole request", "POST / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: 9\r\n\r\nabc", "HTTP/1.1 408 ", Edge{RequestTimeout: limit}},
		{"its headers", "GET / HTTP/1.1\r\nHost: a.example.com\r\n", "HTTP/1.1 408 ", Edge{HeadersTimeout: limit}},
		{"a request on which nothing moves", "GET /slow HTTP/1.1\r\nHost: a.example.com\r\nConnection: close\r\n\r\n", "HTTP/1.1 504 ", Edge{StreamIdleTimeout: limit}},
		{"an idle connection", "GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n", "HTTP/1.1 200 ", Edge{IdleTimeout: limit, ShutdownGrace: time.Millisecond}},
		{"a connection", "GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n", "HTTP/1.1 200 ", Edge{MaxConnectionDuration: limit, ShutdownGrace: time.Millisecond}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := serveAtEdge(t, c.edge, BootstrapOptions{}, services, vh)
			got, took := p.trickle(c.request)
			// The least of the defaults is ten seconds.
			if !strings.HasPrefix(got, c.want) || took < limit/2 || took > 9*time.Second {
				t.Errorf("after %s: %.60q", took, got)
			}
		})
	}
}

func TestAConnectionEndsAfterSoManyRequests(t *testing.T) {
	services, vh := echoes(t)
	p := serveAtEdge(t, Edge{RequestsPerConnection: 2}, BootstrapOptions{}, services, vh)
	const request = "GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n"
	got, _ := p.trickle(request + request + request)
	if n := strings.Count(got, "HTTP/1.1 200"); n != 2 || !strings.Contains(got, "connection: close") {
		t.Errorf("%d requests are answered: %q", n, got)
	}
}

// The frames of HTTP/2 that the tests send and read.
const (
	frameHeaders, frameReset, frameSettings, frameGoAway = 1, 3, 4, 7
	flagEndStream, flagEndHeaders                        = 1, 4
)

func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	f := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return append(binary.BigEndian.AppendUint32(f, stream), payload...)
}

func readFrame(r io.Reader) (kind byte, stream uint32, payload []byte, err error) {
	var head [9]byte
	if _, err = io.ReadFull(r, head[:]); err != nil {
		return 0, 0, nil, err
	}
	payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	_, err = io.ReadFull(r, payload)
	return head[3], binary.BigEndian.Uint32(head[5:]), payload, err
}

func TestHTTP2IsBounded(t *testing.T) {
	slow, err := lab.StartUpstream(t.Context(), "slow")
	if err != nil {
		t.Fatal(err)
	}
	slow.SetDelay(patience)
	services := map[string]netip.AddrPort{"slow": netip.MustParseAddrPort(fmt.Sprintf("127.0.0.1:%d", slow.Port()))}
	vh := testHost("a.example.com", prefixRoute("/", "slow"))
	for _, c := range []struct {
		name            string
		edge            Edge
		streams, window uint32
	}{
		{"by default", Edge{}, 100, 64 << 10},
		{"as it is set", Edge{HTTP2Streams: 10, HTTP2StreamWindow: 1 << 20}, 10, 1 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := serveAtEdge(t, c.edge, BootstrapOptions{}, services, vh)
			conn, err := net.DialTimeout("tcp", p.address, patience)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(patience))
			// Indexed :method GET, :scheme http and :path /; :authority spelt out.
			headers := append([]byte{0x82, 0x86, 0x84, 0x41, 13}, "a.example.com"...)
			out := append([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(frameSettings, 0, 0, nil)...)
			last := 2*c.streams + 1 // one too many
			for id := uint32(1); id <= last; id += 2 {
				out = append(out, frame(frameHeaders, flagEndHeaders|flagEndStream, id, headers)...)
			}
			if _, err := conn.Write(out); err != nil {
				t.Fatal(err)
			}
			settings := map[uint16]uint32{}
			for r := bufio.NewReader(conn); ; {
				kind, stream, payload, err := readFrame(r)
				if err != nil {
					t.Fatalf("nothing is refused: %v", err)
				}
				if kind == frameSettings {
					for ; len(payload) >= 6; payload = payload[6:] {
						settings[binary.BigEndian.Uint16(payload)] = binary.BigEndian.Uint32(payload[2:])
					}
				}
				if kind == frameHeaders || kind == frameReset && stream != last {
					t.Fatalf("stream %d gets a frame of type %d", stream, kind)
				}
				if kind == frameReset || kind == frameGoAway {
					break
				}
			}
			if settings[3] != c.streams || settings[4] != c.window {
				t.Errorf("Envoy says %v", settings)
			}
		})
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	services, vh := echoes(t)
	for name, boot := range map[string]BootstrapOptions{
		"of all listeners": {MaxConnections: 2},
		"of one listener":  {ListenerConnections: 2},
	} {
		t.Run(name, func(t *testing.T) {
			p := serveAtEdge(t, Edge{}, boot, services, vh)
			for i := range 3 {
				conn, err := net.DialTimeout("tcp", p.address, patience)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(patience))
				_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n")
				line, _ := bufio.NewReader(conn).ReadString('\n')
				if served := strings.HasPrefix(line, "HTTP/1.1 200"); served != (i < 2) {
					t.Errorf("connection %d: %q", i+1, line)
				}
			}
		})
	}
}

func TestAConnectionToAnUpstreamIsUsedForSoManyRequests(t *testing.T) {
	for bound, connections := range map[uint32]string{0: "1", 1: "3", 2: "2"} {
		services, vh := echoes(t)
		vh.Routes[0].Action.Clusters[0].Cluster.RequestsPerConnection = bound
		vh.Routes[0].Action.Clusters[0].Cluster.BufferLimit = 1 << 20
		p := serveAtEdge(t, Edge{}, BootstrapOptions{}, services, vh)
		for range 3 {
			p.ask("HTTP/1.1", "GET", "a.example.com", "/", nil)
		}
		resp, err := http.Get(p.envoy.Admin + "/stats?filter=team_web_80.upstream_cx_total$")
		if err != nil {
			t.Fatal(err)
		}
		stats, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if _, got, _ := strings.Cut(strings.TrimSpace(string(stats)), ": "); err != nil || got != connections {
			t.Errorf("3 requests with a bound of %d: %s (%v)", bound, stats, err)
		}
	}
}

func TestEnvoyKeepsBelowItsHeap(t *testing.T) {
	services, vh := echoes(t)
	for bytes, want := range map[uint64]int{1 << 40: http.StatusOK, 1 << 20: http.StatusServiceUnavailable} {
		p := serveAtEdge(t, Edge{}, BootstrapOptions{MaxHeapBytes: bytes}, services, vh)
		deadline := time.Now().Add(patience) // the heap is looked at every 250 ms
		for {
			a := p.ask("HTTP/1.1", "GET", "a.example.com", "/", nil)
			if a.status == want {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("with a heap of %d bytes the answer is %d", bytes, a.status)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// unanswered is an address at which no handshake is ever finished: its queue of
// connections is full, and nobody takes any.
func unanswered(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(name.(*syscall.SockaddrInet4).Port))
	for {
		conn, err := net.DialTimeout("tcp", at.String(), 200*time.Millisecond)
		if err != nil {
			return at
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
}

func TestAnEndpointThatDoesNotAnswerIsGivenUp(t *testing.T) {
	const limit = 300 * time.Millisecond
	vh := testHost("a.example.com", prefixRoute("/", "web"))
	vh.Routes[0].Action.Clusters[0].Cluster.ConnectTimeout = limit
	p := serveAtEdge(t, Edge{}, BootstrapOptions{}, map[string]netip.AddrPort{"web": unanswered(t)}, vh)
	start := time.Now()
	a := p.ask("HTTP/1.1", "GET", "a.example.com", "/", nil)
	// Without the limit the route's own, of 15 seconds, would end it with a 504.
	if took := time.Since(start); a.status != http.StatusServiceUnavailable || took < limit/2 {
		t.Errorf("after %s the answer is %d %q", took, a.status, a.body)
	}
}
