package pipeline

import (
	"maps"
	"slices"
	"strings"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
	contourv1alpha1 "github.com/projectcontour/contour/apis/projectcontour/v1alpha1"

	"isoline.dev/isoline/config"
	"isoline.dev/isoline/dag"
	"isoline.dev/isoline/xds"
)

// settings are what the configuration decides for all hosts.
func settings(c *config.Config) dag.Settings {
	r, u := &c.Routing, &c.Upstreams
	s := dag.Settings{
		FallbackCertificate:   dag.SecretRef(r.FallbackCertificate),
		ClientCertificate:     dag.SecretRef(u.ClientCertificate),
		ExternalNames:         r.ExternalNames,
		DisablePermitInsecure: r.DisablePermitInsecure,
		RequestHeaders:        headersPolicy(r.RequestHeaders),
		ResponseHeaders:       headersPolicy(r.ResponseHeaders),
		HeadersOnIngress:      r.HeadersOnIngress,
		Authorization:         authorization(r.Authorization),
		RateLimit:             rateLimit(r.RateLimit),
		DownstreamTLS:         tlsVersions(c.Listeners.TLS),
		UpstreamTLS:           tlsVersions(u.TLS),
		DNSLookupFamily:       u.DNSLookupFamily,
		ConnectTimeout:        u.ConnectTimeout.Std(),
		ResponseTimeout:       u.ResponseTimeout.Std(),
		BufferLimit:           uint32(u.Buffer),
		RequestsPerConnection: u.RequestsPerConnection,
	}
	if u.CircuitBreakers != (config.CircuitBreakers{}) {
		breakers := contourv1alpha1.CircuitBreakers(u.CircuitBreakers)
		s.CircuitBreakers = &breakers
	}
	return s
}

func headersPolicy(h *config.Headers) *contourv1.HeadersPolicy {
	if h == nil {
		return nil
	}
	p := &contourv1.HeadersPolicy{Remove: h.Remove}
	for _, name := range slices.Sorted(maps.Keys(h.Set)) {
		p.Set = append(p.Set, contourv1.HeaderValue{Name: name, Value: h.Set[name]})
	}
	return p
}

func authorization(a *config.Authorization) *contourv1.AuthorizationServer {
	if a == nil {
		return nil
	}
	server := &contourv1.AuthorizationServer{
		ExtensionServiceRef: contourv1.ExtensionServiceReference{
			Namespace: a.ExtensionService.Namespace, Name: a.ExtensionService.Name,
		},
		FailOpen:   a.FailOpen,
		AuthPolicy: &contourv1.AuthorizationPolicy{Disabled: a.AuthPolicy.Disabled, Context: a.AuthPolicy.Context},
	}
	switch {
	case a.ResponseTimeout == config.Infinity:
		server.ResponseTimeout = "infinity"
	case a.ResponseTimeout > 0:
		server.ResponseTimeout = a.ResponseTimeout.Std().String()
	}
	if b := a.WithRequestBody; b != nil {
		server.WithRequestBody = &contourv1.AuthorizationServerBufferSettings{
			MaxRequestBytes: b.MaxRequestBytes, AllowPartialMessage: b.AllowPartialMessage, PackAsBytes: b.PackAsBytes,
		}
	}
	return server
}

func rateLimit(l *config.RateLimit) *dag.RateLimitService {
	if l == nil {
		return nil
	}
	return &dag.RateLimitService{
		Namespace: l.ExtensionService.Namespace, Name: l.ExtensionService.Name,
		Domain: l.Domain, FailOpen: l.FailOpen,
		RateLimitHeaders: l.EnableXRateLimitHeaders, ResourceExhausted: l.EnableResourceExhaustedCode,
		Default: (*contourv1.GlobalRateLimitPolicy)(l.DefaultGlobalRateLimitPolicy),
	}
}

// rateLimitFilter is how listeners ask the rate limit service.
func rateLimitFilter(l *config.RateLimit) *xds.RateLimit {
	if l == nil {
		return nil
	}
	return &xds.RateLimit{
		Namespace: l.ExtensionService.Namespace, Name: l.ExtensionService.Name,
		Domain: l.Domain, FailOpen: l.FailOpen,
		Headers: l.EnableXRateLimitHeaders, ResourceExhausted: l.EnableResourceExhaustedCode,
	}
}

func tlsVersions(t config.TLS) dag.TLSVersions { return dag.TLSVersions(t) }

