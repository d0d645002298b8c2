package xds

import (
	"testing"

	"isoline.dev/isoline/dag"
)

// BenchmarkTranslate is one host with four routes to two services.
func BenchmarkTranslate(b *testing.B) {
	vh := testHost("a.example.com", prefixRoute("/a", "web"), prefixRoute("/b", "web"), prefixRoute("/c", "api"),
		dag.Route{Match: dag.Match{Path: dag.Path{Type: dag.PathPrefix, Value: "/"}}, Action: dag.Action{Clusters: []dag.WeightedCluster{
			{Cluster: testCluster("web"), Weight: 90}, {Cluster: testCluster("api"), Weight: 10}}}})
	b.ReportAllocs()
	for b.Loop() {
		if unit, problems := Translate(vh, Options{}); unit == nil || len(problems) > 0 {
			b.Fatal(problems)
		}
	}
}
