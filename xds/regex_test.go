package xds

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"pgregory.net/rapid"

	"isoline.dev/isoline/dag"
)

// expressions is a host whose routes match the expressions.
func expressions(exprs []string) (*hostResources, int) {
	var routes []dag.Route
	for _, expr := range exprs {
		routes = append(routes, dag.Route{
			Match:  dag.Match{Path: dag.Path{Type: dag.PathRegex, Value: expr}},
			Action: dag.Action{DirectResponse: &dag.DirectResponse{StatusCode: 200}},
		})
	}
	h, problems := translateHost(testHost("a.example.com", routes...), Options{})
	return h, len(problems)
}

func TestEveryExpressionThatIsTakenIsTakenByEnvoy(t *testing.T) {
	dir := t.TempDir()
	taken, refused := 0, 0
	rapid.Check(t, func(r *rapid.T) {
		exprs := rapid.SliceOfNDistinct(rapid.Custom(anyRegex), 50, 50, rapid.ID[string]).Draw(r, "expressions")
		h, problems := expressions(exprs)
		taken, refused = taken+len(exprs)-problems, refused+problems
		if why := envoyRefuses(t, dir, offer{hosts: []*hostResources{h}}); why != "" {
			r.Fatalf("Envoy refuses it: %s", why)
		}
	})
	t.Logf("%d expressions taken, %d refused", taken, refused)
	if taken == 0 || refused == 0 {
		t.Error("the expressions are all of one kind")
	}
}

// Some scripts with more than one word in their names are refused by Go alone.
func TestEveryUnicodeClassThatIsTakenIsKnownToEnvoy(t *testing.T) {
	for class, good := range map[string]bool{"L": true, "Nd": true, "Greek": true, "^Han": true, "Any": true,
		"Cn": false, "LC": false, "Letter": false, "greek": false, "GREEK": false, "ASCII": false, "Assigned": false} {
		if why := checkRegex(`/\p{` + class + `}`); (why == "") != good {
			t.Errorf("class %s: got %q", class, why)
		}
	}
	names := slices.Concat(slices.Sorted(maps.Keys(unicode.Categories)), slices.Sorted(maps.Keys(unicode.Scripts)))
	var exprs []string
	for _, name := range names {
		exprs = append(exprs, `/\p{`+name+`}`, `/[\P{`+name+`}x]`, `/\p{^`+name+`}`)
	}
	h, problems := expressions(exprs)
	if problems > len(exprs)/3 {
		t.Errorf("%d of %d are problems", problems, len(exprs))
	}
	if why := envoyRefuses(t, t.TempDir(), offer{hosts: []*hostResources{h}}); why != "" {
		t.Error(why)
	}
}

func TestTheLargestExpressionsThatAreTakenFitIntoEnvoy(t *testing.T) {
	var exprs []string
	for _, piece := range []string{"a", ".", `\pL`, `[^a]`, `(?i:k)`, `\p{Greek}`, `[[:alpha:]]`, "(a|b)", `\xE9`, `[\xE0-\xFF]`, `(?i:[\xE0-\xFF])`, `(?i:\xE9)`} {
		// The largest of the repetitions, nested where a thousand are taken.
		largest := ""
		for _, outer := range []string{"", "{2}", "{5}", "{10}", "{20}", "{50}"} {
			for n := 1; n <= 1000; n++ {
				if n > 20 && n%20 != 0 {
					continue
				}
				expr := "/(?:(?:" + piece + "){" + strconv.Itoa(n) + "})" + outer
				if checkRegex(expr) == "" {
					largest = expr
				}
			}
		}
		exprs = append(exprs, largest, largest+largest[1:])
	}
	long := "/" + strings.Repeat("a", maxProgram/4-8)
	if why := checkRegex(long); why != "" {
		t.Fatal(why)
	}
	h, _ := expressions(append(exprs, long))
	if len(h.routes.VirtualHosts[0].Routes) < 13 {
		t.Fatalf("only %d routes are left", len(h.routes.VirtualHosts[0].Routes))
	}
	if why := envoyRefuses(t, t.TempDir(), offer{hosts: []*hostResources{h}}); why != "" {
		t.Errorf("%.300s", why)
	}
}

func TestSubstitutionsAreHeldAgainstTheGroups(t *testing.T) {
	for _, c := range []struct {
		expr, substitution string
		good               bool
	}{
		{"^/a(.*)$", `/b\1`, true},
		{"^/a(.*)$", `\0`, true},
		{"^/a(.*)$", `\\1`, true},
		{"^/a(.*)$", `\2`, false},
		{"^/a$", `\1`, false},
		{"^/a(.*)$", `\`, false},
		{"^/a(.*)$", `\x`, false},
		{"^/a(.*)$", "a\nb", false},
		{"^/(?P<n>.)(?:.)(.)$", `\2`, true},
		{"^/(?P<n>.)(?:.)(.)$", `\3`, false},
	} {
		if why := checkSubstitution(c.expr, c.substitution); (why == "") != c.good {
			t.Errorf("%q with %q: got %q", c.expr, c.substitution, why)
		}
	}
}

// What is left open would swallow what is put around the expression.
func TestAnOpenQuoteIsNoExpression(t *testing.T) {
	for expr, good := range map[string]bool{`/\Qa+b\E/c`: true, `/\Qa+b`: false, `/\Q`: false, `/\\Qa`: true} {
		if why := checkRegex(expr); (why == "") != good {
			t.Errorf("%s: got %q", expr, why)
		}
	}
}
