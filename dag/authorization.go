package dag

import (
	"errors"
	"maps"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"

	"isoline.dev/isoline/manifest"
)

// Authorization asks a service about each request before it is served.
type Authorization struct {
	// Disabled asks nobody. The rest still says who would be asked.
	Disabled bool      `json:"disabled,omitempty"`
	Service  Extension `json:"service"`
	// FailOpen serves requests that the service does not answer for.
	FailOpen bool `json:"failOpen,omitempty"`
	// Body is nil where the service gets no request's body.
	Body *AuthorizationBody `json:"body,omitempty"`
	// Context is sent along with each request.
	Context map[string]string `json:"context,omitempty"`
}

// AuthorizationBody is how much of a request's body is sent.
type AuthorizationBody struct {
	// MaxBytes is not zero. A longer body is refused, unless AllowPartial has
	// its beginning sent.
	MaxBytes     uint32 `json:"maxBytes"`
	AllowPartial bool   `json:"allowPartial,omitempty"`
	// Raw sends bytes, else the body is sent as UTF-8.
	Raw bool `json:"raw,omitempty"`
}

const extensionVersion = "projectcontour.io/v1alpha1"

// hostAuthorization is who is asked for a host's requests: the server that its
// root names, else the platform's; nil for nobody. v is nil for Ingresses.
func (a *actionReader) hostAuthorization(v *contourv1.VirtualHost) *Authorization {
	var own *contourv1.AuthorizationServer
	if v != nil {
		own = v.Authorization
	}
	if own != nil && own.ExtensionServiceRef != (contourv1.ExtensionServiceReference{}) {
		if !terminates(v) {
			a.withhold(contourv1.ConditionTypeAuthError, "AuthNotPermitted", ".authorization.extensionRef",
				"Spec.VirtualHost.Authorization.ExtensionServiceRef can only be defined for root HTTPProxies that terminate TLS")
			return nil
		}
		return a.authorization(own, ".authorization").with(own.AuthPolicy)
	}
	global := a.settings.Authorization
	switch {
	case global == nil && own == nil:
		return nil
	case global == nil:
		a.withhold(contourv1.ConditionTypeAuthError, "ExtensionServiceNotFound", ".authorization.extensionRef",
			"Spec.Virtualhost.Authorization.ServiceRef extension service %q not found", "")
		return nil
	}
	of := a.authorization(global, "").with(global.AuthPolicy)
	if own != nil {
		of = of.with(own.AuthPolicy)
	}
	return of
}

// authorization reads a server; nil where it cannot be asked. The field is
// where it stands, empty for the platform's.
func (a *actionReader) authorization(s *contourv1.AuthorizationServer, field string) *Authorization {
	fail := func(reason, at, format string, args ...any) *Authorization {
		if field != "" {
			at = field + at
		} else {
			at = ""
		}
		a.withhold(contourv1.ConditionTypeAuthError, reason, at, "Spec.Virtualhost.Authorization."+format, args...)
		return nil
	}
	ref := s.ExtensionServiceRef
	if ref.APIVersion != "" && ref.APIVersion != extensionVersion {
		return fail("AuthBadResourceVersion", ".extensionRef.apiVersion",
			"extensionRef specifies an unsupported resource version %q", ref.APIVersion)
	}
	key := manifest.Key{
		Kind: manifest.ExtensionService, Namespace: or(ref.Namespace, a.owner.key().Namespace), Name: ref.Name,
	}
	service, err := a.reader.extension(key, a.settings)
	switch name := key.Namespace + "/" + key.Name; {
	case errors.Is(err, errExtensionInvalid):
		return fail("ExtensionServiceNotFound", ".extensionRef", "ServiceRef extension service %q not found: it is there, and is not valid", name)
	case err != nil:
		return fail("ExtensionServiceNotFound", ".extensionRef", "ServiceRef extension service %q not found", name)
	}
	of := &Authorization{Service: *service, FailOpen: s.FailOpen}
	timeout, err := parseTimeout(s.ResponseTimeout)
	if err != nil {
		return fail("AuthResponseTimeoutInvalid", ".responseTimeout", "ResponseTimeout is invalid: %s", err)
	}
	of.Service.Timeout = or(timeout, of.Service.Timeout)
	if b := s.WithRequestBody; b != nil {
		of.Body = &AuthorizationBody{
			MaxBytes: or(b.MaxRequestBytes, defaultRequestBytes), AllowPartial: b.AllowPartialMessage, Raw: b.PackAsBytes,
		}
	}
	return of
}

// defaultRequestBytes is the default of HTTPProxy's CRD.
const defaultRequestBytes = 1024

// with is a, which may be nil, with a policy of a narrower scope, which may be
// nil too. The contexts are merged.
func (a *Authorization) with(p *contourv1.AuthorizationPolicy) *Authorization {
	if a == nil || p == nil {
		return a
	}
	narrower := *a
	narrower.Disabled = p.Disabled
	if len(p.Context) > 0 {
		narrower.Context = maps.Clone(a.Context)
		if narrower.Context == nil {
			narrower.Context = map[string]string{}
		}
		maps.Copy(narrower.Context, p.Context)
	}
	return &narrower
}

// routeAuthorization is what stands in place of the host's; nil for the host's.
func (a *actionReader) routeAuthorization(p *contourv1.AuthorizationPolicy) *Authorization {
	switch {
	case p == nil, a.blocked:
		return nil
	case a.host == nil || a.host.Authorization == nil:
		a.warn(contourv1.ConditionTypeAuthError, "IgnoredField", ".authPolicy",
			"ignoring field %q; the virtual host has no authorization server", "authPolicy")
		return nil
	}
	return a.host.Authorization.with(p)
}
