package dag

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
)

// UpstreamTLS is how TLS is spoken to the endpoints of a cluster.
type UpstreamTLS struct {
	// ServerName is the name in the handshake; empty for none.
	ServerName string `json:"serverName,omitempty"`
	// HostAsServerName takes the name from the Host header, as it is sent to
	// the endpoint, of the request that the connection is made for.
	HostAsServerName bool `json:"hostAsServerName,omitempty"`
	// Versions and ClientCertificate, which is shown to endpoints that ask for
	// one, are the platform's.
	Versions          TLSVersions `json:"versions,omitzero"`
	ClientCertificate SecretRef   `json:"clientCertificate,omitzero"`
	// Validation is what a certificate has to stand; nil where any will do.
	Validation *UpstreamValidation `json:"validation,omitempty"`
}

// UpstreamValidation is what the certificate of an endpoint has to stand.
type UpstreamValidation struct {
	// Secret is where the CA is from.
	Secret SecretRef `json:"secret"`
	// CA is the bundle of authorities, PEM, one of which has signed it.
	CA string `json:"ca"`
	// SubjectNames are the alternative names of which it has at least one:
	// DNS names, IP addresses or URIs. There is at least one.
	SubjectNames []string `json:"subjectNames"`
}

// upstreamTLS reads what a service says of the TLS to it. Where the
// certificate cannot be verified as asked for, the service is not used, nor is
// what served before, which may not have verified anything.
func (a *actionReader) upstreamTLS(c *Cluster, s contourv1.Service, use upstreamUse, field string) bool {
	if c.TLS == nil {
		if s.UpstreamValidation != nil {
			a.warn(contourv1.ConditionTypeSpecError, reasonIgnoredField, field,
				"ignoring field %q; service %q is not reached over TLS, set its protocol to tls or h2", "validation", s.Name)
		}
		return true
	}
	if name, varies := rewrittenHost(s.RequestHeadersPolicy, use.headers); name != "" || varies {
		c.TLS.ServerName, c.TLS.HostAsServerName = name, varies
	}
	if s.UpstreamValidation == nil {
		return true
	}
	validation, err := a.reader.upstreamValidation(s.UpstreamValidation, c.Namespace)
	switch {
	case errors.Is(err, errNotDelegated):
		a.withhold(contourv1.ConditionTypeTLSError, "CACertificateNotDelegated", field+".caSecret",
			"service.UpstreamValidation.CACertificate Secret %q is not configured for certificate delegation", s.UpstreamValidation.CACertificate)
		return false
	case err != nil:
		a.withhold(contourv1.ConditionTypeServiceError, "TLSUpstreamValidation", field,
			"Service [%s:%d] TLS upstream validation policy error: %s", s.Name, s.Port, err)
		return false
	}
	c.TLS.Validation = validation
	return true
}

// Limits of the API on validation.
const (
	maxSubjectName  = 250
	maxSubjectNames = 8
)

// upstreamValidation reads a validation of an object in the namespace. The
// error is errNotDelegated where that is it.
func (r *reader) upstreamValidation(p *contourv1.UpstreamValidation, namespace string) (*UpstreamValidation, error) {
	names := p.SubjectNames
	if len(names) == 0 {
		names = []string{p.SubjectName}
	}
	switch {
	case p.CACertificate == "":
		return nil, errors.New("missing CA Secret")
	case slices.Contains(names, ""):
		return nil, errors.New("missing subject alternative name")
	case p.SubjectName != "" && names[0] != p.SubjectName:
		return nil, errors.New("subjectNames[0] must equal subjectName if set")
	case len(names) > maxSubjectNames:
		return nil, fmt.Errorf("%d subject alternative names, at most %d are allowed", len(names), maxSubjectNames)
	case slices.ContainsFunc(names, func(n string) bool { return len(n) > maxSubjectName }):
		return nil, fmt.Errorf("a subject alternative name has more than %d bytes", maxSubjectName)
	}
	v := &UpstreamValidation{Secret: secretRef(p.CACertificate, namespace), SubjectNames: slices.Clone(names)}
	if err := r.readCA(v, namespace); err != nil {
		return nil, err
	}
	return v, nil
}

// readCA takes the CA that the Secret has now.
func (r *reader) readCA(v *UpstreamValidation, namespace string) error {
	ca, err := r.authority(v.Secret, namespace)
	switch {
	case errors.Is(err, errNotDelegated):
		return err
	case err != nil:
		return fmt.Errorf("invalid CA Secret %q: %w", v.Secret, err)
	}
	v.CA = ca
	return nil
}

// clientCertificate says what is wrong with Envoy's own certificate, if there
// is one. It is the platform's, so no delegation is needed.
func (r *reader) clientCertificate(ref SecretRef) error {
	if ref.IsZero() {
		return nil
	}
	if _, err := r.certificate(ref, ref.Namespace); err != nil {
		return fmt.Errorf("tls.envoy-client-certificate Secret %q is invalid: %w", ref, err)
	}
	return nil
}

// rewrittenHost is the name that the first policy that sets the Host header
// sets it to, or whether that varies with the request. It is the name that
// Contour gives in the handshake, too. Policies may be nil.
func rewrittenHost(policies ...*contourv1.HeadersPolicy) (name string, varies bool) {
	for _, p := range policies {
		if p == nil {
			continue
		}
		for _, set := range p.Set {
			if http.CanonicalHeaderKey(set.Name) != "Host" {
				continue
			}
			if strings.Contains(set.Value, "%") {
				return "", true
			}
			return serverName(set.Value), false
		}
	}
	return "", false
}

// serverName is a host as it can stand in a handshake: without a port, and
// nothing for an address.
func serverName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = canonicalName(host)
	if isIP(host) || !validHost(host) || strings.HasPrefix(host, "*") {
		return ""
	}
	return host
}
