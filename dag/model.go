package dag

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"isoline.dev/isoline/manifest"
)

// VirtualHost is what one host serves, complete and resolved. It is a value:
// equal inputs give equal VirtualHosts, and it is immutable once made. Its
// JSON form is kept in the state directory as the host's memory (who serves
// what, and with which action), so names in it are stable.
type VirtualHost struct {
	// Host is in lower case: "www.example.com", "*.example.com" (exactly one
	// label more) or "*" (whatever no other host serves).
	Host string `json:"host"`
	// Owner is the root HTTPProxy, or the incumbent Ingress where there is none.
	Owner manifest.Key `json:"owner"`
	// Claims are the objects whose claim on the host stands, in the order in
	// which they decide conflicts. Owner is one of them.
	Claims []Claim `json:"claims,omitempty"`
	// Routes are in order of precedence: the first that matches serves. No two
	// have the same Match. A host may have none: it then answers 404, and no
	// wildcard's owner serves it.
	Routes []Route `json:"routes"`
	// TLS is nil where the host is served on plain HTTP alone.
	TLS *TLS `json:"tls,omitempty"`
	// TCP, if set, takes all TLS connections of the host; Routes then serve
	// plain HTTP alone.
	TCP *TCPProxy `json:"tcp,omitempty"`
	// Policy may be nil.
	Policy *HostPolicy `json:"policy,omitempty"`
}

// Claim is an object that may serve a host, and the team that it came from.
type Claim struct {
	Object manifest.Key `json:"object"`
	Team   string       `json:"team,omitempty"`
}

// Route is one match and what is done with it.
type Route struct {
	Match Match `json:"match"`
	// Owner holds the route; it is the last of Chain.
	Owner manifest.Key `json:"owner"`
	// Team is the one that Owner came from; empty without teams.
	Team string `json:"team,omitempty"`
	// Field is where in Owner the route stands, such as "spec.routes[2]".
	Field string `json:"field,omitempty"`
	// Chain runs from the root to Owner, one object for every include.
	Chain  []manifest.Key `json:"chain"`
	Action Action         `json:"action"`
	// Plain says what becomes of it on plain HTTP.
	Plain PlainHTTP `json:"plain,omitempty"`
	// PlainOnly keeps it from the HTTPS listener.
	PlainOnly bool `json:"plainOnly,omitempty"`
	// LastGood says that the route as written now is in error and that Action
	// is what served before.
	LastGood bool `json:"lastGood,omitempty"`
	// Unresolved says that the route as written now is in error and that
	// Action is what is left of it: some of its services, or a direct response
	// that keeps the requests from falling through to a broader route. It is
	// never taken as a last good action.
	Unresolved bool `json:"unresolved,omitempty"`
}

// PathType says how a Path is compared.
type PathType string

const (
	// PathPrefix matches every path that starts with the value, as a string.
	PathPrefix PathType = "prefix"
	// PathSegment matches the value and everything below it: /a matches /a and
	// /a/b, and not /ab. The value has no trailing slash; "/" is a PathPrefix.
	PathSegment PathType = "segment"
	// PathExact matches the value alone.
	PathExact PathType = "exact"
	// PathRegex matches when the RE2 expression matches the whole path.
	PathRegex PathType = "regex"
)

// Path is the path part of a match, without query.
type Path struct {
	Type  PathType `json:"type"`
	Value string   `json:"value"`
}

// Op compares a header's or query parameter's value.
type Op string

const (
	OpPresent  Op = "present"
	OpExact    Op = "exact"
	OpContains Op = "contains"
	OpPrefix   Op = "prefix" // query parameters only
	OpSuffix   Op = "suffix" // query parameters only
	OpRegex    Op = "regex"  // RE2, on the whole value
)

// Condition is one predicate on a header or a query parameter.
type Condition struct {
	// Name is in lower case for headers and as written for query parameters.
	Name  string `json:"name"`
	Op    Op     `json:"op"`
	Value string `json:"value,omitempty"`
	// IgnoreCase compares without regard to case; not for OpRegex.
	IgnoreCase bool `json:"ignoreCase,omitempty"`
	// Invert turns the result round. A missing header does not match an
	// inverted value condition unless MissingIsEmpty is set, and does match
	// an inverted OpPresent. Headers only.
	Invert bool `json:"invert,omitempty"`
	// MissingIsEmpty treats a missing header as an empty value. Headers only.
	MissingIsEmpty bool `json:"missingIsEmpty,omitempty"`
}

// Compare is a total order of conditions.
func (c Condition) Compare(o Condition) int {
	return cmp.Or(
		cmp.Compare(c.Name, o.Name),
		cmp.Compare(c.Op, o.Op),
		cmp.Compare(c.Value, o.Value),
		compareBool(c.IgnoreCase, o.IgnoreCase),
		compareBool(c.Invert, o.Invert),
		compareBool(c.MissingIsEmpty, o.MissingIsEmpty),
	)
}

