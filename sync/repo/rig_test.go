package repo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"isoline.dev/isoline/config"
	"isoline.dev/isoline/lab"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a git server with one repository, "team", a work copy of it, and a
// directory for copies.
type rig struct {
	t      *testing.T
	server *lab.GitServer
	work   *lab.Clone
	dir    string
}

func newRig(t *testing.T, options ...lab.GitOption) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir()}
	var err error
	r.server, err = lab.StartGit(t.Context(), filepath.Join(r.dir, "server"), options...)
	r.must(err)
	t.Cleanup(r.server.Close)
	r.must(r.server.Create("team", "main"))
	r.work, err = r.server.Clone("team", filepath.Join(r.dir, "work"), "Ada <ada@example.com>")
	r.must(err)
	return r
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// git runs git in the work copy.
func (r *rig) git(args ...string) string {
	r.t.Helper()
	out, err := r.work.Git(args...)
	r.must(err)
	return out
}

// push commits a file of that content and pushes; it returns the commit.
func (r *rig) push(content string, args ...string) string {
	r.t.Helper()
	return r.pushFiles(map[string]string{"routes/a.yaml": content}, args...)
}

func (r *rig) pushFiles(files map[string]string, args ...string) string {
	r.t.Helper()
	r.must(r.work.WriteFiles(files))
	commit, err := r.work.Commit("change routes\n\nwith a body")
	r.must(err)
	r.must(r.work.Push(args...))
	return commit
}

// open opens the copy "copy"; the URL is the server's unless cfg has one.
func (r *rig) open(cfg config.Repo, opts ...Options) *Repository {
	r.t.Helper()
	if cfg.URL == "" {
		cfg.URL = r.server.URL("team")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = config.Duration(time.Minute) // only so that nothing hangs
	}
	opts = append(opts, Options{})
	repo, err := Open(filepath.Join(r.dir, "copy"), cfg, opts[0])
	r.must(err)
	return repo
}

// fetch fetches and expects that commit.
func (r *rig) fetch(repo *Repository, want string) Revision {
	r.t.Helper()
	rev, err := repo.Fetch(r.t.Context())
	r.must(err)
	if rev.Commit != want {
		r.t.Fatalf("fetched %s, want %s", rev.Commit, want)
	}
	return rev
}

// refuse fetches and expects an error with that reason, with a remedy and
// without any of the secrets.
func (r *rig) refuse(repo *Repository, reason string, secrets ...string) *Error {
	r.t.Helper()
	_, err := repo.Fetch(r.t.Context())
	e := (*Error)(nil)
	if !errors.As(err, &e) || e.Reason != reason {
		r.t.Fatalf("fetch: %v (%s), want the reason %s", err, ReasonOf(err), reason)
	}
	if e.Remedy == "" || e.Repository == "" {
		r.t.Errorf("the error has the remedy %q and the repository %q", e.Remedy, e.Repository)
	}
	for ; err != nil; err = errors.Unwrap(err) {
		for _, s := range secrets {
			if text := fmt.Sprintf("%v %+v %#v", err, err, Problem(err)); strings.Contains(text, s) {
				r.t.Errorf("the error gives %q away: %s", s, text)
			}
		}
	}
	return e
}

// content is what a revision has in routes/a.yaml.
func (r *rig) content(rev Revision) string {
	r.t.Helper()
	files, _, err := rev.Files(r.t.Context(), config.Limits{})
	r.must(err)
	return string(files["routes/a.yaml"].Content)
}

// file writes a file with content and returns its path.
func (r *rig) file(name, content string) string {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	r.must(os.WriteFile(path, []byte(content), 0o600))
	return path
}

// copyGit runs real git on our copy.
func (r *rig) copyGit(args ...string) (string, error) {
	return r.work.Git(append([]string{"--git-dir", filepath.Join(r.dir, "copy")}, args...)...)
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
