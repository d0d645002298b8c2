package xds

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// The type URLs of what is served.
const (
	ClusterType   = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
	EndpointsType = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
	SecretType    = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
	ListenerType  = "type.googleapis.com/envoy.config.listener.v3.Listener"
	ScopeType     = "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration"
	RouteType     = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
)

// kind is a type of resource. The order is the one in which additions are
// sent: nothing refers to a kind that comes after its own, but for scopes,
// whose routes Envoy asks for when it has the scope.
type kind uint8

const (
	kindCluster kind = iota
	kindEndpoints
	kindSecret
	kindListener
	kindScope
	kindRoute
	kinds // how many there are
)

var typeURLs = [kinds]string{ClusterType, EndpointsType, SecretType, ListenerType, ScopeType, RouteType}

func kindOf(typeURL string) (kind, bool) {
	i := slices.Index(typeURLs[:], typeURL)
	return kind(max(i, 0)), i >= 0
}

// wildcard reports whether a first request without names asks for all
// resources of the kind.
func (k kind) wildcard() bool { return k == kindCluster || k == kindListener || k == kindScope }

func (k kind) String() string { return typeURLs[k] }

// Resource is one Envoy resource, marshalled once and shared by all streams.
// It is immutable.
type Resource struct {
	kind kind
	// wire is what is sent: name, version and the marshalled message.
	wire *discoveryv3.Resource
	// size is the length of wire on the wire, in bytes.
	size int
}

// NewResource marshals m, which must be one of the types that are served and
// have a name. Equal messages give equal versions. m is not kept.
func NewResource(m proto.Message) (*Resource, error) {
	k, name := identify(m)
	if k == kinds {
		return nil, fmt.Errorf("marshal %T: it is no resource that is served to Envoy", m)
	}
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("marshal %s %q: %w", m.ProtoReflect().Descriptor().Name(), name, err)
	}
	return newResource(k, name, body)
}

func newResource(k kind, name string, body []byte) (*Resource, error) {
	if name == "" || name == "*" {
		return nil, fmt.Errorf("%s: %q cannot be the name of a resource", k, name)
	}
	wire := &discoveryv3.Resource{
		Name:     name,
		Version:  versionOf(body),
		Resource: &anypb.Any{TypeUrl: typeURLs[k], Value: body},
	}
	return &Resource{kind: k, wire: wire, size: proto.Size(wire)}, nil
}

// versionOf is short, because an Envoy that connects again sends the versions
// of all that it holds. 64 bits are enough: versions are only ever compared
// between resources of one name.
func versionOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:8])
}

func identify(m proto.Message) (kind, string) {
	switch m := m.(type) {
	case *clusterv3.Cluster:
		return kindCluster, m.GetName()
	case *endpointv3.ClusterLoadAssignment:
		return kindEndpoints, m.GetClusterName()
	case *tlsv3.Secret:
		return kindSecret, m.GetName()
	case *listenerv3.Listener:
		return kindListener, m.GetName()
	case *routev3.ScopedRouteConfiguration:
		return kindScope, m.GetName()
	case *routev3.RouteConfiguration:
		return kindRoute, m.GetName()
	}
	return kinds, ""
}

// TypeURL is the type of the message.
func (r *Resource) TypeURL() string { return typeURLs[r.kind] }

// Name is unique among the resources of a type.
func (r *Resource) Name() string { return r.wire.Name }

// Version depends on the content alone.
func (r *Resource) Version() string { return r.wire.Version }

// Size is how many bytes the resource takes in a response.
func (r *Resource) Size() int { return r.size }

// Message is a fresh copy of the message.
func (r *Resource) Message() (proto.Message, error) { return r.wire.Resource.UnmarshalNew() }

// same reports whether two resources of one name have the same content. Both
// may be nil.
func same(a, b *Resource) bool {
	return a == b || a != nil && b != nil && a.Version() == b.Version()
}

