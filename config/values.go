package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
	"go.yaml.in/yaml/v3"
)

// Duration is a Go duration in YAML, such as "90s".
type Duration time.Duration

// UnmarshalYAML reads a Go duration; negative ones are refused.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	v, err := time.ParseDuration(n.Value)
	if err != nil || v < 0 {
		return typeError(n, fmt.Sprintf("%q is not a duration such as 500ms, 90s or 5m", n.Value))
	}
	*d = Duration(v)
	return nil
}

// Std is the duration as the standard library has it.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// Timeout is a Duration or "infinity". Zero is a default, Infinity no bound.
type Timeout time.Duration

// Infinity is a Timeout without a bound.
const Infinity Timeout = -1

// longest is the longest time that Envoy is given: a year, well inside what it
// can count.
const longest = 365 * 24 * time.Hour

// UnmarshalYAML reads a Go duration of at least a millisecond, or "infinity".
func (t *Timeout) UnmarshalYAML(n *yaml.Node) error {
	if n.Value == "infinity" || n.Value == "infinite" {
		*t = Infinity
		return nil
	}
	v, err := time.ParseDuration(n.Value)
	if err != nil || v < time.Millisecond || v > longest {
		return typeError(n, fmt.Sprintf("%q is not a time such as 500ms, 90s or 5m, or infinity for no bound", n.Value))
	}
	*t = Timeout(v)
	return nil
}

// Std is the time as the standard library has it: zero for a default,
// negative for no bound.
func (t Timeout) Std() time.Duration { return time.Duration(t) }

// Size is a number of bytes in YAML, such as "512Ki" or "16Mi".
type Size int64

// UnmarshalYAML reads a whole number of bytes with an optional suffix Ki, Mi or Gi.
func (s *Size) UnmarshalYAML(n *yaml.Node) error {
	text, factor := n.Value, int64(1)
	for suffix, f := range map[string]int64{"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30} {
		if t, ok := strings.CutSuffix(n.Value, suffix); ok {
			text, factor = t, f
		}
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil || v < 0 || v > (1<<62)/factor {
		return typeError(n, fmt.Sprintf("%q is not a size such as 65536, 512Ki or 16Mi", n.Value))
	}
	*s = Size(v * factor)
	return nil
}

// NamespacedName names an object: "namespace/name" in YAML.
type NamespacedName struct{ Namespace, Name string }

// IsZero reports whether n names nothing.
func (n NamespacedName) IsZero() bool { return n == NamespacedName{} }

// String is "namespace/name".
func (n NamespacedName) String() string { return n.Namespace + "/" + n.Name }

// ParseNamespacedName reads "namespace/name".
func ParseNamespacedName(s string) (NamespacedName, error) {
	namespace, name, ok := strings.Cut(s, "/")
	if !ok || !label.MatchString(namespace) || !objectName.MatchString(name) || len(name) > 253 {
		return NamespacedName{}, fmt.Errorf("%q is not a namespace/name", s)
	}
	return NamespacedName{namespace, name}, nil
}

// UnmarshalYAML reads "namespace/name".
func (n *NamespacedName) UnmarshalYAML(node *yaml.Node) error {
	v, err := ParseNamespacedName(node.Value)
	if err != nil {
		return typeError(node, err.Error())
	}
	*n = v
	return nil
}

// UnmarshalYAML reads the policy as it stands in an HTTPProxy.
func (p *GlobalRateLimitPolicy) UnmarshalYAML(n *yaml.Node) error {
	if err := likeKubernetes(n, (*contourv1.GlobalRateLimitPolicy)(p)); err != nil {
		return err
	}
	// What HTTPProxy's schema has a default for, an API server would fill in.
	var written struct {
		Descriptors []struct {
			Entries []struct {
				Match struct {
					ExpectMatch *bool `yaml:"expectMatch"`
				} `yaml:"requestHeaderValueMatch"`
			} `yaml:"entries"`
		} `yaml:"descriptors"`
	}
	if err := n.Decode(&written); err != nil {
		return err
	}
	for i, d := range p.Descriptors {
		for j, e := range d.Entries {
			if e.RequestHeaderValueMatch != nil && written.Descriptors[i].Entries[j].Match.ExpectMatch == nil {
				e.RequestHeaderValueMatch.ExpectMatch = true
			}
		}
	}
	return nil
}

// likeKubernetes reads a type of the Kubernetes API, strictly.
func likeKubernetes(n *yaml.Node, into any) error {
	var value any
	if err := n.Decode(&value); err != nil {
		return err
	}
	body, err := json.Marshal(value)
	if err != nil {
		return typeError(n, "only what JSON can say is allowed here")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return typeError(n, strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

func typeError(n *yaml.Node, msg string) error {
	return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: %s", n.Line, msg)}}
}
