package xds

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"isoline.dev/isoline/dag"
)

// A message that Envoy refuses is named in no NACK, and takes good ones down
// with it. So everything is held against Envoy's rules before it is sent:
// those that are part of the API (ValidateAll), and here those that Envoy
// applies beyond them, or accepts and then never does as was meant.

const (
	// maxBody is Envoy's default limit for the body of a direct response, in bytes.
	maxBody = 4096
	// maxQueryName is the API's limit for a query parameter's name, in bytes.
	maxQueryName = 1024
)

// checkHost says what keeps a host from being looked up, if anything.
func checkHost(host string) string {
	labels := host
	if host == "*" {
		return ""
	}
	if rest, ok := strings.CutPrefix(host, "*."); ok {
		labels = rest
	}
	switch {
	case len(host) > 253:
		return "it is longer than 253 characters"
	case !hostPattern.MatchString(labels):
		return "it is not a host name in lower case, one behind \"*.\", or \"*\""
	}
	return ""
}

var hostPattern = regexp.MustCompile(`^[a-z0-9_-]+(\.[a-z0-9_-]+)*$`)

func checkMatch(m *dag.Match) []string {
	var why []string
	if s := checkPath(m.Path); s != "" {
		why = append(why, s)
	}
	for _, c := range m.Headers {
		s := checkCondition(c)
		if s == "" && !headerName(strings.TrimPrefix(c.Name, ":")) {
			s = "it is not a name that a header can have"
		}
		if s != "" {
			why = append(why, fmt.Sprintf("header condition %q: %s", c.Name, s))
		}
	}
	for _, c := range m.Query {
		s := checkCondition(c)
		switch {
		case s != "":
		case c.Name == "" || len(c.Name) > maxQueryName:
			s = fmt.Sprintf("the name must have 1 to %d bytes", maxQueryName)
		case c.Invert || c.MissingIsEmpty:
			s = "a query parameter's condition can be neither inverted nor treat a missing one as empty"
		}
		if s != "" {
			why = append(why, fmt.Sprintf("query condition %.64q: %s", c.Name, s))
		}
	}
	return why
}

func checkPath(p dag.Path) string {
	switch p.Type {
	case dag.PathRegex:
		if why := checkRegex(p.Value); why != "" {
			return fmt.Sprintf("path %.200q: %s", p.Value, why)
		}
		return ""
	case dag.PathPrefix, dag.PathExact, dag.PathSegment:
	default:
		return fmt.Sprintf("path type %q is unknown", p.Type)
	}
	var why string
	switch {
	case !strings.HasPrefix(p.Value, "/"):
		why = "it does not start with a slash"
	case strings.ContainsAny(p.Value, "?#"):
		why = "it has a \"?\" or \"#\", and paths are compared without query and fragment"
	case !visible(p.Value):
		why = "it has a space, a control character or a byte outside ASCII, which no request's path has"
	case p.Type == dag.PathSegment && strings.HasSuffix(p.Value, "/"):
		why = "a path of segments cannot end with a slash"
	}
	if why != "" {
		return fmt.Sprintf("path %.200q: %s", p.Value, why)
	}
	return ""
}

// checkCondition judges what header and query conditions have in common.
func checkCondition(c dag.Condition) string {
	if !utf8.ValidString(c.Name) || !utf8.ValidString(c.Value) {
		return "it is not UTF-8"
	}
	switch c.Op {
	case dag.OpPresent:
	case dag.OpExact:
		if strings.ContainsAny(c.Value, "\x00\r\n") {
			return "a value cannot have a NUL, CR or LF"
		}
	case dag.OpContains, dag.OpPrefix, dag.OpSuffix:
		if c.Value == "" {
			return fmt.Sprintf("the value to compare with %q is empty", c.Op)
		}
		if strings.ContainsAny(c.Value, "\x00\r\n") {
			return "a value cannot have a NUL, CR or LF"
		}
	case dag.OpRegex:
		return checkRegex(c.Value)
	default:
		return fmt.Sprintf("operator %q is unknown", c.Op)
	}
	return ""
}

