package contour

import "isoline.dev/isoline/config"

// file is the file as Contour documents it.
type file struct {
	AccessLogFormat            string   `yaml:"accesslog-format"`
	AccessLogFormatString      string   `yaml:"accesslog-format-string"`
	AccessLogLevel             string   `yaml:"accesslog-level"`
	JSONFields                 []string `yaml:"json-fields"`
	DefaultHTTPVersions        []string `yaml:"default-http-versions"`
	DisableMergeSlashes        bool     `yaml:"disableMergeSlashes"`
	DisablePermitInsecure      bool     `yaml:"disablePermitInsecure"`
	EnableExternalNameService  bool     `yaml:"enableExternalNameService"`
	ServerHeaderTransformation string   `yaml:"serverHeaderTransformation"`

	Compression      compression           `yaml:"compression"`
	TLS              hostTLS               `yaml:"tls"`
	Timeouts         timeouts              `yaml:"timeouts"`
	Cluster          cluster               `yaml:"cluster"`
	Network          network               `yaml:"network"`
	Listener         listener              `yaml:"listener"`
	Policy           policy                `yaml:"policy"`
	GlobalExtAuth    *config.Authorization `yaml:"globalExtAuth"`
	RateLimitService *config.RateLimit     `yaml:"rateLimitService"`

	unused `yaml:",inline"`
}

type compression struct {
	Algorithm string `yaml:"algorithm"`
}

type namespacedName struct {
	Name      string `yaml:"name"`
	Namespace string `yaml:"namespace"`
}

type tls struct {
	MinimumProtocolVersion string   `yaml:"minimum-protocol-version"`
	MaximumProtocolVersion string   `yaml:"maximum-protocol-version"`
	CipherSuites           []string `yaml:"cipher-suites"`
}

func (t tls) config() config.TLS {
	return config.TLS{Minimum: t.MinimumProtocolVersion, Maximum: t.MaximumProtocolVersion, Ciphers: t.CipherSuites}
}

type hostTLS struct {
	tls                    `yaml:",inline"`
	FallbackCertificate    namespacedName `yaml:"fallback-certificate"`
	EnvoyClientCertificate namespacedName `yaml:"envoy-client-certificate"`
}

type timeouts struct {
	Request                       string `yaml:"request-timeout"`
	ConnectionIdle                string `yaml:"connection-idle-timeout"`
	StreamIdle                    string `yaml:"stream-idle-timeout"`
	MaxConnectionDuration         string `yaml:"max-connection-duration"`
	DelayedClose                  string `yaml:"delayed-close-timeout"`
	ConnectionShutdownGracePeriod string `yaml:"connection-shutdown-grace-period"`
	Connect                       string `yaml:"connect-timeout"`
}

type cluster struct {
	DNSLookupFamily               string          `yaml:"dns-lookup-family"`
	MaxRequestsPerConnection      *uint32         `yaml:"max-requests-per-connection"`
	PerConnectionBufferLimitBytes *uint32         `yaml:"per-connection-buffer-limit-bytes"`
	CircuitBreakers               circuitBreakers `yaml:"circuit-breakers"`
	UpstreamTLS                   tls             `yaml:"upstream-tls"`
}

type circuitBreakers struct {
	MaxConnections        uint32 `yaml:"max-connections"`
	MaxPendingRequests    uint32 `yaml:"max-pending-requests"`
	MaxRequests           uint32 `yaml:"max-requests"`
	MaxRetries            uint32 `yaml:"max-retries"`
	PerHostMaxConnections uint32 `yaml:"per-host-max-connections"`
}

type network struct {
	NumTrustedHops       uint32 `yaml:"num-trusted-hops"`
	StripTrailingHostDot bool   `yaml:"strip-trailing-host-dot"`
	AdminPort            *int   `yaml:"admin-port"`
}

type listener struct {
	ConnectionBalancer                   string        `yaml:"connection-balancer"`
	MaxRequestsPerConnection             *uint32       `yaml:"max-requests-per-connection"`
	PerConnectionBufferLimitBytes        *uint32       `yaml:"per-connection-buffer-limit-bytes"`
	SocketOptions                        socketOptions `yaml:"socket-options"`
	MaxRequestsPerIOCycle                *uint32       `yaml:"max-requests-per-io-cycle"`
	HTTP2MaxConcurrentStreams            *uint32       `yaml:"http2-max-concurrent-streams"`
	MaxConnectionsPerListener            *uint32       `yaml:"max-connections-per-listener"`
	MaxConnectionsToAcceptPerSocketEvent *uint32       `yaml:"max-connections-to-accept-per-socket-event"`
}

type socketOptions struct {
	TOS          uint32 `yaml:"tos"`
	TrafficClass uint32 `yaml:"traffic-class"`
}

