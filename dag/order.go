package dag

import (
	"cmp"
	"slices"
	"strings"
)

// compareRoutes is the order of precedence: exact before regex before prefix,
// longer first, a segment before a string prefix, more header and then more
// query conditions first, and then by content, so that it is total.
func compareRoutes(a, b Route) int { return compareMatches(a.Match, b.Match) }

func compareMatches(a, b Match) int {
	return cmp.Or(
		cmp.Compare(pathRank(a.Path.Type), pathRank(b.Path.Type)),
		-cmp.Compare(len(a.Path.Value), len(b.Path.Value)),
		compareBool(a.Path.Type == PathPrefix, b.Path.Type == PathPrefix),
		-cmp.Compare(len(a.Headers), len(b.Headers)),
		-cmp.Compare(len(a.Query), len(b.Query)),
		strings.Compare(a.Path.Value, b.Path.Value),
		slices.CompareFunc(a.Headers, b.Headers, Condition.Compare),
		slices.CompareFunc(a.Query, b.Query, Condition.Compare),
	)
}

func pathRank(t PathType) int {
	switch t {
	case PathExact:
		return 0
	case PathRegex:
		return 1
	default:
		return 2
	}
}