func checkAction(a *dag.Action) []string {
	var why []string
	add := func(s string) {
		if s != "" {
			why = append(why, s)
		}
	}
	n := 0
	if a.Redirect != nil {
		n++
		add(checkRedirect(a.Redirect))
	}
	if a.DirectResponse != nil {
		n++
		add(checkDirectResponse(a.DirectResponse))
	}
	if len(a.Clusters) > 0 {
		n++
		add(checkWeights(a.Clusters))
		for i := range a.Clusters {
			add(checkCluster(&a.Clusters[i].Cluster))
			add(checkShare(&a.Clusters[i]))
		}
	}
	if n != 1 {
		add("it needs exactly one of services, a redirect and a direct response")
	}
	if a.Mirror != nil {
		add(checkMirror(a.Mirror))
	}
	if a.Rewrite != nil {
		add(checkRewrite(a.Rewrite))
	}
	return append(why, checkPolicy(a.Policy)...)
}

func checkRedirect(r *dag.Redirect) string {
	_, known := redirectCodes[r.StatusCode]
	switch {
	case !known:
		return fmt.Sprintf("redirect: status %d is none of 301, 302, 303, 307 and 308", r.StatusCode)
	case r.Scheme != "" && r.Scheme != "http" && r.Scheme != "https":
		return fmt.Sprintf("redirect: scheme %.32q is neither http nor https", r.Scheme)
	case r.Port > 65535:
		return fmt.Sprintf("redirect: port %d is above 65535", r.Port)
	case r.Hostname != "" && !redirectHost.MatchString(r.Hostname):
		return fmt.Sprintf("redirect: %.200q is not a host name", r.Hostname)
	case r.Path != "" && r.Prefix != "":
		return "redirect: only one of path and prefix can be set"
	case r.Path != "" && (!strings.HasPrefix(r.Path, "/") || !visible(r.Path)):
		return fmt.Sprintf("redirect: path %.200q does not start with a slash, or has a space, a control character or a byte outside ASCII", r.Path)
	case r.Prefix != "" && (!strings.HasPrefix(r.Prefix, "/") || !visible(r.Prefix)):
		return fmt.Sprintf("redirect: prefix %.200q does not start with a slash, or has a space, a control character or a byte outside ASCII", r.Prefix)
	}
	return ""
}

var redirectHost = regexp.MustCompile(`^([A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?|\[[0-9a-fA-F:.]+\])$`)

func checkDirectResponse(d *dag.DirectResponse) string {
	switch {
	case d.StatusCode < 200 || d.StatusCode > 599:
		return fmt.Sprintf("direct response: status %d is not between 200 and 599", d.StatusCode)
	case len(d.Body) > maxBody:
		return fmt.Sprintf("direct response: the body has %d bytes, and %d is the limit", len(d.Body), maxBody)
	case !utf8.ValidString(d.Body):
		return "direct response: the body is not UTF-8"
	}
	return ""
}

// checkWeights bounds the sum as it will be sent: Envoy adds in 32 bits.
func checkWeights(list []dag.WeightedCluster) string {
	sum := uint64(0)
	for _, w := range list {
		sum += uint64(w.Weight)
	}
	if sum > math.MaxUint32 {
		return fmt.Sprintf("the weights add up to %d, and %d is the limit", sum, uint32(math.MaxUint32))
	}
	return ""
}

var dnsLabel = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func checkCluster(c *dag.Cluster) string {
	var why string
	switch {
	case c.Extension != "":
		return checkExtensionCluster(c)
	case c.Service == "" && c.ExternalName != "":
		return checkKeyServer(c)
	case !dnsLabel.MatchString(c.Namespace) || !dnsLabel.MatchString(c.Service):
		why = "its namespace or name is not a DNS label"
	case c.Port < 1 || c.Port > 65535:
		why = "its port is not between 1 and 65535"
	case c.PortName != "" && !dnsLabel.MatchString(c.PortName):
		why = "its port's name is not a DNS label"
	case !slices.Contains([]string{dag.ProtocolHTTP1, dag.ProtocolH2C, dag.ProtocolTLS, dag.ProtocolH2}, c.Protocol):
		why = fmt.Sprintf("its protocol %.32q is unknown", c.Protocol)
	default:
		why = checkUpstream(c)
	}
	if why != "" {
		return fmt.Sprintf("service %.64q port %d: %s", c.Namespace+"/"+c.Service, c.Port, why)
	}
	return ""
}

