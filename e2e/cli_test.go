package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"isoline.dev/isoline/lab"
	"isoline.dev/isoline/pipeline"
)

// isoline runs the binary to its end.
func isoline(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode(), out.String(), errs.String()
	} else if err != nil {
		t.Fatal(err)
	}
	return 0, out.String(), errs.String()
}

// manifests is a directory with files.
func manifests(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		replace(t, file, content)
	}
	return dir
}

func TestExitCodesAndWhereThingsArePrinted(t *testing.T) {
	t.Parallel()
	fine := manifests(t, map[string]string{"p.yaml": page("default", "p", "p.example.com")})
	orphan := manifests(t, map[string]string{"p.yaml": strings.Replace(page("default", "p", "p.example.com"), "  virtualhost: {fqdn: \"p.example.com\"}\n", "", 1)})
	badConfig := filepath.Join(manifests(t, map[string]string{"c.yaml": "apiVersion: isoline.dev/v1alpha1\nkind: Config\nteems: []\n"}), "c.yaml")
	strict := filepath.Join(manifests(t, map[string]string{"c.yaml": "apiVersion: isoline.dev/v1alpha1\nkind: Config\ncluster: {rootNamespaces: [other]}\n"}), "c.yaml")
	for _, tc := range []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{[]string{"check", "--manifests", fine}, 0, "0 errors", ""},
		{[]string{"check", "--manifests", orphan}, 1, "p.yaml:1: error: Orphaned/Orphaned", ""},
		{[]string{"check", "--manifests", fine, "--root-namespaces", "other"}, 1, "RootProxyNotAllowedInNamespace", ""},
		{[]string{"check", "--manifests", fine, "-c", strict}, 1, "RootProxyNotAllowedInNamespace", ""},
		{[]string{"check", "--manifests", filepath.Join(fine, "missing")}, 2, "", "no such file"},
		{[]string{"check", "-c", badConfig}, 2, "", "c.yaml:3: unknown field teems"},
		{[]string{"check"}, 2, "", "--manifests DIR"},
		{[]string{"check", "-o", "yaml", "--manifests", fine}, 2, "", "must be text or json"},
		{[]string{"route", "--manifests", fine, "http://p.example.com/x"}, 0, "prefix /", ""},
		{[]string{"route", "--manifests", fine, "http://q.example.com/x"}, 1, "404", ""},
		{[]string{"route", "--manifests", fine, "http://p.example.com/a%2Fb"}, 1, "before a route is looked for", ""},
		{[]string{"route", "--manifests", fine}, 2, "", "no URL"},
		{[]string{"check", fine}, 2, "", "--manifests DIR"},
		{[]string{"route", "--manifests", fine, "ftp://p.example.com/x"}, 2, "", "not http(s)"},
		{[]string{"xds", "--manifests", fine, "-o", "json"}, 0, `"scopedRoutes"`, ""},
		{[]string{"version", "-o", "json"}, 0, `"version"`, ""},
		{[]string{"bootstrap", "--admin-port", "1", "--admin-socket", "x"}, 2, "", "admin-port"},
		{[]string{"nonsense"}, 2, "", "nonsense"},
	} {
		code, stdout, stderr := isoline(t, tc.args...)
		if code != tc.code || !strings.Contains(stdout, tc.stdout) || !strings.Contains(stderr, tc.stderr) {
			t.Errorf("isoline %v: exit %d\nstdout: %s\nstderr: %s", tc.args, code, stdout, stderr)
		}
		if tc.code == 2 && stdout != "" {
			t.Errorf("isoline %v: prints on stdout: %s", tc.args, stdout)
		}
	}
}

func TestADirectoryWithAKustomizationIsRendered(t *testing.T) {
	t.Parallel()
	dir := manifests(t, map[string]string{
		"kustomization.yaml":      "resources: [base]\nnamePrefix: my-\n",
		"base/kustomization.yaml": "resources: [p.yaml]\n",
		"base/p.yaml":             "# a comment\n" + page("default", "p", "p.example.com"),
	})
	code, stdout, _ := isoline(t, "check", "--manifests", dir, "-o", "json")
	var report pipeline.Report
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatal(err)
	}
	if code != 0 || len(report.Objects) != 1 || report.Objects[0].Name != "my-p" || report.Objects[0].Origin.Path != "base/p.yaml" || report.Objects[0].Origin.Line != 2 {
		t.Errorf("exit %d, %+v", code, report)
	}
}

// ingress claims a path of a host for a service of its namespace.
func ingress(namespace, host, path string) string {
	return fmt.Sprintf(`apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: i, namespace: %s}
spec:
  rules:
  - host: %s
    http: {paths: [{path: %s, pathType: Prefix, backend: {service: {name: s, port: {number: 80}}}}]}
`, namespace, host, path)
}