type policy struct {
	RequestHeaders  *config.Headers `yaml:"request-headers"`
	ResponseHeaders *config.Headers `yaml:"response-headers"`
	ApplyToIngress  bool            `yaml:"applyToIngress"`
}

// unused are the documented keys that have no effect, so that what is in them
// is still read strictly.
type unused struct {
	Debug                     bool     `yaml:"debug"`
	DisableAllowChunkedLength bool     `yaml:"disableAllowChunkedLength"`
	EnvoyServiceName          string   `yaml:"envoy-service-name"`
	EnvoyServiceNamespace     string   `yaml:"envoy-service-namespace"`
	FeatureFlags              []string `yaml:"featureFlags"`
	InCluster                 bool     `yaml:"incluster"`
	IngressStatusAddress      string   `yaml:"ingress-status-address"`
	Kubeconfig                string   `yaml:"kubeconfig"`
	KubernetesClientBurst     int      `yaml:"kubernetesClientBurst"`
	KubernetesClientQPS       float32  `yaml:"kubernetesClientQPS"`
	Gateway                   struct {
		ControllerName string         `yaml:"controllerName"`
		GatewayRef     namespacedName `yaml:"gatewayRef"`
		namespacedName `yaml:",inline"`
	} `yaml:"gateway"`
	LeaderElection struct {
		ConfigMapName      string `yaml:"configmap-name"`
		ConfigMapNamespace string `yaml:"configmap-namespace"`
		LeaseDuration      string `yaml:"lease-duration"`
		RenewDeadline      string `yaml:"renew-deadline"`
		RetryPeriod        string `yaml:"retry-period"`
	} `yaml:"leaderelection"`
	Metrics struct {
		Contour metricsServer `yaml:"contour"`
		Envoy   metricsServer `yaml:"envoy"`
	} `yaml:"metrics"`
	OMEnforcedHealthListener struct {
		Address string `yaml:"address"`
		Port    int    `yaml:"port"`
	} `yaml:"omEnforcedHealthListener"`
	Server struct {
		XDSServerType string `yaml:"xds-server-type"`
	} `yaml:"server"`
	Tracing struct {
		IncludePodDetail bool        `yaml:"includePodDetail"`
		ServiceName      string      `yaml:"serviceName"`
		OverallSampling  string      `yaml:"overallSampling"`
		ClientSampling   string      `yaml:"clientSampling"`
		RandomSampling   string      `yaml:"randomSampling"`
		MaxPathTagLength uint32      `yaml:"maxPathTagLength"`
		CustomTags       []customTag `yaml:"customTags"`
		ExtensionService string      `yaml:"extensionService"`
	} `yaml:"tracing"`
}

type metricsServer struct {
	Address               string `yaml:"address"`
	Port                  int    `yaml:"port"`
	ServerCertificatePath string `yaml:"server-certificate-path"`
	ServerKeyPath         string `yaml:"server-key-path"`
	CACertificatePath     string `yaml:"ca-certificate-path"`
}

type customTag struct {
	TagName           string `yaml:"tagName"`
	Literal           string `yaml:"literal"`
	RequestHeaderName string `yaml:"requestHeaderName"`
}

// notHonoured are the documented keys that have no effect, and why. Except for
// those values, with which Isoline does what they ask for anyway.
var notHonoured = []struct {
	key, why string
	except   []string
}{
	{"debug", "give --verbose", []string{"false"}},
	{"disableAllowChunkedLength", "a request with both Content-Length and Transfer-Encoding is always refused", []string{"true"}},
	{"envoy-service-name", "no load balancer's address is written to a status", nil},
	{"envoy-service-namespace", "no load balancer's address is written to a status", nil},
	{"featureFlags", "there are none; endpoints always come from EndpointSlices", nil},
	{"gateway", "the Gateway API is not served", nil},
	{"incluster", "cluster.mode of Isoline's own file says where objects come from", []string{"false"}},
	{"ingress-status-address", "no load balancer's address is written to a status", nil},
	{"kubeconfig", "cluster.mode of Isoline's own file says where objects come from", nil},
	{"kubernetesClientBurst", "no Kubernetes API is asked", nil},
	{"kubernetesClientQPS", "no Kubernetes API is asked", nil},
	{"leaderelection", "there is nothing to lead", nil},
	{"metrics", "Isoline's are on its web port, see web in docs/config.md; Envoy's are on its admin interface", nil},
	{"network.admin-port", "give isoline bootstrap --admin-port", nil},
	{"omEnforcedHealthListener", "Envoy has no listener for health checks of its own", nil},
	{"server.xds-server-type", "there is one xDS server", []string{"envoy"}},
	{"tracing", "spans are not exported", nil},
}
