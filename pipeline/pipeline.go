// Package pipeline is the one place where the stages are joined: fetched
// trees are rendered, admitted by the teams' policy, compiled to virtual
// hosts and handed to the xDS server; what the Envoys refuse comes back as
// problems. It also keeps the state directory.
//
// The stages live in their own rooms and know nothing of each other; here is
// only the order of things, and who may hold up whom: fetching and rendering
// run side by side for each team, and one goroutine (the loop) owns the graph
// and does the rest.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"isoline.dev/isoline/config"
	"isoline.dev/isoline/dag"
	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
	"isoline.dev/isoline/xds"
)

// Options say what to build from, and with what.
type Options struct {
	// Config is required; config.Default() where there is no file.
	Config *config.Config
	// Manifests is a directory to read instead of the teams' repositories.
	Manifests string
	// Problems are those of the configuration, to be reported with the others.
	Problems []problem.Problem
	// Log is required.
	Log *slog.Logger
	// Metrics may be nil.
	Metrics prometheus.Registerer
}

// Pipeline carries changes from their sources to the Envoys.
type Pipeline struct {
	opts     Options
	log      *slog.Logger
	metrics  *metrics
	compiler *compiler
	sources  []*source
	cache    *xds.Cache
	server   *xds.Server

	outcomes chan outcome
	// refusals has room for one: it is filled when an Envoy refused something.
	refusals  chan struct{}
	questions chan func()
	ready     atomic.Bool
	pushes    errgroup.Group // waits for Envoys, to measure

	// The rest belongs to the loop.
	graph      *dag.Graph
	memory     *journal
	teams      []*standing // as sources
	ctx        context.Context
	translator *translator
	refused    []xds.Rejection // what Envoys do not take
	spoken     map[string]bool // problems that were logged
	started    bool
	// complete asks for DropUnknown after the next publish.
	complete bool
}

// standing is where one source stands.
type standing struct {
	*source
	objects map[manifest.Key]*manifest.Object
	// commit is served; head was seen last.
	commit, head string
	lastFetch    time.Time
	// known says that what the source wants served is known: fetched, loaded
	// from an earlier run, or given up.
	known bool
	// spared says that Envoys keep what they have of it, for want of a revision.
	spared bool
	// problems are those of the revision that is served, refused those of one
	// that was not taken, and failed is why the last look failed.
	problems, refused []problem.Problem
	failed            *problem.Problem
}

// New prepares everything that can fail before the first byte is served:
// the state directory, the clones, what was served before.
func New(opts Options) (*Pipeline, error) {
	p := &Pipeline{opts: opts, log: opts.Log, metrics: newMetrics(opts.Metrics),
		outcomes: make(chan outcome), refusals: make(chan struct{}, 1), questions: make(chan func()),
		translator: newTranslator(opts.Config), spoken: map[string]bool{}}
	p.compiler = newCompiler(opts, p.metrics.stage)
	dir := opts.Config.StateDir
	if opts.Manifests != "" {
		dir = "" // a directory is there again after a restart
	}
	var err error
	if p.sources, err = openSources(opts, dir); err != nil {
		return nil, err
	}
	for _, s := range p.sources {
		p.teams = append(p.teams, &standing{source: s})
	}
	if dir != "" {
		if p.memory, err = openJournal(dir); err != nil {
			return nil, err
		}
	}
	if p.graph, err = newGraph(opts.Config, p.compiler.policy, p.memory.served()); err != nil {
		return nil, err
	}
	p.cache = xds.NewCache()
	p.server = xds.NewServer(p.cache, xds.ServerOptions{
		WarmGrace: opts.Config.XDS.WarmGrace.Std(), RemovalDelay: opts.Config.XDS.RemovalDelay.Std(),
		Observer: &observer{metrics: p.metrics, log: p.log, refusals: p.refusals}})
	return p, p.restore()
}

// restore puts back what Envoys have refused in an earlier run, so that it
// is not sent to them again.
func (p *Pipeline) restore() error {
	if p.memory == nil || p.memory.blocked == nil {
		return nil
	}
	if err := p.cache.Restore(p.memory.blocked); err != nil {
		return fmt.Errorf("load from the state directory what Envoys refused: %w", err)
	}
	return nil
}

// Run serves Envoys on l until ctx ends or something fails that cannot be
// mended. It closes l.
func (p *Pipeline) Run(ctx context.Context, l net.Listener) error {
	g, ctx := errgroup.WithContext(ctx)
	p.ctx = ctx
	for _, s := range p.sources {
		g.Go(func() error { return p.follow(ctx, s) })
	}
	g.Go(func() error { return xds.Serve(ctx, l, p.server) })
	g.Go(func() error { return p.loop(ctx) })
	err := g.Wait()
	return errors.Join(err, p.pushes.Wait(), p.memory.close())
}

// follow hands every outcome of one source to the loop.
func (p *Pipeline) follow(ctx context.Context, s *source) error {
	offer := func(o outcome) {
		select {
		case p.outcomes <- o:
		case <-ctx.Done():
		}
	}
	seen, ok, err := s.from.lastGood(ctx)
	if err != nil {
		p.log.Warn("cannot load what was served before", "team", s.name, "error", err)
	}
	if ok {
		o := p.compiler.outcomeOf(ctx, s, seen)
		o.lastGood = true
		offer(o)
	}
	return s.from.watch(ctx, func(seen sighting) {
		p.metrics.fetched(s.name, seen)
		offer(p.compiler.outcomeOf(ctx, s, seen))
	})
}

// loop is the only goroutine that touches the graph. It acts at once when
// something happens; what happens while it is at work is taken together
// afterwards.
func (p *Pipeline) loop(ctx context.Context) error {
	deadline := time.NewTimer(p.opts.Config.XDS.StartDeadline.Std())
	defer deadline.Stop()
	for {
		var batch []outcome
		select {
		case <-ctx.Done():
			return nil
		case q := <-p.questions:
			q()
			continue
		case <-p.refusals:
		case <-deadline.C:
			p.giveUp()
		case o := <-p.outcomes:
			batch = p.more(o)
		}
		if err := p.act(batch); err != nil {
			return err
		}
	}
}

// more adds what is waiting already.
func (p *Pipeline) more(o outcome) []outcome {
	batch := []outcome{o}
	for {
		select {
		case o := <-p.outcomes:
			batch = append(batch, o)
		default:
			return batch
		}
	}
}
