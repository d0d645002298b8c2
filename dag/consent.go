package dag

import (
	"fmt"
	"slices"
	"strings"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

// includedBy is the annotation by which an HTTPProxy says who may include it:
//
//	value = entry { "," entry }
//	entry = namespace "/" ( name | "*" )
//
// White space around entries is ignored. An HTTPProxy without the annotation
// may be included by anybody, and one whose annotation is not of this form by
// nobody. The entries name the HTTPProxies whose own includes may lead here;
// what includes those is theirs to say.
const includedBy = "isoline.dev/included-by"

// consent is who may include an HTTPProxy. Nil is anybody, and one without
// entries nobody.
type consent struct {
	// entries are keys of HTTPProxies, with "*" for all of a namespace.
	entries []manifest.Key
}

// readConsent fills in who may include an HTTPProxy.
func (e *entry) readConsent() {
	value, set := e.proxy.Annotations[includedBy]
	if !set {
		return
	}
	field := "metadata.annotations[" + includedBy + "]"
	if e.proxy.Spec.VirtualHost != nil {
		p := errorIn(e, contourv1.ConditionTypeSpecError, "IgnoredAnnotation", field,
			"%s has no effect on an HTTPProxy with a virtualhost: nobody can include it", includedBy)
		p.Severity = problem.Warning
		e.report(p)
		return
	}
	entries, err := parseConsent(value)
	if err != nil {
		p := errorIn(e, contourv1.ConditionTypeSpecError, "IncludedByNotValid", field,
			"%s is not valid, so nobody may include this HTTPProxy: %s", includedBy, err)
		p.Remedy = "list who may include it, such as \"team-a/www, team-b/*\""
		e.report(p)
	}
	e.consent = &consent{entries}
}

func parseConsent(value string) ([]manifest.Key, error) {
	var entries []manifest.Key
	for item := range strings.SplitSeq(value, ",") {
		item = strings.TrimSpace(item)
		namespace, name, ok := strings.Cut(item, "/")
		if !ok || len(validation.IsDNS1123Label(namespace)) > 0 ||
			name != "*" && len(validation.IsDNS1123Subdomain(name)) > 0 {
			return nil, fmt.Errorf("%q is neither namespace/name nor namespace/*", item)
		}
		entries = append(entries, manifest.Key{Kind: manifest.HTTPProxy, Namespace: namespace, Name: name})
	}
	return entries, nil
}

// admits reports whether an HTTPProxy lets another include it.
func (e *entry) admits(includer manifest.Key) bool {
	if e.consent == nil {
		return true
	}
	anyName := includer
	anyName.Name = "*"
	return slices.Contains(e.consent.entries, includer) || slices.Contains(e.consent.entries, anyName)
}

// notPermitted is the problem of an include that the child does not admit.
func notPermitted(includer, child *entry, typ, field string) problem.Problem {
	key := child.key()
	p := errorIn(includer, typ, "IncludeNotPermitted", field,
		"include %s/%s not permitted: its annotation %s does not admit %s/%s",
		key.Namespace, key.Name, includedBy, includer.key().Namespace, includer.key().Name)
	p.Remedy = "ask the owner of " + key.String() + " to list this HTTPProxy there"
	return against(p, child)
}
