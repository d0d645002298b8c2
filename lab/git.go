package lab

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// GitServer serves the bare repositories in a directory over smart HTTP,
// through git's own http-backend, on 127.0.0.1. Pushes are taken.
type GitServer struct {
	ctx    context.Context
	dir    string
	base   string
	opts   gitOptions
	ca     []byte
	server *http.Server
	ended  chan struct{}
	once   sync.Once
}

type gitOptions struct {
	tls                bool
	address            string
	clientCA           []byte
	username, password string
	middleware         func(http.Handler) http.Handler
}

// GitOption is a choice for StartGit.
type GitOption func(*gitOptions)

// GitTLS serves https with a certificate of an authority of its own; see CA.
func GitTLS() GitOption { return func(o *gitOptions) { o.tls = true } }

// GitClientCA asks clients for a certificate that this authority has signed.
// Clone has none to show, and works on the repository on disk.
func GitClientCA(pem []byte) GitOption { return func(o *gitOptions) { o.clientCA = pem } }

// GitBasicAuth lets only this user in.
func GitBasicAuth(username, password string) GitOption {
	return func(o *gitOptions) { o.username, o.password = username, password }
}

// GitMiddleware puts a handler around the server's, to make faults or to ask
// for other credentials.
func GitMiddleware(m func(http.Handler) http.Handler) GitOption {
	return func(o *gitOptions) { o.middleware = m }
}

// GitAddress listens on this address instead of a free port of 127.0.0.1, so
// that a server can come back where it was.
func GitAddress(address string) GitOption { return func(o *gitOptions) { o.address = address } }

// StartGit serves the repositories in dir, which is made if need be, until
// ctx ends or Close is called.
func StartGit(ctx context.Context, dir string, options ...GitOption) (*GitServer, error) {
	s := &GitServer{ctx: ctx, dir: dir, ended: make(chan struct{}), opts: gitOptions{address: "127.0.0.1:0"}}
	for _, o := range options {
		o(&s.opts)
	}
	handler, err := s.handler(ctx)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", s.opts.address)
	if err != nil {
		return nil, fmt.Errorf("start a git server: %w", err)
	}
	s.base = "http://" + l.Addr().String()
	if s.opts.tls {
		config, err := s.tlsConfig()
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		s.base = "https://" + l.Addr().String()
		l = tls.NewListener(l, config)
	}
	s.server = &http.Server{Handler: handler, ReadHeaderTimeout: 30 * time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)}
	stop := context.AfterFunc(ctx, func() { _ = s.server.Close() })
	go func() {
		defer close(s.ended)
		defer stop()
		_ = s.server.Serve(l) // always http.ErrServerClosed
	}()
	return s, nil
}

// tlsConfig has a certificate of a new authority.
func (s *GitServer) tlsConfig() (*tls.Config, error) {
	authority, err := NewAuthority("git server's authority")
	if err != nil {
		return nil, err
	}
	cert, err := authority.Server("127.0.0.1")
	if err != nil {
		return nil, err
	}
	s.ca = authority.PEM
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}}
	if len(s.opts.clientCA) > 0 {
		config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		if !config.ClientCAs.AppendCertsFromPEM(s.opts.clientCA) {
			return nil, errors.New("the clients' authority is no certificate in PEM")
		}
	}
	return config, nil
}

// Close ends the server and every connection to it, and waits.
func (s *GitServer) Close() {
	s.once.Do(func() { _ = s.server.Close() })
	<-s.ended
}

// CA is the authority of a server with GitTLS, in PEM; otherwise empty.
func (s *GitServer) CA() []byte { return s.ca }

// Address is the host and port that the server listens on.
func (s *GitServer) Address() string { return s.base[strings.LastIndex(s.base, "/")+1:] }

// URL is the URL of a repository. It holds no credentials.
func (s *GitServer) URL(name string) string { return s.base + "/" + name + ".git" }

// Repository is the directory of a repository.
func (s *GitServer) Repository(name string) string { return filepath.Join(s.dir, name+".git") }

// Create makes an empty bare repository whose HEAD is the branch, "main" if
// that is empty.
func (s *GitServer) Create(name, branch string) error {
	if branch == "" {
		branch = "main"
	}
	if _, err := runGit(s.ctx, s.dir, nil, "init", "--quiet", "--bare", "--initial-branch", branch, "--", s.Repository(name)); err != nil {
		return fmt.Errorf("create repository %s: %w", name, err)
	}
	// Over HTTP, pushes of unknown users are off by default.
	_, err := runGit(s.ctx, s.Repository(name), nil, "config", "http.receivepack", "true")
	return err
}

