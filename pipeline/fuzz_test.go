package pipeline

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
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
	"pgregory.net/rapid"

	"isoline.dev/isoline/config"
	"isoline.dev/isoline/dag"
	"isoline.dev/isoline/lab"
	"isoline.dev/isoline/lab/author"
	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
	"isoline.dev/isoline/team"
	"isoline.dev/isoline/xds"
)

// bystander is the host of somebody whom nobody else's manifests concern, and
// what the platform has for all.
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
---
apiVersion: v1
kind: Service
metadata: {name: grpc, namespace: platform}
spec: {ports: [{port: 80}]}
---
apiVersion: projectcontour.io/v1alpha1
kind: ExtensionService
metadata: {name: auth, namespace: platform}
spec: {protocol: h2c, services: [{name: grpc, port: 80}]}
---
apiVersion: projectcontour.io/v1alpha1
kind: ExtensionService
metadata: {name: limits, namespace: platform}
spec: {protocol: h2c, services: [{name: grpc, port: 80}]}
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
  authorization: {extensionService: platform/auth}
  rateLimit: {extensionService: platform/limits, domain: author}
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
	rich := generousConfig(f)
	platforms := []*config.Config{config.Default(), rich}
	f.Fuzz(func(t *testing.T, manifests []byte, offered bool) {
		objects := objectsIn(manifests)
		if slices.ContainsFunc(objects, concernsBystander) {
			return
		}
		for _, c := range platforms {
			if (c == rich) == offered {
				checkCompiled(t, c, objects)
			}
		}
	})
}

// TestWhateverAuthorsWriteCompiles does the same with manifests that make
// more sense: every field of the API is set now and then.
func TestWhateverAuthorsWriteCompiles(t *testing.T) {
	rich := generousConfig(t)
	around := objectsIn([]byte(world(t)))
	rapid.Check(t, func(r *rapid.T) {
		c := config.Default()
		if rapid.Bool().Draw(r, "generous") {
			c = rich
		}
		objects := slices.Clone(around)
		for _, o := range author.Objects(draws{r}) {
			body, err := json.Marshal(o)
			if err != nil {
				r.Fatal(err)
			}
			objects = append(objects, objectsIn(body)...)
		}
		checkCompiled(r, c, objects)
	})
}

// draws makes a property's draws a source of chance.
type draws struct{ *rapid.T }

func (d draws) IntN(n int) int { return rapid.IntRange(0, n-1).Draw(d.T, "n") }

// world is what authors refer to.
func world(t *testing.T) string {
	t.Helper()
	authority, err := lab.NewAuthority("ca")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Sign(lab.CertificateOptions{Hosts: []string{"*.example.com"}})
	if err != nil {
		t.Fatal(err)
	}
	list, err := authority.Revoke()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, name := range author.Services {
		fmt.Fprintf(&b, "---\napiVersion: v1\nkind: Service\nmetadata: {name: %[1]s, namespace: %[2]s}\nspec: {ports: [{name: http, port: 80}, {name: https, port: 443}]}\n", name, author.Namespace)
	}
	certificate := map[string][]byte{"tls.crt": pair.CertPEM, "tls.key": pair.KeyPEM}
	b.WriteString(secret(author.Namespace, "tls", "kubernetes.io/tls", certificate))
	b.WriteString(secret(author.Namespace, "ca", "Opaque", map[string][]byte{"ca.crt": authority.PEM}))
	b.WriteString(secret(author.Namespace, "crl", "Opaque", map[string][]byte{"crl.pem": list}))
	b.WriteString(secret("platform", "client", "kubernetes.io/tls", certificate))
	b.WriteString(secret("platform", "fallback", "kubernetes.io/tls", certificate))
	b.WriteString("---\napiVersion: projectcontour.io/v1\nkind: TLSCertificateDelegation\nmetadata: {name: all, namespace: platform}\nspec: {delegations: [{secretName: fallback, targetNamespaces: ['*']}]}\n")
	return b.String()
}

func secret(namespace, name, kind string, data map[string][]byte) string {
	var b strings.Builder
	fmt.Fprintf(&b, "---\napiVersion: v1\nkind: Secret\nmetadata: {name: %s, namespace: %s}\ntype: %s\ndata:\n", name, namespace, kind)
	for key, value := range data {
		fmt.Fprintf(&b, "  %s: %s\n", key, base64.StdEncoding.EncodeToString(value))
	}
	return b.String()
}

// judge is a test or a property.
type judge interface {
	Helper()
	Fatal(...any)
	Fatalf(format string, args ...any)
}

// checkCompiled compiles objects beside the bystander's, forwards and
// backwards.
func checkCompiled(t judge, c *config.Config, objects []*manifest.Object) {
	t.Helper()
	theirs := objectsIn([]byte(bystander))
	alone := ofBystander(t, compiled(t, c, theirs))
	objects = slices.Concat(objects, theirs)
	first := compiled(t, c, objects)
	if diff := cmp.Diff(alone, ofBystander(t, first)); diff != "" {
		t.Fatalf("the bystander's host (-alone +beside):\n%s", diff)
	}
	slices.Reverse(objects)
	if diff := cmp.Diff(first.text(t), compiled(t, c, objects).text(t)); diff != "" {
		t.Fatalf("the order of the objects makes a difference (-forwards +backwards):\n%s", diff)
	}
}

func generousConfig(t testing.TB) *config.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "isoline.yaml")
	if err := os.WriteFile(file, []byte(generous), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return c
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

// concernsBystander reports whether an object is the bystander's or the
// platform's, or claims the bystander's host.
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
	return o.Key.Namespace == "bystander" || o.Key.Namespace == "platform"
}

// compilation is what objects compile to.
type compilation struct {
	cache    *xds.Cache
	problems []problem.Problem
}

func compiled(t judge, c *config.Config, objects []*manifest.Object) compilation {
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
func (c compilation) text(t judge) string {
	t.Helper()
	dump, err := c.cache.Dump()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s\n%s", dump, c.problems)
}

// ofBystander are the names and versions of the bystander's resources.
func ofBystander(t judge, c compilation) string {
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
