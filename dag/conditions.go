package dag

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
)

// conditions are those of the includes above a route, merged: a string prefix
// and all header and query conditions, repeats kept.
type conditions struct {
	prefix  string // "" where no include has one
	headers []Condition
	query   []Condition
}

// conditionError says what is wrong with conditions, and the status reason
// that goes with it.
type conditionError struct {
	reason string
	text   string
}

const (
	pathNotValid   = "PathMatchConditionsNotValid"
	headerNotValid = "HeaderMatchConditionsNotValid"
	queryNotValid  = "QueryParameterMatchConditionsNotValid"
)

const (
	regexNotValid     = "invalid regular expression specified for 'regex' condition"
	regexLeavesFolder = "below an include whose prefix ends in /, all that a 'regex' condition matches must start with /"
)

// include merges an include's own conditions below those that lead to it.
func (c conditions) include(block []contourv1.MatchCondition) (conditions, *conditionError) {
	for _, m := range block {
		if m.Exact != "" {
			return c, &conditionError{pathNotValid, "exact conditions are not allowed in includes block"}
		}
		if m.Regex != "" {
			return c, &conditionError{pathNotValid, "regex conditions are not allowed in includes block"}
		}
	}
	own, path, err := readBlock(block)
	if err != nil {
		return c, err
	}
	if err := contradiction(own); err != nil {
		return c, err
	}
	if path.Value != "" {
		c.prefix = joinPaths(c.prefix, path.Value)
	}
	c.headers = slices.Concat(c.headers, own.headers)
	c.query = slices.Concat(c.query, own.query)
	return c, nil
}

// route is the match of a route below the includes.
func (c conditions) route(block []contourv1.MatchCondition) (Match, *conditionError) {
	own, path, err := readBlock(block)
	if err != nil {
		return Match{}, err
	}
	c.headers = slices.Concat(c.headers, own.headers)
	c.query = slices.Concat(c.query, own.query)
	if err := contradiction(c); err != nil {
		return Match{}, err
	}
	m := c.match()
	switch path.Type {
	case PathRegex:
		if leavesFolder(c.prefix, path.Value) {
			return Match{}, &conditionError{pathNotValid, regexLeavesFolder}
		}
		m.Path = Path{PathRegex, joinRegex(c.prefix, path.Value)}
		if !compiles(m.Path.Value) {
			return Match{}, invalidRegex(pathNotValid, m.Path.Value)
		}
	case PathExact, PathPrefix:
		m.Path = Path{path.Type, joinPaths(c.prefix, path.Value)}
	}
	return m, nil
}

// match is what the conditions match by themselves.
func (c conditions) match() Match {
	prefix := c.prefix
	if prefix == "" {
		prefix = "/"
	}
	return Match{
		Path:    Path{PathPrefix, prefix},
		Headers: normal(c.headers),
		Query:   normal(c.query),
	}
}

// normal sorts conditions and drops repeats, so that equal matches are equal
// values.
func normal(list []Condition) []Condition {
	if len(list) == 0 {
		return nil
	}
	list = slices.Clone(list)
	slices.SortFunc(list, Condition.Compare)
	return slices.Compact(list)
}

// joinPaths puts one path behind another; slashes that meet become one.
func joinPaths(prefix, path string) string {
	joined := prefix + path
	for strings.Contains(joined, "//") {
		joined = strings.ReplaceAll(joined, "//", "/")
	}
	return joined
}

// joinRegex puts an expression behind a prefix that matches itself alone. An
// alternation is kept inside the prefix.
func joinRegex(prefix, expression string) string {
	prefix = strings.TrimRight(prefix, "/")
	if prefix == "" {
		return expression
	}
	if strings.Contains(expression, "|") {
		expression = "(?:" + expression + ")"
	}
	return regexp.QuoteMeta(prefix) + expression
}

