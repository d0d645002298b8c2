package dag

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
	contourv1alpha1 "github.com/projectcontour/contour/apis/projectcontour/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

// The generators draw from a small world, so that names, hosts and matches
// collide all the time.

func maybe[T any](t *rapid.T, of *rapid.Generator[T]) *T {
	if !rapid.Bool().Draw(t, "set") {
		return nil
	}
	v := of.Draw(t, "value")
	return &v
}

func oneOf[T any](t *rapid.T, values ...T) T { return rapid.SampledFrom(values).Draw(t, "one") }

func few(t *rapid.T, most int) int { return rapid.IntRange(0, most).Draw(t, "few") }

func drawObject(t *rapid.T) *manifest.Object {
	namespace := oneOf(t, "a", "b")
	n := strconv.Itoa(few(t, 2))
	meta := metav1.ObjectMeta{Namespace: namespace}
	if age := few(t, 2); age > 0 {
		meta.CreationTimestamp = metav1.Time{Time: time.Unix(int64(age), 0)}
	}
	var kind string
	var value manifest.Value
	switch oneOf(t, "HTTPProxy", "HTTPProxy", "HTTPProxy", "Ingress", "Ingress", "Service", "EndpointSlice", "Secret", "TLSCertificateDelegation", "ExtensionService") {
	case manifest.HTTPProxy:
		kind, meta.Name, meta.Annotations = manifest.HTTPProxy, "p"+n, drawAnnotations(t)
		value = &contourv1.HTTPProxy{ObjectMeta: meta, Spec: drawProxy(t)}
	case manifest.Ingress:
		kind, meta.Name, meta.Annotations = manifest.Ingress, "i"+n, drawAnnotations(t)
		value = &networkingv1.Ingress{ObjectMeta: meta, Spec: drawIngress(t)}
	case manifest.Service:
		kind, meta.Name = manifest.Service, "s"+n
		value = &corev1.Service{ObjectMeta: meta, Spec: drawService(t)}
	case manifest.ExtensionService:
		kind, meta.Name = manifest.ExtensionService, "x"
		value = &contourv1alpha1.ExtensionService{ObjectMeta: meta, Spec: drawExtension(t)}
	case manifest.Secret:
		kind, meta.Name = manifest.Secret, "t"
		value = drawSecret(t, meta)
	case manifest.TLSCertificateDelegation:
		kind, meta.Name = manifest.TLSCertificateDelegation, "d"+n
		value = drawDelegation(t, meta)
	default:
		kind, meta.Name = manifest.EndpointSlice, "e"+n
		meta.Labels = map[string]string{discoveryv1.LabelServiceName: "s" + strconv.Itoa(few(t, 2))}
		value = drawSlice(t, meta)
	}
	team := ""
	if namespace == "a" {
		team = oneOf(t, "red", "red", "blue")
	}
	return objectOf(kind, team, value, problem.Origin{Path: "f" + strconv.Itoa(few(t, 3))})
}

func objectOf(kind, team string, value manifest.Value, origin problem.Origin) *manifest.Object {
	j, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(j)
	return &manifest.Object{
		Key:  manifest.Key{Kind: kind, Namespace: value.GetNamespace(), Name: value.GetName()},
		Team: team, Origin: origin, Value: value, Digest: hex.EncodeToString(sum[:8]),
	}
}

func drawProxy(t *rapid.T) contourv1.HTTPProxySpec {
	var s contourv1.HTTPProxySpec
	if few(t, 2) > 0 {
		s.VirtualHost = &contourv1.VirtualHost{Fqdn: oneOf(t, "x.test", "x.test", "X.test", "y.test", "*.test", "", "bad_")}
		s.VirtualHost.TLS = drawTLS(t)
		drawHostPolicy(t, s.VirtualHost)
	}
	s.TCPProxy = drawTCPProxy(t)
	s.IngressClassName = oneOf(t, "", "", "", "", "", "other")
	for range few(t, 3) {
		s.Routes = append(s.Routes, drawRoute(t))
	}
	for range few(t, 2) {
		s.Includes = append(s.Includes, contourv1.Include{
			Name: "p" + strconv.Itoa(few(t, 2)), Namespace: oneOf(t, "", "", "a", "b"), Conditions: drawConditions(t),
		})
	}
	return s
}

