package repo

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"

	"isoline.dev/isoline/config"
)

func TestTheGoodRevisionOutlivesTheServerAndTheProcess(t *testing.T) {
	r := newRig(t)
	repo := r.open(config.Repo{Path: "routes"})
	if _, ok, err := repo.Good(); ok || err != nil {
		t.Fatalf("a new copy has a good revision: %v, %v", ok, err)
	}
	first := r.fetch(repo, r.push("1"))
	r.must(repo.MarkGood(t.Context(), first.Commit))
	for i := range 4 {
		r.fetch(repo, r.push(fmt.Sprint("bad ", i)))
	}
	r.server.Close()
	repo = r.open(config.Repo{Path: "routes"})
	good, ok, err := repo.Good()
	r.must(err)
	if !ok || good.Commit != first.Commit || good.TreeHash != first.TreeHash || good.Subject != first.Subject {
		t.Errorf("got %+v, want %+v", good, first)
	}
	if r.content(good) != "1" {
		t.Errorf("read %q", r.content(good))
	}
	r.refuse(repo, ReasonUnreachable)
}

func TestOnlyACommitThatIsHereCanBeGood(t *testing.T) {
	r := newRig(t)
	repo := r.open(config.Repo{})
	rev := r.fetch(repo, r.push("1"))
	r.must(repo.MarkGood(t.Context(), rev.Commit))
	if err := repo.MarkGood(t.Context(), strings.Repeat("7", 40)); ReasonOf(err) != ReasonRevisionGone {
		t.Errorf("got %v", err)
	}
	if err := repo.MarkGood(t.Context(), "main"); ReasonOf(err) != ReasonCommitNotFound {
		t.Errorf("got %v", err)
	}
	if err := repo.MarkGood(canceled(), rev.Commit); err == nil {
		t.Error("a canceled context marks")
	}
	if good, ok, err := repo.Good(); !ok || err != nil || good.Commit != rev.Commit {
		t.Errorf("good is %v, %v, %v", good.Commit, ok, err)
	}
}

func TestPacksDoNotPileUp(t *testing.T) {
	r := newRig(t)
	repo := r.open(config.Repo{}, Options{MaxPacks: 5})
	var good, before, last Revision
	for i := range 24 {
		before, last = last, r.fetch(repo, r.push(fmt.Sprint(i)))
		if i == 2 {
			good = last
			r.must(repo.MarkGood(t.Context(), good.Commit))
		}
		if packs, err := repo.store.packs(); err != nil || len(packs) > 5 {
			t.Fatalf("%d packs after %d fetches, %v", len(packs), i+1, err)
		}
	}
	for want, rev := range map[string]Revision{"2": good, "22": before, "23": last} {
		if got := r.content(rev); got != want {
			t.Errorf("read %q, want %q", got, want)
		}
	}
	if out, err := r.copyGit("fsck", "--full", "--strict", "--no-dangling"); err != nil || out != "" {
		t.Errorf("git fsck says %s, %v", out, err)
	}
	r.server.Close()
	if again, ok, err := r.open(config.Repo{}).Good(); !ok || err != nil || r.content(again) != "2" {
		t.Errorf("after a restart good is %+v, %v, %v", again, ok, err)
	}
}

func TestARevisionThatWasLeftBehindSaysSo(t *testing.T) {
	r := newRig(t)
	repo := r.open(config.Repo{}, Options{MaxPacks: 1})
	old := r.fetch(repo, r.push("0"))
	for i := range 3 {
		r.fetch(repo, r.push(fmt.Sprint(i+1)))
	}
	r.refuseFiles(old, config.Limits{}, ReasonRevisionGone)
	if repo.damaged != nil {
		t.Error("the copy counts as damaged")
	}
}

func TestFetchesAndReadersDoNotDisturbEachOther(t *testing.T) {
	r := newRig(t)
	repo := r.open(config.Repo{}, Options{MaxPacks: 2})
	rev := r.fetch(repo, r.push("0"))
	r.must(repo.MarkGood(t.Context(), rev.Commit))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				files, _, err := rev.Files(t.Context(), config.Limits{})
				if err != nil || string(files["routes/a.yaml"].Content) != "0" {
					t.Errorf("read %v, %v", files, err)
					return
				}
			}
		})
	}
	for i := range 10 {
		r.fetch(repo, r.push(fmt.Sprint(i+1)))
	}
	close(stop)
	wg.Wait()
}

// damage changes bytes of the copy's files that match.
func (r *rig) damage(pattern string, change func([]byte) []byte) {
	r.t.Helper()
	files, err := filepath.Glob(filepath.Join(r.dir, "copy", pattern))
	r.must(err)
	if len(files) == 0 {
		r.t.Fatalf("no file is %s", pattern)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		r.must(err)
		r.must(os.Chmod(file, 0o600))
		r.must(os.WriteFile(file, change(b), 0o600))
	}
}

