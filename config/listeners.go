package config

// Listeners are where and how Envoy takes requests. What is left out is set
// as Envoy's guide for the edge has it.
type Listeners struct {
	HTTP  Address `yaml:"http"`
	HTTPS Address `yaml:"https"`

	// ProxyProtocol makes both listeners expect the PROXY protocol, version 1
	// or 2, in front of every connection.
	ProxyProtocol bool `yaml:"proxyProtocol"`
	// TrustedHops is how many proxies in front of Envoy are trusted to have
	// written X-Forwarded-For; the client is that many entries from its end.
	TrustedHops uint32 `yaml:"trustedHops"`
	// HTTPVersions are those that clients may speak: "HTTP/1.1", "HTTP/2".
	// Default: both.
	HTTPVersions []string `yaml:"httpVersions"`
	// ServerHeader is what becomes of the upstream's Server header:
	// "pass_through", "overwrite" or "append_if_absent", the latter two with
	// "envoy". Default: pass_through.
	ServerHeader string `yaml:"serverHeader"`
	// Compression of responses for clients that accept it: "gzip", "brotli",
	// "zstd" or "disabled". Default: gzip.
	Compression string `yaml:"compression"`

	// NormalizePaths resolves "." and ".." before a route is chosen. Default: true.
	NormalizePaths *bool `yaml:"normalizePaths"`
	// MergeSlashes takes several slashes in a path as one. Default: true.
	MergeSlashes *bool `yaml:"mergeSlashes"`
	// EscapedSlashes is what becomes of %2F and %5C in a path: "redirect" (to
	// the path with slashes), "unescape", "reject" (400) or "keep". Default: redirect.
	EscapedSlashes string `yaml:"escapedSlashes"`
	// Underscores is what becomes of a request header with an underscore in its
	// name: "reject" (the request), "drop" (the header) or "allow". Default: reject.
	Underscores string `yaml:"underscores"`
	// StripTrailingHostDot takes "www.example.com." for "www.example.com".
	StripTrailingHostDot bool `yaml:"stripTrailingHostDot"`

	// ConnectionBalancer is "exact" to spread connections evenly over Envoy's
	// threads, under a lock. Default: as the kernel spreads them.
	ConnectionBalancer string         `yaml:"connectionBalancer"`
	Limits             ClientLimits   `yaml:"limits"`
	Timeouts           ClientTimeouts `yaml:"timeouts"`
	TLS                TLS            `yaml:"tls"`
	Socket             Socket         `yaml:"socket"`
	AccessLog          AccessLog      `yaml:"accessLog"`
}

// ClientLimits bound what one client may take. Zero is the default.
type ClientLimits struct {
	// Buffer bounds what Envoy holds of one connection before it stops
	// reading. Default: 32Ki.
	Buffer Size `yaml:"buffer"`
	// RequestHeaders bounds the headers of a request; at least 1Ki, at most
	// 8Mi, in steps of 1Ki. Default: 60Ki.
	RequestHeaders Size `yaml:"requestHeaders"`
	// AcceptsPerEvent bounds the connections that a thread accepts at one go.
	// Default: 1, which spreads them evenly.
	AcceptsPerEvent uint32 `yaml:"acceptsPerEvent"`
	// RequestsPerConnection bounds the requests of one connection. Default: no bound.
	RequestsPerConnection uint32 `yaml:"requestsPerConnection"`
	// HTTP2Streams bounds the requests at one time on an HTTP/2 connection.
	// Default: 100.
	HTTP2Streams uint32 `yaml:"http2Streams"`
	// HTTP2StreamWindow and HTTP2ConnectionWindow are the bytes that a client
	// may send ahead, from 65535 to 2147483647. Default: 64Ki and 1Mi.
	HTTP2StreamWindow     Size `yaml:"http2StreamWindow"`
	HTTP2ConnectionWindow Size `yaml:"http2ConnectionWindow"`
	// Connections bounds the connections of each listener, and RequestsPerIOCycle
	// the requests that are read off one connection at one go. Default: no
	// bound. They are in the bootstrap.
	Connections        uint32 `yaml:"connections"`
	RequestsPerIOCycle uint32 `yaml:"requestsPerIOCycle"`
}

// ClientTimeouts bound how long a client may take. "infinity" is no bound.
type ClientTimeouts struct {
	// Request bounds a whole request, from its first byte to its last; not the
	// answer. Default: 5m.
	Request Timeout `yaml:"request"`
	// RequestHeaders bounds its headers. Default: 10s.
	RequestHeaders Timeout `yaml:"requestHeaders"`
	// ConnectionIdle closes a connection without requests. Default: 1h.
	ConnectionIdle Timeout `yaml:"connectionIdle"`
	// StreamIdle ends a request on which nothing moves. Default: 5m.
	StreamIdle Timeout `yaml:"streamIdle"`
	// MaxConnectionDuration closes a connection, idle or not. Default: infinity.
	MaxConnectionDuration Timeout `yaml:"maxConnectionDuration"`
	// DelayedClose waits for the client to close first. Default: 1s.
	DelayedClose Timeout `yaml:"delayedClose"`
	// ShutdownGrace lies between the first and the last GOAWAY. Default: 5s.
	ShutdownGrace Duration `yaml:"shutdownGrace"`
}

// TLS bounds versions ("1.2", "1.3") and names ciphers for 1.2 in Envoy's
// spelling. Default: 1.2 to 1.3, and Envoy's ciphers.
type TLS struct {
	Minimum string   `yaml:"minimum"`
	Maximum string   `yaml:"maximum"`
	Ciphers []string `yaml:"ciphers"`
}

// Socket marks the packets that leave the listeners, from 0 (unmarked) to 255.
type Socket struct {
	// TOS is for IPv4, TrafficClass for IPv6.
	TOS          uint32 `yaml:"tos"`
	TrafficClass uint32 `yaml:"trafficClass"`
}

// AccessLog is a line for each request.
type AccessLog struct {
	// Level is "info" (every request), "error" (status 300 and above),
	// "critical" (500 and above) or "disabled". Default: disabled.
	Level string `yaml:"level"`
	// Format is "envoy" (text) or "json". Default: envoy.
	Format string `yaml:"format"`
	// Text is the line of the format envoy, with Envoy's command operators.
	// Default: Envoy's own.
	Text string `yaml:"text"`
	// Fields are the members of a line of the format json: names that Contour
	// knows, operators without arguments, or "name=%OPERATOR(...)%". Default:
	// Contour's.
	Fields []string `yaml:"fields"`
	// Path is the file that Envoy writes to. Default: its standard output.
	Path string `yaml:"path"`
}
