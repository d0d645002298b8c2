package dag

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"

	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

// buildHost is the unit: what one host serves, from what the reader gives and
// what the host served before (nil: nothing).
func buildHost(host string, r *reader, opts Options, previous *VirtualHost) output {
	claimants := r.claimants(host)
	if len(claimants) == 0 {
		return output{}
	}
	b := &hostBuild{
		host: host, reader: r, settings: &opts.Settings, previous: previous,
		matches: map[string][]candidate{},
	}
	if opts.Policy != nil {
		b.preferred, b.prefers = opts.Policy.HostOwner(host)
	}
	b.remember()
	vhost := &VirtualHost{Host: host}
	accepted := b.accept(claimants)
	b.protect(accepted, vhost)
	for _, e := range accepted {
		vhost.Claims = append(vhost.Claims, Claim{Object: e.key(), Team: e.object.Team})
		if e.proxy != nil || vhost.Owner == (manifest.Key{}) {
			vhost.Owner = e.key()
		}
		switch {
		case e.proxy != nil:
			b.proxyRoutes(e, vhost)
		case b.blocked:
			b.report(errorIn(e, ingressError, "HostNotServed", hostField(e, host),
				"host %q is not served: a protection that it is to have cannot be given", host))
		default:
			b.ingressHost(e, vhost)
		}
	}
	vhost.Routes = b.decide()
	if vhost.TLS == nil {
		for i := range vhost.Routes {
			vhost.Routes[i].PlainOnly = false // as they all are
		}
	}
	b.reportUnreachable(vhost.Routes)
	return output{
		vhost:    vhost,
		problems: problem.Sort(b.problems),
		reached:  b.inclusions(),
	}
}

// hostBuild is the state of building one host.
type hostBuild struct {
	host     string
	reader   *reader
	settings *Settings
	previous *VirtualHost
	// before has the routes of previous by the key of their match.
	before    map[string]*Route
	preferred string // the policy's owner team
	prefers   bool
	walked    int
	// policy holds for all routes of the host; it may be nil.
	policy *HostPolicy
	// blocked: the host asks for a protection that cannot be given.
	blocked bool
	// matches are the offers by the key of their match.
	matches  map[string][]candidate
	problems []problem.Problem
	reached  []Inclusion
	// tls is what a root HTTPProxy asks for; nil for plain HTTP.
	tls *TLS
}

func (b *hostBuild) report(p problem.Problem) { b.problems = append(b.problems, p) }

func (b *hostBuild) remember() {
	b.before = map[string]*Route{}
	if b.previous != nil {
		for i := range b.previous.Routes {
			r := &b.previous.Routes[i]
			b.before[r.Match.Key()] = r
		}
	}
}

// sameTeam compares with a team out of the memory, where none stands for any.
func sameTeam(remembered, now string) bool { return remembered == "" || remembered == now }

// ownedBefore reports whether the object was the host's owner.
func (b *hostBuild) ownedBefore(e *entry) bool {
	return b.previous != nil && b.previous.Owner == e.key() && b.standing(e) > 0
}

// standing is greater than 0 where the object's claim stood before, and the
// greater the earlier it came in the order of claims.
func (b *hostBuild) standing(e *entry) int {
	if b.previous == nil {
		return 0
	}
	claims := b.previous.Claims
	i := slices.IndexFunc(claims, func(c Claim) bool { return c.Object == e.key() })
	switch {
	case i >= 0 && sameTeam(claims[i].Team, e.object.Team):
		return len(claims) - i
	case i < 0 && b.previous.Owner == e.key():
		return len(claims) + 1
	default:
		return 0
	}
}

func (b *hostBuild) isPreferred(e *entry) bool { return b.prefers && e.object.Team == b.preferred }

// bySeniority is the order without memory: the policy's owner first, then by
// age, then HTTPProxy before Ingress and by name. With the incumbent put
// between the first two it decides every conflict.
func (b *hostBuild) bySeniority(x, y *entry, incumbent func(*entry) int) int {
	return cmp.Or(
		-compareBool(b.isPreferred(x), b.isPreferred(y)),
		-cmp.Compare(incumbent(x), incumbent(y)),
		compareAge(x, y),
		compareBool(x.proxy == nil, y.proxy == nil),
		x.key().Compare(y.key()),
	)
}

// compareAge puts the older object first; an unknown age comes last.
func compareAge(x, y *entry) int {
	cx, cy := x.object.Created(), y.object.Created()
	if cx.IsZero() || cy.IsZero() {
		return compareBool(cx.IsZero(), cy.IsZero())
	}
	return cx.Compare(cy)
}

