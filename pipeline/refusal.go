package pipeline

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"isoline.dev/isoline/dag"
	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
	"isoline.dev/isoline/xds"
)

// observer turns what happens on the streams into metrics, and wakes the
// loop when an Envoy refused something. Its methods are called by the streams
// and never block.
type observer struct {
	xds.NopObserver
	metrics  *metrics
	log      *slog.Logger
	refusals chan<- struct{}
}

// StreamOpened counts the Envoy in.
func (o *observer) StreamOpened(n xds.Node) {
	o.metrics.streams.Inc()
	o.log.Info("envoy connected", "node", n.ID, "version", n.Version)
}

// StreamClosed counts it out.
func (o *observer) StreamClosed(n xds.Node, err error) {
	o.metrics.streams.Dec()
	o.log.Info("envoy disconnected", "node", n.ID, "reason", err)
}

// Sent counts what was sent.
func (o *observer) Sent(_, typeURL string, resources, _, bytes int) {
	o.metrics.sent.WithLabelValues(typeName(typeURL)).Add(float64(resources))
	o.metrics.sentBytes.WithLabelValues(typeName(typeURL)).Add(float64(bytes))
}

// Acked counts a response.
func (o *observer) Acked(_, typeURL string, _ int) {
	o.metrics.acks.WithLabelValues(typeName(typeURL)).Inc()
}

// Nacked counts a response.
func (o *observer) Nacked(node, typeURL, message string, names []string) {
	o.metrics.nacks.WithLabelValues(typeName(typeURL)).Inc()
	o.log.Warn("envoy refused a response", "node", node, "type", typeName(typeURL), "names", len(names), "message", message)
}

// Rejected wakes the loop, which asks the cache for the whole of it.
func (o *observer) Rejected(xds.Rejection) {
	select {
	case o.refusals <- struct{}{}:
	default:
	}
}

// typeName is the last part of a type URL: "Cluster".
func typeName(typeURL string) string { return typeURL[strings.LastIndexByte(typeURL, '.')+1:] }

// noteRefusals takes in what Envoys refuse now, and remembers it across a
// restart.
func (p *Pipeline) noteRefusals() error {
	now := p.cache.Rejections()
	if len(now) == 0 && len(p.refused) == 0 {
		return nil
	}
	p.refused = now
	if p.memory == nil {
		return nil
	}
	q, err := p.cache.Quarantine()
	if err != nil {
		return fmt.Errorf("remember what Envoys refuse: %w", err)
	}
	if bytes.Equal(q, p.memory.blocked) {
		return nil
	}
	return p.memory.quarantine(q)
}

// reportRefusals adds what Envoys refuse to a report: a problem on every
// object that has a part in the host, for a refusal names no line.
func (p *Pipeline) reportRefusals(r *Report) {
	for _, refused := range p.refused {
		what := fmt.Sprintf("Envoy %q refuses %s %s: %s", refused.Node, typeName(refused.TypeURL), refused.Name, refused.Message)
		if !slices.ContainsFunc(refused.Units, isHost) {
			found := []problem.Problem{{Severity: problem.Error, Type: "EnvoyError", Reason: "RejectedByEnvoy", Message: what}}
			if refused.TypeURL == xds.SecretType {
				namespace, name, _ := strings.Cut(refused.Name, "/")
				found[0].Object = problem.Object{Kind: manifest.Secret, Namespace: namespace, Name: name}
			}
			r.Problems = append(r.Problems, p.located(found)...)
		}
		stays := "nothing is served in its place, for there is no last good configuration"
		state := dag.Rejected
		if refused.FellBack {
			stays, state = "the last good configuration keeps serving", dag.LastGood
		}
		for _, unit := range refused.Units {
			if !isHost(unit) {
				continue
			}
			host := strings.TrimPrefix(unit, xds.UnitName(""))
			for i := range r.Hosts {
				if r.Hosts[i].Host == host {
					r.Hosts[i].State = string(state)
				}
			}
			found := make([]problem.Problem, 0, 1)
			for _, key := range partsOf(p.graph.Host(host)) {
				found = append(found, problem.Problem{Severity: problem.Error, Type: "VirtualHostError", Reason: "RejectedByEnvoy",
					Message: fmt.Sprintf("host %q: %s; %s", host, what, stays), Object: key.Ref()})
			}
			r.Problems = append(r.Problems, p.located(found)...)
		}
	}
}

// isHost tells the units of hosts from those of listeners.
func isHost(unit string) bool { return strings.HasPrefix(unit, xds.UnitName("")) }

// partsOf are the objects that a host is made of, sorted.
func partsOf(vh *dag.VirtualHost) []manifest.Key {
	if vh == nil {
		return nil
	}
	parts := []manifest.Key{vh.Owner}
	for _, r := range vh.Routes {
		parts = append(parts, r.Owner)
	}
	slices.SortFunc(parts, manifest.Key.Compare)
	return slices.Compact(parts)
}

// located fills in where the objects of problems are now, and whose they are.
func (p *Pipeline) located(problems []problem.Problem) []problem.Problem {
	return locate(p.graph, problems)
}

func locate(g *dag.Graph, problems []problem.Problem) []problem.Problem {
	out := slices.Clone(problems)
	for i := range out {
		if o := g.Object(manifest.Key(out[i].Object)); o != nil {
			out[i].Origin, out[i].Team = o.Origin, o.Team
		}
	}
	return out
}
