// Package author writes manifests at random, for tests of what must hold
// whatever somebody writes. Every field of the routing API is set now and
// then, by reflection, so that new fields need nothing here: mostly to a value
// that means something in the small world that the objects share, sometimes to
// one that nobody should write. It knows nothing of how Isoline reads them.
package author

import (
	"fmt"
	"reflect"
	"strings"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
	contourv1alpha1 "github.com/projectcontour/contour/apis/projectcontour/v1alpha1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Source is where chance comes from: *rand.Rand, or a property's draws.
type Source interface {
	// IntN is from 0 to n-1.
	IntN(n int) int
}

// Namespace is where all that an author writes lives.
const Namespace = "author"

// Names of what an author refers to and does not write. Who compiles the
// manifests gives the Services ports 80 and 443, and the Secrets tls.crt,
// tls.key, ca.crt and crl.pem.
var (
	Services = []string{"web", "api"}
	Secrets  = []string{"tls", "ca", "crl"}
)

// Objects writes some objects, which refer to each other.
func Objects(from Source) []runtime.Object {
	a := author{from}
	var all []runtime.Object
	for i := range 1 + a.IntN(4) {
		p := &contourv1.HTTPProxy{TypeMeta: typeOf("projectcontour.io/v1", "HTTPProxy"), ObjectMeta: meta("proxy", i)}
		a.fill(reflect.ValueOf(&p.Spec).Elem(), "spec")
		switch {
		case i > 0 && !a.now(3):
			p.Spec.VirtualHost = nil
		case i == 0 && p.Spec.VirtualHost == nil:
			p.Spec.VirtualHost = &contourv1.VirtualHost{}
			a.fill(reflect.ValueOf(p.Spec.VirtualHost).Elem(), "virtualhost")
		}
		if i == 0 && a.now(2) {
			p.Spec.Includes = nil
			for n := range 3 {
				p.Spec.Includes = append(p.Spec.Includes, contourv1.Include{Name: fmt.Sprint("proxy-", n+1),
					Conditions: []contourv1.MatchCondition{{Prefix: fmt.Sprint("/", n)}}})
			}
		}
		all = append(all, p)
	}
	if a.now(3) {
		in := &networkingv1.Ingress{TypeMeta: typeOf("networking.k8s.io/v1", "Ingress"), ObjectMeta: meta("ingress", 0)}
		a.fill(reflect.ValueOf(&in.Spec).Elem(), "spec")
		all = append(all, in)
	}
	for i := range 2 {
		s := &contourv1alpha1.ExtensionService{TypeMeta: typeOf("projectcontour.io/v1alpha1", "ExtensionService"), ObjectMeta: meta("extension", i)}
		a.fill(reflect.ValueOf(&s.Spec).Elem(), "spec")
		all = append(all, s)
	}
	return all
}

func typeOf(apiVersion, kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: apiVersion, Kind: kind}
}

func meta(name string, i int) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: Namespace, Name: fmt.Sprint(name, "-", i)}
}

type author struct{ Source }

// now is true once in n times.
func (a author) now(n int) bool { return a.IntN(n) == 0 }

// fill sets a value that belongs to a field.
func (a author) fill(v reflect.Value, field string) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		a.fill(v.Elem(), field)
	case reflect.Struct:
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			if required[name] || a.now(4) {
				a.fill(v.Field(i), name)
			}
		}
		if !a.now(20) {
			a.settle(v.Addr().Interface())
		}
	case reflect.Slice:
		n := 1 + a.IntN(2)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			a.fill(v.Index(i), field)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("key"), reflect.ValueOf(a.text("value")))
	case reflect.String:
		v.SetString(a.text(field))
	case reflect.Bool:
		v.SetBool(!a.now(5))
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(int64(a.number(field)))
	case reflect.Uint32:
		v.SetUint(uint64(uint32(a.number(field))))
	}
}

// required are fields without which the rest around them says little.
var required = map[string]bool{
	"name": true, "port": true, "fqdn": true, "services": true, "routes": true, "path": true, "cidr": true, "source": true,
	"requests": true, "unit": true, "caSecret": true, "subjectName": true, "uri": true, "value": true, "window": true,
	"allowOrigin": true, "allowMethods": true, "statusCode": true, "entries": true, "descriptors": true, "headerName": true,
	"parameterName": true, "start": true, "end": true, "replacement": true, "prefix": true, "remoteJWKS": true,
	"extensionRef": true, "rules": true, "paths": true, "backend": true, "service": true, "number": true, "http": true,
	"host": true, "secretName": true, "strategy": true,
}

