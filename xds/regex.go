package xds

import (
	"fmt"
	"regexp/syntax"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Regular expressions are compiled by Envoy's RE2, which is told that text is
// Latin-1: it compares bytes. Go's are made after RE2's, and Go refuses what
// RE2 refuses but for what is named here.

// maxProgram bounds an expression's size, in instructions as they are counted
// by programSize. RE2 itself gives up at about 131,000; this leaves room for
// what the estimate does not see.
const maxProgram = 60_000

// re2Limit is what the bootstrap sets in place of Envoy's own limit, which is
// 100 instructions.
const re2Limit = 131_072

// checkRegex says why Envoy would not take expr, if it would not.
func checkRegex(expr string) string {
	if expr == "" {
		return "the regular expression is empty"
	}
	if !ascii(expr) {
		return `the regular expression has a character outside ASCII, and Envoy compares bytes: write them, such as \xC3\xA9, and in paths percent-encoded`
	}
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return "the regular expression is wrong: " + strings.TrimPrefix(err.Error(), "error parsing regexp: ")
	}
	if _, err := syntax.Parse("(?:"+expr+")", syntax.Perl); err != nil {
		return `the regular expression has a \Q without its \E`
	}
	if name := foreign(expr); name != "" {
		return fmt.Sprintf("the regular expression has %.32q, which Envoy does not know", name)
	}
	size, err := programSize(re)
	if err != nil {
		return "the regular expression is wrong: " + err.Error()
	}
	if size > maxProgram {
		return fmt.Sprintf("the regular expression compiles to about %d instructions, and %d is the limit; repetitions and Unicode classes cost most", size, maxProgram)
	}
	return ""
}

// programSize estimates from above how many instructions RE2 makes of re.
// It counts as if text were UTF-8, where one range of characters becomes up to
// 24 instructions for bytes.
func programSize(re *syntax.Regexp) (int, error) {
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return 0, err
	}
	size := 0
	for _, in := range prog.Inst {
		switch in.Op {
		case syntax.InstRune:
			size += 1 + 24*((len(in.Rune)+1)/2)
			if syntax.Flags(in.Arg)&syntax.FoldCase != 0 {
				size += 16 // up to three more letters in the fold
			}
		case syntax.InstRune1:
			size += 4
		case syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
			size += 24
		default:
			size++
		}
	}
	return size, nil
}

// foreign returns the first \p{...} or \x{...} of expr that Go knows and RE2
// does not. Go takes aliases of classes, and their names in any case, and
// characters beyond Latin-1.
func foreign(expr string) string {
	for i := 0; i+1 < len(expr); i++ {
		if expr[i] != '\\' {
			continue
		}
		i++
		rest := expr[i+1:]
		switch expr[i] {
		case 'Q':
			end := strings.Index(rest, `\E`)
			if end < 0 {
				return ""
			}
			i += end + len(`\E`)
		case 'p', 'P':
			if name := operand(rest); !re2Class(strings.TrimPrefix(name, "^")) {
				return expr[i-1:i+1] + "{" + name + "}"
			}
		case 'x':
			if digits := operand(rest); strings.HasPrefix(rest, "{") && len(strings.TrimLeft(digits, "0")) > 2 {
				return expr[i-1:i+1] + "{" + digits + "}"
			}
		}
	}
	return ""
}

// operand is what stands in braces at the beginning of s, or its first byte.
// The expression has been parsed, so it is there.
func operand(s string) string {
	if strings.HasPrefix(s, "{") {
		name, _, _ := strings.Cut(s[1:], "}")
		return name
	}
	return s[:min(1, len(s))]
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] > unicode.MaxASCII {
			return false
		}
	}
	return true
}

// re2Class reports whether RE2 knows the Unicode class name: one of the general
// categories that the standard assigns, or a script, spelled exactly.
func re2Class(name string) bool {
	switch name {
	case "Any":
		return true
	case "Cn", "LC":
		return false
	}
	return unicode.Categories[name] != nil || unicode.Scripts[name] != nil
}

// checkSubstitution says why Envoy would not take s for matches of expr.
// In it, \0 to \9 stand for groups and \\ for a backslash.
func checkSubstitution(expr, s string) string {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return "the regular expression is wrong"
	}
	if strings.ContainsAny(s, "\x00\r\n") || !utf8.ValidString(s) {
		return "the substitution has a NUL, CR or LF, or is not UTF-8"
	}
	groups := re.MaxCap()
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			continue
		}
		i++
		switch {
		case i == len(s):
			return "the substitution ends with a single backslash"
		case s[i] == '\\':
		case s[i] < '0' || s[i] > '9':
			return fmt.Sprintf("the substitution has %q, and only a digit or a backslash may follow a backslash", s[i-1:i+1])
		case int(s[i]-'0') > groups:
			return fmt.Sprintf("the substitution has %q, and the regular expression has %d groups", s[i-1:i+1], groups)
		}
	}
	return ""
}
