package xds

import (
	"bytes"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
)

func TestEnvoyTakesTheBootstrap(t *testing.T) {
	plain := BootstrapOptions{XDSAddress: "127.0.0.1", XDSPort: 18000, NodeID: "envoy"}
	for name, change := range map[string]func(*BootstrapOptions){
		"as it is":             func(*BootstrapOptions) {},
		"with a host name":     func(o *BootstrapOptions) { o.XDSAddress = "isoline.routing.svc" },
		"with IPv6":            func(o *BootstrapOptions) { o.XDSAddress = "::1" },
		"with an admin port":   func(o *BootstrapOptions) { o.AdminPort = 9901 },
		"with an admin socket": func(o *BootstrapOptions) { o.AdminSocket = "/tmp/isoline-admin.sock" },
		"with a heap limit":    func(o *BootstrapOptions) { o.MaxHeapBytes = 1 << 30 },
		"with few connections": func(o *BootstrapOptions) { o.MaxConnections = 10 },
		"with limits":          func(o *BootstrapOptions) { o.ListenerConnections, o.RequestsPerIOCycle = 10, 1 },
	} {
		t.Run(name, func(t *testing.T) {
			o := plain
			change(&o)
			body, err := Bootstrap(o)
			if err != nil {
				t.Fatal(err)
			}
			if why := validateMode(t, t.TempDir(), body); why != "" {
				t.Error(why)
			}
			if again, err := Bootstrap(o); err != nil || !bytes.Equal(body, again) {
				t.Errorf("the same options give other bytes (%v)", err)
			}
		})
	}
}

func TestABootstrapNeedsSensibleOptions(t *testing.T) {
	good := BootstrapOptions{XDSAddress: "127.0.0.1", XDSPort: 18000, NodeID: "envoy"}
	for name, change := range map[string]func(*BootstrapOptions){
		"no node id":           func(o *BootstrapOptions) { o.NodeID = "" },
		"no address":           func(o *BootstrapOptions) { o.XDSAddress = "" },
		"no port":              func(o *BootstrapOptions) { o.XDSPort = 0 },
		"a port that is none":  func(o *BootstrapOptions) { o.XDSPort = 65536 },
		"two admin interfaces": func(o *BootstrapOptions) { o.AdminPort, o.AdminSocket = 1, "/x" },
		"a bad admin port":     func(o *BootstrapOptions) { o.AdminPort = -1 },
		"negative connections": func(o *BootstrapOptions) { o.MaxConnections = -1 },
	} {
		o := good
		change(&o)
		if _, err := Bootstrap(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestEnvoyTakesTheListener(t *testing.T) {
	for name, o := range map[string]ListenerOptions{
		"IPv4":                 {HTTP: ListenerAddress{"0.0.0.0", 8080}},
		"IPv6 and IPv4":        {HTTP: ListenerAddress{"::", 8080}},
		"with an access log":   {HTTP: ListenerAddress{"127.0.0.1", 8080}, Edge: Edge{AccessLog: AccessLog{Enabled: true}}},
		"without a time limit": {HTTP: ListenerAddress{"127.0.0.1", 8080}, Edge: Edge{RequestTimeout: -1}},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := httpListener(o)
			if err != nil {
				t.Fatal(err)
			}
			if why := envoyRefuses(t, t.TempDir(), offer{listeners: []*listenerv3.Listener{l}}); why != "" {
				t.Error(why)
			}
		})
	}
}

func TestAListenerNeedsAnAddress(t *testing.T) {
	for _, o := range []ListenerOptions{{}, {HTTP: ListenerAddress{"localhost", 80}}, {HTTP: ListenerAddress{Address: "0.0.0.0"}}, {HTTP: ListenerAddress{"0.0.0.0", 65536}}} {
		if _, err := Listeners(o, nil); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}
