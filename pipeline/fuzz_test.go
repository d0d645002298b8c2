package pipeline

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
	"golang.org/x/tools/txtar"
	networkingv1 "k8s.io/api/networking/v1"

	"isoline.dev/isoline/config"
	"isoline.dev/isoline/dag"
	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
	"isoline.dev/isoline/team"
	"isoline.dev/isoline/xds"
)

// bystander is the host of somebody whom nobody else's manifests concern.
const bystander = `
apiVersion: projectcontour.io/v1
kind: HTTPProxy
metadata: {name: www, namespace: bystander}
spec:
  virtualhost: {fqdn: bystander.example.org}
  includes: [{name: child, conditions: [{prefix: /child}]}]
  routes: [{services: [{name: web, port: 80}]}]
---
apiVersion: projectcontour.io/v1
kind: HTTPProxy
metadata: {name: child, namespace: bystander}
spec: {routes: [{services: [{name: web, port: 80}], timeoutPolicy: {response: 3s}}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: bystander}
spec: {ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web, namespace: bystander, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8080}]
endpoints: [{addresses: [10.0.0.1]}]
`

// generous is a platform that offers everything that manifests can ask for.
const generous = `
apiVersion: isoline.dev/v1alpha1
kind: Config
routing:
  externalNames: true
  fallbackCertificate: platform/fallback
  requestHeaders: {set: {x-platform: "yes"}, remove: [x-secret]}
  responseHeaders: {set: {x-served: "%PROTOCOL%"}}
  headersOnIngress: true
upstreams: {clientCertificate: platform/client}
`

// FuzzManifestsToXDS compiles anything that somebody may write to what Envoy
// is sent. Whatever it is, nothing panics, every message keeps to the rules of
// Envoy's API, the order of the objects makes no difference, and a bystander's
// host stays as it is.
func FuzzManifestsToXDS(f *testing.F) {
	for _, seed := range seeds(f) {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	file := filepath.Join(f.TempDir(), "isoline.yaml")
	if err := os.WriteFile(file, []byte(generous), 0o600); err != nil {
		f.Fatal(err)
	}
	rich, err := config.Load(file)
	if err != nil {
		f.Fatal(err)
	}
	alone := map[*config.Config]string{}
	for _, c := range []*config.Config{config.Default(), rich} {
		alone[c] = ofBystander(f, compiled(f, c, objectsIn([]byte(bystander))))
	}
	f.Fuzz(func(t *testing.T, manifests []byte, offered bool) {
		objects := objectsIn(manifests)
		if slices.ContainsFunc(objects, concernsBystander) {
			return
		}
		objects = append(objects, objectsIn([]byte(bystander))...)
		for c := range alone {
			if (c == rich) != offered {
				continue
			}
			first := compiled(t, c, objects)
			if diff := cmp.Diff(alone[c], ofBystander(t, first)); diff != "" {
				t.Errorf("the bystander's host (-alone +beside):\n%s", diff)
			}
			slices.Reverse(objects)
			if diff := cmp.Diff(first.text(t), compiled(t, c, objects).text(t)); diff != "" {
				t.Errorf("the order of the objects makes a difference (-forwards +backwards):\n%s", diff)
			}
		}
	})
}

// seeds are the manifests of all cases.
func seeds(f *testing.F) (all [][]byte) {
	f.Helper()
	reference := regexp.MustCompile(`\$\{[^}]*\}`)
	err := filepath.WalkDir("../testdata/cases", func(file string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(file, ".txtar") {
			return err
		}
		archive, err := txtar.ParseFile(file)
		if err != nil {
			return err
		}
		var manifests []byte
		for _, part := range archive.Files {
			if strings.Contains(part.Name, "manifests/") {
				manifests = append(append(manifests, "---\n"...), reference.ReplaceAll(part.Data, []byte("8080"))...)
			}
		}
		all = append(all, manifests)
		return nil
	})
	if err != nil || len(all) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	return all
}

// objectsIn decodes what can be decoded; of objects with one key the first
// counts.
func objectsIn(manifests []byte) (objects []*manifest.Object) {
	for i, document := range bytes.Split(append([]byte("\n"), manifests...), []byte("\n---")) {
		o, _ := manifest.Decode(document, "", problem.Origin{Path: "fuzz.yaml", Line: i + 1}, "")
		if o != nil && !slices.ContainsFunc(objects, func(other *manifest.Object) bool { return other.Key == o.Key }) {
			objects = append(objects, o)
		}
	}
	return objects
}

// concernsBystander reports whether an object is the bystander's, or claims
// its host.
func concernsBystander(o *manifest.Object) bool {
	const host = "bystander.example.org"
	switch v := o.Value.(type) {
	case *contourv1.HTTPProxy:
		if v.Spec.VirtualHost != nil && strings.EqualFold(v.Spec.VirtualHost.Fqdn, host) {
			return true
		}
	case *networkingv1.Ingress:
		if slices.ContainsFunc(v.Spec.Rules, func(r networkingv1.IngressRule) bool { return strings.EqualFold(r.Host, host) }) {
			return true
		}
	}
	return o.Key.Namespace == "bystander"
}

// compilation is what objects compile to.
type compilation struct {
	cache    *xds.Cache
	problems []problem.Problem
}

func compiled(t testing.TB, c *config.Config, objects []*manifest.Object) compilation {
	t.Helper()
	graph, err := newGraph(c, team.New(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	var changes []dag.Change
	for _, o := range objects {
		changes = append(changes, dag.Change{Key: o.Key, Object: o})
	}
	translator := newTranslator(c)
	update, err := translator.translate(graph.Update(changes))
	if err != nil {
		t.Fatalf("the listeners are the platform's, and manifests break them: %v", err)
	}
	out := compilation{cache: xds.NewCache(), problems: graph.Problems()}
	out.cache.Apply(update)
	for _, found := range translator.invalid {
		out.problems = append(out.problems, found...)
	}
	out.problems = problem.Sort(out.problems)
	for _, p := range out.problems {
		if p.Type == "InternalError" {
			t.Fatalf("%v", p)
		}
	}
	for _, r := range out.cache.Resources() {
		m, err := r.Message()
		if err != nil {
			t.Fatal(err)
		}
		if err := m.(interface{ ValidateAll() error }).ValidateAll(); err != nil {
			t.Fatalf("%s %s: %v", r.TypeURL(), r.Name(), err)
		}
	}
	return out
}

// text is all of it, to compare.
func (c compilation) text(t testing.TB) string {
	t.Helper()
	dump, err := c.cache.Dump()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s\n%s", dump, c.problems)
}

// ofBystander are the names and versions of the bystander's resources.
func ofBystander(t testing.TB, c compilation) string {
	t.Helper()
	var b strings.Builder
	for _, r := range c.cache.Resources() {
		if strings.Contains(r.Name(), "bystander") {
			fmt.Fprintln(&b, r.TypeURL(), r.Name(), r.Version())
		}
	}
	if strings.Count(b.String(), "\n") < 4 {
		t.Fatalf("the bystander has too little: %s", b.String())
	}
	return b.String()
}
