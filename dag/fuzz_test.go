package dag

import (
	"regexp"
	"strings"
	"testing"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// FuzzConditions merges the conditions of two includes and a route, and holds
// what comes of them to what they say.
func FuzzConditions(f *testing.F) {
	for _, seed := range [][6]string{
		{"/a", "/b", "/c", "", "H", "1"}, {"/", "/", "", "/x.*|/y", "h", ""}, {"/v1.0/", "", "", "/[", "a b", "é"},
		{"//a", "/a//", "/a/../b", "/\\Q", ":path", "\x00"}, {"", "", "", "", "", ""}, {"/(", "/%2F", "?", "(?i)/a", "X", "(?s)."},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3], seed[4], seed[5], true)
	}
	f.Fuzz(func(t *testing.T, first, second, prefix, expression, name, value string, invert bool) {
		header := &contourv1.HeaderMatchCondition{Name: name, Exact: value}
		if invert {
			header = &contourv1.HeaderMatchCondition{Name: name, NotContains: value}
		}
		query := &contourv1.QueryParameterMatchCondition{Name: name, Regex: value}
		merged, err := conditions{}.include([]contourv1.MatchCondition{{Prefix: first}, {Header: header}})
		if err != nil {
			return
		}
		if merged, err = merged.include([]contourv1.MatchCondition{{Prefix: second}}); err != nil {
			return
		}
		if strings.Contains(merged.prefix, "//") {
			t.Errorf("prefixes %q and %q come to %q", first, second, merged.prefix)
		}
		if m, err := merged.route([]contourv1.MatchCondition{{QueryParameter: query}, {Prefix: prefix}}); err == nil {
			checkMerged(t, m, merged.prefix)
		}
		if m, err := merged.route([]contourv1.MatchCondition{{Regex: expression}}); err == nil && expression != "" {
			checkMerged(t, m, "/")
			whole, err := regexp.Compile(`\A(?:` + m.Path.Value + `)\z`)
			if err != nil {
				t.Fatalf("%q below %q does not compile: %v", expression, merged.prefix, err)
			}
			own := strings.TrimRight(merged.prefix, "/")
			for _, path := range []string{"/", "/a", "/y", "/x/y", "/b/c", prefix} {
				if whole.MatchString(path) && !strings.HasPrefix(path, own) {
					t.Errorf("%q below %q takes %q", expression, merged.prefix, path)
				}
			}
		}
	})
}

// checkMerged holds a match to what model.go promises.
func checkMerged(t *testing.T, m Match, below string) {
	t.Helper()
	if m.Path.Type == PathPrefix && !strings.HasPrefix(m.Path.Value, strings.TrimRight(below, "/")) {
		t.Errorf("%s is not below %q", m.Key(), below)
	}
	for _, list := range [][]Condition{m.Headers, m.Query} {
		for i := range list {
			if i > 0 && list[i-1].Compare(list[i]) >= 0 {
				t.Errorf("conditions out of order or twice: %s", m.Key())
			}
		}
	}
	for _, c := range m.Headers {
		if c.Name != asciiLower(c.Name) {
			t.Errorf("header %q is not in lower case", c.Name)
		}
	}
}

func FuzzConsent(f *testing.F) {
	for _, seed := range []string{"", "a/b", "a/*, b/c", "a/b,", "*/*", "a//b", "a/b/c", "A/b", " a / b ", "a/b\n,c/*"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		entries, err := parseConsent(value)
		if (err == nil) != (len(entries) > 0) {
			t.Fatalf("%v, %v", entries, err)
		}
		for _, e := range entries {
			if e.Namespace == "" || e.Namespace == "*" || e.Name == "" || strings.ContainsAny(e.Namespace+e.Name, ", /\n") {
				t.Errorf("%q admits %v", value, e)
			}
		}
	})
}

func FuzzIngressPath(f *testing.F) {
	for _, seed := range []string{"", "/", "/a/", "/a+", "^/", "*", "/[", "a", "/a?b", "/%zz", "//", "/\x00"} {
		f.Add(seed, "Prefix")
		f.Add(seed, "ImplementationSpecific")
	}
	f.Fuzz(func(t *testing.T, path, typ string) {
		kind := networkingv1.PathType(typ)
		m, wrong := readIngressPath(networkingv1.HTTPIngressPath{Path: path, PathType: &kind})
		switch {
		case wrong != "":
		case m.Type == PathRegex:
			if _, err := regexp.Compile(m.Value); err != nil {
				t.Error(err)
			}
		case m.Value == "" || m.Value[0] != '/' || m.Type == PathSegment && (m.Value == "/" || strings.HasSuffix(m.Value, "/")):
			t.Errorf("%q of type %q is %v", path, typ, m)
		}
	})
}
