package dag

import (
	"reflect"
	"strings"
	"testing"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// TestFieldTablesNameRealFields: a misspelt path would let a field through,
// or keep one out.
func TestFieldTablesNameRealFields(t *testing.T) {
	for _, tt := range []struct {
		table *fieldTable
		spec  any
	}{
		{proxyFields, contourv1.HTTPProxySpec{}},
		{ingressFields, networkingv1.IngressSpec{}},
	} {
		fields := map[string]bool{}
		fieldsOf(reflect.TypeOf(tt.spec), "spec", fields)
		for _, path := range tt.table.supported {
			if !fields[path] {
				t.Errorf("%T has no field %s", tt.spec, path)
			}
		}
	}
}

// TestAProtectionIsNeverLeftOut: without one of these, more would be served
// than its author meant to give away, and a warning would not do.
func TestAProtectionIsNeverLeftOut(t *testing.T) {
	for _, path := range []string{
		"spec.tcpproxy", "spec.virtualhost.tls", "spec.virtualhost.authorization", "spec.virtualhost.jwtProviders",
		"spec.virtualhost.ipAllowPolicy", "spec.virtualhost.ipDenyPolicy", "spec.virtualhost.rateLimitPolicy",
		"spec.routes[].authPolicy", "spec.routes[].jwtVerificationPolicy",
		"spec.routes[].ipAllowPolicy", "spec.routes[].ipDenyPolicy", "spec.routes[].rateLimitPolicy",
	} {
		if !proxyFields.ways[path] {
			t.Errorf("%s is not in effect", path)
		}
	}
}

// fieldsOf collects the paths of all fields, as the tables write them.
func fieldsOf(of reflect.Type, path string, into map[string]bool) {
	if into[path] = true; strings.Count(path, ".") > 8 {
		return // JSON schemas in the API may refer to themselves
	}
	switch of.Kind() {
	case reflect.Pointer:
		fieldsOf(of.Elem(), path, into)
	case reflect.Slice:
		fieldsOf(of.Elem(), path+"[]", into)
	case reflect.Struct:
		for field := range of.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			fieldsOf(field.Type, path+"."+name, into)
		}
	}
}

// TestNoFieldIsSilent sets every field of HTTPProxy's spec, one at a time:
// each is either supported or a problem.
func TestNoFieldIsSilent(t *testing.T) {
	fields := map[string]bool{}
	fieldsOf(reflect.TypeFor[contourv1.HTTPProxySpec](), "spec", fields)
	tried := 0
	for path := range fields {
		var spec contourv1.HTTPProxySpec
		if path == "spec" || !setField(reflect.ValueOf(&spec).Elem(), strings.TrimPrefix(path, "spec")) {
			continue
		}
		tried++
		problems := unsupportedFields(rootOf(0, 1).Key, spec, proxyFields)
		supported := false
		for _, s := range proxyFields.supported {
			supported = supported || path == s || strings.HasPrefix(path, s+".") || strings.HasPrefix(path, s+"[") ||
				strings.HasPrefix(s, path+".") || strings.HasPrefix(s, path+"[")
		}
		if supported != (len(problems) == 0) {
			t.Errorf("%s: supported %t, problems %v", path, supported, problems)
		}
	}
	if tried < 200 {
		t.Errorf("only %d fields tried", tried)
	}
}

// setField sets the field at a path such as ".routes[].services[].name", and
// all that lead to it, to something other than zero.
func setField(v reflect.Value, path string) bool {
	switch {
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return setField(v.Elem(), path) || path == ""
	case strings.HasPrefix(path, "[]"):
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		return setField(v.Index(0), path[2:]) || path == "[]"
	case path != "":
		name, rest, _ := strings.Cut(path[1:], ".")
		if rest != "" {
			rest = "." + rest
		}
		if list, ok := strings.CutSuffix(name, "[]"); ok {
			name, rest = list, "[]"+rest
		}
		for i := range v.NumField() {
			if tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ","); tag == name {
				return setField(v.Field(i), rest)
			}
		}
		return false
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint32:
		v.SetUint(1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
	default:
		return false
	}
	return true
}
