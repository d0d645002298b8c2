package dag

import (
	"regexp"
	"strings"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
)

// rewriteTo replaces a matched prefix so that exactly one slash stands
// between the replacement and what follows it:
//
//	/foo  -> /bar    /foo/x -> /bar/x   /foox -> /barx   /foo -> /bar
//	/foo  -> /       /foo/x -> /x       /foox -> /x      /foo -> /
//	/foo/ -> /bar    /foo/x -> /bar/x
//	/     -> /bar    /x     -> /bar/x   /     -> /bar/
func rewriteTo(prefix, replacement string) *PathRewrite {
	replacement = strings.TrimRight(replacement, "/")
	switch {
	case strings.HasSuffix(prefix, "/"):
		return &PathRewrite{Prefix: replacement + "/"}
	case replacement != "":
		return &PathRewrite{Prefix: replacement}
	default:
		return &PathRewrite{Regex: "^" + regexp.QuoteMeta(prefix) + "/*(.*)$", Substitution: `/\1`}
	}
}

// twins are the routes for /foo that go with rewriting routes for /foo/.
// HTTPProxy promises both forms of a replaced prefix; a route for /foo covers
// /foo/ by itself. A twin gives way to any route that somebody wrote for /foo.
// Routes that would rewrite, by the keys of their matches, have a twin also
// where they are in error and answer by themselves.
func twins(routes []Route, wouldRewrite map[string]bool) []Route {
	written := map[string]bool{}
	for _, r := range routes {
		if r.Match.Path.Type != PathRegex {
			written[r.Match.Path.Value] = true
		}
	}
	var made []Route
	for _, r := range routes {
		path := r.Match.Path
		bare := strings.TrimSuffix(path.Value, "/")
		if path.Type != PathPrefix || bare == path.Value || bare == "" || written[bare] {
			continue
		}
		inError := r.Unresolved && r.Action.DirectResponse != nil && wouldRewrite[r.Match.Key()]
		r.Match.Path = Path{PathSegment, bare}
		if inError {
			made = append(made, r)
			continue
		}
		if r.Action.Rewrite == nil || r.Action.Rewrite.Prefix == "" {
			continue
		}
		to := strings.TrimRight(r.Action.Rewrite.Prefix, "/")
		if to == "" {
			to = "/"
		}
		r.Action.Rewrite = &PathRewrite{Prefix: to}
		made = append(made, r)
	}
	return made
}

// asksForRewrite reports whether a policy, which may be nil, means to replace
// the prefix.
func asksForRewrite(p *contourv1.PathRewritePolicy, prefix string) bool {
	if p == nil {
		return false
	}
	for _, r := range p.ReplacePrefix {
		if r.Prefix == "" || r.Prefix == prefix {
			return true
		}
	}
	return false
}
