package repo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"isoline.dev/isoline/config"
	"isoline.dev/isoline/lab"
)

func TestEveryKindOfRefFindsItsCommit(t *testing.T) {
	r := newRig(t)
	first := r.push("1")
	r.git("tag", "v1.0.0")
	r.git("tag", "not-a-version")
	second := r.push("2")
	r.git("tag", "--annotate", "--message", "a release", "v1.2.0")
	third := r.push("3")
	r.git("tag", "v2.0.0-rc.1")
	fourth := r.push("4", "origin", "HEAD:refs/heads/feature/x", "HEAD:refs/pull/1/head")
	r.git("push", "--quiet", "--tags", "origin")

	for _, test := range []struct {
		ref    config.Ref
		commit string
		name   string
	}{
		{config.Ref{}, third, "branch main"},
		{config.Ref{Branch: "feature/x"}, fourth, "branch feature/x"},
		{config.Ref{Tag: "v1.0.0"}, first, "tag v1.0.0"},
		{config.Ref{Tag: "v1.2.0"}, second, "tag v1.2.0"},
		{config.Ref{Semver: ">=1.0.0"}, second, "tag v1.2.0"},
		{config.Ref{Semver: "<1.1"}, first, "tag v1.0.0"},
		{config.Ref{Semver: ">=2.0.0-0"}, third, "tag v2.0.0-rc.1"},
		{config.Ref{Name: "refs/pull/1/head"}, fourth, "refs/pull/1/head"},
		{config.Ref{Name: "refs/tags/v1.2.0"}, second, "refs/tags/v1.2.0"},
		{config.Ref{Commit: third}, third, "commit " + third[:12]},
		{config.Ref{Commit: first}, first, "commit " + first[:12]},
	} {
		t.Run(fmt.Sprintf("%+v", test.ref), func(t *testing.T) {
			r := &rig{t: t, server: r.server, work: r.work, dir: t.TempDir()}
			repo := r.open(config.Repo{Ref: test.ref})
			rev := r.fetch(repo, test.commit)
			if rev.Ref != test.name {
				t.Errorf("the revision says %q, want %q", rev.Ref, test.name)
			}
			if got, want := r.content(rev), r.git("show", test.commit+":routes/a.yaml"); got != want {
				t.Errorf("read %q, want %q", got, want)
			}
			if rev.Subject != "change routes" || rev.Author != "Ada" || rev.Committed.IsZero() {
				t.Errorf("the revision says %+v", rev)
			}
			again := r.fetch(repo, test.commit)
			if again.Rewritten || again.TreeHash != rev.TreeHash {
				t.Errorf("the same again is %+v, was %+v", again, rev)
			}
		})
	}
}

func TestARefThatIsNotThereIsATypedErrorAndChangesNothing(t *testing.T) {
	r := newRig(t)
	r.push("1")
	blob := r.git("hash-object", "-w", "routes/a.yaml")
	r.git("tag", "a-blob", blob)
	r.git("push", "--quiet", "origin", "a-blob")
	for _, test := range []struct {
		ref    config.Ref
		reason string
	}{
		{config.Ref{Branch: "gone"}, ReasonBranchNotFound},
		{config.Ref{Tag: "v9"}, ReasonTagNotFound},
		{config.Ref{Semver: ">=1"}, ReasonNoMatchingTag},
		{config.Ref{Name: "refs/pull/7/head"}, ReasonRefNotFound},
		{config.Ref{Commit: strings.Repeat("7", 40)}, ReasonCommitNotFound},
		{config.Ref{Tag: "a-blob"}, ReasonNotACommit},
	} {
		t.Run(test.reason, func(t *testing.T) {
			r := &rig{t: t, server: r.server, work: r.work, dir: t.TempDir()}
			repo := r.open(config.Repo{Ref: test.ref})
			r.refuse(repo, test.reason)
			if _, ok, err := repo.store.ref(refHead); ok || err != nil {
				t.Errorf("the copy has a head: %v, %v", ok, err)
			}
		})
	}
}

func TestARepositoryWithoutCommitsIsAnEmptyRepository(t *testing.T) {
	r := newRig(t)
	r.refuse(r.open(config.Repo{}), ReasonEmptyRepository)
}

func TestARepositoryThatIsNotThereIsNotFound(t *testing.T) {
	r := newRig(t)
	r.refuse(r.open(config.Repo{URL: r.server.URL("other")}), ReasonRepositoryNotFound)
}

