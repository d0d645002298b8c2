package dag

import (
	"fmt"
	"testing"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

// Each host has a root, an included child, a Service and an EndpointSlice.
// The second number sets one apart from its earlier versions.

func manyHosts(n int) []Change {
	all := make([]Change, 0, 4*n)
	for i := range n {
		all = append(all, rootOf(i, 1), childOf(i, 1), serviceOf(i, 1), sliceOf(i, 1))
	}
	return all
}

func meta(i int) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: fmt.Sprintf("n%d", i), Name: "www"}
}

func change(kind string, v manifest.Value) Change {
	o := objectOf(kind, "", v, problem.Origin{Path: "hosts.yaml"})
	return Change{Key: o.Key, Object: o}
}

func rootOf(i, version int) Change {
	return change(manifest.HTTPProxy, &contourv1.HTTPProxy{ObjectMeta: meta(i), Spec: contourv1.HTTPProxySpec{
		VirtualHost: &contourv1.VirtualHost{Fqdn: fmt.Sprintf("h%d.test", i)},
		Includes:    []contourv1.Include{{Name: "kid", Conditions: []contourv1.MatchCondition{{Prefix: "/kid"}}}},
		Routes:      []contourv1.Route{{Services: []contourv1.Service{{Name: "www", Port: 80, Weight: int64(version)}}}},
	}})
}

func childOf(i, version int) Change {
	m := meta(i)
	m.Name = "kid"
	return change(manifest.HTTPProxy, &contourv1.HTTPProxy{ObjectMeta: m, Spec: contourv1.HTTPProxySpec{
		Routes: []contourv1.Route{{Services: []contourv1.Service{{Name: "www", Port: 80, Weight: int64(version)}}}},
	}})
}

func serviceOf(i, version int) Change {
	return change(manifest.Service, &corev1.Service{ObjectMeta: meta(i), Spec: corev1.ServiceSpec{
		Ports: []corev1.ServicePort{{Port: 80}, {Name: "version", Port: int32(80 + version)}},
	}})
}

func sliceOf(i, version int) Change {
	m := meta(i)
	m.Labels = map[string]string{discoveryv1.LabelServiceName: "www"}
	port := int32(8080)
	return change(manifest.EndpointSlice, &discoveryv1.EndpointSlice{
		ObjectMeta: m, AddressType: discoveryv1.AddressTypeIPv4,
		Ports:     []discoveryv1.EndpointPort{{Port: &port}},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{fmt.Sprintf("10.0.0.%d", version)}}},
	})
}

const benchHosts = 10_000

func BenchmarkColdBuild(b *testing.B) {
	changes := manyHosts(benchHosts)
	b.ReportAllocs()
	for b.Loop() {
		g := New(Options{}, nil)
		if d := g.Update(changes); len(d.Hosts) != benchHosts {
			b.Fatal(len(d.Hosts))
		}
	}
}

func BenchmarkOneChange(b *testing.B) {
	for name, of := range map[string]func(i, version int) Change{"route": rootOf, "endpoints": sliceOf} {
		b.Run(name, func(b *testing.B) {
			g := New(Options{}, nil)
			g.Update(manyHosts(benchHosts))
			changes := [2]Change{of(5000, 2), of(5000, 3)}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if g.Update(changes[i%2 : i%2+1]).Empty() {
					b.Fatal("nothing changed")
				}
				i++
			}
		})
	}
}

func BenchmarkLookup(b *testing.B) {
	g := New(Options{}, nil)
	g.Update(manyHosts(benchHosts))
	r := Request{Method: "GET", Host: "h5000.test:8080", Path: "/kid/x?y=z", Headers: map[string][]string{"Accept": {"*/*"}}}
	b.ReportAllocs()
	for b.Loop() {
		if !g.Lookup(r).Matched {
			b.Fatal("not found")
		}
	}
}
