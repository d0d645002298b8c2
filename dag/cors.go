package dag

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
)

// CORS says what other origins' scripts may ask of a host.
type CORS struct {
	Origins []Origin `json:"origins"`
	// The lists hold tokens of RFC 9110. Methods is never empty.
	Methods []string `json:"methods"`
	Headers []string `json:"headers,omitempty"`
	Expose  []string `json:"expose,omitempty"`
	// MaxAgeSeconds is how long a browser may keep the answer to a preflight:
	// nil leaves it to the browser, 0 forbids it.
	MaxAgeSeconds  *int64 `json:"maxAgeSeconds,omitempty"`
	Credentials    bool   `json:"credentials,omitempty"`
	PrivateNetwork bool   `json:"privateNetwork,omitempty"`
}

// Origin matches the values of an Origin header: OpPresent all, OpExact one,
// OpRegex (RE2) those that it matches as a whole.
type Origin struct {
	Op    Op     `json:"op"`
	Value string `json:"value,omitempty"`
}

// cors is the policy of a root, nil where it has none. Without one that is
// wrong, browsers let other origins do less than was meant, so the host serves.
func (a *actionReader) cors(p *contourv1.CORSPolicy) *CORS {
	if p == nil {
		return nil
	}
	cors, err := readCORS(p)
	if err != nil {
		a.fail(contourv1.ConditionTypeCORSError, "PolicyDidNotParse", ".corsPolicy", "Spec.VirtualHost.CORSPolicy: %s", err)
		return nil
	}
	return cors
}

func readCORS(p *contourv1.CORSPolicy) (*CORS, error) {
	cors := &CORS{Credentials: p.AllowCredentials, PrivateNetwork: p.AllowPrivateNetwork}
	if len(p.AllowOrigin) == 0 {
		return nil, errors.New("allowOrigin must name at least one origin")
	}
	if len(p.AllowMethods) == 0 {
		return nil, errors.New("allowMethods must name at least one method")
	}
	for _, s := range p.AllowOrigin {
		o, err := readOrigin(s)
		if err != nil {
			return nil, err
		}
		cors.Origins = append(cors.Origins, o)
	}
	for _, list := range []struct {
		name string
		from []contourv1.CORSHeaderValue
		to   *[]string
	}{
		{"allowMethods", p.AllowMethods, &cors.Methods},
		{"allowHeaders", p.AllowHeaders, &cors.Headers},
		{"exposeHeaders", p.ExposeHeaders, &cors.Expose},
	} {
		for _, v := range list.from {
			if !corsToken.MatchString(string(v)) {
				return nil, fmt.Errorf("invalid value %q in %s", string(v), list.name)
			}
			*list.to = append(*list.to, string(v))
		}
	}
	if p.MaxAge != "" {
		age, err := time.ParseDuration(p.MaxAge)
		switch {
		case err != nil:
			return nil, fmt.Errorf("maxAge: %w", err)
		case age < 0:
			return nil, fmt.Errorf("invalid max age value %q, must not be negative", p.MaxAge)
		}
		seconds := int64(age / time.Second)
		cors.MaxAgeSeconds = &seconds
	}
	return cors, nil
}

var (
	// corsToken is the pattern of HTTPProxy's CRD, which is that of a token.
	corsToken = regexp.MustCompile("^[a-zA-Z0-9!#$%&'*+.^_`|~-]+$")
	// exactOrigin is a serialized origin: whatever else is a pattern.
	exactOrigin = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9+.-]*://([a-zA-Z0-9._-]+|\[[0-9a-fA-F:.]+\])(:[0-9]+)?$`)
)

func readOrigin(s string) (Origin, error) {
	switch {
	case s == "*":
		return Origin{Op: OpPresent}, nil
	case exactOrigin.MatchString(s):
		return Origin{Op: OpExact, Value: s}, nil
	}
	expr, err := regexp.Compile("^(?:" + s + ")$")
	switch {
	case err != nil || s == "":
		return Origin{}, fmt.Errorf("allowed origin %q is neither scheme://host[:port] nor a valid regular expression", s)
	case strings.Contains(s, "://*."):
		return Origin{}, fmt.Errorf("allowed origin %q is a glob pattern: write a regular expression, such as https://[a-z0-9-]+\\.example\\.com", s)
	case s == ".*" || s == ".+":
		return Origin{Op: OpPresent}, nil
	case expr.MatchString("*"):
		// Envoy takes what matches a star for one that allows every origin.
		return Origin{}, fmt.Errorf("allowed origin %q would allow every origin: anchor it to a scheme, such as https://", s)
	}
	return Origin{Op: OpRegex, Value: s}, nil
}
