package render

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	yaml3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

// value is what a scalar means.
type value struct {
	json   string // as JSON
	text   string // the text, or for other values their JSON
	isText bool
}

func textValue(s string) value { return value{json: quote(s), text: s, isText: true} }

// scalar resolves a scalar as kubectl does, that is by YAML 1.1: a plain "yes"
// is true, 010 is 8. Quoted and block scalars, and those tagged !!str, are text.
func scalar(n *yaml3.Node) (value, error) {
	if !utf8.ValidString(n.Value) {
		return value{}, errors.New("the text is not UTF-8")
	}
	const quoted = yaml3.SingleQuotedStyle | yaml3.DoubleQuotedStyle | yaml3.LiteralStyle | yaml3.FoldedStyle | yaml3.TaggedStyle
	if n.Style&quoted != 0 || !perhapsNotText(n.Value) {
		return textValue(n.Value), nil
	}
	j, err := yaml.YAMLToJSON([]byte(n.Value))
	if err != nil {
		return value{}, fmt.Errorf("%q has no meaning in JSON", clip(n.Value))
	}
	j = bytes.TrimSpace(j)
	if len(j) > 0 && j[0] == '"' {
		return textValue(n.Value), nil
	}
	if !json.Valid(j) || len(j) > 0 && (j[0] == '{' || j[0] == '[') {
		return value{}, fmt.Errorf("%q has no meaning in JSON", clip(n.Value))
	}
	return value{json: string(j), text: string(j)}, nil
}

// perhapsNotText is false for plain scalars that are certainly text. It never
// lets through what means something else than itself as a document: markers,
// and anything with more than the characters of a number or a word.
func perhapsNotText(s string) bool {
	switch strings.ToLower(s) {
	case "", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n",
		".nan", ".inf", "+.inf", "-.inf":
		return true
	}
	digit := false
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= '0' && c <= '9':
			digit = true
		case c == '+' || c == '-' || c == '.' || c == '_',
			c >= 'a' && c <= 'f', c >= 'A' && c <= 'F',
			c == 'x' || c == 'X' || c == 'o' || c == 'O' || c == 'p' || c == 'P':
		default:
			return false
		}
	}
	return digit
}

// appendJSON appends what a checked node says (see nodeCheck) as JSON.
func appendJSON(b []byte, n *yaml3.Node) []byte {
	switch n.Kind {
	case yaml3.MappingNode:
		b = append(b, '{')
		for i := 0; i+1 < len(n.Content); i += 2 {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, quote(n.Content[i].Value)...)
			b = append(b, ':')
			b = appendJSON(b, n.Content[i+1])
		}
		return append(b, '}')
	case yaml3.SequenceNode:
		b = append(b, '[')
		for i, item := range n.Content {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSON(b, item)
		}
		return append(b, ']')
	default:
		if n.Tag == tagText {
			return append(b, quote(n.Value)...)
		}
		return append(b, n.Value...)
	}
}

// quote is s as a JSON string that is a YAML string as well: YAML knows the
// escapes of JSON, but allows fewer characters to stand for themselves. s is
// valid UTF-8.
func quote(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 2)
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r < 0x20 || r >= 0x7f && r <= 0xa0 || r == 0x2028 || r == 0x2029 || r == 0xfeff || r == 0xfffe || r == 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// child is the value of a mapping's key; nil if n is no mapping or has no such key.
func child(n *yaml3.Node, key string) *yaml3.Node {
	if n == nil || n.Kind != yaml3.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// textOf is the text that a node holds; "" if it is absent or holds no text.
func textOf(n *yaml3.Node) string {
	if n == nil || n.Kind != yaml3.ScalarNode || n.Tag != tagText {
		return ""
	}
	return n.Value
}
