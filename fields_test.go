package isoline_test

import (
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
	contourv1alpha1 "github.com/projectcontour/contour/apis/projectcontour/v1alpha1"
	"golang.org/x/tools/txtar"
	networkingv1 "k8s.io/api/networking/v1"

	"isoline.dev/isoline/config"
	"isoline.dev/isoline/dag"
	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/xds"
)

var update = flag.Bool("update", false, "write docs/httpproxy.md")

const (
	casesDir  = "testdata/cases"
	fieldDocs = "docs/httpproxy.md"
)

// TestEveryFieldThatIsInEffectIsMappedAndProven holds the fields of the API
// against what becomes of them and what shows it, and docs/httpproxy.md against
// that; -update writes it.
func TestEveryFieldThatIsInEffectIsMappedAndProven(t *testing.T) {
	table := readFieldTable(t)
	for _, row := range table.rows {
		if !row.supported {
			continue
		}
		if row.envoy == "" && !row.refused {
			t.Errorf("%s is in effect: say in xds/mapping.go what it becomes in Envoy", row.path)
		}
		if len(row.cases) == 0 {
			t.Errorf("%s is in effect: write a case below %s that proves it", row.path, casesDir)
		}
	}
	want := table.document()
	if *update {
		if err := os.WriteFile(fieldDocs, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(fieldDocs)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is out of date: run go test . -run FieldThatIsInEffect -update", fieldDocs)
	}
}

// unreleased are fields that Contour has on its main branch, and that are in
// no released API.
var unreleased = []string{
	"spec.virtualhost.authorization.httpSettings.allowedAuthorizationHeaders[].contains",
	"spec.virtualhost.authorization.httpSettings.allowedAuthorizationHeaders[].exact",
	"spec.virtualhost.authorization.httpSettings.allowedAuthorizationHeaders[].ignoreCase",
	"spec.virtualhost.authorization.httpSettings.allowedAuthorizationHeaders[].prefix",
	"spec.virtualhost.authorization.httpSettings.allowedAuthorizationHeaders[].suffix",
	"spec.virtualhost.authorization.httpSettings.allowedUpstreamHeaders[].contains",
	"spec.virtualhost.authorization.httpSettings.allowedUpstreamHeaders[].exact",
	"spec.virtualhost.authorization.httpSettings.allowedUpstreamHeaders[].ignoreCase",
	"spec.virtualhost.authorization.httpSettings.allowedUpstreamHeaders[].prefix",
	"spec.virtualhost.authorization.httpSettings.allowedUpstreamHeaders[].suffix",
	"spec.virtualhost.authorization.httpSettings.pathPrefix",
	"spec.virtualhost.authorization.serviceType",
	"spec.virtualhost.jwtProviders[].localJWKS.key",
	"spec.virtualhost.jwtProviders[].localJWKS.secretName",
}

// fieldRow is a line of the table.
type fieldRow struct {
	kind, path string // the path has the kind before it, HTTPProxy aside
	supported  bool
	refused    bool // supported, and a problem wherever it is set
	envoy      string
	cases      []string
}

type fieldTable struct {
	rows []*fieldRow
	// settings has the cases of each setting of the platform's file.
	settings map[string][]string
}

func (f *fieldTable) has(path string) bool { return f.find(path) != nil }

func (f *fieldTable) find(path string) *fieldRow {
	for _, row := range f.rows {
		if row.path == path {
			return row
		}
	}
	return nil
}

// readFieldTable joins what the API has, what is in effect, what it becomes
// and which cases prove it.
func readFieldTable(t *testing.T) *fieldTable {
	t.Helper()
	table := &fieldTable{}
	specs := map[string]reflect.Type{
		manifest.HTTPProxy:                reflect.TypeFor[contourv1.HTTPProxySpec](),
		manifest.TLSCertificateDelegation: reflect.TypeFor[contourv1.TLSCertificateDelegationSpec](),
		manifest.ExtensionService:         reflect.TypeFor[contourv1alpha1.ExtensionServiceSpec](),
		manifest.Ingress:                  reflect.TypeFor[networkingv1.IngressSpec](),
	}
	for _, s := range dag.Supported() {
		if spec := specs[s.Kind]; spec != nil {
			leaves(spec, "spec", func(path string) {
				row := table.add(s.Kind, path)
				row.supported = slices.ContainsFunc(s.Fields, func(field string) bool { return within(path, field) })
				row.refused = slices.ContainsFunc(s.Refused, func(field string) bool { return within(path, field) })
			})
		}
		for _, name := range s.Annotations {
			table.add(s.Kind, "metadata.annotations["+name+"]").supported = true
		}
	}
	for _, path := range unreleased {
		if table.has(path) {
			t.Errorf("%s is in the released API now", path)
		}
	}
	table.joinMapping(t)
	table.joinCases(t)
	return table
}

func (f *fieldTable) add(kind, path string) *fieldRow {
	if kind != manifest.HTTPProxy {
		path = kind + " " + path
	}
	row := &fieldRow{kind: kind, path: path}
	f.rows = append(f.rows, row)
	return row
}

// leaves calls for every field that holds a value, in the API's order.
func leaves(of reflect.Type, path string, call func(path string)) {
	if strings.Count(path, ".") > 8 {
		return // JSON schemas in the API may refer to themselves
	}
	switch of.Kind() {
	case reflect.Pointer:
		leaves(of.Elem(), path, call)
	case reflect.Slice:
		if of.Elem().Kind() == reflect.Struct || of.Elem().Kind() == reflect.Pointer {
			leaves(of.Elem(), path+"[]", call)
		} else {
			call(path)
		}
	case reflect.Struct:
		if of.NumField() == 0 {
			call(path) // to be there is what it says
		}
		for field := range of.Fields() {
			at := path // of a struct that is written inline
			if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" {
				at += "." + name
			}
			leaves(field.Type, at, call)
		}
	default:
		call(path)
	}
}

