package config

import (
	"fmt"
	"math"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	contourv1alpha1 "github.com/projectcontour/contour/apis/projectcontour/v1alpha1"
	"go.yaml.in/yaml/v3"
)

var (
	objectName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	token      = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")
)

// Check says what is wrong with the settings of a configuration that is in no
// file: listeners, routing, upstreams and the lists of namespaces.
func (c *Config) Check() []Error {
	v := validator{root: &yaml.Node{}}
	v.edge(c)
	return v.errs
}

func (v *validator) edge(c *Config) {
	v.namespaces(c)
	v.listeners(&c.Listeners)
	v.routing(&c.Routing)
	v.upstreams(&c.Upstreams)
}

// namespaces checks the lists of namespaces, and that nothing which the
// configuration itself names is left outside.
func (v *validator) namespaces(c *Config) {
	watched := c.Cluster.WatchNamespaces
	for i, ns := range watched {
		v.label(fmt.Sprintf("cluster.watchNamespaces[%d]", i), ns)
	}
	inside := func(field, ns string) {
		if len(watched) > 0 && ns != "" && !slices.Contains(watched, ns) {
			v.errorf(field, "namespace %q is not one of cluster.watchNamespaces, so nothing in it is seen", ns)
		}
	}
	for i, ns := range c.Cluster.RootNamespaces {
		field := fmt.Sprintf("cluster.rootNamespaces[%d]", i)
		if v.label(field, ns) {
			inside(field, ns)
		}
	}
	inside("routing.fallbackCertificate", c.Routing.FallbackCertificate.Namespace)
	inside("upstreams.clientCertificate", c.Upstreams.ClientCertificate.Namespace)
	if a := c.Routing.Authorization; a != nil {
		inside("routing.authorization.extensionService", a.ExtensionService.Namespace)
	}
	if r := c.Routing.RateLimit; r != nil {
		inside("routing.rateLimit.extensionService", r.ExtensionService.Namespace)
	}
}

func (v *validator) listeners(l *Listeners) {
	v.oneOf("listeners.serverHeader", l.ServerHeader, "pass_through", "overwrite", "append_if_absent")
	v.oneOf("listeners.compression", l.Compression, "gzip", "brotli", "zstd", "disabled")
	v.oneOf("listeners.escapedSlashes", l.EscapedSlashes, "redirect", "unescape", "reject", "keep")
	v.oneOf("listeners.underscores", l.Underscores, "reject", "drop", "allow")
	v.oneOf("listeners.connectionBalancer", l.ConnectionBalancer, "exact")
	for i, version := range l.HTTPVersions {
		v.oneOf(fmt.Sprintf("listeners.httpVersions[%d]", i), version, "HTTP/1.1", "HTTP/2")
	}
	v.clientLimits("listeners.limits", l.Limits)
	v.duration("listeners.timeouts.shutdownGrace", l.Timeouts.ShutdownGrace)
	v.tls("listeners.tls", l.TLS)
	v.socket("listeners.socket", l)
	v.accessLog("listeners.accessLog", l.AccessLog)
}

func (v *validator) clientLimits(at string, l ClientLimits) {
	v.size(at+".buffer", l.Buffer, 1, math.MaxUint32)
	v.size(at+".requestHeaders", l.RequestHeaders, 1<<10, 8<<20)
	if l.RequestHeaders%(1<<10) != 0 {
		v.errorf(at+".requestHeaders", "must be a multiple of 1Ki")
	}
	v.size(at+".http2StreamWindow", l.HTTP2StreamWindow, 65535, math.MaxInt32)
	v.size(at+".http2ConnectionWindow", l.HTTP2ConnectionWindow, 65535, math.MaxInt32)
	if l.HTTP2Streams > math.MaxInt32 {
		v.errorf(at+".http2Streams", "must be at most %d", math.MaxInt32)
	}
}

// size checks one that is set.
func (v *validator) size(field string, s Size, least, most int64) {
	if s != 0 && (int64(s) < least || int64(s) > most) {
		v.errorf(field, "must be from %d to %d bytes", least, most)
	}
}

// oneOf checks a word that is set.
func (v *validator) oneOf(field, value string, allowed ...string) {
	if value != "" && !slices.Contains(allowed, value) {
		v.errorf(field, "%q is not one of %s", value, strings.Join(allowed, ", "))
	}
}

func (v *validator) tls(at string, t TLS) {
	v.oneOf(at+".minimum", t.Minimum, "1.2", "1.3")
	v.oneOf(at+".maximum", t.Maximum, "1.2", "1.3")
	if t.Minimum == "1.3" && t.Maximum == "1.2" {
		v.errorf(at+".minimum", "is above the maximum")
	}
	for i, cipher := range t.Ciphers {
		if !validCipher(cipher) {
			v.errorf(fmt.Sprintf("%s.ciphers[%d]", at, i), "%q is not a cipher that Envoy knows", cipher)
		}
	}
}

