package lab

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestGitServerTakesPushesAndServesThem(t *testing.T) {
	for name, options := range map[string][]GitOption{
		"http":  nil,
		"https": {GitTLS(), GitBasicAuth("ada", "sesame")},
	} {
		t.Run(name, func(t *testing.T) {
			// A user's settings must not matter.
			t.Setenv("GIT_AUTHOR_NAME", "Somebody else")
			t.Setenv("GIT_CONFIG_GLOBAL", "/somewhere/else")
			dir := t.TempDir()
			s, err := StartGit(t.Context(), filepath.Join(dir, "server"), options...)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if err := s.Create("team", "trunk"); err != nil {
				t.Fatal(err)
			}
			work, err := s.Clone("team", filepath.Join(dir, "work"), "Ada <ada@example.com>")
			if err != nil {
				t.Fatal(err)
			}
			if err := work.WriteFiles(map[string]string{"a/b": "1", "c": strings.Repeat("x", 3<<20)}); err != nil {
				t.Fatal(err)
			}
			commit, err := work.Commit("first")
			if err != nil {
				t.Fatal(err)
			}
			if err := work.Push(); err != nil {
				t.Fatal(err)
			}
			again, err := s.Clone("team", filepath.Join(dir, "again"), "Bob <bob@example.com>")
			if err != nil {
				t.Fatal(err)
			}
			got, err := again.Git("log", "-1", "--format=%H %an %ce", "origin/trunk", "--", "a/b")
			if want := commit + " Ada ada@example.com"; err != nil || got != want {
				t.Errorf("the clone says %q, %v; want %q", got, err, want)
			}
			if err := again.Remove("a"); err != nil {
				t.Fatal(err)
			}
			if err := again.WriteFiles(map[string]string{"../out": ""}); err == nil {
				t.Error("a file outside the work copy is written")
			}
			if out, err := again.Git("status", "--porcelain"); err != nil || out != "D  a/b" {
				t.Errorf("the status is %q, %v", out, err)
			}
		})
	}
}