func TestHistoryMayBeRewritten(t *testing.T) {
	for _, test := range []struct {
		name      string
		change    func(r *rig) string
		rewritten bool
	}{
		{"fast-forward", func(r *rig) string { return r.push("2") }, false},
		{"fast-forward by many commits", func(r *rig) string {
			r.push("2")
			r.push("3")
			return r.push("4")
		}, false},
		{"merge", func(r *rig) string {
			r.git("checkout", "--quiet", "-b", "side")
			r.pushFiles(map[string]string{"routes/b.yaml": "b"}, "origin", "HEAD:side")
			r.pushFiles(map[string]string{"routes/b.yaml": "bb"}, "origin", "HEAD:side")
			r.git("checkout", "--quiet", "main")
			r.push("2")
			r.git("merge", "--quiet", "--no-ff", "--message", "merge", "side")
			r.must(r.work.Push())
			return r.git("rev-parse", "HEAD")
		}, false},
		{"force-push", func(r *rig) string {
			r.git("reset", "--quiet", "--hard", "HEAD~1")
			return r.push("other", "--force", "origin", "HEAD")
		}, true},
		{"rewind", func(r *rig) string {
			r.git("reset", "--quiet", "--hard", "HEAD~1")
			r.must(r.work.Push("--force", "origin", "HEAD"))
			return r.git("rev-parse", "HEAD")
		}, true},
		{"orphan", func(r *rig) string {
			r.git("checkout", "--quiet", "--orphan", "fresh")
			return r.push("fresh", "--force", "origin", "HEAD:main")
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRig(t)
			r.push("0")
			before := r.push("1")
			repo := r.open(config.Repo{})
			r.fetch(repo, before)
			want := test.change(r)
			rev := r.fetch(repo, want)
			if rev.Rewritten != test.rewritten || rev.Previous != before || len(rev.Problems) > 0 {
				t.Errorf("got %+v, want rewritten=%v and the commit before %s", rev, test.rewritten, before)
			}
			if got, want := r.content(rev), r.git("show", "HEAD:routes/a.yaml"); got != want {
				t.Errorf("read %q, want %q", got, want)
			}
			if again := r.fetch(repo, want); again.Rewritten {
				t.Error("the same again says rewritten")
			}
		})
	}
}

func TestARewindToWhatIsStillHereIsTakenFromTheCopy(t *testing.T) {
	var posts atomic.Int64
	r := newRig(t, lab.GitMiddleware(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if strings.HasSuffix(req.URL.Path, "/git-upload-pack") {
				posts.Add(1)
			}
			next.ServeHTTP(w, req)
		})
	}))
	first := r.push("1")
	posts.Store(0) // the work copy's
	repo := r.open(config.Repo{})
	r.fetch(repo, first)
	r.fetch(repo, r.push("2"))
	if posts.Load() != 2 {
		t.Fatalf("%d downloads for two commits", posts.Load())
	}
	r.fetch(repo, r.git("rev-parse", "HEAD"))
	if posts.Load() != 2 {
		t.Fatalf("a fetch of the same commit made a download")
	}
	r.git("reset", "--quiet", "--hard", first)
	r.must(r.work.Push("--force", "origin", "HEAD"))
	rev := r.fetch(repo, first)
	if !rev.Rewritten || posts.Load() != 3 { // the third asks for the ancestry
		t.Errorf("rewritten is %v after %d downloads", rev.Rewritten, posts.Load())
	}
}

func TestACommitThatIsHereNeedsNoServer(t *testing.T) {
	r := newRig(t)
	commit := r.push("1")
	repo := r.open(config.Repo{Ref: config.Ref{Commit: commit}})
	r.fetch(repo, commit)
	r.server.Close()
	r.fetch(repo, commit)
}

func TestADeletedBranchLeavesTheCopyAsItWas(t *testing.T) {
	r := newRig(t)
	r.push("main")
	commit := r.push("1", "origin", "HEAD:team")
	repo := r.open(config.Repo{Ref: config.Ref{Branch: "team"}})
	rev := r.fetch(repo, commit)
	r.git("push", "--quiet", "origin", "--delete", "team")
	e := r.refuse(repo, ReasonBranchNotFound)
	if !errors.Is(e, &Error{Reason: ReasonBranchNotFound}) || errors.Is(e, &Error{Reason: ReasonTagNotFound}) {
		t.Error("the error does not compare by its reason")
	}
	if got := r.content(rev); got != "1" {
		t.Errorf("the revision now reads %q", got)
	}
	r.git("push", "--quiet", "origin", "HEAD:team")
	r.fetch(repo, commit)
}

