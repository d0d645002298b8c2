package dag

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
)

// LocalRateLimit is a token bucket of each Envoy: Requests tokens are added
// every UnitSeconds, and it holds Requests and Burst tokens together, which
// fit 32 bits.
type LocalRateLimit struct {
	Requests    uint32 `json:"requests"`
	Burst       uint32 `json:"burst,omitempty"`
	UnitSeconds int64  `json:"unitSeconds"`
	// StatusCode is that of answers to requests without a token: 400 to 599.
	StatusCode uint32 `json:"statusCode"`
	// Headers are added to those answers, as they are.
	Headers []HeaderField `json:"headers,omitempty"`
}

// HeaderField is a header with a value that is not expanded.
type HeaderField struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// GlobalRateLimit is what the platform's rate limit service is asked about a
// request. Without descriptors it is not asked at all, whatever holds for the
// host.
type GlobalRateLimit struct {
	Descriptors []RateLimitDescriptor `json:"descriptors,omitempty"`
}

// RateLimitDescriptor is left out for a request of which one of the entries
// cannot be made.
type RateLimitDescriptor struct {
	Entries []RateLimitEntry `json:"entries"`
}

// RateLimitEntry is one key and value: exactly one field is set.
type RateLimitEntry struct {
	Generic       *GenericEntry     `json:"generic,omitempty"`
	Header        *HeaderEntry      `json:"header,omitempty"`
	HeaderMatch   *HeaderMatchEntry `json:"headerMatch,omitempty"`
	RemoteAddress bool              `json:"remoteAddress,omitempty"`
}

// GenericEntry is the same for all requests. An empty Key is "generic_key".
type GenericEntry struct {
	Key   string `json:"key,omitempty"`
	Value string `json:"value"`
}

// HeaderEntry has a request header's value.
type HeaderEntry struct {
	Name string `json:"name"`
	Key  string `json:"key"`
}

// HeaderMatchEntry is the key "header_match" with Value, for requests on which
// all conditions hold, or with Unless for the others.
type HeaderMatchEntry struct {
	Headers []Condition `json:"headers"`
	Unless  bool        `json:"unless,omitempty"`
	Value   string      `json:"value"`
}

// hostRateLimits are those of a root. The platform's default stands in for a
// global policy that the root does not have.
func (a *actionReader) hostRateLimits(p *contourv1.RateLimitPolicy) (*LocalRateLimit, *GlobalRateLimit) {
	local, global, err := a.rateLimits(p)
	if err != nil {
		a.withhold(contourv1.ConditionTypeVirtualHostError, "RateLimitPolicyNotValid", ".rateLimitPolicy",
			"Spec.VirtualHost.RateLimitPolicy is invalid: %s", err)
		return nil, nil
	}
	if service := a.settings.RateLimit; service != nil && global == nil {
		if global, err = a.globalRateLimit(service.Default); err != nil {
			a.withhold(contourv1.ConditionTypeVirtualHostError, "RateLimitPolicyNotValid", "",
				"Default Global RateLimit Policy is invalid: %s", err)
		}
	}
	if global != nil && len(global.Descriptors) == 0 {
		global = nil
	}
	return local, global
}

// routeRateLimits stand in place of the host's; nil where the route has none.
func (a *actionReader) routeRateLimits(p *contourv1.RateLimitPolicy) (*LocalRateLimit, *GlobalRateLimit) {
	local, global, err := a.rateLimits(p)
	if err != nil {
		a.withhold(contourv1.ConditionTypeRouteError, "RateLimitPolicyNotValid", ".rateLimitPolicy",
			"route.rateLimitPolicy is invalid: %s", err)
	}
	return local, global
}

func (a *actionReader) rateLimits(p *contourv1.RateLimitPolicy) (*LocalRateLimit, *GlobalRateLimit, error) {
	if p == nil {
		return nil, nil, nil
	}
	local, err := readLocalRateLimit(p.Local)
	if err != nil {
		return nil, nil, err
	}
	global, err := a.globalRateLimit(p.Global)
	return local, global, err
}

var unitSeconds = map[string]int64{"second": 1, "minute": 60, "hour": 60 * 60}