// accept decides whose claims on the host stand, in the order in which they
// count. There is at most one HTTPProxy; Ingresses join each other from
// anywhere, and an HTTPProxy only from its own namespace or team.
func (b *hostBuild) accept(claimants []*entry) []*entry {
	claimants = slices.Clone(claimants)
	slices.SortFunc(claimants, func(x, y *entry) int { return b.bySeniority(x, y, b.standing) })
	var stand []*entry
	for _, e := range claimants {
		i := slices.IndexFunc(stand, func(other *entry) bool { return !compatible(e, other) })
		if i < 0 {
			stand = append(stand, e)
			continue
		}
		b.report(b.refusal(e, stand[i], claimants))
	}
	return stand
}

func compatible(x, y *entry) bool {
	switch {
	case x.proxy != nil && y.proxy != nil:
		return false
	case x.proxy == nil && y.proxy == nil:
		return true
	default:
		sameTeam := x.object.Team != "" && x.object.Team == y.object.Team
		return sameTeam || x.key().Namespace == y.key().Namespace
	}
}

// refusal is the problem of a claim that does not stand, against the one that
// keeps the host.
func (b *hostBuild) refusal(loser, winner *entry, claimants []*entry) problem.Problem {
	var p problem.Problem
	switch {
	case loser.proxy != nil && winner.proxy != nil:
		p = errorIn(loser, contourv1.ConditionTypeVirtualHostError, "DuplicateVhost", "spec.virtualhost.fqdn",
			"fqdn %q is used in multiple HTTPProxies: %s; %s keeps serving it", b.host, roots(claimants), winner.key())
	case loser.proxy != nil:
		p = errorIn(loser, contourv1.ConditionTypeVirtualHostError, "DuplicateVhost", "spec.virtualhost.fqdn",
			"fqdn %q is claimed by an Ingress of another namespace; %s keeps serving it", b.host, winner.key())
	default:
		p = errorIn(loser, ingressError, "HostConflict", hostField(loser, b.host),
			"host %q is claimed by an HTTPProxy of another namespace; %s keeps serving it", b.host, winner.key())
	}
	p.Remedy = "choose another host, or agree with the owner of " + winner.key().String()
	return against(p, winner)
}

