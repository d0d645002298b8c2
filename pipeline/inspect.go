package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"isoline.dev/isoline/dag"
	"isoline.dev/isoline/problem"
	"isoline.dev/isoline/xds"
)

// Ready is nil once the first complete build is served.
func (p *Pipeline) Ready() error {
	if p.ready.Load() {
		return nil
	}
	return errors.New("the first complete build is not done: waiting for repositories")
}

// Report is the current state. The value is a Report.
func (p *Pipeline) Report(ctx context.Context) (any, error) {
	var r Report
	var seq xds.Seq
	if err := p.ask(ctx, func() { r, seq = p.report(), p.cache.Seq() }); err != nil {
		return nil, err
	}
	for _, n := range p.server.Nodes() {
		r.Envoys = append(r.Envoys, EnvoyReport{Node: n.ID, Served: n.Served >= seq})
	}
	return r, nil
}

// ask runs a question on the loop, which owns the answer.
func (p *Pipeline) ask(ctx context.Context, question func()) error {
	done := make(chan struct{})
	select {
	case p.questions <- func() { question(); close(done) }:
	case <-ctx.Done():
		return fmt.Errorf("ask for the current state: %w", context.Cause(ctx))
	}
	<-done
	return nil
}

func (p *Pipeline) report() Report {
	r := graphReport(p.graph, time.Now())
	r.Problems = append(r.Problems, p.opts.Problems...)
	for _, found := range p.translator.invalid {
		r.Problems = append(r.Problems, p.located(found)...)
	}
	p.reportRefusals(&r)
	for _, t := range p.teams {
		r.Problems = append(r.Problems, t.all(time.Now())...)
		if t.team != nil {
			r.Teams = append(r.Teams, TeamReport{Name: t.name, Repository: repositoryOf(t.source),
				Commit: t.commit, Head: t.head, LastFetch: t.lastFetch})
		}
	}
	r.finish()
	return r
}

// all are a source's problems: of what is served, of what was not taken, and
// of the last look.
func (t *standing) all(now time.Time) []problem.Problem {
	out := slices.Concat(t.problems, t.refused)
	if t.failed != nil {
		f := *t.failed
		if t.lastFetch.IsZero() {
			f.Message += "; it has not answered since the start"
		} else {
			f.Message += fmt.Sprintf("; it last answered %s ago", now.Sub(t.lastFetch).Round(time.Second))
		}
		if t.objects != nil {
			f.Message += ", and what it had then keeps serving"
		}
		out = append(out, f)
	}
	return out
}

// graphReport is what the graph alone can say, at a time: certificates expire.
func graphReport(g *dag.Graph, now time.Time) Report {
	r := Report{Problems: append(g.Problems(), g.Expiries(now)...)}
	for _, o := range g.Objects() {
		object := ObjectReport{Kind: o.Object.Kind, Namespace: o.Object.Namespace,
			Name: o.Object.Name, Status: string(o.Status), Origin: o.Origin}
		for _, i := range o.IncludedBy {
			object.IncludedBy = append(object.IncludedBy, InclusionReport{Root: i.Root.Ref(), Host: i.Host,
				Prefix: i.Match.Path.Value, Conditions: i.Match.Conditions()})
		}
		r.Objects = append(r.Objects, object)
	}
	for _, h := range g.HostReports() {
		r.Hosts = append(r.Hosts, HostReport{Host: h.Host, State: string(h.State), Object: h.Owner.Ref(), Routes: h.Routes})
	}
	return r
}

// finish sorts the problems, decides OK and keeps empty lists from being null.
func (r *Report) finish() {
	r.Problems = problem.Sort(r.Problems)
	r.OK = problem.Errors(r.Problems) == 0
	if r.Problems == nil {
		r.Problems = []problem.Problem{}
	}
	if r.Objects == nil {
		r.Objects = []ObjectReport{}
	}
	if r.Hosts == nil {
		r.Hosts = []HostReport{}
	}
}

// speak logs every problem once, when it appears, and its end.
func (p *Pipeline) speak() {
	r := p.report()
	p.metrics.standing(r.Problems, r.Hosts)
	now := map[string]bool{}
	for _, problem := range r.Problems {
		// The age of a failed look changes all the time; it is no news.
		key := fmt.Sprint(problem.Team, problem.Object, problem.Field, problem.Type, problem.Reason, problem.Origin)
		now[key] = true
		if !p.spoken[key] {
			p.log.Warn("problem", "severity", problem.Severity, "type", problem.Type, "reason", problem.Reason,
				"team", problem.Team, "object", problem.Object.String(), "field", problem.Field, "at", problem.Origin.String(), "message", problem.Message)
		}
	}
	p.spoken = now
}
