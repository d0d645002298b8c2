package repo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
)

// dial makes a connection with the credentials as they are in their files now.
func (r *Repository) dial(ctx context.Context) (*link, error) {
	if r.url.scheme == "ssh" {
		return r.dialSSH(ctx)
	}
	return r.dialHTTP()
}

// dialHTTP connects when the first request is made.
func (r *Repository) dialHTTP() (*link, error) {
	config, err := r.tlsConfig()
	if err != nil {
		return nil, err
	}
	auth, err := r.httpAuth()
	if err != nil {
		return nil, err
	}
	m := &meter{}
	base := &http.Transport{
		Proxy:             http.ProxyFromEnvironment,
		DialContext:       (&net.Dialer{Timeout: 30 * time.Second}).DialContext,
		TLSClientConfig:   config,
		ForceAttemptHTTP2: true,
		// A server that compresses an answer could make much of little.
		DisableCompression: true,
	}
	metered := &meteredTransport{next: base, meter: m}
	client := &http.Client{Transport: metered, CheckRedirect: sameHost}
	endpoint := &transport.Endpoint{Protocol: r.url.scheme, Host: bracketed(r.url.host), Path: escaped(r.url.path)}
	if r.url.port != defaultPorts[r.url.scheme] {
		if _, err := fmt.Sscan(r.url.port, &endpoint.Port); err != nil {
			return nil, invalid("repo.url", "has a port that is no number")
		}
	}
	session, err := githttp.NewClient(client).NewUploadPackSession(endpoint, auth)
	if err != nil {
		return nil, err
	}
	return &link{UploadPackSession: session, meter: m, closed: func() {
		metered.close()
		base.CloseIdleConnections()
	}}, nil
}

// escaped is a path as it stands in a URL; go-git puts it there unchanged.
func escaped(path string) string { return (&url.URL{Path: strings.TrimRight(path, "/")}).EscapedPath() }

func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// redirectError refuses a redirect; to is only a host.
type redirectError struct{ to string }

func (e *redirectError) Error() string { return "the server redirects to " + e.to }

// sameHost refuses redirects that lead to another host or port, but for the
// one from http to https on their default ports.
func sameHost(req *http.Request, via []*http.Request) error {
	from, to := via[0].URL, req.URL
	upgrade := from.Scheme == "http" && to.Scheme == "https" && portOf(from) == "80" && portOf(to) == "443"
	if !strings.EqualFold(from.Hostname(), to.Hostname()) || from.Scheme != to.Scheme && !upgrade ||
		portOf(from) != portOf(to) && !upgrade {
		return &redirectError{printable(to.Scheme+"://"+to.Host, 200)}
	}
	return nil
}

func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return defaultPorts[u.Scheme]
}

// meteredTransport bounds the bodies of answers, and closes those that go-git
// leaves open. It is used by one goroutine.
type meteredTransport struct {
	next   http.RoundTripper
	meter  *meter
	bodies []io.Closer
}

func (t *meteredTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	t.bodies = append(t.bodies, resp.Body)
	body := t.meter.reader(resp.Body)
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		body = io.LimitReader(resp.Body, 4<<10) // a page for people
	}
	resp.Body = readCloser{body, resp.Body}
	return resp, nil
}

func (t *meteredTransport) close() {
	for _, body := range t.bodies {
		_ = body.Close() // read to its end, or given up
	}
}

type readCloser struct {
	io.Reader
	io.Closer
}

// credentialsError is about a file of credentials; it names the field only.
type credentialsError struct {
	field string
	err   error
}

func (e *credentialsError) Error() string { return e.field + ": " + e.err.Error() }
func (e *credentialsError) Unwrap() error { return e.err }

// secret reads a file of credentials. The error names the file, never its content.
func secret(field, file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, &credentialsError{field, err}
	}
	defer f.Close() // read only
	const most = 1 << 20
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	switch {
	case err != nil:
		return nil, &credentialsError{field, err}
	case len(b) > most:
		return nil, &credentialsError{field, fmt.Errorf("%s has more than %d bytes", file, most)}
	case len(b) == 0:
		return nil, &credentialsError{field, fmt.Errorf("%s is empty", file)}
	}
	return b, nil
}

// secretLine is the file's content without white space at its end.
func secretLine(field, file string) (string, error) {
	b, err := secret(field, file)
	if err != nil {
		return "", err
	}
	s := strings.TrimRight(string(b), " \t\r\n")
	if s == "" || strings.ContainsAny(s, "\r\n\x00") {
		return "", &credentialsError{field, fmt.Errorf("%s must hold one line", file)}
	}
	return s, nil
}

// httpAuth is nil without credentials.
func (r *Repository) httpAuth() (transport.AuthMethod, error) {
	a := r.cfg.Auth
	switch {
	case a.TokenFile != "":
		token, err := secretLine("repo.auth.tokenFile", a.TokenFile)
		if err != nil {
			return nil, err
		}
		return &githttp.TokenAuth{Token: token}, nil
	case a.Username != "":
		password, err := secretLine("repo.auth.passwordFile", a.PasswordFile)
		if err != nil {
			return nil, err
		}
		return &githttp.BasicAuth{Username: a.Username, Password: password}, nil
	default:
		return nil, nil
	}
}

func (r *Repository) tlsConfig() (*tls.Config, error) {
	a := r.cfg.Auth
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if a.CAFile != "" {
		pem, err := secret("repo.auth.caFile", a.CAFile)
		if err != nil {
			return nil, err
		}
		if c.RootCAs, err = x509.SystemCertPool(); err != nil {
			c.RootCAs = x509.NewCertPool() // a system without any
		}
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &credentialsError{"repo.auth.caFile", errors.New("has no certificate in PEM")}
		}
	}
	if a.CertFile != "" {
		cert, err := secret("repo.auth.certFile", a.CertFile)
		if err != nil {
			return nil, err
		}
		key, err := secret("repo.auth.keyFile", a.KeyFile)
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, &credentialsError{"repo.auth.certFile", errors.New("and keyFile are not a certificate and its key in PEM")}
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
