package dag

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"

	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

// fieldTable says what this version does with the fields of a spec. To
// support a field is to add its path to supported.
type fieldTable struct {
	typ string // of the problems
	// supported are paths whose whole subtree is in effect. Lists are written
	// as "[]", and whatever leads to a supported path is walked.
	supported []string
	// ways has every path that leads to a supported one, and whether it is
	// itself supported.
	ways map[string]bool
}

func newFieldTable(typ string, supported []string) *fieldTable {
	ways := map[string]bool{}
	lead := func(path string) {
		if _, known := ways[path]; !known {
			ways[path] = false
		}
	}
	for _, path := range supported {
		for i := range path {
			switch path[i] {
			case '.', '[':
				lead(path[:i])
			case ']':
				lead(path[:i+1])
			}
		}
		ways[path] = true
	}
	return &fieldTable{typ: typ, supported: supported, ways: ways}
}

var proxyFields = newFieldTable(contourv1.ConditionTypeSpecError,
	[]string{
		"spec.ingressClassName",
		"spec.includes",
		"spec.virtualhost.fqdn",
		"spec.virtualhost.tls",
		"spec.tcpproxy",
		"spec.virtualhost.corsPolicy",
		"spec.virtualhost.authorization",
		"spec.virtualhost.jwtProviders",
		"spec.virtualhost.ipAllowPolicy",
		"spec.virtualhost.ipDenyPolicy",
		"spec.virtualhost.rateLimitPolicy",
		"spec.routes[].conditions",
		"spec.routes[].authPolicy",
		"spec.routes[].jwtVerificationPolicy",
		"spec.routes[].ipAllowPolicy",
		"spec.routes[].ipDenyPolicy",
		"spec.routes[].rateLimitPolicy",
		"spec.routes[].services[].name",
		"spec.routes[].services[].port",
		"spec.routes[].services[].weight",
		"spec.routes[].services[].protocol",
		"spec.routes[].services[].healthPort",
		"spec.routes[].services[].slowStartPolicy",
		"spec.routes[].services[].validation",
		"spec.routes[].services[].mirror",
		"spec.routes[].services[].requestHeadersPolicy",
		"spec.routes[].services[].responseHeadersPolicy",
		"spec.routes[].services[].cookieRewritePolicies",
		"spec.routes[].requestHeadersPolicy",
		"spec.routes[].responseHeadersPolicy",
		"spec.routes[].cookieRewritePolicies",
		"spec.routes[].enableWebsockets",
		"spec.routes[].timeoutPolicy.response",
		"spec.routes[].timeoutPolicy.idle",
		"spec.routes[].timeoutPolicy.idleConnection",
		"spec.routes[].retryPolicy",
		"spec.routes[].internalRedirectPolicy",
		"spec.routes[].healthCheckPolicy",
		"spec.routes[].loadBalancerPolicy",
		"spec.routes[].pathRewritePolicy",
		"spec.routes[].requestRedirectPolicy",
		"spec.routes[].directResponsePolicy",
		"spec.routes[].permitInsecure", // what a host without TLS does anyway
	},
)

var ingressFields = newFieldTable(ingressError,
	[]string{
		"spec.ingressClassName",
		"spec.defaultBackend", // backends other than services are judged where they are read
		"spec.rules",
		"spec.tls",
	},
)

// unsupportedFields are the problems of all fields that are set and have no
// effect.
func unsupportedFields(key manifest.Key, spec any, table *fieldTable) []problem.Problem {
	w := fieldWalk{key: key, table: table}
	w.visit(reflect.ValueOf(spec), "spec", "spec")
	return w.problems
}

type fieldWalk struct {
	key      manifest.Key
	table    *fieldTable
	problems []problem.Problem
}

// visit looks at one value. The pattern is its path with "[]" for every index.
func (w *fieldWalk) visit(v reflect.Value, pattern, path string) {
	if v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0 {
		return
	}
	supported, leads := w.table.ways[pattern]
	switch {
	case supported:
	case !leads:
		w.refuse(pattern, path)
	case v.Kind() == reflect.Pointer:
		w.visit(v.Elem(), pattern, path)
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			w.visit(v.Index(i), pattern+"[]", path+"["+strconv.Itoa(i)+"]")
		}
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			w.visit(v.Field(i), pattern+"."+name, path+"."+name)
		}
	}
}

func (w *fieldWalk) refuse(pattern, path string) {
	w.problems = append(w.problems, problem.Problem{
		Severity: problem.Warning, Type: w.table.typ, Reason: "UnsupportedField",
		Message: fmt.Sprintf("%s is not supported by this version of Isoline and has no effect", pattern[strings.LastIndexByte(pattern, '.')+1:]),
		Object:  w.key.Ref(), Field: path,
	})
}
