// Package contour reads Contour's own configuration file, for those who come
// from Contour: what it says becomes Isoline's configuration.
//
// A key that is left out means what it means in Contour where clients and
// upstreams can see it: the Server header, compression, timeouts, the access
// log. What bounds resources, and what Contour has no key for, stays as
// Isoline has it. A key that Isoline does not honour is a problem that says
// so, a key that Contour does not document an error.
package contour

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"isoline.dev/isoline/config"
	"isoline.dev/isoline/problem"
)

// Load reads the file. The configuration has no defaults filled in, and is for
// config.LoadOver or config.Complete. The problems are warnings, in the order
// of their lines. The error joins every finding; each is a config.Error.
func Load(name string) (config.Config, []problem.Problem, error) {
	body, err := os.ReadFile(name)
	if err != nil {
		return config.Config{}, nil, fmt.Errorf("read Contour's configuration: %w", err)
	}
	return parse(name, body)
}

func parse(name string, body []byte) (config.Config, []problem.Problem, error) {
	if err := refuseObject(name, body); err != nil {
		return config.Config{}, nil, err
	}
	var f file
	root, err := config.Decode(name, body, &f)
	if err != nil {
		return config.Config{}, nil, err
	}
	r := reader{file: name, root: root}
	c := r.configuration(&f)
	for _, e := range c.Check() {
		r.errs = append(r.errs, r.located(e))
	}
	if len(r.errs) > 0 {
		return config.Config{}, nil, errors.Join(r.errs...)
	}
	return c, r.ignored(), nil
}

// refuseObject says what to do with a Kubernetes object, which is what the
// file often comes wrapped in.
func refuseObject(name string, body []byte) error {
	var o struct {
		Kind string `yaml:"kind"`
	}
	_ = yaml.Unmarshal(body, &o) // what is wrong with it is found again
	switch o.Kind {
	case "":
		return nil
	case "ConfigMap":
		return config.Error{File: name, Field: "kind", Message: "this is a ConfigMap; give the file that is under data, contour.yaml"}
	default:
		return config.Error{File: name, Field: "kind", Message: fmt.Sprintf("a %s is not Contour's configuration file", o.Kind)}
	}
}

// reader turns what the file says into Isoline's configuration and collects
// what is wrong.
type reader struct {
	file string
	root *yaml.Node
	errs []error
}

func (r *reader) errorf(field, format string, args ...any) {
	r.errs = append(r.errs, config.Error{File: r.file, Line: config.LineOf(r.root, field), Field: field,
		Message: fmt.Sprintf(format, args...)})
}

// located gives an error in Isoline's words the key and line that Contour's
// file has for it.
func (r *reader) located(e config.Error) config.Error {
	for _, name := range names {
		if rest, ok := strings.CutPrefix(e.Field, name[0]); ok {
			e.Field = name[1] + rest
			break
		}
	}
	e.File, e.Line = r.file, config.LineOf(r.root, e.Field)
	return e
}

// names are Isoline's and Contour's of the same thing; longer ones come first.
var names = [][2]string{
	{"listeners.accessLog.fields", "json-fields"},
	{"listeners.accessLog.format", "accesslog-format"},
	{"listeners.accessLog.level", "accesslog-level"},
	{"listeners.accessLog.text", "accesslog-format-string"},
	{"listeners.compression", "compression.algorithm"},
	{"listeners.connectionBalancer", "listener.connection-balancer"},
	{"listeners.httpVersions", "default-http-versions"},
	{"listeners.limits.buffer", "listener.per-connection-buffer-limit-bytes"},
	{"listeners.limits.http2Streams", "listener.http2-max-concurrent-streams"},
	{"listeners.serverHeader", "serverHeaderTransformation"},
	{"listeners.socket.tos", "listener.socket-options.tos"},
	{"listeners.socket.trafficClass", "listener.socket-options.traffic-class"},
	{"listeners.timeouts.shutdownGrace", "timeouts.connection-shutdown-grace-period"},
	{"listeners.tls.ciphers", "tls.cipher-suites"},
	{"listeners.tls.maximum", "tls.maximum-protocol-version"},
	{"listeners.tls.minimum", "tls.minimum-protocol-version"},
	{"routing.authorization", "globalExtAuth"},
	{"routing.rateLimit", "rateLimitService"},
	{"routing.requestHeaders", "policy.request-headers"},
	{"routing.responseHeaders", "policy.response-headers"},
	{"upstreams.buffer", "cluster.per-connection-buffer-limit-bytes"},
	{"upstreams.connectTimeout", "timeouts.connect-timeout"},
	{"upstreams.dnsLookupFamily", "cluster.dns-lookup-family"},
	{"upstreams.tls.ciphers", "cluster.upstream-tls.cipher-suites"},
	{"upstreams.tls.maximum", "cluster.upstream-tls.maximum-protocol-version"},
	{"upstreams.tls.minimum", "cluster.upstream-tls.minimum-protocol-version"},
}

