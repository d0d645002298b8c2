package pipeline

import (
	"maps"
	"slices"

	"isoline.dev/isoline/config"
	"isoline.dev/isoline/dag"
	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
	"isoline.dev/isoline/xds"
)

// translator turns what the graph changed into what the Envoys are sent. It
// remembers what all hosts share: the chains of the HTTPS listener. It is for
// one goroutine.
type translator struct {
	listeners xds.ListenerOptions
	hosts     xds.Options
	chains    map[string]*xds.Chain // by host
	// secure are the hosts that have a chain.
	secure map[string]*dag.VirtualHost
	// invalid is what translation found, by host, for as long as the host stays
	// as it is; under "" what belongs to none.
	invalid map[string][]problem.Problem
	started bool
}

func newTranslator(c *config.Config) *translator {
	at := func(a config.Address) xds.ListenerAddress {
		return xds.ListenerAddress{Address: a.Address, Port: uint32(a.Port)}
	}
	return &translator{
		listeners: xds.ListenerOptions{
			HTTP: at(c.Listeners.HTTP), HTTPS: at(c.Listeners.HTTPS), TLS: tlsVersions(c.Listeners.TLS),
			RateLimit: rateLimitFilter(c.Routing.RateLimit), Edge: edge(&c.Listeners),
		},
		hosts:   hostOptions(c),
		chains:  map[string]*xds.Chain{},
		secure:  map[string]*dag.VirtualHost{},
		invalid: map[string][]problem.Problem{},
	}
}

// translate is the update for what changed; the first has the listeners too. A
// host of which nothing can be translated is left out: what it served before
// stays. The error is of the listeners, and of the platform's making.
func (t *translator) translate(delta dag.Delta) (xds.Update, error) {
	u := xds.Update{
		Units: map[string]*xds.Unit{}, Endpoints: map[string]*xds.Resource{}, Secrets: map[string]*xds.Resource{},
	}
	relist := !t.started
	if len(delta.Endpoints) > 0 || len(delta.Certificates) > 0 || len(delta.Extensions) > 0 {
		delete(t.invalid, "")
	}
	for key, extension := range delta.Extensions {
		if t.extension(key, extension, &u) {
			relist = true
		}
	}
	for host, vh := range delta.Hosts {
		delete(t.invalid, host)
		if t.host(host, vh, &u) {
			relist = true
		}
	}
	for key, endpoints := range delta.Endpoints {
		t.endpoints(key, endpoints, &u)
	}
	for ref, c := range delta.Certificates {
		t.certificate(ref, c, &u)
	}
	if !relist {
		return u, nil
	}
	listeners, err := xds.Listeners(t.listeners, slices.Collect(maps.Values(t.chains)))
	maps.Copy(u.Units, listeners)
	t.started = err == nil
	return u, err
}

// host translates one host and reports whether its chain changed.
func (t *translator) host(host string, vh *dag.VirtualHost, u *xds.Update) bool {
	var chain *xds.Chain
	name := xds.UnitName(host)
	if vh == nil {
		u.Units[name] = nil
	} else {
		unit, problems := xds.Translate(vh, t.hosts)
		if unit != nil {
			u.Units[name] = unit
		}
		var more []problem.Problem
		chain, more = xds.TranslateChain(vh, t.listeners)
		if problems = append(problems, more...); len(problems) > 0 {
			t.invalid[host] = problems
		}
	}
	if chain == nil {
		delete(t.secure, host)
	} else {
		t.secure[host] = vh
	}
	if t.chains[host].Equal(chain) {
		return false
	}
	if chain == nil {
		delete(t.chains, host)
	} else {
		t.chains[host] = chain
	}
	return true
}

func (t *translator) endpoints(key dag.EndpointsKey, endpoints *dag.Endpoints, u *xds.Update) {
	if endpoints == nil {
		u.Endpoints[key.String()] = nil
		return
	}
	r, problems := xds.TranslateEndpoints(endpoints)
	if r != nil {
		u.Endpoints[key.String()] = r
	}
	t.invalid[""] = append(t.invalid[""], problems...)
}

// extension translates the platform's rate limit service, and reports whether
// the listeners change with it.
func (t *translator) extension(key manifest.Key, x *dag.Extension, u *xds.Update) bool {
	name := xds.ExtensionName(key.Namespace, key.Name)
	u.Units[name] = nil
	if x == nil {
		return false
	}
	unit, problems := xds.TranslateExtension(&x.Cluster)
	u.Units[name] = unit
	t.invalid[""] = append(t.invalid[""], problems...)
	if t.listeners.RateLimit.Timeout == x.Timeout {
		return false
	}
	limit := *t.listeners.RateLimit
	limit.Timeout = x.Timeout
	t.listeners.RateLimit = &limit
	for host, vh := range t.secure { // their chains ask the service too
		if chain, _ := xds.TranslateChain(vh, t.listeners); chain != nil {
			t.chains[host] = chain
		}
	}
	return true
}

func (t *translator) certificate(ref dag.SecretRef, c *dag.Certificate, u *xds.Update) {
	if c == nil {
		u.Secrets[ref.String()] = nil
		return
	}
	r, err := xds.TranslateCertificate(ref, c)
	if err != nil {
		t.invalid[""] = append(t.invalid[""], problem.Problem{
			Severity: problem.Error, Type: "SecretError", Reason: xds.ProblemReason, Message: err.Error(),
			Object: problem.Object{Kind: "Secret", Namespace: ref.Namespace, Name: ref.Name},
		})
		return
	}
	u.Secrets[ref.String()] = r
}
