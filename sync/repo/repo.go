// Package repo keeps a bare copy of one team's git repository and says what
// its configured ref holds.
//
// A copy is fetched to depth 1 and never has a work tree: files are read from
// the commit's tree into memory, so that nothing a team commits (a symbolic
// link, a hook, a strange name) touches the disk. Whatever goes wrong with a
// fetch, the copy on disk stays what it was.
//
// The package fetches and reads. It does not know what files mean, does not
// log, and starts no goroutine that outlives a call. It never runs git, reads
// no git or ssh configuration of the user, and keeps nothing global.
package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"isoline.dev/isoline/config"
	"isoline.dev/isoline/problem"
)

// Options bound what a server can make us hold. Zero fields mean the default.
type Options struct {
	// MaxPackBytes bounds one download. Default: 256 MiB.
	MaxPackBytes int64
	// MaxObjectBytes bounds every single object of a download, whether it is
	// below the readable root or not. Default: 64 MiB.
	MaxObjectBytes int64
	// MaxPacks is how many downloads may pile up before the copy is rewritten
	// as one pack with only what is still needed. Default: 100.
	MaxPacks int
}

func (o Options) withDefaults() Options {
	if o.MaxPackBytes <= 0 {
		o.MaxPackBytes = 256 << 20
	}
	if o.MaxObjectBytes <= 0 {
		o.MaxObjectBytes = 64 << 20
	}
	if o.MaxPacks <= 0 {
		o.MaxPacks = 100
	}
	return o
}

// Repository is a copy of a repository on disk. It is safe for concurrent
// use; fetches take turns. One process at a time may have a directory open:
// whoever owns the state directory sees to that.
type Repository struct {
	url     location
	cfg     config.Repo
	opts    Options
	timeout time.Duration

	fetching chan struct{} // holds one token while a fetch is under way; taken before disk

	// disk guards what is in the store: held for reading while objects are
	// read, and for writing while any are removed.
	disk    sync.RWMutex
	store   store
	damaged error // why the copy must be replaced; nil when it need not be
}

// Open opens the copy in dir, and makes an empty one where there is none. It
// does not use the network. A copy that turns out to be corrupt is kept for
// what can still be read of it, and replaced by the next Fetch, which says so.
//
// The copy belongs to the directory, not to the URL: where the URL has
// changed, Good still is what was good before.
//
// An error is about the configuration (see Validate) or about the directory.
func Open(dir string, cfg config.Repo, opts Options) (*Repository, error) {
	if errs := Validate(cfg); len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	loc, err := parseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	r := &Repository{url: loc, cfg: cfg, opts: opts.withDefaults(), timeout: time.Duration(cfg.Timeout),
		fetching: make(chan struct{}, 1), store: store{dir: dir}}
	if r.timeout <= 0 {
		r.timeout = time.Minute
	}
	if err := r.store.recover(); err != nil {
		return nil, r.fail(ReasonStorage, err, "open the local copy", "")
	}
	if err := r.store.verify(); err != nil {
		r.damaged = err
	}
	return r, nil
}

// URL is the repository's URL as it appears in origins and messages: without
// anything secret, and normalised.
func (r *Repository) URL() string { return r.url.display }

// Fetch makes the copy hold what the configured ref now points to, and
// returns it. If that is what the copy has already, only the server's list of
// refs is read; for a commit, which cannot change, not even that.
//
// An error is an *Error, and leaves the copy as it was. It ends within the
// configured timeout. Problems that are not in the way, such as a replaced
// copy, are in the revision.
func (r *Repository) Fetch(ctx context.Context) (Revision, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.timeout, errTimeout)
	defer cancel()
	select {
	case r.fetching <- struct{}{}:
		defer func() { <-r.fetching }()
	case <-ctx.Done():
		return Revision{}, r.explain(ctx, "wait for the fetch before this one", ctx.Err())
	}
	r.disk.RLock()
	damaged := r.damaged
	r.disk.RUnlock()
	if damaged != nil {
		return r.replace(ctx, damaged)
	}
	head, ok, err := r.store.ref(refHead)
	if err != nil {
		return Revision{}, r.fail(ReasonStorage, err, "read the local copy", "")
	}
	if ok && r.cfg.Ref.Commit == head.String() {
		return r.revision(head, r.refName())
	}
	got, err := r.fetchInto(ctx, r.store, head)
	if err != nil {
		return Revision{}, err
	}
	rev, err := r.revision(got.commit, got.name)
	rev.Rewritten = got.rewritten
	if !head.IsZero() {
		rev.Previous = head.String()
	}
	rev.Problems = append(rev.Problems, got.problems...)
	return rev, err
}

