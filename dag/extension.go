package dag

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
	contourv1alpha1 "github.com/projectcontour/contour/apis/projectcontour/v1alpha1"
	corev1 "k8s.io/api/core/v1"

	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

// Extension is an ExtensionService, resolved: a gRPC service that Envoy asks
// about requests.
type Extension struct {
	// Cluster has its Extension set.
	Cluster Cluster `json:"cluster"`
	// Timeout bounds a call; zero is the default of what calls.
	Timeout Timeout `json:"timeout,omitempty"`
}

// extensionTarget is one of an ExtensionService's services.
type extensionTarget struct {
	endpoints EndpointsKey
	weight    uint32
}

// extensionReader reads one ExtensionService.
type extensionReader struct {
	reader   *reader
	settings *Settings
	entry    *entry
	targets  []extensionTarget
	problems []problem.Problem
	failed   bool
}

func (x *extensionReader) fail(typ, reason, field, format string, args ...any) {
	x.problems = append(x.problems, errorIn(x.entry, typ, reason, field, format, args...))
	x.failed = true
}

func (x *extensionReader) ignore(field, format string, args ...any) {
	p := errorIn(x.entry, contourv1.ConditionTypeSpecError, "IgnoredField", field, format, args...)
	p.Severity = problem.Warning
	x.problems = append(x.problems, p)
}

// errExtensionMissing says that there is no such ExtensionService, and
// errExtensionInvalid that there is one with errors, which it has itself.
var (
	errExtensionMissing = errors.New("not found")
	errExtensionInvalid = errors.New("not valid")
)

// extension is the ExtensionService with the key, for whoever uses it.
func (r *reader) extension(key manifest.Key, settings *Settings) (*Extension, error) {
	e := r.object(key)
	if e == nil || e.extension == nil {
		return nil, errExtensionMissing
	}
	x := extensionReader{reader: r, settings: settings, entry: e}
	extension := x.read()
	if x.failed {
		return nil, errExtensionInvalid
	}
	return extension, nil
}

// read is the whole of it. What is wrong is reported, and all of it is read.
func (x *extensionReader) read() *Extension {
	spec := &x.entry.extension.Spec
	key := x.entry.key()
	c := Cluster{Namespace: key.Namespace, Extension: key.Name, Protocol: x.protocol(spec)}
	for i := range spec.Services {
		x.target(&spec.Services[i], fmt.Sprintf("spec.services[%d]", i))
	}
	x.weights(spec)
	extension := &Extension{Cluster: c}
	x.timeouts(spec.TimeoutPolicy, extension)
	x.balancer(spec.LoadBalancerPolicy, &extension.Cluster)
	x.security(spec, &extension.Cluster)
	extension.Cluster.CircuitBreakers = x.breakers(spec.CircuitBreakerPolicy)
	extension.Cluster.ConnectTimeout = x.settings.ConnectTimeout
	if v := spec.ProtocolVersion; v != "" && v != contourv1alpha1.SupportProtocolVersion3 {
		x.fail(contourv1.ConditionTypeSpecError, "ProtocolVersionNotValid", "spec.protocolVersion",
			"protocol version %q is not supported, only v3 is", v)
	}
	return extension
}

// protocol is HTTP/2 over TLS unless the spec says otherwise.
func (x *extensionReader) protocol(spec *contourv1alpha1.ExtensionServiceSpec) string {
	protocol := ProtocolH2
	if spec.Protocol != nil {
		protocol = *spec.Protocol
	}
	if protocol != ProtocolH2 && protocol != ProtocolH2C {
		x.fail(contourv1.ConditionTypeSpecError, "UnsupportedProtocol", "spec.protocol",
			"unsupported protocol %q: gRPC needs h2 or h2c", protocol)
	}
	return protocol
}

// target finds one service in the ExtensionService's namespace.
func (x *extensionReader) target(s *contourv1alpha1.ExtensionServiceTarget, field string) {
	namespace := x.entry.key().Namespace
	name := namespace + "/" + s.Name
	unresolved := func(format string, args ...any) {
		x.fail(contourv1.ConditionTypeServiceError, "ServiceUnresolvedReference", field,
			"unresolved service %q: %s", name, fmt.Sprintf(format, args...))
	}
	if s.Port < 1 || s.Port > math.MaxUint16 {
		unresolved("port must be in the range 1-65535")
		return
	}
	e := x.reader.object(manifest.Key{Kind: manifest.Service, Namespace: namespace, Name: s.Name})
	switch {
	case e == nil || e.service == nil:
		unresolved("service %q not found", name)
		return
	case e.service.Spec.Type == corev1.ServiceTypeExternalName:
		x.fail(contourv1.ConditionTypeServiceError, "UnsupportedServiceType", field,
			"service %q is of type ExternalName, which an ExtensionService cannot use", name)
		return
	}
	port, err := findPort(e.service, name, portRef{number: int32(s.Port)})
	if err != nil {
		unresolved("%s", err)
		return
	}
	x.targets = append(x.targets, extensionTarget{
		endpoints: EndpointsKey{Namespace: namespace, Service: s.Name, PortName: port.Name}, weight: s.Weight,
	})
}

