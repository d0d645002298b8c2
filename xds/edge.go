package xds

import (
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	proxyprotocolv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Edge says how a client is treated, whom nobody trusts. Its zero value is
// that of Envoy's guide for the edge. A time of zero is the default, and a
// negative one no bound.
type Edge struct {
	// RequestTimeout bounds how long a client may take to send a whole
	// request; by default five minutes.
	RequestTimeout time.Duration
	// HeadersTimeout bounds how long it may take for the headers alone; by
	// default ten seconds.
	HeadersTimeout time.Duration
	// IdleTimeout closes a connection without requests; by default after an hour.
	IdleTimeout time.Duration
	// StreamIdleTimeout ends a request on which nothing moves; by default
	// after five minutes.
	StreamIdleTimeout time.Duration
	// MaxConnectionDuration closes a connection, idle or not; by default never.
	MaxConnectionDuration time.Duration
	// DelayedCloseTimeout waits for the client to close first; by default a second.
	DelayedCloseTimeout time.Duration
	// ShutdownGrace lies between the first and the last GOAWAY; by default
	// five seconds. It is not negative.
	ShutdownGrace time.Duration

	// BufferLimit bounds the bytes held of one connection before Envoy stops
	// reading; by default 32 KiB.
	BufferLimit uint32
	// RequestHeadersKiB bounds the headers of a request, up to 8192; by
	// default 60.
	RequestHeadersKiB uint32
	// AcceptsPerEvent bounds the connections that a worker accepts at one go;
	// by default one, which keeps the workers evenly loaded.
	AcceptsPerEvent uint32
	// RequestsPerConnection bounds the requests of one connection; by default
	// there is no bound.
	RequestsPerConnection uint32
	// HTTP2Streams bounds the requests at one time on an HTTP/2 connection, and
	// the windows what a client may send ahead, from 65535 to 2147483647
	// bytes; by default 100, 64 KiB and 1 MiB.
	HTTP2Streams, HTTP2StreamWindow, HTTP2ConnectionWindow uint32

	// HTTP1 and HTTP2 are what clients may speak; with neither set, both.
	HTTP1, HTTP2 bool
	// ProxyProtocol expects the PROXY protocol in front of every connection.
	ProxyProtocol bool
	// TrustedHops is how many proxies in front of Envoy are trusted to have
	// written X-Forwarded-For.
	TrustedHops uint32
	// ServerHeader is what becomes of the upstream's Server header.
	ServerHeader ServerHeader
	// Compression of responses.
	Compression Compression
	// KeepDotSegments and KeepSlashes leave paths as clients wrote them.
	KeepDotSegments, KeepSlashes bool
	EscapedSlashes               EscapedSlashes
	Underscores                  Underscores
	// StripTrailingHostDot takes "www.example.com." for "www.example.com".
	StripTrailingHostDot bool
	// ExactBalance spreads connections over the workers under a lock.
	ExactBalance bool
	// TOS and TrafficClass mark what is sent, over IPv4 and over IPv6; up to
	// 255, zero leaves it alone.
	TOS, TrafficClass uint32

	AccessLog AccessLog
}

// ServerHeader is what becomes of the upstream's Server header.
type ServerHeader int

// The upstream's header passes, or is "envoy" instead, or is "envoy" where
// there is none.
const (
	ServerPassThrough ServerHeader = iota
	ServerOverwrite
	ServerAppendIfAbsent
)

// EscapedSlashes is what becomes of %2F and %5C in a path.
type EscapedSlashes int

// The client is sent to the path with slashes, or the request goes on with
// them, or is answered with 400, or goes on as it is.
const (
	SlashesRedirect EscapedSlashes = iota
	SlashesUnescape
	SlashesReject
	SlashesKeep
)

// Underscores is what becomes of request headers with one in their names:
// to some upstreams they are the same as a dash, and so a way around rules.
type Underscores int

// The request is answered with 400, or goes on without the header, or as it is.
const (
	UnderscoresReject Underscores = iota
	UnderscoresDrop
	UnderscoresAllow
)

// The defaults of an Edge.
const (
	idleTimeout         = time.Hour
	streamIdleTimeout   = 5 * time.Minute
	requestTimeout      = 5 * time.Minute
	headersTimeout      = 10 * time.Second
	delayedCloseTimeout = time.Second
	shutdownGrace       = 5 * time.Second

	requestHeadersKiB     = 60
	http2Streams          = 100
	http2StreamWindow     = 64 << 10
	http2ConnectionWindow = 1 << 20
)

// connectionManager is what all listeners have in common: how a request is
// read from a client whom nobody trusts. How it is routed is set by the caller.
func connectionManager(name string, opts ListenerOptions) *hcmv3.HttpConnectionManager {
	e := opts.Edge
	return &hcmv3.HttpConnectionManager{
		StatPrefix:                name,
		CodecType:                 e.codec(),
		CommonHttpProtocolOptions: e.common(),
		HttpProtocolOptions:       &corev3.Http1ProtocolOptions{AcceptHttp_10: true},
		Http2ProtocolOptions: &corev3.Http2ProtocolOptions{
			MaxConcurrentStreams:        wrapperspb.UInt32(orElse(e.HTTP2Streams, http2Streams)),
			InitialStreamWindowSize:     wrapperspb.UInt32(orElse(e.HTTP2StreamWindow, http2StreamWindow)),
			InitialConnectionWindowSize: wrapperspb.UInt32(orElse(e.HTTP2ConnectionWindow, http2ConnectionWindow)),
		},
		MaxRequestHeadersKb:   wrapperspb.UInt32(orElse(e.RequestHeadersKiB, requestHeadersKiB)),
		StreamIdleTimeout:     bound(e.StreamIdleTimeout, streamIdleTimeout),
		RequestTimeout:        bound(e.RequestTimeout, requestTimeout),
		RequestHeadersTimeout: bound(e.HeadersTimeout, headersTimeout),
		DelayedCloseTimeout:   bound(e.DelayedCloseTimeout, delayedCloseTimeout),
		DrainTimeout:          bound(e.ShutdownGrace, shutdownGrace),
		UseRemoteAddress:      wrapperspb.Bool(true),
		XffNumTrustedHops:     e.TrustedHops,
		// No address is internal: x-envoy-* headers are Envoy's own, and a
		// client that sends them is not obeyed.
		InternalAddressConfig:        &hcmv3.HttpConnectionManager_InternalAddressConfig{},
		NormalizePath:                wrapperspb.Bool(!e.KeepDotSegments),
		MergeSlashes:                 !e.KeepSlashes,
		PathWithEscapedSlashesAction: e.escapedSlashes(),
		StripTrailingHostDot:         e.StripTrailingHostDot,
		ServerHeaderTransformation:   e.serverHeader(),
		AccessLog:                    e.AccessLog.loggers(),
	}
}

func (e *Edge) common() *corev3.HttpProtocolOptions {
	o := &corev3.HttpProtocolOptions{IdleTimeout: bound(e.IdleTimeout, idleTimeout)}
	if e.MaxConnectionDuration > 0 {
		o.MaxConnectionDuration = durationpb.New(e.MaxConnectionDuration)
	}
	if e.RequestsPerConnection > 0 {
		o.MaxRequestsPerConnection = wrapperspb.UInt32(e.RequestsPerConnection)
	}
	switch e.Underscores {
	case UnderscoresAllow:
		o.HeadersWithUnderscoresAction = corev3.HttpProtocolOptions_ALLOW
	case UnderscoresDrop:
		o.HeadersWithUnderscoresAction = corev3.HttpProtocolOptions_DROP_HEADER
	default:
		o.HeadersWithUnderscoresAction = corev3.HttpProtocolOptions_REJECT_REQUEST
	}
	return o
}

func (e *Edge) codec() hcmv3.HttpConnectionManager_CodecType {
	switch {
	case e.HTTP1 && !e.HTTP2:
		return hcmv3.HttpConnectionManager_HTTP1
	case e.HTTP2 && !e.HTTP1:
		return hcmv3.HttpConnectionManager_HTTP2
	default:
		return hcmv3.HttpConnectionManager_AUTO
	}
}

// alpn are the protocols to offer in a TLS handshake, the preferred first.
func (e *Edge) alpn() []string {
	switch e.codec() {
	case hcmv3.HttpConnectionManager_HTTP1:
		return []string{"http/1.1"}
	case hcmv3.HttpConnectionManager_HTTP2:
		return []string{"h2"}
	default:
		return []string{"h2", "http/1.1"}
	}
}

func (e *Edge) escapedSlashes() hcmv3.HttpConnectionManager_PathWithEscapedSlashesAction {
	switch e.EscapedSlashes {
	case SlashesKeep:
		return hcmv3.HttpConnectionManager_KEEP_UNCHANGED
	case SlashesReject:
		return hcmv3.HttpConnectionManager_REJECT_REQUEST
	case SlashesUnescape:
		return hcmv3.HttpConnectionManager_UNESCAPE_AND_FORWARD
	default:
		return hcmv3.HttpConnectionManager_UNESCAPE_AND_REDIRECT
	}
}

func (e *Edge) serverHeader() hcmv3.HttpConnectionManager_ServerHeaderTransformation {
	switch e.ServerHeader {
	case ServerOverwrite:
		return hcmv3.HttpConnectionManager_OVERWRITE
	case ServerAppendIfAbsent:
		return hcmv3.HttpConnectionManager_APPEND_IF_ABSENT
	default:
		return hcmv3.HttpConnectionManager_PASS_THROUGH
	}
}

// apply treats the connections of a listener as e says. A listener's own
// filters are to be added behind those that are there then: whoever reads the
// PROXY protocol is the first to read.
func (e *Edge) apply(l *listenerv3.Listener) {
	l.PerConnectionBufferLimitBytes = wrapperspb.UInt32(orElse(e.BufferLimit, bufferLimit))
	l.MaxConnectionsToAcceptPerSocketEvent = wrapperspb.UInt32(orElse(e.AcceptsPerEvent, 1))
	l.SocketOptions = e.socketOptions()
	if e.ProxyProtocol {
		l.ListenerFilters = append(l.ListenerFilters, &listenerv3.ListenerFilter{
			Name:       "envoy.filters.listener.proxy_protocol",
			ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: mustAny(&proxyprotocolv3.ProxyProtocol{})},
		})
	}
	if e.ExactBalance {
		l.ConnectionBalanceConfig = &listenerv3.Listener_ConnectionBalanceConfig{
			BalanceType: &listenerv3.Listener_ConnectionBalanceConfig_ExactBalance_{
				ExactBalance: &listenerv3.Listener_ConnectionBalanceConfig_ExactBalance{},
			},
		}
	}
}

// socketOptions are numbered as on Linux.
func (e *Edge) socketOptions() []*corev3.SocketOption {
	const (
		levelIP, ipTOS             = 0, 1
		levelIPv6, ipv6TrafficClas = 41, 67
	)
	var options []*corev3.SocketOption
	set := func(what string, level, name int64, value uint32) {
		if value != 0 {
			options = append(options, &corev3.SocketOption{
				Description: what, Level: level, Name: name, State: corev3.SocketOption_STATE_LISTENING,
				Value: &corev3.SocketOption_IntValue{IntValue: int64(value)},
			})
		}
	}
	set("IPv4 type of service", levelIP, ipTOS, e.TOS)
	set("IPv6 traffic class", levelIPv6, ipv6TrafficClas, e.TrafficClass)
	return options
}

// bound is a time limit in Envoy's words, in which zero is none.
func bound(d, otherwise time.Duration) *durationpb.Duration {
	switch {
	case d == 0:
		return durationpb.New(otherwise)
	case d < 0:
		return durationpb.New(0)
	default:
		return durationpb.New(d)
	}
}

func orElse(v, otherwise uint32) uint32 {
	if v == 0 {
		return otherwise
	}
	return v
}
