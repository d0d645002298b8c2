package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// page is an HTTPProxy that answers by itself with its name.
func page(namespace, name, fqdn string, more ...string) string {
	return `apiVersion: projectcontour.io/v1
kind: HTTPProxy
metadata: {name: ` + name + `, namespace: ` + namespace + `}
spec:
  virtualhost: {fqdn: "` + fqdn + `"}
  routes:
  - conditions: [{prefix: /}]
    directResponsePolicy: {statusCode: 200, body: ` + name + `}
` + strings.Join(more, "")
}

// twoTeams is a rig with team a, whom things happen to, and team b, who must
// not notice.
func twoTeams(t *testing.T) *rig {
	t.Helper()
	r := newRig(t,
		teamSpec{name: "a", hosts: []string{"a.example.com", "a2.example.com"}, files: map[string]string{
			"routes/page.yaml":  page("a", "first", "a.example.com"),
			"routes/other.yaml": page("a", "other", "a2.example.com"),
		}},
		teamSpec{name: "b", hosts: []string{"b.example.com"}, files: map[string]string{"routes/page.yaml": page("b", "second", "b.example.com")}})
	r.served(200, "first", "a.example.com", "/")
	r.served(200, "second", "b.example.com", "/")
	return r
}

func TestWhatABadPushDoes(t *testing.T) {
	for _, tc := range []struct {
		name   string
		files  map[string]string
		reason string
		path   string
		line   int
	}{
		{"bad YAML", map[string]string{"routes/page.yaml": page("a", "changed", "a.example.com") + "\n  - [unclosed\n"},
			"SyntaxError", "routes/page.yaml", -1},
		{"a failing kustomization", map[string]string{"routes/kustomization.yaml": "resources: [page.yaml, missing.yaml]\n"},
			"NotFound", "routes/kustomization.yaml", 1},
		{"a field of the wrong type", map[string]string{"routes/page.yaml": strings.Replace(page("a", "changed", "a.example.com"), "200", "many", 1)},
			"InvalidField", "routes/page.yaml", 1},
		{"an emptied repository", map[string]string{"routes/page.yaml": "", "routes/other.yaml": "", "routes/README": "nothing here"},
			"RevisionEmpty", "routes", 0},
		{"a removed directory", map[string]string{"routes/page.yaml": "", "routes/other.yaml": "", "README": "nothing here"},
			"PathNotFound", "routes", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := twoTeams(t)
			r.push("a", tc.files)
			p := r.problem(tc.reason)
			if p.Team != "a" || p.Origin.Path != tc.path || (tc.line >= 0 && p.Origin.Line != tc.line) || !strings.HasSuffix(p.Origin.Repository, "/a.git") || p.Origin.Commit == "" {
				t.Errorf("the problem is at %+v of team %q", p.Origin, p.Team)
			}
			r.still(200, "first", "a.example.com", "/")
			r.still(200, "other", "a2.example.com", "/")
			r.still(200, "second", "b.example.com", "/")
			r.push("b", map[string]string{"routes/page.yaml": page("b", "third", "b.example.com")})
			r.served(200, "third", "b.example.com", "/")
			r.push("a", map[string]string{"routes/page.yaml": page("a", "mended", "a.example.com"),
				"routes/other.yaml": page("a", "other", "a2.example.com"), "routes/kustomization.yaml": "resources: [page.yaml, other.yaml]\n"})
			r.served(200, "mended", "a.example.com", "/")
			if report := r.report(); !report.OK {
				t.Errorf("problems remain: %v", report.Problems)
			}
		})
	}
}

func TestAnUnreachableRepositoryLeavesAllAsItWas(t *testing.T) {
	t.Parallel()
	r := twoTeams(t)
	dir := r.git.Repository("a")
	rename(t, dir, dir+".away")
	p := r.problem("RepositoryNotFound")
	if p.Team != "a" || !strings.Contains(p.Message, "last answered") {
		t.Errorf("the problem does not tell the team and the age of the last fetch: %s", p)
	}
	r.still(200, "first", "a.example.com", "/")
	r.push("b", map[string]string{"routes/page.yaml": page("b", "third", "b.example.com")})
	r.served(200, "third", "b.example.com", "/")
	rename(t, dir+".away", dir)
	r.push("a", map[string]string{"routes/page.yaml": page("a", "again", "a.example.com")})
	r.served(200, "again", "a.example.com", "/")
}