// configuration is the file in Isoline's words.
func (r *reader) configuration(f *file) config.Config {
	var c config.Config
	c.Listeners = r.listeners(f)
	c.Routing = config.Routing{
		FallbackCertificate:   r.name("tls.fallback-certificate", f.TLS.FallbackCertificate),
		DisablePermitInsecure: f.DisablePermitInsecure,
		ExternalNames:         f.EnableExternalNameService,
		RequestHeaders:        f.Policy.RequestHeaders,
		ResponseHeaders:       f.Policy.ResponseHeaders,
		HeadersOnIngress:      f.Policy.ApplyToIngress,
		Authorization:         f.GlobalExtAuth,
		RateLimit:             f.RateLimitService,
	}
	c.Upstreams = config.Upstreams{
		ClientCertificate:     r.name("tls.envoy-client-certificate", f.TLS.EnvoyClientCertificate),
		TLS:                   f.Cluster.UpstreamTLS.config(),
		ConnectTimeout:        r.duration("timeouts.connect-timeout", f.Timeouts.Connect),
		DNSLookupFamily:       f.Cluster.DNSLookupFamily,
		RequestsPerConnection: r.positive("cluster.max-requests-per-connection", f.Cluster.MaxRequestsPerConnection),
		Buffer:                config.Size(r.positive("cluster.per-connection-buffer-limit-bytes", f.Cluster.PerConnectionBufferLimitBytes)),
		CircuitBreakers:       config.CircuitBreakers(f.Cluster.CircuitBreakers),
	}
	return c
}

// httpVersions are in Isoline's case; Contour takes any.
func httpVersions(list []string) []string {
	var out []string
	for _, version := range list {
		out = append(out, strings.ToUpper(version))
	}
	return out
}

func (r *reader) listeners(f *file) config.Listeners {
	l := config.Listeners{
		TrustedHops:          f.Network.NumTrustedHops,
		StripTrailingHostDot: f.Network.StripTrailingHostDot,
		HTTPVersions:         httpVersions(f.DefaultHTTPVersions),
		ServerHeader:         or(f.ServerHeaderTransformation, "overwrite"),
		Compression:          f.Compression.Algorithm,
		ConnectionBalancer:   f.Listener.ConnectionBalancer,
		TLS:                  f.TLS.tls.config(),
		Socket:               config.Socket(f.Listener.SocketOptions),
		AccessLog:            f.accessLog(),
		Limits: config.ClientLimits{
			Buffer:                config.Size(r.positive("listener.per-connection-buffer-limit-bytes", f.Listener.PerConnectionBufferLimitBytes)),
			RequestsPerConnection: r.positive("listener.max-requests-per-connection", f.Listener.MaxRequestsPerConnection),
			RequestsPerIOCycle:    r.positive("listener.max-requests-per-io-cycle", f.Listener.MaxRequestsPerIOCycle),
			HTTP2Streams:          r.positive("listener.http2-max-concurrent-streams", f.Listener.HTTP2MaxConcurrentStreams),
			Connections:           r.positive("listener.max-connections-per-listener", f.Listener.MaxConnectionsPerListener),
			AcceptsPerEvent:       r.positive("listener.max-connections-to-accept-per-socket-event", f.Listener.MaxConnectionsToAcceptPerSocketEvent),
		},
		Timeouts: config.ClientTimeouts{
			Request:               or(r.timeout("timeouts.request-timeout", f.Timeouts.Request), config.Infinity),
			ConnectionIdle:        or(r.timeout("timeouts.connection-idle-timeout", f.Timeouts.ConnectionIdle), config.Timeout(time.Minute)),
			StreamIdle:            r.timeout("timeouts.stream-idle-timeout", f.Timeouts.StreamIdle),
			MaxConnectionDuration: r.timeout("timeouts.max-connection-duration", f.Timeouts.MaxConnectionDuration),
			DelayedClose:          r.timeout("timeouts.delayed-close-timeout", f.Timeouts.DelayedClose),
			ShutdownGrace:         r.duration("timeouts.connection-shutdown-grace-period", f.Timeouts.ConnectionShutdownGracePeriod),
		},
	}
	if f.DisableMergeSlashes {
		l.MergeSlashes = new(bool)
	}
	return l
}

