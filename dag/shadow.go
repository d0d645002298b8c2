package dag

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"

	"isoline.dev/isoline/problem"
)

// A route is unreachable when routes before it in the order of precedence
// take every request that it matches. By that order it can only be
//
//   - a route behind one with the same path and more conditions, or others
//     that its own imply: {exact: abc} behind {contains: a} and {contains: b},
//   - a prefix or a shorter expression behind expressions that take at least
//     its paths, such as /.*,
//   - a segment behind its exact path and the prefix below it.
//
// The analysis is sound: what it reports is never reached. It misses what only
// several values of one header, several conditions taken together, or word
// boundaries in expressions decide, and what is beyond its budget.

// shadowBudget bounds what looking for unreachable routes costs one host, in
// steps of about 50 nanoseconds.
const shadowBudget = 400_000

// reportUnreachable warns of written routes that no request reaches. The
// routes are all of the host's, in order of precedence.
func (b *hostBuild) reportUnreachable(routes []Route) {
	s := shadows{coverage: coverage{shadowBudget}, routes: routes, byPath: map[Path][]int{}, compiled: map[string]*regexp.Regexp{}}
	for i, r := range routes {
		if offers := b.matches[r.Match.Key()]; len(offers) > 0 && !offers[0].implied {
			if by := s.over(i); len(by) > 0 {
				b.report(unreachable(offers[0], b.host, by))
			}
		}
		if !r.PlainOnly { // over HTTPS it takes nothing
			s.add(i)
		}
	}
}

// unreachable is the warning about a route, against those that cover it.
func unreachable(c candidate, host string, by []Route) problem.Problem {
	typ := contourv1.ConditionTypeRouteError
	if c.owner.ingress != nil {
		typ = ingressError
	}
	first := by[0]
	others := "comes first and takes"
	if len(by) > 1 {
		others = fmt.Sprintf("and %d more come first and together take", len(by)-1)
	}
	p := errorIn(c.owner, typ, "Unreachable", c.field, "no request reaches %s on host %q: %s (%s %s) %s all that it matches",
		c.match.Key(), host, first.Match.Key(), first.Owner, first.Field, others)
	p.Severity = problem.Warning
	for _, r := range by {
		related := problem.Related{Object: r.Owner.Ref()}
		if related.Object != p.Object && !slices.Contains(p.Related, related) {
			p.Related = append(p.Related, related)
		}
	}
	return p
}

// shadows finds what covers a route among those added before it.
type shadows struct {
	coverage
	routes   []Route
	byPath   map[Path][]int
	regexes  []int
	compiled map[string]*regexp.Regexp
}

func (s *shadows) add(i int) {
	path := s.routes[i].Match.Path
	s.byPath[path] = append(s.byPath[path], i)
	if path.Type == PathRegex {
		s.regexes = append(s.regexes, i)
	}
}

// over are routes before the route i that take all that it matches, one if
// one is enough; none if it can be reached.
func (s *shadows) over(i int) []Route {
	m := s.routes[i].Match
	for _, j := range s.byPath[m.Path] {
		if s.budget--; s.budget <= 0 {
			return nil
		}
		if s.stands(j, i) && s.implies(m, s.routes[j].Match) {
			return []Route{s.routes[j]}
		}
	}
	if m.Path.Type == PathExact {
		return nil // only exact paths come before it
	}
	var may []Route
	for _, j := range s.rivals(m.Path) {
		if s.stands(j, i) && s.implies(m, s.routes[j].Match) {
			may = append(may, s.routes[j])
		}
	}
	var paths []Path
	for _, r := range may {
		if s.covered(m.Path, r.Match.Path) {
			return []Route{r}
		}
		paths = append(paths, r.Match.Path)
	}
	if len(may) > 1 && s.covered(m.Path, paths...) {
		return may
	}
	return nil
}

// stands reports whether the route j is on every listener that i is on.
func (s *shadows) stands(j, i int) bool { return !s.routes[j].PlainOnly || s.routes[i].PlainOnly }

