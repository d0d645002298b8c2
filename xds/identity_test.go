package xds

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"isoline.dev/isoline/dag"
)

// baseCluster has all parts of a cluster that others depend on.
func baseCluster() *dag.Cluster {
	return &dag.Cluster{
		Namespace: "team", Service: "web", Port: 80, Protocol: dag.ProtocolTLS,
		TLS:             &dag.UpstreamTLS{Validation: &dag.UpstreamValidation{CA: someAuthority(), SubjectNames: []string{"a"}}},
		HealthCheck:     &dag.HealthCheck{Path: "/", Host: "h", IntervalSeconds: 1, TimeoutSeconds: 1, UnhealthyThreshold: 1, HealthyThreshold: 1},
		SlowStart:       &dag.SlowStart{Window: time.Second, Aggression: 1, MinWeightPercent: 10},
		CircuitBreakers: &dag.CircuitBreakers{MaxConnections: 1},
	}
}

// notIdentity are fields that say nothing to Envoy.
var notIdentity = map[string]string{
	"TLS.Validation.Secret.Namespace": "where the CA is from; the CA itself is part of the cluster",
	"TLS.Validation.Secret.Name":      "where the CA is from; the CA itself is part of the cluster",
}

// TestEveryFieldOfAClusterIsPartOfItsName changes one field at a time: two
// routes that ask for different things never share a cluster, and what changes
// is made before the old one is given up.
func TestEveryFieldOfAClusterIsPartOfItsName(t *testing.T) {
	base := upstreamOf(baseCluster()).config.Name
	tried := 0
	var visit func(path string, at func(*dag.Cluster) reflect.Value)
	visit = func(path string, at func(*dag.Cluster) reflect.Value) {
		v := at(baseCluster())
		switch v.Kind() {
		case reflect.Pointer:
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			visit(path, func(c *dag.Cluster) reflect.Value { return settled(at(c)) })
			return
		case reflect.Struct:
			for i := range v.NumField() {
				name := v.Type().Field(i).Name
				if path != "" {
					name = path + "." + name
				}
				visit(name, func(c *dag.Cluster) reflect.Value { return at(c).Field(i) })
			}
			return
		}
		if notIdentity[path] != "" {
			return
		}
		tried++
		c := baseCluster()
		switch {
		case path == "DNSLookupFamily":
			c.ExternalName = "x.example"
		case strings.HasPrefix(path, "TCPHealthCheck."):
			c.HealthCheck, c.TCPHealthCheck = nil, &dag.TCPHealthCheck{}
		}
		before := upstreamOf(c).config.Name
		makeAnother(t, path, at(c))
		if upstreamOf(c).config.Name == before {
			t.Errorf("%s is not part of the name", path)
		}
	}
	visit("", func(c *dag.Cluster) reflect.Value { return reflect.ValueOf(c).Elem() })
	if again := upstreamOf(baseCluster()).config.Name; again != base {
		t.Errorf("equal clusters are named %s and %s", base, again)
	}
	if tried < 40 {
		t.Errorf("only %d fields tried", tried)
	}
}

// settled is what v points to; a nil pointer is made to point to zero.
func settled(v reflect.Value) reflect.Value {
	if v.IsNil() {
		v.Set(reflect.New(v.Type().Elem()))
	}
	return v.Elem()
}

// makeAnother makes a value another one that is as good.
func makeAnother(t *testing.T, path string, v reflect.Value) {
	t.Helper()
	special := map[string]string{
		"TLS.Versions.Minimum": "1.3", "TLS.Versions.Maximum": "1.2", "LoadBalancer": string(dag.BalanceLeastRequest), "DNSLookupFamily": "v6",
		"Protocol": dag.ProtocolH2,
	}
	switch v.Kind() {
	case reflect.String:
		text, ok := special[path]
		if !ok {
			text = "x" + v.String()
		}
		v.SetString(text)
	case reflect.Int32, reflect.Int64:
		v.SetInt(v.Int() + 1)
	case reflect.Uint32:
		v.SetUint(v.Uint() + 1)
	case reflect.Float64:
		v.SetFloat(v.Float() + 1)
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	default:
		t.Fatalf("%s is of the kind %s", path, v.Kind())
	}
}

func TestAClusterSaysWhatMakesItWarm(t *testing.T) {
	plain := dag.Cluster{Namespace: "team", Service: "web", Port: 80}
	for _, tt := range []struct {
		name      string
		change    func(*dag.Cluster)
		endpoints string
		slow      bool
	}{
		{"endpoints", func(*dag.Cluster) {}, "team/web", false},
		{"endpoints with a health port", func(c *dag.Cluster) { c.HealthPort = 81 }, "team/web:81", false},
		{"an HTTP health check", func(c *dag.Cluster) { c.HealthCheck = &dag.HealthCheck{Path: "/"} }, "team/web", true},
		{"a TCP health check", func(c *dag.Cluster) { c.TCPHealthCheck = &dag.TCPHealthCheck{} }, "team/web", true},
		{"TLS", func(c *dag.Cluster) { c.Protocol, c.TLS = dag.ProtocolTLS, &dag.UpstreamTLS{} }, "team/web", false},
		{"a client certificate", func(c *dag.Cluster) {
			c.Protocol, c.TLS = dag.ProtocolTLS, &dag.UpstreamTLS{ClientCertificate: dag.SecretRef{Namespace: "a", Name: "b"}}
		}, "team/web", true},
		{"a DNS name", func(c *dag.Cluster) { c.ExternalName = "shop.example.org" }, "", false},
	} {
		c := plain
		tt.change(&c)
		if u := upstreamOf(&c); u.endpoints != tt.endpoints || u.slow != tt.slow {
			t.Errorf("%s: endpoints %q, slow %t", tt.name, u.endpoints, u.slow)
		}
	}
}
