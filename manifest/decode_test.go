package manifest

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"

	"isoline.dev/isoline/problem"
)

var origin = problem.Origin{Repository: "https://git.example.com/shop.git", Commit: "c0ffee", Path: "routes.yaml", Line: 7}

// decoded is the one object that raw has to be.
func decoded(t *testing.T, raw string) *Object {
	t.Helper()
	o, problems := Decode([]byte(raw), "shop", origin, "ns")
	if o == nil || len(problems) != 0 {
		t.Fatalf("object %v, problems %v", o, problems)
	}
	return o
}

func TestEachKindIsDecodedToItsType(t *testing.T) {
	for kind, apiVersion := range map[string]string{
		HTTPProxy: "projectcontour.io/v1", TLSCertificateDelegation: "projectcontour.io/v1",
		ExtensionService: "projectcontour.io/v1alpha1", Ingress: "networking.k8s.io/v1", IngressClass: "networking.k8s.io/v1",
		Service: "v1", Secret: "v1", EndpointSlice: "discovery.k8s.io/v1",
	} {
		o := decoded(t, "apiVersion: "+apiVersion+"\nkind: "+kind+"\nmetadata: {name: a, labels: {b: c}}\n")
		want := Key{Kind: kind, Namespace: "ns", Name: "a"}
		if kind == IngressClass {
			want.Namespace = ""
		}
		if o.Key != want || o.Team != "shop" || o.Origin != origin || o.Value.GetNamespace() != want.Namespace || o.Value.GetLabels()["b"] != "c" {
			t.Errorf("%s: %+v with %+v", kind, o, o.Value)
		}
		if gvk := o.Value.GetObjectKind().GroupVersionKind(); gvk.Kind != kind || gvk.GroupVersion().String() != apiVersion {
			t.Errorf("%s: the value says that it is %s", kind, gvk)
		}
	}
}

func TestANamespaceThatIsWrittenStays(t *testing.T) {
	if o := decoded(t, "{apiVersion: v1, kind: Service, metadata: {name: a, namespace: mine}}"); o.Key.Namespace != "mine" {
		t.Errorf("namespace %q", o.Key.Namespace)
	}
	o, _ := Decode([]byte("{apiVersion: v1, kind: Service, metadata: {name: a}}"), "", problem.Origin{}, "")
	if o == nil || o.Key.Namespace != DefaultNamespace {
		t.Errorf("object %+v, want it in %s", o, DefaultNamespace)
	}
	o = decoded(t, "{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: a, namespace: mine}}")
	if o.Key.Namespace != "" || o.Value.GetNamespace() != "" {
		t.Errorf("a cluster-scoped object is in %q", o.Key.Namespace)
	}
}

