package pipeline

import (
	"context"
	"maps"
	"slices"
	"time"

	"isoline.dev/isoline/dag"
	"isoline.dev/isoline/problem"
	"isoline.dev/isoline/team"
	"isoline.dev/isoline/xds"
)

// push is a revision on its way to the Envoys.
type push struct {
	team, commit string
	at           time.Time
}

// act takes in a batch of outcomes and publishes what they change. Before
// every source is known nothing is published: the first build has them all.
func (p *Pipeline) act(batch []outcome) error {
	var pushes []push
	var changes []dag.Change
	for _, o := range batch {
		t := p.standingOf(o.source)
		before := t.objects
		if p.take(t, o) {
			now, c := changesBetween(before, o.revision.objects)
			t.objects, changes = now, append(changes, c...)
			pushes = append(pushes, push{team: t.name, commit: o.head, at: o.at})
		}
	}
	if !p.started {
		if slices.ContainsFunc(p.teams, func(t *standing) bool { return !t.known }) {
			return nil
		}
		changes = p.everything()
	}
	if !p.started || len(changes) > 0 {
		if err := p.publish(changes, pushes); err != nil {
			return err
		}
	}
	if !p.started {
		p.started = true
		p.spare()
		p.cache.Open()
		p.ready.Store(true)
		p.log.Info("serving", "hosts", len(p.graph.Hosts()))
	}
	if p.complete {
		p.complete = false
		p.cache.DropUnknown()
	}
	if err := p.noteRefusals(); err != nil {
		return err
	}
	p.speak()
	return nil
}

// take notes what became of a look at a source, and reports whether there is
// a revision that replaces the one served.
func (p *Pipeline) take(t *standing, o outcome) bool {
	t.failed = o.failed
	if o.failed != nil {
		return false
	}
	t.known = true
	if !o.lastGood {
		t.lastFetch, t.head = time.Now(), o.head
	}
	if o.revision == nil { // the same tree, perhaps under a new commit
		if t.refused == nil {
			t.commit = o.head
			p.keep(t)
		}
		return false
	}
	r := o.revision
	if !r.complete {
		t.refused = r.problems
		return false
	}
	if t.team != nil && !o.lastGood {
		if held := team.Guard(t.team, slices.Collect(maps.Values(t.objects)), r.objects, r.allow); held != nil {
			held.Origin = problem.Origin{Repository: repositoryOf(t.source), Commit: r.commit, Path: t.root}
			t.refused = append([]problem.Problem{*held}, r.problems...)
			return false
		}
	}
	t.commit, t.problems, t.refused = r.commit, r.problems, nil
	p.keep(t)
	p.settle(t)
	return true
}

// standingOf finds where a source stands.
func (p *Pipeline) standingOf(s *source) *standing {
	return p.teams[slices.IndexFunc(p.teams, func(t *standing) bool { return t.source == s })]
}

// keep makes the commit that is served outlive a restart.
func (p *Pipeline) keep(t *standing) {
	if err := t.from.markGood(p.ctx, t.commit); err != nil {
		p.log.Warn("cannot remember the last good revision", "team", t.name, "commit", t.commit, "error", err)
	}
}

func (p *Pipeline) everything() []dag.Change {
	var all []dag.Change
	for _, t := range p.teams {
		for key, o := range t.objects {
			all = append(all, dag.Change{Key: key, Object: o})
		}
	}
	return all
}

// giveUp ends the wait for sources that cannot be had.
func (p *Pipeline) giveUp() {
	for _, t := range p.teams {
		if !p.started && !t.known {
			p.log.Error("gave up waiting for a repository", "team", t.name)
			t.known = true
		}
	}
}

// spare is for sources of which no revision could be taken when serving
// starts. What they want served is unknown, so nothing that an Envoy holds
// already is taken from it on their account.
func (p *Pipeline) spare() {
	for _, t := range p.teams {
		if t.objects == nil {
			t.spared = true
			p.cache.KeepUnknown()
			p.log.Warn("nothing is known of a repository; Envoys keep what they have of it", "team", t.name)
		}
	}
}

// settle ends that for a source. When none is left, what Envoys kept is
// either served again or to go; that is known once what t brings is
// published, which is before the loop looks at anything else.
func (p *Pipeline) settle(t *standing) {
	if t.spared {
		t.spared = false
		p.complete = !slices.ContainsFunc(p.teams, func(t *standing) bool { return t.spared })
	}
}

// publish carries changed objects through the graph and the translation to
// the Envoys.
func (p *Pipeline) publish(changes []dag.Change, pushes []push) error {
	done := p.metrics.stage("dag")
	delta := p.graph.Update(changes)
	done()
	done = p.metrics.stage("translate")
	update, err := p.translator.translate(delta)
	done()
	if err != nil {
		return err
	}
	if err := p.memory.hosts(delta.Hosts); err != nil {
		return err
	}
	done = p.metrics.stage("apply")
	seq := p.cache.Apply(update)
	done()
	for _, push := range pushes {
		p.log.Info("revision taken", "team", push.team, "commit", push.commit,
			"hosts", len(delta.Hosts), "endpoints", len(delta.Endpoints))
		p.measure(push, slices.Sorted(maps.Keys(update.Units)), seq)
	}
	return nil
}

// measure waits, beside the loop, until every connected Envoy has a push.
func (p *Pipeline) measure(push push, units []string, seq xds.Seq) {
	if len(units) == 0 || !p.started {
		return
	}
	ctx := p.ctx
	p.pushes.Go(func() error {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		n, err := p.server.AwaitServed(ctx, units, seq)
		if err != nil {
			return nil // the end, or an Envoy that does not answer, which has its own metric
		}
		took := time.Since(push.at)
		if n > 0 {
			p.metrics.pushToServed.Observe(took.Seconds())
		}
		p.log.Info("revision served", "team", push.team, "commit", push.commit, "envoys", n,
			"units", len(units), "milliseconds", took.Milliseconds())
		return nil
	})
}
