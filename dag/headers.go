package dag

import (
	"cmp"
	"errors"
	"fmt"
	"net/textproto"
	"regexp"
	"slices"
	"strconv"
	"strings"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
)

// Headers changes the headers of a request or an answer: what Remove names
// goes, then Set is written over what is there.
type Headers struct {
	// Set is sorted by name; no name stands in it twice.
	Set []Header `json:"set,omitempty"`
	// Remove is sorted and has names in lower case, each once.
	Remove []string `json:"remove,omitempty"`
}

// Header is one header to write.
type Header struct {
	// Name is in lower case, and neither "host" nor that of a pseudo header.
	Name string `json:"name"`
	// Value is a template: %NAME% is one of HeaderVariables, %REQ(name)% the
	// value of a request's header, and %% a percent sign. It has no other
	// percent sign and no control character but the tab.
	Value string `json:"value"`
}

// HostRewrite is the Host header that an upstream sees: one of both is set.
type HostRewrite struct {
	// Host is a host name or address, perhaps with a port.
	Host string `json:"host,omitempty"`
	// Header names a request's header that holds it. A request where that is
	// missing or empty keeps its own. The name is in lower case.
	Header string `json:"header,omitempty"`
}

// HeaderVariables are what a header's value may take from the connection or
// the request, in Envoy's words.
var HeaderVariables = []string{
	"DOWNSTREAM_REMOTE_ADDRESS", "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
	"DOWNSTREAM_LOCAL_ADDRESS", "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_LOCAL_PORT",
	"DOWNSTREAM_LOCAL_URI_SAN", "DOWNSTREAM_PEER_URI_SAN", "DOWNSTREAM_LOCAL_SUBJECT", "DOWNSTREAM_PEER_SUBJECT",
	"DOWNSTREAM_PEER_ISSUER", "DOWNSTREAM_PEER_SERIAL", "DOWNSTREAM_PEER_FINGERPRINT_1", "DOWNSTREAM_PEER_FINGERPRINT_256",
	"DOWNSTREAM_PEER_CERT", "DOWNSTREAM_PEER_CERT_V_START", "DOWNSTREAM_PEER_CERT_V_END",
	"DOWNSTREAM_TLS_SESSION_ID", "DOWNSTREAM_TLS_CIPHER", "DOWNSTREAM_TLS_VERSION",
	"HOSTNAME", "PROTOCOL", "RESPONSE_FLAGS", "RESPONSE_CODE_DETAILS", "UPSTREAM_REMOTE_ADDRESS",
}

// RequestHeaderVariable is the part between the percent signs that stands for
// a request's header.
var RequestHeaderVariable = regexp.MustCompile(`^REQ\(([-\w]+)\)$`)

// looksLikeVariable is what an author most likely meant to be replaced.
var looksLikeVariable = regexp.MustCompile(`^[A-Z][A-Z0-9_]*(\([^()]*\))?$`)

// responseOnly are not known yet when a request is sent on.
var responseOnly = []string{"RESPONSE_FLAGS", "RESPONSE_CODE_DETAILS", "UPSTREAM_REMOTE_ADDRESS"}

const (
	// maxHeaderName keeps names well inside Envoy's limit.
	maxHeaderName = 256
	// reservedHeaders are Isoline's own: they lead a request to its host.
	reservedHeaders = "x-isoline-"
)

// connectionHeaders are Envoy's to write on answers.
var connectionHeaders = []string{"connection", "upgrade"}

// framingHeaders say where a message ends. One that does not tell the truth
// would let requests of one client be taken for another's.
var framingHeaders = []string{"content-length", "transfer-encoding"}

// headerRules are what differs between places that set headers.
type headerRules struct {
	// literals are variables whose value is known now, by name.
	literals map[string]string
	// host lets the Host header be rewritten, and hostFromHeader to what another
	// header holds.
	host, hostFromHeader bool
	// request: the headers are those of a request.
	request bool
}

// headerChanges is a headers policy as read.
type headerChanges struct {
	headers  *Headers // nil where nothing is changed
	host     *HostRewrite
	warnings []string
}