func readLocalRateLimit(p *contourv1.LocalRateLimitPolicy) (*LocalRateLimit, error) {
	if p == nil {
		return nil, nil
	}
	limit := &LocalRateLimit{
		Requests: p.Requests, Burst: p.Burst, UnitSeconds: unitSeconds[p.Unit], StatusCode: or(p.ResponseStatusCode, 429),
	}
	switch {
	case p.Requests == 0:
		return nil, errors.New("invalid requests value 0 in local rate limit policy")
	case limit.UnitSeconds == 0:
		return nil, fmt.Errorf("invalid unit %q in local rate limit policy", p.Unit)
	case uint64(p.Requests)+uint64(p.Burst) > math.MaxUint32:
		return nil, fmt.Errorf("requests and burst must not exceed %d together", uint32(math.MaxUint32))
	case limit.StatusCode < 400 || limit.StatusCode > 599:
		return nil, fmt.Errorf("invalid responseStatusCode %d, must be in the range [400, 599]", limit.StatusCode)
	case !errorStatus(limit.StatusCode):
		return nil, fmt.Errorf("invalid responseStatusCode %d: Envoy answers with registered status codes only", limit.StatusCode)
	}
	seen := map[string]bool{}
	for _, h := range p.ResponseHeadersToAdd {
		name := asciiLower(h.Name)
		switch {
		case !validHeaderName(name) || strings.HasPrefix(name, ":"):
			return nil, fmt.Errorf("invalid header name %q", h.Name)
		case slices.Contains(framingHeaders, name):
			return nil, fmt.Errorf("invalid header %q: it says where a message ends, which is not the route's to say", h.Name)
		case seen[name]:
			return nil, fmt.Errorf("duplicate header addition: %q", h.Name)
		case !validHeaderValue(h.Value):
			return nil, fmt.Errorf("invalid value of header %q: it must be printable text of at most %d bytes", h.Name, maxHeaderValue)
		}
		seen[name] = true
		limit.Headers = append(limit.Headers, HeaderField{Name: name, Value: h.Value})
	}
	return limit, nil
}

// errorStatus reports whether Envoy has the status among those between 400 and
// 599 that a filter may answer with.
func errorStatus(code uint32) bool {
	switch {
	case code <= 417, code >= 421 && code <= 424, code >= 500 && code <= 508:
		return true
	}
	return slices.Contains([]uint32{426, 428, 429, 431, 510, 511}, code)
}

// maxHeaderValue bounds header values and other short texts, in bytes: Envoy's
// limit.
const maxHeaderValue = 16384

// validHeaderValue takes text without control characters.
func validHeaderValue(s string) bool {
	return len(s) <= maxHeaderValue && utf8.ValidString(s) &&
		!strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// globalRateLimit is nil where p is.
func (a *actionReader) globalRateLimit(p *contourv1.GlobalRateLimitPolicy) (*GlobalRateLimit, error) {
	switch {
	case p == nil:
		return nil, nil
	case p.Disabled:
		return &GlobalRateLimit{}, nil
	case len(p.Descriptors) == 0:
		return nil, nil
	case a.settings.RateLimit == nil:
		return nil, errors.New("the platform has no rate limit service for global descriptors")
	}
	limit := &GlobalRateLimit{}
	for i, d := range p.Descriptors {
		if len(d.Entries) == 0 {
			return nil, fmt.Errorf("descriptor %d has no entries", i)
		}
		var descriptor RateLimitDescriptor
		for _, e := range d.Entries {
			entry, err := readRateLimitEntry(e)
			if err != nil {
				return nil, fmt.Errorf("descriptor %d: %w", i, err)
			}
			descriptor.Entries = append(descriptor.Entries, entry)
		}
		limit.Descriptors = append(limit.Descriptors, descriptor)
	}
	return limit, nil
}

func readRateLimitEntry(e contourv1.RateLimitDescriptorEntry) (RateLimitEntry, error) {
	var entry RateLimitEntry
	set := 0
	if g := e.GenericKey; g != nil {
		set++
		entry.Generic = &GenericEntry{Key: g.Key, Value: g.Value}
		if g.Value == "" || !validHeaderValue(g.Key) || !validHeaderValue(g.Value) {
			return entry, errors.New("genericKey needs a value, and its key and value must be printable text")
		}
	}
	if h := e.RequestHeader; h != nil {
		set++
		entry.Header = &HeaderEntry{Name: asciiLower(h.HeaderName), Key: h.DescriptorKey}
		if !validHeaderName(entry.Header.Name) {
			return entry, fmt.Errorf("invalid header name %q", h.HeaderName)
		}
		if h.DescriptorKey == "" || !validHeaderValue(h.DescriptorKey) {
			return entry, errors.New("requestHeader needs a descriptorKey of printable text")
		}
	}
	if m := e.RequestHeaderValueMatch; m != nil {
		set++
		match, err := readHeaderMatchEntry(m)
		if err != nil {
			return entry, err
		}
		entry.HeaderMatch = match
	}
	if e.RemoteAddress != nil {
		set++
		entry.RemoteAddress = true
	}
	if set != 1 {
		return entry, errors.New("rate limit descriptor entry must have exactly one field set")
	}
	return entry, nil
}

func readHeaderMatchEntry(m *contourv1.RequestHeaderValueMatchDescriptor) (*HeaderMatchEntry, error) {
	match := &HeaderMatchEntry{Unless: !m.ExpectMatch, Value: m.Value}
	switch {
	case m.Value == "" || !validHeaderValue(m.Value):
		return nil, errors.New("requestHeaderValueMatch needs a value of printable text")
	case len(m.Headers) == 0:
		return nil, errors.New("requestHeaderValueMatch needs at least one header")
	}
	for _, h := range m.Headers {
		c, err := readHeader(h)
		if err != nil {
			return nil, errors.New(err.text)
		}
		match.Headers = append(match.Headers, c)
	}
	match.Headers = normal(match.Headers)
	return match, nil
}
