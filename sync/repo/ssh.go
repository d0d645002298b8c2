package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
)

// go-git's own ssh transport reads the user's ssh configuration and does not
// end with a context while it connects; so the session is ours, and only the
// protocol on it is go-git's.

// hostKeyError refuses the server's key.
type hostKeyError struct{ err error }

func (e *hostKeyError) Error() string { return e.err.Error() }
func (e *hostKeyError) Unwrap() error { return e.err }

// authError says that the server does not let us in.
type authError struct{ err error }

func (e *authError) Error() string { return e.err.Error() }
func (e *authError) Unwrap() error { return e.err }

// dialSSH connects, checks the server's key, authenticates and starts
// git-upload-pack. When ctx ends, so does the connection, and with it
// whatever is being read from or written to it.
func (r *Repository) dialSSH(ctx context.Context) (*link, error) {
	config, state, err := r.sshConfig()
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{Timeout: 30 * time.Second}).DialContext(ctx, "tcp", r.url.hostPort())
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	c, channels, requests, err := ssh.NewClientConn(conn, r.url.hostPort(), config)
	if err != nil {
		stop()
		_ = conn.Close() // it failed already
		return nil, state.explain(err)
	}
	client := ssh.NewClient(c, channels, requests)
	closed := func() {
		stop()
		_ = client.Close()
		_ = client.Wait()
	}
	m := &meter{}
	s, err := startUploadPack(client, r.url.path, m)
	if err != nil {
		closed()
		return nil, err
	}
	return &link{UploadPackSession: s, meter: m, closed: closed}, nil
}

// handshake is what is known of a handshake beside its error.
type handshake struct{ refused, accepted error }

var errAccepted = errors.New("the key is known")

// explain tells the three ways apart in which a handshake fails.
func (h *handshake) explain(err error) error {
	network := net.Error(nil)
	switch {
	case h.refused != nil:
		return &hostKeyError{h.refused}
	case h.accepted != nil && !errors.As(err, &network) && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed):
		return &authError{errors.New("the server accepts neither the user nor the key")}
	default:
		return err
	}
}

func (r *Repository) sshConfig() (*ssh.ClientConfig, *handshake, error) {
	a := r.cfg.Auth
	key, err := secret("repo.auth.identityFile", a.IdentityFile)
	if err != nil {
		return nil, nil, err
	}
	signer, err := r.signer(key)
	if err != nil {
		return nil, nil, err
	}
	if _, err := secret("repo.auth.knownHostsFile", a.KnownHostsFile); err != nil {
		return nil, nil, err
	}
	known, err := knownhosts.NewDB(a.KnownHostsFile)
	if err != nil {
		return nil, nil, &credentialsError{"repo.auth.knownHostsFile", errors.New("is not a known_hosts file")}
	}
	// Without this the server may offer a key of another type than the one
	// that is known, and be refused although it is the right server.
	algorithms := known.HostKeyAlgorithms(r.url.hostPort())
	state := &handshake{}
	if len(algorithms) == 0 {
		return nil, nil, &hostKeyError{fmt.Errorf("the known hosts have no key of %s", r.url.hostPort())}
	}
	check := known.HostKeyCallback()
	return &ssh.ClientConfig{
		User: r.url.user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyAlgorithms: algorithms,
		HostKeyCallback: func(host string, remote net.Addr, key ssh.PublicKey) error {
			if err := check(host, remote, key); err != nil {
				state.refused = fmt.Errorf("the server's key %s is not the known one", ssh.FingerprintSHA256(key))
				return state.refused
			}
			state.accepted = errAccepted
			return nil
		},
	}, state, nil
}

