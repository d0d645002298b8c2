package render

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"
)

// words are scalars whose meaning is easily mistaken.
func words() []string {
	return []string{"yes", "No", "on", "OFF", "y", "N", "true", "False", "null", "~", "Null", "text", "a b", "1", "-1", "+1",
		"010", "0o10", "0x1F", "0b11", "1_000", "1__0", "_1", "1.5", "1.", ".5", "1e3", "1E-3", "1.5e300", "9007199254740993",
		"18446744073709551615", "18446744073709551616", "-9223372036854775808", "2001-01-01", "2001-01-01T00:00:00Z", "12:30:45",
		"1.2.3", "10.0.0.1", "1-2", "-", "...", "+", ".", "e", "0x", "0xg", "dead", "1e", "-.5", "0", "00", "08", "0.0", "-0",
		"nan", "inf", "<", "=", "a#b", "http://example.com", "/", "5s", "1Mi", "abcdef", "1p5", "0x1p-2", "é", "☺"}
}

// A document means the same to us as to sigs.k8s.io/yaml, which kubectl uses.
func TestADocumentMeansWhatKubectlTakesItFor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := block(t, 0)
		want, err := yaml.YAMLToJSONStrict([]byte(text))
		var found findings
		docs := readDocuments("a.yaml", 0, []byte(text), 1, &found)
		if err != nil {
			if len(found.problems) == 0 {
				t.Fatalf("no problem, but kubectl says %v of\n%s", err, text)
			}
			return
		}
		if len(docs) != 1 {
			t.Fatalf("documents %v, problems %v of\n%s", docs, found.problems, text)
		}
		var a, b any
		got := appendJSON(nil, docs[0].root)
		if err := json.Unmarshal(want, &a); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(got, &b); err != nil {
			t.Fatalf("%v in %s", err, got)
		}
		if diff := cmp.Diff(a, b); diff != "" {
			t.Fatalf("(-kubectl +ours)\n%s\nof\n%s", diff, text)
		}
	})
}

// block is a random mapping as block YAML.
func block(t *rapid.T, depth int) string {
	var b strings.Builder
	indent := strings.Repeat("  ", depth)
	keys := rapid.SliceOfNDistinct(rapid.SampledFrom(words()), 1, 4, rapid.ID[string]).Draw(t, "keys")
	seen := map[string]bool{}
	for _, key := range keys {
		// 010 and 08 are two keys for kubectl, and one in its JSON: we refuse them.
		j, err := yaml.YAMLToJSON([]byte("? " + key + "\n: x\n"))
		if err == nil && seen[string(j)] {
			continue
		}
		seen[string(j)] = true
		// These are no keys, or become other numbers than they are.
		if slices.Contains([]string{"null", "~", "Null", "-", "...", "=", "18446744073709551615", "18446744073709551616", "1.5e300"}, key) {
			key = "k" + key
		}
		word := rapid.SampledFrom(words()).Draw(t, "word")
		switch rapid.IntRange(0, 6).Draw(t, "shape") {
		case 0:
			fmt.Fprintf(&b, "%s%s: %q\n", indent, key, word)
		case 1:
			fmt.Fprintf(&b, "%s%s: '%s'\n", indent, key, word)
		case 2:
			fmt.Fprintf(&b, "%s%s: |\n%s  %s\n", indent, key, indent, word)
		case 3:
			fmt.Fprintf(&b, "%s%s:\n%s- %s\n%s- [%s, %q]\n", indent, key, indent, word, indent, word, word)
		case 4:
			if depth < 3 {
				fmt.Fprintf(&b, "%s%s:\n%s", indent, key, block(t, depth+1))
				continue
			}
			fallthrough
		default:
			fmt.Fprintf(&b, "%s%s: %s\n", indent, key, word)
		}
	}
	return b.String()
}