func drawConditions(t *rapid.T) []contourv1.MatchCondition {
	var all []contourv1.MatchCondition
	for range few(t, 2) {
		switch few(t, 6) {
		case 0, 1, 2:
			all = append(all, contourv1.MatchCondition{Prefix: oneOf(t, "/", "/a", "/a/", "/a/b", "x")})
		case 3:
			all = append(all, contourv1.MatchCondition{Exact: oneOf(t, "/a", "/b")})
		case 4:
			all = append(all, contourv1.MatchCondition{Regex: oneOf(t, "/a|/b", "/a.*", "/(")})
		case 5:
			all = append(all, contourv1.MatchCondition{Header: &contourv1.HeaderMatchCondition{
				Name: oneOf(t, "H", "h", "g"), Exact: oneOf(t, "", "1"), NotContains: oneOf(t, "", "1"), Present: few(t, 3) == 0,
			}})
		default:
			all = append(all, contourv1.MatchCondition{QueryParameter: &contourv1.QueryParameterMatchCondition{
				Name: "q", Exact: oneOf(t, "", "1"), Present: rapid.Bool().Draw(t, "present"),
			}})
		}
	}
	return all
}

func drawRoute(t *rapid.T) contourv1.Route {
	r := contourv1.Route{Conditions: drawConditions(t)}
	for range few(t, 2) {
		r.Services = append(r.Services, contourv1.Service{
			Name: "s" + strconv.Itoa(few(t, 2)), Port: oneOf(t, 80, 80, 80, 81, 0), Weight: int64(few(t, 2)),
			Protocol: maybe(t, rapid.SampledFrom([]string{"h2c", "tls", "tls", "junk"})), Mirror: few(t, 9) == 0,
			HealthPort: oneOf(t, 0, 0, 80, 81), UpstreamValidation: maybe(t, rapid.Custom(drawValidation)),
			RequestHeadersPolicy: drawHeaders(t), ResponseHeadersPolicy: drawHeaders(t), CookieRewritePolicies: drawCookies(t),
		})
	}
	r.RequestHeadersPolicy, r.ResponseHeadersPolicy, r.CookieRewritePolicies = drawHeaders(t), drawHeaders(t), drawCookies(t)
	r.LoadBalancerPolicy = maybe(t, rapid.Custom(drawLoadBalancer))
	switch few(t, 17) {
	case 0, 1:
		r.DirectResponsePolicy = &contourv1.HTTPDirectResponsePolicy{StatusCode: oneOf(t, 200, 503, 99)}
	case 2:
		r.RequestRedirectPolicy = &contourv1.HTTPRequestRedirectPolicy{Port: maybe(t, rapid.Int32Range(0, 2))}
	case 3, 4, 5:
		r.PathRewritePolicy = &contourv1.PathRewritePolicy{ReplacePrefix: []contourv1.ReplacePrefix{
			{Prefix: oneOf(t, "", "/a"), Replacement: oneOf(t, "/", "/r", "r")},
			{Prefix: oneOf(t, "", "/b"), Replacement: "/s/"},
		}}
	case 6:
		r.IPAllowFilterPolicy = drawIPFilter(t)
		r.RateLimitPolicy = maybe(t, rapid.Custom(drawRateLimits))
	case 7:
		r.HealthCheckPolicy = &contourv1.HTTPHealthCheckPolicy{Path: oneOf(t, "/", "/", "/", "")}
	case 15:
		r.AuthPolicy = drawAuthPolicy(t)
	case 16:
		r.JWTVerificationPolicy = &contourv1.JWTVerificationPolicy{Require: oneOf(t, "", "p", "p", "q"), Disabled: few(t, 3) == 0}
		r.PermitInsecure = rapid.Bool().Draw(t, "insecure")
	case 8:
		r.TimeoutPolicy = &contourv1.TimeoutPolicy{Response: oneOf(t, "1s", "infinity", "0s", "soon"), Idle: oneOf(t, "", "1s", "-1s")}
	case 9:
		r.RetryPolicy = &contourv1.RetryPolicy{
			NumRetries: oneOf[int64](t, -2, -1, 0, 3), PerTryTimeout: oneOf(t, "", "1s", "soon"),
			RetryOn:              oneOf(t, nil, []contourv1.RetryOn{"reset", "retriable-status-codes"}, []contourv1.RetryOn{"never"}),
			RetriableStatusCodes: oneOf(t, nil, []uint32{503, 404}, []uint32{1}),
		}
	case 10:
		r.EnableWebsockets = true
		r.InternalRedirectPolicy = &contourv1.HTTPInternalRedirectPolicy{
			MaxInternalRedirects: uint32(few(t, 2)), AllowCrossSchemeRedirect: oneOf(t, "", "Always", "SafeOnly", "Maybe"),
			RedirectResponseCodes: oneOf(t, nil, []contourv1.RedirectResponseCode{307, 301, 301}, []contourv1.RedirectResponseCode{300}),
		}
	}
	return r
}

