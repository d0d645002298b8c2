package repo

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"isoline.dev/isoline/config"
	"isoline.dev/isoline/problem"
)

// read reads a revision's files.
func (r *rig) read(rev Revision, limits config.Limits) (Files, []problem.Problem) {
	r.t.Helper()
	files, problems, err := rev.Files(r.t.Context(), limits)
	r.must(err)
	return files, problems
}

// refuseFiles reads a revision's files and expects an error.
func (r *rig) refuseFiles(rev Revision, limits config.Limits, reason string) *Error {
	r.t.Helper()
	_, _, err := rev.Files(r.t.Context(), limits)
	if ReasonOf(err) != reason {
		r.t.Fatalf("read the files: %v (%s), want %s", err, ReasonOf(err), reason)
	}
	e := (*Error)(nil)
	errors.As(err, &e)
	return e
}

func TestFilesAreThoseBelowTheReadableRootByTheirFullPaths(t *testing.T) {
	r := newRig(t)
	commit := r.pushFiles(map[string]string{
		"routes/base/a.yaml": "a", "routes/prod/b.yaml": "b", "routes/run.sh": "c",
		"routes/.gitignore": "x", "routes/.gitlab-ci.yml": "x", "routes/.GITmodules": "x", "routes/.github/w.yaml": "x",
		"secret/key": "outside", "routes.yaml": "outside",
	})
	for _, test := range []struct {
		path, build string
		want        map[string]string
	}{
		{"routes", "", map[string]string{"routes/base/a.yaml": "a", "routes/prod/b.yaml": "b", "routes/run.sh": "c"}},
		{"./routes/", "prod", map[string]string{"routes/base/a.yaml": "a", "routes/prod/b.yaml": "b", "routes/run.sh": "c"}},
		{"routes/base", ".", map[string]string{"routes/base/a.yaml": "a"}},
		{"", "routes/prod", map[string]string{"routes/base/a.yaml": "a", "routes/prod/b.yaml": "b", "routes/run.sh": "c",
			"secret/key": "outside", "routes.yaml": "outside"}},
	} {
		files, problems := r.read(r.fetch(r.open(config.Repo{Path: test.path, Build: test.build}), commit), config.Limits{})
		got := map[string]string{}
		for name, f := range files {
			got[name] = string(f.Content)
		}
		if diff := cmp.Diff(test.want, got); diff != "" || len(problems) > 0 {
			t.Errorf("path %q: %s%v", test.path, diff, problems)
		}
	}
}

func TestLinksAndSubmodulesAreWarnings(t *testing.T) {
	r := newRig(t)
	r.must(r.work.WriteFiles(map[string]string{"routes/a.yaml": "a"}))
	for name, target := range map[string]string{"abs.yaml": "/etc/hostname", "up.yaml": "../../etc/hostname", "dir": "../other"} {
		r.must(os.Symlink(target, filepath.Join(r.work.Dir, "routes", name)))
	}
	r.git("add", "routes")
	r.git("update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+",routes/sub")
	r.git("commit", "--quiet", "--message", "links")
	r.must(r.work.Push())
	commit := r.git("rev-parse", "HEAD")
	files, problems := r.read(r.fetch(r.open(config.Repo{}), commit), config.Limits{})
	want := Files{
		"routes/a.yaml": {Content: []byte("a")}, "routes/abs.yaml": {Content: []byte("/etc/hostname"), Symlink: true},
		"routes/up.yaml": {Content: []byte("../../etc/hostname"), Symlink: true}, "routes/dir": {Content: []byte("../other"), Symlink: true},
	}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Error(diff)
	}
	var got []string
	for _, p := range problems {
		if p.Severity != problem.Warning || p.Type != ProblemType || p.Origin.Commit != commit || p.Remedy == "" {
			t.Errorf("got %+v", p)
		}
		got = append(got, p.Origin.Path+" "+p.Reason)
	}
	if diff := cmp.Diff([]string{"routes/abs.yaml SymlinkIgnored", "routes/dir SymlinkIgnored",
		"routes/sub SubmoduleUnsupported", "routes/up.yaml SymlinkIgnored"}, got); diff != "" {
		t.Error(diff)
	}
}

// pushTree makes a commit of a tree that git's own commands would not make,
// from lines as git mktree takes them.
func (r *rig) pushTree(tree string) string {
	r.t.Helper()
	commit := r.git("commit-tree", "-m", "by hand", tree)
	r.git("push", "--quiet", "--force", "origin", commit+":refs/heads/main")
	return commit
}

// object writes a raw object and returns its id.
func (r *rig) object(kind, content string) string {
	r.t.Helper()
	return r.git("hash-object", "-t", kind, "-w", "--literally", r.file("object", content))
}

// entry is an entry of a raw tree.
func (r *rig) entry(mode, name, id string) string {
	r.t.Helper()
	raw, err := hex.DecodeString(id)
	r.must(err)
	return mode + " " + name + "\x00" + string(raw)
}

func TestNamesThatAreNoPathsAreNotRead(t *testing.T) {
	r := newRig(t)
	blob := r.object("blob", "x")
	var tree strings.Builder
	for _, name := range []string{"..", ".", ".git", "a\\b", "a\nb", "bad\xff", "escape/../../up", "good"} {
		tree.WriteString(r.entry("100644", name, blob))
	}
	files, problems := r.read(r.fetch(r.open(config.Repo{}), r.pushTree(r.object("tree", tree.String()))), config.Limits{})
	if got := slices.Sorted(maps.Keys(files)); !slices.Equal(got, []string{"good"}) {
		t.Errorf("read %q", got)
	}
	if len(problems) != 6 { // all but .git and good
		t.Errorf("got %d problems: %v", len(problems), problems)
	}
	for _, p := range problems {
		if p.Reason != ReasonInvalidName || strings.Contains(p.Message, "\n") || strings.Contains(p.Message, "\xff") {
			t.Errorf("got %+v", p)
		}
	}
}

