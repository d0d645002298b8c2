package pipeline

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"isoline.dev/isoline/config"
	"isoline.dev/isoline/dag"
	"isoline.dev/isoline/team"
	"isoline.dev/isoline/xds"
)

// Build is what the sources compile to at one moment, without anything being
// served. It is immutable.
type Build struct {
	edge   xds.Edge
	graph  *dag.Graph
	cache  *xds.Cache
	report Report
}

// Load looks at every source once and compiles what it finds. What a running
// Isoline with the same state directory served counts as what was served
// before, so that conflicts are decided as they would be there; nothing is
// written to that directory.
//
// What is wrong with a source is in the report. Unlike a running Isoline,
// which keeps its last good revision, a build has what could be read of a
// broken one, so that all of its problems are found.
func Load(ctx context.Context, opts Options) (*Build, error) {
	scratch, err := os.MkdirTemp("", "isoline-*")
	if err != nil {
		return nil, fmt.Errorf("make a scratch directory for clones: %w", err)
	}
	defer os.RemoveAll(scratch)
	sources, err := openSources(opts, scratch)
	if err != nil {
		return nil, err
	}
	c := newCompiler(opts, newMetrics(nil).stage)
	outcomes := make([]outcome, len(sources))
	g, gctx := errgroup.WithContext(ctx)
	for i, s := range sources {
		g.Go(func() error {
			outcomes[i] = c.outcomeOf(gctx, s, s.from.look(gctx))
			return gctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	before := &journal{}
	if opts.Manifests == "" {
		if before, err = readJournal(opts.Config.StateDir); err != nil {
			return nil, err
		}
	}
	graph, err := newGraph(opts.Config, c.policy, before.served())
	if err != nil {
		return nil, err
	}
	return build(opts, graph, outcomes)
}

func build(opts Options, graph *dag.Graph, outcomes []outcome) (*Build, error) {
	var changes []dag.Change
	problems := slices.Clone(opts.Problems)
	var teams []TeamReport
	for _, o := range outcomes {
		if o.failed != nil {
			problems = append(problems, *o.failed)
		}
		if o.revision != nil {
			problems = append(problems, o.revision.problems...)
			for _, object := range o.revision.objects {
				changes = append(changes, dag.Change{Key: object.Key, Object: object})
			}
		}
		if o.source.team != nil {
			teams = append(teams, TeamReport{Name: o.source.name, Repository: repositoryOf(o.source), Commit: o.head, Head: o.head, LastFetch: o.at})
		}
	}
	delta := graph.Update(changes)
	translator := newTranslator(opts.Config)
	update, err := translator.translate(delta)
	if err != nil {
		return nil, err
	}
	b := &Build{edge: translator.listeners.Edge, graph: graph, cache: xds.NewCache(), report: graphReport(graph, time.Now())}
	b.cache.Apply(update)
	for _, found := range translator.invalid {
		problems = append(problems, locate(graph, found)...)
	}
	b.report.Problems = append(b.report.Problems, problems...)
	b.report.Teams = teams
	b.report.finish()
	return b, nil
}

// newGraph is an empty graph under a configuration.
func newGraph(c *config.Config, policy *team.Policy, memory map[string]*dag.VirtualHost) (*dag.Graph, error) {
	s := settings(c)
	if err := dag.CheckDefaultHeaders(s.RequestHeaders); err != nil {
		return nil, fmt.Errorf("routing.requestHeaders: %w", err)
	}
	if err := dag.CheckDefaultHeaders(s.ResponseHeaders); err != nil {
		return nil, fmt.Errorf("routing.responseHeaders: %w", err)
	}
	return dag.New(dag.Options{RootNamespaces: c.Cluster.RootNamespaces, WatchNamespaces: c.Cluster.WatchNamespaces,
		IngressClasses: c.Cluster.IngressClasses, Policy: policy, Settings: s}, memory), nil
}

// Report is what there is to say about the build.
func (b *Build) Report() Report { return b.report }

// DumpXDS is the JSON of every Envoy resource, sorted, private keys redacted.
func (b *Build) DumpXDS() ([]byte, error) { return b.cache.Dump() }

// PrintXDS writes a line for each Envoy resource: type, name, version.
func (b *Build) PrintXDS(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "TYPE\tNAME\tVERSION")
	for _, r := range b.cache.Resources() {
		_, kind, _ := strings.Cut(r.TypeURL(), "/")
		fmt.Fprintf(t, "%s\t%s\t%s\n", kind[strings.LastIndexByte(kind, '.')+1:], r.Name(), r.Version())
	}
	return t.Flush()
}
