// Package team says who may own what: it holds the platform's policy and
// applies it to what a repository brings.
//
// Every rule is one function in one file, pure, and needs no cluster: it
// cannot be skipped because something could not be looked up. The package
// judges ownership only; whether an object makes sense is for dag to say.
package team

import (
	"net/netip"
	"slices"
	"strings"

	"isoline.dev/isoline/config"
	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

// Policy is the platform's decision about ownership. It is immutable and may
// be used from several goroutines.
type Policy struct {
	teams     map[string]*config.Team
	names     []string // sorted
	endpoints []netip.Prefix
}

// New takes the policy out of a validated configuration.
func New(c *config.Config) *Policy {
	p := &Policy{teams: map[string]*config.Team{}}
	for i := range c.Teams {
		t := &c.Teams[i]
		p.teams[t.Name] = t
		p.names = append(p.names, t.Name)
	}
	slices.Sort(p.names)
	for _, text := range c.Endpoints.Allow {
		if prefix, err := netip.ParsePrefix(text); err == nil { // config.Load refused the others
			p.endpoints = append(p.endpoints, prefix.Masked())
		}
	}
	return p
}

// HostOwner is the team that the policy prefers where several claim host:
// the only one that lists the host itself, or else the only one whose
// wildcard covers it. It implements dag.Policy.
func (p *Policy) HostOwner(host string) (string, bool) {
	for _, covers := range []func(pattern, host string) bool{
		func(pattern, host string) bool { return pattern == host },
		CoversHost,
	} {
		var owners []string
		for _, name := range p.names {
			if slices.ContainsFunc(p.teams[name].Hosts, func(h string) bool { return covers(h, host) }) {
				owners = append(owners, name)
			}
		}
		if len(owners) > 0 {
			return owners[0], len(owners) == 1
		}
	}
	return "", false
}

// CoversHost reports whether a pattern of a team's hosts covers a host as
// HTTPProxy and Ingress write it: "*" covers everything, "*.example.com"
// itself and every name with exactly one label more, any other itself.
func CoversHost(pattern, host string) bool {
	if pattern == "*" || pattern == host {
		return true
	}
	parent, wildcard := strings.CutPrefix(pattern, "*.")
	_, rest, found := strings.Cut(host, ".")
	return wildcard && found && rest == parent && !strings.HasPrefix(host, "*.")
}

// rules are asked in this order. A rule that returns nil refuses the object;
// otherwise the next rule gets what it returned, which may be a copy with
// the forbidden parts left out.
var rules = []func(*Policy, *config.Team, *manifest.Object) (*manifest.Object, []problem.Problem){
	kinds, namespaces, hosts, endpoints,
}

// Admit returns those of a team's objects that it may have, and a problem
// for everything else. The objects given are not changed.
// A name that is not a team may have nothing.
func (p *Policy) Admit(name string, objects []*manifest.Object) ([]*manifest.Object, []problem.Problem) {
	var allowed []*manifest.Object
	var problems []problem.Problem
	t, ok := p.teams[name]
	if !ok {
		return nil, []problem.Problem{{Severity: problem.Error, Type: "OwnershipError", Reason: "UnknownTeam",
			Message: "the configuration has no such team", Team: name}}
	}
	for _, o := range objects {
		for _, rule := range rules {
			var found []problem.Problem
			o, found = rule(p, t, o)
			problems = append(problems, found...)
			if o == nil {
				break
			}
		}
		if o != nil {
			allowed = append(allowed, o)
		}
	}
	return allowed, problems
}

// refuse is one ownership problem on an object.
func refuse(t *config.Team, o *manifest.Object, reason, field, message, remedy string) problem.Problem {
	return problem.Problem{Severity: problem.Error, Type: "OwnershipError", Reason: reason, Message: message,
		Remedy: remedy, Object: o.Key.Ref(), Field: field, Origin: o.Origin, Team: t.Name}
}
