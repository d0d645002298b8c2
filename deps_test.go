package isoline_test

import (
	"encoding/json"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "isoline.dev/isoline/"

// mayImport is the table of rooms: which of our own packages each may import
// (besides the standard library and other modules). A package that is not
// listed fails the test, so that a new room is a decision.
var mayImport = map[string][]string{
	"problem":        {},
	"config":         {},
	"config/contour": {"config", "problem"},
	"manifest":       {"problem"},
	"sync/repo":      {"config", "problem"},
	"render":         {"config", "manifest", "problem"},
	"team":           {"config", "manifest", "problem"},
	"dag":            {"manifest", "problem"},
	"xds":            {"dag", "manifest", "problem"},
	"web":            {},
	"lab":            {},
	"lab/author":     {},
	"pipeline":       {"config", "dag", "manifest", "problem", "render", "sync/repo", "team", "xds"},
	"demo":           {"lab"},
	"cmd/isoline":    {"*"},
	"e2e":            {"*"},
}

// bans are modules that a room must not reach, not even through others.
var bans = []struct{ room, banned, why string }{
	{"dag", "github.com/envoyproxy/", "the graph is about routes; Envoy's types would tie it to one data plane and one version"},
	{"dag", "k8s.io/client-go", "the graph is pure: it is given objects and never fetches one"},
	{"dag", "google.golang.org/grpc", "the graph does no I/O"},
	{"team", "k8s.io/client-go", "a rule that needs a cluster is skipped when the cluster is away"},
	{"render", "google.golang.org/grpc", "the render child handles hostile input and must hold no way out"},
	{"render", "github.com/go-git/", "the render child gets files and must not know where they are from"},
	{"manifest", "sigs.k8s.io/kustomize", "decoding is for what is rendered already"},
	{"problem", "k8s.io/", "the type of every finding must cost nothing to import"},
	{"config", "github.com/go-git/", "the file is read by tools that never fetch"},
	{"web", "isoline.dev/isoline/", "the web port shows a model; it reaches into no stage"},
}

type listed struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func TestRoomsImportOnlyWhatTheTableAllows(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,Deps", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]listed{}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p listed
		if err := dec.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if room, ok := strings.CutPrefix(p.ImportPath, module); ok {
			seen[room] = p
		}
	}
	for room, p := range seen {
		allowed, ok := mayImport[room]
		if !ok {
			t.Errorf("%s is not in the table of rooms: say what it may import, here and in docs/architecture.md", room)
			continue
		}
		for _, path := range p.Imports {
			if other, own := strings.CutPrefix(path, module); own && !contains(allowed, other) {
				t.Errorf("%s imports %s: its list is %v", room, other, allowed)
			}
		}
	}
	for room := range mayImport {
		if _, ok := seen[room]; !ok {
			t.Errorf("the table has %s, which is gone", room)
		}
	}
	for _, b := range bans {
		for _, path := range seen[b.room].Deps {
			if strings.HasPrefix(path, b.banned) && path != module+b.room {
				t.Errorf("%s reaches %s: %s", b.room, path, b.why)
			}
		}
	}
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s || l == "*" {
			return true
		}
	}
	return false
}
