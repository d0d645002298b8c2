package dag

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Request is what a route is chosen by.
type Request struct {
	Method string
	// Host is the Host header or :authority, with or without a port.
	Host string
	// TLS: it comes over HTTPS, and the client has named Host as the server.
	TLS bool
	// Path includes the query. It is taken as Envoy's router sees it, after
	// the listener's path normalization.
	Path string
	// Headers may have names in any case. Several values of one header are
	// those of several lines; a line with commas in it is one value.
	Headers map[string][]string
}

// Found says what becomes of a request.
type Found struct {
	// Matched reports whether a route takes the request. If not, Status is what
	// is answered.
	Matched bool
	// Host is the virtual host that the request belongs to; empty if there is
	// none.
	Host string
	// Route is nil unless Matched. It is not to be changed.
	Route *Route
	// TCP is set where the connection is handed on and no request is looked at.
	TCP *TCPProxy
	// Status is that of the answer that Envoy itself gives; 0 where the request
	// is forwarded, and where nothing matched on TLS: then no host has the
	// server's name, and the handshake fails.
	Status int
}

// Lookup finds the route that takes a request, as Envoy would. It changes
// nothing. A host without a matching route is a 404: its requests never fall
// through to a wildcard host.
func (g *Graph) Lookup(r Request) Found {
	if r.TLS {
		return g.lookupTLS(r)
	}
	for _, host := range hostsFor(r.Host) {
		if u := g.units[host]; u != nil {
			return u.table().find(r)
		}
	}
	return Found{Status: 404}
}

// lookupTLS is Lookup for a request over HTTPS. A host without TLS has no
// certificate; where that of a wildcard fits, the request is refused as
// misdirected, for the host is not the wildcard's.
func (g *Graph) lookupTLS(r Request) Found {
	plainOnly := false
	for _, host := range hostsFor(r.Host) {
		switch u := g.units[host]; {
		case u == nil || host == catchAll:
		case u.vhost.TLS == nil:
			plainOnly = true
		case plainOnly:
			return u.misdirected(r)
		default:
			return u.table().find(r)
		}
	}
	// A certificate for *.example.com is shown for a.b.example.com too; then
	// the request is refused.
	_, parent, _ := strings.Cut(asciiLower(withoutPort(r.Host)), ".")
	for parent != "" {
		_, parent, _ = strings.Cut(parent, ".")
		if u := g.units["*."+parent]; u != nil && u.vhost.TLS != nil {
			return u.misdirected(r)
		}
	}
	return Found{}
}

// misdirected is what a wildcard with TLS does with a name that is not its
// own. Where it hands connections on, nobody looks at what is in them.
func (u *unit) misdirected(r Request) Found {
	if u.vhost.TCP != nil {
		return u.table().find(r)
	}
	return Found{Status: 421}
}

// Lookup finds the virtual host's route that takes a request; the request's
// host is not compared.
func (v *VirtualHost) Lookup(r Request) Found { return newTable(v).find(r) }

// hostsFor are the virtual hosts that may serve a request's host, the first
// that exists deciding. What cannot be a host name or an address, such as a
// literal wildcard or a name with a trailing dot, is not served by a wildcard.
func hostsFor(host string) []string {
	host = asciiLower(withoutPort(host))
	if host == "" || strings.HasPrefix(host, "*") {
		return nil
	}
	hosts := []string{host}
	if strings.ContainsFunc(host, func(r rune) bool { return !nameRune(r) }) ||
		strings.HasPrefix(host, ".") || strings.HasSuffix(host, ".") || strings.Contains(host, "..") {
		return hosts
	}
	if _, parent, ok := strings.Cut(host, "."); ok {
		hosts = append(hosts, "*."+parent)
	}
	return append(hosts, catchAll)
}

// nameRune is what a host name or an address is made of.
func nameRune(r rune) bool {
	return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || strings.ContainsRune("-_.:[]", r)
}

// withoutPort drops ":port", also behind an IPv6 address in brackets.
func withoutPort(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && strings.Trim(host[i+1:], "0123456789") == "" {
		return host[:i]
	}
	return host
}

// table is a virtual host's routes arranged for lookups. Its answers are
// those of trying the routes one by one.
type table struct {
	vhost *VirtualHost
	// exact has the routes with an exact path, by path; regexes and prefixes
	// the others. All are indexes in the order of precedence.
	exact    map[string][]int
	regexes  []int
	prefixes []int
	// expressions are those of paths and conditions, compiled.
	expressions map[string]*regexp.Regexp
}

func newTable(v *VirtualHost) *table {
	t := &table{vhost: v, exact: map[string][]int{}, expressions: map[string]*regexp.Regexp{}}
	for i, r := range v.Routes {
		switch r.Match.Path.Type {
		case PathExact:
			t.exact[r.Match.Path.Value] = append(t.exact[r.Match.Path.Value], i)
		case PathRegex:
			t.regexes = append(t.regexes, i)
			t.compile(r.Match.Path.Value)
		default:
			t.prefixes = append(t.prefixes, i)
		}
		for _, c := range slices.Concat(r.Match.Headers, r.Match.Query) {
			if c.Op == OpRegex {
				t.compile(c.Value)
			}
		}
	}
	return t
}

