package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// Our refs in the copy. Everything that they do not reach may be dropped.
const (
	refHead     = plumbing.ReferenceName("refs/isoline/head")     // what was fetched last
	refPrevious = plumbing.ReferenceName("refs/isoline/previous") // what was fetched before that
	refGood     = plumbing.ReferenceName("refs/isoline/good")     // see MarkGood
)

// store is a bare repository on disk that git itself can read. It holds no
// state but its path: every use opens it anew, so that uses at the same time
// share nothing.
type store struct{ dir string }

// recover brings the directory into one of the states that the other methods
// know, whatever moment the process was last stopped at.
func (s store) recover() error {
	if _, err := os.Lstat(s.dir); errors.Is(err, fs.ErrNotExist) {
		if err := os.Rename(s.dir+".old", s.dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, left := range []string{s.dir + ".old", s.dir + ".new"} {
		if err := os.RemoveAll(left); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	if entries, err := os.ReadDir(s.dir); err != nil {
		return err
	} else if len(entries) == 0 {
		return s.create()
	}
	return s.tidy()
}

// tidy removes what an interrupted write has left.
func (s store) tidy() error {
	left, err := filepath.Glob(filepath.Join(s.dir, "tmp_*"))
	if err != nil {
		return err
	}
	for _, file := range left {
		if err := os.Remove(file); err != nil {
			return err
		}
	}
	return nil
}

func (s store) create() error {
	_, err := git.PlainInit(s.dir, true)
	return err
}

// reset makes the directory an empty repository.
func (s store) reset() error {
	if err := os.RemoveAll(s.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	return s.create()
}

// swap puts fresh in the place of s.
func (s store) swap(fresh store) error {
	old := s.dir + ".old"
	if err := os.RemoveAll(old); err != nil {
		return err
	}
	if err := os.Rename(s.dir, old); err != nil {
		return err
	}
	if err := os.Rename(fresh.dir, s.dir); err != nil {
		return err
	}
	return os.RemoveAll(old)
}

// verify says whether the copy is whole: everything that our refs reach is
// there. It does not read the content of files; that is checked when it is.
func (s store) verify() error {
	if _, err := git.PlainOpen(s.dir); err != nil {
		return fmt.Errorf("it is not a git repository: %w", err)
	}
	commits, err := keep(s)
	if err != nil {
		return err
	}
	for _, c := range commits {
		if err := s.connected(c); err != nil {
			return err
		}
	}
	return nil
}

// ref reads one of our refs; false if it is not set.
func (s store) ref(name plumbing.ReferenceName) (plumbing.Hash, bool, error) {
	ref, err := s.storage().Reference(name)
	if errors.Is(err, plumbing.ErrReferenceNotFound) {
		_, err := os.Lstat(filepath.Join(s.dir, filepath.FromSlash(name.String())))
		if errors.Is(err, fs.ErrNotExist) {
			return plumbing.ZeroHash, false, nil
		}
		return plumbing.ZeroHash, false, errors.Join(fmt.Errorf("read %s: it is empty", name), err)
	}
	if err != nil {
		return plumbing.ZeroHash, false, fmt.Errorf("read %s: %w", name, err)
	}
	if ref.Type() != plumbing.HashReference || ref.Hash().IsZero() {
		return plumbing.ZeroHash, false, fmt.Errorf("read %s: it holds no commit id", name)
	}
	return ref.Hash(), true, nil
}

// setRef sets one of our refs, atomically.
func (s store) setRef(name plumbing.ReferenceName, hash plumbing.Hash) error {
	return s.replaceFile(filepath.FromSlash(name.String()), hash.String()+"\n")
}

// setShallow says of which commits the parents are missing on purpose.
func (s store) setShallow(commits []plumbing.Hash) error {
	var b strings.Builder
	for _, c := range commits {
		b.WriteString(c.String() + "\n")
	}
	return s.replaceFile("shallow", b.String())
}

func (s store) replaceFile(name, content string) error {
	file := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(s.dir, "tmp_")
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// packs lists the names of the packs, without their extension.
func (s store) packs() ([]string, error) {
	files, err := filepath.Glob(filepath.Join(s.dir, "objects", "pack", "pack-*.pack"))
	for i := range files {
		files[i] = strings.TrimSuffix(files[i], ".pack")
	}
	return files, err
}

// holds reports whether one of our refs points to the commit.
func (s store) holds(commit plumbing.Hash) bool {
	list, err := keep(s)
	return err != nil || slices.Contains(list, commit)
}

// connected says whether a commit and all that its tree reaches is there.
func (s store) connected(commit plumbing.Hash) error {
	o := s.objects()
	defer o.close()
	return o.each(commit, func(plumbing.Hash) error { return nil })
}

// compact rewrites the copy as one pack with only what keep lists. It may be
// interrupted at any moment: the old packs go only when the new one is there.
func (s store) compact(ctx context.Context, opts Options) error {
	commits, err := keep(s)
	if err != nil {
		return err
	}
	old, err := s.packs()
	if err != nil {
		return err
	}
	name, err := s.repack(ctx, s, commits, opts)
	if err != nil {
		return err
	}
	for _, pack := range old {
		if pack == name {
			continue
		}
		// The index goes last: a pack without one is an error to its readers.
		for _, ext := range []string{".pack", ".idx"} {
			if err := os.Remove(pack + ext); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return s.setShallow(commits)
}

// adopt copies a commit that was good in another store.
func (s store) adopt(ctx context.Context, from store, good plumbing.Hash, opts Options) error {
	if err := s.connected(good); err != nil {
		if _, err := s.repack(ctx, from, []plumbing.Hash{good}, opts); err != nil {
			return err
		}
	}
	if err := s.setRef(refGood, good); err != nil {
		return err
	}
	commits, err := keep(s)
	if err != nil {
		return err
	}
	return s.setShallow(commits)
}

// repack writes a pack into s with all that the commits reach in from, and
// returns its name as packs does.
func (s store) repack(ctx context.Context, from store, commits []plumbing.Hash, opts Options) (string, error) {
	o := from.objects()
	defer o.close()
	var list []plumbing.Hash
	seen := map[plumbing.Hash]bool{}
	for _, c := range commits {
		err := o.each(c, func(h plumbing.Hash) error {
			if !seen[h] {
				seen[h] = true
				list = append(list, h)
			}
			return ctx.Err()
		})
		if err != nil {
			return "", err
		}
	}
	f, err := s.tempPack()
	if err != nil {
		return "", err
	}
	defer f.discard()
	if err := writePack(ctx, f, o, list, opts.MaxObjectBytes); err != nil {
		return "", err
	}
	return s.addPack(ctx, f, opts)
}

// storage opens the store with go-git. Cached objects are deltas' bases.
func (s store) storage() *filesystem.Storage {
	return filesystem.NewStorageWithOptions(osfs.New(s.dir), cache.NewObjectLRU(16*cache.MiByte),
		filesystem.Options{KeepDescriptors: true, LargeObjectThreshold: 1 << 20})
}

// objects opens the store for reading objects; close it.
func (s store) objects() *objects { return &objects{storage: s.storage()} }

// objects reads objects and checks that their content is what their names
// promise.
type objects struct{ storage *filesystem.Storage }

func (o *objects) close() { _ = o.storage.Close() } // read only: nothing to lose

var (
	errObjectTooLarge = errors.New("the object is larger than allowed")
	errObjectCorrupt  = errors.New("the object's content is not what was stored")
)

// size is the size of an object without reading it.
func (o *objects) size(h plumbing.Hash) (int64, error) {
	n, err := o.storage.EncodedObjectSize(h)
	if err != nil {
		return 0, fmt.Errorf("object %s: %w", h, err)
	}
	return n, nil
}

// read reads an object of the type, of at most so many bytes.
func (o *objects) read(t plumbing.ObjectType, h plumbing.Hash, most int64) ([]byte, error) {
	is, content, err := o.readAny(h, most)
	if err == nil && is != t {
		err = fmt.Errorf("object %s is a %s and not a %s: %w", h, is, t, errObjectCorrupt)
	}
	return content, err
}

// readAny reads an object of whatever type.
func (o *objects) readAny(h plumbing.Hash, most int64) (plumbing.ObjectType, []byte, error) {
	wrap := func(err error) (plumbing.ObjectType, []byte, error) {
		return plumbing.InvalidObject, nil, fmt.Errorf("object %s: %w", h, err)
	}
	size, err := o.storage.EncodedObjectSize(h)
	if err != nil {
		return wrap(err)
	}
	if size > most {
		return wrap(errObjectTooLarge)
	}
	e, err := o.storage.EncodedObject(plumbing.AnyObject, h)
	if err != nil {
		return wrap(err)
	}
	content, err := contentOf(e, size)
	if err != nil {
		return wrap(err)
	}
	if plumbing.ComputeHash(e.Type(), content) != h {
		return wrap(errObjectCorrupt)
	}
	return e.Type(), content, nil
}

func (o *objects) commit(h plumbing.Hash) (*object.Commit, error) {
	content, err := o.read(plumbing.CommitObject, h, 1<<20)
	if err != nil {
		return nil, err
	}
	c := &object.Commit{}
	return c, c.Decode(memory(plumbing.CommitObject, content))
}

func (o *objects) tree(h plumbing.Hash, most int64) (*object.Tree, error) {
	content, err := o.read(plumbing.TreeObject, h, most)
	if err != nil {
		return nil, err
	}
	t := &object.Tree{}
	return t, t.Decode(memory(plumbing.TreeObject, content))
}

func memory(t plumbing.ObjectType, content []byte) *plumbing.MemoryObject {
	m := &plumbing.MemoryObject{}
	m.SetType(t)
	_, _ = m.Write(content) // cannot fail
	return m
}

// each calls visit for the commit and everything that its tree reaches, each
// object once. Submodules are not followed. It fails if something is missing.
func (o *objects) each(commit plumbing.Hash, visit func(plumbing.Hash) error) error {
	c, err := o.commit(commit)
	if err != nil {
		return err
	}
	if err := visit(commit); err != nil {
		return err
	}
	seen := map[plumbing.Hash]bool{}
	queue := []plumbing.Hash{c.TreeHash}
	for len(queue) > 0 {
		h := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		if seen[h] {
			continue
		}
		seen[h] = true
		t, err := o.tree(h, maxTreeBytes)
		if err != nil {
			return err
		}
		if err := visit(h); err != nil {
			return err
		}
		for _, e := range t.Entries {
			switch {
			case e.Mode == filemode.Submodule || seen[e.Hash]:
			case e.Mode == filemode.Dir:
				queue = append(queue, e.Hash)
			default:
				seen[e.Hash] = true
				if err := o.storage.HasEncodedObject(e.Hash); err != nil {
					return fmt.Errorf("file %s: %w", e.Hash, err)
				}
				if err := visit(e.Hash); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