// readHeaders reads a headers policy, which may be nil.
func readHeaders(p *contourv1.HeadersPolicy, rules headerRules) (headerChanges, error) {
	var c headerChanges
	if p == nil {
		return c, nil
	}
	var h Headers
	seen := map[string]bool{}
	for _, s := range p.Set {
		name := asciiLower(s.Name)
		if err := checkHeaderName("set", s.Name, true); err != nil {
			return c, err
		}
		if seen[name] {
			return c, fmt.Errorf("duplicate header addition: %q", canonical(name))
		}
		seen[name] = true
		if name == "host" {
			host, err := rules.hostRewrite(s.Value)
			if err != nil {
				return c, err
			}
			c.host = host
			continue
		}
		value, warnings, err := rules.value(name, s.Value)
		if err != nil {
			return c, err
		}
		c.warnings = append(c.warnings, warnings...)
		h.Set = append(h.Set, Header{Name: name, Value: value})
	}
	for _, r := range p.Remove {
		name := asciiLower(r)
		switch err := checkHeaderName("remove", r, false); {
		case err != nil:
			return c, err
		case name == "host":
			return c, errors.New(`removing the "Host" header is not supported`)
		case slices.Contains(h.Remove, name):
			return c, fmt.Errorf("duplicate header removal: %q", canonical(name))
		case seen[name]:
			c.warnings = append(c.warnings, fmt.Sprintf("header %q is both set and removed; it is set", canonical(name)))
		}
		h.Remove = append(h.Remove, name)
	}
	c.headers = sortedHeaders(h)
	return c, nil
}

// sortedHeaders is h in its order, or nil where it changes nothing.
func sortedHeaders(h Headers) *Headers {
	if len(h.Set) == 0 && len(h.Remove) == 0 {
		return nil
	}
	slices.SortFunc(h.Set, func(x, y Header) int { return cmp.Compare(x.Name, y.Name) })
	slices.Sort(h.Remove)
	return &h
}

func canonical(name string) string { return textproto.CanonicalMIMEHeaderKey(name) }

func checkHeaderName(verb, name string, sets bool) error {
	lower := asciiLower(name)
	switch {
	case strings.HasPrefix(name, ":") || !validHeaderName(lower) || len(name) > maxHeaderName:
		return fmt.Errorf("invalid %s header %q: it must be an HTTP token of at most %d characters", verb, name, maxHeaderName)
	case strings.HasPrefix(lower, reservedHeaders):
		return fmt.Errorf("invalid %s header %q: %s* is reserved", verb, name, reservedHeaders)
	case sets && slices.Contains(framingHeaders, lower):
		return fmt.Errorf("invalid %s header %q: it says where a message ends, which is not the route's to say", verb, name)
	}
	return nil
}

func checkHeaderValue(name, value string) error {
	switch {
	case value == "":
		return fmt.Errorf("header %q has no value", canonical(name))
	case !validHeaderValue(value):
		return fmt.Errorf("the value of header %q must be printable text of at most %d bytes", canonical(name), maxHeaderValue)
	}
	return nil
}

// value is a header's value as a template.
func (r headerRules) value(name, text string) (string, []string, error) {
	if err := checkHeaderValue(name, text); err != nil {
		return "", nil, err
	}
	value, unknown := r.expand(text)
	var warnings []string
	if !r.request && slices.Contains(connectionHeaders, name) {
		warnings = append(warnings, fmt.Sprintf("header %q belongs to the connection and is not sent to clients", canonical(name)))
	}
	for _, v := range unknown {
		warnings = append(warnings, fmt.Sprintf("%%%s%% in header %q is not a variable here; it is sent as it is written", v, canonical(name)))
	}
	if r.request {
		for _, v := range responseOnly {
			if strings.Contains(value, "%"+v+"%") {
				warnings = append(warnings, fmt.Sprintf("%%%s%% in header %q is not known yet when a request is sent on", v, canonical(name)))
			}
		}
	}
	return value, warnings, checkHeaderValue(name, value)
}

// expand puts in what is known now, keeps the variables and doubles every
// other percent sign. It also returns what looks like a variable and is none.
func (r headerRules) expand(text string) (string, []string) {
	var b strings.Builder
	var unknown []string
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			b.WriteByte(text[i])
			continue
		}
		name, _, closed := strings.Cut(text[i+1:], "%")
		literal, known := r.literals[name]
		switch {
		case closed && known:
			b.WriteString(strings.ReplaceAll(literal, "%", "%%"))
		case closed && (slices.Contains(HeaderVariables, name) || RequestHeaderVariable.MatchString(name)):
			b.WriteString("%" + name + "%")
		default:
			if closed && looksLikeVariable.MatchString(name) {
				unknown = append(unknown, name)
			}
			b.WriteString("%%")
			continue
		}
		i += len(name) + 1
	}
	return b.String(), unknown
}

