package render

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"sigs.k8s.io/kustomize/kyaml/filesys"

	"isoline.dev/isoline/problem"
)

const aService = "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n"

// addressed are kustomizations with the address in every field that kustomize
// reads something through. It is in line 2 or later, as %s.
func addressed() map[string]string {
	return map[string]string{
		"resources":                   "resources:\n- %s/a.yaml\n",
		"resources in other case":     "Resources:\n- %s/a.yaml\n",
		"resources, a repository":     "resources:\n- %s/org/repo//dir?ref=main\n",
		"resources, forced git":       "resources:\n- git::%s/org/repo\n",
		"bases":                       "bases:\n- %s/base\n",
		"components":                  "components:\n- %s/org/repo\n",
		"crds":                        "crds:\n- %s/crd.json\n",
		"configurations":              "configurations:\n- %s/config.yaml\n",
		"openapi":                     "openapi:\n  path: %s/schema.json\n",
		"patches":                     "patches:\n- path: %s/patch.yaml\n",
		"patchesJson6902":             "patchesJson6902:\n- path: %s/patch.yaml\n  target: {version: v1, kind: Service, name: a}\n",
		"patchesStrategicMerge":       "patchesStrategicMerge:\n- %s/patch.yaml\n",
		"replacements":                "replacements:\n- path: %s/replacement.yaml\n",
		"configMapGenerator files":    "configMapGenerator:\n- name: c\n  files: [\"k=%s/secret\"]\n",
		"configMapGenerator key":      "configMapGenerator:\n- name: c\n  files: [\"%s/secret\"]\n",
		"configMapGenerator envs":     "configMapGenerator:\n- name: c\n  envs: [\"%s/env\"]\n",
		"configMapGenerator env":      "configMapGenerator:\n- name: c\n  env: \"%s/env\"\n",
		"secretGenerator files":       "secretGenerator:\n- name: c\n  files: [\"k=%s/secret\"]\n",
		"secretGenerator envs":        "secretGenerator:\n- name: c\n  envs: [\"%s/env\"]\n",
		"generators":                  "generators:\n- %s/generator.yaml\n",
		"generators, inline":          "generators:\n- |\n  {apiVersion: builtin, kind: ConfigMapGenerator, metadata: {name: g}, files: [\"k=%s/secret\"]}\n",
		"transformers":                "transformers:\n- %s/transformer.yaml\n",
		"transformers, inline":        "transformers:\n- |\n  {apiVersion: builtin, kind: PatchTransformer, metadata: {name: t}, path: \"%s/patch.yaml\"}\n",
		"validators":                  "validators:\n- %s/validator.yaml\n",
		"helmCharts":                  "helmCharts:\n- name: c\n  repo: %s/charts\n  version: 1.0.0\n",
		"helmChartInflationGenerator": "helmChartInflationGenerator:\n- chartName: c\n  chartRepoUrl: %s/charts\n",
	}
}

func TestNoFieldOfAKustomizationReachesTheNetwork(t *testing.T) {
	var hits atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		hits.Add(1)
		fmt.Fprint(w, aService)
	}))
	defer server.Close()
	for name, template := range addressed() {
		t.Run(name, func(t *testing.T) {
			kustomization := fmt.Sprintf(template, server.URL)
			result := rendered(t, Source{Files: text(map[string]string{
				"kustomization.yaml": "# about\n" + kustomization, "a.yaml": aService,
			})})
			if n := hits.Load(); n != 0 {
				t.Errorf("%d requests arrived", n)
			}
			if problem.Errors(result.Problems) == 0 || len(result.Objects) != 0 {
				t.Fatalf("objects %v, problems %v", result.Objects, result.Problems)
			}
			for _, p := range result.Problems {
				if p.Origin.Path != "kustomization.yaml" || p.Origin.Line < 2 {
					t.Errorf("the problem is not at its line: %s", p)
				}
				if p.Reason == ReasonKustomizeFailed {
					t.Errorf("kustomize was run on it: %s", p)
				}
			}
		})
	}
}

