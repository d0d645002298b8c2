package repo

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"isoline.dev/isoline/config"
	"isoline.dev/isoline/problem"
)

// File is one file of a commit.
type File struct {
	Content []byte
	// Symlink: the entry is a symbolic link and Content is its target, which
	// is never followed.
	Symlink bool
}

// Files are the files below the readable root. The keys are relative to the
// repository's root, not to the readable root, with forward slashes: they are
// the paths that origins name.
type Files map[string]File

// The limits that config fills in where its file says nothing.
const (
	defaultFiles = 2000
	defaultBytes = 16 << 20
)

// Files reads what is below the readable root into memory. Nothing outside
// that root is read, and nothing is written. Names that begin with ".git" are
// left out.
//
// Symbolic links, submodules and unusable names are in the problems, as
// warnings. An error is an *Error: that path or build is missing
// (ReasonPathNotFound), a limit is passed (ReasonLimitExceeded; of
// limits only files and bytes count, where 0 is the default), that the copy
// has moved on (ReasonRevisionGone: use a newer revision), or is broken
// (ReasonCorruptClone: the next Fetch mends it).
func (v Revision) Files(ctx context.Context, limits config.Limits) (Files, []problem.Problem, error) {
	r := v.repository
	hash, ok := parseCommit(v.Commit)
	if r == nil || !ok {
		return nil, nil, &Error{Reason: ReasonRevisionGone, Repository: v.Repository, Commit: v.Commit, Detail: "the revision is of no repository"}
	}
	files, problems, err := r.files(ctx, hash, limits)
	if ReasonOf(err) == ReasonCorruptClone {
		r.markDamaged(errors.Unwrap(err))
	}
	return files, problems, err
}

func (r *Repository) files(ctx context.Context, hash plumbing.Hash, limits config.Limits) (Files, []problem.Problem, error) {
	r.disk.RLock()
	defer r.disk.RUnlock()
	o := r.store.objects()
	defer o.close()
	c, err := o.commit(hash)
	if err != nil {
		return nil, nil, r.unreadable(hash, err)
	}
	root := r.root()
	tree, err := r.directory(o, hash, c.TreeHash, root, "repo.path")
	if err != nil {
		return nil, nil, err
	}
	if _, err := r.directory(o, hash, c.TreeHash, r.build(), "repo.build"); err != nil {
		return nil, nil, err
	}
	w := &reader{ctx: ctx, objects: o, files: Files{}, origin: problem.Origin{Repository: r.url.display, Commit: hash.String()},
		maxFiles: limits.Files, maxBytes: int64(limits.Bytes)}
	if w.maxFiles <= 0 {
		w.maxFiles = defaultFiles
	}
	if w.maxBytes <= 0 {
		w.maxBytes = defaultBytes
	}
	err = w.tree(tree, root, 0)
	limit := (*limitError)(nil)
	switch {
	case errors.As(err, &limit):
		e := r.failAt(hash.String(), ReasonLimitExceeded, nil, "read the files", limit.detail)
		e.Path, e.Remedy = limit.at, limit.remedy
		return nil, nil, e
	case ctx.Err() != nil:
		return nil, nil, r.failAt(hash.String(), ReasonCanceled, context.Cause(ctx), "read the files", "")
	case err != nil:
		return nil, nil, r.unreadable(hash, err)
	}
	return w.files, problem.Sort(w.problems), nil
}

// directory finds a directory of the commit, or says what there is instead.
func (r *Repository) directory(o *objects, commit, tree plumbing.Hash, dir, field string) (plumbing.Hash, error) {
	found, err := o.walkTo(tree, dir)
	if err != nil {
		return plumbing.ZeroHash, r.unreadable(commit, err)
	}
	if found.missing == "" {
		return found.hash, nil
	}
	at := "the repository"
	if found.last != "" {
		at = found.last
	}
	detail := fmt.Sprintf("%s is %q, and %s has %s of that name; ", field, dir, at, found.instead)
	if len(found.nearby) == 0 {
		detail += "it has no directories"
	} else {
		detail += "its directories are " + strings.Join(found.nearby, ", ")
	}
	e := r.failAt(commit.String(), ReasonPathNotFound, nil, "read the files", detail)
	e.Path = dir
	return plumbing.ZeroHash, e
}

// lookup is where a walk to a directory ended.
type lookup struct {
	hash plumbing.Hash
	// missing is the component that is no directory; empty when all are.
	missing string
	// last is the deepest directory that exists, instead what is there in place
	// of the missing component, and nearby the directories beside it.
	last    string
	instead string
	nearby  []string
}

// walkTo walks from a tree to the directory dir below it ("" is the tree).
func (o *objects) walkTo(tree plumbing.Hash, dir string) (lookup, error) {
	at := lookup{hash: tree}
	if dir == "" {
		return at, nil
	}
	for part := range strings.SplitSeq(dir, "/") {
		t, err := o.tree(at.hash, maxTreeBytes)
		if err != nil {
			return at, err
		}
		i := slices.IndexFunc(t.Entries, func(e object.TreeEntry) bool { return e.Name == part })
		if i >= 0 && t.Entries[i].Mode == filemode.Dir {
			at.hash, at.last = t.Entries[i].Hash, path.Join(at.last, part)
			continue
		}
		at.missing, at.instead, at.nearby = part, "nothing", directories(t)
		if i >= 0 {
			at.instead = "no directory but " + describe(t.Entries[i].Mode)
		}
		return at, nil
	}
	return at, nil
}

