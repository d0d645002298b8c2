package xds

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"isoline.dev/isoline/dag"
	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

// FuzzManifests takes text for the manifests of a team, all the way to what an
// Envoy is sent: nothing in it brings a host down, and what is wrong is said.
func FuzzManifests(f *testing.F) {
	scripts, err := filepath.Glob("../dag/testdata/*.txtar")
	if err != nil || len(scripts) == 0 {
		f.Fatalf("no scripts: %v", err)
	}
	for _, script := range scripts {
		archive, err := txtar.ParseFile(script)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			if strings.HasSuffix(file.Name, ".yaml") && len(file.Data) < 10_000 {
				f.Add(file.Data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var changes []dag.Change
		for _, document := range bytes.Split(body, []byte("\n---")) {
			object, problems := manifest.Decode(document, "", problem.Origin{Path: "f"}, "")
			if object == nil {
				continue
			}
			if problem.Errors(problems) > 0 {
				t.Fatalf("an object, and %v", problems)
			}
			changes = append(changes, dag.Change{Key: object.Key, Object: object})
		}
		g := dag.New(dag.Options{}, nil)
		g.Update(changes)
		for _, p := range g.Problems() {
			if p.Type == "InternalError" {
				t.Fatal(p)
			}
		}
		for _, vh := range g.Hosts() {
			if unit, problems := Translate(vh, Options{}); unit == nil && len(problems) == 0 {
				t.Fatalf("nothing is left of %s, and no problem says so", vh.Host)
			}
			if chain, problems := TranslateChain(vh, ListenerOptions{}); vh.TLS != nil && chain == nil && len(problems) == 0 {
				t.Fatalf("%s has no TLS, and no problem says so", vh.Host)
			}
		}
	})
}