// replace fetches into a new directory and swaps it with the damaged one.
// What was good moves along, if it is intact.
func (r *Repository) replace(ctx context.Context, damaged error) (Revision, error) {
	fresh := store{dir: r.store.dir + ".new"}
	if err := fresh.reset(); err != nil {
		return Revision{}, r.fail(ReasonStorage, err, "make a new local copy", "")
	}
	got, err := r.fetchInto(ctx, fresh, plumbing.ZeroHash)
	if err != nil {
		return Revision{}, err
	}
	lost := ""
	if good, ok, err := r.store.ref(refGood); err != nil || ok {
		if err == nil {
			err = fresh.adopt(ctx, r.store, good, r.opts)
		}
		if err != nil {
			lost = "; the commit that was good before could not be saved from it"
		}
	}
	r.disk.Lock()
	err = r.store.swap(fresh)
	if err == nil {
		r.damaged = nil
	}
	r.disk.Unlock()
	if err != nil {
		return Revision{}, r.fail(ReasonStorage, err, "replace the corrupt local copy", "")
	}
	rev, err := r.revision(got.commit, got.name)
	rev.Problems = append(rev.Problems, problem.Problem{
		Severity: problem.Warning, Type: ProblemType, Reason: ReasonCorruptClone,
		Message: fmt.Sprintf("the local copy was corrupt (%v) and has been fetched anew%s", damaged, lost),
		Remedy:  "if this happens again, check the disk of the state directory",
		Origin:  problem.Origin{Repository: r.url.display, Commit: got.commit.String()},
	})
	return rev, err
}

// MarkGood remembers the commit, which must be one that Fetch returned and
// that is not older than the one before the latest. Its objects stay through
// every later fetch, restart and rewrite of the copy, until another commit is
// marked.
func (r *Repository) MarkGood(ctx context.Context, commit string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("remember commit %s of %s as good: %w", commit, r.url.display, err)
	}
	hash, ok := parseCommit(commit)
	if !ok {
		return r.failAt(commit, ReasonCommitNotFound, nil, "remember the commit as good", "it is not a commit id")
	}
	r.disk.Lock()
	defer r.disk.Unlock()
	if good, ok, err := r.store.ref(refGood); err == nil && ok && good == hash {
		return nil
	}
	if err := r.store.connected(hash); err != nil {
		return r.failAt(commit, ReasonRevisionGone, err, "remember the commit as good", "the local copy no longer has all of it")
	}
	if err := r.store.setRef(refGood, hash); err != nil {
		return r.failAt(commit, ReasonStorage, err, "remember the commit as good", "")
	}
	return nil
}

// Good is the revision last marked good, without any network; false where
// there is none. An error says that there is one and it cannot be read.
func (r *Repository) Good() (Revision, bool, error) {
	r.disk.RLock()
	good, ok, err := r.store.ref(refGood)
	if err == nil && ok {
		err = r.store.connected(good)
	}
	r.disk.RUnlock()
	if err != nil {
		return Revision{}, false, r.fail(ReasonCorruptClone, err, "read the last good commit", "the next successful fetch replaces the local copy")
	}
	if !ok {
		return Revision{}, false, nil
	}
	rev, err := r.revision(good, r.refName())
	return rev, err == nil, err
}

// revision describes a commit that the copy has.
func (r *Repository) revision(hash plumbing.Hash, ref string) (Revision, error) {
	r.disk.RLock()
	defer r.disk.RUnlock()
	o := r.store.objects()
	defer o.close()
	c, err := o.commit(hash)
	if err != nil {
		return Revision{}, r.unreadable(hash, err)
	}
	rev := Revision{
		Repository: r.url.display, Commit: hash.String(), Ref: ref,
		Subject: subject(c.Message), Author: c.Author.Name, Committed: c.Committer.When,
		repository: r,
	}
	found, err := o.walkTo(c.TreeHash, r.root())
	switch {
	case err != nil:
		return Revision{}, r.unreadable(hash, err)
	case found.missing == "":
		rev.TreeHash = found.hash.String()
	}
	return rev, nil
}

// unreadable is the error for objects that should be there. It has the next
// fetch replace the copy, unless the commit was simply left behind.
func (r *Repository) unreadable(hash plumbing.Hash, err error) error {
	if errors.Is(err, errObjectTooLarge) {
		return r.failAt(hash.String(), ReasonLimitExceeded, err, "read the commit", "")
	}
	if errors.Is(err, plumbing.ErrObjectNotFound) && !r.store.holds(hash) {
		return r.failAt(hash.String(), ReasonRevisionGone, nil, "read the commit", "the local copy has moved on to a newer one")
	}
	return r.failAt(hash.String(), ReasonCorruptClone, err, "read the commit", "the next fetch replaces the local copy")
}

// markDamaged has the next Fetch replace the copy, as for a corrupt one.
func (r *Repository) markDamaged(err error) {
	r.disk.Lock()
	defer r.disk.Unlock()
	if r.damaged == nil {
		r.damaged = err
	}
}

// keep lists the commits that must not be lost: what the ref points to now,
// what it pointed to before (somebody may still be reading it), and the good one.
func keep(s store) ([]plumbing.Hash, error) {
	var list []plumbing.Hash
	for _, name := range []plumbing.ReferenceName{refHead, refPrevious, refGood} {
		h, ok, err := s.ref(name)
		if err != nil {
			return nil, err
		}
		if ok && !slices.Contains(list, h) {
			list = append(list, h)
		}
	}
	return list, nil
}