func drawIPFilter(t *rapid.T) []contourv1.IPFilterPolicy {
	return []contourv1.IPFilterPolicy{{CIDR: oneOf(t, "10.0.0.0/8", "10.0.0.1", "10"), Source: oneOf(t, contourv1.IPFilterSourcePeer, contourv1.IPFilterSourceRemote)}}
}

func drawRateLimits(t *rapid.T) contourv1.RateLimitPolicy {
	return contourv1.RateLimitPolicy{
		Local:  &contourv1.LocalRateLimitPolicy{Requests: uint32(few(t, 2)), Unit: "minute"},
		Global: maybe(t, rapid.Just(contourv1.GlobalRateLimitPolicy{Disabled: true})),
	}
}

func drawHostPolicy(t *rapid.T, v *contourv1.VirtualHost) {
	switch few(t, 9) {
	case 0:
		v.IPDenyFilterPolicy = drawIPFilter(t)
	case 1:
		v.RateLimitPolicy = maybe(t, rapid.Custom(drawRateLimits))
	case 2:
		v.CORSPolicy = &contourv1.CORSPolicy{AllowOrigin: []string{oneOf(t, "*", "[")}, AllowMethods: []contourv1.CORSHeaderValue{"GET"}}
	case 3, 4:
		v.TLS = &contourv1.TLS{SecretName: "t"}
		v.Authorization = &contourv1.AuthorizationServer{
			ExtensionServiceRef: contourv1.ExtensionServiceReference{Name: oneOf(t, "x", "x", ""), Namespace: oneOf(t, "", "a")},
			AuthPolicy:          drawAuthPolicy(t), ResponseTimeout: oneOf(t, "", "1s", "1s", "soon"),
		}
	case 5, 6:
		v.TLS = &contourv1.TLS{SecretName: "t"}
		v.JWTProviders = []contourv1.JWTProvider{{
			Name: "p", Default: rapid.Bool().Draw(t, "default"),
			RemoteJWKS: contourv1.RemoteJWKS{URI: oneOf(t, "https://k.test/", "http://k.test:1/", "ftp://k.test")},
		}}
	}
}

func drawAuthPolicy(t *rapid.T) *contourv1.AuthorizationPolicy {
	return maybe(t, rapid.Just(contourv1.AuthorizationPolicy{
		Disabled: rapid.Bool().Draw(t, "disabled"), Context: map[string]string{oneOf(t, "a", "b"): "v"},
	}))
}

func drawExtension(t *rapid.T) contourv1alpha1.ExtensionServiceSpec {
	s := contourv1alpha1.ExtensionServiceSpec{Protocol: maybe(t, rapid.SampledFrom([]string{"h2c", "h2c", "h2", "h3"}))}
	for range few(t, 2) {
		s.Services = append(s.Services, contourv1alpha1.ExtensionServiceTarget{
			Name: "s" + strconv.Itoa(few(t, 2)), Port: 80, Weight: uint32(few(t, 2)),
		})
	}
	return s
}

func drawLoadBalancer(t *rapid.T) contourv1.LoadBalancerPolicy {
	p := contourv1.LoadBalancerPolicy{Strategy: oneOf(t, "", "Random", "Cookie", "RequestHash", "RequestHash", "Odd")}
	for range few(t, 2) {
		p.RequestHashPolicies = append(p.RequestHashPolicies, contourv1.RequestHashPolicy{
			HashSourceIP:      rapid.Bool().Draw(t, "source"),
			HeaderHashOptions: maybe(t, rapid.Just(contourv1.HeaderHashOptions{HeaderName: "X"})),
		})
	}
	return p
}