func TestAServerThatComesBackIsFetchedAgain(t *testing.T) {
	r := newRig(t)
	repo := r.open(config.Repo{})
	first := r.push("1")
	rev := r.fetch(repo, first)
	second := r.push("2")
	address := r.server.Address()
	r.server.Close()
	e := r.refuse(repo, ReasonUnreachable)
	if !strings.Contains(e.Error(), address) {
		t.Errorf("%q does not name the server", e)
	}
	if r.content(rev) != "1" {
		t.Error("the revision can no longer be read")
	}
	server, err := lab.StartGit(t.Context(), r.dir+"/server", lab.GitAddress(address))
	r.must(err)
	defer server.Close()
	r.fetch(repo, second)
}

// silentServer accepts connections and says nothing, or only what it is told.
func silentServer(t *testing.T, say string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			if strings.HasPrefix(say, "HTTP") { // an answer, so only when asked
				_, _ = conn.Read(make([]byte, 1))
			}
			_, _ = conn.Write([]byte(say))
			defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
		}
	}()
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

func TestAServerThatNeverAnswersEndsWithTheTimeout(t *testing.T) {
	r := newRig(t)
	key, _, err := lab.NewSSHKey("")
	r.must(err)
	_, hostKey, err := lab.NewSSHKey("")
	r.must(err)
	advert := "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\nContent-Length: 1000\r\n\r\n001e# service=git-upload-pack\n"
	for name, test := range map[string]struct{ scheme, say string }{
		"http":                      {"http", ""},
		"https":                     {"https", ""},
		"ssh":                       {"ssh", ""},
		"ssh after its version":     {"ssh", "SSH-2.0-silent\r\n"},
		"http in the advertisement": {"http", advert},
	} {
		t.Run(name, func(t *testing.T) {
			r := &rig{t: t, server: r.server, work: r.work, dir: t.TempDir()}
			address := silentServer(t, test.say)
			cfg := config.Repo{URL: test.scheme + "://" + address + "/team.git", Timeout: config.Duration(200 * time.Millisecond)}
			if test.scheme == "ssh" {
				cfg.Auth = config.Auth{IdentityFile: r.file("key", string(key)), KnownHostsFile: r.file("known", knownLine(address, hostKey))}
			}
			e := r.refuse(r.open(cfg), ReasonTimeout)
			if !errors.Is(e, context.DeadlineExceeded) {
				t.Errorf("%v is no exceeded deadline", e)
			}
		})
	}
}

func TestAStalledPackEndsWithTheTimeout(t *testing.T) {
	release, stall := make(chan struct{}), atomic.Bool{}
	r := newRig(t, lab.GitMiddleware(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if stall.Load() && strings.HasSuffix(req.URL.Path, "/git-upload-pack") {
				w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
				_, _ = w.Write([]byte("0000"))
				w.(http.Flusher).Flush()
				<-release
				return
			}
			next.ServeHTTP(w, req)
		})
	}))
	t.Cleanup(func() { close(release) })
	r.push("1")
	stall.Store(true)
	r.refuse(r.open(config.Repo{Timeout: config.Duration(300 * time.Millisecond)}), ReasonTimeout)
}

func TestACanceledFetchSaysSo(t *testing.T) {
	r := newRig(t)
	r.push("1")
	_, err := r.open(config.Repo{}).Fetch(canceled())
	if ReasonOf(err) != ReasonCanceled || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v (%s)", err, ReasonOf(err))
	}
}

func TestAnswersThatAreNoGitAreServerErrors(t *testing.T) {
	for name, test := range map[string]struct {
		handler http.HandlerFunc
		reason  string
	}{
		"a page":         {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>hello</html>")) }, ReasonServer},
		"500":            {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "sesame", http.StatusInternalServerError) }, ReasonServer},
		"403":            {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "sesame", http.StatusForbidden) }, ReasonAuthenticationFailed},
		"an error line":  {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("000fERR go away")) }, ReasonServer},
		"nothing at all": {func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, ReasonUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			var broken atomic.Bool
			r := newRig(t, lab.GitMiddleware(func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
					if broken.Load() {
						test.handler(w, req)
						return
					}
					next.ServeHTTP(w, req)
				})
			}))
			first := r.push("1")
			repo := r.open(config.Repo{})
			r.fetch(repo, first)
			second := r.push("2")
			broken.Store(true)
			r.refuse(repo, test.reason, "sesame")
			broken.Store(false)
			r.fetch(repo, second)
		})
	}
}