func TestWhatIsWrongIsSaidWithItsField(t *testing.T) {
	const proxy = "apiVersion: projectcontour.io/v1\nkind: HTTPProxy\nmetadata: {name: a}\n"
	type want struct {
		severity              problem.Severity
		reason, field, inText string
	}
	for name, c := range map[string]struct {
		raw  string
		want []want
	}{
		"unknown field": {proxy + "spec: {routes: [{}, {services: [{name: a, port: 1, wieght: 2}]}]}",
			[]want{{problem.Warning, ReasonUnknownField, "spec.routes[1].services[0].wieght", "does not exist"}}},
		"case": {proxy + "spec: {virtualHost: {}}",
			[]want{{problem.Warning, ReasonUnknownField, "spec.virtualHost", "does not exist"}}},
		"twice": {`{"apiVersion":"v1","kind":"Service","metadata":{"name":"a"},"spec":{"type":"a","type":"b","typo":1}}`,
			[]want{{problem.Warning, ReasonDuplicateField, "spec.type", "twice"}, {problem.Warning, ReasonUnknownField, "spec.typo", "does not exist"}}},
		"unknown in status": {proxy + "status: {nonsense: x}", nil},
		"string for number": {proxy + "spec: {routes: [{services: [{name: a, port: 1}, {name: b, port: \"80\"}]}]}",
			[]want{{problem.Error, ReasonInvalidField, "spec.routes[0].services[1].port", "expected a whole number, found a string"}}},
		"mapping for list": {proxy + "spec: {routes: {services: []}}",
			[]want{{problem.Error, ReasonInvalidField, "spec.routes", "expected a list, found a mapping"}}},
		"list for mapping": {proxy + "spec: {virtualhost: [a]}",
			[]want{{problem.Error, ReasonInvalidField, "spec.virtualhost", "expected a mapping, found a list"}}},
		"number for string": {proxy + "spec: {virtualhost: {fqdn: 5}}",
			[]want{{problem.Error, ReasonInvalidField, "spec.virtualhost.fqdn", "expected a string, found a number"}}},
		"text for bool": {proxy + "spec: {routes: [{permitInsecure: \"true\"}]}",
			[]want{{problem.Error, ReasonInvalidField, "spec.routes[0].permitInsecure", "expected true or false, found a string"}}},
		"too large": {"{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 99999999999}]}}",
			[]want{{problem.Error, ReasonInvalidField, "spec.ports[0].port", "out of its range"}}},
		"bad time": {"{apiVersion: v1, kind: Service, metadata: {name: a, creationTimestamp: soon}}", []want{{problem.Error, ReasonInvalidField, "", ""}}},
		"two metadata": {`{"apiVersion":"v1","kind":"Service","metadata":{"namespace":"B.D","name":"A_b"},"metadata":{"labels":{}}}`,
			[]want{{problem.Error, ReasonInvalidName, "metadata.name", `"A_b"`}, {problem.Error, ReasonInvalidNamespace, "metadata.namespace", `"B.D"`}, {problem.Warning, ReasonDuplicateField, "metadata", "twice"}}},
		"no name":          {"{apiVersion: v1, kind: Service}", []want{{problem.Error, ReasonInvalidName, "metadata.name", "no name"}}},
		"bad name":         {"{apiVersion: v1, kind: Service, metadata: {name: A_b}}", []want{{problem.Error, ReasonInvalidName, "metadata.name", `"A_b"`}}},
		"bad namespace":    {"{apiVersion: v1, kind: Service, metadata: {name: a, namespace: a.b}}", []want{{problem.Error, ReasonInvalidNamespace, "metadata.namespace", `"a.b"`}}},
		"name is a number": {"{apiVersion: v1, kind: Service, metadata: {name: 5}}", []want{{problem.Error, ReasonInvalidField, "metadata.name", "expected a string"}}},
		"metadata is text": {"{apiVersion: v1, kind: Service, metadata: a}", []want{{problem.Error, ReasonInvalidField, "metadata", "expected a mapping"}}},
		"old Ingress":      {"{apiVersion: extensions/v1beta1, kind: Ingress, metadata: {name: a}}", []want{{problem.Error, ReasonUnsupportedVersion, "apiVersion", "networking.k8s.io/v1"}}},
		"core Ingress":     {"{apiVersion: v1, kind: Ingress, metadata: {name: a}}", []want{{problem.Error, ReasonUnsupportedVersion, "apiVersion", "networking.k8s.io/v1"}}},
		"old slice":        {"{apiVersion: discovery.k8s.io/v1beta1, kind: EndpointSlice, metadata: {name: a}}", []want{{problem.Error, ReasonUnsupportedVersion, "apiVersion", "discovery.k8s.io/v1"}}},
		"IngressRoute":     {"{apiVersion: contour.heptio.com/v1beta1, kind: IngressRoute, metadata: {name: a}}", []want{{problem.Error, ReasonUnsupportedVersion, "apiVersion", "HTTPProxy"}}},
		"no version":       {"{kind: HTTPProxy, metadata: {name: a}}", []want{{problem.Error, ReasonUnsupportedVersion, "apiVersion", "projectcontour.io/v1"}}},
		"misspelt kind":    {"{apiVersion: projectcontour.io/v1, kind: HTTProxy, metadata: {name: a}}", []want{{problem.Error, ReasonUnknownKind, "kind", "HTTPProxy"}}},
		"kind in its case": {"{apiVersion: v1, kind: service, metadata: {name: a}}", []want{{problem.Error, ReasonUnknownKind, "kind", "write kind: Service"}}},
		"no kind":          {"{apiVersion: v1, metadata: {name: a}}", []want{{problem.Error, ReasonNotAnObject, "kind", ""}}},
		"a list":           {"[1]", []want{{problem.Error, ReasonNotAnObject, "", ""}}},
		"nothing":          {"", []want{{problem.Error, ReasonNotAnObject, "kind", ""}}},
		"no YAML":          {"a: [", []want{{problem.Error, ReasonNotAnObject, "", ""}}},
	} {
		t.Run(name, func(t *testing.T) {
			o, problems := Decode([]byte(c.raw), "shop", origin, "ns")
			if (o == nil) != (problem.Errors(problems) > 0) {
				t.Errorf("object %v with problems %v", o, problems)
			}
			if len(problems) != len(c.want) {
				t.Fatalf("problems %v, want %v", problems, c.want)
			}
			for i, w := range c.want {
				p := problems[i]
				if p.Severity != w.severity || p.Type != TypeSpecError || p.Reason != w.reason || p.Field != w.field || !strings.Contains(p.String(), w.inText) {
					t.Errorf("problem %v, want %v", p, w)
				}
				if p.Origin != origin || p.Team != "shop" {
					t.Errorf("not of its origin: %+v", p)
				}
			}
		})
	}
}