func drawIngress(t *rapid.T) networkingv1.IngressSpec {
	var s networkingv1.IngressSpec
	s.DefaultBackend, s.TLS = maybe(t, rapid.Custom(drawBackend)), drawIngressTLS(t)
	for range few(t, 2) {
		rule := networkingv1.IngressRule{Host: oneOf(t, "x.test", "X.test", "*.test", "", "bad_")}
		if few(t, 5) > 0 {
			rule.HTTP = &networkingv1.HTTPIngressRuleValue{}
			for range few(t, 3) {
				rule.HTTP.Paths = append(rule.HTTP.Paths, networkingv1.HTTPIngressPath{
					Path: oneOf(t, "", "/", "/a", "/a/", "/a+", "/[", "x"),
					PathType: maybe(t, rapid.SampledFrom([]networkingv1.PathType{
						networkingv1.PathTypeExact, networkingv1.PathTypePrefix, networkingv1.PathTypeImplementationSpecific, "Odd",
					})),
					Backend: drawBackend(t),
				})
			}
		}
		s.Rules = append(s.Rules, rule)
	}
	return s
}

func drawBackend(t *rapid.T) networkingv1.IngressBackend {
	switch few(t, 9) {
	case 0:
		return networkingv1.IngressBackend{}
	case 1:
		return networkingv1.IngressBackend{Resource: &corev1.TypedLocalObjectReference{Name: "r"}}
	}
	port := networkingv1.ServiceBackendPort{Number: 80}
	if few(t, 3) == 0 {
		port = networkingv1.ServiceBackendPort{Name: oneOf(t, "http", "nope")}
	}
	return networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{
		Name: "s" + strconv.Itoa(few(t, 2)), Port: port,
	}}
}

func drawService(t *rapid.T) corev1.ServiceSpec {
	s := corev1.ServiceSpec{ExternalName: oneOf(t, "x.example", "localhost"), Type: oneOf(t, corev1.ServiceTypeClusterIP, corev1.ServiceTypeClusterIP, corev1.ServiceTypeClusterIP, corev1.ServiceTypeExternalName)}
	for i := range few(t, 2) {
		s.Ports = append(s.Ports, corev1.ServicePort{
			Name: oneOf(t, "", "http", "health"), Port: int32(80 + i), Protocol: oneOf(t, corev1.Protocol(""), corev1.ProtocolTCP, corev1.ProtocolTCP, corev1.ProtocolUDP),
			AppProtocol: maybe(t, rapid.SampledFrom([]string{"http", "kubernetes.io/h2c", "https"})),
		})
	}
	return s
}

func drawSlice(t *rapid.T, meta metav1.ObjectMeta) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{ObjectMeta: meta, AddressType: oneOf(t, discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeFQDN)}
	for range few(t, 2) {
		s.Ports = append(s.Ports, discoveryv1.EndpointPort{
			Name: maybe(t, rapid.SampledFrom([]string{"", "http", "health"})), Port: maybe(t, rapid.Int32Range(0, 3)),
		})
	}
	for range few(t, 3) {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{oneOf(t, "10.0.0.1", "10.0.0.2", "nope")},
			Conditions: discoveryv1.EndpointConditions{Ready: maybe(t, rapid.Bool())},
		})
	}
	return s
}

func drawOptions(t *rapid.T) Options {
	var o Options
	if few(t, 2) == 0 {
		o.RootNamespaces = []string{"a"}
	}
	o.Settings.ExternalNames = rapid.Bool().Draw(t, "external names")
	if few(t, 3) == 0 {
		o.Settings.RateLimit = &RateLimitService{Namespace: "a", Name: "x", Domain: "d"}
	}
	if few(t, 5) == 0 {
		o.Settings.Authorization = &contourv1.AuthorizationServer{ExtensionServiceRef: contourv1.ExtensionServiceReference{Namespace: "b", Name: "x"}}
	}
	o.Settings.ClientCertificate = oneOf(t, SecretRef{}, SecretRef{}, SecretRef{Namespace: "b", Name: "t"})
	o.Settings.RequestHeaders, o.Settings.ResponseHeaders = drawHeaders(t), drawHeaders(t)
	if few(t, 2) == 0 {
		o.Policy = owners{"x.test": oneOf(t, "red", "blue")}
	}
	return o
}