func TestTwoTeamsThatClaimTheSameAreDecidedAndToldWithPlaces(t *testing.T) {
	t.Parallel()
	u := upstream(t, "u")
	proxy := func(namespace string) string { return page(namespace, "root", "shared.example.com") }
	for _, tc := range []struct {
		name          string
		first, second func(namespace string) string
		reason        string
	}{
		{"Ingress against Ingress", func(ns string) string { return ingress(ns, "shared.example.com", "/x") },
			func(ns string) string { return ingress(ns, "shared.example.com", "/x") }, "PathConflict"},
		{"HTTPProxy against HTTPProxy", proxy, proxy, "DuplicateVhost"},
		{"HTTPProxy against Ingress", proxy, func(ns string) string { return ingress(ns, "shared.example.com", "/x") }, "HostConflict"},
		{"Ingress against HTTPProxy", func(ns string) string { return ingress(ns, "shared.example.com", "/x") }, proxy, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			// The first is zeta's, whose name alone would lose.
			r := newRig(t,
				teamSpec{name: "zeta", hosts: []string{"shared.example.com"}, files: map[string]string{
					"routes/s.yaml": service("zeta", "s", u), "routes/claim.yaml": "# first\n" + tc.first("zeta")}},
				teamSpec{name: "alpha", hosts: []string{"shared.example.com"}, files: map[string]string{"routes/s.yaml": service("alpha", "s", u)}})
			r.served(200, "", "shared.example.com", "/x")
			_, before := r.get("shared.example.com", "/x")
			r.push("alpha", map[string]string{"routes/claim.yaml": "\n\n" + tc.second("alpha")})
			r.eventually(func() error {
				for _, p := range r.report().Problems {
					if p.Team != "alpha" || (tc.reason != "" && p.Reason != tc.reason) {
						continue
					}
					if p.Origin.Path != "routes/claim.yaml" || p.Origin.Line != 3 {
						t.Errorf("the problem is at %s", p.Origin)
					}
					if len(p.Related) == 0 || !strings.HasSuffix(p.Related[0].Origin.Repository, "/zeta.git") ||
						p.Related[0].Origin.Path != "routes/claim.yaml" || p.Related[0].Origin.Line != 2 || p.Related[0].Origin.Commit == "" {
						t.Errorf("the problem does not name the incumbent's place: %+v", p.Related)
					}
					return nil
				}
				return fmt.Errorf("alpha has no problem: %v", r.report().Problems)
			})
			if _, after := r.get("shared.example.com", "/x"); strings.Contains(before, "root") != strings.Contains(after, "root") {
				t.Errorf("another serves now: %s, before %s", after, before)
			}
			t.Log("and a restart does not change who serves")
			r.isoline.Kill()
			r.startIsoline("run", "-c", r.config)
			for _, p := range r.report().Problems {
				if p.Team != "alpha" {
					t.Errorf("after the restart, %s", p)
				}
			}
			for _, o := range r.report().Objects {
				if want := map[string]string{"zeta": "valid", "alpha": "invalid"}[o.Namespace]; o.Status != want {
					t.Errorf("%s/%s is %s, want %s", o.Namespace, o.Name, o.Status, want)
				}
			}
			t.Log("and check, beside it, decides as it does")
			code, stdout, _ := isoline(t, "check", "-c", r.config, "-o", "json")
			var report pipeline.Report
			if err := json.Unmarshal([]byte(stdout), &report); err != nil {
				t.Fatal(err)
			}
			if code != 1 || len(report.Hosts) != 1 || report.Hosts[0].Object.Namespace != "zeta" {
				t.Errorf("exit %d, %+v", code, report)
			}
		})
	}
}

func TestPlainEnvoyAcceptsEveryBootstrap(t *testing.T) {
	t.Parallel()
	envoy, err := lab.EnvoyPath()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for i, args := range [][]string{{}, {"--admin-port", "19001", "--node-id", "edge-1"}, {"--admin-socket", filepath.Join(dir, "admin.sock"), "--xds-address", "::1", "--xds-port", "1"}} {
		code, stdout, stderr := isoline(t, append([]string{"bootstrap"}, args...)...)
		if code != 0 {
			t.Fatal(stderr)
		}
		file := filepath.Join(dir, fmt.Sprintf("b%d.json", i))
		replace(t, file, stdout)
		if out, err := exec.CommandContext(t.Context(), envoy, "--mode", "validate", "-c", file).CombinedOutput(); err != nil {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
}