// compiles reports whether an expression is one, also with something behind
// it: a \Q that is left open would swallow that.
func compiles(expression string) bool {
	_, alone := regexp.Compile(expression)
	_, inside := regexp.Compile("(?:" + expression + ")")
	return alone == nil && inside == nil
}

// invalidRegex says in Contour's words that an expression does not compile, and
// then why.
func invalidRegex(reason, expression string) *conditionError {
	return &conditionError{reason, regexNotValid + ": " + regexFault(expression)}
}

// regexFault is why an expression does not compile.
func regexFault(expression string) string {
	var e *syntax.Error
	if _, err := regexp.Compile(expression); errors.As(err, &e) {
		return fmt.Sprintf("%s in %q (RE2 syntax)", e.Code, e.Expr)
	}
	return `a \Q is left open`
}

// leavesFolder reports whether an expression behind a prefix that ends in a
// slash may match without it: with /team/ before it, /?s.* takes /teams, which
// the include did not hand on. The expression is known to compile.
func leavesFolder(prefix, expression string) bool {
	if strings.TrimRight(prefix, "/") == "" || !strings.HasSuffix(prefix, "/") {
		return false
	}
	start, _ := regexp.MustCompile(expression).LiteralPrefix()
	return !strings.HasPrefix(start, "/")
}

// readBlock reads one list of conditions. The path's Type is empty where the
// list has none.
func readBlock(block []contourv1.MatchCondition) (conditions, Path, *conditionError) {
	var c conditions
	path, err := readPath(block)
	if err != nil {
		return c, path, err
	}
	for _, m := range block {
		if m.Header != nil {
			h, err := readHeader(*m.Header)
			if err != nil {
				return c, path, err
			}
			c.headers = append(c.headers, h)
		}
		if m.QueryParameter != nil {
			q, err := readQuery(*m.QueryParameter)
			if err != nil {
				return c, path, err
			}
			c.query = append(c.query, q)
		}
	}
	return c, path, nil
}

func readPath(block []contourv1.MatchCondition) (Path, *conditionError) {
	var found []Path
	for _, m := range block {
		for _, p := range []Path{{PathPrefix, m.Prefix}, {PathExact, m.Exact}, {PathRegex, m.Regex}} {
			if p.Value == "" {
				continue
			}
			if p.Value[0] != '/' {
				return Path{}, &conditionError{pathNotValid,
					string(p.Type) + " conditions must start with /, " + p.Value + " was supplied"}
			}
			if p.Type != PathRegex && neverAPath(p.Value) {
				return Path{}, &conditionError{pathNotValid,
					string(p.Type) + " conditions must be visible ASCII without ? or #, " + strconv.Quote(p.Value) + " was supplied"}
			}
			found = append(found, p)
		}
	}
	switch {
	case len(found) > 1:
		return Path{}, &conditionError{pathNotValid,
			"more than one prefix, exact or regex is not allowed in a condition block"}
	case len(found) == 0:
		return Path{}, nil
	}
	if found[0].Type == PathRegex {
		// Alone, before anything is put round it: an unbalanced parenthesis
		// must not get out of its include.
		if !compiles(found[0].Value) {
			return Path{}, invalidRegex(pathNotValid, found[0].Value)
		}
	}
	return found[0], nil
}

// neverAPath reports whether no request's path, which is compared without its
// query, can hold s.
func neverAPath(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '?' || r == '#' })
}

// operator is one way of writing a condition and what it comes to.
type operator struct {
	set       bool
	condition Condition
}

// only is the one operator that is set.
func only(operators []operator, reason, none string) (Condition, *conditionError) {
	var found *Condition
	for i, o := range operators {
		if !o.set {
			continue
		}
		if found != nil {
			return Condition{}, &conditionError{reason,
				"cannot specify more than one condition in the same match condition branch"}
		}
		found = &operators[i].condition
	}
	if found == nil {
		return Condition{}, &conditionError{reason, none}
	}
	if found.Op == OpRegex {
		if !compiles(found.Value) {
			return Condition{}, invalidRegex(reason, found.Value)
		}
		found.IgnoreCase = false
	}
	if found.Op == OpPresent {
		found.IgnoreCase = false
	}
	if found.IgnoreCase {
		found.Value = asciiLower(found.Value)
	}
	return *found, nil
}

