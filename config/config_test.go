package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const good = `apiVersion: isoline.dev/v1alpha1
kind: Config
listeners: {http: {address: 127.0.0.1, port: 8081}}
endpoints: {allow: [10.0.0.0/8]}
teams:
- name: checkout
  repo:
    url: https://git.example.com/checkout.git
    auth: {tokenFile: token}
    interval: 5s
  namespaces: [checkout]
  hosts: [checkout.example.com, "*.checkout.example.com"]
  limits: {bytes: 5Mi}
`

func TestLoadFillsInDefaultsAndResolvesPaths(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "isoline.yaml")
	if err := os.WriteFile(file, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	team := c.Teams[0]
	for name, pair := range map[string][2]any{
		"state directory": {c.StateDir, filepath.Join(dir, ".isoline")},
		"token file":      {team.Repo.Auth.TokenFile, filepath.Join(dir, "token")},
		"interval":        {team.Repo.Interval.Std(), 5 * time.Second},
		"branch":          {team.Repo.Ref.Branch, "main"},
		"bytes":           {int64(team.Limits.Bytes), int64(5 << 20)},
		"prune percent":   {*team.Limits.PrunePercent, 30},
		"https port":      {c.Listeners.HTTPS.Port, 8443},
		"http port":       {c.Listeners.HTTP.Port, 8081},
	} {
		if diff := cmp.Diff(pair[1], pair[0]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestEveryMistakeIsNamedWithItsLine(t *testing.T) {
	for _, tc := range []struct {
		name, from, to string
		want           []string
	}{
		{"an unknown key", "kind: Config", "kind: Config\ntypo: 1", []string{"f:3: unknown field typo"}},
		{"a bad duration", "interval: 5s", "interval: soon", []string{"f:10: \"soon\" is not a duration"}},
		{"a bad size", "5Mi", "5MB", []string{"f:13: \"5MB\" is not a size"}},
		{"a duplicate key", "kind: Config", "kind: Config\nkind: Config", []string{"f:3: ", "already defined"}},
		{"a wrong kind", "kind: Config", "kind: Secret", []string{"f:2: kind: must be Config"}},
		{"a mode that is not there", "kind: Config", "kind: Config\ncluster: {mode: warp}", []string{"f:3: cluster.mode"}},
		{"a namespace that is no name", "[checkout]", "[Checkout]", []string{"f:11: teams[0].namespaces[0]"}},
		{"a host in upper case", "[checkout.example.com,", "[Checkout.example.com,", []string{"f:12: teams[0].hosts[0]"}},
		{"two refs", "interval: 5s", "ref: {branch: a, tag: b}", []string{"f:10: teams[0].repo.ref: more than one"}},
		{"a path that leaves the repository", "interval: 5s", "path: ../other", []string{"f:10: teams[0].repo.path"}},
		{"a kind that cannot be granted", "limits: {bytes: 5Mi}", "kinds: [ClusterRole]", []string{"f:13: teams[0].kinds[0]"}},
		{"no URL", "url: https://git.example.com/checkout.git", "path: x", []string{"teams[0].repo.url: is required"}},
		{"a bad CIDR", "10.0.0.0/8", "10.0.0.0", []string{"f:4: endpoints.allow[0]"}},
		{"one listener on another", "listeners: {http: {address: 127.0.0.1, port: 8081}}",
			"listeners: {http: {port: 80}, https: {port: 80}}", []string{"listeners.https: has the address"}},
		{"a namespace of two teams", "teams:", "teams:\n- {name: other, namespaces: [checkout], repo: {url: 'https://x/y'}}",
			[]string{"f:12: teams[1].namespaces[0]: namespace \"checkout\" belongs to team \"other\""}},
		{"a second document", "  limits: {bytes: 5Mi}\n", "---\nkind: x\n", []string{"more than one YAML document"}},
		{"several mistakes at once", "kind: Config", "kind: Secret\ncluster: {mode: warp}", []string{"kind: must be", "cluster.mode"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			body := strings.Replace(good, tc.from, tc.to, 1)
			if body == good {
				t.Fatalf("the case changes nothing: %q is not in the file", tc.from)
			}
			_, err := parse(Config{}, "f", []byte(body))
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error does not say %q:\n%v", want, err)
				}
			}
		})
	}
}