// weights splits evenly where no service has a weight.
func (x *extensionReader) weights(spec *contourv1alpha1.ExtensionServiceSpec) {
	if len(spec.Services) == 0 {
		x.fail(contourv1.ConditionTypeSpecError, "NothingDefined", "spec.services", "at least one service must be specified")
	}
	sum := uint64(0)
	for _, t := range x.targets {
		sum += uint64(t.weight)
	}
	if sum > math.MaxUint32 {
		x.fail(contourv1.ConditionTypeServiceError, "ServiceWeightInvalid", "spec.services",
			"the weights must not exceed %d in all", uint32(math.MaxUint32))
		x.targets = nil
	}
	if sum == 0 {
		for i := range x.targets {
			x.targets[i].weight = 1
		}
	}
}

func (x *extensionReader) timeouts(p *contourv1.TimeoutPolicy, extension *Extension) {
	if p == nil {
		return
	}
	var err error
	if extension.Timeout, err = parseTimeout(p.Response); err == nil {
		extension.Cluster.IdleTimeout, err = parseTimeout(p.IdleConnection)
	}
	if err != nil {
		x.fail(contourv1.ConditionTypeSpecError, "TimeoutPolicyNotValid", "spec.timeoutPolicy", "spec.timeoutPolicy failed to parse: %s", err)
	}
	if p.Idle != "" {
		x.ignore("spec.timeoutPolicy.idle", "ignoring field %q; a call has no idle timeout", "Spec.TimeoutPolicy.Idle")
	}
}

func (x *extensionReader) balancer(p *contourv1.LoadBalancerPolicy, c *Cluster) {
	b := readPlainBalance(p, "ExtensionServices")
	for _, i := range b.ignored {
		x.ignore("spec.loadBalancerPolicy"+i.field, "%s", i.message)
	}
	c.LoadBalancer = b.balancer
}

// breakers are the platform's unless the spec has its own.
func (x *extensionReader) breakers(p *contourv1alpha1.CircuitBreakers) *CircuitBreakers {
	if p == nil {
		return CircuitBreakers{}.or(x.settings.CircuitBreakers)
	}
	return CircuitBreakers(*p).or(nil)
}

// security reads what TLS to the services needs.
func (x *extensionReader) security(spec *contourv1alpha1.ExtensionServiceSpec, c *Cluster) {
	if c.Protocol != ProtocolH2 {
		if spec.UpstreamValidation != nil {
			x.fail(contourv1.ConditionTypeSpecError, "InconsistentProtocol", "spec.validation",
				"upstream TLS validation not supported for %q protocol", c.Protocol)
		}
		return
	}
	if err := x.reader.clientCertificate(x.settings.ClientCertificate); err != nil {
		x.fail(contourv1.ConditionTypeTLSError, "SecretNotValid", "spec.protocol", "%s", err)
	}
	c.TLS = &UpstreamTLS{Versions: x.settings.UpstreamTLS, ClientCertificate: x.settings.ClientCertificate}
	if spec.UpstreamValidation == nil {
		return
	}
	validation, err := x.reader.upstreamValidation(spec.UpstreamValidation, c.Namespace)
	switch {
	case errors.Is(err, errNotDelegated):
		x.fail(contourv1.ConditionTypeTLSError, "CACertificateNotDelegated", "spec.validation.caSecret",
			"service.UpstreamValidation.CACertificate Secret %q is not configured for certificate delegation", spec.UpstreamValidation.CACertificate)
	case err != nil:
		x.fail(contourv1.ConditionTypeSpecError, "TLSUpstreamValidation", "spec.validation",
			"TLS upstream validation policy error: %s", err)
	default:
		c.TLS.Validation, c.TLS.ServerName = validation, serverName(validation.SubjectNames[0])
	}
}