func TestOtherKindsAreNeitherObjectsNorProblems(t *testing.T) {
	for _, raw := range []string{
		"{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, namespace: b}}",
		"{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {name: a, namespace: b}}",
		"{apiVersion: projectcontour.io/v1alpha1, kind: ContourConfiguration, metadata: {name: a, namespace: b}, spec: 5}",
	} {
		if o, problems := Decode([]byte(raw), "", problem.Origin{}, ""); o != nil || problems != nil {
			t.Errorf("%s: object %v, problems %v", raw, o, problems)
		}
		id, err := Identify([]byte(raw))
		if err != nil || id.Key.Name != "a" || id.Key.Namespace != "b" || id.Key.Kind == "" || id.APIVersion == "" {
			t.Errorf("%s: %+v, %v", raw, id, err)
		}
	}
}

func TestASecretsTextIsItsData(t *testing.T) {
	o := decoded(t, "{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {x: b2xk, w: b2xk}, stringData: {x: new, z: more}}")
	secret := o.Value.(*corev1.Secret)
	want := map[string][]byte{"x": []byte("new"), "w": []byte("old"), "z": []byte("more")}
	if diff := cmp.Diff(want, secret.Data); diff != "" || secret.StringData != nil {
		t.Errorf("stringData %v, data (-want +got):\n%s", secret.StringData, diff)
	}
}

func TestAProblemOfASecretHoldsNothingOfIt(t *testing.T) {
	for _, raw := range []string{
		"{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {x: hunter2}}",
		"{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {x: 42424242}}",
		"{apiVersion: v1, kind: Secret, metadata: {name: a}, stringData: {x: 42424242}}",
		"{apiVersion: v1, kind: Secret, metadata: {name: a}, data: hunter2}",
		"{apiVersion: v1, kind: Secret, metadata: {name: a}, stringData: [hunter2]}",
	} {
		_, problems := Decode([]byte(raw), "", problem.Origin{}, "")
		if problem.Errors(problems) == 0 {
			t.Errorf("%s: no error", raw)
		}
		for _, p := range problems {
			if s := p.String(); strings.Contains(s, "hunter2") || strings.Contains(s, "4242") {
				t.Errorf("%s", s)
			}
		}
	}
}

func TestADigestIsTheContents(t *testing.T) {
	base := "apiVersion: projectcontour.io/v1\nkind: HTTPProxy\nmetadata: {name: a%s}\nspec: {ingressClassName: c}\n"
	with := func(metadata, rest string) *Object { return decoded(t, strings.Replace(base, "%s", metadata, 1)+rest) }
	plain := with("", "")
	for name, same := range map[string]*Object{
		"server fields": with(", resourceVersion: \"5\", generation: 2, managedFields: [{manager: x}]", ""),
		"status":        with("", "status: {currentStatus: valid}"),
		"JSON":          decoded(t, `{"spec":{"ingressClassName":"c"},"metadata":{"name":"a"},"kind":"HTTPProxy","apiVersion":"projectcontour.io/v1"}`),
	} {
		if same.Digest != plain.Digest {
			t.Errorf("%s changes the digest", name)
		}
		if !apiequality.Semantic.DeepEqual(same.Value, plain.Value) {
			t.Errorf("%s: equal digests, unequal values: %+v", name, same.Value)
		}
	}
	seen := map[string]string{plain.Digest: "plain"}
	for name, other := range map[string]*Object{
		"label":         with(", labels: {a: b}", ""),
		"annotation":    with(", annotations: {a: b}", ""),
		"creation time": with(", creationTimestamp: \"2020-01-01T00:00:00Z\"", ""),
		"name":          with("b", ""),
		"namespace":     with(", namespace: other", ""),
		"spec":          decoded(t, strings.Replace(strings.Replace(base, "%s", "", 1), "Name: c", "Name: d", 1)),
	} {
		if twin, dup := seen[other.Digest]; dup {
			t.Errorf("%s has the digest of %s", name, twin)
		}
		seen[other.Digest] = name
	}
}

