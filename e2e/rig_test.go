package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"isoline.dev/isoline/lab"
	"isoline.dev/isoline/pipeline"
	"isoline.dev/isoline/problem"
)

// patience bounds every wait. It only ends tests that would hang.
const patience = 60 * time.Second

// rig is Isoline with real parts around it: a git server, upstreams, Envoys.
type rig struct {
	t                          *testing.T
	dir                        string
	git                        *lab.GitServer
	http, https, xds, web, adm int
	config                     string
	isoline                    *lab.Process
	envoy                      *lab.Envoy
	work                       map[string]*lab.Clone
	// shared says that failures of the test are not those of this rig.
	shared bool
	// edit changes the bootstrap before Envoy is started; may be nil.
	edit func(bootstrap map[string]any)
}

// teamSpec is one team of a rig. Its namespace has its name.
type teamSpec struct {
	name  string
	hosts []string
	files map[string]string
	// extra goes into the team's configuration as it is, indented by two.
	extra string
}

// newRig starts a git server with the teams' repositories, Isoline and an
// Envoy, and waits until both are ready.
func newRig(t *testing.T, teams ...teamSpec) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), work: map[string]*lab.Clone{}}
	r.ports()
	var err error
	if r.git, err = lab.StartGit(t.Context(), filepath.Join(r.dir, "git")); err != nil {
		t.Fatal(err)
	}
	var conf strings.Builder
	fmt.Fprintf(&conf, `apiVersion: isoline.dev/v1alpha1
kind: Config
stateDir: state
listeners: {http: {address: 127.0.0.1, port: %d}, https: {address: 127.0.0.1, port: %d}}
xds: {address: 127.0.0.1, port: %d, warmGrace: 40s, startDeadline: 2s}
web: {address: 127.0.0.1, port: %d}
endpoints: {allow: [127.0.0.0/8]}
teams:
`, r.http, r.https, r.xds, r.web)
	for _, team := range teams {
		r.addTeam(team)
		fmt.Fprintf(&conf, "- name: %s\n  repo: {url: %q, path: routes, interval: 100ms}\n  namespaces: [%s]\n  hosts: [%s]\n%s",
			team.name, r.git.URL(team.name), team.name, `"`+strings.Join(team.hosts, `", "`)+`"`, team.extra)
	}
	r.config = filepath.Join(r.dir, "isoline.yaml")
	if err := os.WriteFile(r.config, []byte(conf.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	r.startIsoline("run", "-c", r.config)
	r.startEnvoy()
	return r
}

// newDirectoryRig is a rig without git: Isoline watches a directory.
func newDirectoryRig(t *testing.T, manifests string) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir()}
	r.ports()
	r.startIsoline("run", "--manifests", manifests,
		"--xds-port", fmt.Sprint(r.xds), "--web-port", fmt.Sprint(r.web),
		"--http-address", "127.0.0.1", "--http-port", fmt.Sprint(r.http),
		"--https-address", "127.0.0.1", "--https-port", fmt.Sprint(r.https))
	r.startEnvoy()
	return r
}

func (r *rig) ports() {
	for _, p := range []*int{&r.http, &r.https, &r.xds, &r.web, &r.adm} {
		var err error
		if *p, err = lab.FreePort(); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *rig) addTeam(team teamSpec) {
	r.t.Helper()
	if err := r.git.Create(team.name, "main"); err != nil {
		r.t.Fatal(err)
	}
	work, err := r.git.Clone(team.name, filepath.Join(r.dir, "work", team.name), team.name+" <"+team.name+"@example.com>")
	if err != nil {
		r.t.Fatal(err)
	}
	r.work[team.name] = work
	r.push(team.name, team.files)
}

func (r *rig) startIsoline(args ...string) {
	r.t.Helper()
	log := &bytes.Buffer{}
	p, err := lab.Start(r.t.Context(), log, os.Environ(), binary, args...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.isoline = p
	r.t.Cleanup(func() {
		p.Stop()
		if r.t.Failed() && !r.shared {
			r.t.Logf("isoline:\n%s", p.Output())
		}
	})
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	if err := p.Await(ctx, lab.GetOK(fmt.Sprintf("http://127.0.0.1:%d/readyz", r.web))); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) startEnvoy() {
	r.t.Helper()
	out := &bytes.Buffer{}
	p, err := lab.Start(r.t.Context(), out, os.Environ(), binary, "bootstrap", "--xds-port", fmt.Sprint(r.xds), "--admin-port", fmt.Sprint(r.adm))
	if err != nil {
		r.t.Fatal(err)
	}
	<-p.Done()
	bootstrap := map[string]any{}
	if err := json.Unmarshal(out.Bytes(), &bootstrap); err != nil {
		r.t.Fatalf("%v\n%s", err, out)
	}
	if r.edit != nil {
		r.edit(bootstrap)
	}
	body, err := json.Marshal(bootstrap)
	if err != nil {
		r.t.Fatal(err)
	}
	if r.envoy, err = lab.StartEnvoy(r.t.Context(), nil, r.dir, body, r.adm); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(r.envoy.Stop)
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	if err := r.envoy.AwaitReady(ctx); err != nil {
		r.t.Fatal(err)
	}
}

// push replaces, adds and (where the content is empty) removes files of a
// team and pushes the commit.
func (r *rig) push(team string, files map[string]string) {
	r.t.Helper()
	work := r.work[team]
	written := map[string]string{}
	for name, content := range files {
		if content != "" {
			written[name] = content
			continue
		}
		if err := work.Remove(name); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := work.WriteFiles(written); err != nil {
		r.t.Fatal(err)
	}
	if _, err := work.Commit("change"); err != nil {
		r.t.Fatal(err)
	}
	if err := work.Push("--force", "origin", "HEAD:main"); err != nil {
		r.t.Fatal(err)
	}
}

// answer is the status and the body of one request through Envoy.
func (r *rig) get(host, path string, headers ...string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", r.http, path), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Host = host
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := noRedirects.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

var noRedirects = &http.Client{
	Transport:     &http.Transport{MaxIdleConnsPerHost: 16},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// served waits until a request is answered with a status and a body that
// contains text.
func (r *rig) served(status int, text, host, path string, headers ...string) {
	r.t.Helper()
	r.eventually(func() error {
		if s, body := r.get(host, path, headers...); s != status || !strings.Contains(body, text) {
			return fmt.Errorf("%s%s: got %d %q, want %d with %q", host, path, s, body, status, text)
		}
		return nil
	})
}

// still checks that a request is answered so now.
func (r *rig) still(status int, text, host, path string, headers ...string) {
	r.t.Helper()
	if s, body := r.get(host, path, headers...); s != status || !strings.Contains(body, text) {
		r.t.Errorf("%s%s: got %d %q, want %d with %q", host, path, s, body, status, text)
	}
}

func (r *rig) eventually(check func() error) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			r.t.Fatalf("%v\nisoline:\n%s", err, r.isoline.Output())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (r *rig) report() (out pipeline.Report) {
	r.t.Helper()
	resp, err := noRedirects.Get(fmt.Sprintf("http://127.0.0.1:%d/api/v1/report", r.web))
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		r.t.Fatal(err)
	}
	return out
}

// problem waits for a problem of a reason and returns it.
func (r *rig) problem(reason string) (found problem.Problem) {
	r.t.Helper()
	r.eventually(func() error {
		for _, p := range r.report().Problems {
			if p.Reason == reason {
				found = p
				return nil
			}
		}
		return fmt.Errorf("no problem %s", reason)
	})
	return found
}