var hostText = regexp.MustCompile(`^[-A-Za-z0-9._]+(:[0-9]{1,5})?$|^\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?$`)

func (r headerRules) hostRewrite(value string) (*HostRewrite, error) {
	if !r.host {
		return nil, errors.New(`rewriting "Host" header is not supported`)
	}
	if name, ok := strings.CutPrefix(value, "%"); ok {
		if m := RequestHeaderVariable.FindStringSubmatch(strings.TrimSuffix(name, "%")); m != nil && strings.HasSuffix(name, "%") {
			if !r.hostFromHeader {
				return nil, errors.New(`rewriting "Host" header with a dynamic value is not supported on a service`)
			}
			return &HostRewrite{Header: asciiLower(m[1])}, nil
		}
	}
	host, _ := r.expand(value)
	if !hostText.MatchString(host) || len(host) > 259 {
		return nil, fmt.Errorf(`rewriting "Host" header: %.300q is neither a host nor %%REQ(header-name)%%`, value)
	}
	return &HostRewrite{Host: host}, nil
}

// names are the headers that a policy decides about.
func (h *Headers) names() []string {
	if h == nil {
		return nil
	}
	names := slices.Clone(h.Remove)
	for _, s := range h.Set {
		names = append(names, s.Name)
	}
	return names
}

// withDefaults adds what defaults says of headers that neither h nor others
// decide about.
func (h *Headers) withDefaults(defaults *Headers, others ...*Headers) *Headers {
	if defaults == nil {
		return h
	}
	decided := h.names()
	for _, o := range others {
		decided = append(decided, o.names()...)
	}
	var all Headers
	if h != nil {
		all.Set, all.Remove = slices.Clone(h.Set), slices.Clone(h.Remove)
	}
	for _, s := range defaults.Set {
		if !slices.Contains(decided, s.Name) {
			all.Set = append(all.Set, s)
		}
	}
	for _, name := range defaults.Remove {
		if !slices.Contains(decided, name) {
			all.Remove = append(all.Remove, name)
		}
	}
	return sortedHeaders(all)
}

// routeHeaders reads the headers policies of a route.
func (a *actionReader) routeHeaders(r *contourv1.Route, p *RoutePolicy) bool {
	literals := map[string]string{"CONTOUR_NAMESPACE": a.owner.key().Namespace}
	request, err := readHeaders(r.RequestHeadersPolicy, headerRules{literals: literals, host: true, hostFromHeader: true, request: true})
	if err != nil {
		a.fail(contourv1.ConditionTypeRouteError, "RequestHeadersPolicyInvalid", ".requestHeadersPolicy", "%s on request headers", err)
		return false
	}
	response, err := readHeaders(r.ResponseHeadersPolicy, headerRules{literals: literals})
	if err != nil {
		a.fail(contourv1.ConditionTypeRouteError, "ResponseHeaderPolicyInvalid", ".responseHeadersPolicy", "%s on response headers", err)
		return false
	}
	if len(r.Services) > 0 { // else there is no request to change
		p.RequestHeaders, p.HostRewrite = request.headers, request.host
		a.warnOfHeaders(contourv1.ConditionTypeRouteError, ".requestHeadersPolicy", request.warnings)
	}
	p.ResponseHeaders = response.headers
	a.warnOfHeaders(contourv1.ConditionTypeRouteError, ".responseHeadersPolicy", response.warnings)
	return true
}

func (a *actionReader) warnOfHeaders(typ, field string, warnings []string) {
	for _, w := range warnings {
		a.warn(typ, reasonIgnoredField, field, "%s", w)
	}
}

