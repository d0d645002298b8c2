package dag

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"isoline.dev/isoline/manifest"
)

// TestLookupEqualsLinearScan compares lookups with trying every host and
// route in turn, every predicate written as a regular expression.
func TestLookupEqualsLinearScan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := New(Options{}, nil)
		var changes []Change
		for _, v := range drawTable(t) {
			g.units[v.Host] = &unit{output: output{vhost: v}, table: func() *table { return newTable(v) }}
		}
		g.Update(changes)
		for range 20 {
			r := drawRequest(t)
			got, want := g.Lookup(r), scan(g.Hosts(), r)
			if got != want {
				t.Fatalf("%+v:\n got %+v\nwant %+v", r, got, want)
			}
			if v := g.Host(got.Host); v != nil && v.Lookup(r) != want {
				t.Fatalf("%+v: the virtual host alone gives %+v", r, v.Lookup(r))
			}
		}
	})
}

func drawTable(t *rapid.T) []*VirtualHost {
	var table []*VirtualHost
	for _, host := range []string{"x.test", "*.test", "*.x.test", "*"} {
		if few(t, 3) == 0 {
			continue
		}
		v := &VirtualHost{Host: host}
		for range few(t, 8) {
			r := Route{Match: drawMatch(t), Owner: manifest.Key{Name: host}}
			if !slices.ContainsFunc(v.Routes, func(o Route) bool { return o.Match.Key() == r.Match.Key() }) {
				r.Action = oneOf(t, Action{}, Action{DirectResponse: &DirectResponse{StatusCode: 200}}, Action{Redirect: &Redirect{StatusCode: 301}})
				v.Routes = append(v.Routes, r)
			}
		}
		if few(t, 3) > 0 { // else an order that the graph does not make
			slices.SortFunc(v.Routes, compareRoutes)
		}
		table = append(table, v)
	}
	return table
}

func drawMatch(t *rapid.T) Match {
	kind := oneOf(t, PathPrefix, PathSegment, PathExact, PathRegex)
	path := oneOf(t, "/", "/a", "/ab", "/a/", "/a.b", "/a/b")
	if kind == PathRegex {
		path = oneOf(t, "/a.*", "/a|/b", "/", "/a(/.*)?", "^/a$")
	}
	m := Match{Path: Path{kind, path}}
	for range few(t, 2) {
		c := drawCondition(t, OpExact, OpContains, OpRegex, OpPresent)
		c.Name = oneOf(t, "h", "g", ":method", "host")
		c.Invert = rapid.Bool().Draw(t, "invert")
		c.MissingIsEmpty = rapid.Bool().Draw(t, "missing")
		m.Headers = append(m.Headers, c)
	}
	for range few(t, 1) {
		c := drawCondition(t, OpExact, OpContains, OpRegex, OpPresent, OpPrefix, OpSuffix)
		c.Name = oneOf(t, "q", "Q")
		m.Query = append(m.Query, c)
	}
	return m
}

func drawCondition(t *rapid.T, ops ...Op) Condition {
	c := Condition{Op: oneOf(t, ops...), Value: oneOf(t, "1", "2", "Ab", "1,2", "GET", "x.test", ""), IgnoreCase: rapid.Bool().Draw(t, "case")}
	switch c.Op {
	case OpRegex:
		c.Value, c.IgnoreCase = oneOf(t, "1|2", ".*", "[aA]b", "1,.*"), false
	case OpPresent:
		c.Value, c.IgnoreCase = "", false
	}
	return c
}

func drawRequest(t *rapid.T) Request {
	r := Request{
		Method: oneOf(t, "GET", "POST"),
		Host: oneOf(t, "x.test", "X.test", "x.test:80", "y.test", "a.x.test", "a.b.x.test", "test", "x.test.", "*.test", "*",
			"", ".test", "[::1]:80", "x.test:http", "y.test:99999", "y.test:", "a..test", "u@y.test"),
		Path:    oneOf(t, "/", "/a", "/ab", "/a/", "/a.b", "/axb", "/a/b", "/b") + oneOf(t, "", "?", "?q=1", "?q=2&q=1", "?Q=ab", "?q", "?x=/a&q=1,2", "?q=1#f"),
		Headers: map[string][]string{},
	}
	for range few(t, 2) {
		name := oneOf(t, "H", "h", "G")
		r.Headers[name] = append(r.Headers[name], oneOf(t, "1", "2", "Ab", "aB", ""))
	}
	return r
}

// scan is the slow reading of Lookup's promise.
func scan(hosts []*VirtualHost, r Request) Found {
	host := regexp.MustCompile(`^(.*?)(:\d*)?$`).ReplaceAllString(strings.ToLower(r.Host), "$1")
	var best *VirtualHost
	for _, v := range hosts {
		if strings.HasPrefix(host, "*") {
			break
		}
		pattern := "^" + regexp.QuoteMeta(v.Host) + "$"
		switch {
		case v.Host == "*":
			pattern = `^[a-z:\[\]\d]+(\.[a-z:]+)*$`
		case strings.HasPrefix(v.Host, "*."):
			pattern = `^[^.*@]+` + regexp.QuoteMeta(v.Host[1:]) + "$"
		}
		if regexp.MustCompile(pattern).MatchString(host) && (best == nil || len(v.Host) > len(best.Host) || v.Host == host) {
			if best == nil || best.Host != host {
				best = v
			}
		}
	}
	if best == nil {
		return Found{Status: 404}
	}
	for i := range best.Routes {
		if scanMatch(best.Routes[i].Match, r) {
			found := Found{Matched: true, Host: best.Host, Route: &best.Routes[i]}
			if a := best.Routes[i].Action; a.Redirect != nil {
				found.Status = int(a.Redirect.StatusCode)
			} else if a.DirectResponse != nil {
				found.Status = int(a.DirectResponse.StatusCode)
			}
			return found
		}
	}
	return Found{Host: best.Host, Status: 404}
}

