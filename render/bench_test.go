package render

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkRender is one render from a file map to typed objects, the start of
// its process included.
func BenchmarkRender(b *testing.B) {
	for _, objects := range []int{1, 100, 1000} {
		var manifests strings.Builder
		for i := range objects {
			fmt.Fprintf(&manifests, `---
apiVersion: projectcontour.io/v1
kind: HTTPProxy
metadata:
  name: route-%d
spec:
  virtualhost: {fqdn: h%d.example.com}
  routes:
  - conditions: [{prefix: /}]
    services: [{name: shop, port: 80}]
`, i, i)
		}
		for kind, files := range map[string]map[string]string{
			"plain":     {"a.yaml": manifests.String()},
			"kustomize": {"kustomization.yaml": "namespace: shop\nresources: [a.yaml]\n", "a.yaml": manifests.String()},
		} {
			b.Run(fmt.Sprintf("%s/%d", kind, objects), func(b *testing.B) {
				src := Source{Files: text(files)}
				for b.Loop() {
					if result := rendered(b, src); len(result.Objects) != objects || len(result.Problems) != 0 {
						b.Fatalf("%d objects, problems %v", len(result.Objects), result.Problems)
					}
				}
			})
		}
	}
}
