package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path"

	"go.yaml.in/yaml/v3"

	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
	"isoline.dev/isoline/render"
	"isoline.dev/isoline/team"
)

// tree is the content of a source at one moment: of a commit, or of a
// directory. Files are those below the readable root.
type tree struct {
	repository, commit string
	// hash is equal for equal content below the readable root, whatever the commit.
	hash     string
	files    map[string]render.File
	problems []problem.Problem
}

// revision is a tree that went through render and the team's policy.
type revision struct {
	commit string
	// objects are what the team may have of it.
	objects []*manifest.Object
	// problems are all that was found on the way.
	problems []problem.Problem
	// complete says that the tree could be read, rendered and decoded without
	// an error. Nothing is taken from one that could not. What the policy
	// refused does not count: it costs only the objects concerned.
	complete bool
	// allow is the team's word on what may go.
	allow team.AllowRemoval
}

// compiler turns trees into revisions. It is immutable and used by all
// sources at once.
type compiler struct {
	policy *team.Policy
	render *render.Renderer
	log    *slog.Logger
	// stage starts the clock of a stage.
	stage func(name string) (done func())
}

// compile renders a tree and asks the policy. The error means that nothing
// can be said about the tree: the context ended, or no child process could
// be run.
func (c *compiler) compile(ctx context.Context, s *source, t tree) (revision, error) {
	r := revision{commit: t.commit, problems: t.problems}
	src := render.Source{Repository: t.repository, Commit: t.commit, Files: t.files, Team: s.name,
		Root: s.root, Build: s.build, DefaultNamespace: s.namespace, Limits: s.limits}
	done := c.stage("render")
	out, err := c.render.Render(ctx, src)
	done()
	if err != nil {
		return r, err
	}
	r.problems = append(r.problems, out.Problems...)
	if out.Diagnostic != "" {
		c.log.Warn("a render child failed", "team", s.name, "commit", t.commit, "output", out.Diagnostic)
	}
	r.complete = problem.Errors(r.problems) == 0
	r.objects = out.Objects
	if s.team != nil {
		done = c.stage("team")
		objects, refused := c.policy.Admit(s.name, out.Objects)
		done()
		for _, o := range out.Others {
			refused = append(refused, team.KindRefused(s.team, o.Key, o.Origin))
		}
		r.objects, r.problems = objects, append(r.problems, refused...)
	}
	r.allow, err = allowRemoval(t, s.root)
	if err != nil {
		r.complete = false
		r.problems = append(r.problems, problem.Problem{Severity: problem.Error, Type: "RevisionError",
			Reason: "AllowRemovalInvalid", Message: err.Error(), Team: s.name,
			Remedy: "write objects: and hosts:, each a list of names",
			Origin: problem.Origin{Repository: t.repository, Commit: t.commit, Path: path.Join(s.root, team.AllowRemovalPath)}})
	}
	return r, nil
}

// maxAllowRemoval bounds the one file that is read outside the render child.
const maxAllowRemoval = 64 << 10

func allowRemoval(t tree, root string) (team.AllowRemoval, error) {
	var allow team.AllowRemoval
	f, ok := t.files[path.Join(root, team.AllowRemovalPath)]
	if !ok {
		return allow, nil
	}
	if f.Symlink || len(f.Content) > maxAllowRemoval {
		return allow, fmt.Errorf("must be a plain file of at most %d bytes", maxAllowRemoval)
	}
	dec := yaml.NewDecoder(bytes.NewReader(f.Content))
	dec.KnownFields(true)
	if err := dec.Decode(&allow); err != nil && !errors.Is(err, io.EOF) {
		return team.AllowRemoval{}, fmt.Errorf("it cannot be read: %w", err)
	}
	return allow, nil
}