// texts are what the fields of a name mostly hold.
var texts = map[string][]string{
	"name":                     {"web", "api", "web", "proxy-1", "proxy-2", "proxy-3", "extension-0", "x-version", "q", "provider"},
	"namespace":                {"", "", Namespace, "elsewhere"},
	"ingressClassName":         {"", "", "", "contour", "other"},
	"fqdn":                     {"www.example.com", "www.example.com", "*.example.com", "other.example.com", "WWW.example.com"},
	"host":                     {"www.example.com", "*.example.com", "ingress.example.com", ""},
	"hosts":                    {"www.example.com", "ingress.example.com"},
	"prefix":                   {"/", "/a", "/a/b", "/a/"},
	"exact":                    {"/a", "abc", "/a/b/c"},
	"path":                     {"/", "/a", "/healthz"},
	"replacement":              {"/", "/new", "/new/"},
	"regex":                    {"/a.*", "[a-z]+", "/(a|b)"},
	"secretName":               {"tls", "tls", "missing", "ca"},
	"caSecret":                 {"ca", "ca", "elsewhere/ca", "tls"},
	"crlSecret":                {"crl", "missing"},
	"minimumProtocolVersion":   {"1.2", "1.3", ""},
	"maximumProtocolVersion":   {"1.2", "1.3", ""},
	"protocol":                 {"h2c", "h2", "tls"},
	"strategy":                 {"Random", "RoundRobin", "WeightedLeastRequest", "Cookie", "RequestHash"},
	"response":                 {"1s", "infinity", "0s", "250ms"},
	"idle":                     {"1s", "infinity", "0s"},
	"idleConnection":           {"1s", "infinity", "0s"},
	"perTryTimeout":            {"1s", "infinity", "0s"},
	"responseTimeout":          {"1s", "infinity"},
	"timeout":                  {"1s", "5s"},
	"cacheDuration":            {"1m", "1h"},
	"window":                   {"1s", "30s"},
	"maxAge":                   {"10m", "0", "1s"},
	"aggression":               {"1.0", "0.5", "2"},
	"retryOn":                  {"5xx", "reset", "retriable-status-codes", "cancelled"},
	"allowCrossSchemeRedirect": {"Always", "Never", "SafeOnly"},
	"scheme":                   {"http", "https"},
	"hostname":                 {"other.example.com"},
	"cidr":                     {"10.0.0.0/8", "192.0.2.1", "2001:db8::/32"},
	"source":                   {"Peer", "Remote"},
	"unit":                     {"second", "minute", "hour"},
	"sameSite":                 {"Strict", "Lax", "None"},
	"uri":                      {"https://keys.example.com/jwks.json", "http://keys.example.com:8080/"},
	"dnsLookupFamily":          {"auto", "v4", "v6"},
	"allowOrigin":              {"*", "https://app.example.com", "https://[a-z]+\\.example\\.com"},
	"allowMethods":             {"GET", "POST"},
	"allowHeaders":             {"authorization", "x-version"},
	"exposeHeaders":            {"x-version"},
	"headerName":               {"x-user", "x-version"},
	"remove":                   {"x-remove", "x-version"},
	"require":                  {"provider"},
	"issuer":                   {"issuer.example.com"},
	"audiences":                {"aud"},
	"subjectName":              {"web.example.com"},
	"subjectNames":             {"web.example.com"},
	"value":                    {"plain", "%REQ(x-user)%", "%DOWNSTREAM_REMOTE_ADDRESS%", "100%", "example.com"},
	"protocolVersion":          {"v3"},
	"apiVersion":               {"", "projectcontour.io/v1alpha1"},
	"pathType":                 {"Exact", "Prefix", "ImplementationSpecific"},
	"body":                     {"text", "%REQ(a)%"},
}

// hostile is what no field should hold.
var hostile = []string{"", " ", "\x00", "\r\nx: y", "é", "\xff", "%", "%REQ(", "%NOPE%", "//", "/../", "*", "**", "(", "[", "\\", "\"", "'", ";",
	"${x}", "{{x}}", "a b", "/a?b", "/a#b", ":authority", "host", "Host", "x-envoy-retry-on", "99999999999h", "-1s", "1", "0", "a/b/c",
	strings.Repeat("x", 5000), strings.Repeat("(a", 300)}

func (a author) text(field string) string {
	known := texts[field]
	if len(known) == 0 {
		known = []string{"text", "abc", "1"}
	}
	if a.now(40) {
		return strings.ToValidUTF8(hostile[a.IntN(len(hostile))], "?") // YAML holds no other
	}
	return known[a.IntN(len(known))]
}

// numbers are what the fields of a name mostly hold.
var numbers = map[string][]int{
	"port": {80, 80, 443}, "healthPort": {443, 80}, "number": {80, 443}, "weight": {0, 1, 10, 100},
	"statusCode": {200, 301, 302, 404}, "responseStatusCode": {429, 503}, "redirectResponseCodes": {301, 302, 307},
	"retriableStatusCodes": {503, 404}, "start": {200, 300}, "end": {300, 600}, "minWeightPercent": {10, 50},
	"count": {1, 3, -1, 0},
}