// extensionUnit is the unit of an ExtensionService beside the hosts: its
// endpoints and its problems.
type extensionUnit struct {
	read      map[manifest.Key]struct{}
	endpoints *Endpoints
	problems  []problem.Problem
	// extension is nil where the ExtensionService cannot be used.
	extension *Extension
}

// affectedExtensions are the ExtensionServices to build again, sorted.
func (g *Graph) affectedExtensions(d *dirty) []manifest.Key {
	found := map[manifest.Key]struct{}{}
	add := func(key manifest.Key) {
		if key.Kind == manifest.ExtensionService {
			found[key] = struct{}{}
		}
		for reader := range g.extensionReaders[key] {
			found[reader] = struct{}{}
		}
	}
	for key := range d.objects {
		add(key)
	}
	for name := range d.services {
		add(manifest.Key{Kind: manifest.Service, Namespace: name.namespace, Name: name.name})
	}
	return slices.SortedFunc(maps.Keys(found), manifest.Key.Compare)
}

// rebuildExtension builds one ExtensionService again, after the endpoints of
// its services, and enters what changed into the delta.
func (g *Graph) rebuildExtension(key manifest.Key, delta *Delta) {
	old, now := g.extensions[key], g.buildExtension(key)
	if old == nil {
		old = &extensionUnit{}
	}
	for k := range old.read {
		removeFrom(g.extensionReaders, k, key)
	}
	delete(g.extensions, key)
	if now.read != nil {
		g.extensions[key] = now
		for k := range now.read {
			addTo(g.extensionReaders, k, key)
		}
	}
	if reflect.DeepEqual(old.endpoints, now.endpoints) {
		now.endpoints = old.endpoints
	} else {
		delta.Endpoints[EndpointsKey{Namespace: key.Namespace, Extension: key.Name}] = now.endpoints
	}
	if g.isRateLimit(key) && !reflect.DeepEqual(old.extension, now.extension) {
		delta.Extensions[key] = now.extension
	}
}

// isRateLimit reports whether the key is that of the platform's rate limit
// service.
func (g *Graph) isRateLimit(key manifest.Key) bool {
	s := g.opts.Settings.RateLimit
	return s != nil && s.key() == key
}

func (s *RateLimitService) key() manifest.Key {
	return manifest.Key{Kind: manifest.ExtensionService, Namespace: s.Namespace, Name: s.Name}
}

// buildExtension is empty where there is no such object.
func (g *Graph) buildExtension(key manifest.Key) *extensionUnit {
	e := g.entries[key]
	if e == nil || e.extension == nil {
		return &extensionUnit{}
	}
	x := extensionReader{
		reader:   &reader{graph: g, read: map[manifest.Key]struct{}{}},
		settings: &g.opts.Settings, entry: e,
	}
	extension := x.read()
	unit := &extensionUnit{read: x.reader.read, problems: x.problems}
	if !x.failed {
		unit.extension = extension
	}
	unit.endpoints = &Endpoints{Key: extension.Cluster.EndpointsKey()}
	for _, t := range x.targets {
		share := EndpointShare{Name: t.endpoints.String(), Weight: t.weight}
		served := g.served[serviceName{t.endpoints.Namespace, t.endpoints.Service}]
		if served != nil && served.byPort[t.endpoints] != nil {
			share.Addresses = served.byPort[t.endpoints].Addresses
		}
		unit.endpoints.add(share)
	}
	return unit
}

// add gives a service that is listed twice the sum of its weights, and one
// without weight nothing.
func (e *Endpoints) add(share EndpointShare) {
	i := slices.IndexFunc(e.Shares, func(s EndpointShare) bool { return s.Name == share.Name })
	switch {
	case share.Weight == 0:
	case i >= 0:
		e.Shares[i].Weight += share.Weight
	default:
		e.Shares = append(e.Shares, share)
	}
}

// rateLimitProblem says that the platform's rate limit service is not there.
func (g *Graph) rateLimitProblem() (problem.Problem, bool) {
	s := g.opts.Settings.RateLimit
	if s == nil || g.extensions[s.key()] != nil {
		return problem.Problem{}, false
	}
	outcome := "requests that it is to be asked about are refused"
	if s.FailOpen {
		outcome = "requests are not limited"
	}
	return problem.Problem{
		Severity: problem.Error, Type: contourv1.ConditionTypeSpecError, Reason: "ExtensionServiceNotFound",
		Message: fmt.Sprintf("the platform's rate limit service is ExtensionService %s/%s, which is not there; %s", s.Namespace, s.Name, outcome),
		Object:  s.key().Ref(),
	}, true
}
