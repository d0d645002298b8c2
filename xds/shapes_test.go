package xds

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
	contourv1alpha1 "github.com/projectcontour/contour/apis/projectcontour/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"pgregory.net/rapid"

	"isoline.dev/isoline/dag"
	"isoline.dev/isoline/lab"
	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

// TestWhateverTheAPICanSayIsServedOrAProblem fills objects of all kinds with
// anything that their types can hold. None may bring a host down, the order in
// which they come must not matter, and a real Envoy has to take what comes of
// them.
func TestWhateverTheAPICanSayIsServedOrAProblem(t *testing.T) {
	const most = 400 // hosts for Envoy
	var o offer
	authority, err := lab.NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Sign(lab.CertificateOptions{Hosts: []string{"a.test", "*.test"}})
	if err != nil {
		t.Fatal(err)
	}
	secret := map[string][]byte{"tls.crt": pair.CertPEM, "tls.key": pair.KeyPEM, "ca.crt": authority.PEM}
	rapid.Check(t, func(r *rapid.T) {
		var changes []dag.Change
		for range 12 {
			if object := drawShape(r, secret); object != nil {
				changes = append(changes, dag.Change{Key: object.Key, Object: object})
			}
		}
		changes = lastOfEach(changes)
		g := dag.New(dag.Options{}, nil)
		g.Update(changes)
		shuffled := dag.New(dag.Options{}, nil)
		shuffled.Update(rapid.Permutation(changes).Draw(r, "order"))
		if a, b := whatComesOf(r, g), whatComesOf(r, shuffled); a != b {
			r.Fatalf("the order of the objects matters:\n%s\n%s", a, b)
		}
		for _, p := range g.Problems() {
			if p.Type == "InternalError" {
				r.Fatalf("%v", p)
			}
		}
		for _, vh := range g.Hosts() {
			if h, _ := translateHost(vh, Options{}); h != nil && len(o.hosts) < most {
				name := fmt.Sprintf("h%d", len(o.hosts)) // scopes must differ
				h.scope = scopeOf(HTTPListener, name, name)
				h.routes.Name = name
				o.hosts = append(o.hosts, h)
			}
		}
	})
	if len(o.hosts) < 20 {
		t.Errorf("only %d hosts came of it", len(o.hosts))
	}
	if why := envoyRefuses(t, t.TempDir(), o); why != "" {
		t.Errorf("Envoy refuses what came of it: %s", why)
	}
}

// lastOfEach has one change for every key.
func lastOfEach(changes []dag.Change) []dag.Change {
	var out []dag.Change
	for i, c := range changes {
		if !slices.ContainsFunc(changes[i+1:], func(o dag.Change) bool { return o.Key == c.Key }) {
			out = append(out, c)
		}
	}
	return out
}

// whatComesOf is all that comes of a graph, as text.
func whatComesOf(r *rapid.T, g *dag.Graph) string {
	var b strings.Builder
	for _, vh := range g.Hosts() {
		unit, problems := Translate(vh, Options{})
		chain, more := TranslateChain(vh, ListenerOptions{})
		if unit != nil {
			for _, list := range [][]*Resource{unit.Routes, unit.Scopes} {
				for _, resource := range list {
					fmt.Fprintln(&b, resource.Name(), resource.Version())
				}
			}
			for _, c := range unit.Clusters {
				fmt.Fprintln(&b, c.Resource.Name(), c.Resource.Version())
			}
		}
		fmt.Fprintln(&b, chain != nil, problems, more)
	}
	report, err := json.Marshal([]any{g.Problems(), g.Objects(), g.HostReports(), g.Endpoints()})
	if err != nil {
		r.Fatal(err)
	}
	return b.String() + string(report)
}