// serviceHeaders reads the headers policies of one service into w.
func (a *actionReader) serviceHeaders(s contourv1.Service, w *WeightedCluster, field string) bool {
	literals := serviceLiterals(w.Cluster)
	request, err := readHeaders(s.RequestHeadersPolicy, headerRules{literals: literals, host: true, request: true})
	if err != nil {
		a.fail(contourv1.ConditionTypeServiceError, "RequestHeadersPolicyInvalid", field+".requestHeadersPolicy", "%s on request headers", err)
		return false
	}
	response, err := readHeaders(s.ResponseHeadersPolicy, headerRules{literals: literals})
	if err != nil {
		a.fail(contourv1.ConditionTypeServiceError, "ResponseHeadersPolicyInvalid", field+".responseHeadersPolicy", "%s on response headers", err)
		return false
	}
	w.RequestHeaders, w.ResponseHeaders = request.headers, response.headers
	if request.host != nil {
		w.HostRewrite = request.host.Host
	}
	a.warnOfHeaders(contourv1.ConditionTypeServiceError, field+".requestHeadersPolicy", request.warnings)
	a.warnOfHeaders(contourv1.ConditionTypeServiceError, field+".responseHeadersPolicy", response.warnings)
	return true
}

// serviceLiterals are the variables that stand for a service.
func serviceLiterals(c Cluster) map[string]string {
	return map[string]string{
		"CONTOUR_NAMESPACE":    c.Namespace,
		"CONTOUR_SERVICE_NAME": c.Service,
		"CONTOUR_SERVICE_PORT": strconv.Itoa(int(c.Port)),
	}
}

// overruled warns of headers that a service changes in vain: the route's own
// policy comes after it.
func (a *actionReader) overruled(field string, w *WeightedCluster, route *RoutePolicy) {
	if route == nil {
		return
	}
	warn := func(policy string, names, later []string) {
		for _, name := range names {
			if slices.Contains(later, name) {
				a.warn(contourv1.ConditionTypeServiceError, reasonIgnoredField, field+"."+policy,
					"header %q is also changed by the route's %s, which comes later", canonical(name), policy)
			}
		}
	}
	warn("requestHeadersPolicy", w.RequestHeaders.names(), route.RequestHeaders.names())
	warn("responseHeadersPolicy", w.ResponseHeaders.names(), route.ResponseHeaders.names())
	if w.HostRewrite != "" && route.HostRewrite != nil {
		warn("requestHeadersPolicy", []string{"host"}, []string{"host"})
	}
}

// CheckDefaultHeaders says what is wrong with headers that the platform wants
// changed everywhere, which may be nil.
func CheckDefaultHeaders(p *contourv1.HeadersPolicy) error {
	_, err := readHeaders(p, headerRules{literals: serviceLiterals(Cluster{Namespace: "n", Service: "s", Port: 1})})
	return err
}

// platformHeaders adds to an action what the platform says of headers that
// the action does not decide about itself.
func (a *actionReader) platformHeaders(action *Action) {
	if a.settings.RequestHeaders == nil && a.settings.ResponseHeaders == nil {
		return
	}
	own := RoutePolicy{}
	if action.Policy != nil {
		own = *action.Policy
	}
	for i := range action.Clusters {
		w := &action.Clusters[i]
		literals := serviceLiterals(w.Cluster)
		w.RequestHeaders = w.RequestHeaders.withDefaults(defaultHeaders(a.settings.RequestHeaders, literals), own.RequestHeaders)
		w.ResponseHeaders = w.ResponseHeaders.withDefaults(defaultHeaders(a.settings.ResponseHeaders, literals), own.ResponseHeaders)
	}
	if action.Mirror != nil {
		m := *action.Mirror
		m.RequestHeaders = m.RequestHeaders.withDefaults(defaultHeaders(a.settings.RequestHeaders, serviceLiterals(m.Cluster)), own.RequestHeaders)
		action.Mirror = &m
	}
	if len(action.Clusters) == 0 {
		literals := map[string]string{"CONTOUR_NAMESPACE": a.owner.key().Namespace}
		own.ResponseHeaders = own.ResponseHeaders.withDefaults(defaultHeaders(a.settings.ResponseHeaders, literals))
		if own.ResponseHeaders != nil {
			action.Policy = &own
		}
	}
}

// defaultHeaders are the platform's. Its configuration is checked before it is
// used; what is invalid all the same is left out.
func defaultHeaders(p *contourv1.HeadersPolicy, literals map[string]string) *Headers {
	c, err := readHeaders(p, headerRules{literals: literals})
	if err != nil {
		return nil
	}
	return c.headers
}