// The same inputs are attacks: kustomize alone, without our walls, fetches.
func TestKustomizeAloneWouldReachTheNetwork(t *testing.T) {
	for _, name := range []string{"resources", "resources in other case", "crds", "configurations", "patches",
		"patchesStrategicMerge", "replacements", "configMapGenerator files", "secretGenerator envs", "transformers, inline"} {
		var hits atomic.Int64
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			hits.Add(1)
			http.Error(w, "no", http.StatusTeapot)
		}))
		fsys := filesys.MakeFsInMemory()
		err := fsys.WriteFile("/tree/kustomization.yaml", []byte(fmt.Sprintf(addressed()[name], server.URL)))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = run(fsys, &kustomization{})
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		server.Close()
		if hits.Load() == 0 {
			t.Errorf("%s: no request arrived, so that the other test shows nothing", name)
		}
	}
}

func TestPathsThatAreNotInTheTreeAreRefused(t *testing.T) {
	for _, ref := range []string{
		"../../etc/passwd", "/etc/passwd", "../outside.yaml", "sub/../../outside.yaml", "missing.yaml", "", ".", "..",
		"git@example.com:org/repo.git", "ssh://git@example.com/org/repo", "file:///etc", "HTTP://example.com/a.yaml",
		"github.com/org/repo", "user@host/org/repo", "https:/example.com/a.yaml", "a.yaml?ref=x", "a.yaml//b", "link.yaml",
	} {
		for _, field := range []string{"resources:\n- %q\n", "patches:\n- path: %q\n  target: {kind: Service}\nresources: [ok.yaml]\n",
			"configMapGenerator:\n- name: c\n  files: [%q]\n"} {
			files := text(map[string]string{
				"root/kustomization.yaml": fmt.Sprintf(field, ref), "root/ok.yaml": aService,
				"outside.yaml": aService, "root/sub/a.yaml": aService,
				"root/github.com/org/repo/kustomization.yaml": "resources: [a.yaml]\n", "root/github.com/org/repo/a.yaml": aService,
			})
			files["root/link.yaml"] = File{Content: []byte("/etc/passwd"), Symlink: true}
			result := rendered(t, Source{Root: "root", Files: files})
			if problem.Errors(result.Problems) == 0 || len(result.Objects)+len(result.Others) != 0 {
				t.Errorf("%q in %q: objects %v, problems %v", ref, field, result.Objects, result.Problems)
			}
			if slices.Contains(reasons(result), ReasonKustomizeFailed) && !(ref == "" && strings.HasPrefix(field, "patches")) {
				t.Errorf("%q in %q: kustomize was run: %v", ref, field, result.Problems)
			}
		}
	}
}

func TestASymbolicLinkIsInert(t *testing.T) {
	files := text(map[string]string{"a.yaml": aService})
	files["b.yaml"] = File{Content: []byte("a.yaml"), Symlink: true}
	result := rendered(t, Source{Files: files})
	if len(result.Objects) != 1 || len(result.Problems) != 1 || result.Problems[0].Reason != ReasonSymlink {
		t.Errorf("objects %v, problems %v", result.Objects, result.Problems)
	}
}

// bomb is a manifest whose aliases stand for 10^depth strings.
func bomb(depth int) string {
	var b strings.Builder
	b.WriteString(aService + "data:\n  a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < depth; i++ {
		fmt.Fprintf(&b, "  a%d: &a%d [%s*a%d]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d,", i-1), 9), i-1)
	}
	return b.String()
}

func TestAliasBombsAreRefusedBeforeTheyGrow(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"plain":         {"a.yaml": bomb(9)},
		"resource":      {"kustomization.yaml": "resources: [a.yaml]", "a.yaml": bomb(9)},
		"kustomization": {"kustomization.yaml": bomb(9)},
		"patch":         {"kustomization.yaml": "resources: [ok.yaml]\npatches: [{path: a.yaml}]", "ok.yaml": aService, "a.yaml": bomb(9)},
		"inline patch": {"kustomization.yaml": "resources: [ok.yaml]\npatches:\n- patch: |\n    " + strings.ReplaceAll(bomb(9), "\n", "\n    "),
			"ok.yaml": aService},
	} {
		t.Run(name, func(t *testing.T) {
			// Expanded, the bomb has 10^9 strings: with this memory it would be killed.
			result := rendered(t, Source{Files: text(files), Limits: Limits{Memory: 256 << 20}})
			if got := reasons(result); len(got) == 0 || slices.ContainsFunc(got, func(r string) bool { return r != ReasonUnsupportedYAML }) {
				t.Errorf("problems %v, want only %s", result.Problems, ReasonUnsupportedYAML)
			}
			for _, p := range result.Problems {
				if p.Origin.Line == 0 {
					t.Errorf("no line: %s", p)
				}
			}
		})
	}
}

