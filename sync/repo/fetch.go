package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"

	"isoline.dev/isoline/problem"
)

// fetched is what a fetch came to.
type fetched struct {
	commit    plumbing.Hash
	name      string
	rewritten bool
	problems  []problem.Problem
}

const (
	// maxAdvertisement bounds a server's list of refs.
	maxAdvertisement = 64 << 20
	// generations bounds how far back the ancestry of a commit is looked at.
	generations = 1000
)

// fetchInto brings the store to what the ref is now; head is what it has.
//
// Nothing in the store changes its meaning before the last step: downloads
// only add objects, and are complete before a ref is set.
func (r *Repository) fetchInto(ctx context.Context, s store, head plumbing.Hash) (fetched, error) {
	doing := "fetch " + r.refName()
	link, err := r.dial(ctx)
	if err != nil {
		return fetched{}, r.explain(ctx, doing, err)
	}
	defer link.close()
	adv, err := link.advertised(ctx)
	if err != nil {
		return fetched{}, r.explain(ctx, doing, err)
	}
	t, reason, detail := resolve(adv, r.cfg.Ref)
	if reason != "" {
		return fetched{}, r.fail(reason, nil, doing, detail)
	}
	got := fetched{commit: t.commit, name: t.name}
	if t.commit == head {
		return got, nil
	}
	if err := r.download(ctx, s, link, adv, t); err != nil {
		return fetched{}, r.explain(ctx, doing, err)
	}
	if !head.IsZero() {
		if got.rewritten, err = r.leaves(ctx, s, t, head); err != nil {
			if ctx.Err() != nil {
				return fetched{}, r.explain(ctx, doing, err)
			}
			got.problems = append(got.problems, r.ancestryUnknown(got, r.explain(ctx, doing, err)))
		}
	}
	if err := r.advance(ctx, s, t.commit, head); err != nil {
		return fetched{}, r.explain(ctx, doing, err)
	}
	return got, nil
}