func TestABrokenPackIsNotTaken(t *testing.T) {
	var cut atomic.Bool
	r := newRig(t, lab.GitMiddleware(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if cut.Load() && strings.HasSuffix(req.URL.Path, "/git-upload-pack") {
				w = &flipper{ResponseWriter: w, at: 150}
			}
			next.ServeHTTP(w, req)
		})
	}))
	first := r.push("1")
	repo := r.open(config.Repo{})
	r.fetch(repo, first)
	second := r.push(strings.Repeat("a line that is long enough to be in the middle of the pack\n", 5))
	cut.Store(true)
	r.refuse(repo, ReasonInvalidPack)
	if repo.damaged != nil {
		t.Error("the copy counts as damaged")
	}
	cut.Store(false)
	r.fetch(repo, second)
}

// flipper changes one byte of what is written.
type flipper struct {
	http.ResponseWriter
	at int
}

func (f *flipper) Write(p []byte) (int, error) {
	if f.at >= 0 && f.at < len(p) {
		p = append([]byte(nil), p...)
		p[f.at] ^= 0xff
	}
	f.at -= len(p)
	return f.ResponseWriter.Write(p)
}

func TestTheCopyHasDepthOne(t *testing.T) {
	r := newRig(t)
	var old []string
	for i := range 5 {
		old = append(old, r.push(fmt.Sprint(i)))
	}
	repo := r.open(config.Repo{})
	head := old[4]
	r.fetch(repo, head)
	for _, c := range old[:4] {
		if out, err := r.copyGit("cat-file", "-t", c); err == nil {
			t.Errorf("the copy has commit %s (%s)", c, out)
		}
	}
	out, err := r.copyGit("fsck", "--full", "--strict")
	r.must(err)
	if out != "" {
		t.Errorf("git fsck says %s", out)
	}
	if out, err = r.copyGit("rev-list", "--count", "refs/isoline/head"); err != nil || out != "1" {
		t.Errorf("the copy has %s commits, %v", out, err)
	}
	r.push("8")
	r.fetch(repo, r.push("9"))
	out, err = r.copyGit("fsck", "--full", "--strict", "--no-dangling")
	if err != nil || out != "" {
		t.Errorf("after a second fetch git fsck says %s, %v", out, err)
	}
}

func TestTheTreeHashFollowsTheReadableRootOnly(t *testing.T) {
	r := newRig(t)
	repo := r.open(config.Repo{Path: "routes"})
	first := r.fetch(repo, r.push("1"))
	second := r.fetch(repo, r.pushFiles(map[string]string{"README.md": "about"}))
	if first.TreeHash == "" || first.TreeHash != second.TreeHash {
		t.Errorf("a change beside the root makes %q of %q", second.TreeHash, first.TreeHash)
	}
	third := r.fetch(repo, r.push("2"))
	if third.TreeHash == second.TreeHash {
		t.Error("a change below the root leaves the hash as it was")
	}
	if want := r.git("rev-parse", "HEAD:routes"); third.TreeHash != want {
		t.Errorf("the hash is %s, want git's own %s", third.TreeHash, want)
	}
}

func TestDownloadsAreBounded(t *testing.T) {
	noise := strings.Builder{}
	for i := range 20_000 {
		fmt.Fprintf(&noise, "%x", uint64(i)*0x9e3779b97f4a7c15)
	}
	for name, opts := range map[string]Options{
		"pack":   {MaxPackBytes: 64 << 10},
		"object": {MaxObjectBytes: 64 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			first := r.push("1")
			repo := r.open(config.Repo{}, opts)
			r.fetch(repo, first)
			r.push(noise.String())
			r.refuse(repo, ReasonLimitExceeded)
			r.fetch(repo, r.push("small again", "--force", "origin", "HEAD:main"))
		})
	}
}

func TestASmallPackThatInflatesToMuchIsRefused(t *testing.T) {
	r := newRig(t)
	r.pushFiles(map[string]string{"zeros": strings.Repeat("\x00", 8<<20)})
	e := r.refuse(r.open(config.Repo{}, Options{MaxPackBytes: 1 << 20, MaxObjectBytes: 1 << 20}), ReasonLimitExceeded)
	if !strings.Contains(e.Error(), "8388608") {
		t.Errorf("%q does not say how large", e)
	}
}