// longestSeconds bounds durations well inside what Envoy can count.
const longestSeconds = 365 * 24 * 3600

func checkHealthCheck(h *dag.HealthCheck) string {
	switch {
	case !strings.HasPrefix(h.Path, "/") || !visible(h.Path):
		return fmt.Sprintf("health check: path %.200q does not start with a slash, or has a space, a control character or a byte outside ASCII", h.Path)
	case h.Host == "" || !visible(h.Host):
		return fmt.Sprintf("health check: %.200q is not a host", h.Host)
	}
	for _, s := range h.ExpectedStatuses {
		if s.Start < 100 || s.End > 600 || s.Start >= s.End {
			return fmt.Sprintf("health check: the statuses from %d to below %d are not a range between 100 and 600", s.Start, s.End)
		}
	}
	return checkProbes(h.IntervalSeconds, h.TimeoutSeconds, h.HealthyThreshold, h.UnhealthyThreshold)
}

func checkProbes(interval, timeout int64, healthy, unhealthy uint32) string {
	switch {
	case interval < 1 || interval > longestSeconds:
		return fmt.Sprintf("health check: an interval of %d s is not between 1 s and a year", interval)
	case timeout < 1 || timeout > longestSeconds:
		return fmt.Sprintf("health check: a timeout of %d s is not between 1 s and a year", timeout)
	case healthy < 1 || unhealthy < 1:
		return "health check: both thresholds must be at least 1"
	}
	return ""
}

func checkRewrite(r *dag.PathRewrite) string {
	switch {
	case r.Regex != "" && r.Prefix != "":
		return "rewrite: only one of prefix and regular expression can be set"
	case r.Regex == "" && (!strings.HasPrefix(r.Prefix, "/") || !visible(r.Prefix)):
		return fmt.Sprintf("rewrite: prefix %.200q does not start with a slash, or has a space, a control character or a byte outside ASCII", r.Prefix)
	case r.Regex == "":
		return ""
	}
	if why := checkRegex(r.Regex); why != "" {
		return "rewrite: " + why
	}
	if why := checkSubstitution(r.Regex, r.Substitution); why != "" {
		return "rewrite: " + why
	}
	return ""
}

// visible reports whether s is of printable ASCII without the space.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// headerName reports whether s is a token of RFC 9110.
func headerName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}

// validateMessage holds m, and every message that is packed into an Any
// anywhere in it, against the rules of the API.
func validateMessage(m proto.Message) error {
	var errs []error
	if v, ok := m.(interface{ ValidateAll() error }); ok {
		errs = append(errs, v.ValidateAll())
	}
	errs = append(errs, validatePacked(m.ProtoReflect()))
	return errors.Join(errs...)
}

func validatePacked(m protoreflect.Message) error {
	if packed, ok := m.Interface().(*anypb.Any); ok {
		inner, err := packed.UnmarshalNew()
		if err != nil {
			return fmt.Errorf("%s: %w", packed.TypeUrl, err)
		}
		return validateMessage(inner)
	}
	var errs []error
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap() && f.MapValue().Message() != nil:
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				errs = append(errs, validatePacked(v.Message()))
				return true
			})
		case f.IsList() && f.Message() != nil:
			for i := range v.List().Len() {
				errs = append(errs, validatePacked(v.List().Get(i).Message()))
			}
		case !f.IsMap() && !f.IsList() && f.Message() != nil:
			errs = append(errs, validatePacked(v.Message()))
		}
		return true
	})
	return errors.Join(errs...)
}