// drawShape is an object as it comes out of its manifest; nil where it is
// refused there.
func drawShape(r *rapid.T, secret map[string][]byte) *manifest.Object {
	var kind, version string
	var value manifest.Value
	switch rapid.IntRange(0, 11).Draw(r, "kind") {
	case 0, 1:
		kind, version, value = manifest.Ingress, "networking.k8s.io/v1", &networkingv1.Ingress{}
	case 2, 3:
		kind, version, value = manifest.Service, "v1", &corev1.Service{}
	case 4:
		kind, version, value = manifest.EndpointSlice, "discovery.k8s.io/v1", &discoveryv1.EndpointSlice{}
	case 5:
		kind, version, value = manifest.Secret, "v1", &corev1.Secret{}
	case 6:
		kind, version, value = manifest.TLSCertificateDelegation, "projectcontour.io/v1", &contourv1.TLSCertificateDelegation{}
	case 7:
		kind, version, value = manifest.ExtensionService, "projectcontour.io/v1alpha1", &contourv1alpha1.ExtensionService{}
	default:
		kind, version, value = manifest.HTTPProxy, "projectcontour.io/v1", &contourv1.HTTPProxy{}
	}
	fill(r, reflect.ValueOf(value).Elem(), 0)
	value.SetName(rapid.SampledFrom([]string{"a", "b"}).Draw(r, "name"))
	value.SetNamespace(rapid.SampledFrom([]string{"a", "b"}).Draw(r, "namespace"))
	makeSense(r, value, secret)
	body, err := json.Marshal(value)
	if err != nil {
		r.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(body, &fields); err != nil {
		r.Fatal(err)
	}
	fields["apiVersion"], fields["kind"] = version, kind
	if body, err = json.Marshal(fields); err != nil {
		r.Fatal(err)
	}
	object, _ := manifest.Decode(body, "", problem.Origin{Path: "shape"}, "")
	return object
}

// makeSense mends, most of the time, what would end everything else.
func makeSense(r *rapid.T, value manifest.Value, secret map[string][]byte) {
	if rapid.IntRange(0, 4).Draw(r, "leave it") == 0 {
		return
	}
	switch v := value.(type) {
	case *contourv1.HTTPProxy:
		v.Spec.IngressClassName = ""
		if v.Spec.VirtualHost == nil && rapid.Bool().Draw(r, "root") {
			v.Spec.VirtualHost = &contourv1.VirtualHost{}
		}
		if v.Spec.VirtualHost != nil {
			v.Spec.VirtualHost.IPDenyFilterPolicy = nil // it is for either, not both
			v.Spec.VirtualHost.Fqdn = rapid.SampledFrom([]string{"a.test", "b.test", "*.test"}).Draw(r, "fqdn")
		}
		for i := range v.Spec.Routes {
			route := &v.Spec.Routes[i]
			route.Conditions = []contourv1.MatchCondition{{Prefix: rapid.SampledFrom([]string{"/", "/a", "/b/"}).Draw(r, "prefix")}}
			if len(route.Services) > 0 {
				route.RequestRedirectPolicy, route.DirectResponsePolicy = nil, nil
			}
			for j := range route.Services {
				route.Services[j].Name, route.Services[j].Port = "a", 80
			}
		}
	case *networkingv1.Ingress:
		v.Spec.IngressClassName = nil
	case *corev1.Service:
		v.Spec.Type, v.Spec.Ports = "", append(v.Spec.Ports, corev1.ServicePort{Name: "good", Port: 80})
	case *corev1.Secret:
		v.Type, v.Data = "", secret
	}
}

// shapeWords are what strings are made of, good and bad.
var shapeWords = []string{
	"a", "a", "a", "b", "b", "/", "/", "/a", "/a/b", "a.test", "*.test", "a/b", "*", "80", "1s", "300ms", "infinity", "true", "false",
	"h2c", "h2", "tls", "5xx", "http", "https", "GET", "X-A", "10.0.0.0/8", "10.0.0.1", "%REQ(X-A)%", "2", "1.2", "1.3",
	"Prefix", "Exact", "second", "minute", "Cookie", "RequestHash", "Random", "Remote", "Peer", "Strict", "Always", "auto", "ClusterIP", "IPv4",
	"", "-1", "é", "\x00", "a b", "/(", "[", "%", "/../", "\r\n", "\\Qa", "/.*", strings.Repeat("x", 300),
}

// shapeAnnotations are names that mean something.
var shapeAnnotations = []string{
	"isoline.dev/included-by", "kubernetes.io/ingress.allow-http", "ingress.kubernetes.io/force-ssl-redirect",
	"projectcontour.io/num-retries", "projectcontour.io/retry-on", "projectcontour.io/per-try-timeout",
	"projectcontour.io/response-timeout", "projectcontour.io/websocket-routes", "projectcontour.io/tls-cert-namespace",
	"projectcontour.io/tls-minimum-protocol-version", "projectcontour.io/max-connections",
	"projectcontour.io/upstream-protocol.h2", "projectcontour.io/upstream-protocol.tls", "projectcontour.io/unknown",
}

// fill sets parts of a value, at any depth, to something of their type.
func fill(r *rapid.T, v reflect.Value, depth int) {
	if depth > 14 {
		return
	}
	word := func() string { return rapid.SampledFrom(shapeWords).Draw(r, "word") }
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(r, v.Elem(), depth)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(word()))
			return
		}
		for range rapid.IntRange(1, 2).Draw(r, "length") {
			item := reflect.New(v.Type().Elem()).Elem()
			fill(r, item, depth+1)
			v.Set(reflect.Append(v, item))
		}
	case reflect.Map:
		if v.Type().Key().Kind() == reflect.String && v.Type().Elem().Kind() == reflect.String {
			v.Set(reflect.MakeMap(v.Type()))
			v.SetMapIndex(reflect.ValueOf(word()).Convert(v.Type().Key()), reflect.ValueOf(word()).Convert(v.Type().Elem()))
		}
	case reflect.Struct:
		fillStruct(r, v, depth)
	case reflect.String:
		v.SetString(word())
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(r, "bool"))
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(rapid.SampledFrom([]int64{80, 80, 80, 0, 1, 1, 2, 200, 301, 503, -1, 65536, 1<<31 - 1}).Draw(r, "int"))
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(rapid.SampledFrom([]uint64{0, 1, 100, 200}).Draw(r, "uint"))
	}
}

func fillStruct(r *rapid.T, v reflect.Value, depth int) {
	switch v := v.Addr().Interface().(type) {
	case *metav1.ObjectMeta:
		for range rapid.IntRange(0, 2).Draw(r, "annotations") {
			metav1.SetMetaDataAnnotation(v, rapid.SampledFrom(shapeAnnotations).Draw(r, "annotation"), rapid.SampledFrom(shapeWords).Draw(r, "word"))
		}
		v.Labels = map[string]string{discoveryv1.LabelServiceName: rapid.SampledFrom([]string{"a", "b"}).Draw(r, "service")}
		return
	case *metav1.TypeMeta, *metav1.Time, *intstr.IntOrString:
		return
	}
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		switch {
		case !v.Field(i).CanSet() || name == "Status":
		case v.Field(i).Kind() == reflect.Struct || slices.Contains(usual, name) || rapid.IntRange(0, 3).Draw(r, "set") == 0:
			fill(r, v.Field(i), depth+1)
		}
	}
}

// usual are fields that are nearly always there.
var usual = []string{
	"Services", "Routes", "Conditions", "Prefix", "Port", "Name", "Rules", "HTTP", "Paths", "Path", "Service", "Ports",
	"SecretName", "Hosts", "TargetNamespaces", "Delegations", "Endpoints", "Addresses",
}