// within reports whether a path is a field or part of it.
func within(path, field string) bool {
	rest, ok := strings.CutPrefix(path, field)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// joinMapping gives each row the mapping of the longest path that it is within.
func (f *fieldTable) joinMapping(t *testing.T) {
	t.Helper()
	used := map[string]bool{}
	mapping := xds.Mapping()
	for _, row := range f.rows {
		longest := ""
		for path := range mapping {
			if within(row.path, path) && len(path) > len(longest) {
				longest = path
			}
			used[path] = used[path] || within(row.path, path)
		}
		row.envoy = mapping[longest]
	}
	for path := range mapping {
		if !used[path] {
			t.Errorf("xds/mapping.go has %s, which is no field", path)
		}
	}
}

// joinCases gives each row the cases that say that they prove it.
func (f *fieldTable) joinCases(t *testing.T) {
	t.Helper()
	settings := map[string]bool{}
	f.settings = map[string][]string{}
	settingsOf(reflect.TypeFor[config.Config](), "", settings)
	err := filepath.WalkDir(casesDir, func(file string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(file, ".txtar") {
			return err
		}
		archive, err := txtar.ParseFile(file)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(archive.Comment)) {
			claim, ok := strings.CutPrefix(strings.TrimSpace(line), "proves:")
			if !ok {
				continue
			}
			for _, path := range alternatives(strings.TrimSpace(claim)) {
				row := f.find(path)
				setting, isSetting := strings.CutPrefix(path, "config ")
				switch {
				case isSetting && !settings[setting]:
					t.Errorf("%s: there is no setting %s", file, setting)
				case isSetting:
					f.settings[setting] = append(f.settings[setting], file)
				case row == nil:
					t.Errorf("%s: there is no field %s; name fields that hold a value", file, path)
				case !row.supported:
					t.Errorf("%s: %s is not in effect", file, path)
				default:
					row.cases = append(row.cases, file)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// alternatives writes out "a.{b,c}" as a.b and a.c.
func alternatives(path string) []string {
	before, rest, ok := strings.Cut(path, "{")
	if !ok {
		return []string{path}
	}
	inside, after, _ := strings.Cut(rest, "}")
	var all []string
	for one := range strings.SplitSeq(inside, ",") {
		all = append(all, alternatives(before+strings.TrimSpace(one)+after)...)
	}
	return all
}

// settingsOf collects the keys of the platform's file.
func settingsOf(of reflect.Type, path string, into map[string]bool) {
	into[path] = true
	switch of.Kind() {
	case reflect.Pointer, reflect.Slice:
		settingsOf(of.Elem(), path, into)
	case reflect.Struct:
		for field := range of.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
			settingsOf(field.Type, strings.Trim(path+"."+name, "."), into)
		}
	}
}

// document is the table in Markdown.
func (f *fieldTable) document() string {
	var b strings.Builder
	b.WriteString(documentHead)
	kind := ""
	for _, row := range f.rows {
		if row.kind != kind {
			kind = row.kind
			fmt.Fprintf(&b, "\n## %s\n\n| field | in effect | Envoy | proven by |\n|---|---|---|---|\n", kind)
		}
		effect := map[bool]string{true: "yes", false: "no"}[row.supported]
		envoy := row.envoy
		switch {
		case row.refused:
			effect, envoy = "refused", ""
		case !row.supported:
			envoy = ""
		}
		path := strings.TrimPrefix(row.path, row.kind+" ")
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", path, effect, envoy, links(row.cases))
	}
	b.WriteString("\n## The platform's file\n\n[config.md](config.md) says what its settings mean.\n\n| setting | proven by |\n|---|---|\n")
	for _, setting := range slices.Sorted(maps.Keys(f.settings)) {
		fmt.Fprintf(&b, "| `%s` | %s |\n", setting, links(f.settings[setting]))
	}
	b.WriteString(documentEnd)
	for _, path := range unreleased {
		fmt.Fprintf(&b, "- `%s`\n", path)
	}
	return b.String()
}

// links are the cases as links.
func links(files []string) string {
	var all []string
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.ToSlash(file), casesDir+"/"), ".txtar")
		all = append(all, fmt.Sprintf("[%s](../%s)", name, filepath.ToSlash(file)))
	}
	return strings.Join(all, ", ")
}

const documentHead = `# What is in effect, field by field

Every field of Contour's routing API, and of what Ingresses and Services add to it: whether Isoline gives it effect (refused: it is a problem wherever it is set), what it becomes in Envoy, and the [cases](../testdata/cases/README.md) that show it with requests through a real Envoy. A field that is not in effect is a problem where it is set; [routing.md](routing.md) says what becomes of its route.

This page is generated by ` + "`go test . -run FieldThatIsInEffect -update`" + `, and compared in the tests.
`

const documentEnd = `
## Not in the released API

Contour's main branch has these fields of HTTPProxy, and no release of its API does. They are unknown fields to Isoline.

`
