package team

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"isoline.dev/isoline/config"
	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

func policy() *Policy {
	c := config.Default()
	c.Endpoints.Allow = []string{"10.0.0.0/8", "0.0.0.0/0", "127.0.1.0/24"}
	percent := 30
	c.Teams = []config.Team{
		{Name: "a", Namespaces: []string{"a", "a2"}, Hosts: []string{"a.example.com", "*.a.example.com", "shared.example.com"},
			Kinds: []string{"HTTPProxy", "Ingress", "EndpointSlice"}, Limits: config.Limits{PrunePercent: &percent}},
		{Name: "b", Namespaces: []string{"b"}, Hosts: []string{"*.example.com", "shared.example.com"}, Kinds: []string{"HTTPProxy"}},
		{Name: "c", Namespaces: []string{"c"}, Kinds: []string{"HTTPProxy"}},
	}
	return New(c)
}

func object(kind, namespace, name string, v manifest.Value) *manifest.Object {
	return &manifest.Object{Key: manifest.Key{Kind: kind, Namespace: namespace, Name: name}, Value: v, Digest: "d",
		Origin: problem.Origin{Repository: "r", Path: "f.yaml", Line: 3}}
}

func proxy(namespace, name, fqdn string, routes int) *manifest.Object {
	p := &contourv1.HTTPProxy{Spec: contourv1.HTTPProxySpec{Routes: make([]contourv1.Route, routes)}}
	if fqdn != "" {
		p.Spec.VirtualHost = &contourv1.VirtualHost{Fqdn: fqdn}
	}
	return object("HTTPProxy", namespace, name, p)
}

func ingress(namespace string, defaultBackend bool, hosts ...string) *manifest.Object {
	i := &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "i"}}
	for _, h := range hosts {
		i.Spec.Rules = append(i.Spec.Rules, networkingv1.IngressRule{Host: h})
	}
	if defaultBackend {
		i.Spec.DefaultBackend = &networkingv1.IngressBackend{}
	}
	return object("Ingress", namespace, "i", i)
}

