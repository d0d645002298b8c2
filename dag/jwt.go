package dag

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
)

// JWT says whose tokens a host takes. A route asks for one of the providers by
// its name.
type JWT struct {
	// Providers have names of their own, which are not empty.
	Providers []JWTProvider `json:"providers"`
	// Default is the provider that routes ask for which do not say otherwise;
	// empty for none.
	Default string `json:"default,omitempty"`
}

// JWTProvider is what a token has to stand.
type JWTProvider struct {
	Name string `json:"name"`
	// Issuer is not looked at where it is empty, nor are Audiences; else a token
	// is for one of them.
	Issuer    string   `json:"issuer,omitempty"`
	Audiences []string `json:"audiences,omitempty"`
	// Forward leaves the token in the request.
	Forward bool       `json:"forward,omitempty"`
	Keys    RemoteKeys `json:"keys"`
}

// RemoteKeys are the keys that tokens are signed with, as a JWKS over HTTP.
type RemoteKeys struct {
	URI string `json:"uri"`
	// Cluster is where the URI leads: its ExternalName is set, its Service is
	// not.
	Cluster Cluster       `json:"cluster"`
	Timeout time.Duration `json:"timeout"`
	// Cache is how long they are used before they are fetched again.
	Cache time.Duration `json:"cache"`
}

// RouteJWT is what a route says of tokens.
type RouteJWT struct {
	// Require is the provider that is asked for; empty for none.
	Require string `json:"require,omitempty"`
}

// Defaults of the API.
const (
	jwksTimeout = time.Second
	jwksCache   = 5 * time.Minute
)

// verifies reports whether requests for an action need a token.
func (p *HostPolicy) verifies(action *Action) bool {
	switch {
	case p == nil || p.JWT == nil:
		return false
	case action.Policy != nil && action.Policy.JWT != nil:
		return action.Policy.JWT.Require != ""
	default:
		return p.JWT.Default != ""
	}
}

// hostJWT reads the providers of a root; nil where it has none.
func (a *actionReader) hostJWT(v *contourv1.VirtualHost) *JWT {
	if len(v.JWTProviders) == 0 {
		return nil
	}
	fail := func(reason, field, format string, args ...any) {
		a.withhold(contourv1.ConditionTypeJWTVerificationError, reason, field, "Spec.VirtualHost.JWTProviders"+format, args...)
	}
	if !terminates(v) {
		fail("JWTVerificationNotPermitted", ".jwtProviders", " can only be defined for root HTTPProxies that terminate TLS")
		return nil
	}
	jwt := &JWT{}
	seen := map[string]bool{}
	for i := range v.JWTProviders {
		p := &v.JWTProviders[i]
		field := ".jwtProviders[" + strconv.Itoa(i) + "]"
		switch {
		case p.Name == "" || !validHeaderValue(p.Name):
			fail("ProviderNameInvalid", field+".name", " is invalid: a name must be printable text")
		case seen[p.Name]:
			fail("DuplicateProviderName", field+".name", " is invalid: duplicate name %s", p.Name)
		case p.Default && jwt.Default != "":
			fail("MultipleDefaultProvidersSpecified", field+".default", " is invalid: at most one provider can be set as the default")
		}
		seen[p.Name] = true
		if p.Default {
			jwt.Default = p.Name
		}
		jwt.Providers = append(jwt.Providers, JWTProvider{
			Name: p.Name, Issuer: p.Issuer, Audiences: p.Audiences, Forward: p.ForwardJWT,
			Keys: a.remoteKeys(&p.RemoteJWKS, field+".remoteJWKS"),
		})
	}
	return jwt
}

// terminates reports whether a root asks for TLS that ends here.
func terminates(v *contourv1.VirtualHost) bool { return v.TLS != nil && !v.TLS.Passthrough }