func roots(claimants []*entry) string {
	var names []string
	for _, e := range claimants {
		if e.proxy != nil {
			names = append(names, e.key().Namespace+"/"+e.key().Name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// candidate is an offer to serve one match.
type candidate struct {
	match      Match
	owner      *entry
	chain      []manifest.Key
	field      string
	action     Action
	plain      PlainHTTP
	plainOnly  bool
	lastGood   bool
	unresolved bool
	// lessened: the action is of some of the services, which take over the
	// share of the others.
	lessened bool
	// implied: the author did not write this match; it gives way to any that
	// somebody did, without a problem.
	implied bool
	// fallback: an Ingress's default backend, which gives way to its rules.
	fallback bool
	// rewrites: the author means the prefix to be replaced.
	rewrites bool
	problems []problem.Problem
	seq      int
}

// flawed reports whether the candidate is not as its author wrote it.
func (c candidate) flawed() bool { return c.lastGood || c.unresolved }

func (b *hostBuild) offer(c candidate) {
	key := c.match.Key()
	c.seq = len(b.matches[key])
	b.matches[key] = append(b.matches[key], c)
}

// verdict says how much of an action can be done as written.
type verdict int

const (
	whole    verdict = iota
	partial          // some services are missing; the action is what is left
	reduced          // the same, and it must not be the last good one instead
	broken           // there is no action
	withheld         // there must be none, and no last good one either
)

// settle gives a candidate the action that it will serve if it wins: its own,
// else its last good one, else what is left of its own.
func (b *hostBuild) settle(c candidate, state verdict) candidate {
	if state == whole {
		return c
	}
	if state == partial || state == broken {
		if action, ok := b.lastGood(c); ok {
			c.action, c.lastGood = action, true
			return c
		}
	}
	c.unresolved = true
	if state == partial || state == reduced {
		c.lessened = true
	} else {
		// The match stays taken: a request for it must not fall through to a
		// broader route that was never meant for it.
		c.action = Action{DirectResponse: &DirectResponse{StatusCode: 503}}
	}
	return c
}

// lastGood is what the candidate's object served for the match before, if all
// of it can still be served. Its protections are those that the route has now.
func (b *hostBuild) lastGood(c candidate) (Action, bool) {
	before := b.before[c.match.Key()]
	if before == nil || !b.held(before, c.owner) || before.Unresolved {
		return Action{}, false
	}
	action := before.Action
	action.Clusters = slices.Clone(action.Clusters)
	for i := range action.Clusters {
		if !b.stillServed(&action.Clusters[i].Cluster, c.owner) {
			return Action{}, false
		}
	}
	if action.Mirror != nil {
		mirror := *action.Mirror
		if action.Mirror = nil; b.stillServed(&mirror.Cluster, c.owner) {
			action.Mirror = &mirror
		}
	}
	action.Policy = action.Policy.guardedAs(c.action.Policy)
	return action, true
}

// stillServed reports whether the Service is still there for the owner, and
// brings up to date what the cluster has from it.
func (b *hostBuild) stillServed(c *Cluster, owner *entry) bool {
	return c.Namespace == owner.key().Namespace && b.refresh(c) == nil
}

// held reports whether the object held a remembered route.
func (b *hostBuild) held(r *Route, e *entry) bool {
	return r.Owner == e.key() && sameTeam(r.Team, e.object.Team)
}

// decide gives every match to one candidate and reports the others.
func (b *hostBuild) decide() []Route {
	routes := make([]Route, 0, len(b.matches))
	wouldRewrite := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(b.matches)) {
		offers := b.matches[key]
		before := b.before[key]
		incumbent := func(e *entry) int {
			if before != nil && b.held(before, e) {
				return 1
			}
			return 0
		}
		slices.SortFunc(offers, func(x, y candidate) int {
			return cmp.Or(
				compareBool(x.implied, y.implied),
				b.bySeniority(x.owner, y.owner, incumbent),
				compareBool(x.fallback, y.fallback),
				compareBool(x.flawed(), y.flawed()),
				cmp.Compare(x.seq, y.seq),
			)
		})
		winner := offers[0]
		route := winner.route()
		if winner.rewrites {
			wouldRewrite[key] = true
		}
		if route.Plain == PlainServe && b.policy.verifies(&route.Action) {
			route.Plain = PlainRedirect // tokens are verified over TLS alone
		}
		routes = append(routes, route)
		b.reportOffer(winner, winner.lastGood)
		if winner.lessened {
			b.report(shareTakenOver(winner))
		}
		for _, loser := range offers[1:] {
			b.reportOffer(loser, false)
			b.reportConflict(loser, winner)
		}
	}
	routes = append(routes, twins(routes, wouldRewrite)...)
	slices.SortFunc(routes, compareRoutes)
	return routes
}

func (c candidate) route() Route {
	return Route{
		Match: c.match, Owner: c.owner.key(), Team: c.owner.object.Team, Field: c.field,
		Chain: c.chain, Action: c.action, Plain: c.plain, PlainOnly: c.plainOnly,
		LastGood: c.lastGood, Unresolved: c.unresolved,
	}
}

// reportOffer reports what is wrong with the candidate itself.
func (b *hostBuild) reportOffer(c candidate, lastGood bool) {
	for _, p := range c.problems {
		if lastGood && p.Severity == problem.Error {
			p.Remedy = "until this is mended the route serves its last good action"
		}
		b.report(p)
	}
}

// reportConflict reports a match that was not given to a candidate.
func (b *hostBuild) reportConflict(loser, winner candidate) {
	sameObject := loser.owner.key() == winner.owner.key()
	switch {
	case loser.implied, loser.fallback && sameObject && !winner.fallback:
		return
	case sameObject && loser.field == winner.field:
		p := errorIn(loser.owner, contourv1.ConditionTypeRouteError, "DuplicateMatchConditions", loser.field,
			"%s on host %q is reached by more than one include; it is served once", loser.match.Key(), b.host)
		p.Severity = problem.Warning
		b.report(p)
		return
	}
	typ, reason := contourv1.ConditionTypeRouteError, "DuplicateMatchConditions"
	if loser.owner.ingress != nil {
		typ, reason = ingressError, "PathConflict"
	}
	b.report(against(errorIn(loser.owner, typ, reason, loser.field,
		"%s on host %q is already taken: %s (%s) keeps serving it",
		loser.match.Key(), b.host, winner.owner.key(), winner.field), winner.owner))
}

// stillThere reports whether all objects behind a route exist, and still let
// each other include them.
func (b *hostBuild) stillThere(r Route) bool {
	e := b.reader.object(r.Owner)
	return b.stillLinked(r.Chain) && e != nil && sameTeam(r.Team, e.object.Team)
}

func (b *hostBuild) stillLinked(chain []manifest.Key) bool {
	for i, key := range chain {
		e := b.reader.object(key)
		if e == nil || i > 0 && !e.admits(chain[i-1]) {
			return false
		}
	}
	return true
}