// accessLog has only what goes with the format, as in Contour.
func (f *file) accessLog() config.AccessLog {
	a := config.AccessLog{Level: or(f.AccessLogLevel, "info"), Format: f.AccessLogFormat}
	if a.Format == "json" {
		a.Fields = f.JSONFields
	} else {
		a.Text = f.AccessLogFormatString
	}
	return a
}

// timeout reads a Go duration or "infinity"; none, and a zero one, is a
// default, as in Contour.
func (r *reader) timeout(field, text string) config.Timeout {
	var t config.Timeout
	if isZeroDuration(text) {
		return 0
	}
	if err := t.UnmarshalYAML(&yaml.Node{Kind: yaml.ScalarNode, Value: text}); err != nil {
		r.errorf(field, "%q is not a time such as 500ms, 90s or 5m, or infinity for no bound", text)
	}
	return t
}

// duration is a timeout that cannot be without a bound.
func (r *reader) duration(field, text string) config.Duration {
	if isZeroDuration(text) {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		r.errorf(field, "%q is not a duration such as 500ms, 90s or 5m", text)
	}
	return config.Duration(d)
}

func isZeroDuration(text string) bool {
	d, err := time.ParseDuration(text)
	return text == "" || err == nil && d == 0
}

// positive reads a number that is not zero, if it is there.
func (r *reader) positive(field string, n *uint32) uint32 {
	if n == nil {
		return 0
	}
	if *n == 0 {
		r.errorf(field, "must be at least 1; leave it out for the default")
	}
	return *n
}

func (r *reader) name(field string, n namespacedName) config.NamespacedName {
	if n == (namespacedName{}) {
		return config.NamespacedName{}
	}
	name, err := config.ParseNamespacedName(n.Namespace + "/" + n.Name)
	if err != nil {
		r.errorf(field, "needs both a name and a namespace: %s", err)
	}
	return name
}

// ignored are the keys that have no effect.
func (r *reader) ignored() []problem.Problem {
	var all []problem.Problem
	for _, k := range notHonoured {
		value := config.NodeOf(r.root, k.key)
		if value == nil || isEmpty(value) || slices.Contains(k.except, value.Value) {
			continue
		}
		all = append(all, problem.Problem{
			Severity: problem.Warning, Type: "ConfigurationError", Reason: "KeyNotHonoured",
			Message: fmt.Sprintf("Contour's key %s has no effect: %s", k.key, k.why),
			Field:   k.key, Origin: problem.Origin{Path: r.file, Line: config.LineOf(r.root, k.key)},
		})
	}
	slices.SortStableFunc(all, func(a, b problem.Problem) int { return a.Origin.Line - b.Origin.Line })
	return all
}

// isEmpty says that a value is as if it were not there.
func isEmpty(n *yaml.Node) bool {
	return n.Tag == "!!null" || n.Kind == yaml.ScalarNode && n.Value == "" ||
		(n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode) && len(n.Content) == 0
}

// or is v, or otherwise where v is the zero value.
func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}
