package team

import (
	"fmt"
	"slices"
	"strings"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"isoline.dev/isoline/config"
	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

// AllowRemovalPath is where, below the readable root of its repository, a
// team confirms a removal that the guard would refuse.
const AllowRemovalPath = ".isoline/allow-removal.yaml"

// AllowRemoval is that file: it names what may go. It is in the tree rather
// than in a commit message because a merge hides messages from a shallow
// clone.
type AllowRemoval struct {
	// Objects are written "Kind namespace/name"; "*" stands for all.
	Objects []string `yaml:"objects"`
	// Hosts are written as in the manifests; "*" stands for all.
	Hosts []string `yaml:"hosts"`
}

// few is how many things a revision may always remove, so that a team of
// three routes can drop one without ceremony.
const few = 2

// Guard decides whether a revision may replace the last good one. A broken
// generator, a wrong path or a bad merge shows as a revision that is empty
// or lost much; taking it would cut off the team's users at once, and pruning
// would make it permanent. The result is nil when the revision is fine.
//
// It compares objects, hosts and routes; each may lose at most the team's
// prunePercent, or a few, beyond what allow names.
func Guard(t *config.Team, before, after []*manifest.Object, allow AllowRemoval) *problem.Problem {
	if len(before) == 0 {
		return nil
	}
	was, is := countAll(before, allow), countAll(after, AllowRemoval{})
	// The routes of an object that is gone went with it and are not counted again.
	was.routes = slices.DeleteFunc(was.routes, func(r string) bool {
		object, _, _ := strings.Cut(r, " route ")
		_, there := slices.BinarySearch(is.objects, object)
		return !there
	})
	if len(after) == 0 && len(was.objects) > 0 {
		return guarded(t, "RevisionEmpty", "this revision has no objects left", was.objects)
	}
	for _, c := range []struct {
		what        string
		before, now []string
		total       int
	}{
		{"objects", was.objects, is.objects, len(before)},
		{"hosts", was.hosts, is.hosts, was.totalHosts},
		{"routes", was.routes, is.routes, was.totalRoutes},
	} {
		lost := missing(c.before, c.now)
		if len(lost) > few && len(lost)*100 > *t.Limits.PrunePercent*c.total {
			return guarded(t, "TooMuchRemoved", fmt.Sprintf("this revision removes %d of %d %s, more than the limit of %d%%",
				len(lost), c.total, c.what, *t.Limits.PrunePercent), lost)
		}
	}
	return nil
}

func guarded(t *config.Team, reason, message string, lost []string) *problem.Problem {
	const show = 5
	list := strings.Join(lost[:min(show, len(lost))], ", ")
	if len(lost) > show {
		list += fmt.Sprintf(" and %d more", len(lost)-show)
	}
	return &problem.Problem{Severity: problem.Error, Type: "RevisionError", Reason: reason,
		Message: message + " (" + list + "); the last good revision keeps serving",
		Remedy:  "if this is meant, name what may go in " + AllowRemovalPath, Team: t.Name}
}

// inventory is what a revision has, by name.
type inventory struct {
	objects, hosts, routes  []string // sorted; without what may go
	totalHosts, totalRoutes int
}

func countAll(objects []*manifest.Object, allow AllowRemoval) inventory {
	var inv inventory
	all := map[string]bool{}
	for _, o := range objects {
		name := o.Key.String()
		free := allows(allow.Objects, name)
		if !free {
			inv.objects = append(inv.objects, name)
		}
		hosts, routes := claims(o)
		inv.totalRoutes += routes
		for _, h := range hosts {
			all[h] = true
			if !free && !allows(allow.Hosts, h) {
				inv.hosts = append(inv.hosts, h)
			}
		}
		for i := 0; !free && i < routes; i++ {
			inv.routes = append(inv.routes, fmt.Sprintf("%s route %d", name, i+1))
		}
	}
	inv.totalHosts = len(all)
	for _, list := range []*[]string{&inv.objects, &inv.hosts, &inv.routes} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return inv
}

// claims are the hosts that an object claims and the number of its routes.
func claims(o *manifest.Object) (hosts []string, routes int) {
	switch v := o.Value.(type) {
	case *contourv1.HTTPProxy:
		if v.Spec.VirtualHost != nil {
			hosts = append(hosts, strings.ToLower(v.Spec.VirtualHost.Fqdn))
		}
		return hosts, len(v.Spec.Routes) + len(v.Spec.Includes)
	case *networkingv1.Ingress:
		for _, rule := range v.Spec.Rules {
			hosts = append(hosts, strings.ToLower(rule.Host))
			if rule.HTTP != nil {
				routes += len(rule.HTTP.Paths)
			}
		}
	}
	return hosts, routes
}

func allows(list []string, name string) bool {
	return slices.Contains(list, "*") || slices.Contains(list, name)
}

// missing are the members of a that are not in b; both are sorted.
func missing(a, b []string) []string {
	var out []string
	for _, s := range a {
		if _, ok := slices.BinarySearch(b, s); !ok {
			out = append(out, s)
		}
	}
	return out
}
