package manifest

import (
	"strings"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
	contourv1alpha1 "github.com/projectcontour/contour/apis/projectcontour/v1alpha1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// support says what Isoline does with an apiVersion and kind.
type support int

const (
	otherKind    support = iota // not Isoline's business
	readKind                    // decoded
	wrongVersion                // one of Isoline's kinds, written for a version that it does not read
	wrongKind                   // no kind at all, in a group where one of Isoline's is meant
)

// spec is how one kind is read.
type spec struct {
	apiVersion    string
	clusterScoped bool
	empty         func() Value
}

// specOf is the kind's row, and whether there is one.
func specOf(kind string) (spec, bool) {
	switch kind {
	case HTTPProxy:
		return spec{apiVersion: "projectcontour.io/v1", empty: func() Value { return &contourv1.HTTPProxy{} }}, true
	case TLSCertificateDelegation:
		return spec{apiVersion: "projectcontour.io/v1", empty: func() Value { return &contourv1.TLSCertificateDelegation{} }}, true
	case ExtensionService:
		return spec{apiVersion: "projectcontour.io/v1alpha1", empty: func() Value { return &contourv1alpha1.ExtensionService{} }}, true
	case Ingress:
		return spec{apiVersion: "networking.k8s.io/v1", empty: func() Value { return &networkingv1.Ingress{} }}, true
	case IngressClass:
		return spec{apiVersion: "networking.k8s.io/v1", clusterScoped: true, empty: func() Value { return &networkingv1.IngressClass{} }}, true
	case Service:
		return spec{apiVersion: "v1", empty: func() Value { return &corev1.Service{} }}, true
	case Secret:
		return spec{apiVersion: "v1", empty: func() Value { return &corev1.Secret{} }}, true
	case EndpointSlice:
		return spec{apiVersion: "discovery.k8s.io/v1", empty: func() Value { return &discoveryv1.EndpointSlice{} }}, true
	default:
		return spec{}, false
	}
}

// supportOf sorts an apiVersion and kind. Where it is wrongVersion or
// wrongKind, the text says what to write instead.
func supportOf(apiVersion, kind string) (support, string) {
	if kind == "IngressRoute" && group(apiVersion) == "contour.heptio.com" {
		return wrongVersion, "write it as HTTPProxy of projectcontour.io/v1, which took the place of IngressRoute"
	}
	s, known := specOf(kind)
	switch {
	case !known:
		return misspelt(group(apiVersion), kind)
	case apiVersion == s.apiVersion:
		return readKind, ""
	case !ownGroup(group(apiVersion)):
		return otherKind, "" // such as Service of serving.knative.dev
	default:
		return wrongVersion, "use apiVersion: " + s.apiVersion
	}
}

// misspelt tells a kind that is written wrong from one that is not Isoline's.
func misspelt(group, kind string) (support, string) {
	if ownGroup(group) {
		for _, k := range []string{HTTPProxy, TLSCertificateDelegation, ExtensionService, Ingress, IngressClass, Service, Secret, EndpointSlice} {
			if strings.EqualFold(k, kind) {
				return wrongKind, "write kind: " + k
			}
		}
	}
	if group != "projectcontour.io" || strings.HasPrefix(kind, "Contour") {
		return otherKind, "" // such as ContourConfiguration
	}
	return wrongKind, "routing has HTTPProxy, TLSCertificateDelegation and ExtensionService there"
}

// ownGroup reports whether a kind of that name in the group can only be meant
// as the one that Isoline reads: the groups of Kubernetes and of Contour.
func ownGroup(group string) bool {
	return !strings.Contains(group, ".") || strings.HasSuffix(group, ".k8s.io") ||
		group == "projectcontour.io" || group == "contour.heptio.com"
}

// group is the part of apiVersion before the slash; "" is the core group.
func group(apiVersion string) string {
	g, _, found := strings.Cut(apiVersion, "/")
	if !found {
		return ""
	}
	return g
}

// dropServerFields clears what only an API server may say and what no two
// copies of an object need to share, so that equal digests mean equal values.
// The creation time stays: it decides conflicts.
func dropServerFields(v Value) {
	v.SetManagedFields(nil)
	v.SetResourceVersion("")
	v.SetGeneration(0)
	switch o := v.(type) {
	case *contourv1.HTTPProxy:
		o.Status = contourv1.HTTPProxyStatus{}
	case *contourv1.TLSCertificateDelegation:
		o.Status = contourv1.TLSCertificateDelegationStatus{}
	case *contourv1alpha1.ExtensionService:
		o.Status = contourv1alpha1.ExtensionServiceStatus{}
	case *networkingv1.Ingress:
		o.Status = networkingv1.IngressStatus{}
	case *corev1.Service:
		o.Status = corev1.ServiceStatus{}
	}
}
