package dag

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// unreachableOf are the keys of the routes that the analysis finds.
func unreachableOf(routes []Route) []string {
	s := shadows{coverage: coverage{shadowBudget}, routes: routes, byPath: map[Path][]int{}, compiled: map[string]*regexp.Regexp{}}
	var found []string
	for i := range routes {
		if len(s.over(i)) > 0 {
			found = append(found, routes[i].Match.Key())
		}
		s.add(i)
	}
	return found
}

func routesOf(matches ...Match) []Route {
	var routes []Route
	seen := map[string]bool{}
	for _, m := range matches {
		m.Headers, m.Query = normal(m.Headers), normal(m.Query)
		if key := m.Key(); !seen[key] {
			seen[key] = true
			routes = append(routes, Route{Match: m, Action: Action{DirectResponse: &DirectResponse{StatusCode: 200}}})
		}
	}
	slices.SortFunc(routes, compareRoutes)
	return routes
}

func TestUnreachableRoutes(t *testing.T) {
	path := func(typ PathType, value string, headers ...Condition) Match {
		return Match{Path: Path{typ, value}, Headers: headers}
	}
	h := func(op Op, value string) Condition { return Condition{Name: "h", Op: op, Value: value} }
	not := func(c Condition) Condition { c.Invert = true; return c }
	empty := func(c Condition) Condition { c.MissingIsEmpty = true; return c }
	anyCase := func(c Condition) Condition { c.IgnoreCase = true; return c }
	for _, tt := range []struct {
		name    string
		matches []Match
		want    []string
	}{
		{"everything", []Match{path(PathRegex, "/.*"), path(PathPrefix, "/a"), path(PathSegment, "/b"), path(PathExact, "/c")},
			[]string{"segment /b", "prefix /a"}},
		{"anchored", []Match{path(PathRegex, "^/.*$"), path(PathPrefix, "/a")}, []string{"prefix /a"}},
		{"less than the prefix", []Match{path(PathRegex, "/a/.*"), path(PathRegex, "/a."), path(PathPrefix, "/a")}, nil},
		{"just the segment", []Match{path(PathRegex, "/a(/.*)?"), path(PathSegment, "/a"), path(PathPrefix, "/a")}, []string{"segment /a"}},
		{"two expressions together", []Match{path(PathRegex, "/a|/a[/a-m].*"), path(PathRegex, "/a[^/a-m].*"), path(PathPrefix, "/a")},
			[]string{"prefix /a"}},
		{"one character is left", []Match{path(PathRegex, "/a|/a[/a-m].*"), path(PathRegex, "/a[^/a-n].*"), path(PathPrefix, "/a")}, nil},
		{"expressions", []Match{path(PathRegex, "/a+b*c*"), path(PathRegex, "/aa*b"), path(PathRegex, "/ba")}, []string{"regex /aa*b"}},
		{"a literal behind its exact path", []Match{path(PathExact, "/a"), path(PathRegex, "/a")}, []string{"regex /a"}},
		{"a segment in its parts", []Match{path(PathExact, "/a"), path(PathPrefix, "/a/"), path(PathSegment, "/a")}, []string{"segment /a"}},
		{"word boundaries are not looked into", []Match{path(PathRegex, `/\b.*|/.*`), path(PathPrefix, "/a")}, nil},
		{"other characters than a path's", []Match{path(PathRegex, "/[!-\"$->@-~]*"), path(PathPrefix, "/")}, []string{"prefix /"}},
		{"a header more", []Match{path(PathPrefix, "/a", h(OpPresent, "")), path(PathPrefix, "/a")}, nil},
		{"a header less", []Match{path(PathRegex, "/.*", h(OpPresent, "")), path(PathPrefix, "/a"), path(PathPrefix, "/b", h(OpExact, "x"))},
			[]string{`prefix /b header:h exact "x"`}},
		{"implied conditions", []Match{path(PathExact, "/a", h(OpContains, "a"), h(OpContains, "b")), path(PathExact, "/a", h(OpExact, "abc"))},
			[]string{`exact /a header:h exact "abc"`}},
		{"an inverted condition is about all values", []Match{path(PathRegex, "/.*", not(h(OpExact, "b"))), path(PathPrefix, "/a", h(OpExact, "a"))}, nil},
		{"inverted conditions", []Match{path(PathRegex, "/.*", not(h(OpExact, "ab"))), path(PathPrefix, "/a", not(h(OpContains, "b")))},
			[]string{`prefix /a header:h not-contains "b"`}},
		{"a missing header that counts as empty", []Match{path(PathRegex, "/.*", not(h(OpExact, "ab"))), path(PathPrefix, "/a", empty(not(h(OpContains, "b"))))}, nil},
		{"case that counts", []Match{path(PathRegex, "/.*", h(OpContains, "a")), path(PathPrefix, "/a", anyCase(h(OpExact, "a")))}, nil},
		{"case that does not count", []Match{path(PathRegex, "/.*", anyCase(h(OpContains, "a"))), path(PathPrefix, "/a", h(OpExact, "A"))},
			[]string{`prefix /a header:h exact "A"`}},
	} {
		routes := routesOf(tt.matches...)
		if got := unreachableOf(routes); !slices.Equal(got, tt.want) {
			t.Errorf("%s: unreachable are %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestUnreachableIsNeverReached tries every request of a small world on
// random routes.
func TestUnreachableIsNeverReached(t *testing.T) {
	requests := smallWorld()
	found := 0
	rapid.Check(t, func(t *rapid.T) {
		var matches []Match
		for range rapid.IntRange(2, 6).Draw(t, "routes") {
			matches = append(matches, drawRival(t))
		}
		v := &VirtualHost{Host: "x.test", Routes: routesOf(matches...)}
		unreachable := unreachableOf(v.Routes)
		if found += len(unreachable); len(unreachable) == 0 {
			return
		}
		table := newTable(v)
		for _, r := range requests {
			if f := table.find(r); f.Matched && slices.Contains(unreachable, f.Route.Match.Key()) {
				t.Fatalf("%s was called unreachable and takes %s %v", f.Route.Match.Key(), r.Path, r.Headers)
			}
		}
	})
	if found == 0 {
		t.Error("nothing was called unreachable")
	}
}

func smallWorld() []Request {
	paths := []string{"/"}
	for i := 0; len(paths[i]) < 5; i++ {
		for _, c := range "ab/" {
			paths = append(paths, paths[i]+string(c))
		}
	}
	var all []Request
	for _, p := range paths {
		for _, h := range [][]string{nil, {""}, {"a"}, {"b"}, {"B"}, {"ab"}, {"a", "b"}} {
			for _, q := range []string{"", "?q", "?q=a", "?q=ab", "?q=b&q=a"} {
				all = append(all, Request{Method: "GET", Host: "x.test", Path: p + q, Headers: map[string][]string{"h": h}})
			}
		}
	}
	return all
}

func drawRival(t *rapid.T) Match {
	var m Match
	switch typ := oneOf(t, PathExact, PathRegex, PathRegex, PathRegex, PathPrefix, PathSegment); typ {
	case PathRegex:
		m.Path = Path{typ, drawExpression(t, 3)}
		if few(t, 2) > 0 {
			m.Path.Value = oneOf(t, "/.*", "/a.*", "/(a|b/?)*", "/[^b]*", "/a(/.*)?")
		}
	case PathSegment:
		m.Path = Path{typ, oneOf(t, "/a", "/b", "/a/b")}
	default:
		m.Path = Path{typ, oneOf(t, "/", "/a", "/a/", "/ab", "/b/")}
	}
	for range max(0, few(t, 3)-1) {
		c := Condition{Name: "h", Op: oneOf(t, OpPresent, OpExact, OpContains, OpRegex), Invert: rapid.Bool().Draw(t, "invert")}
		if c.Op != OpPresent {
			c.Value = oneOf(t, "a", "b", "ab")
			c.MissingIsEmpty = c.Invert && rapid.Bool().Draw(t, "missing")
			c.IgnoreCase = c.Op != OpRegex && few(t, 2) == 0
		}
		m.Headers = append(m.Headers, c)
	}
	if few(t, 3) == 0 {
		c := Condition{Name: "q", Op: oneOf(t, OpPresent, OpExact, OpContains, OpPrefix, OpSuffix, OpRegex)}
		if c.Op != OpPresent {
			c.Value = oneOf(t, "a", "b", "ab")
		}
		m.Query = append(m.Query, c)
	}
	return m
}

// drawExpression is an expression that begins with a slash, more or less.
func drawExpression(t *rapid.T, depth int) string {
	var tail func(depth int) string
	tail = func(depth int) string {
		if depth == 0 {
			return oneOf(t, "a", "b", "/", ".", "[ab]", "[^a]", "", `\b`, "$")
		}
		switch few(t, 4) {
		case 0:
			return tail(depth - 1)
		case 1:
			return "(" + tail(depth-1) + "|" + tail(depth-1) + ")"
		case 2:
			return "(" + tail(depth-1) + ")" + oneOf(t, "*", "+", "?", "{2}")
		default:
			return tail(depth-1) + tail(depth-1)
		}
	}
	for {
		e := oneOf(t, "/", "/", "^/", "/a|/") + tail(depth)
		if _, err := regexp.Compile(e); err == nil {
			return e
		}
	}
}

// TestCoversAgreesWithTrying holds the automata against trying all paths.
func TestCoversAgreesWithTrying(t *testing.T) {
	var paths []string
	for _, r := range smallWorld() {
		if !strings.Contains(r.Path, "?") && len(r.Headers["h"]) == 0 {
			paths = append(paths, r.Path)
		}
	}
	yes, no := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		inner, outer := drawExpression(t, 2), []string{drawExpression(t, 2), drawExpression(t, 3)}
		c := coverage{shadowBudget}
		covered := c.covered(Path{PathRegex, inner}, Path{PathRegex, outer[0]}, Path{PathRegex, outer[1]})
		counter := ""
		whole := func(e string) *regexp.Regexp { return regexp.MustCompile(`\A(?:` + e + `)\z`) }
		in, one, two := whole(inner), whole(outer[0]), whole(outer[1])
		for _, p := range paths {
			if in.MatchString(p) && !one.MatchString(p) && !two.MatchString(p) {
				counter = p
			}
		}
		if covered && counter != "" {
			t.Fatalf("%q is said to be covered by %q, and takes %q alone", inner, outer, counter)
		}
		if covered {
			yes++
		} else {
			no++
		}
	})
	if yes == 0 || no == 0 {
		t.Errorf("covered %d times, not covered %d times", yes, no)
	}
}

// TestUnreachableIsBounded: many expressions on one host, and many conditions
// on one path, cost the budget and no more.
func TestUnreachableIsBounded(t *testing.T) {
	var expressions, conditions []Match
	for i := range 2000 {
		expressions = append(expressions,
			Match{Path: Path{PathRegex, fmt.Sprintf("/(a|b)*%d(c|d){1,20}.*", i)}},
			Match{Path: Path{PathPrefix, fmt.Sprintf("/p%d", i)}})
		m := Match{Path: Path{PathPrefix, "/p"}}
		for j := range 11 {
			m.Headers = append(m.Headers, Condition{Name: fmt.Sprint("h", j), Op: OpExact, Value: fmt.Sprint("v", i>>j&1)})
		}
		m.Headers = append(m.Headers, Condition{Name: "i", Op: OpRegex, Value: fmt.Sprintf("(a|b)*%d", i)})
		conditions = append(conditions, m)
	}
	testBounded(t, expressions)
	testBounded(t, conditions)
}

func testBounded(t *testing.T, matches []Match) {
	t.Helper()
	routes := routesOf(matches...)
	s := shadows{coverage: coverage{shadowBudget}, routes: routes, byPath: map[Path][]int{}, compiled: map[string]*regexp.Regexp{}}
	for i := range routes {
		s.over(i)
		s.add(i)
	}
	if s.budget < -100_000 {
		t.Errorf("the budget was exceeded by %d", -s.budget)
	}
}