func TestACorruptCopyIsReplacedAndItIsSaid(t *testing.T) {
	cut := func(b []byte) []byte { return b[:len(b)/2] }
	none := func([]byte) []byte { return nil }
	flip := func(b []byte) []byte {
		for i := len(b) / 3; i < len(b); i += 7 {
			b[i] ^= 0x5a
		}
		return b
	}
	for name, damage := range map[string]func(r *rig){
		"pack cut":      func(r *rig) { r.damage("objects/pack/*.pack", cut) },
		"pack empty":    func(r *rig) { r.damage("objects/pack/*.pack", none) },
		"pack flipped":  func(r *rig) { r.damage("objects/pack/*.pack", flip) },
		"index cut":     func(r *rig) { r.damage("objects/pack/*.idx", cut) },
		"index flipped": func(r *rig) { r.damage("objects/pack/*.idx", flip) },
		"head empty":    func(r *rig) { r.damage("refs/isoline/head", none) },
		"no packs":      func(r *rig) { r.must(os.RemoveAll(filepath.Join(r.dir, "copy", "objects"))) },
		"no HEAD":       func(r *rig) { r.must(os.Remove(filepath.Join(r.dir, "copy", "HEAD"))) },
		"config":        func(r *rig) { r.damage("config", func([]byte) []byte { return []byte("[[[") }) },
		"something else": func(r *rig) {
			r.must(os.RemoveAll(filepath.Join(r.dir, "copy")))
			r.must(os.MkdirAll(filepath.Join(r.dir, "copy", "x"), 0o700))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			commit := r.push(strings.Repeat("a line of the file that is long\n", 20))
			repo := r.open(config.Repo{})
			r.must(repo.MarkGood(t.Context(), r.fetch(repo, commit).Commit))
			want := r.content(r.fetch(repo, commit))
			damage(r)
			repo = r.open(config.Repo{})
			rev := r.fetch(repo, commit)
			if len(rev.Problems) != 1 || rev.Problems[0].Reason != ReasonCorruptClone {
				t.Errorf("the problems are %v", rev.Problems)
			}
			if got := r.content(rev); got != want {
				t.Errorf("read %q", got)
			}
			if rev = r.fetch(repo, commit); len(rev.Problems) > 0 {
				t.Errorf("the next fetch still says %v", rev.Problems)
			}
			if out, err := r.copyGit("fsck", "--full", "--strict", "--no-dangling"); err != nil || out != "" {
				t.Errorf("git fsck says %s, %v", out, err)
			}
		})
	}
}

func TestWhatWasGoodMovesToTheNewCopy(t *testing.T) {
	r := newRig(t)
	repo := r.open(config.Repo{})
	good := r.fetch(repo, r.push("good"))
	r.must(repo.MarkGood(t.Context(), good.Commit))
	r.fetch(repo, r.push("later"))
	r.damage("refs/isoline/head", func([]byte) []byte { return []byte("x") })
	repo = r.open(config.Repo{})
	rev, ok, err := repo.Good()
	if !ok || err != nil || r.content(rev) != "good" {
		t.Errorf("before the copy is replaced, good is %+v, %v, %v", rev, ok, err)
	}
	if rev = r.fetch(repo, r.push("latest")); len(rev.Problems) != 1 {
		t.Errorf("the problems are %v", rev.Problems)
	}
	if rev, ok, err = repo.Good(); !ok || err != nil || rev.Commit != good.Commit || r.content(rev) != "good" {
		t.Errorf("good is %+v, %v, %v", rev, ok, err)
	}
	if out, err := r.copyGit("fsck", "--full", "--strict", "--no-dangling"); err != nil || out != "" {
		t.Errorf("git fsck says %s, %v", out, err)
	}
}

func TestACorruptCopyStaysWhileTheServerIsAway(t *testing.T) {
	r := newRig(t)
	repo := r.open(config.Repo{})
	good := r.fetch(repo, r.push("good"))
	r.must(repo.MarkGood(t.Context(), good.Commit))
	r.damage("refs/isoline/head", func([]byte) []byte { return nil })
	r.server.Close()
	repo = r.open(config.Repo{})
	r.refuse(repo, ReasonUnreachable)
	if rev, ok, err := repo.Good(); !ok || err != nil || r.content(rev) != "good" {
		t.Errorf("good is %+v, %v, %v", rev, ok, err)
	}
}

func TestCorruptionFoundWhileReadingIsMendedByTheNextFetch(t *testing.T) {
	r := newRig(t)
	repo := r.open(config.Repo{})
	commit := r.push(strings.Repeat("content that is easily recognised\n", 50))
	rev := r.fetch(repo, commit)
	packs, err := repo.store.packs()
	r.must(err)
	r.must(os.Chmod(packs[0]+".pack", 0o600))
	r.must(os.Truncate(packs[0]+".pack", 40))
	r.refuseFiles(rev, config.Limits{}, ReasonCorruptClone)
	if rev = r.fetch(repo, commit); len(rev.Problems) != 1 {
		t.Errorf("the problems are %v", rev.Problems)
	}
	r.read(rev, config.Limits{})
}