// doubling has two overlays at each level over the one below: 2^levels objects.
func doubling(levels int, resources string) map[string]string {
	files := map[string]string{"d0/kustomization.yaml": "namePrefix: z-\n" + resources, "d0/a.yaml": aService}
	for i := 1; i <= levels; i++ {
		for _, side := range []string{"a", "b"} {
			below := fmt.Sprintf("../../d%d/a\n- ../../d%d/b", i-1, i-1)
			if i == 1 {
				below = "../../d0"
			}
			files[fmt.Sprintf("d%d/%s/kustomization.yaml", i, side)] = fmt.Sprintf("namePrefix: %s%d-\nresources:\n- %s\n", side, i, below)
		}
	}
	files["kustomization.yaml"] = fmt.Sprintf("resources: [d%d/a, d%d/b]\n", levels, levels)
	return files
}

func TestDoublingBombsAreRefusedBeforeTheyAreBuilt(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"objects":                  {doubling(4, "resources: [a.yaml]"), []string{ReasonTooManyObjects}},
		"many":                     {doubling(13, "resources: [a.yaml]"), []string{ReasonTooManyKustomizations}},
		"more than can be counted": {doubling(40, "resources: [a.yaml]"), []string{ReasonTooManyKustomizations}},
		"without any object":       {doubling(40, "commonLabels: {a: b}"), []string{ReasonTooManyKustomizations}},
	} {
		t.Run(name, func(t *testing.T) {
			result := rendered(t, Source{Files: text(c.files), Limits: Limits{Objects: 12}})
			if got := reasons(result); !slices.Equal(got, c.want) {
				t.Errorf("problems %v, want %v", result.Problems, c.want)
			}
		})
	}
}

func TestATreeThatTakesTooLongIsEnded(t *testing.T) {
	var b strings.Builder
	for i := range 900 {
		fmt.Fprintf(&b, "---\napiVersion: v1\nkind: Service\nmetadata: {name: s%d}\n", i)
	}
	result := rendered(t, Source{
		Files:  text(map[string]string{"kustomization.yaml": "resources: [a.yaml]\nnamePrefix: a-\n", "a.yaml": b.String()}),
		Limits: Limits{Deadline: 1},
	})
	if got := reasons(result); !slices.Equal(got, []string{ReasonDeadlineExceeded}) {
		t.Errorf("problems %v", result.Problems)
	}
}

func TestATreeThatTakesTooMuchMemoryIsEnded(t *testing.T) {
	big := "a: [" + strings.Repeat("b,", 4<<20) + "b]\n"
	result := rendered(t, Source{Files: text(map[string]string{"a.yaml": big}), Limits: Limits{Memory: 64 << 20}})
	if got := reasons(result); !slices.Equal(got, []string{ReasonMemoryExceeded}) {
		t.Errorf("problems %v", result.Problems)
	}
}

func TestLimitsOfATreeAreCheckedBeforeAnythingIsRead(t *testing.T) {
	files := text(map[string]string{"r/a.yaml": aService, "r/b.yaml": aService, "elsewhere": "x"})
	for want, limits := range map[string]Limits{
		ReasonTooManyFiles:    {Files: 1},
		ReasonTooManyBytes:    {Bytes: 60},
		ReasonTooManyObjects:  {Objects: 1},
		ReasonDuplicateObject: {Files: 2, Bytes: int64(2 * len(aService)), Objects: 2},
	} {
		if got := reasons(rendered(t, Source{Root: "r", Files: files, Limits: limits})); !slices.Equal(got, []string{want}) {
			t.Errorf("limits %+v: %v, want %s", limits, got, want)
		}
	}
}