// validCipher takes a cipher, or a group of equal preference: "[A|B]".
func validCipher(s string) bool {
	group, ok := strings.CutPrefix(s, "[")
	if ok {
		if group, ok = strings.CutSuffix(group, "]"); !ok {
			return false
		}
	}
	for cipher := range strings.SplitSeq(group, "|") {
		if _, ok := contourv1alpha1.ValidTLSCiphers[cipher]; !ok {
			return false
		}
	}
	return s != "" && (ok || !strings.Contains(s, "|"))
}

// socket checks that the kernel will take the options: Envoy refuses a
// listener of which it does not.
func (v *validator) socket(at string, l *Listeners) {
	if l.Socket.TOS > 255 {
		v.errorf(at+".tos", "must be from 0 to 255")
	}
	if l.Socket.TrafficClass > 255 {
		v.errorf(at+".trafficClass", "must be from 0 to 255")
	}
	for _, a := range []Address{l.HTTP, l.HTTPS} {
		ip, err := netip.ParseAddr(a.Address)
		if err != nil {
			continue // said elsewhere
		}
		if l.Socket.TOS != 0 && ip.Is6() && !ip.IsUnspecified() {
			v.errorf(at+".tos", "is for IPv4, and a listener has the address %s", ip)
		}
		if l.Socket.TrafficClass != 0 && ip.Is4() {
			v.errorf(at+".trafficClass", "is for IPv6, and a listener has the address %s", ip)
		}
	}
}

func (v *validator) accessLog(at string, a AccessLog) {
	v.oneOf(at+".level", a.Level, "info", "error", "critical", "disabled")
	v.oneOf(at+".format", a.Format, "envoy", "json")
	if why := checkFormat(a.Text); why != "" {
		v.errorf(at+".text", "%s", why)
	}
	names := map[string]bool{}
	for i, field := range a.Fields {
		at := fmt.Sprintf("%s.fields[%d]", at, i)
		if why := checkField(field); why != "" {
			v.errorf(at, "%s", why)
		}
		name, _, _ := strings.Cut(field, "=")
		if names[name] {
			v.errorf(at, "%q is there already", name)
		}
		names[name] = true
	}
	if a.Format == "json" && a.Text != "" {
		v.errorf(at+".text", "is for the format envoy; the format is json")
	}
	if a.Format != "json" && len(a.Fields) > 0 {
		v.errorf(at+".fields", "is for the format json; the format is envoy")
	}
	if a.Path != "" && !path.IsAbs(a.Path) {
		v.errorf(at+".path", "%q is not an absolute path; it is Envoy that opens it", a.Path)
	}
}

func (v *validator) routing(r *Routing) {
	v.headers("routing.requestHeaders", r.RequestHeaders, true)
	v.headers("routing.responseHeaders", r.ResponseHeaders, false)
	if a := r.Authorization; a != nil {
		if a.ExtensionService.IsZero() {
			v.errorf("routing.authorization.extensionService", "is required")
		}
	}
	if l := r.RateLimit; l != nil {
		if l.ExtensionService.IsZero() {
			v.errorf("routing.rateLimit.extensionService", "is required")
		}
	}
}

func (v *validator) headers(at string, h *Headers, host bool) {
	if h == nil {
		return
	}
	seen := map[string]bool{}
	check := func(field, name string) {
		key := strings.ToLower(name)
		switch {
		case !token.MatchString(name):
			v.errorf(field, "%q is not a header name", name)
		case key == "host" && !host:
			v.errorf(field, "a response has no Host")
		case seen[key]:
			v.errorf(field, "the header %q is named twice", name)
		}
		seen[key] = true
	}
	for _, name := range sortedKeys(h.Set) {
		check(at+".set."+name, name)
		if strings.ContainsAny(h.Set[name], "\x00\r\n") {
			v.errorf(at+".set."+name, "the value has a line break or a NUL")
		}
	}
	for i, name := range h.Remove {
		check(fmt.Sprintf("%s.remove[%d]", at, i), name)
	}
}

func (v *validator) upstreams(u *Upstreams) {
	v.tls("upstreams.tls", u.TLS)
	v.oneOf("upstreams.dnsLookupFamily", u.DNSLookupFamily, "auto", "all", "v4", "v6")
	v.size("upstreams.buffer", u.Buffer, 1, math.MaxUint32)
	v.duration("upstreams.connectTimeout", u.ConnectTimeout)
}

// duration checks one that Envoy is given, if it is set.
func (v *validator) duration(field string, d Duration) {
	if d != 0 && (d.Std() < time.Millisecond || d.Std() > longest) {
		v.errorf(field, "must be from 1ms to a year")
	}
}
