package xds

import (
	"net/http"
	"strings"

	"isoline.dev/isoline/dag"
)

// Receive is what becomes of a request at the listener before a route is
// chosen: the request as it is routed, or the status of the answer that it gets
// there. That this agrees with Envoy is tested through Envoy.
func (e *Edge) Receive(r dag.Request) (dag.Request, int) {
	if e.StripTrailingHostDot {
		r.Host = withoutTrailingDot(r.Host)
	}
	if e.Underscores != UnderscoresAllow {
		kept := map[string][]string{}
		for name, values := range r.Headers {
			if !strings.Contains(name, "_") {
				kept[name] = values
			} else if e.Underscores == UnderscoresReject {
				return r, http.StatusBadRequest
			}
		}
		r.Headers = kept
	}
	var status int
	r.Path, status = e.requestPath(r.Path)
	return r, status
}

// withoutTrailingDot takes the dot from the end of a host's name; a port stays.
func withoutTrailingDot(host string) string {
	name, port, hasPort := strings.Cut(host, ":")
	if name = strings.TrimSuffix(name, "."); hasPort {
		return name + ":" + port
	}
	return name
}

// requestPath is what becomes of a request's path, query included. Dot
// segments are resolved, with them backslashes become slashes and escaped
// letters, digits and marks that need no escape are unescaped, and repeated
// slashes become one. Where the path has an escaped slash or backslash, the
// listener may answer with a redirect (307) to the path that is returned.
func (e *Edge) requestPath(target string) (routed string, status int) {
	target, _, _ = strings.Cut(target, "#")
	path, query, hasQuery := strings.Cut(target, "?")
	if unescaped := slashUnescaper.Replace(path); unescaped != path {
		switch e.EscapedSlashes {
		case SlashesReject:
			return target, http.StatusBadRequest
		case SlashesUnescape:
			path = unescaped
		case SlashesRedirect:
			path, status = unescaped, http.StatusTemporaryRedirect
		case SlashesKeep:
		}
	}
	if !e.KeepDotSegments {
		path = resolve(strings.ReplaceAll(unescape(path), `\`, "/"))
	}
	if !e.KeepSlashes {
		path = mergeSlashes(path)
	}
	if hasQuery {
		path += "?" + query
	}
	return path, status
}

// mergeSlashes makes one slash of several, but two of a path that has nothing
// else, as Envoy does.
func mergeSlashes(path string) string {
	if !strings.Contains(path, "//") {
		return path
	}
	segments := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
	merged := "/" + strings.Join(segments, "/")
	if strings.HasSuffix(path, "/") {
		merged += "/"
	}
	return merged
}

var slashUnescaper = strings.NewReplacer("%2f", "/", "%2F", "/", "%5c", `\`, "%5C", `\`)

// unescape undoes the escapes of unreserved characters.
func unescape(path string) string {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && i+2 < len(path) {
			hi, lo := unhex(path[i+1]), unhex(path[i+2])
			if c := byte(hi<<4 | lo); hi >= 0 && lo >= 0 && unreserved(c) {
				b.WriteByte(c)
				i += 2
				continue
			}
		}
		b.WriteByte(path[i])
	}
	return b.String()
}

func unhex(c byte) int { return strings.IndexByte("0123456789abcdef", c|0x20) }

func unreserved(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// resolve removes dot segments as RFC 3986, section 5.2.4, has it, and keeps
// empty segments.
func resolve(path string) string {
	var out []string
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, s := range segments {
		last := i == len(segments)-1
		switch {
		case s == "." || s == "..":
			if s == ".." && len(out) > 0 {
				out = out[:len(out)-1]
			}
			if last {
				out = append(out, "")
			}
		default:
			out = append(out, s)
		}
	}
	return "/" + strings.Join(out, "/")
}
