// Package demo is the play that `isoline demo` shows: three teams, their
// repositories on a real git server, Isoline and Envoy as they are really
// run, and pushes whose effect is proved by requests.
//
// It uses the isoline binary as anybody would, from outside.
package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"isoline.dev/isoline/lab"
)

// Options say how the demo is shown.
type Options struct {
	// Isoline is the path of the binary.
	Isoline string
	// Exit ends the demo after the play, instead of staying up until ctx ends.
	Exit bool
	// Out gets the narration.
	Out io.Writer
	// Color allows escape sequences in it.
	Color bool
}

// ErrBroken says that a step of the play did not end as promised. What went
// wrong has been written to Out.
var ErrBroken = errors.New("a step of the demo was not as promised")

// Run sets the stage, plays, and takes everything down again. The error is
// ErrBroken if a step was not as promised, and ctx's if it ended early.
func Run(ctx context.Context, opts Options) error {
	dir, err := os.MkdirTemp("", "isoline-demo-*")
	if err != nil {
		return fmt.Errorf("make a directory for the demo: %w", err)
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &stage{say: narrator{out: opts.Out, color: opts.Color}}
	defer s.close()
	if err := s.set(ctx, dir, opts.Isoline); err != nil {
		return fmt.Errorf("set up the demo: %w", err)
	}
	err = s.play(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.say.failed(err)
		s.say.line("The end of Isoline's log, in %s:\n%s", s.logs.Name(), s.isoline.Output())
		if opts.Exit {
			return ErrBroken
		}
	}
	if opts.Exit {
		return nil
	}
	s.invite()
	<-ctx.Done()
	return err
}

// layout is where everything listens.
type layout struct {
	http, https, xds, web, admin int
	git                          *lab.GitServer
}

func (l layout) url(team string) string { return l.git.URL(team) }

// stage is everything that runs during the play.
type stage struct {
	layout
	say       narrator
	dir       string
	logs      *os.File
	isoline   *lab.Process
	envoy     *lab.Envoy
	upstreams map[string]*lab.Upstream
	teams     map[string]*lab.Clone
	client    *http.Client
	times     []timing
}

// timing is how long one push took from the end of `git push` until a request
// through Envoy proved it.
type timing struct {
	what string
	took time.Duration
}

// upstreams by name: the namespace and service they stand for.
var upstreams = []struct{ namespace, service string }{
	{"platform", "web"}, {"team-a", "blog"}, {"team-a", "blog-next"},
	{"team-b", "shop-blue"}, {"team-b", "shop-green"}, {"team-b", "blog"},
}

// set starts the parts, each after those that it needs.
func (s *stage) set(ctx context.Context, dir, isoline string) (err error) {
	s.dir = dir
	s.say.title("Setting up, all on 127.0.0.1")
	s.client = &http.Client{Timeout: 5 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, port := range []*int{&s.http, &s.https, &s.xds, &s.web, &s.admin} {
		if *port, err = lab.FreePort(); err != nil {
			return err
		}
	}
	s.upstreams = map[string]*lab.Upstream{}
	for _, u := range upstreams {
		if s.upstreams[u.namespace+"/"+u.service], err = lab.StartUpstream(ctx, u.namespace+"/"+u.service); err != nil {
			return err
		}
	}
	if err := s.setGit(ctx); err != nil {
		return err
	}
	if s.logs, err = os.Create(filepath.Join(dir, "isoline.log")); err != nil {
		return err
	}
	file := filepath.Join(dir, "isoline.yaml")
	if err := os.WriteFile(file, []byte(configFile(s.layout)), 0o600); err != nil {
		return err
	}
	if s.isoline, err = lab.Start(ctx, s.logs, os.Environ(), isoline, "run", "-c", file); err != nil {
		return err
	}
	if err := s.isoline.Await(ctx, lab.GetOK(s.webURL()+"/readyz")); err != nil {
		return err
	}
	s.say.line("Isoline serves xDS on port %d and its web port on %d", s.xds, s.web)
	return s.setEnvoy(ctx, isoline)
}

func (s *stage) setEnvoy(ctx context.Context, isoline string) error {
	out := new(bytes.Buffer)
	p, err := lab.Start(ctx, out, os.Environ(), isoline, "bootstrap", "--xds-port", fmt.Sprint(s.xds), "--admin-port", fmt.Sprint(s.admin))
	if err != nil {
		return err
	}
	<-p.Done()
	if s.envoy, err = lab.StartEnvoy(ctx, s.logs, s.dir, out.Bytes(), s.admin); err != nil {
		return err
	}
	if err := s.envoy.AwaitReady(ctx); err != nil {
		return err
	}
	s.say.line("Envoy takes requests on port %d", s.http)
	return nil
}

// setGit gives each team its repository, with Services but no routes yet.
func (s *stage) setGit(ctx context.Context) (err error) {
	if s.git, err = lab.StartGit(ctx, filepath.Join(s.dir, "git")); err != nil {
		return err
	}
	s.teams = map[string]*lab.Clone{}
	for _, team := range []string{"platform", "team-a", "team-b"} {
		if err := s.git.Create(team, "main"); err != nil {
			return err
		}
		work, err := s.git.Clone(team, filepath.Join(s.dir, "work", team), team+" <"+team+"@example.com>")
		if err != nil {
			return err
		}
		s.teams[team] = work
		files := map[string]string{}
		for _, u := range upstreams {
			if u.namespace == team {
				files["routes/services/"+u.service+".yaml"] = service(team, u.service, s.upstreams[team+"/"+u.service].Port())
			}
		}
		if _, err := s.push(team, "services", files); err != nil {
			return err
		}
		s.say.line("git server: %s", s.git.URL(team))
	}
	return nil
}

func (s *stage) close() {
	if s.envoy != nil {
		s.envoy.Stop()
	}
	if s.isoline != nil {
		s.isoline.Stop()
	}
	if s.logs != nil {
		_ = s.logs.Close() // only a log, and the demo is over
	}
}

// push commits files of a team and pushes them; it returns the commit.
func (s *stage) push(team, message string, files map[string]string) (string, error) {
	work := s.teams[team]
	if err := work.WriteFiles(files); err != nil {
		return "", err
	}
	commit, err := work.Commit(message)
	if err != nil {
		return "", err
	}
	return commit, work.Push()
}

func (s *stage) webURL() string { return fmt.Sprintf("http://127.0.0.1:%d", s.web) }

// answer is what came back of a request through Envoy.
type answer struct {
	status   int
	upstream string
}

func (a answer) String() string {
	if a.upstream == "" {
		return fmt.Sprint(a.status)
	}
	return fmt.Sprintf("%d from %s", a.status, a.upstream)
}

// get sends one request through Envoy. Headers are name, value, name, value.
func (s *stage) get(ctx context.Context, host, path string, headers ...string) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", s.http, path), nil)
	if err != nil {
		return answer{}, err
	}
	req.Host = host
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	var body struct {
		Name string `json:"name"`
	}
	content, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return answer{}, err
	}
	if resp.StatusCode == http.StatusOK {
		err = json.Unmarshal(content, &body)
	}
	return answer{status: resp.StatusCode, upstream: body.Name}, err
}

// report is the part of Isoline's report that the play looks at.
type report struct {
	Problems []struct {
		Type, Reason, Message string
		Object                struct{ Kind, Namespace, Name string }
		Origin                origin
		Related               []struct {
			Object struct{ Kind, Namespace, Name string }
			Origin origin
		}
	}
}

type origin struct {
	Repository, Commit, Path string
	Line                     int
}

func (o origin) String() string {
	return fmt.Sprintf("%s %s:%d", strings.TrimSuffix(filepath.Base(o.Repository), ".git"), o.Path, o.Line)
}

func (s *stage) report(ctx context.Context) (r report, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.webURL()+"/api/v1/report", nil)
	if err != nil {
		return r, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return r, err
	}
	defer resp.Body.Close()
	return r, json.NewDecoder(resp.Body).Decode(&r)
}