// remoteKeys reads where keys are. All that is wrong is reported.
func (a *actionReader) remoteKeys(j *contourv1.RemoteJWKS, field string) RemoteKeys {
	fail := func(reason, at, format string, args ...any) {
		a.withhold(contourv1.ConditionTypeJWTVerificationError, reason, field+at, "Spec.VirtualHost.JWTProviders.RemoteJWKS."+format, args...)
	}
	keys := RemoteKeys{URI: j.URI, Timeout: jwksTimeout, Cache: jwksCache}
	for _, of := range []struct {
		text, reason, field, name string
		into                      *time.Duration
	}{
		{j.Timeout, "RemoteJWKSTimeoutInvalid", ".timeout", "Timeout", &keys.Timeout},
		{j.CacheDuration, "RemoteJWKSCacheDurationInvalid", ".cacheDuration", "CacheDuration", &keys.Cache},
	} {
		if of.text == "" {
			continue
		}
		d, err := readDuration(of.text)
		if err != nil {
			fail(of.reason, of.field, "%s is invalid: %s", of.name, err)
		}
		*of.into = d
	}
	c := &keys.Cluster
	c.Namespace, c.ConnectTimeout = a.owner.key().Namespace, a.settings.ConnectTimeout
	switch c.DNSLookupFamily = or(j.DNSLookupFamily, a.settings.DNSLookupFamily); c.DNSLookupFamily {
	case "", "auto", "all", "v4", "v6":
	default:
		fail("RemoteJWKSDNSLookupFamilyInvalid", ".dnsLookupFamily",
			"DNSLookupFamily has an invalid value %q, must be auto, all, v4 or v6", j.DNSLookupFamily)
	}
	u, err := url.Parse(j.URI)
	switch {
	case err != nil:
		// The error quotes the URI, which may hold a password.
		if of := (*url.Error)(nil); errors.As(err, &of) {
			err = of.Err
		}
		fail("RemoteJWKSURIInvalid", ".uri", "URI is invalid: %s", err)
		return keys
	case u.Scheme != "http" && u.Scheme != "https":
		fail("RemoteJWKSSchemeInvalid", ".uri", "URI has invalid scheme %q, must be http or https", u.Scheme)
		return keys
	}
	a.keyServer(u, j.UpstreamValidation, c, fail)
	return keys
}

// keyServer fills in where a URI leads.
func (a *actionReader) keyServer(u *url.URL, validation *contourv1.UpstreamValidation, c *Cluster, fail func(reason, at, format string, args ...any)) {
	c.ExternalName, c.Port = canonicalName(u.Hostname()), 80
	if !isIP(c.ExternalName) && !validHost(c.ExternalName) || u.User != nil || !visibleASCII(u.String()) {
		fail("RemoteJWKSURIInvalid", ".uri", "URI is invalid: it needs a host, and can have no user and nothing but visible ASCII")
	}
	if linkLocal(c.ExternalName) {
		fail("RemoteJWKSURIInvalid", ".uri", "URI is invalid: %s is where the machine's own credentials may be", c.ExternalName)
	}
	if u.Scheme == "https" {
		c.Port, c.Protocol = 443, ProtocolTLS
		c.TLS = &UpstreamTLS{ServerName: serverName(c.ExternalName), Versions: a.settings.UpstreamTLS}
	}
	if text := u.Port(); text != "" {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil || port == 0 {
			fail("RemoteJWKSPortInvalid", ".uri", "URI has an invalid port: %q is not in the range 1-65535", text)
			port = 1
		}
		c.Port = int32(port)
	}
	switch {
	case validation == nil:
		return
	case c.TLS == nil:
		fail("RemoteJWKSUpstreamValidationInvalid", ".validation", "UpstreamValidation must not be specified when URI scheme is http.")
		return
	}
	var err error
	c.TLS.Validation, err = a.reader.upstreamValidation(validation, c.Namespace)
	switch {
	case errors.Is(err, errNotDelegated):
		fail("RemoteJWKSCACertificateNotDelegated", ".validation.caSecret",
			"UpstreamValidation.CACertificate Secret %q is not configured for certificate delegation", validation.CACertificate)
	case err != nil:
		fail("RemoteJWKSUpstreamValidationInvalid", ".validation", "UpstreamValidation is invalid: %s", err)
	}
}

// readDuration is at least a millisecond, and at most a year.
func readDuration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return 0, err
	case d < time.Millisecond || d > longestTimeout:
		return 0, fmt.Errorf("%q is not between 1ms and a year", text)
	}
	return d, nil
}

// routeJWT stands in place of the host's default; nil for the default.
func (a *actionReader) routeJWT(p *contourv1.JWTVerificationPolicy) *RouteJWT {
	const field = ".jwtVerificationPolicy"
	fail := func(reason, format string, args ...any) *RouteJWT {
		a.withhold(contourv1.ConditionTypeJWTVerificationError, reason, field, format, args...)
		return nil
	}
	switch {
	case p == nil:
		return nil
	case p.Require != "" && p.Disabled:
		return fail("InvalidJWTVerificationPolicy", "route's JWT verification policy cannot specify both require and disabled")
	case p.Require == "" && !p.Disabled, a.blocked:
		return nil
	case p.Require != "" && !a.host.provides(p.Require):
		return fail("JWTProviderNotDefined", "Route references an undefined JWT provider %q", p.Require)
	case p.Disabled && (a.host == nil || a.host.JWT == nil):
		return nil
	}
	return &RouteJWT{Require: p.Require}
}

// provides reports whether the host, possibly nil, has the provider.
func (p *HostPolicy) provides(name string) bool {
	if p == nil || p.JWT == nil {
		return false
	}
	for _, provider := range p.JWT.Providers {
		if provider.Name == name {
			return true
		}
	}
	return false
}
