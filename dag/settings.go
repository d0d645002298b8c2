package dag

import (
	"time"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
	contourv1alpha1 "github.com/projectcontour/contour/apis/projectcontour/v1alpha1"
)

// Settings are what the platform decides for all hosts, and what manifests
// depend on without saying so: what Contour takes from its own configuration.
// The zero value is a platform that offers none of it.
type Settings struct {
	// FallbackCertificate answers clients that send no server name, for hosts
	// that ask for it; zero for none.
	FallbackCertificate SecretRef
	// ClientCertificate is shown to upstreams that speak TLS; zero for none.
	ClientCertificate SecretRef
	// ExternalNames lets routes lead to ExternalName Services.
	ExternalNames bool
	// DisablePermitInsecure makes routes ignore permitInsecure.
	DisablePermitInsecure bool

	// RequestHeaders and ResponseHeaders hold for every route that does not set
	// or remove the same header itself; nil for none. HeadersOnIngress extends
	// them to Ingresses.
	RequestHeaders, ResponseHeaders *contourv1.HeadersPolicy
	HeadersOnIngress                bool

	// Authorization is asked for every request of hosts that name no
	// authorization server of their own; nil for none.
	Authorization *contourv1.AuthorizationServer
	// RateLimit is the service that global rate limits are asked of; nil for none.
	RateLimit *RateLimitService

	// DownstreamTLS and UpstreamTLS bound the versions and ciphers where
	// manifests do not say.
	DownstreamTLS, UpstreamTLS TLSVersions
	// CircuitBreakers hold for Services that have no annotation; nil for Envoy's.
	CircuitBreakers *contourv1alpha1.CircuitBreakers
	// DNSLookupFamily is "auto" (also empty), "all", "v4" or "v6".
	DNSLookupFamily string
	// ConnectTimeout bounds a TCP handshake with an endpoint; zero for the default.
	ConnectTimeout time.Duration
	// BufferLimit bounds the bytes held of one connection to an endpoint before
	// reading stops; zero for the default. RequestsPerConnection bounds the
	// requests of one connection; zero for no bound.
	BufferLimit, RequestsPerConnection uint32
	// ResponseTimeout bounds an answer where a route does not say; zero for
	// Envoy's 15 seconds, NoTimeout for no bound.
	ResponseTimeout time.Duration
}

// SecretRef names a Secret.
type SecretRef struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// IsZero reports whether r names nothing.
func (r SecretRef) IsZero() bool { return r == SecretRef{} }

// String is "namespace/name".
func (r SecretRef) String() string { return r.Namespace + "/" + r.Name }

// TLSVersions bounds TLS: "1.2" or "1.3", empty for the default (1.2 and 1.3).
// Ciphers are in Envoy's spelling and for 1.2; empty for the default.
type TLSVersions struct {
	Minimum string   `json:"minimum,omitempty"`
	Maximum string   `json:"maximum,omitempty"`
	Ciphers []string `json:"ciphers,omitempty"`
}

// RateLimitService is the platform's global rate limit service.
type RateLimitService struct {
	// Namespace and Name are those of an ExtensionService.
	Namespace, Name string
	Domain          string
	// FailOpen lets requests pass while the service does not answer.
	FailOpen bool
	// RateLimitHeaders adds x-ratelimit-* to answers, and ResourceExhausted makes
	// gRPC answers say RESOURCE_EXHAUSTED instead of UNAVAILABLE.
	RateLimitHeaders, ResourceExhausted bool
	// Default holds for hosts that have no global policy; nil for none.
	Default *contourv1.GlobalRateLimitPolicy
}
