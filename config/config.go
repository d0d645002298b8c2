// Package config is the platform's file: which teams own what, from which
// repositories, and how Isoline itself runs.
//
// Load is strict: unknown keys, bad durations and contradictions are errors
// that name the file and line. The package knows no stage; the stages take
// the part of it that concerns them.
package config

// APIVersion and Kind are what the file must say it is.
const (
	APIVersion = "isoline.dev/v1alpha1"
	Kind       = "Config"
)

// Config is the whole file, with defaults filled in by Load.
type Config struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	// StateDir keeps clones and the memory of what was served. A relative path
	// is relative to the file's directory. Default: ".isoline".
	StateDir  string    `yaml:"stateDir"`
	Cluster   Cluster   `yaml:"cluster"`
	Listeners Listeners `yaml:"listeners"`
	XDS       XDS       `yaml:"xds"`
	Routing   Routing   `yaml:"routing"`
	Upstreams Upstreams `yaml:"upstreams"`
	Envoy     Envoy     `yaml:"envoy"`
	Endpoints Endpoints `yaml:"endpoints"`
	Web       Address   `yaml:"web"`
	Render    Render    `yaml:"render"`
	Teams     []Team    `yaml:"teams"`
}

// Cluster says whether there is a Kubernetes cluster and which of its objects count.
type Cluster struct {
	// Mode is "none": everything comes from the repositories.
	Mode string `yaml:"mode"`
	// IngressClasses are the classes served. Empty: objects without a class,
	// or with the class "contour" or "isoline".
	IngressClasses []string `yaml:"ingressClasses"`
	// RootNamespaces may hold HTTPProxies with a virtualhost. Empty: all.
	RootNamespaces []string `yaml:"rootNamespaces"`
	// WatchNamespaces are those whose objects take part, of every kind. Empty: all.
	WatchNamespaces []string `yaml:"watchNamespaces"`
}

// Address is an IP address and a TCP port.
type Address struct {
	Address string `yaml:"address"`
	Port    int    `yaml:"port"`
}

// XDS is where Isoline serves Envoys.
type XDS struct {
	Address `yaml:",inline"`
	// StartDeadline is how long Envoys wait at start for a source that can
	// neither be fetched nor loaded from the state directory. Default: 30s.
	StartDeadline Duration `yaml:"startDeadline"`
	// WarmGrace bounds how long a host's change waits for clusters whose health
	// checks do not finish. Default: 15s.
	WarmGrace Duration `yaml:"warmGrace"`
	// RemovalDelay is how long a cluster stays after the last route to it is
	// gone. It has to exceed what authorization and rate limit services delay a
	// request by. Default: 15s.
	RemovalDelay Duration `yaml:"removalDelay"`
}

// Endpoints guards where endpoints that come from repositories may point.
type Endpoints struct {
	// Allow lists CIDRs. Loopback and link-local addresses are refused unless
	// a CIDR inside those ranges is listed.
	Allow []string `yaml:"allow"`
}

// Render bounds one team's render.
type Render struct {
	// Deadline is the wall time after which the child process is killed. Default: 20s.
	Deadline Duration `yaml:"deadline"`
	// Memory is the resident size at which it is killed. Default: 512Mi.
	Memory Size `yaml:"memory"`
}

// Team binds a repository to what it may say.
type Team struct {
	// Name is a DNS label, unique in the file.
	Name string `yaml:"name"`
	Repo Repo   `yaml:"repo"`
	// Namespaces are exact names. The first is the default for objects that
	// name none.
	Namespaces []string `yaml:"namespaces"`
	// Kinds that the team may have. Default: HTTPProxy, Ingress, Service, EndpointSlice.
	Kinds []string `yaml:"kinds"`
	// Hosts that the team may serve: "www.example.com", "*.example.com" (any
	// one label, and itself as a wildcard host).
	Hosts  []string `yaml:"hosts"`
	Limits Limits   `yaml:"limits"`
}

// Repo is a git repository and the part of it that counts.
type Repo struct {
	// URL is https://, ssh:// (or user@host:path) or http:// without credentials.
	URL string `yaml:"url"`
	Ref Ref    `yaml:"ref"`
	// Path is the readable root: nothing outside it is read. Default: the
	// repository's root.
	Path string `yaml:"path"`
	// Build is the directory below Path to build. Default: Path itself.
	Build string `yaml:"build"`
	Auth  Auth   `yaml:"auth"`
	// Interval between looks at the remote. Default: 60s; at least 100ms.
	Interval Duration `yaml:"interval"`
	// Timeout of one fetch. Default: 60s.
	Timeout Duration `yaml:"timeout"`
}

// Ref says which commit counts. At most one field is set; none means branch "main".
type Ref struct {
	Branch string `yaml:"branch"`
	Tag    string `yaml:"tag"`
	// Semver is a range such as ">=1.2.0 <2"; the highest matching tag counts.
	Semver string `yaml:"semver"`
	// Name is a full ref name such as refs/pull/42/head.
	Name string `yaml:"name"`
	// Commit is a full commit id.
	Commit string `yaml:"commit"`
}

// Auth names files; the files are read anew for every fetch, so that they
// can be rotated. Which fields may be set depends on the URL's scheme.
type Auth struct {
	// Username and PasswordFile are for https (basic).
	Username     string `yaml:"username"`
	PasswordFile string `yaml:"passwordFile"`
	// TokenFile is for https (bearer).
	TokenFile string `yaml:"tokenFile"`
	// CAFile has PEM certificates to trust for https besides the system's.
	CAFile string `yaml:"caFile"`
	// CertFile and KeyFile are a client certificate for https.
	CertFile string `yaml:"certFile"`
	KeyFile  string `yaml:"keyFile"`
	// IdentityFile is an ssh private key, PassphraseFile its passphrase, and
	// KnownHostsFile the host keys; IdentityFile and KnownHostsFile are
	// required for ssh.
	IdentityFile   string `yaml:"identityFile"`
	PassphraseFile string `yaml:"passphraseFile"`
	KnownHostsFile string `yaml:"knownHostsFile"`
}

// Limits bound what one team's revision may hold.
type Limits struct {
	Objects int  `yaml:"objects"` // default 1000
	Files   int  `yaml:"files"`   // default 2000
	Bytes   Size `yaml:"bytes"`   // default 16Mi
	// PrunePercent is how many percent of its hosts, routes or objects a
	// revision may lose against the last good one. Default: 30.
	PrunePercent *int `yaml:"prunePercent"`
}
