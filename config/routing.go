package config

import (
	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
)

// Routing is what the platform decides for all routes, and what manifests
// depend on without saying so.
type Routing struct {
	// FallbackCertificate is a Secret, "namespace/name", for clients that send
	// no server name, of hosts that ask for it.
	FallbackCertificate NamespacedName `yaml:"fallbackCertificate"`
	// DisablePermitInsecure makes routes ignore permitInsecure.
	DisablePermitInsecure bool `yaml:"disablePermitInsecure"`
	// ExternalNames lets routes lead to ExternalName Services.
	ExternalNames bool `yaml:"externalNames"`
	// RequestHeaders and ResponseHeaders hold for every route that does not set
	// or remove the same header itself.
	RequestHeaders  *Headers `yaml:"requestHeaders"`
	ResponseHeaders *Headers `yaml:"responseHeaders"`
	// HeadersOnIngress extends them to Ingresses.
	HeadersOnIngress bool `yaml:"headersOnIngress"`
	// Authorization is asked for every request of hosts that name no
	// authorization server of their own.
	Authorization *Authorization `yaml:"authorization"`
	// RateLimit is the service that global rate limits are asked of.
	RateLimit *RateLimit `yaml:"rateLimit"`
}

// Headers are set, in place of those of that name, or removed.
type Headers struct {
	Set    map[string]string `yaml:"set"`
	Remove []string          `yaml:"remove"`
}

// Authorization is an external authorization service. The keys are those of
// globalExtAuth in Contour's configuration.
type Authorization struct {
	ExtensionService NamespacedName `yaml:"extensionService"`
	// FailOpen lets requests pass while the service does not answer.
	FailOpen bool `yaml:"failOpen"`
	// ResponseTimeout bounds an answer. Default: the ExtensionService's.
	ResponseTimeout Timeout    `yaml:"responseTimeout"`
	AuthPolicy      AuthPolicy `yaml:"authPolicy"`
	// WithRequestBody sends the body too.
	WithRequestBody *RequestBody `yaml:"withRequestBody"`
}

// AuthPolicy holds for routes that do not say otherwise.
type AuthPolicy struct {
	Disabled bool              `yaml:"disabled"`
	Context  map[string]string `yaml:"context"`
}

// RequestBody is how much of a body the authorization service is sent.
type RequestBody struct {
	// MaxRequestBytes is positive. Default: 1024.
	MaxRequestBytes     uint32 `yaml:"maxRequestBytes"`
	AllowPartialMessage bool   `yaml:"allowPartialMessage"`
	PackAsBytes         bool   `yaml:"packAsBytes"`
}

// RateLimit is a global rate limit service. The keys are those of
// rateLimitService in Contour's configuration.
type RateLimit struct {
	ExtensionService NamespacedName `yaml:"extensionService"`
	// Domain is what the service calls its set of limits. Default: "contour".
	Domain string `yaml:"domain"`
	// FailOpen lets requests pass while the service does not answer.
	FailOpen bool `yaml:"failOpen"`
	// EnableXRateLimitHeaders adds x-ratelimit-* to answers.
	EnableXRateLimitHeaders bool `yaml:"enableXRateLimitHeaders"`
	// EnableResourceExhaustedCode makes gRPC answers say RESOURCE_EXHAUSTED
	// instead of UNAVAILABLE.
	EnableResourceExhaustedCode bool `yaml:"enableResourceExhaustedCode"`
	// DefaultGlobalRateLimitPolicy holds for hosts that have none.
	DefaultGlobalRateLimitPolicy *GlobalRateLimitPolicy `yaml:"defaultGlobalRateLimitPolicy"`
}

// GlobalRateLimitPolicy is HTTPProxy's, written as it is there.
type GlobalRateLimitPolicy contourv1.GlobalRateLimitPolicy

// Upstreams are how Envoy talks to all Services.
type Upstreams struct {
	// ClientCertificate is a Secret, "namespace/name", that Envoy shows to
	// upstreams which speak TLS.
	ClientCertificate NamespacedName `yaml:"clientCertificate"`
	TLS               TLS            `yaml:"tls"`
	// ConnectTimeout bounds a TCP handshake. Default: 2s.
	ConnectTimeout Duration `yaml:"connectTimeout"`
	// ResponseTimeout bounds an answer where a route does not say. Default: 15s.
	ResponseTimeout Timeout `yaml:"responseTimeout"`
	// DNSLookupFamily is for names that Envoy resolves: "auto" (IPv6, else
	// IPv4), "all", "v4" or "v6". Default: auto.
	DNSLookupFamily string `yaml:"dnsLookupFamily"`
	// RequestsPerConnection bounds the requests of one connection. Default: no bound.
	RequestsPerConnection uint32 `yaml:"requestsPerConnection"`
	// Buffer bounds what Envoy holds of one connection. Default: 32Ki.
	Buffer Size `yaml:"buffer"`
	// CircuitBreakers hold for Services without the annotations. Zero is
	// Envoy's own.
	CircuitBreakers CircuitBreakers `yaml:"circuitBreakers"`
}

// CircuitBreakers bound what one Envoy has open to a Service.
type CircuitBreakers struct {
	MaxConnections        uint32 `yaml:"maxConnections"`
	MaxPendingRequests    uint32 `yaml:"maxPendingRequests"`
	MaxRequests           uint32 `yaml:"maxRequests"`
	MaxRetries            uint32 `yaml:"maxRetries"`
	PerHostMaxConnections uint32 `yaml:"perHostMaxConnections"`
}

// Envoy is what is in its bootstrap alone: `isoline bootstrap -c FILE`.
type Envoy struct {
	// MaxHeap is the size of the heap below which Envoy keeps itself: it frees
	// memory at 95 % and refuses requests at 98 %. Default: no bound.
	MaxHeap Size `yaml:"maxHeap"`
	// MaxConnections bounds its client connections over all listeners.
	// Default: 50000.
	MaxConnections uint32 `yaml:"maxConnections"`
}