func TestAForcePushIsFollowed(t *testing.T) {
	t.Parallel()
	r := twoTeams(t)
	work := r.work["a"]
	if _, err := work.Git("checkout", "--orphan", "anew"); err != nil {
		t.Fatal(err)
	}
	r.push("a", map[string]string{"routes/page.yaml": page("a", "rewritten", "a.example.com")})
	r.served(200, "rewritten", "a.example.com", "/")
}

func TestATeamGetsOnlyItsOwnHostsAndNamespaces(t *testing.T) {
	t.Parallel()
	r := twoTeams(t)
	r.push("a", map[string]string{
		"routes/steal.yaml": page("a", "thief", "b.example.com"),
		"routes/alien.yaml": page("b", "alien", "a3.example.com"),
		"routes/page.yaml":  page("a", "still-fine", "a.example.com"),
	})
	for reason, path := range map[string]string{"HostNotAllowed": "routes/steal.yaml", "NamespaceNotAllowed": "routes/alien.yaml"} {
		if p := r.problem(reason); p.Origin.Path != path || p.Origin.Line != 1 {
			t.Errorf("%s is at %s", reason, p.Origin)
		}
	}
	r.served(200, "still-fine", "a.example.com", "/")
	r.still(200, "second", "b.example.com", "/")
	r.still(404, "", "a3.example.com", "/")
}

func TestTheOwnerOfAWildcardNeverServesWhatTheOwnerOfAHostDoesNotRoute(t *testing.T) {
	t.Parallel()
	narrow := strings.Replace(page("a", "narrow", "shop.example.com"), "prefix: /", "prefix: /only", 1)
	r := newRig(t,
		teamSpec{name: "a", hosts: []string{"shop.example.com"}, files: map[string]string{"routes/p.yaml": narrow}},
		teamSpec{name: "b", hosts: []string{"*.example.com"}, files: map[string]string{"routes/p.yaml": page("b", "wildcard", "*.example.com")}})
	r.served(200, "narrow", "shop.example.com", "/only")
	r.served(200, "wildcard", "other.example.com", "/")
	for _, host := range []string{"shop.example.com", "SHOP.example.com", "shop.example.com:80"} {
		r.still(404, "", host, "/private")
		r.still(200, "narrow", host, "/only/this")
	}
	r.still(404, "", "two.labels.example.com", "/")
	r.still(404, "", "example.com", "/")
}

func TestADirectoryIsWatched(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		replace(t, file, content) // nobody is to see a file without content
	}
	write("page.yaml", page("default", "one", "dir.example.com"))
	r := newDirectoryRig(t, dir)
	r.served(200, "one", "dir.example.com", "/")
	write("page.yaml", page("default", "two", "dir.example.com"))
	r.served(200, "two", "dir.example.com", "/")
	write("deep/er/more.yaml", page("default", "three", "more.example.com"))
	r.served(200, "three", "more.example.com", "/")
	write("page.yaml", "broken: [")
	if p := r.problem("SyntaxError"); p.Origin.Path != "page.yaml" {
		t.Errorf("the problem is at %s", p.Origin)
	}
	r.still(200, "two", "dir.example.com", "/")
}

func TestWhatIsUnknownAfterARestartIsNotTakenFromEnvoys(t *testing.T) {
	for _, tc := range []struct {
		name  string
		wreck func(*rig)
		mend  func(*rig)
	}{
		{"an unreachable repository",
			func(r *rig) { rename(r.t, r.git.Repository("a"), r.git.Repository("a")+".away") },
			func(r *rig) { rename(r.t, r.git.Repository("a")+".away", r.git.Repository("a")) }},
		{"a broken head",
			func(r *rig) { r.push("a", map[string]string{"routes/broken.yaml": "no: [yaml\n"}) },
			func(r *rig) { r.push("a", map[string]string{"routes/broken.yaml": ""}) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := twoTeams(t)
			r.isoline.Kill()
			if err := os.RemoveAll(filepath.Join(r.dir, "state")); err != nil {
				t.Fatal(err)
			}
			tc.wreck(r)
			r.startIsoline("run", "-c", r.config)
			r.push("b", map[string]string{"routes/page.yaml": page("b", "third", "b.example.com")})
			r.served(200, "third", "b.example.com", "/")
			r.still(200, "first", "a.example.com", "/")
			r.still(200, "other", "a2.example.com", "/")
			tc.mend(r)
			r.push("a", map[string]string{"routes/page.yaml": page("a", "again", "a.example.com"), "routes/other.yaml": ""})
			r.served(200, "again", "a.example.com", "/")
			r.served(404, "", "a2.example.com", "/")
		})
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}
