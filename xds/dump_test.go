package xds

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"isoline.dev/isoline/dag"
)

func dumpable(t *testing.T) []proto.Message {
	t.Helper()
	var all []proto.Message
	for _, host := range []string{"b.example.com", "a.example.com", "*"} {
		h, problems := translateHost(testHost(host, dag.Route{
			Match:  dag.Match{Path: dag.Path{Type: dag.PathPrefix, Value: "/"}},
			Action: dag.Action{Clusters: []dag.WeightedCluster{{Cluster: testCluster("web")}, {Cluster: testCluster(strings.Trim(host, "*.") + "x")}}},
		}), Options{})
		if len(problems) > 1 {
			t.Fatal(problems)
		}
		all = append(all, h.routes, h.scope)
		for _, u := range h.clusters {
			all = append(all, u.config)
		}
	}
	l, err := httpListener(ListenerOptions{HTTP: ListenerAddress{"127.0.0.1", 8080}, Edge: Edge{AccessLog: AccessLog{Enabled: true}}})
	if err != nil {
		t.Fatal(err)
	}
	cla, err := loadAssignment(&dag.Endpoints{Key: dag.EndpointsKey{Namespace: "team", Service: "web"}})
	if err != nil {
		t.Fatal(err)
	}
	return append(all, l, cla)
}

func TestADumpIsSortedAndItsBytesDependOnTheResourcesAlone(t *testing.T) {
	messages := dumpable(t)
	first, err := dumpMessages(messages)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		rand.Shuffle(len(messages), func(i, j int) { messages[i], messages[j] = messages[j], messages[i] })
		again, err := dumpMessages(messages)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, again) {
			t.Fatal("the order of the resources shows")
		}
	}
	var lists map[string][]struct{ Name, ClusterName string }
	if err := json.Unmarshal(first, &lists); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"listeners", "scopedRoutes", "routes", "clusters", "endpoints", "secrets"} {
		list, ok := lists[key]
		if !ok || list == nil {
			t.Errorf("the dump has no list of %s", key)
		}
		names := []string{}
		for _, r := range list {
			names = append(names, r.Name+r.ClusterName)
		}
		if !slices.IsSorted(names) || len(slices.Compact(names)) != len(names) {
			t.Errorf("%s are %v", key, names)
		}
	}
	if n := len(lists["routes"]); n != 3 {
		t.Errorf("there are %d route configurations", n)
	}
	if n := len(lists["clusters"]); n != 2 {
		t.Errorf("there are %d clusters; shared ones are to be there once", n)
	}
}

func TestAnEmptyDumpHasEveryList(t *testing.T) {
	body, err := dumpMessages(nil)
	if err != nil {
		t.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, body); err != nil {
		t.Fatal(err)
	}
	want := `{"listeners":[],"scopedRoutes":[],"routes":[],"clusters":[],"endpoints":[],"secrets":[]}`
	if got := compact.String(); got != want {
		t.Errorf("got %s", got)
	}
}

func TestADumpHasNoSecrets(t *testing.T) {
	const secret = "s3cr3t-material"
	inline := &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: secret}}
	raw := &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: []byte(secret)}}
	public := &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: "public-chain"}}
	certificate := &tlsv3.TlsCertificate{CertificateChain: public, PrivateKey: inline, Password: raw}
	inChain := mustAny(&tlsv3.DownstreamTlsContext{CommonTlsContext: &tlsv3.CommonTlsContext{TlsCertificates: []*tlsv3.TlsCertificate{certificate}}})
	body, err := dumpMessages([]proto.Message{
		&tlsv3.Secret{Name: "a", Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: certificate}},
		&tlsv3.Secret{Name: "b", Type: &tlsv3.Secret_GenericSecret{GenericSecret: &tlsv3.GenericSecret{Secret: raw}}},
		&tlsv3.Secret{Name: "c", Type: &tlsv3.Secret_SessionTicketKeys{SessionTicketKeys: &tlsv3.TlsSessionTicketKeys{Keys: []*corev3.DataSource{inline}}}},
		&listenerv3.Listener{Name: "l", FilterChains: []*listenerv3.FilterChain{{TransportSocket: &corev3.TransportSocket{
			Name: "tls", ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: inChain}}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := string(body)
	if strings.Contains(got, secret) || strings.Contains(got, "czNjcjN0") {
		t.Errorf("a secret shows:\n%s", got)
	}
	if strings.Count(got, "public-chain") != 2 || strings.Count(got, redacted) < 3 {
		t.Errorf("something else is missing:\n%s", got)
	}
	if certificate.PrivateKey.GetInlineString() != secret {
		t.Error("the dump has changed what it was given")
	}
}

func TestADumpOfSomethingElseIsAnError(t *testing.T) {
	if _, err := dumpMessages([]proto.Message{&structpb.Struct{}}); err == nil {
		t.Error("no error")
	}
}