func (a author) number(field string) int {
	known := numbers[field]
	if len(known) == 0 {
		known = []int{1, 2, 5, 10}
	}
	if a.now(40) {
		odd := []int{0, -1, 1 << 20, 1<<31 - 1, -1 << 31, 99, 600, 65536}
		return odd[a.IntN(len(odd))]
	}
	return known[a.IntN(len(known))]
}

// settle leaves of what excludes each other only one, so that most objects
// are not refused for that alone.
func (a author) settle(of any) {
	switch v := of.(type) {
	case *contourv1.Route:
		a.settleRoute(v)
	case *contourv1.HTTPProxySpec:
		if !a.now(4) {
			v.TCPProxy = nil
		}
	case *contourv1.TCPProxy:
		v.IncludesDeprecated = nil
		if v.Include != nil {
			v.Services = nil
		}
	case *contourv1.MatchCondition:
		a.keepOne(reflect.ValueOf(v).Elem(), "Prefix", "Exact", "Regex", "Header", "QueryParameter")
	case *contourv1.HeaderMatchCondition:
		a.keepOne(reflect.ValueOf(v).Elem(), "Present", "NotPresent", "Contains", "NotContains", "Exact", "NotExact", "Regex")
	case *contourv1.QueryParameterMatchCondition:
		a.keepOne(reflect.ValueOf(v).Elem(), "Exact", "Prefix", "Suffix", "Regex", "Contains", "Present")
	case *contourv1.RateLimitDescriptorEntry:
		a.keepOne(reflect.ValueOf(v).Elem(), "GenericKey", "RequestHeader", "RequestHeaderValueMatch", "RemoteAddress")
	case *contourv1.RequestHashPolicy:
		a.keepOne(reflect.ValueOf(v).Elem(), "HeaderHashOptions", "QueryParameterHashOptions", "HashSourceIP")
	case *contourv1.HTTPRequestRedirectPolicy:
		a.keepOne(reflect.ValueOf(v).Elem(), "Path", "Prefix")
	case *contourv1.JWTVerificationPolicy:
		a.keepOne(reflect.ValueOf(v).Elem(), "Require", "Disabled")
	case *contourv1.JWTProvider:
		v.Name = "provider"
	case *contourv1.ExtensionServiceReference:
		v.Name, v.Namespace = "extension-0", Namespace
	case *contourv1.UpstreamValidation:
		v.SubjectNames = []string{v.SubjectName}
	case *contourv1.Include:
		v.Name, v.Namespace = fmt.Sprint("proxy-", 1+a.IntN(3)), ""
	case *contourv1.VirtualHost:
		if v.IPAllowFilterPolicy != nil {
			v.IPDenyFilterPolicy = nil
		}
		if v.TLS == nil || v.TLS.Passthrough {
			v.Authorization, v.JWTProviders = nil, nil
		}
	case *contourv1.TLS:
		if v.Passthrough {
			*v = contourv1.TLS{Passthrough: true}
		}
	case *contourv1.Service:
		v.Name = Services[a.IntN(len(Services))]
	case *contourv1alpha1.ExtensionServiceTarget:
		v.Name = Services[a.IntN(len(Services))]
	case *networkingv1.IngressBackend:
		v.Resource = nil
	case *networkingv1.ServiceBackendPort:
		v.Name = ""
	}
}

func (a author) settleRoute(r *contourv1.Route) {
	if r.IPAllowFilterPolicy != nil {
		r.IPDenyFilterPolicy = nil
	}
	switch {
	case r.DirectResponsePolicy != nil && a.now(3):
		r.Services, r.RequestRedirectPolicy = nil, nil
	case r.RequestRedirectPolicy != nil && a.now(3):
		r.Services, r.DirectResponsePolicy = nil, nil
	default:
		r.RequestRedirectPolicy, r.DirectResponsePolicy = nil, nil
	}
	paths := 0
	for i := range r.Conditions {
		if c := &r.Conditions[i]; c.Prefix+c.Exact+c.Regex != "" {
			if paths++; paths > 1 {
				c.Prefix, c.Exact, c.Regex = "", "", ""
				c.Header = &contourv1.HeaderMatchCondition{Name: "x-version", Present: true}
			}
		}
	}
}

// keepOne clears all but one of the fields; if none was set, one is.
func (a author) keepOne(v reflect.Value, fields ...string) {
	keep := a.IntN(len(fields))
	for i, name := range fields {
		f := v.FieldByName(name)
		switch {
		case i != keep:
			f.SetZero()
		case f.IsZero():
			tag, _ := v.Type().FieldByName(name)
			json, _, _ := strings.Cut(tag.Tag.Get("json"), ",")
			a.fill(f, json)
		}
	}
}
