package dag

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// statuses are the problems that Contour has for roots, includes, conditions,
// routes, rewrites and services, in its words, and ours for consent.
var statuses = []string{
	`Orphaned/Orphaned: this HTTPProxy is not part of a delegation chain from a root HTTPProxy`,
	`VirtualHostError/FQDNNotSpecified: Spec.VirtualHost.Fqdn must be specified`,
	`VirtualHostError/DuplicateVhost: fqdn "www.example.com" is used in multiple HTTPProxies: a/www, b/www`,
	`RootNamespaceError/RootProxyNotAllowedInNamespace: root HTTPProxy cannot be defined in this namespace`,
	`SpecError/NothingDefined: HTTPProxy.Spec must have at least one Route, Include, or a TCPProxy`,
	`IncludeError/IncludeNotFound: include a/gone not found`,
	`IncludeError/RootIncludesRoot: root httpproxy cannot include another root httpproxy (a/other)`,
	`IncludeError/IncludeCreatesCycle: include creates an include cycle: a/www -> a/ring -> a/ring2 -> a/ring`,
	`IncludeError/DuplicateMatchConditions: duplicate conditions defined on an include`,
	`IncludeError/IncludeNotPermitted: include b/other not permitted: its annotation isoline.dev/included-by does not admit a/www`,
	`TCPProxyIncludeError/IncludeNotPermitted: include b/kid not permitted: its annotation isoline.dev/included-by does not admit a/www`,
	`IncludeError/PathMatchConditionsNotValid: include: exact conditions are not allowed in includes block`,
	`IncludeError/PathMatchConditionsNotValid: include: regex conditions are not allowed in includes block`,
	`IncludeError/PathMatchConditionsNotValid: include: prefix conditions must start with /, no-slash was supplied`,
	`IncludeError/PathMatchConditionsNotValid: include: more than one prefix, exact or regex is not allowed in a condition block`,
	`RouteError/PathMatchConditionsNotValid: route: prefix conditions must start with /, no-slash was supplied`,
	`RouteError/PathMatchConditionsNotValid: route: exact conditions must start with /, no-slash was supplied`,
	`RouteError/PathMatchConditionsNotValid: route: regex conditions must start with /, no-slash was supplied`,
	`RouteError/PathMatchConditionsNotValid: route: more than one prefix, exact or regex is not allowed in a condition block`,
	`RouteError/HeaderMatchConditionsNotValid: cannot specify duplicate header 'exact match' conditions in the same route`,
	`RouteError/HeaderMatchConditionsNotValid: cannot specify contradictory 'present' and 'notpresent' conditions for the same route and header`,
	`RouteError/HeaderMatchConditionsNotValid: cannot specify contradictory 'exact' and 'notexact' conditions for the same route and header`,
	`RouteError/HeaderMatchConditionsNotValid: cannot specify contradictory 'contains' and 'notcontains' conditions for the same route and header`,
	`RouteError/HeaderMatchConditionsNotValid: invalid regular expression specified for 'regex' condition`,
	`RouteError/QueryParameterMatchConditionsNotValid: must specify at least one query parameter condition`,
	`RouteError/QueryParameterMatchConditionsNotValid: cannot specify more than one condition in the same match condition branch`,
	`RouteError/QueryParameterMatchConditionsNotValid: cannot specify duplicate query parameter 'exact match' conditions in the same route`,
	`RouteError/QueryParameterMatchConditionsNotValid: invalid regular expression specified for 'regex' condition`,
	`RouteError/RouteActionCountNotValid: must set exactly one of route.services or route.requestRedirectPolicy or route.directResponsePolicy`,
	`PrefixReplaceError/MustHavePrefix: cannot specify prefix replacements without a prefix condition`,
	`PrefixReplaceError/DuplicateReplacement: duplicate replacement prefix '/p'`,
	`PrefixReplaceError/AmbiguousReplacement: ambiguous prefix replacement`,
	`ServiceError/ServicePortInvalid: service "s": port must be in the range 1-65535`,
	`ServiceError/ServiceUnresolvedReference: Spec.Routes unresolved service reference: service "a/missing" not found`,
	`IngressError/HostConflict: host "www.example.com" is claimed by an HTTPProxy of another namespace`,
	`IngressError/PathConflict: segment /ok on host "www.example.com" is already taken: Ingress a/www`,
	`IngressError/ServiceUnresolvedReference: unresolved service reference: service "a/missing" not found`,
	`IngressError/UnsupportedBackend: backends other than services are not supported`,
}

// TestEveryStatusHasAScript: each is in what some script wants, with the words
// as they are, which people's tools may look for.
func TestEveryStatusHasAScript(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, script := range scripts {
		body, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, strings.Split(string(body), "\n")...)
	}
	for _, status := range statuses {
		reason, message, _ := strings.Cut(status, ": ")
		found := false
		for _, line := range lines {
			_, rest, ok := strings.Cut(line, " "+reason+": ")
			found = found || ok && (strings.Contains(rest, ": "+message) || strings.HasPrefix(rest, message))
		}
		if !found {
			t.Errorf("no script wants %s", status)
		}
	}
}