// directories lists up to ten directories of a tree.
func directories(t *object.Tree) []string {
	const most = 10
	var names []string
	for _, e := range t.Entries {
		if e.Mode != filemode.Dir || !usable(e.Name) {
			continue
		}
		if len(names) == most {
			return append(names, "and more")
		}
		names = append(names, printable(e.Name, 100))
	}
	return names
}

func describe(m filemode.FileMode) string {
	switch m {
	case filemode.Symlink:
		return "a symbolic link (which is not followed)"
	case filemode.Submodule:
		return "a submodule (which is not supported)"
	default:
		return "a file"
	}
}

// limitError says that a tree is too large.
type limitError struct{ at, detail, remedy string }

func (e *limitError) Error() string { return e.detail }

// reader collects files of trees.
type reader struct {
	ctx              context.Context
	objects          *objects
	origin           problem.Origin
	maxFiles         int
	maxBytes         int64
	bytes, treeBytes int64
	entries, warned  int
	files            Files
	problems         []problem.Problem
}

const (
	// maxDepth bounds how deep directories nest.
	maxDepth = 64
	// entriesPerFile bounds what is no file (directories, links, ignored
	// names), so that trees that hold each other many times over end.
	entriesPerFile = 10
	// maxTreeBytes bounds one directory's list of names.
	maxTreeBytes = 16 << 20
	// maxWarnings bounds the warnings of one revision.
	maxWarnings = 100
	// maxLinkBytes bounds the target of a symbolic link (PATH_MAX).
	maxLinkBytes = 4096
)

func (w *reader) tree(hash plumbing.Hash, dir string, depth int) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	if depth > maxDepth {
		return &limitError{dir, fmt.Sprintf("directories nest deeper than %d", maxDepth), "nest them less deep"}
	}
	size, err := w.objects.size(hash)
	if err != nil {
		return err
	}
	if w.treeBytes += size; w.treeBytes > max(w.maxBytes, 1<<20) {
		return w.tooMany(dir, "directories")
	}
	t, err := w.objects.tree(hash, maxTreeBytes)
	if err != nil {
		return err
	}
	for _, e := range t.Entries {
		if w.entries++; w.entries > w.maxFiles*entriesPerFile {
			return w.tooMany(dir, "directories, links and ignored names")
		}
		if strings.HasPrefix(strings.ToLower(e.Name), ".git") {
			continue
		}
		if !usable(e.Name) {
			w.warn(dir, ReasonInvalidName, fmt.Sprintf("the name %q cannot be used, and the entry is not read", printable(e.Name, 100)), "rename it")
			continue
		}
		if err := w.entry(e, path.Join(dir, e.Name), depth); err != nil {
			return err
		}
	}
	return nil
}

func (w *reader) entry(e object.TreeEntry, at string, depth int) error {
	switch e.Mode {
	case filemode.Dir:
		return w.tree(e.Hash, at, depth+1)
	case filemode.Submodule:
		w.warn(at, ReasonSubmodule, "submodules are not supported, and this one is not read", "copy its files into the repository")
		return nil
	case filemode.Symlink:
		w.warn(at, ReasonSymlink, "symbolic links are not followed", "put a file in its place, or refer to the target")
		size, err := w.objects.size(e.Hash)
		if err != nil {
			return err
		}
		if size > maxLinkBytes {
			return nil
		}
		return w.blob(e.Hash, at, true)
	case filemode.Regular, filemode.Executable, filemode.Deprecated:
		return w.blob(e.Hash, at, false)
	default:
		return nil
	}
}

func (w *reader) blob(hash plumbing.Hash, at string, symlink bool) error {
	if len(w.files) >= w.maxFiles {
		return &limitError{at, fmt.Sprintf("there are more than %d files", w.maxFiles),
			"move other files out of the readable directory, narrow repo.path, or raise limits.files"}
	}
	size, err := w.objects.size(hash)
	if err != nil {
		return err
	}
	if w.bytes += size; w.bytes > w.maxBytes {
		return &limitError{at, fmt.Sprintf("the files have more than %d bytes", w.maxBytes),
			"move other files out of the readable directory, narrow repo.path, or raise limits.bytes"}
	}
	content, err := w.objects.read(plumbing.BlobObject, hash, size)
	if err != nil {
		return err
	}
	w.files[at] = File{Content: content, Symlink: symlink}
	return nil
}

func (w *reader) tooMany(dir, what string) error {
	return &limitError{dir, fmt.Sprintf("there are too many %s for a limit of %d files and %d bytes", what, w.maxFiles, w.maxBytes),
		"move them out of the readable directory, narrow repo.path, or raise limits.files"}
}

func (w *reader) warn(at, reason, message, remedy string) {
	if w.warned++; w.warned > maxWarnings {
		return
	}
	origin := w.origin
	origin.Path = at
	w.problems = append(w.problems, problem.Problem{Severity: problem.Warning, Type: ProblemType, Reason: reason,
		Message: message, Remedy: remedy, Origin: origin})
}

// usable reports whether a tree entry's name can be a part of a path.
func usable(name string) bool {
	return name != "" && name != "." && name != ".." && utf8.ValidString(name) &&
		!strings.ContainsFunc(name, func(r rune) bool { return r == '/' || r == '\\' || r < ' ' || r == 0x7f })
}