// Cluster is a cluster resource and what a stream must know to call it warm.
type Cluster struct {
	*Resource
	// Endpoints is the name of its ClusterLoadAssignment; empty when it has none.
	Endpoints string
	// SlowToWarm says that Envoy does more before first use than to take the
	// endpoints: it probes them, or waits for a certificate of its own.
	SlowToWarm bool
}

// Unit is what changes together: the resources of one host, or a listener. Its
// listeners, scopes and routes are sent to an Envoy only once its clusters are
// warm there. Clusters are shared between units by name; the others belong to
// one unit. A unit is immutable once it is given to a cache.
type Unit struct {
	Name      string
	Clusters  []*Cluster
	Listeners []*Resource
	Routes    []*Resource
	Scopes    []*Resource

	// alone is set, and all of the above but the name empty, for a resource
	// that belongs to no unit and that the cache treats as one of its own.
	alone *Resource
}

// single is a resource as a unit of its own.
func single(k kind, name string, r *Resource) *Unit {
	if r.kind != k || r.Name() != name {
		panic(fmt.Errorf("%s %q is given as %s %q", r.kind, r.Name(), k, name))
	}
	return &Unit{Name: name, alone: r}
}

// only is the resource of a unit made by single; nil for a nil unit.
func (u *Unit) only() *Resource {
	if u == nil {
		return nil
	}
	return u.alone
}

// resources are all resources of u, which may be nil.
func (u *Unit) resources(yield func(*Resource) bool) {
	if u == nil || u.alone != nil && !yield(u.alone) {
		return
	}
	for _, c := range u.Clusters {
		if !yield(c.Resource) {
			return
		}
	}
	u.paths(yield)
}

// paths are the listeners, scopes and routes of u, which may be nil: what leads
// to its clusters.
func (u *Unit) paths(yield func(*Resource) bool) {
	if u == nil || u.alone != nil {
		return
	}
	for _, list := range [3][]*Resource{u.Listeners, u.Scopes, u.Routes} {
		for _, r := range list {
			if !yield(r) {
				return
			}
		}
	}
}

// equal reports whether both have the same resources in the same versions.
func (u *Unit) equal(o *Unit) bool {
	if u == nil || o == nil {
		return u == o
	}
	alike := func(a, b *Resource) bool { return a.Name() == b.Name() && same(a, b) }
	return same(u.alone, o.alone) &&
		slices.EqualFunc(u.Listeners, o.Listeners, alike) &&
		slices.EqualFunc(u.Routes, o.Routes, alike) &&
		slices.EqualFunc(u.Scopes, o.Scopes, alike) &&
		slices.EqualFunc(u.Clusters, o.Clusters, func(a, b *Cluster) bool {
			return alike(a.Resource, b.Resource) && a.Endpoints == b.Endpoints && a.SlowToWarm == b.SlowToWarm
		})
}

// check holds u against what the cache relies on.
func (u *Unit) check(name string) error {
	if u.Name != name {
		return fmt.Errorf("unit %q is given under the name %q", u.Name, name)
	}
	var errs []error
	seen := map[key]bool{}
	of := func(k kind, r *Resource) {
		switch {
		case r == nil:
			errs = append(errs, fmt.Errorf("unit %q has a nil %s", name, k))
		case r.kind != k:
			errs = append(errs, fmt.Errorf("unit %q has %s %q among its resources of %s", name, r.kind, r.Name(), k))
		case seen[key{k, r.Name()}]:
			errs = append(errs, fmt.Errorf("unit %q has %s %q twice", name, k, r.Name()))
		default:
			seen[key{k, r.Name()}] = true
		}
	}
	for _, c := range u.Clusters {
		of(kindCluster, c.Resource)
	}
	for _, r := range u.Listeners {
		of(kindListener, r)
	}
	for _, r := range u.Scopes {
		of(kindScope, r)
	}
	for _, r := range u.Routes {
		of(kindRoute, r)
	}
	return errors.Join(errs...)
}

// key names a resource.
type key struct {
	kind kind
	name string
}

// edition is one version of a resource.
type edition struct {
	key
	version string
}

func (r *Resource) edition() edition { return edition{key{r.kind, r.Name()}, r.Version()} }
