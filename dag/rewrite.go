package dag

import (
	"regexp"
	"strings"
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
func twins(routes []Route) []Route {
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
		if path.Type != PathPrefix || bare == path.Value || bare == "" || written[bare] ||
			r.Action.Rewrite == nil || r.Action.Rewrite.Prefix == "" {
			continue
		}
		r.Match.Path = Path{PathSegment, bare}
		to := strings.TrimRight(r.Action.Rewrite.Prefix, "/")
		if to == "" {
			to = "/"
		}
		r.Action.Rewrite = &PathRewrite{Prefix: to}
		made = append(made, r)
	}
	return made
}