// Whatever a kustomization does to names and namespaces, every object comes
// from the line where its document begins.
func TestOriginsSurviveTheBuild(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := map[string]place{}
		var req childRequest
		var names []string
		for f := range rapid.IntRange(1, 3).Draw(t, "files") {
			file := fmt.Sprintf("base/f%d.yaml", f)
			names = append(names, fmt.Sprintf("f%d.yaml", f))
			var b strings.Builder
			line := 1
			for d := range rapid.IntRange(1, 4).Draw(t, "documents") {
				if d > 0 {
					b.WriteString("---\n")
					line++
				}
				filler := rapid.SliceOfN(rapid.SampledFrom([]string{"# comment\n", "\n", "---\n", "# a: b\n"}), 0, 3).Draw(t, "filler")
				b.WriteString(strings.Join(filler, ""))
				line += len(filler)
				name := fmt.Sprintf("o%d-%d", f, d)
				want[name] = place{file: file, line: line}
				fmt.Fprintf(&b, "apiVersion: v1\nkind: Service\nmetadata:\n  name: %s\n", name)
				line += 4
			}
			req.Files = append(req.Files, childFile{Path: file, Content: []byte(b.String())})
		}
		prefix := rapid.SampledFrom([]string{"", "namePrefix: p-\n", "nameSuffix: -s\nnamespace: ns\n", "commonAnnotations: {a: b}\n"}).Draw(t, "change")
		req.Files = append(req.Files,
			childFile{Path: "base/kustomization.yaml", Content: []byte("resources: [" + strings.Join(names, ", ") + "]\n")},
			childFile{Path: "over/kustomization.yaml", Content: []byte(prefix + "resources: [../base]\n")})
		req.Build, req.Objects = "over", 100
		resp := renderTree(req)
		if len(resp.Problems) != 0 || len(resp.Objects) != len(want) {
			t.Fatalf("%d objects of %d, problems %v", len(resp.Objects), len(want), resp.Problems)
		}
		for _, o := range resp.Objects {
			var object struct{ Metadata struct{ Name string } }
			if err := json.Unmarshal(o.JSON, &object); err != nil {
				t.Fatal(err)
			}
			name := strings.TrimSuffix(strings.TrimPrefix(object.Metadata.Name, "p-"), "-s")
			if got := (place{file: o.Path, line: o.Line}); got != want[name] {
				t.Fatalf("%s comes from %v, want %v", name, got, want[name])
			}
		}
	})
}

// The pre-scan stands whatever it reads, and hands on only JSON and paths.
func FuzzPrescan(f *testing.F) {
	for _, template := range addressed() {
		f.Add([]byte(fmt.Sprintf(template, "http://127.0.0.1:1")), []byte(aService), []byte("- {op: remove, path: /a}"))
	}
	f.Add([]byte("resources: [a.yaml]\npatches: [{path: b.yaml}]"), []byte(bomb(3)), []byte("---\n%YAML 1.1\n---\n? [a]\n: b"))
	f.Add([]byte("resources: [a.yaml, d]\ncomponents: [d]\nconfigMapGenerator: [{name: a, files: [k=b.yaml]}]"), []byte("kind: List\nitems: [{kind: A, metadata: {name: b}}]"), []byte("\xff\xfea\x00"))
	f.Add([]byte("{\"resources\": [\"a.yaml\"], \"patchesStrategicMerge\": [\"kind: A\\nmetadata: {name: b}\"]}"), []byte("{a: b\x7f, !!str c: &d e, <<: *d}"), []byte("a: |\n  b\n"))
	f.Fuzz(func(t *testing.T, top, a, b []byte) {
		req := childRequest{Objects: 50, Files: []childFile{
			{Path: "a.yaml", Content: a}, {Path: "b.yaml", Content: b},
			{Path: "d/b.yaml", Content: b}, {Path: "d/kustomization.yaml", Content: a},
		}}
		_ = renderTree(req) // plain
		req.Files = append(req.Files, childFile{Path: "kustomization.yaml", Content: top})
		tree := newTree(req)
		s := &scan{tree: tree, known: map[string]*kustomization{}, out: newLayout(tree)}
		k := s.prescan()
		if k == nil && !tree.found.failed() {
			t.Fatal("refused without a problem")
		}
		if k == nil {
			return
		}
		for name, content := range s.out.files {
			if name == "a.yaml" || name == "b.yaml" || name == "d/b.yaml" {
				continue // data
			}
			for doc := range strings.SplitSeq(string(content), "\n---\n") {
				if doc != "" && !json.Valid([]byte(doc)) {
					t.Fatalf("%s is no JSON: %s", name, doc)
				}
			}
		}
		for _, k := range s.order {
			for _, ref := range slices.Concat(k.typed.Resources, k.typed.Bases, k.typed.Components, k.typed.Crds, k.typed.Configurations) {
				if looksRemote(ref) || strings.HasPrefix(ref, "/") {
					t.Fatalf("%s refers to %q", k.file, ref)
				}
			}
		}
	})
}