func readHeader(h contourv1.HeaderMatchCondition) (Condition, *conditionError) {
	name := asciiLower(h.Name)
	if !validHeaderName(name) {
		return Condition{}, &conditionError{headerNotValid, "invalid header name \"" + h.Name + "\""}
	}
	of := func(op Op, value string, invert bool) Condition {
		return Condition{
			Name: name, Op: op, Value: value, IgnoreCase: h.IgnoreCase, Invert: invert,
			MissingIsEmpty: invert && op != OpPresent && h.TreatMissingAsEmpty,
		}
	}
	return only([]operator{
		{h.Present, of(OpPresent, "", false)},
		{h.NotPresent, of(OpPresent, "", true)},
		{h.Contains != "", of(OpContains, h.Contains, false)},
		{h.NotContains != "", of(OpContains, h.NotContains, true)},
		{h.Exact != "", of(OpExact, h.Exact, false)},
		{h.NotExact != "", of(OpExact, h.NotExact, true)},
		{h.Regex != "", of(OpRegex, h.Regex, false)},
	}, headerNotValid, "must specify at least one header condition")
}

func readQuery(q contourv1.QueryParameterMatchCondition) (Condition, *conditionError) {
	if q.Name == "" {
		return Condition{}, &conditionError{queryNotValid, "query parameter name must be specified"}
	}
	of := func(op Op, value string) Condition {
		return Condition{Name: q.Name, Op: op, Value: value, IgnoreCase: q.IgnoreCase}
	}
	return only([]operator{
		{q.Exact != "", of(OpExact, q.Exact)},
		{q.Prefix != "", of(OpPrefix, q.Prefix)},
		{q.Suffix != "", of(OpSuffix, q.Suffix)},
		{q.Regex != "", of(OpRegex, q.Regex)},
		{q.Contains != "", of(OpContains, q.Contains)},
		{q.Present, of(OpPresent, "")},
	}, queryNotValid, "must specify at least one query parameter condition")
}

// contradiction is what keeps merged conditions from ever holding, or makes
// one of them pointless.
func contradiction(c conditions) *conditionError {
	exact := map[string]bool{}
	for i, h := range c.headers {
		if h.Op == OpExact && !h.Invert {
			if exact[h.Name] {
				return &conditionError{headerNotValid,
					"cannot specify duplicate header 'exact match' conditions in the same route"}
			}
			exact[h.Name] = true
		}
		for _, o := range c.headers[:i] {
			if o.Name == h.Name && o.Op == h.Op && o.Value == h.Value && o.Invert != h.Invert {
				return &conditionError{headerNotValid, "cannot specify contradictory '" + string(h.Op) + "' and 'not" +
					string(h.Op) + "' conditions for the same route and header"}
			}
		}
	}
	clear(exact)
	for _, q := range c.query {
		if q.Op == OpExact {
			if exact[asciiLower(q.Name)] {
				return &conditionError{queryNotValid,
					"cannot specify duplicate query parameter 'exact match' conditions in the same route"}
			}
			exact[asciiLower(q.Name)] = true
		}
	}
	return nil
}

// validHeaderName takes HTTP tokens, and the names of pseudo headers.
func validHeaderName(name string) bool {
	name = strings.TrimPrefix(name, ":")
	if name == "" {
		return false
	}
	for _, r := range name {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9', strings.ContainsRune("!#$%&'*+-.^_`|~", r):
		default:
			return false
		}
	}
	return true
}

// visibleASCII reports whether s has neither spaces nor control characters nor
// anything beyond ASCII.
func visibleASCII(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// visiblePath reports whether s can be a path, or the beginning of one, with
// its query.
func visiblePath(s string) bool { return strings.HasPrefix(s, "/") && visibleASCII(s) }
