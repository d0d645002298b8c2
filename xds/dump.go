package xds

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/cncf/xds/go/udpa/annotations"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// redacted stands where a dump has a secret.
const redacted = "[redacted]"

// dumped is the contract of `isoline xds -o json`. Every list is sorted by
// name and there, even when it is empty.
type dumped struct {
	Listeners    []json.RawMessage `json:"listeners"`
	ScopedRoutes []json.RawMessage `json:"scopedRoutes"`
	Routes       []json.RawMessage `json:"routes"`
	Clusters     []json.RawMessage `json:"clusters"`
	Endpoints    []json.RawMessage `json:"endpoints"`
	Secrets      []json.RawMessage `json:"secrets"`
}

// dumpMessages renders resources as indented protojson. The bytes depend on
// the messages alone, not on their order. What Envoy's API marks as sensitive
// (private keys, passwords, tickets) is redacted. Of messages with one type
// and name the first in byte order is kept: units share clusters.
func dumpMessages(messages []proto.Message) ([]byte, error) {
	type entry struct {
		name string
		body json.RawMessage
	}
	lists := map[string][]entry{}
	for _, m := range messages {
		kind, name := dumpPlace(m)
		if kind == "" {
			return nil, fmt.Errorf("dump: %s is no resource that Isoline serves", m.ProtoReflect().Descriptor().FullName())
		}
		body, err := redactedJSON(m)
		if err != nil {
			return nil, fmt.Errorf("dump %s %s: %w", kind, name, err)
		}
		lists[kind] = append(lists[kind], entry{name, body})
	}
	list := func(kind string) []json.RawMessage {
		entries := lists[kind]
		slices.SortFunc(entries, func(a, b entry) int {
			return cmp.Or(cmp.Compare(a.name, b.name), bytes.Compare(a.body, b.body))
		})
		out := []json.RawMessage{}
		for i, e := range entries {
			if i == 0 || entries[i-1].name != e.name {
				out = append(out, e.body)
			}
		}
		return out
	}
	body, err := json.MarshalIndent(dumped{
		Listeners: list("listener"), ScopedRoutes: list("scope"), Routes: list("route configuration"),
		Clusters: list("cluster"), Endpoints: list("endpoints"), Secrets: list("secret"),
	}, "", "  ")
	return append(body, '\n'), err
}

func dumpPlace(m proto.Message) (kind, name string) {
	switch m := m.(type) {
	case *listenerv3.Listener:
		return "listener", m.Name
	case *routev3.ScopedRouteConfiguration:
		return "scope", m.Name
	case *routev3.RouteConfiguration:
		return "route configuration", m.Name
	case *clusterv3.Cluster:
		return "cluster", m.Name
	case *endpointv3.ClusterLoadAssignment:
		return "endpoints", m.ClusterName
	case *tlsv3.Secret:
		return "secret", m.Name
	}
	return "", ""
}

func redactedJSON(m proto.Message) (json.RawMessage, error) {
	m = proto.Clone(m)
	if err := redact(m.ProtoReflect(), false); err != nil {
		return nil, err
	}
	return protojson.Marshal(m)
}

// redact overwrites, in place, every string and all bytes inside the fields
// that are marked sensitive, also those that are packed into an Any.
func redact(m protoreflect.Message, sensitive bool) error {
	if packed, ok := m.Interface().(*anypb.Any); ok {
		inner, err := packed.UnmarshalNew()
		if err != nil {
			return fmt.Errorf("%s: %w", packed.TypeUrl, err)
		}
		if err := redact(inner.ProtoReflect(), sensitive); err != nil {
			return err
		}
		return anypb.MarshalFrom(packed, inner, proto.MarshalOptions{Deterministic: true})
	}
	var err error
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		err = redactField(m, f, v, sensitive || isSensitive(f))
		return err == nil
	})
	return err
}

func redactField(m protoreflect.Message, f protoreflect.FieldDescriptor, v protoreflect.Value, sensitive bool) error {
	switch {
	case f.IsMap():
		return redactMap(f, v.Map(), sensitive)
	case f.IsList():
		for i := range v.List().Len() {
			if f.Message() != nil {
				if err := redact(v.List().Get(i).Message(), sensitive); err != nil {
					return err
				}
			} else if sensitive {
				v.List().Set(i, blank(f, v.List().Get(i)))
			}
		}
	case f.Message() != nil:
		return redact(v.Message(), sensitive)
	case sensitive:
		m.Set(f, blank(f, v))
	}
	return nil
}

func redactMap(f protoreflect.FieldDescriptor, values protoreflect.Map, sensitive bool) error {
	var err error
	values.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		if f.MapValue().Message() != nil {
			err = redact(v.Message(), sensitive)
		} else if sensitive {
			values.Set(k, blank(f.MapValue(), v))
		}
		return err == nil
	})
	return err
}

func isSensitive(f protoreflect.FieldDescriptor) bool {
	marked, _ := proto.GetExtension(f.Options(), annotations.E_Sensitive).(bool)
	return marked
}

// blank is v without its content, where it has any.
func blank(f protoreflect.FieldDescriptor, v protoreflect.Value) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(redacted)
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(redacted))
	}
	return v
}