func TestContentThatIsNotWhatItsNameSaysIsNotRead(t *testing.T) {
	r := newRig(t)
	repo := r.open(config.Repo{})
	rev := r.fetch(repo, r.push("genuine"))
	storage := repo.store.storage()
	all, err := storage.IterEncodedObjects(plumbing.AnyObject)
	r.must(err)
	r.must(all.ForEach(func(o plumbing.EncodedObject) error { _, err := storage.SetEncodedObject(o); return err }))
	r.must(storage.Close())
	packs, err := repo.store.packs()
	r.must(err)
	r.must(os.Remove(packs[0] + ".pack"))
	if r.content(rev) != "genuine" {
		t.Fatal("loose objects are not read")
	}
	id := r.git("rev-parse", "HEAD:routes/a.yaml")
	var forged bytes.Buffer
	z := zlib.NewWriter(&forged)
	_, err = z.Write([]byte("blob 7\x00forgery"))
	r.must(errors.Join(err, z.Close()))
	r.damage("objects/"+id[:2]+"/"+id[2:], func([]byte) []byte { return forged.Bytes() })
	r.refuseFiles(rev, config.Limits{}, ReasonCorruptClone)
}

func TestAnInterruptedReplacementIsFinished(t *testing.T) {
	r := newRig(t)
	repo := r.open(config.Repo{})
	commit := r.push("1")
	r.must(repo.MarkGood(t.Context(), r.fetch(repo, commit).Commit))
	dir := filepath.Join(r.dir, "copy")
	r.must(os.Rename(dir, dir+".old")) // stopped between the two renames
	r.must(os.MkdirAll(filepath.Join(dir+".new", "objects"), 0o700))
	r.file("copy.old/tmp_pack_1", "half a pack")
	good, ok, err := r.open(config.Repo{}).Good()
	if !ok || err != nil || good.Commit != commit {
		t.Errorf("good is %+v, %v, %v", good, ok, err)
	}
	for _, left := range []string{dir + ".new", dir + ".old", dir + "/tmp_pack_1"} {
		if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", left, err)
		}
	}
}

func TestEveryFlippedByteIsNoticedOrHarmless(t *testing.T) {
	r := newRig(t)
	commit := r.push(strings.Repeat("a line\n", 40))
	repo := r.open(config.Repo{})
	want := r.content(r.fetch(repo, commit))
	for _, ext := range []string{".pack", ".idx"} {
		packs, err := repo.store.packs()
		r.must(err)
		file := packs[0] + ext
		whole, err := os.ReadFile(file)
		r.must(err)
		r.must(os.Chmod(file, 0o600))
		for i := range whole {
			bad := append([]byte(nil), whole...)
			bad[i] ^= 0xff
			r.must(os.WriteFile(file, bad, 0o600))
			repo := r.open(config.Repo{})
			hash, _ := parseCommit(commit)
			rev, err := repo.revision(hash, "")
			if err != nil {
				continue
			}
			files, _, err := rev.Files(t.Context(), config.Limits{})
			if err == nil && string(files["routes/a.yaml"].Content) != want {
				t.Fatalf("with byte %d of the %s changed, other content is read", i, ext)
			}
		}
		r.must(os.WriteFile(file, whole, 0o600))
	}
}

func TestRealGitReadsWhatWePack(t *testing.T) {
	for _, size := range []int{0, 1, 15, 16, 2047, 2048, 300_000} {
		if got := entryHead(plumbing.BlobObject, size); got[0]>>4&7 != 3 {
			t.Errorf("size %d begins with %x", size, got)
		}
	}
	r := newRig(t)
	repo := r.open(config.Repo{}, Options{MaxPacks: 1})
	files := map[string]string{}
	for _, n := range []int{0, 1, 15, 16, 17, 2047, 2048, 2049, 300_000} {
		files[fmt.Sprint("size-", n)] = strings.Repeat("x", n)
	}
	r.fetch(repo, r.pushFiles(files))
	rev := r.fetch(repo, r.push("1")) // the second pack has both rewritten as one
	if packs, err := repo.store.packs(); err != nil || len(packs) != 1 {
		t.Fatalf("%d packs, %v", len(packs), err)
	}
	if out, err := r.copyGit("fsck", "--full", "--strict", "--no-dangling"); err != nil || out != "" {
		t.Errorf("git fsck says %s, %v", out, err)
	}
	got, _ := r.read(rev, config.Limits{})
	for name, want := range files {
		if string(got[name].Content) != want {
			t.Errorf("%s is not what was pushed", name)
		}
	}
}