func TestLimitsEndTheReadingAndNameThePlace(t *testing.T) {
	r := newRig(t)
	commit := r.pushFiles(map[string]string{"routes/a.yaml": "12345", "routes/b.yaml": "67890", "routes/c/d.yaml": "x"})
	rev := r.fetch(r.open(config.Repo{}), commit)
	r.read(rev, config.Limits{Files: 3, Bytes: 11})
	e := r.refuseFiles(rev, config.Limits{Files: 2, Bytes: 11}, ReasonLimitExceeded)
	if e.Path != "routes/c/d.yaml" || !strings.Contains(e.Remedy, "limits.files") {
		t.Errorf("got %+v", e)
	}
	e = r.refuseFiles(rev, config.Limits{Files: 3, Bytes: 9}, ReasonLimitExceeded)
	if e.Path != "routes/b.yaml" || !strings.Contains(e.Remedy, "limits.bytes") {
		t.Errorf("got %+v", e)
	}
}

func TestTreesThatHoldEachOtherManyTimesOverEnd(t *testing.T) {
	r := newRig(t)
	tree := r.object("tree", "")
	for range 40 { // 10^40 directories in 40 objects
		var raw strings.Builder
		for c := range 10 {
			raw.WriteString(r.entry("40000", fmt.Sprint(c), tree))
		}
		tree = r.object("tree", raw.String())
	}
	rev := r.fetch(r.open(config.Repo{}), r.pushTree(tree))
	r.refuseFiles(rev, config.Limits{}, ReasonLimitExceeded)
}

func TestDirectoriesCountToo(t *testing.T) {
	r := newRig(t)
	commit := r.pushFiles(map[string]string{"a/b/c/d/e/f/g/h/i/j/k": "deep"})
	rev := r.fetch(r.open(config.Repo{}), commit)
	r.read(rev, config.Limits{Files: 2})
	e := r.refuseFiles(rev, config.Limits{Files: 1}, ReasonLimitExceeded)
	if e.Path != "a/b/c/d/e/f/g/h/i/j" {
		t.Errorf("got %+v", e)
	}
	long := r.object("tree", r.entry("100644", strings.Repeat("n", 2<<20), r.object("blob", "x")))
	rev = r.fetch(r.open(config.Repo{}), r.pushTree(long))
	r.read(rev, config.Limits{})
	r.refuseFiles(rev, config.Limits{Bytes: 1 << 20}, ReasonLimitExceeded)
}

func TestAMissingDirectoryIsNamedWithWhatIsThere(t *testing.T) {
	r := newRig(t)
	r.must(r.work.WriteFiles(map[string]string{"routes/base/a": "", "routes/overlays/test/a": "", "routes/overlays/live/a": "", "docs/a": "", "file": ""}))
	r.must(os.Symlink("routes", filepath.Join(r.work.Dir, "link")))
	commit := r.pushFiles(nil)
	for _, test := range []struct {
		path, build string
		at          string
		says        []string
	}{
		{"route", "", "route", []string{`repo.path is "route"`, "the repository has nothing", "docs, routes"}},
		{"routes", "overlays/prod", "routes/overlays/prod", []string{"repo.build", "routes/overlays has nothing", "live, test"}},
		{"routes/base/deep/er", "", "routes/base/deep/er", []string{"routes/base has nothing", "it has no directories"}},
		{"file", "", "file", []string{"no directory but a file"}},
		{"link", "", "link", []string{"a symbolic link (which is not followed)"}},
		{"link/base", "", "link/base", []string{"a symbolic link (which is not followed)"}},
	} {
		rev := r.fetch(r.open(config.Repo{Path: test.path, Build: test.build}), commit)
		if (rev.TreeHash == "") != (test.build == "") {
			t.Errorf("%s: the tree hash is %q", test.path, rev.TreeHash)
		}
		e := r.refuseFiles(rev, config.Limits{}, ReasonPathNotFound)
		for _, s := range test.says {
			if !strings.Contains(e.Error(), s) {
				t.Errorf("%q does not say %q", e, s)
			}
		}
		p := Problem(e)
		if p.Origin != (problem.Origin{Repository: rev.Repository, Commit: commit, Path: test.at}) || p.Reason != ReasonPathNotFound ||
			p.Type != ProblemType || p.Severity != problem.Error || strings.Contains(p.Message, rev.Repository) {
			t.Errorf("as a problem: %+v", p)
		}
	}
}

func TestReadingEndsWithItsContext(t *testing.T) {
	r := newRig(t)
	rev := r.fetch(r.open(config.Repo{}), r.push("1"))
	if _, _, err := rev.Files(canceled(), config.Limits{}); ReasonOf(err) != ReasonCanceled {
		t.Errorf("got %v", err)
	}
}

func TestARevisionOfNoRepositoryHasNoFiles(t *testing.T) {
	if _, _, err := (Revision{}).Files(t.Context(), config.Limits{}); ReasonOf(err) != ReasonRevisionGone {
		t.Errorf("got %v", err)
	}
}
