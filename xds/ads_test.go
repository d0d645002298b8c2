package xds

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"isoline.dev/isoline/dag"
	"isoline.dev/isoline/lab"
)

// nacks remembers what an Envoy refuses.
type nacks struct {
	NopObserver
	mu   sync.Mutex
	list []string
}

func (n *nacks) Nacked(node, typeURL, message string, names []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, fmt.Sprintf("%s %v: %s", typeURL, names, message))
}

func (n *nacks) all() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.list
}

// control is a real server with a real Envoy that it programs.
type control struct {
	*proxy
	cache  *Cache
	server *Server
	nacks  *nacks
}

func serveOverADS(t *testing.T) *control {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	admin, port := freePort(t), freePort(t)
	c := &control{cache: NewCache(), nacks: &nacks{}}
	c.server = NewServer(c.cache, ServerOptions{WarmGrace: 15 * time.Second, Observer: c.nacks})
	listeners, err := Listeners(ListenerOptions{HTTP: ListenerAddress{"127.0.0.1", uint32(port)}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.cache.Apply(Update{Units: listeners})
	c.cache.Open()
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, l, c.server) }()
	stop := func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	body, err := Bootstrap(BootstrapOptions{XDSAddress: "127.0.0.1", XDSPort: l.Addr().(*net.TCPAddr).Port, NodeID: "test", AdminPort: admin})
	if err != nil {
		t.Fatal(err)
	}
	envoy, err := lab.StartEnvoy(ctx, nil, t.TempDir(), body, admin)
	if err != nil {
		stop()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		envoy.Kill()
		stop()
	})
	ready, done := context.WithTimeout(ctx, patience)
	defer done()
	if err := envoy.AwaitReady(ready); err != nil {
		t.Fatal(err)
	}
	c.proxy = newProxy(t, envoy, port)
	return c
}

// apply translates hosts (nil removes one) and waits until Envoy has them.
func (c *control) apply(hosts map[string]*dag.VirtualHost, endpoints map[string]*Resource) {
	c.t.Helper()
	u := Update{Units: map[string]*Unit{}, Endpoints: endpoints}
	var names []string
	for host, vh := range hosts {
		names = append(names, UnitName(host))
		u.Units[UnitName(host)] = nil
		if vh != nil {
			unit, problems := Translate(vh, Options{})
			if unit == nil {
				c.t.Fatal(problems)
			}
			u.Units[UnitName(host)] = unit
		}
	}
	seq := c.cache.Apply(u)
	if len(names) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	if n, err := c.server.AwaitServed(ctx, names, seq); err != nil || n != 1 {
		c.t.Fatalf("served by %d Envoys: %v", n, err)
	}
}

// eventually asks until the answer is as wanted: Envoy acknowledges before its
// workers have what it acknowledges.
func (c *control) eventually(host, path, want string) {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		a := c.ask("HTTP/1.1", "GET", host, path, nil)
		got := a.echo.Upstream
		if a.status != http.StatusOK {
			got = fmt.Sprint(a.status)
		}
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%s%s: got %s, want %s", host, path, got, want)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func endpointsAt(t *testing.T, service string, at netip.AddrPort) map[string]*Resource {
	t.Helper()
	cluster := testCluster(service)
	e := dag.Endpoints{Key: cluster.EndpointsKey(), Addresses: []dag.Address{{IP: at.Addr().String(), Port: uint32(at.Port())}}}
	r, problems := TranslateEndpoints(&e)
	if r == nil {
		t.Fatal(problems)
	}
	return map[string]*Resource{r.Name(): r}
}

func TestHostsComeAndGoAtRunTime(t *testing.T) {
	c := serveOverADS(t)
	for _, name := range []string{"www", "wild", "any", "other"} {
		c.apply(nil, endpointsAt(t, name, upstreamServer(t, name)))
	}
	set := func(host string, routes ...dag.Route) {
		t.Helper()
		c.apply(map[string]*dag.VirtualHost{host: testHost(host, routes...)}, nil)
	}
	gone := func(host string) {
		t.Helper()
		c.apply(map[string]*dag.VirtualHost{host: nil}, nil)
	}
	c.eventually("www.example.com", "/", "404")
	set("www.example.com", prefixRoute("/", "www"))
	c.eventually("www.example.com", "/", "www")
	c.eventually("WWW.example.com:80", "/", "www")
	c.eventually("a.example.com", "/", "404")
	set("*.example.com", prefixRoute("/", "wild"))
	c.eventually("a.example.com", "/", "wild")
	c.eventually("www.example.com", "/", "www")
	set("*", prefixRoute("/", "any"))
	c.eventually("a.b.example.com", "/", "any")
	c.eventually("a.example.com", "/", "wild")
	set("www.example.com", prefixRoute("/other", "other"))
	c.eventually("www.example.com", "/other", "other")
	c.eventually("www.example.com", "/", "404")
	set("www.example.com")
	c.eventually("www.example.com", "/other", "404")
	gone("www.example.com")
	c.eventually("www.example.com", "/", "wild")
	gone("*.example.com")
	c.eventually("www.example.com", "/", "any")
	gone("*")
	c.eventually("www.example.com", "/", "404")
	set("www.example.com", prefixRoute("/", "www"))
	c.eventually("www.example.com", "/", "www")
	if list := c.nacks.all(); len(list) > 0 {
		t.Errorf("Envoy refuses %v", list)
	}
}

func TestNothingThatIsTranslatedIsRefusedOverADS(t *testing.T) {
	c := serveOverADS(t)
	routes := rapid.SliceOfN(rapid.Custom(anyRoute), 1, 12)
	hosts := map[string]*dag.VirtualHost{}
	for i := range 200 {
		host := fmt.Sprintf("h%d.example.com", i)
		hosts[host] = testHost(host, routes.Example(i)...)
		for j := range hosts[host].Routes { // a health check that hangs is the cache's affair
			for k := range hosts[host].Routes[j].Action.Clusters {
				hosts[host].Routes[j].Action.Clusters[k].Cluster.HealthCheck = nil
			}
		}
	}
	c.apply(hosts, nil)
	for host := range hosts {
		hosts[host] = nil
	}
	c.apply(hosts, nil)
	if list := c.nacks.all(); len(list) > 0 {
		t.Errorf("Envoy refuses %v", list)
	}
}
