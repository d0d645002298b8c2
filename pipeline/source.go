package pipeline

import (
	"cmp"
	"context"
	"time"

	"isoline.dev/isoline/config"
	"isoline.dev/isoline/dag"
	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
	"isoline.dev/isoline/render"
)

// source is where one team's manifests come from. The fields above the line
// are fixed; those below belong to the goroutine that watches the source.
type source struct {
	// name is the team's; empty for a plain directory, which has no team.
	name string
	team *config.Team
	// root and build are those of the team's repository.
	root, build string
	// namespace is for objects that name none.
	namespace string
	limits    render.Limits
	from      fetcher

	// taken is the hash of the tree last compiled.
	taken string
}

// fetcher looks at a repository or a directory.
type fetcher interface {
	// look looks once.
	look(context.Context) sighting
	// watch looks again and again until ctx ends, and hands on every sighting.
	// It returns early only with an error that another look cannot mend.
	watch(ctx context.Context, seen func(sighting)) error
	// lastGood is the revision that was served before, without asking anybody
	// else for it; false where there is none.
	lastGood(context.Context) (sighting, bool, error)
	// markGood remembers the commit for lastGood.
	markGood(ctx context.Context, commit string) error
}

// sighting is one look at a source: a commit, or an error that says why
// there is none.
type sighting struct {
	commit string
	// hash is equal for equal content below the readable root.
	hash string
	// read takes in the files; it is only called when hash is new.
	read func(context.Context) (tree, error)
	err  error
	// at is when the look began; an author's wait is counted from there.
	at time.Time
	// fetched is how long the look took.
	fetched time.Duration
	// problems are those of the look that are not in the way.
	problems []problem.Problem
	// rewritten says that the history is not a continuation of what was there.
	rewritten bool
}

// outcome is what became of a sighting, for the loop to act on.
type outcome struct {
	source *source
	at     time.Time
	// head is the commit seen; empty when the look failed.
	head string
	// noted are problems of the look that were not in the way.
	noted []problem.Problem
	// rewritten says that the history is not a continuation of what was there.
	rewritten bool
	// failed is why the look failed, as a problem.
	failed *problem.Problem
	// revision is what the head compiled to; nil when the look failed, or when
	// the tree is the one that was handed on before.
	revision *revision
	// lastGood marks a revision that comes from the state of an earlier run.
	lastGood bool
}

// outcomeOf carries a sighting as far as it gets without the other teams:
// it reads and compiles the tree, unless that is what was compiled last.
func (c *compiler) outcomeOf(ctx context.Context, s *source, seen sighting) outcome {
	o := outcome{source: s, at: seen.at, head: seen.commit, noted: seen.problems, rewritten: seen.rewritten}
	if seen.err != nil {
		p := sourceProblem(s, seen.err)
		o.failed = &p
		return o
	}
	if s.taken != "" && s.taken == seen.hash {
		return o
	}
	r, err := c.read(ctx, s, seen)
	if err != nil {
		p := sourceProblem(s, err)
		o.failed = &p
		return o
	}
	s.taken, o.revision = seen.hash, &r
	return o
}

// read takes in a tree and compiles it. A tree that cannot be read is a
// revision of which nothing can be taken; an error means that the same tree
// may work out another time.
func (c *compiler) read(ctx context.Context, s *source, seen sighting) (revision, error) {
	t, err := seen.read(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return revision{}, err
		}
		return revision{commit: seen.commit, problems: []problem.Problem{sourceProblem(s, err)}}, nil
	}
	return c.compile(ctx, s, t)
}

// changesBetween are the changes that lead from one set of a team's objects
// to the next, and that next set. An object that comes again with the same
// content at the same place keeps its old self, and with it the commit that
// brought that content.
func changesBetween(before map[manifest.Key]*manifest.Object, after []*manifest.Object) (map[manifest.Key]*manifest.Object, []dag.Change) {
	now := make(map[manifest.Key]*manifest.Object, len(after))
	var changes []dag.Change
	for _, o := range after {
		if old := before[o.Key]; old != nil && same(old, o) {
			o = old
		} else {
			changes = append(changes, dag.Change{Key: o.Key, Object: o})
		}
		now[o.Key] = o
	}
	for key := range before {
		if now[key] == nil {
			changes = append(changes, dag.Change{Key: key})
		}
	}
	return now, changes
}

func same(a, b *manifest.Object) bool {
	return a.Digest == b.Digest && a.Team == b.Team && cmp.Or(
		cmp.Compare(a.Origin.Repository, b.Origin.Repository),
		cmp.Compare(a.Origin.Path, b.Origin.Path),
		cmp.Compare(a.Origin.Line, b.Origin.Line)) == 0
}
