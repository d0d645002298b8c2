// Package lab starts real parts on loopback for the demo and the end-to-end
// tests: Envoy, a git server, upstreams, load. It holds no product code and
// nothing here is a fake.
//
// Everything that is started is bound to a context and ends with it; child
// processes also end when this process does.
package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// EnvoyPath finds Envoy: $ISOLINE_ENVOY, then .tools/bin/envoy in the working
// directory or a parent of it, then PATH. The error says how to get one.
func EnvoyPath() (string, error) {
	if p := os.Getenv("ISOLINE_ENVOY"); p != "" {
		if _, err := os.Stat(p); err != nil {
			return "", fmt.Errorf("ISOLINE_ENVOY: %w", err)
		}
		return p, nil
	}
	if dir, err := os.Getwd(); err == nil {
		for {
			p := filepath.Join(dir, ".tools", "bin", "envoy")
			if _, err := os.Stat(p); err == nil {
				return p, nil
			}
			parent := filepath.Dir(dir)
			if parent == dir {
				break
			}
			dir = parent
		}
	}
	if p, err := exec.LookPath("envoy"); err == nil {
		return p, nil
	}
	return "", errors.New("no envoy found: run `make tools`, or set ISOLINE_ENVOY to an Envoy of version 1.37 or later")
}

// FreePort returns a TCP port on 127.0.0.1 that nothing listens on. It hands
// out no port twice, and none of those that the kernel gives to connections,
// so that the port is still free when it is used a moment later. Two processes
// may be given the same one, if hardly ever.
func FreePort() (int, error) {
	const first, last = 10_000, 32_000
	for range last - first {
		port := first + rand.IntN(last-first)
		if _, taken := handedOut.LoadOrStore(port, true); taken {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		return port, l.Close()
	}
	return 0, errors.New("find a free port on 127.0.0.1: there seems to be none")
}

// handedOut has the ports that FreePort has returned.
var handedOut sync.Map

// Process is a child process that this one started.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	out  *tail
}

// Start runs a program until ctx ends or Stop or Kill is called. Its output
// goes to log, where that is not nil, and the end of it into error messages.
func Start(ctx context.Context, log io.Writer, env []string, name string, args ...string) (*Process, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = procAttr()
	cmd.Env = env
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	out := &tail{next: log}
	cmd.Stdout, cmd.Stderr = out, out
	p := &Process{cmd: cmd, done: make(chan struct{}), out: out}
	started := make(chan error)
	go func() {
		// Pdeathsig goes by the thread that started the child, so that thread
		// has to live as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		_ = cmd.Wait() // how it ended is in ProcessState
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(name), err)
	}
	return p, nil
}

// Pid is the child's process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the child has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Output is the end of what the child has printed.
func (p *Process) Output() string { return p.out.String() }

// Kill ends the child and its process group at once, and waits for it.
func (p *Process) Kill() { p.signal(syscall.SIGKILL) }

// Stop asks the child to end and waits; after 10 seconds it is killed.
func (p *Process) Stop() {
	p.signalOnly(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		p.Kill()
	}
}

func (p *Process) signal(s syscall.Signal) {
	p.signalOnly(s)
	<-p.done
}

func (p *Process) signalOnly(s syscall.Signal) {
	select {
	case <-p.done:
	default:
		_ = syscall.Kill(-p.cmd.Process.Pid, s) // gone already: nothing to do
	}
}

// Await polls check until it returns nil, the child ends, or ctx does.
func (p *Process) Await(ctx context.Context, check func(context.Context) error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended: %s\n%s", filepath.Base(p.cmd.Path), p.cmd.ProcessState, p.Output())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w\n%s", filepath.Base(p.cmd.Path), err, p.Output())
		case <-tick.C:
		}
	}
}

// GetOK is a check for Await: url answers 200.
func GetOK(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", url, resp.Status)
		}
		return nil
	}
}

// Envoy is a running Envoy.
type Envoy struct {
	*Process
	// Admin is the base URL of its admin interface, "http://127.0.0.1:port".
	Admin string
}

// StartEnvoy writes bootstrap (YAML or JSON, whose admin interface listens on
// 127.0.0.1:adminPort) into dir and runs Envoy on it with one worker. It
// returns when the admin interface answers, which does not mean that
// listeners are up: see AwaitReady.
func StartEnvoy(ctx context.Context, log io.Writer, dir string, bootstrap []byte, adminPort int) (*Envoy, error) {
	path, err := EnvoyPath()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, fmt.Sprintf("envoy-%d.yaml", adminPort))
	if err := os.WriteFile(file, bootstrap, 0o600); err != nil {
		return nil, err
	}
	p, err := Start(ctx, log, []string{"PATH=/usr/bin:/bin"}, path, "-c", file,
		"--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warning", "--drain-time-s", "1", "--file-flush-interval-msec", "50")
	if err != nil {
		return nil, err
	}
	e := &Envoy{Process: p, Admin: fmt.Sprintf("http://127.0.0.1:%d", adminPort)}
	up, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := p.Await(up, GetOK(e.Admin+"/server_info")); err != nil {
		p.Kill()
		return nil, err
	}
	return e, nil
}

// AwaitReady waits until Envoy has its first configuration and takes requests.
func (e *Envoy) AwaitReady(ctx context.Context) error {
	return e.Await(ctx, GetOK(e.Admin+"/ready"))
}

// tail passes writes on and remembers the last 16 KiB.
type tail struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	next io.Writer
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	const keep = 16 << 10
	t.buf.Write(p)
	if over := t.buf.Len() - keep; over > 0 {
		t.buf.Next(over)
	}
	if t.next != nil {
		return t.next.Write(p)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(t.buf.String())
}
