package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"isoline.dev/isoline/pipeline"
	"isoline.dev/isoline/problem"
)

func TestAChildLearnsWhichRootsReachIt(t *testing.T) {
	t.Parallel()
	dir := manifests(t, map[string]string{
		"root.yaml": `apiVersion: projectcontour.io/v1
kind: HTTPProxy
metadata: {name: www, namespace: shop}
spec:
  virtualhost: {fqdn: www.example.com}
  includes: [{name: kid, namespace: cart, conditions: [{prefix: /cart}, {header: {name: X-Beta, present: true}}]}]
`,
		"kid.yaml": `apiVersion: projectcontour.io/v1
kind: HTTPProxy
metadata: {name: kid, namespace: cart, annotations: {isoline.dev/included-by: "shop/*"}}
spec: {routes: [{directResponsePolicy: {statusCode: 200}}]}
`,
	})
	code, stdout, _ := isoline(t, "check", "--manifests", dir, "-o", "json")
	var report pipeline.Report
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatal(err)
	}
	want := []pipeline.InclusionReport{{
		Root: problem.Object{Kind: "HTTPProxy", Namespace: "shop", Name: "www"}, Host: "www.example.com",
		Prefix: "/cart", Conditions: []string{"header:x-beta present"},
	}}
	if diff := cmp.Diff(want, report.Objects[0].IncludedBy); code != 0 || diff != "" {
		t.Errorf("exit %d (-want +got):\n%s", code, diff)
	}
	if _, stdout, _ = isoline(t, "check", "--manifests", dir); !strings.Contains(stdout, "cart/kid  www.example.com  /cart header:x-beta present  shop/www") {
		t.Errorf("printed:\n%s", stdout)
	}
}
