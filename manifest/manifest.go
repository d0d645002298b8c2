// Package manifest holds decoded Kubernetes objects and where each came from.
//
// It is the value that render hands to team and dag. It decodes and names;
// it neither judges what an object says nor reads files.
package manifest

import (
	"cmp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"isoline.dev/isoline/problem"
)

// The kinds that Isoline reads. Each stands for one group and version:
// see Decode.
const (
	HTTPProxy                = "HTTPProxy"                // projectcontour.io/v1
	TLSCertificateDelegation = "TLSCertificateDelegation" // projectcontour.io/v1
	ExtensionService         = "ExtensionService"         // projectcontour.io/v1alpha1
	Ingress                  = "Ingress"                  // networking.k8s.io/v1
	IngressClass             = "IngressClass"             // networking.k8s.io/v1
	Service                  = "Service"                  // v1
	Secret                   = "Secret"                   // v1
	EndpointSlice            = "EndpointSlice"            // discovery.k8s.io/v1
)

// Key identifies an object among all that Isoline reads.
type Key struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// Ref is the key as problems name it.
func (k Key) Ref() problem.Object { return problem.Object(k) }

// String is "Kind namespace/name".
func (k Key) String() string { return k.Ref().String() }

// Compare orders keys by namespace, name and kind.
func (k Key) Compare(o Key) int {
	return cmp.Or(
		cmp.Compare(k.Namespace, o.Namespace),
		cmp.Compare(k.Name, o.Name),
		cmp.Compare(k.Kind, o.Kind),
	)
}

// Value is a typed Kubernetes object, such as *contourv1.HTTPProxy.
type Value interface {
	metav1.Object
	runtime.Object
}

// Object is one decoded object. It is immutable once made and may be shared:
// who wants to change Value copies it first.
type Object struct {
	Key Key
	// Team brought the object; empty where there are no teams.
	Team   string
	Origin problem.Origin
	// Value has the Go type that belongs to Key.Kind.
	Value Value
	// Digest identifies content: two objects with the same Key and Digest
	// have equal Values. It does not cover Team and Origin.
	Digest string
}

// Created is the creation time that the API server gave, or the zero time
// for an object out of a repository.
func (o *Object) Created() time.Time { return o.Value.GetCreationTimestamp().Time }

// Related is the object as the other side of a problem.
func (o *Object) Related() problem.Related {
	return problem.Related{Object: o.Key.Ref(), Origin: o.Origin}
}
