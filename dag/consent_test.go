package dag

import (
	"testing"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"isoline.dev/isoline/manifest"
)

// TestConsentOutlivesNoPanic: what serves on after a defect has shown is asked
// for consent like anything else.
func TestConsentOutlivesNoPanic(t *testing.T) {
	named := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "a", Name: name} }
	kid := func(by string) Change {
		p := &contourv1.HTTPProxy{ObjectMeta: named("kid"), Spec: contourv1.HTTPProxySpec{
			TCPProxy: &contourv1.TCPProxy{Services: []contourv1.Service{{Name: "s", Port: 443}}},
			Routes:   []contourv1.Route{{Services: []contourv1.Service{{Name: "s", Port: 443}}}},
		}}
		p.Annotations = map[string]string{includedBy: by}
		return change(manifest.HTTPProxy, p)
	}
	g := New(Options{}, nil)
	g.Update([]Change{
		change(manifest.Service, &corev1.Service{ObjectMeta: named("s"), Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 443}}}}),
		change(manifest.HTTPProxy, &contourv1.HTTPProxy{ObjectMeta: named("www"), Spec: contourv1.HTTPProxySpec{
			VirtualHost: &contourv1.VirtualHost{Fqdn: "x.test", TLS: &contourv1.TLS{Passthrough: true}},
			TCPProxy:    &contourv1.TCPProxy{Include: &contourv1.TCPProxyInclude{Name: "kid"}},
			Includes:    []contourv1.Include{{Name: "kid"}},
		}}),
		kid("a/www"),
	})
	if v := g.Host("x.test"); v.TCP == nil || len(v.Routes) != 1 {
		t.Fatalf("with consent: %+v", v)
	}
	g.fault = func(string) { panic("oh no") }
	g.Update([]Change{kid("a/www, a/other")})
	if v := g.Host("x.test"); v.TCP == nil || len(v.Routes) != 1 {
		t.Errorf("with consent, after a panic: %+v", v)
	}
	g.Update([]Change{kid("a/other")})
	if v := g.Host("x.test"); v.TCP != nil || v.TLS != nil || len(v.Routes) != 0 {
		t.Errorf("without consent, after a panic: %+v", v)
	}
}
