package e2e

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"isoline.dev/isoline/lab/author"
)

// TestEnvoyTakesWhateverAuthorsWrite sends a real Envoy what comes of random
// manifests in which every field of the API is set now and then. It must not
// refuse any of it, and a bystander must be served all the time.
func TestEnvoyTakesWhateverAuthorsWrite(t *testing.T) {
	t.Parallel()
	const batches = 60
	w := &caseWorld{t: t, secrets: map[string]*caseSecret{}, servers: map[string]caseServer{}}
	w.makeCertificates([]string{
		"author/ca authority", "author/tls *.example.com", "author/crl crl author/tls",
		"platform/client client isoline", "platform/fallback fallback.example.com",
	})
	w.startServers([]string{"author/web", "author/api", "platform/auth extauthz", "platform/limits rls", "bystander/page"})
	w.rig = newCaseRig(t, `
routing:
  externalNames: true
  fallbackCertificate: platform/fallback
  headersOnIngress: true
  requestHeaders: {set: {x-platform: "yes"}}
  rateLimit: {extensionService: platform/limits, domain: author}
upstreams: {clientCertificate: platform/client}
`, "")
	around := w.generated(nil) + extension("auth") + extension("limits") + `---
apiVersion: projectcontour.io/v1
kind: TLSCertificateDelegation
metadata: {name: all, namespace: platform}
spec: {delegations: [{secretName: fallback, targetNamespaces: ["*"]}]}
---
` + split("bystander", "bystander.example.org", "", "page", 1) + "\n"
	rnd := rand.New(rand.NewPCG(5, 6))
	for batch := range batches {
		var b strings.Builder
		for _, o := range author.Objects(rnd) {
			body, err := json.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			b.WriteString("---\n" + string(body) + "\n")
		}
		w.rig.load(t, around+b.String())
		if status, body := w.rig.get("bystander.example.org", "/"); status != 200 {
			t.Fatalf("batch %d: the bystander answers %d %q beside\n%s", batch, status, body, b.String())
		}
	}
}

// extension is an ExtensionService of the platform's with a Service of the
// same name.
func extension(name string) string {
	return `---
apiVersion: projectcontour.io/v1alpha1
kind: ExtensionService
metadata: {name: ` + name + `, namespace: platform}
spec: {protocol: h2c, services: [{name: ` + name + `, port: 80}]}
`
}
