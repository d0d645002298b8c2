package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"isoline.dev/isoline/lab"
)

// reply is what came back for one request.
type reply struct {
	// status is an HTTP or gRPC status, or "refused".
	status string
	// by is the server that answered; empty where Envoy did.
	by string
	// facts are "header NAME" and "body".
	facts lab.Record
	// certificate is what the server showed; nil without TLS.
	certificate []byte
	took        time.Duration
	err         error
}

func (r reply) String() string {
	s := r.status
	if r.by != "" {
		s += " " + r.by
	}
	if r.err != nil {
		return s + fmt.Sprintf(" (%v)", r.err)
	}
	if body := r.facts["body"]; r.by == "" && len(body) > 0 {
		s += fmt.Sprintf(" %q", body)
	}
	return s
}

// play does what a block says and checks what comes of it.
func (w *caseWorld) play(e *exchange) {
	w.t.Helper()
	switch {
	case e.let != nil:
		if err := w.let(e.let); err != nil {
			w.t.Fatalf("%s: %v", e.text, err)
		}
		return
	case e.pause > 0:
		time.Sleep(e.pause)
		return
	}
	deadline := time.Now().Add(patience / 3)
	for {
		err := w.try(e)
		if err == nil {
			return
		}
		if !e.eventually || time.Now().After(deadline) {
			w.t.Errorf("%s\n  %v", e.text, err)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// try sends the requests of a block once and says what is not as it should be.
func (w *caseWorld) try(e *exchange) error {
	before := map[string]int{}
	for name, s := range w.servers {
		before[name] = len(s.Records())
	}
	c, err := w.client(e)
	if err != nil {
		return err
	}
	defer c.CloseIdleConnections()
	replies := make([]reply, e.times)
	var sent sync.WaitGroup
	for i := range replies {
		send := func() {
			start := time.Now()
			replies[i] = w.send(c, e)
			replies[i].took = time.Since(start)
		}
		if e.apart >= 0 {
			sent.Go(send)
			time.Sleep(e.apart)
		} else {
			send()
		}
	}
	sent.Wait()
	return errors.Join(slices.Concat(w.checkReplies(e, replies), w.checkSaw(e, before), w.checkLog(e), w.checkEnvoy(e))...)
}

// checkReplies compares the replies with the outcomes and expectations.
func (w *caseWorld) checkReplies(e *exchange, replies []reply) (wrong []error) {
	counts := make([]int, len(e.outcomes))
	sameAs := map[int]string{}
	for i, r := range replies {
		found := slices.IndexFunc(e.outcomes, func(o outcome) bool { return w.fits(o, r) })
		if found < 0 {
			return append(wrong, fmt.Errorf("answer %d is %s", i+1, r))
		}
		counts[found]++
		if before, seen := sameAs[found]; e.outcomes[found].same && seen && before != r.by {
			wrong = append(wrong, fmt.Errorf("answer %d is by %s, the ones before by %s", i+1, r.by, before))
		}
		sameAs[found] = r.by
		for _, x := range e.answer {
			if err := w.expected(x, r); err != nil {
				wrong = append(wrong, fmt.Errorf("answer %d (%s): %w", i+1, r, err))
			}
		}
		if limit := e.took[1]; limit > 0 && (r.took < e.took[0]-timerSlack || r.took > limit) {
			wrong = append(wrong, fmt.Errorf("answer %d took %s", i+1, r.took))
		}
	}
	for i, o := range e.outcomes {
		if counts[i] < o.least || counts[i] > o.most {
			wrong = append(wrong, fmt.Errorf("%d answers are %s %s, want %d to %d", counts[i], o.status, strings.Join(o.by, "|"), o.least, o.most))
		}
	}
	return wrong
}

// timerSlack is how much earlier than due Envoy's timers may go off: they are
// set from a time that it reads once in each turn of its loop.
const timerSlack = 20 * time.Millisecond

// fits reports whether a reply is of an outcome.
func (w *caseWorld) fits(o outcome, r reply) bool {
	if o.status != r.status {
		return false
	}
	s := w.servers[r.by]
	return len(o.by) == 0 || slices.Contains(o.by, r.by) || r.by != "" && (slices.Contains(o.by, s.declared) || slices.Contains(o.by, s.service))
}

// expected compares one thing about a reply.
func (w *caseWorld) expected(x expectation, r reply) error {
	if x.name != "certificate" {
		x.exactly = w.expand(x.exactly)
		return x.met(r.facts[x.name])
	}
	pair, err := w.pair(x.exactly)
	if err != nil {
		return err
	}
	if string(pair.TLS.Certificate[0]) != string(r.certificate) {
		return fmt.Errorf("the certificate is not %s", x.exactly)
	}
	return nil
}

// checkEnvoy compares pages of Envoy's admin interface.
func (w *caseWorld) checkEnvoy(e *exchange) (wrong []error) {
	for _, x := range e.envoy {
		page, err := fetch(w.rig.envoy.Admin + "/" + x.name)
		if err == nil && !x.like.MatchString(page) {
			err = fmt.Errorf("envoy has no %s like %s", x.name, x.like)
		}
		if err != nil {
			wrong = append(wrong, err)
		}
	}
	return wrong
}

// sawPatience is how long a server may take to see what is sent beside a
// request, such as a mirrored copy.
const sawPatience = 5 * time.Second

// checkSaw compares what the servers saw since before.
func (w *caseWorld) checkSaw(e *exchange, before map[string]int) (wrong []error) {
	for _, s := range e.saw {
		server, ok := w.servers[s.server]
		if !ok {
			return append(wrong, fmt.Errorf("there is no upstream %s", s.server))
		}
		s.fact.exactly = w.expand(s.fact.exactly)
		deadline := time.Now().Add(sawPatience)
		for {
			err := s.check(server, before[s.server])
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				wrong = append(wrong, fmt.Errorf("%s: %w", s.server, err))
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return wrong
}

func (s sighting) check(server caseServer, before int) error {
	all := server.Records()[before:]
	if s.checks {
		u, ok := server.labServer.(*lab.Upstream)
		if !ok {
			return errors.New("it knows of no health checks")
		}
		all = u.Checks()
	}
	if s.count >= 0 {
		if len(all) < s.count || len(all) > s.most {
			return fmt.Errorf("it saw %d requests, want %d to %d", len(all), s.count, s.most)
		}
		return nil
	}
	if len(all) == 0 {
		return errors.New("it saw nothing")
	}
	return s.fact.met(all[len(all)-1][s.fact.name])
}

// send sends one request, as its method asks for.
func (w *caseWorld) send(c *http.Client, e *exchange) reply {
	ctx, cancel := context.WithTimeout(w.t.Context(), patience/3)
	defer cancel()
	var r reply
	var err error
	switch e.method {
	case "GRPC":
		r, err = w.callGRPC(ctx, e)
	case "GRPC-WEB":
		r, err = w.callGRPCWeb(ctx, c, e)
	case "WEBSOCKET":
		r, err = w.openWebsocket(ctx, c, e)
	case "CONNECT":
		r, err = w.connect(ctx, e)
	default:
		r, err = w.request(ctx, c, e)
	}
	if err != nil {
		return reply{status: "refused", err: err}
	}
	return r
}

// client is a client with connections of its own, made as the block asks for.
func (w *caseWorld) client(e *exchange) (*http.Client, error) {
	config, err := w.clientTLS(e)
	if err != nil {
		return nil, err
	}
	_, h2 := e.with["http/2"]
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2)
	protocols.SetHTTP2(h2)
	protocols.SetUnencryptedHTTP2(h2)
	transport := &http.Transport{Protocols: protocols, DisableCompression: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return w.dial(ctx, w.rig.http, e) },
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return w.dialTLS(ctx, e, config)
		}}
	c := &http.Client{Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if session, ok := e.with["session"]; ok {
		if w.sessions == nil {
			w.sessions = map[string]http.CookieJar{}
		}
		if w.sessions[session] == nil {
			if w.sessions[session], err = cookiejar.New(nil); err != nil {
				return nil, err
			}
		}
		c.Jar = w.sessions[session]
	}
	return c, nil
}

// clientTLS is how the client of a block speaks TLS. It takes any certificate:
// which one it was is an expectation.
func (w *caseWorld) clientTLS(e *exchange) (*tls.Config, error) {
	u, err := url.Parse(w.expand(e.url))
	if err != nil {
		return nil, err
	}
	config := &tls.Config{InsecureSkipVerify: true, ServerName: u.Hostname(), MinVersion: tls.VersionTLS10,
		NextProtos: []string{"http/1.1"}}
	if _, h2 := e.with["http/2"]; h2 {
		config.NextProtos = []string{"h2"}
	}
	if name, ok := e.with["sni"]; ok {
		config.ServerName = strings.TrimPrefix(name, "none")
	}
	if version, ok := e.with["tls"]; ok {
		n, known := tlsVersions[version]
		if !known {
			return nil, fmt.Errorf("there is no TLS %s", version)
		}
		config.MinVersion, config.MaxVersion = n, n
	}
	if name, ok := e.with["certificate"]; ok {
		pair, err := w.pair(name)
		if err != nil {
			return nil, err
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair.TLS, nil }
	}
	return config, nil
}

var tlsVersions = map[string]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// dial connects to a port of Envoy.
func (w *caseWorld) dial(ctx context.Context, port int, e *exchange) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, err
	}
	if source, ok := e.with["proxy-protocol"]; ok {
		if _, err := fmt.Fprintf(c, "PROXY TCP4 %s 127.0.0.1 40000 %d\r\n", source, port); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}

func (w *caseWorld) dialTLS(ctx context.Context, e *exchange, config *tls.Config) (net.Conn, error) {
	c, err := w.dial(ctx, w.rig.https, e)
	if err != nil {
		return nil, err
	}
	secured := tls.Client(c, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return secured, nil
}

// request sends an HTTP request.
func (w *caseWorld) request(ctx context.Context, c *http.Client, e *exchange) (reply, error) {
	var body io.Reader
	if len(e.send) > 0 {
		body = strings.NewReader(w.expand(strings.Join(e.send, "\n")))
	}
	req, err := http.NewRequestWithContext(ctx, e.method, w.expand(e.url), body)
	if err != nil {
		return reply{}, err
	}
	req.Header = w.headers(e)
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	resp, err := c.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	return replyOf(resp), nil
}

// headers are what the block sends.
func (w *caseWorld) headers(e *exchange) http.Header {
	h := http.Header{}
	for _, pair := range e.headers {
		h.Add(pair[0], w.expand(pair[1]))
	}
	if h.Get("User-Agent") == "" {
		h.Set("User-Agent", "isoline-case")
	}
	return h
}

// replyOf reads an answer to its end, and does not close it.
func replyOf(resp *http.Response) reply {
	r := reply{status: fmt.Sprint(resp.StatusCode), by: resp.Header.Get(lab.NameHeader), facts: lab.Record{}}
	if resp.TLS != nil && len(resp.TLS.PeerCertificates) > 0 {
		r.certificate = resp.TLS.PeerCertificates[0].Raw
	}
	body, err := bodyOf(resp)
	if err != nil {
		r.status, r.err = "refused", fmt.Errorf("%s, and then: %w", resp.Status, err)
	}
	r.facts["body"] = []string{strings.TrimSuffix(body, "\n")}
	for name, values := range resp.Header {
		r.facts["header "+strings.ToLower(name)] = values
	}
	if resp.Close { // the client has taken the header out
		r.facts["header connection"] = []string{"close"}
	}
	for name, values := range resp.Trailer {
		r.facts["trailer "+strings.ToLower(name)] = values
	}
	return r
}

func bodyOf(resp *http.Response) (string, error) {
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}