func TestOriginsCannotBeForged(t *testing.T) {
	result := rendered(t, Source{Files: text(map[string]string{
		"kustomization.yaml": "resources: [a.yaml, b.yaml]\n" +
			"commonAnnotations: {internal.isoline.dev/origin: \"0\"}\n" +
			"patches:\n- target: {kind: Service}\n  patch: |-\n    - {op: add, path: /metadata/annotations/internal.isoline.dev~1origin-x, value: \"0\"}\n",
		"a.yaml": aService,
		"b.yaml": strings.Replace(aService, "name: a", "name: b", 1),
	})})
	if len(result.Objects) != 2 || len(result.Problems) != 0 {
		t.Fatalf("objects %v, problems %v", result.Objects, result.Problems)
	}
	for _, o := range result.Objects {
		if want := o.Key.Name + ".yaml"; o.Origin.Path != want || len(o.Value.GetAnnotations()) != 0 {
			t.Errorf("%s comes from %s with %v, want %s", o.Key, o.Origin, o.Value.GetAnnotations(), want)
		}
	}
}

func TestErrorsHoldNoSecrets(t *testing.T) {
	const secret = "hunter2hunter2"
	for name, files := range map[string]map[string]string{
		"literal":      {"kustomization.yaml": "secretGenerator:\n- name: s\n  literals: [" + secret + "]\n"},
		"env line":     {"kustomization.yaml": "secretGenerator:\n- name: s\n  envs: [e]\n", "e": "a=\xff" + secret},
		"twice":        {"kustomization.yaml": "secretGenerator:\n- name: s\n  literals: [\"a=" + secret + "\", \"a=" + secret + "\"]\n"},
		"bad patch":    {"kustomization.yaml": "resources: [a.yaml]\npatches:\n- patch: |\n    {stringData: {a: " + secret + "}}\n", "a.yaml": aService},
		"no target":    {"kustomization.yaml": "resources: [a.yaml]\npatches:\n- patch: |\n    {apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {a: " + secret + "}}\n", "a.yaml": aService},
		"wrong type":   {"a.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: " + secret + "}\n"},
		"wrong syntax": {"a.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: \"" + secret + "}\n"},
		"json patch":   {"kustomization.yaml": "resources: [a.yaml]\npatches:\n- target: {kind: Service}\n  patch: |\n    [{op: replace, path: /a/b/c, value: " + secret + "}]\n", "a.yaml": aService},
	} {
		result := rendered(t, Source{Files: text(files)})
		if problem.Errors(result.Problems) == 0 {
			t.Errorf("%s: no error: the case shows nothing", name)
		}
		for _, p := range result.Problems {
			t.Log(name, p)
			if strings.Contains(p.String(), secret) {
				t.Errorf("%s: %s", name, p)
			}
		}
	}
}

func TestTheNumberOfObjectsIsKnownBeforeABuild(t *testing.T) {
	req := childRequest{Objects: 15}
	for name, content := range doubling(4, "resources: [a.yaml]\nconfigMapGenerator: [{name: c, literals: [a=b]}]") {
		req.Files = append(req.Files, childFile{Path: name, Content: []byte(content)})
	}
	for limit, want := range map[int]bool{31: false, 32: true} {
		tree := newTree(req)
		tree.objects = limit
		s := &scan{tree: tree, known: map[string]*kustomization{}, out: newLayout(tree)}
		if top := s.prescan(); (top != nil) != want {
			t.Errorf("with %d objects allowed: %v, %v", limit, top, tree.found.problems)
		}
	}
}

func TestACappedBufferKeepsNoMoreThanItsLimit(t *testing.T) {
	exceeded := 0
	b := &cappedBuffer{limit: 10, exceeded: func() { exceeded++ }}
	n, err := io.Copy(b, io.LimitReader(strings.NewReader(strings.Repeat("x", 1<<20)), 1<<20))
	if n != 1<<20 || err != nil || len(b.kept) != 10 || exceeded != 1 {
		t.Errorf("took %d, kept %d, told %d times, %v", n, len(b.kept), exceeded, err)
	}
}