func TestATeamGetsOnlyWhatIsItsOwn(t *testing.T) {
	for _, tc := range []struct {
		name, team string
		object     *manifest.Object
		admitted   bool
		reasons    []string
	}{
		{"its own host", "a", proxy("a", "p", "a.example.com", 1), true, nil},
		{"its own host in upper case", "a", proxy("a", "p", "A.example.com", 1), true, nil},
		{"a label under its wildcard", "a", proxy("a", "p", "x.a.example.com", 1), true, nil},
		{"the wildcard itself", "a", proxy("a", "p", "*.a.example.com", 1), true, nil},
		{"two labels under its wildcard", "a", proxy("a", "p", "y.x.a.example.com", 1), false, []string{"HostNotAllowed"}},
		{"a wildcard under its wildcard", "b", proxy("b", "p", "*.a.example.com", 1), false, []string{"HostNotAllowed"}},
		{"somebody else's host", "a", proxy("a", "p", "b.example.org", 1), false, []string{"HostNotAllowed"}},
		{"a host that only ends alike", "a", proxy("a", "p", "evila.example.com", 1), false, []string{"HostNotAllowed"}},
		{"a child without hosts", "c", proxy("c", "p", "", 1), true, nil},
		{"a root without hosts", "c", proxy("c", "p", "c.example.org", 1), false, []string{"HostNotAllowed"}},
		{"its second namespace", "a", proxy("a2", "p", "", 1), true, nil},
		{"somebody else's namespace", "a", proxy("b", "p", "", 1), false, []string{"NamespaceNotAllowed"}},
		{"a kind that was not granted", "b", ingress("b", false), false, []string{"KindNotAllowed"}},
		{"an Ingress without a host", "a", ingress("a", false, ""), false, []string{"HostNotAllowed"}},
		{"an Ingress with a default backend", "a", ingress("a", true, "a.example.com"), true, []string{"HostNotAllowed"}},
		{"an Ingress half foreign", "a", ingress("a", false, "a.example.com", "b.example.org"), true, []string{"HostNotAllowed"}},
		{"an unknown team", "x", proxy("a", "p", "", 1), false, []string{"UnknownTeam"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, problems := policy().Admit(tc.team, []*manifest.Object{tc.object})
			if (len(got) == 1) != tc.admitted {
				t.Errorf("admitted %d objects", len(got))
			}
			var reasons []string
			for _, p := range problems {
				reasons = append(reasons, p.Reason)
				if p.Reason != "UnknownTeam" && (p.Origin.Line != 3 || p.Remedy == "" || p.Team != tc.team) {
					t.Errorf("problem lacks origin, remedy or team: %+v", p)
				}
			}
			if diff := cmp.Diff(tc.reasons, reasons); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOnlyTheForeignRulesOfAnIngressAreLeftOut(t *testing.T) {
	in := ingress("a", true, "a.example.com", "b.example.org")
	got, _ := policy().Admit("a", []*manifest.Object{in})
	kept := got[0].Value.(*networkingv1.Ingress)
	if len(kept.Spec.Rules) != 1 || kept.Spec.Rules[0].Host != "a.example.com" || kept.Spec.DefaultBackend != nil {
		t.Errorf("kept %+v", kept.Spec)
	}
	if got[0].Digest == in.Digest {
		t.Error("the part and the whole have one digest")
	}
	if whole := in.Value.(*networkingv1.Ingress); len(whole.Spec.Rules) != 2 {
		t.Error("the object given was changed")
	}
}

func TestEndpointsPointOnlyWhereThePlatformAllows(t *testing.T) {
	for address, want := range map[string]bool{
		"10.1.2.3": true, "8.8.8.8": true, "127.0.1.5": true, "::ffff:10.1.2.3": true,
		"127.0.0.1": false, "169.254.169.254": false, "::1": false, "0.0.0.0": false, "fd00::1": false, "localhost": false,
	} {
		o := object("EndpointSlice", "a", "s", &discoveryv1.EndpointSlice{
			Endpoints: []discoveryv1.Endpoint{{Addresses: []string{address}}}})
		got, problems := policy().Admit("a", []*manifest.Object{o})
		if len(got) != 1 {
			t.Fatalf("%s: the slice itself was refused: %v", address, problems)
		}
		kept := len(got[0].Value.(*discoveryv1.EndpointSlice).Endpoints) == 1
		if kept != want || (len(problems) == 0) != want {
			t.Errorf("%s: kept %v, want %v, problems %v", address, kept, want, problems)
		}
	}
}

func TestTheOwnerOfAHostIsTheOneTeamThatListsIt(t *testing.T) {
	for _, tc := range []struct {
		host, owner string
		ok          bool
	}{
		{"a.example.com", "a", true}, // b's wildcard covers it too, but a lists it
		{"x.a.example.com", "a", true},
		{"x.example.com", "b", true},
		{"shared.example.com", "a", false},
		{"nobody.example.org", "", false},
	} {
		owner, ok := policy().HostOwner(tc.host)
		if ok != tc.ok || (ok && owner != tc.owner) {
			t.Errorf("%s: %q %v", tc.host, owner, ok)
		}
	}
}

func TestTheGuardHoldsARevisionThatLosesTooMuch(t *testing.T) {
	many := func(n int) (out []*manifest.Object) {
		for i := range n {
			out = append(out, proxy("a", fmt.Sprint("p", i), fmt.Sprintf("h%d.a.example.com", i), 2))
		}
		return out
	}
	tm := policy().teams["a"]
	thin := many(10)
	for i := range thin {
		thin[i] = proxy("a", fmt.Sprint("p", i), fmt.Sprintf("h%d.a.example.com", i), 1)
	}
	for _, tc := range []struct {
		name          string
		before, after []*manifest.Object
		allow         AllowRemoval
		reason        string
	}{
		{"the first revision", nil, many(3), AllowRemoval{}, ""},
		{"nothing lost", many(10), many(10), AllowRemoval{}, ""},
		{"within the limit", many(10), many(7), AllowRemoval{}, ""},
		{"beyond the limit", many(10), many(6), AllowRemoval{}, "TooMuchRemoved"},
		{"a few of few", many(3), many(1), AllowRemoval{}, ""},
		{"everything", many(1), nil, AllowRemoval{}, "RevisionEmpty"},
		{"everything, confirmed", many(1), nil, AllowRemoval{Objects: []string{"*"}}, ""},
		{"half of each object's routes", many(10), thin, AllowRemoval{}, "TooMuchRemoved"},
		{"beyond the limit, confirmed by name", many(10), many(6),
			AllowRemoval{Objects: []string{"HTTPProxy a/p6", "HTTPProxy a/p7"}}, ""},
		{"beyond the limit, others confirmed", many(10), many(6), AllowRemoval{Objects: []string{"HTTPProxy a/p1"}}, "TooMuchRemoved"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := Guard(tm, tc.before, tc.after, tc.allow)
			reason := ""
			if p != nil {
				reason = p.Reason
				if !strings.Contains(p.Remedy, AllowRemovalPath) {
					t.Errorf("no way out: %s", p)
				}
			}
			if reason != tc.reason {
				t.Errorf("reason %q, want %q", reason, tc.reason)
			}
		})
	}
}

func TestAdmitKeepsTheOrderOfObjects(t *testing.T) {
	in := []*manifest.Object{proxy("a", "z", "", 1), proxy("b", "y", "", 1), proxy("a", "x", "", 1)}
	got, _ := policy().Admit("a", in)
	names := []string{}
	for _, o := range got {
		names = append(names, o.Key.Name)
	}
	if !slices.Equal(names, []string{"z", "x"}) {
		t.Errorf("got %v", names)
	}
}