func (s *GitServer) handler(ctx context.Context) (http.Handler, error) {
	out, err := runGit(ctx, "", nil, "--exec-path")
	if err != nil {
		return nil, fmt.Errorf("find git's http-backend: %w", err)
	}
	env := []string{"GIT_PROJECT_ROOT=" + s.dir, "GIT_HTTP_EXPORT_ALL=1"}
	var h http.Handler = &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(out), "git-http-backend"), Dir: s.dir,
		Env: append(env, isolatedGit...), Logger: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo), Stderr: io.Discard,
	}
	if s.opts.username != "" {
		h = basicAuth(h, s.opts.username, s.opts.password)
	}
	if s.opts.middleware != nil {
		h = s.opts.middleware(h)
	}
	return h, nil
}

func basicAuth(next http.Handler, username, password string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, p, _ := r.BasicAuth()
		if subtle.ConstantTimeCompare([]byte(u+"\x00"+p), []byte(username+"\x00"+password)) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isolatedGit keeps git from the user's and the system's configuration, and
// from asking anybody anything.
var isolatedGit = []string{"HOME=/nonexistent", "XDG_CONFIG_HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1",
	"GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=true", "LC_ALL=C", "PATH=" + os.Getenv("PATH")}

// runGit runs git in dir and returns its output.
func runGit(ctx context.Context, dir string, env []string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = slices.Concat(isolatedGit, env)
	cmd.WaitDelay = 5 * time.Second
	var out, errs tail
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("git %s: %w\n%s", args[0], err, errs.String())
	}
	return out.String(), nil
}

// Clone is a work copy that real git works on. Its commands end with the
// context of its server.
type Clone struct {
	// Dir is the work tree.
	Dir string
	ctx context.Context
	env []string
}

// Clone makes a work copy of a repository in dir, which must not exist or be
// empty. It has what it needs to push. The author, "Ada <ada@example.com>",
// is also the committer.
func (s *GitServer) Clone(name, dir, author string) (*Clone, error) {
	person, mail, ok := strings.Cut(strings.TrimSuffix(author, ">"), " <")
	if !ok {
		return nil, fmt.Errorf("clone %s: the author %q is not of the form Name <mail>", name, author)
	}
	c := &Clone{Dir: dir, ctx: s.ctx, env: []string{
		"GIT_AUTHOR_NAME=" + person, "GIT_AUTHOR_EMAIL=" + mail, "GIT_COMMITTER_NAME=" + person, "GIT_COMMITTER_EMAIL=" + mail}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	// CGI takes no chunked bodies, which git sends from this size on.
	settings := map[string]string{"http.postBuffer": "67108864"}
	if s.opts.username != "" {
		settings["http.extraHeader"] = "Authorization: Basic " +
			base64.StdEncoding.EncodeToString([]byte(s.opts.username+":"+s.opts.password))
	}
	if s.opts.tls {
		settings["http.sslCAInfo"] = filepath.Join(s.dir, "ca.pem")
		if err := os.WriteFile(settings["http.sslCAInfo"], s.ca, 0o600); err != nil {
			return nil, err
		}
	}
	for i, key := range slices.Sorted(maps.Keys(settings)) {
		c.env = append(c.env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, key), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, settings[key]))
	}
	c.env = append(c.env, fmt.Sprintf("GIT_CONFIG_COUNT=%d", len(settings)))
	from := s.URL(name)
	if len(s.opts.clientCA) > 0 {
		from = s.Repository(name)
	}
	if _, err := c.Git("clone", "--quiet", "--", from, "."); err != nil {
		return nil, fmt.Errorf("clone %s: %w", name, err)
	}
	return c, nil
}

// Git runs git in the work copy and returns what it prints, without the
// white space around it; of more than 16 KiB, the end.
func (c *Clone) Git(args ...string) (string, error) { return runGit(c.ctx, c.Dir, c.env, args...) }

// WriteFiles writes files by their paths below the work copy, with forward slashes.
func (c *Clone) WriteFiles(files map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if !filepath.IsLocal(filepath.FromSlash(name)) {
			return fmt.Errorf("write %s: it is not inside the work copy", name)
		}
		file := filepath.Join(c.Dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(files[name]), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Remove removes files or directories that have been committed.
func (c *Clone) Remove(names ...string) error {
	_, err := c.Git(append([]string{"rm", "-r", "--quiet", "--force", "--"}, names...)...)
	return err
}

// Commit commits everything in the work copy, even if nothing has changed,
// and returns the commit's id.
func (c *Clone) Commit(message string) (string, error) {
	if _, err := c.Git("add", "--all"); err != nil {
		return "", err
	}
	if _, err := c.Git("commit", "--quiet", "--allow-empty", "--message", message); err != nil {
		return "", err
	}
	return c.Git("rev-parse", "HEAD")
}

// Push pushes to the server: the current branch, or what the arguments of
// git push say, such as "--force", "origin", "HEAD:refs/pull/1/head".
func (c *Clone) Push(args ...string) error {
	if len(args) == 0 {
		args = []string{"origin", "HEAD"}
	}
	_, err := c.Git(append([]string{"push", "--quiet"}, args...)...)
	return err
}