func TestTheCreationTimeIsThatOfTheAPIServer(t *testing.T) {
	o := decoded(t, "{apiVersion: v1, kind: Service, metadata: {name: a, creationTimestamp: \"2020-01-02T03:04:05Z\"}}")
	if got := o.Created(); !got.Equal(time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)) {
		t.Errorf("created %s", got)
	}
	if got := decoded(t, "{apiVersion: v1, kind: Service, metadata: {name: a, creationTimestamp: null}}").Created(); !got.IsZero() {
		t.Errorf("created %s, want no time", got)
	}
}

func TestNilPartsOfAnObjectAreNoReasonToFail(t *testing.T) {
	o := decoded(t, "{apiVersion: projectcontour.io/v1, kind: HTTPProxy, metadata: {name: a, labels: null}, spec: {virtualhost: null, routes: [null, {services: [null]}], includes: null}}")
	if n := len(o.Value.(*contourv1.HTTPProxy).Spec.Routes); n != 2 {
		t.Errorf("%d routes", n)
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"", "null", "[]", "5", `{"kind":"HTTPProxy"}`, "{kind: HTTPProxy, apiVersion: projectcontour.io/v1, metadata: {name: a}}",
		`{"kind":"HTTPProxy","apiVersion":"projectcontour.io/v1","metadata":{"name":"a"},"spec":{"routes":[{"services":[{"port":"x"}]},null]}}`,
		`{"kind":"Ingress","apiVersion":"networking.k8s.io/v1","metadata":{"name":"a"},"spec":{"defaultBackend":{"resource":{"kind":"a","name":"b"}},"rules":[{"http":{"paths":[{"backend":{"service":{"port":{}}}}]}}]}}`,
		`{"kind":"Service","apiVersion":"v1","metadata":{"name":"a","name":"b"},"spec":{"ports":[{"targetPort":{}}]}}`,
		`{"kind":"Secret","apiVersion":"v1","metadata":{"name":"a"},"data":{"a":"!"},"stringData":{"b":null}}`,
		`{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{"name":"a"},"endpoints":[null,{"conditions":{"ready":null}}],"ports":[{"port":-1}]}`,
		`{"kind":"ExtensionService","apiVersion":"projectcontour.io/v1alpha1","metadata":{"name":"a"},"spec":{"services":[{}]}}`,
		`{"kind":5,"apiVersion":{},"metadata":[]}`, "a: &a [*a]", "? {a: b}\n: c", "\xff\xfe", "{\"kind\": \"Service\"} trailing",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		o, problems := Decode(raw, "t", origin, "")
		if o == nil {
			if _, err := Identify(raw); err != nil && len(problems) == 0 {
				t.Fatalf("neither object nor problem, and no identity: %v", err)
			}
			return
		}
		if problem.Errors(problems) > 0 || o.Key.Name == "" || o.Digest == "" || o.Key.Name != o.Value.GetName() || o.Key.Namespace != o.Value.GetNamespace() {
			t.Fatalf("object %+v with problems %v", o, problems)
		}
		// What was decoded says of itself what it is, and comes back the same.
		j, err := json.Marshal(o.Value)
		if err != nil {
			t.Fatal(err)
		}
		again, problems := Decode(j, "t", origin, "")
		if again == nil || again.Digest != o.Digest || again.Key != o.Key {
			t.Fatalf("came back as %+v with %v", again, problems)
		}
	})
}
