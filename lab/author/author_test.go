package author

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
)

func TestEveryFieldIsSetNowAndThen(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	set, all := map[string]bool{}, map[string]bool{}
	for range 8000 {
		for _, o := range Objects(rnd) {
			if p, ok := o.(*contourv1.HTTPProxy); ok {
				note(reflect.ValueOf(p.Spec), "spec", set)
			}
		}
	}
	known(reflect.TypeFor[contourv1.HTTPProxySpec](), "spec", all)
	for path := range all {
		if !set[path] {
			t.Errorf("%s was never set", path)
		}
	}
}

func note(v reflect.Value, path string, into map[string]bool) {
	if v.IsZero() {
		return
	}
	into[path] = true
	switch v.Kind() {
	case reflect.Pointer:
		note(v.Elem(), path, into)
	case reflect.Slice:
		for i := range v.Len() {
			note(v.Index(i), path, into)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			note(v.Field(i), path+"."+name(v.Type().Field(i)), into)
		}
	}
}

func known(of reflect.Type, path string, into map[string]bool) {
	into[path] = true
	switch of.Kind() {
	case reflect.Pointer, reflect.Slice:
		known(of.Elem(), path, into)
	case reflect.Struct:
		for field := range of.Fields() {
			known(field.Type, path+"."+name(field), into)
		}
	}
}

func name(f reflect.StructField) string {
	n, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return n
}