// Match says which requests a route takes: all parts must hold.
// Headers and Query are sorted by Condition.Compare and have no repeats, so
// that equal matches are equal values.
type Match struct {
	Path    Path        `json:"path"`
	Headers []Condition `json:"headers,omitempty"`
	Query   []Condition `json:"query,omitempty"`
}

// Key identifies a match within its host: equal keys, equal matches, and the
// other way round. It is readable and stable, and is the name of the route in
// Envoy. Tokens that hold spaces, quotes or anything but printable ASCII are
// quoted, as are all values.
func (m Match) Key() string {
	var b strings.Builder
	b.WriteString(string(m.Path.Type))
	b.WriteByte(' ')
	b.WriteString(token(m.Path.Value))
	for _, c := range m.Conditions() {
		b.WriteByte(' ')
		b.WriteString(c)
	}
	return b.String()
}

// Conditions are those on headers and query parameters, each as in Key.
func (m Match) Conditions() []string {
	var all []string
	for _, c := range m.Headers {
		all = append(all, c.text("header:"))
	}
	for _, c := range m.Query {
		all = append(all, c.text("query:"))
	}
	return all
}

func (c Condition) text(of string) string {
	var b strings.Builder
	b.WriteString(of)
	b.WriteString(token(c.Name))
	b.WriteByte(' ')
	if c.Invert {
		b.WriteString("not-")
	}
	b.WriteString(string(c.Op))
	if c.IgnoreCase {
		b.WriteString("-ignorecase")
	}
	if c.MissingIsEmpty {
		b.WriteString("-missingisempty")
	}
	if c.Op != OpPresent {
		b.WriteByte(' ')
		b.WriteString(strconv.Quote(c.Value))
	}
	return b.String()
}

// token is s itself where it cannot be taken for more than one token, else
// quoted.
func token(s string) string {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || s[i] == '"' {
			return strconv.Quote(s)
		}
	}
	if s == "" {
		return `""`
	}
	return s
}

// Action is what is done with a request: exactly one of Clusters, Redirect
// and DirectResponse is set.
type Action struct {
	// Clusters share the requests by weight.
	Clusters       []WeightedCluster `json:"clusters,omitempty"`
	Redirect       *Redirect         `json:"redirect,omitempty"`
	DirectResponse *DirectResponse   `json:"directResponse,omitempty"`
	// Mirror gets copies of what goes to Clusters; it may be nil.
	Mirror *Mirror `json:"mirror,omitempty"`
	// Rewrite changes the path before a request is forwarded; nil leaves it.
	Rewrite *PathRewrite `json:"rewrite,omitempty"`
	// Policy may be nil.
	Policy *RoutePolicy `json:"policy,omitempty"`
}

// WeightedCluster is one share of a route. Where all weights of a route are
// zero the requests are split evenly; otherwise a zero gets none.
type WeightedCluster struct {
	Cluster Cluster `json:"cluster"`
	Weight  uint32  `json:"weight"`
	// RequestHeaders and ResponseHeaders come before the route's; they may be nil.
	RequestHeaders  *Headers `json:"requestHeaders,omitempty"`
	ResponseHeaders *Headers `json:"responseHeaders,omitempty"`
	// HostRewrite is the Host header that the upstream sees where the route does
	// not rewrite it; empty for the client's.
	HostRewrite string `json:"hostRewrite,omitempty"`
	// Cookies are sorted by name, each name once.
	Cookies []CookieRewrite `json:"cookies,omitempty"`
}

// Redirect answers with a Location header. Empty fields keep what the
// request has; StatusCode is always set. At most one of Path and Prefix.
type Redirect struct {
	Scheme     string `json:"scheme,omitempty"`
	Hostname   string `json:"hostname,omitempty"`
	Port       uint32 `json:"port,omitempty"`
	StatusCode uint32 `json:"statusCode"`
	// Path replaces the whole path.
	Path string `json:"path,omitempty"`
	// Prefix replaces the matched prefix.
	Prefix string `json:"prefix,omitempty"`
}

// DirectResponse answers from Envoy itself.
type DirectResponse struct {
	StatusCode uint32 `json:"statusCode"`
	Body       string `json:"body,omitempty"`
}

// PathRewrite replaces the matched path prefix by Prefix. Where Regex is set
// the whole path is instead matched against it (RE2) and replaced by
// Substitution; that serves prefixes whose replacement would leave a double
// or a missing slash.
type PathRewrite struct {
	Prefix       string `json:"prefix,omitempty"`
	Regex        string `json:"regex,omitempty"`
	Substitution string `json:"substitution,omitempty"`
}

