package dag

import (
	"cmp"
	"maps"
	"slices"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"

	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

// Inclusion is one way in which a root's includes reach an HTTPProxy.
type Inclusion struct {
	// Child is the HTTPProxy that is reached, and Root the one with the
	// virtualhost.
	Child manifest.Key `json:"child"`
	Root  manifest.Key `json:"root"`
	Host  string       `json:"host"`
	// Match is what the includes on the way come to: a prefix, headers and query
	// parameters. Zero where the host is served from memory alone, or where the
	// way is one of TCP proxies, which have no conditions.
	Match Match `json:"match"`
}

func (i Inclusion) compare(o Inclusion) int {
	return cmp.Or(
		i.Child.Compare(o.Child),
		cmp.Compare(i.Host, o.Host),
		i.Root.Compare(o.Root),
		compareMatches(i.Match, o.Match),
	)
}

// reach notes that the includes above lead to the child.
func (b *hostBuild) reach(root, child manifest.Key, match Match) {
	b.reached = append(b.reached, Inclusion{Child: child, Root: root, Host: b.host, Match: match})
}

// inclusions are those that were noted, sorted, without repeats: a child may
// be reached in one way through several others.
func (b *hostBuild) inclusions() []Inclusion {
	slices.SortFunc(b.reached, Inclusion.compare)
	return slices.CompactFunc(b.reached, func(x, y Inclusion) bool { return x.compare(y) == 0 })
}

// inclusionsOf are the ways in which an HTTPProxy is reached, sorted by host.
func (g *Graph) inclusionsOf(child manifest.Key) []Inclusion {
	var all []Inclusion
	for _, host := range slices.Sorted(maps.Keys(g.reached[child])) {
		reached := g.units[host].reached
		first, _ := slices.BinarySearchFunc(reached, child, func(i Inclusion, key manifest.Key) int { return i.Child.Compare(key) })
		for _, i := range reached[first:] {
			if i.Child != child {
				break
			}
			all = append(all, i)
		}
	}
	return all
}

// included are the HTTPProxies that an HTTPProxy names in its includes.
func included(proxy *contourv1.HTTPProxy) []manifest.Key {
	var all []manifest.Key
	add := func(namespace, name string) {
		all = append(all, manifest.Key{Kind: manifest.HTTPProxy, Namespace: or(namespace, proxy.Namespace), Name: name})
	}
	for _, i := range proxy.Spec.Includes {
		add(i.Namespace, i.Name)
	}
	if t := proxy.Spec.TCPProxy; t != nil {
		for _, i := range []*contourv1.TCPProxyInclude{t.Include, t.IncludesDeprecated} {
			if i != nil {
				add(i.Namespace, i.Name)
			}
		}
	}
	return all
}

// orphaned is the problem of an HTTPProxy that no root reaches. The remedy
// tells one that nobody names from one that waits for those who do.
func (g *Graph) orphaned(key manifest.Key) problem.Problem {
	p := problem.Problem{
		Severity: problem.Error,
		Type:     contourv1.ConditionTypeOrphanedError,
		Reason:   "Orphaned",
		Message:  "this HTTPProxy is not part of a delegation chain from a root HTTPProxy",
		Remedy:   "nothing includes it: name it in the includes of an HTTPProxy that is served",
		Object:   key.Ref(),
	}
	for _, by := range slices.SortedFunc(maps.Keys(g.includers[key]), manifest.Key.Compare) {
		if by != key {
			p.Related = append(p.Related, problem.Related{Object: by.Ref()})
		}
	}
	if len(p.Related) == 0 {
		return p
	}
	p.Remedy = "it waits for what includes it: that is itself not part of a delegation chain"
	for _, by := range p.Related {
		key := manifest.Key(by.Object)
		if _, child := g.children[key]; !child || len(g.reached[key]) > 0 {
			p.Remedy = "the include by " + key.String() + " is not in effect: see its problems"
			break
		}
	}
	return p
}