// rivals are routes with other paths that may take requests of the path,
// before it.
func (s *shadows) rivals(path Path) []int {
	var all []int
	switch path.Type {
	case PathSegment:
		all = append(all, s.byPath[Path{PathExact, path.Value}]...)
		all = append(all, s.byPath[Path{PathPrefix, path.Value + "/"}]...)
	case PathRegex:
		if word, only := s.compile(path.Value).LiteralPrefix(); only {
			all = append(all, s.byPath[Path{PathExact, word}]...)
		}
	}
	for _, j := range s.regexes {
		if s.budget--; s.budget <= 0 {
			return nil
		}
		if s.meets(s.routes[j].Match.Path.Value, path) {
			all = append(all, j)
		}
	}
	return all
}

// meets is false where it can be told at a glance that an expression does not
// take all of a path's requests, alone or together with others that it meets.
func (s *shadows) meets(expression string, path Path) bool {
	re := s.compile(expression)
	if path.Type == PathRegex {
		a, _ := re.LiteralPrefix()
		b, _ := s.compile(path.Value).LiteralPrefix()
		return strings.HasPrefix(a, b) || strings.HasPrefix(b, a)
	}
	literal, _ := re.LiteralPrefix()
	return strings.HasPrefix(path.Value, literal) || strings.HasPrefix(literal, path.Value)
}

// compile never fails: the expression was compiled when it was read. One of a
// foreign memory that was not becomes one that matches nothing.
func (s *shadows) compile(expression string) *regexp.Regexp {
	re, ok := s.compiled[expression]
	if !ok {
		var err error
		if re, err = regexp.Compile(expression); err != nil {
			re = regexp.MustCompile(`\z.`)
		}
		s.compiled[expression] = re
	}
	return re
}

// implies reports whether the headers and query parameters of every request
// that matches one match the other too.
func (s *shadows) implies(m, other Match) bool {
	for _, c := range other.Headers {
		s.budget -= len(m.Headers)
		if !slices.ContainsFunc(m.Headers, func(given Condition) bool { return s.headerImplies(given, c) }) {
			return false
		}
	}
	for _, c := range other.Query {
		s.budget -= len(m.Query)
		if !slices.ContainsFunc(m.Query, func(given Condition) bool {
			return given.Name == c.Name && (c.Op == OpPresent || s.valueImplies(given, c))
		}) {
			return false
		}
	}
	return true
}

// headerImplies reports whether one condition on a header's values implies
// another. A header may have several values.
func (s *shadows) headerImplies(given, c Condition) bool {
	switch {
	case given == c:
		return true
	case given.Name != c.Name:
		return false
	case c.Op == OpPresent:
		// A condition on a value does not hold where there is none.
		return !c.Invert && given.Op != OpPresent && !given.MissingIsEmpty
	case given.Op == OpPresent || given.Invert != c.Invert || given.MissingIsEmpty && !c.MissingIsEmpty:
		return false
	case c.Invert:
		return s.valueImplies(c, given)
	default:
		return s.valueImplies(given, c)
	}
}

// valueImplies reports whether every value that fits one condition fits the
// other, inversions aside.
func (s *shadows) valueImplies(given, c Condition) bool {
	if given.Op == c.Op && given.Value == c.Value && given.IgnoreCase == c.IgnoreCase {
		return true
	}
	if given.IgnoreCase && !c.IgnoreCase {
		return false
	}
	want, have := c.Value, given.Value
	if c.IgnoreCase {
		want, have = asciiLower(want), asciiLower(have)
	}
	switch {
	case given.Op == OpExact && c.Op == OpRegex:
		if given.IgnoreCase {
			return false
		}
		s.budget -= len(c.Value) * len(given.Value)
		return s.budget > 0 && s.compile(`\A(?:`+c.Value+`)\z`).MatchString(given.Value)
	case given.Op == OpExact && c.Op == OpExact:
		return have == want
	case (given.Op == OpExact || given.Op == OpPrefix) && c.Op == OpPrefix:
		return strings.HasPrefix(have, want)
	case (given.Op == OpExact || given.Op == OpSuffix) && c.Op == OpSuffix:
		return strings.HasSuffix(have, want)
	case given.Op != OpRegex && given.Op != OpPresent && c.Op == OpContains:
		return strings.Contains(have, want)
	default:
		return false
	}
}