func scanMatch(m Match, r Request) bool {
	path := regexp.MustCompile(`[?#].*`).ReplaceAllString(r.Path, "")
	pattern := map[PathType]string{
		PathExact:   "^" + regexp.QuoteMeta(m.Path.Value) + "$",
		PathPrefix:  "^" + regexp.QuoteMeta(m.Path.Value),
		PathSegment: "^" + regexp.QuoteMeta(m.Path.Value) + "(/|$)",
		PathRegex:   "^(" + m.Path.Value + ")$",
	}[m.Path.Type]
	if !regexp.MustCompile(pattern).MatchString(path) {
		return false
	}
	for _, c := range m.Headers {
		values := append(slices.Clone(r.Headers[strings.ToUpper(c.Name)]), r.Headers[c.Name]...)
		switch c.Name {
		case ":method":
			values = []string{r.Method}
		case "host":
			if values = []string{r.Host}; r.Host == "" {
				values = nil
			}
		}
		missing := len(values) == 0
		holds := missing && regexp.MustCompile(scanPattern(c)).MatchString("")
		for _, value := range values {
			holds = holds || regexp.MustCompile(scanPattern(c)).MatchString(value)
		}
		switch {
		case c.Op == OpPresent:
			holds = !missing != c.Invert
		case missing && !c.MissingIsEmpty:
			holds = false
		default:
			holds = holds != c.Invert
		}
		if !holds {
			return false
		}
	}
	for _, c := range m.Query {
		query := regexp.MustCompile(`#.*`).ReplaceAllString(r.Path, "")
		value := regexp.MustCompile(`[?&]` + c.Name + `(=([^&]*))?(&|$)`).FindStringSubmatch(query)
		if value == nil || !regexp.MustCompile(scanPattern(c)).MatchString(value[2]) {
			return false
		}
	}
	return true
}

func scanPattern(c Condition) string {
	quoted := regexp.QuoteMeta(c.Value)
	pattern := map[Op]string{
		OpPresent: "", OpExact: "^" + quoted + "$", OpContains: quoted, OpPrefix: "^" + quoted, OpSuffix: quoted + "$",
		OpRegex: "^(" + c.Value + ")$",
	}[c.Op]
	if c.IgnoreCase {
		return "(?i)" + pattern
	}
	return pattern
}

// TestMatchKeyIsInjective: equal keys, equal matches, whatever they hold.
func TestMatchKeyIsInjective(t *testing.T) {
	text := rapid.OneOf(
		rapid.StringOf(rapid.SampledFrom([]rune(`a/ ":\`+"\n\u00e9"))),
		rapid.SampledFrom([]string{"/", "/ header:h present", `"/"`, "", "h present", `/a\x20b`, "/a b", "\xff", "\ufffd"}),
	)
	match := rapid.Custom(func(t *rapid.T) Match {
		condition := rapid.Custom(func(t *rapid.T) Condition {
			c := drawCondition(t, OpExact, OpContains, OpRegex, OpPresent, OpPrefix, OpSuffix)
			c.Name = text.Draw(t, "name")
			if c.Op != OpPresent {
				c.Value = text.Draw(t, "value")
			}
			c.Invert, c.MissingIsEmpty = rapid.Bool().Draw(t, "invert"), rapid.Bool().Draw(t, "missing")
			return c
		})
		return Match{
			Path:    Path{oneOf(t, PathPrefix, PathSegment, PathExact, PathRegex), text.Draw(t, "path")},
			Headers: rapid.SliceOfN(condition, 0, 2).Draw(t, "headers"),
			Query:   rapid.SliceOfN(condition, 0, 2).Draw(t, "query"),
		}
	})
	seen := map[string]Match{}
	rapid.Check(t, func(t *rapid.T) {
		m := match.Draw(t, "match")
		before, ok := seen[m.Key()]
		if seen[m.Key()] = m; ok && compareMatches(before, m) != 0 {
			t.Fatalf("%+v and %+v have the key %s", before, m, m.Key())
		}
		if strings.ContainsAny(m.Key(), "\n") {
			t.Fatalf("more than one line: %q", m.Key())
		}
	})
	for _, pair := range [][2]Match{
		{{Path: Path{PathPrefix, "/ header:h present"}}, {Path: Path{PathPrefix, "/"}, Headers: []Condition{{Name: "h", Op: OpPresent}}}},
		{{Path: Path{PathPrefix, `"/"`}}, {Path: Path{PathPrefix, "/"}}},
		{{Path: Path{PathPrefix, "/"}, Query: []Condition{{Name: "a present", Op: OpPresent}}}, {Path: Path{PathPrefix, "/"}, Query: []Condition{{Name: "a", Op: OpPresent}}}},
	} {
		if pair[0].Key() == pair[1].Key() {
			t.Errorf("both have the key %s", pair[0].Key())
		}
	}
}
