package lab

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// GitSSH serves the bare repositories in a directory over ssh on 127.0.0.1:
// git-upload-pack and git-receive-pack for one key, and nothing else.
type GitSSH struct {
	dir      string
	host     ssh.PublicKey
	listener net.Listener
	cancel   context.CancelFunc
	wg       sync.WaitGroup
}

// StartGitSSH serves the repositories in dir, which may be those of a
// GitServer, to whoever holds the key, until ctx ends or Close is called. The
// host key is new.
func StartGitSSH(ctx context.Context, dir string, authorized ssh.PublicKey) (*GitSSH, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	host, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, err
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if !bytes.Equal(key.Marshal(), authorized.Marshal()) {
			return nil, errors.New("not the authorized key")
		}
		return nil, nil
	}}
	config.AddHostKey(host)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start a git server for ssh: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &GitSSH{dir: dir, host: host.PublicKey(), listener: l, cancel: cancel}
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	s.wg.Go(func() {
		defer stop()
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.wg.Go(func() { s.serve(ctx, conn, config) })
		}
	})
	return s, nil
}

// Close ends the server, every connection and every git that it runs, and waits.
func (s *GitSSH) Close() {
	s.cancel()
	s.wg.Wait()
}

// URL is the URL of a repository.
func (s *GitSSH) URL(name string) string {
	return "ssh://git@" + s.listener.Addr().String() + "/" + name + ".git"
}

// KnownHosts is the server's line for a known_hosts file.
func (s *GitSSH) KnownHosts() string {
	return knownhosts.Line([]string{knownhosts.Normalize(s.listener.Addr().String())}, s.host) + "\n"
}

// NewSSHKey makes a key pair: the private key in OpenSSH's format, encrypted
// if there is a passphrase, and the public key.
func NewSSHKey(passphrase string) ([]byte, ssh.PublicKey, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return nil, nil, err
	}
	var block *pem.Block
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(private, "")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte(passphrase))
	}
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(block), key, nil
}

func (s *GitSSH) serve(ctx context.Context, conn net.Conn, config *ssh.ServerConfig) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer conn.Close()
	// A client that says nothing does not stay for ever.
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return
	}
	sc, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	defer sc.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { ssh.DiscardRequests(requests) })
	for c := range channels {
		if c.ChannelType() != "session" {
			_ = c.Reject(ssh.UnknownChannelType, "only sessions")
			continue
		}
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		wg.Go(func() { s.session(ctx, channel, requests) })
	}
}

// session runs the one command that a session may ask for.
func (s *GitSSH) session(ctx context.Context, channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	for req := range requests {
		var payload struct{ Command string }
		if req.Type != "exec" || ssh.Unmarshal(req.Payload, &payload) != nil {
			_ = req.Reply(req.Type == "env", nil)
			continue
		}
		_ = req.Reply(true, nil)
		status := struct{ Status uint32 }{s.run(ctx, channel, payload.Command)}
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(status))
		return
	}
}

func (s *GitSSH) run(ctx context.Context, channel ssh.Channel, command string) uint32 {
	verb, quoted, _ := strings.Cut(command, " ")
	name := filepath.FromSlash(strings.Trim(strings.Trim(quoted, "'"), "/"))
	if (verb != "git-upload-pack" && verb != "git-receive-pack") || !filepath.IsLocal(name) {
		fmt.Fprintln(channel.Stderr(), "only git is served here")
		return 128
	}
	cmd := exec.CommandContext(ctx, "git", strings.TrimPrefix(verb, "git-"), filepath.Join(s.dir, name))
	cmd.Env = isolatedGit
	cmd.WaitDelay = time.Second
	cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
	// Not cmd.Stdin: Wait would then wait for a client that says nothing more.
	in, err := cmd.StdinPipe()
	if err != nil || cmd.Start() != nil {
		return 128
	}
	pumped := make(chan struct{})
	go func() {
		defer close(pumped)
		_, _ = io.Copy(in, channel) // either end may leave early
		_ = in.Close()
	}()
	err = cmd.Wait()
	// The channel's end is what ends the copy, but the exit status goes first.
	s.wg.Go(func() { <-pumped })
	exit := (*exec.ExitError)(nil)
	if errors.As(err, &exit) {
		return uint32(max(exit.ExitCode(), 1))
	}
	return 0
}
