package pipeline

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"isoline.dev/isoline/config"
	"isoline.dev/isoline/problem"
	"isoline.dev/isoline/render"
	"isoline.dev/isoline/sync/repo"
	"isoline.dev/isoline/team"
)

// openSources opens what the options name: a directory, or the repository of
// every team, whose clones are kept below dir.
func openSources(opts Options, dir string) ([]*source, error) {
	if opts.Manifests != "" {
		limits := renderLimits(opts.Config.Render, config.Limits{Objects: 100_000, Files: 100_000, Bytes: 1 << 30})
		return []*source{{limits: limits, from: &directory{path: opts.Manifests, limits: limits}}}, nil
	}
	if len(opts.Config.Teams) == 0 {
		return nil, fmt.Errorf("the configuration has no teams: list at least one, with its repository")
	}
	var sources []*source
	for i := range opts.Config.Teams {
		t := &opts.Config.Teams[i]
		r, err := repo.Open(filepath.Join(dir, "repos", t.Name), t.Repo, repo.Options{})
		if err != nil {
			return nil, fmt.Errorf("team %q: %w", t.Name, err)
		}
		sources = append(sources, &source{name: t.Name, team: t, root: t.Repo.Path, build: t.Repo.Build,
			namespace: t.Namespaces[0], limits: renderLimits(opts.Config.Render, t.Limits),
			from: &clone{repository: r, limits: t.Limits, interval: t.Repo.Interval.Std()}})
	}
	return sources, nil
}

func renderLimits(r config.Render, l config.Limits) render.Limits {
	return render.Limits{Files: l.Files, Bytes: int64(l.Bytes), Objects: l.Objects,
		Deadline: r.Deadline.Std(), Memory: int64(r.Memory)}
}

// clone is a team's git repository as a source.
type clone struct {
	repository *repo.Repository
	limits     config.Limits
	interval   time.Duration
}

func (c *clone) look(ctx context.Context) sighting {
	start := time.Now()
	rev, err := c.repository.Fetch(ctx)
	return c.sighting(rev, err, start, time.Since(start))
}

func (c *clone) watch(ctx context.Context, seen func(sighting)) error {
	repo.Poll(ctx, c.repository, c.interval, nil, func(o repo.Outcome) {
		seen(c.sighting(o.Revision, o.Err, o.At, o.Duration))
	})
	return nil
}

func (c *clone) lastGood(context.Context) (sighting, bool, error) {
	rev, ok, err := c.repository.Good()
	return c.sighting(rev, err, time.Now(), 0), ok && err == nil, err
}

func (c *clone) markGood(ctx context.Context, commit string) error {
	return c.repository.MarkGood(ctx, commit)
}

func (c *clone) sighting(rev repo.Revision, err error, at time.Time, took time.Duration) sighting {
	return sighting{commit: rev.Commit, hash: rev.TreeHash, err: err, at: at, fetched: took,
		rewritten: rev.Rewritten, problems: rev.Problems,
		read: func(ctx context.Context) (tree, error) {
			files, problems, err := rev.Files(ctx, c.limits)
			if err != nil {
				return tree{}, err
			}
			t := tree{repository: rev.Repository, commit: rev.Commit, problems: problems,
				files: make(map[string]render.File, len(files))}
			for name, f := range files {
				t.files[name] = render.File(f)
			}
			return t, nil
		}}
}

// sourceProblem says why a source could not be had.
func sourceProblem(s *source, err error) problem.Problem {
	p := repo.Problem(err)
	p.Team = s.name
	return p
}

// repositoryOf is the source's URL without credentials; empty for a directory.
func repositoryOf(s *source) string {
	if c, ok := s.from.(*clone); ok {
		return c.repository.URL()
	}
	return ""
}

func newCompiler(opts Options, stage func(string) func()) *compiler {
	return &compiler{policy: team.New(opts.Config), render: render.New(), log: opts.Log, stage: stage}
}