func (r *Repository) signer(key []byte) (ssh.Signer, error) {
	const field = "repo.auth.identityFile"
	if r.cfg.Auth.PassphraseFile == "" {
		signer, err := ssh.ParsePrivateKey(key)
		if missing := (*ssh.PassphraseMissingError)(nil); errors.As(err, &missing) {
			return nil, &credentialsError{field, errors.New("has a passphrase; set repo.auth.passphraseFile")}
		}
		if err != nil {
			return nil, &credentialsError{field, errors.New("is not a private key for ssh")}
		}
		return signer, nil
	}
	passphrase, err := secretLine("repo.auth.passphraseFile", r.cfg.Auth.PassphraseFile)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKeyWithPassphrase(key, []byte(passphrase))
	if err != nil {
		return nil, &credentialsError{field, errors.New("cannot be opened with the passphrase")}
	}
	return signer, nil
}

// sshSession is git-upload-pack at the other end.
type sshSession struct {
	session *ssh.Session
	in      io.WriteCloser
	out     io.Reader
	said    *words
	adv     *packp.AdvRefs
}

var _ transport.UploadPackSession = (*sshSession)(nil)

func startUploadPack(client *ssh.Client, path string, m *meter) (*sshSession, error) {
	session, err := client.NewSession()
	if err != nil {
		return nil, err
	}
	s := &sshSession{session: session, said: &words{}}
	session.Stderr = s.said
	if s.in, err = session.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := session.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.out = m.reader(out)
	return s, session.Start("git-upload-pack '" + quoted.Replace(path) + "'")
}

// quoted makes a path safe between single quotes; "!" is for shells of the
// csh family, which some servers run.
var quoted = strings.NewReplacer("'", `'\''`, "!", `'\!'`)

func (s *sshSession) AdvertisedReferences() (*packp.AdvRefs, error) {
	return s.AdvertisedReferencesContext(context.Background())
}

// AdvertisedReferencesContext ends with the connection, whose context is the
// one that it was made with.
func (s *sshSession) AdvertisedReferencesContext(context.Context) (*packp.AdvRefs, error) {
	adv := packp.NewAdvRefs()
	err := adv.Decode(s.out)
	switch {
	case errors.Is(err, packp.ErrEmptyAdvRefs), err == nil && adv.IsEmpty():
		return nil, transport.ErrEmptyRemoteRepository
	case errors.Is(err, packp.ErrEmptyInput):
		return nil, s.ended(err)
	case err != nil:
		return nil, err
	}
	transport.FilterUnsupportedCapabilities(adv.Capabilities)
	s.adv = adv
	return adv, nil
}

// ended says why the other end said nothing.
func (s *sshSession) ended(err error) error {
	exit := (*ssh.ExitError)(nil)
	if errors.As(s.session.Wait(), &exit) {
		return &notFoundError{s.said.String()}
	}
	return err
}

// notFoundError is that git-upload-pack did not find the repository, or is
// not allowed to show it; said is in the server's words.
type notFoundError struct{ said string }

func (e *notFoundError) Error() string {
	if e.said == "" {
		return "the server ended without a word"
	}
	return "the server says: " + e.said
}

func (s *sshSession) UploadPack(_ context.Context, req *packp.UploadPackRequest) (*packp.UploadPackResponse, error) {
	if err := req.Validate(); err != nil {
		return nil, err
	}
	if err := req.UploadRequest.Encode(s.in); err != nil {
		return nil, err
	}
	if err := req.UploadHaves.Encode(s.in, false); err != nil {
		return nil, err
	}
	if err := pktline.NewEncoder(s.in).EncodeString("done\n"); err != nil {
		return nil, err
	}
	answer := packp.NewUploadPackResponse(req)
	return answer, answer.Decode(io.NopCloser(s.out))
}

// Close takes leave of a server that waits for a request. The connection is
// closed by its owner.
func (s *sshSession) Close() error {
	return errors.Join(pktline.NewEncoder(s.in).Flush(), s.in.Close())
}

// words keeps the beginning of what a server says to people.
type words struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if room := 1<<10 - w.buf.Len(); room > 0 {
		w.buf.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return printable(w.buf.String(), 200)
}