// download gets what the target needs and the store does not have, and checks
// that it is all there.
func (r *Repository) download(ctx context.Context, s store, link *link, adv *packp.AdvRefs, t target) error {
	if held := s.holds(t.commit); held && s.connected(t.commit) == nil {
		return nil // a rewind to what is still here
	}
	shallow := adv.Capabilities.Supports(capability.Shallow)
	err := r.receive(ctx, s, link, adv, []plumbing.Hash{t.object}, shallow)
	if refused := (*refusedError)(nil); t.unadvertised && errors.As(err, &refused) {
		if err = r.receiveAll(ctx, s); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	if err := s.connected(t.commit); err != nil {
		return r.incomplete(s, t, err)
	}
	return nil
}

// incomplete says why a downloaded commit is not there after all.
func (r *Repository) incomplete(s store, t target, err error) error {
	o := s.objects()
	defer o.close()
	kind, _, readErr := o.readAny(t.commit, r.opts.MaxObjectBytes)
	switch {
	case readErr == nil && kind != plumbing.CommitObject:
		return r.fail(ReasonNotACommit, nil, "fetch "+t.name, fmt.Sprintf("it points to a %s", kind))
	case readErr != nil && t.unadvertised:
		return r.fail(ReasonCommitNotFound, nil, "fetch "+t.name, "no branch or tag on the server reaches it")
	case errors.Is(err, errObjectTooLarge):
		return packLimit("it has a directory of more than %d bytes", int64(maxTreeBytes))
	default:
		return badPack(err)
	}
}

// receive asks for objects at depth 1, or with all their history, and adds
// what comes to the store.
func (r *Repository) receive(ctx context.Context, s store, link *link, adv *packp.AdvRefs, want []plumbing.Hash, shallow bool) error {
	req, err := request(s, adv, want)
	if err != nil {
		return err
	}
	if shallow {
		req.Depth = packp.DepthCommits(1)
	} else {
		// Without haves: what the store has of history may end anywhere.
		req.Haves, req.Shallows = nil, nil
	}
	answer, err := link.request(ctx, req, r.opts.MaxPackBytes)
	if err != nil {
		return err
	}
	defer answer.Close() // read to its end, or given up
	f, err := s.tempPack()
	if err != nil {
		return &storageError{err}
	}
	defer f.discard()
	if err := link.copyPack(f, unwrap(req, answer)); err != nil {
		return err
	}
	_, err = s.addPack(ctx, f, r.opts)
	return err
}

// receiveAll is the way to a commit that the server does not send by itself:
// everything that its branches and tags reach.
func (r *Repository) receiveAll(ctx context.Context, s store) error {
	link, err := r.dial(ctx)
	if err != nil {
		return err
	}
	defer link.close()
	adv, err := link.advertised(ctx)
	if err != nil {
		return err
	}
	var want []plumbing.Hash
	for name, hash := range adv.References {
		ref := plumbing.ReferenceName(name)
		if (ref.IsBranch() || ref.IsTag()) && !slices.Contains(want, hash) {
			want = append(want, hash)
		}
	}
	return r.receive(ctx, s, link, adv, want, false)
}

// request names what we want and what we have.
func request(s store, adv *packp.AdvRefs, want []plumbing.Hash) (*packp.UploadPackRequest, error) {
	have, err := keep(s)
	if err != nil {
		return nil, &storageError{err}
	}
	req := packp.NewUploadPackRequestFromCapabilities(adv.Capabilities)
	for _, c := range []capability.Capability{capability.Shallow, capability.NoProgress} {
		if adv.Capabilities.Supports(c) {
			if err := req.Capabilities.Set(c); err != nil {
				return nil, err
			}
		}
	}
	req.Wants, req.Haves = want, have
	if adv.Capabilities.Supports(capability.Shallow) {
		req.Shallows = slices.Clone(have)
	}
	return req, nil
}

// leaves reports whether the target is no descendant of head, as far as its
// latest generations tell.
//
// Two commits of depth 1 do not say how they relate, unless one is the
// other's parent. The server does: when asked to deepen the target's history,
// it answers first which of our commits would no longer be at the edge of it,
// which are those that it contains (gitprotocol-pack(5), "unshallow"). The
// objects that follow are not read.
func (r *Repository) leaves(ctx context.Context, s store, t target, head plumbing.Hash) (bool, error) {
	o := s.objects()
	c, err := o.commit(t.commit)
	o.close()
	if err != nil {
		return false, err
	}
	if descends(c, head) {
		return false, nil
	}
	link, err := r.dial(ctx)
	if err != nil {
		return false, err
	}
	defer link.close()
	adv, err := link.advertised(ctx)
	if err != nil {
		return false, err
	}
	req, err := request(s, adv, []plumbing.Hash{t.object})
	if err != nil {
		return false, err
	}
	req.Depth, req.Haves, req.Shallows = packp.DepthCommits(generations), []plumbing.Hash{head}, []plumbing.Hash{head}
	answer, err := link.request(ctx, req, maxAdvertisement)
	if err != nil {
		return false, err
	}
	defer answer.Close() // given up
	return !slices.Contains(answer.Unshallows, head), nil
}

func descends(c *object.Commit, head plumbing.Hash) bool {
	return c.Hash == head || slices.Contains(c.ParentHashes, head)
}

func (r *Repository) ancestryUnknown(got fetched, err error) problem.Problem {
	p := Problem(err)
	p.Severity, p.Reason = problem.Warning, ReasonAncestryUnknown
	p.Message = "it could not be told whether history was rewritten: " + p.Message
	p.Origin.Commit = got.commit.String()
	return p
}

// advance makes the commit the head. Only now does the store mean something
// else than before.
func (r *Repository) advance(ctx context.Context, s store, commit, head plumbing.Hash) error {
	r.disk.Lock()
	defer r.disk.Unlock()
	if !head.IsZero() {
		if err := s.setRef(refPrevious, head); err != nil {
			return &storageError{err}
		}
	}
	if err := s.setRef(refHead, commit); err != nil {
		return &storageError{err}
	}
	commits, err := keep(s)
	if err == nil {
		err = s.setShallow(commits)
	}
	if err != nil {
		return &storageError{err}
	}
	packs, err := s.packs()
	if err == nil && len(packs) > r.opts.MaxPacks {
		err = s.compact(ctx, r.opts)
	}
	if err != nil {
		return &storageError{err}
	}
	return nil
}

// unwrap is the pack inside an answer.
func unwrap(req *packp.UploadPackRequest, answer *packp.UploadPackResponse) io.Reader {
	switch {
	case req.Capabilities.Supports(capability.Sideband64k):
		return sideband.NewDemuxer(sideband.Sideband64k, answer)
	case req.Capabilities.Supports(capability.Sideband):
		return sideband.NewDemuxer(sideband.Sideband, answer)
	default:
		return answer
	}
}

// link is a connection to the server on which at most one request is made.
type link struct {
	transport.UploadPackSession
	// meter bounds what is read from the server.
	meter *meter
	// closed lets go of the connection.
	closed func()
}

func (l *link) close() {
	_ = l.UploadPackSession.Close() // nothing more is said on it
	l.closed()
}

// advertised reads the server's refs.
func (l *link) advertised(ctx context.Context) (*packp.AdvRefs, error) {
	l.meter.allow(maxAdvertisement)
	adv, err := l.AdvertisedReferencesContext(ctx)
	return adv, l.meter.instead(err)
}

// request asks for objects; the pack may have so many bytes.
func (l *link) request(ctx context.Context, req *packp.UploadPackRequest, most int64) (*packp.UploadPackResponse, error) {
	l.meter.allow(most)
	answer, err := l.UploadPack(ctx, req)
	if err = l.meter.instead(err); err != nil {
		return nil, &refusedError{err}
	}
	return answer, nil
}

// copyPack writes the pack to a file.
func (l *link) copyPack(f *tempFile, pack io.Reader) error {
	n, err := io.Copy(diskWriter{f}, pack)
	if err = l.meter.instead(err); err != nil {
		return err
	}
	if n == 0 {
		return badPack(io.ErrUnexpectedEOF)
	}
	return nil
}

// diskWriter tells errors of our disk from those of the server.
type diskWriter struct{ f *tempFile }

func (w diskWriter) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	if err != nil {
		err = &storageError{err}
	}
	return n, err
}

// refusedError is the server's refusal of a request.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }

// storageError is an error of the local disk.
type storageError struct{ err error }

func (e *storageError) Error() string { return e.err.Error() }
func (e *storageError) Unwrap() error { return e.err }