// compile prepares an expression that has to match a whole value. One that
// does not compile, which only a foreign memory can hold, matches nothing.
func (t *table) compile(expression string) {
	if re, err := regexp.Compile(`\A(?:` + expression + `)\z`); err == nil {
		t.expressions[expression] = re
	}
}

func (t *table) matches(expression, value string) bool {
	re := t.expressions[expression]
	return re != nil && re.MatchString(value)
}

func (t *table) find(r Request) Found {
	if r.TLS && t.vhost.TCP != nil {
		return Found{Host: t.vhost.Host, TCP: t.vhost.TCP}
	}
	path, query, _ := strings.Cut(r.Path, "?")
	path, _, _ = strings.Cut(path, "#")
	q := subject{path: path, headers: headersOf(r), query: queryOf(query)}
	first := len(t.vhost.Routes)
	for _, list := range [][]int{t.exact[path], t.regexes, t.prefixes} {
		for _, i := range list {
			if r.TLS && t.vhost.Routes[i].PlainOnly {
				continue
			}
			if i >= first || t.takes(t.vhost.Routes[i].Match, q) {
				first = min(first, i)
				break
			}
		}
	}
	if first == len(t.vhost.Routes) {
		return Found{Host: t.vhost.Host, Status: 404}
	}
	route := &t.vhost.Routes[first]
	return Found{Matched: true, Host: t.vhost.Host, Route: route, Status: route.status(r.TLS)}
}

// status is that of the answer that Envoy itself gives, 0 for none.
func (r *Route) status(tls bool) int {
	switch {
	case tls || r.Plain == PlainServe:
		return r.Action.status()
	case r.Plain == PlainRedirect:
		return 301
	default:
		return 404
	}
}

func (a Action) status() int {
	switch {
	case a.Redirect != nil:
		return int(a.Redirect.StatusCode)
	case a.DirectResponse != nil:
		return int(a.DirectResponse.StatusCode)
	default:
		return 0
	}
}

// subject is a request taken apart.
type subject struct {
	path    string
	headers map[string][]string // names in lower case
	query   map[string]string   // the first value of each
}

func (t *table) takes(m Match, s subject) bool {
	if !t.takesPath(m.Path, s.path) {
		return false
	}
	for _, c := range m.Headers {
		if !t.takesHeader(c, s.headers[c.Name]) {
			return false
		}
	}
	for _, c := range m.Query {
		if value, present := s.query[c.Name]; !present || !t.takesValue(c, value) {
			return false
		}
	}
	return true
}

func (t *table) takesPath(p Path, path string) bool {
	switch p.Type {
	case PathExact:
		return path == p.Value
	case PathRegex:
		return t.matches(p.Value, path)
	case PathSegment:
		rest, ok := strings.CutPrefix(path, p.Value)
		return ok && (rest == "" || rest[0] == '/')
	default:
		return strings.HasPrefix(path, p.Value)
	}
}

// takesHeader compares each value of a header by itself: one that fits is
// enough, and an inverted condition needs that none fits.
func (t *table) takesHeader(c Condition, values []string) bool {
	if c.Op == OpPresent {
		return (len(values) > 0) != c.Invert
	}
	if len(values) == 0 {
		if !c.MissingIsEmpty {
			return false
		}
		values = []string{""}
	}
	fits := slices.ContainsFunc(values, func(v string) bool { return t.takesValue(c, v) })
	return fits != c.Invert
}

func (t *table) takesValue(c Condition, value string) bool {
	want := c.Value
	if c.IgnoreCase {
		want, value = asciiLower(want), asciiLower(value)
	}
	switch c.Op {
	case OpPresent:
		return true
	case OpExact:
		return value == want
	case OpContains:
		return strings.Contains(value, want)
	case OpPrefix:
		return strings.HasPrefix(value, want)
	case OpSuffix:
		return strings.HasSuffix(value, want)
	case OpRegex:
		return t.matches(c.Value, value)
	default:
		return false
	}
}

// headersOf has the values of each header, and of the pseudo headers.
func headersOf(r Request) map[string][]string {
	headers := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
		lower := asciiLower(name)
		headers[lower] = append(headers[lower], r.Headers[name]...)
	}
	for name, value := range map[string]string{
		":method": r.Method, ":path": r.Path, ":authority": r.Host, "host": r.Host,
	} {
		if value != "" {
			headers[name] = []string{value}
		}
	}
	return headers
}

// queryOf has the first value of every parameter, undecoded, as Envoy's
// router compares them.
func queryOf(query string) map[string]string {
	query, _, _ = strings.Cut(query, "#")
	all := map[string]string{}
	for part := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(part, "=")
		if _, ok := all[name]; !ok {
			all[name] = value
		}
	}
	return all
}