// Cluster is an upstream: one port of one Service, with all that decides how
// it is talked to. Equal Clusters are one cluster in Envoy; every field is
// part of its identity.
type Cluster struct {
	Namespace string `json:"namespace"`
	Service   string `json:"service"`
	// Port is the Service's port number, and PortName the name of that port,
	// under which EndpointSlices list it (it may be empty).
	Port     int32  `json:"port"`
	PortName string `json:"portName,omitempty"`
	// Extension, if set, names an ExtensionService whose services share the
	// calls by weight; then Service, Port and PortName are not set.
	Extension string `json:"extension,omitempty"`
	// ExternalName, if set, is the DNS name or IP address under which the one
	// endpoint is found, at Port: there are no Endpoints. Without a Service it
	// is where a URI leads.
	ExternalName string `json:"externalName,omitempty"`
	// DNSLookupFamily is that of Settings, for an ExternalName.
	DNSLookupFamily string `json:"dnsLookupFamily,omitempty"`
	// Protocol is one of the constants.
	Protocol string `json:"protocol,omitempty"`
	// TLS is set where Protocol is spoken over TLS.
	TLS *UpstreamTLS `json:"tls,omitempty"`
	// HealthCheck or TCPHealthCheck, if set, makes Envoy probe every endpoint.
	HealthCheck    *HealthCheck    `json:"healthCheck,omitempty"`
	TCPHealthCheck *TCPHealthCheck `json:"tcpHealthCheck,omitempty"`
	// HealthPort is the number of the Service's port that is probed instead of
	// Port; 0 for Port.
	HealthPort      int32            `json:"healthPort,omitempty"`
	LoadBalancer    LoadBalancer     `json:"loadBalancer,omitempty"`
	SlowStart       *SlowStart       `json:"slowStart,omitempty"`
	CircuitBreakers *CircuitBreakers `json:"circuitBreakers,omitempty"`
	// ConnectTimeout bounds a TCP handshake; 0 is the default.
	ConnectTimeout time.Duration `json:"connectTimeout,omitempty"`
	// IdleTimeout closes connections without requests; 0 is Envoy's hour.
	IdleTimeout Timeout `json:"idleTimeout,omitempty"`
	// BufferLimit and RequestsPerConnection are those of Settings.
	BufferLimit           uint32 `json:"bufferLimit,omitempty"`
	RequestsPerConnection uint32 `json:"requestsPerConnection,omitempty"`
}

// EndpointsKey is where the cluster's endpoints are found.
func (c Cluster) EndpointsKey() EndpointsKey {
	return EndpointsKey{
		Namespace: c.Namespace, Service: c.Service, PortName: c.PortName, HealthPort: c.HealthPort, Extension: c.Extension,
	}
}

// HealthCheck is an active HTTP health check. All fields are set.
type HealthCheck struct {
	Path               string        `json:"path"`
	Host               string        `json:"host"`
	IntervalSeconds    int64         `json:"intervalSeconds"`
	TimeoutSeconds     int64         `json:"timeoutSeconds"`
	UnhealthyThreshold uint32        `json:"unhealthyThreshold"`
	HealthyThreshold   uint32        `json:"healthyThreshold"`
	ExpectedStatuses   []StatusRange `json:"expectedStatuses,omitempty"`
}

// StatusRange is half open: Start is in it, End is not.
type StatusRange struct {
	Start int64 `json:"start"`
	End   int64 `json:"end"`
}

// EndpointsKey names the endpoints of one port of a Service.
type EndpointsKey struct {
	Namespace string `json:"namespace"`
	Service   string `json:"service"`
	PortName  string `json:"portName,omitempty"`
	// HealthPort is the number of the Service's port that is probed; 0 for the
	// port itself.
	HealthPort int32 `json:"healthPort,omitempty"`
	// Extension names an ExtensionService; then only Namespace is set besides.
	Extension string `json:"extension,omitempty"`
}

// String is "namespace/service/portName:healthPort", without the parts that
// are not set, or "extension:namespace/name". It is the name of the endpoints
// in Envoy.
func (k EndpointsKey) String() string {
	if k.Extension != "" {
		return "extension:" + k.Namespace + "/" + k.Extension
	}
	s := k.Namespace + "/" + k.Service
	if k.PortName != "" {
		s += "/" + k.PortName
	}
	if k.HealthPort != 0 {
		s += ":" + strconv.Itoa(int(k.HealthPort))
	}
	return s
}

// Endpoints are the ready addresses of one Service port, sorted, without
// repeats; possibly none.
type Endpoints struct {
	Key       EndpointsKey
	Addresses []Address
	// Shares are those of an ExtensionService, which has no Addresses itself.
	Shares []EndpointShare
}

// EndpointShare is what one service of an ExtensionService has of its calls.
type EndpointShare struct {
	// Name tells the shares apart.
	Name string
	// Weight is not zero, and the weights of all shares fit 32 bits.
	Weight    uint32
	Addresses []Address
}

// Address is an IP address and port.
type Address struct {
	IP   string
	Port uint32
	// HealthPort is the port that is probed; 0 for Port.
	HealthPort uint32
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}

// Compare is a total order of keys.
func (k EndpointsKey) Compare(o EndpointsKey) int {
	return cmp.Or(
		cmp.Compare(k.Namespace, o.Namespace),
		cmp.Compare(k.Service, o.Service),
		cmp.Compare(k.PortName, o.PortName),
		cmp.Compare(k.HealthPort, o.HealthPort),
		cmp.Compare(k.Extension, o.Extension),
	)
}
