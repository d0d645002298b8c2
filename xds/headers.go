package xds

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"

	"isoline.dev/isoline/dag"
)

// maxHeaderValue is the API's limit for a header's value, in bytes.
const maxHeaderValue = 16384

// headersToAdd writes over what is there.
func headersToAdd(h *dag.Headers) []*corev3.HeaderValueOption {
	if h == nil {
		return nil
	}
	var all []*corev3.HeaderValueOption
	for _, s := range h.Set {
		all = append(all, &corev3.HeaderValueOption{
			Header:         &corev3.HeaderValue{Key: s.Name, Value: s.Value},
			AppendAction:   corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
			KeepEmptyValue: mayBeEmpty(s.Value) && asked(h, s.Name),
		})
	}
	return all
}

// headersToRemove are removed before others are added. Among them are those
// that may turn out empty, for want of what a variable stands for: Envoy then
// adds nothing, and what the client has sent must not pass for it. Where the
// policy still asks for the header itself, it is emptied instead.
func headersToRemove(h *dag.Headers) []string {
	if h == nil {
		return nil
	}
	all := slices.Clone(h.Remove)
	for _, s := range h.Set {
		if mayBeEmpty(s.Value) && !asked(h, s.Name) && !slices.Contains(all, s.Name) {
			all = append(all, s.Name)
		}
	}
	return all
}

var variable = regexp.MustCompile(`%[^%]+%`)

// mayBeEmpty reports whether a template is of variables alone.
func mayBeEmpty(template string) bool { return variable.ReplaceAllString(template, "") == "" }

// asked reports whether a value of h takes in the request's header.
func asked(h *dag.Headers, name string) bool {
	return slices.ContainsFunc(h.Set, func(s dag.Header) bool {
		return strings.Contains(strings.ToLower(s.Value), "%req("+name+")%")
	})
}

// mutations are the changes of h where Envoy takes them as one list.
func mutations(h *dag.Headers) []*mutationv3.HeaderMutation {
	var all []*mutationv3.HeaderMutation
	for _, name := range headersToRemove(h) {
		all = append(all, &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Remove{Remove: name}})
	}
	for _, option := range headersToAdd(h) {
		all = append(all, &mutationv3.HeaderMutation{Action: &mutationv3.HeaderMutation_Append{Append: option}})
	}
	return all
}

// setRouteHeaders changes headers after those of the cluster that was chosen.
func setRouteHeaders(route *routev3.Route, p *dag.RoutePolicy) {
	route.RequestHeadersToAdd = append(route.RequestHeadersToAdd, headersToAdd(p.RequestHeaders)...)
	route.RequestHeadersToRemove = append(route.RequestHeadersToRemove, headersToRemove(p.RequestHeaders)...)
	route.ResponseHeadersToAdd = append(route.ResponseHeadersToAdd, headersToAdd(p.ResponseHeaders)...)
	route.ResponseHeadersToRemove = append(route.ResponseHeadersToRemove, headersToRemove(p.ResponseHeaders)...)
	action := route.GetRoute()
	switch {
	case p.HostRewrite == nil || action == nil:
	case p.HostRewrite.Header != "":
		action.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteHeader{HostRewriteHeader: p.HostRewrite.Header}
	default:
		action.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: p.HostRewrite.Host}
	}
}

// mirror copies requests to a cluster.
func mirror(m *dag.Mirror, cluster string) *routev3.RouteAction_RequestMirrorPolicy {
	return &routev3.RouteAction_RequestMirrorPolicy{
		Cluster:                 cluster,
		RuntimeFraction:         percent(m.Percent),
		RequestHeadersMutations: mutations(m.RequestHeaders),
		HostRewriteLiteral:      m.HostRewrite,
	}
}

func checkHeaders(of string, h *dag.Headers) string {
	if h == nil {
		return ""
	}
	for _, s := range h.Set {
		switch {
		case !settableHeader(s.Name):
			return fmt.Sprintf("%s: %.64q is not a header that can be set", of, s.Name)
		case s.Value == "" || len(s.Value) > maxHeaderValue:
			return fmt.Sprintf("%s: the value of %q must have 1 to %d bytes", of, s.Name, maxHeaderValue)
		case !utf8.ValidString(s.Value) || strings.ContainsAny(s.Value, "\x00\r\n"):
			return fmt.Sprintf("%s: the value of %q has a NUL, CR, LF or what is not UTF-8", of, s.Name)
		case !wellFormed(s.Value):
			return fmt.Sprintf("%s: the value %.200q of %q has a percent sign that belongs to no variable", of, s.Value, s.Name)
		}
	}
	for _, name := range h.Remove {
		if !settableHeader(name) {
			return fmt.Sprintf("%s: %.64q is not a header that can be removed", of, name)
		}
	}
	return ""
}

// settableHeader excludes what Envoy refuses, and what leads a request to its
// host.
func settableHeader(name string) bool {
	return headerName(name) && name == strings.ToLower(name) && name != "host" && name != listenerHeader && name != hostHeader
}

// wellFormed reports whether every percent sign of a template is doubled or
// around a variable that Envoy knows.
func wellFormed(template string) bool {
	for {
		_, rest, found := strings.Cut(template, "%")
		if !found {
			return true
		}
		name, after, closed := strings.Cut(rest, "%")
		if !closed || name != "" && !slices.Contains(dag.HeaderVariables, name) && !dag.RequestHeaderVariable.MatchString(name) {
			return false
		}
		template = after
	}
}

func checkHostRewrite(h *dag.HostRewrite) string {
	switch {
	case h == nil:
		return ""
	case (h.Host == "") == (h.Header == ""):
		return "host rewrite: it needs exactly one of a host and a header"
	case h.Header != "" && !headerName(h.Header):
		return fmt.Sprintf("host rewrite: %.64q is not a name that a header can have", h.Header)
	case h.Header == "":
		return checkHostHeader(h.Host)
	}
	return ""
}

// checkHostHeader judges a literal Host header.
func checkHostHeader(host string) string {
	if !visible(host) || len(host) > 1024 || strings.ContainsAny(host, "%/?#@\\") {
		return fmt.Sprintf("host rewrite: %.200q is not a host", host)
	}
	return ""
}