// edge is how the listeners treat clients.
func edge(l *config.Listeners) xds.Edge {
	t, limits := &l.Timeouts, &l.Limits
	return xds.Edge{
		RequestTimeout:        t.Request.Std(),
		HeadersTimeout:        t.RequestHeaders.Std(),
		IdleTimeout:           t.ConnectionIdle.Std(),
		StreamIdleTimeout:     t.StreamIdle.Std(),
		MaxConnectionDuration: t.MaxConnectionDuration.Std(),
		DelayedCloseTimeout:   t.DelayedClose.Std(),
		ShutdownGrace:         t.ShutdownGrace.Std(),

		BufferLimit:           uint32(limits.Buffer),
		RequestHeadersKiB:     uint32(limits.RequestHeaders >> 10),
		AcceptsPerEvent:       limits.AcceptsPerEvent,
		RequestsPerConnection: limits.RequestsPerConnection,
		HTTP2Streams:          limits.HTTP2Streams,
		HTTP2StreamWindow:     uint32(limits.HTTP2StreamWindow),
		HTTP2ConnectionWindow: uint32(limits.HTTP2ConnectionWindow),

		HTTP1:                slices.Contains(l.HTTPVersions, "HTTP/1.1"),
		HTTP2:                slices.Contains(l.HTTPVersions, "HTTP/2"),
		ProxyProtocol:        l.ProxyProtocol,
		TrustedHops:          l.TrustedHops,
		ServerHeader:         serverHeaders[l.ServerHeader],
		Compression:          compressions[l.Compression],
		KeepDotSegments:      isFalse(l.NormalizePaths),
		KeepSlashes:          isFalse(l.MergeSlashes),
		EscapedSlashes:       escapedSlashes[l.EscapedSlashes],
		Underscores:          underscores[l.Underscores],
		StripTrailingHostDot: l.StripTrailingHostDot,
		ExactBalance:         l.ConnectionBalancer == "exact",
		TOS:                  l.Socket.TOS,
		TrafficClass:         l.Socket.TrafficClass,
		AccessLog:            accessLog(l.AccessLog),
	}
}

// The configuration's words; none is the default.
var (
	serverHeaders = map[string]xds.ServerHeader{"pass_through": xds.ServerPassThrough,
		"overwrite": xds.ServerOverwrite, "append_if_absent": xds.ServerAppendIfAbsent}
	compressions = map[string]xds.Compression{"gzip": xds.Gzip, "brotli": xds.Brotli,
		"zstd": xds.Zstd, "disabled": xds.Uncompressed}
	escapedSlashes = map[string]xds.EscapedSlashes{"redirect": xds.SlashesRedirect,
		"unescape": xds.SlashesUnescape, "reject": xds.SlashesReject, "keep": xds.SlashesKeep}
	underscores = map[string]xds.Underscores{"reject": xds.UnderscoresReject,
		"drop": xds.UnderscoresDrop, "allow": xds.UnderscoresAllow}
	leastStatus = map[string]uint32{"error": 300, "critical": 500}
)

func isFalse(b *bool) bool { return b != nil && !*b }

func accessLog(a config.AccessLog) xds.AccessLog {
	if a.Level == "" || a.Level == "disabled" {
		return xds.AccessLog{}
	}
	log := xds.AccessLog{Enabled: true, LeastStatus: leastStatus[a.Level], Text: a.Text, Path: a.Path}
	if a.Format == "json" {
		log.Fields = a.Members()
	}
	return log
}

// hostOptions are how every host is translated.
func hostOptions(c *config.Config) xds.Options {
	log := accessLog(c.Listeners.AccessLog)
	formats := append(slices.Collect(maps.Values(log.Fields)), log.Text)
	return xds.Options{RouteSource: slices.ContainsFunc(formats, func(format string) bool {
		return strings.Contains(format, "io.projectcontour.")
	})}
}

// BootstrapLimits enters what the configuration says for an Envoy's bootstrap.
func BootstrapLimits(c *config.Config, o *xds.BootstrapOptions) {
	o.MaxHeapBytes = uint64(c.Envoy.MaxHeap)
	o.MaxConnections = int64(c.Envoy.MaxConnections)
	o.ListenerConnections = c.Listeners.Limits.Connections
	o.RequestsPerIOCycle = c.Listeners.Limits.RequestsPerIOCycle
}
