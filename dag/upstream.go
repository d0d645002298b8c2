package dag

import (
	"math"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
	corev1 "k8s.io/api/core/v1"

	"isoline.dev/isoline/manifest"
)

// Protocols that a Service may speak.
const (
	ProtocolHTTP1 = ""    // HTTP/1.1, and whatever a TCP proxy carries
	ProtocolH2C   = "h2c" // HTTP/2
	ProtocolTLS   = "tls" // HTTP/1.1 over TLS
	ProtocolH2    = "h2"  // HTTP/2 over TLS
)

// upstreamUse is what a route, or whatever else has a list of services, says
// about all of them.
type upstreamUse struct {
	check    *HealthCheck
	tcpCheck *TCPHealthCheck
	balancer LoadBalancer
	idle     Timeout
	// headers is the request header policy of them all; nil for none.
	headers *contourv1.HeadersPolicy
	// typ and prefix are those of a problem with a reference.
	typ, prefix string
}

// probed reports whether the upstreams are probed at all.
func (u *upstreamUse) probed() bool { return u.check != nil || u.tcpCheck != nil }

// service is one upstream; what is wrong with it costs the route only this one.
func (a *actionReader) service(s contourv1.Service, use upstreamUse, field string) (WeightedCluster, bool) {
	if s.Port < 1 || s.Port > math.MaxUint16 {
		a.fail(contourv1.ConditionTypeServiceError, "ServicePortInvalid", field+".port",
			"service %q: port must be in the range 1-65535", s.Name)
		return WeightedCluster{}, false
	}
	if s.Weight < 0 || s.Weight > math.MaxUint32 {
		a.fail(contourv1.ConditionTypeServiceError, "ServiceWeightInvalid", field+".weight",
			"service %q: weight must be in the range 0-%d; it gets no requests", s.Name, uint32(math.MaxUint32))
		return WeightedCluster{}, false
	}
	c, ok := a.cluster(s.Name, portRef{number: int32(s.Port)}, s.Protocol, field, use.typ, use.prefix)
	if !ok {
		return WeightedCluster{}, false
	}
	c.HealthCheck, c.TCPHealthCheck = use.check, use.tcpCheck
	c.LoadBalancer, c.IdleTimeout = use.balancer, use.idle
	ok = a.healthPort(&c, s, use, field+".healthPort")
	ok = a.slowStart(&c, s.SlowStartPolicy, field+".slowStartPolicy") && ok
	ok = a.upstreamTLS(&c, s, use, field+".validation") && ok
	return WeightedCluster{Cluster: c, Weight: uint32(s.Weight)}, ok
}

// cluster finds the Service in the owner's namespace. A nil protocol is the
// Service's own.
func (a *actionReader) cluster(name string, ref portRef, protocol *string, field, typ, prefix string) (Cluster, bool) {
	c := Cluster{Namespace: a.owner.key().Namespace, Service: name}
	port, err := findService(a.reader, c.Namespace, name, ref)
	if err != nil {
		a.fail(typ, "ServiceUnresolvedReference", field, "%s%s", prefix, err)
		return Cluster{}, false
	}
	found := serviceEntry(a.reader, &c)
	c.Protocol = portProtocol(found.service, port)
	if protocol != nil {
		c.Protocol = *protocol
	}
	switch c.Protocol {
	case ProtocolHTTP1, ProtocolH2C:
	case ProtocolTLS, ProtocolH2:
		if err := a.reader.clientCertificate(a.settings.ClientCertificate); err != nil {
			a.fail(contourv1.ConditionTypeTLSError, "SecretNotValid", field, "%s", err)
			return Cluster{}, false
		}
		c.TLS = &UpstreamTLS{}
	default:
		a.fail(typ, "UnsupportedProtocol", field, "unsupported protocol: %s", c.Protocol)
		return Cluster{}, false
	}
	c.take(found, port, a.settings)
	return c, true
}

// serviceEntry is the Service of a cluster. It is there: findService found it.
func serviceEntry(r *reader, c *Cluster) *entry {
	return r.object(manifest.Key{Kind: manifest.Service, Namespace: c.Namespace, Name: c.Service})
}

// take gives the cluster what it has from its Service, and from the platform.
func (c *Cluster) take(found *entry, port corev1.ServicePort, settings *Settings) {
	before := c.ExternalName
	c.Port, c.PortName = port.Port, port.Name
	c.ExternalName, c.DNSLookupFamily = externalName(found.service), ""
	if c.ExternalName != "" {
		c.DNSLookupFamily = settings.DNSLookupFamily
	}
	c.CircuitBreakers = found.breakers.or(settings.CircuitBreakers)
	c.ConnectTimeout = settings.ConnectTimeout
	c.BufferLimit, c.RequestsPerConnection = settings.BufferLimit, settings.RequestsPerConnection
	if c.TLS != nil {
		of := *c.TLS
		if of.ServerName == serverName(before) {
			of.ServerName = serverName(c.ExternalName)
		}
		of.Versions, of.ClientCertificate = settings.UpstreamTLS, settings.ClientCertificate
		c.TLS = &of
	}
}

// refresh brings a cluster of a last good action up to date with what has
// changed around it. The error says why it cannot be served any more: a Secret
// or a delegation that is withdrawn is never part of a last good action.
func (b *hostBuild) refresh(c *Cluster) error {
	port, err := findService(b.reader, c.Namespace, c.Service, portRef{number: c.Port})
	if err == nil && c.HealthPort != 0 {
		_, err = findService(b.reader, c.Namespace, c.Service, portRef{number: c.HealthPort})
	}
	if err != nil {
		return err
	}
	c.take(serviceEntry(b.reader, c), port, b.settings)
	if c.TLS == nil {
		return nil
	}
	if err := b.reader.clientCertificate(c.TLS.ClientCertificate); err != nil {
		return err
	}
	if c.TLS.Validation != nil {
		now := *c.TLS.Validation
		c.TLS.Validation = &now
		return b.reader.readCA(&now, c.Namespace)
	}
	return nil
}
