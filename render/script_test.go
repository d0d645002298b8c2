package render

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite the expectations in testdata")

// Each file of testdata is a tree (the members below in/) and what comes of it
// (the members objects and problems). The comment may set, one a line:
// root, build, namespace, objects (the limit) and symlink (a member of in/).
func TestATreeRendersAsItsScriptSays(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			result := rendered(t, sourceOf(t, archive))
			got := map[string]string{"objects": objectsText(t, result), "problems": problemsText(result)}
			if *update {
				rewrite(t, file, archive, got)
				return
			}
			for _, name := range []string{"objects", "problems"} {
				if diff := cmp.Diff(member(archive, name), got[name]); diff != "" {
					t.Errorf("%s (-want +got, rewrite with -update):\n%s", name, diff)
				}
			}
		})
	}
}

func sourceOf(t *testing.T, archive *txtar.Archive) Source {
	t.Helper()
	src := Source{Repository: "https://git.example.com/shop.git", Commit: "c0ffee", Team: "shop", Files: map[string]File{}}
	for _, f := range archive.Files {
		if name, ok := strings.CutPrefix(f.Name, "in/"); ok {
			src.Files[name] = File{Content: f.Data}
		}
	}
	for line := range strings.Lines(string(archive.Comment)) {
		key, value, found := strings.Cut(strings.TrimSpace(line), ": ")
		if !found {
			continue
		}
		switch key {
		case "root":
			src.Root = value
		case "build":
			src.Build = value
		case "namespace":
			src.DefaultNamespace = value
		case "objects":
			n, err := strconv.Atoi(value)
			if err != nil {
				t.Fatal(err)
			}
			src.Limits.Objects = n
		case "symlink":
			src.Files[value] = File{Content: bytes.TrimSpace(src.Files[value].Content), Symlink: true}
		}
	}
	return src
}

func objectsText(t *testing.T, result Result) string {
	t.Helper()
	var b strings.Builder
	for _, o := range result.Objects {
		j, err := json.Marshal(o.Value)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s (%s:%d)\n\t%s\n", o.Key, o.Origin.Path, o.Origin.Line, j)
	}
	for _, o := range result.Others {
		fmt.Fprintf(&b, "other: %s %s (%s:%d)\n", o.APIVersion, o.Key, o.Origin.Path, o.Origin.Line)
	}
	return b.String()
}

func problemsText(result Result) string {
	var b strings.Builder
	for _, p := range result.Problems {
		p.Origin.Repository, p.Origin.Commit = "", ""
		for i := range p.Related {
			p.Related[i].Origin.Repository, p.Related[i].Origin.Commit = "", ""
		}
		fmt.Fprintln(&b, p)
	}
	return b.String()
}

func member(archive *txtar.Archive, name string) string {
	for _, f := range archive.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

func rewrite(t *testing.T, file string, archive *txtar.Archive, got map[string]string) {
	t.Helper()
	var kept []txtar.File
	for _, f := range archive.Files {
		if strings.HasPrefix(f.Name, "in/") {
			kept = append(kept, f)
		}
	}
	for _, name := range []string{"objects", "problems"} {
		kept = append(kept, txtar.File{Name: name, Data: []byte(got[name])})
	}
	archive.Files = kept
	if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
		t.Fatal(err)
	}
}
