package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/types"
)

// patches rewrites patches, in files and inline, to what was read of them.
func (s *scan) patches(k *kustomization) {
	for _, f := range []struct {
		name string
		list []types.Patch
	}{{"patches", k.typed.Patches}, {"patchesJson6902", k.typed.PatchesJson6902}} {
		for i := range f.list {
			p, at := &f.list[i], fmt.Sprintf("%s[%d]", f.name, i)
			if p.Path != "" {
				p.Path = s.copyOf(k, at+".path", p.Path)
			}
			if p.Patch != "" {
				p.Patch = s.inline(k, at+".patch", p.Patch)
			}
		}
	}
	for i, ref := range k.typed.PatchesStrategicMerge {
		at := fmt.Sprintf("patchesStrategicMerge[%d]", i)
		if text := string(ref); isInlinePatch(text) {
			k.typed.PatchesStrategicMerge[i] = types.PatchStrategicMerge(s.inline(k, at, text))
		} else {
			k.typed.PatchesStrategicMerge[i] = types.PatchStrategicMerge(s.copyOf(k, at, text))
		}
	}
}

// isInlinePatch reports whether an entry is a patch rather than a path:
// kustomize takes it for one if it is an object with a kind and a name, and
// for a path otherwise.
func isInlinePatch(text string) bool {
	var ignored findings
	docs := readDocuments("", 0, []byte(text), 1, &ignored)
	return len(docs) > 0 && textOf(child(docs[0].root, "kind")) != "" &&
		textOf(child(child(docs[0].root, "metadata"), "name")) != "" || strings.Contains(text, "\n")
}

// configs rewrites the fields that name files with settings of kustomize's.
func (s *scan) configs(k *kustomization) {
	for i, ref := range k.typed.Configurations {
		k.typed.Configurations[i] = s.copyOf(k, fmt.Sprintf("configurations[%d]", i), ref)
	}
	for i, ref := range k.typed.Crds {
		k.typed.Crds[i] = s.copyOf(k, fmt.Sprintf("crds[%d]", i), ref)
	}
	for i := range k.typed.Replacements {
		if r := &k.typed.Replacements[i]; r.Path != "" {
			r.Path = s.copyOf(k, fmt.Sprintf("replacements[%d].path", i), r.Path)
		}
	}
}

// transformers lets pass those built into kustomize that name no files.
func (s *scan) transformers(k *kustomization) {
	for i, ref := range k.typed.Transformers {
		at := fmt.Sprintf("transformers[%d]", i)
		var docs []document
		if isInlinePatch(ref) {
			docs = readDocuments(k.file, k.inlineStart(at), []byte(ref), s.objects, &s.found)
			k.typed.Transformers[i] = string(joinJSON(docs))
		} else if file, ok := s.file(k, at, ref); ok {
			docs = s.documentsOf(file)
			k.typed.Transformers[i] = s.copyOf(k, at, ref)
		}
		for _, doc := range docs {
			s.transformer(k, at, doc.root)
		}
	}
}

func (s *scan) transformer(k *kustomization, at string, n *yaml.Node) {
	kind, apiVersion := textOf(child(n, "kind")), textOf(child(n, "apiVersion"))
	allowed := apiVersion == "builtin"
	switch kind {
	case "PrefixTransformer", "SuffixTransformer", "PrefixSuffixTransformer", "NamespaceTransformer",
		"LabelTransformer", "AnnotationsTransformer", "ImageTagTransformer", "ReplicaCountTransformer":
	default:
		allowed = false
	}
	annotations := child(child(n, "metadata"), "annotations")
	if child(annotations, "config.kubernetes.io/function") != nil || child(annotations, "config.k8s.io/function") != nil {
		allowed = false
	}
	if !allowed {
		s.found.at(k.file, k.line(at), ReasonUnsupportedField,
			fmt.Sprintf("%s: %q is not run; only kustomize's own transformers of names, labels, annotations and images are", at, clip(kind)),
			"use the kustomization's fields, such as patches and replacements")
	}
}

// generators checks the files that generators read, and counts what they make.
func (s *scan) generators(k *kustomization) {
	s.generatorOptions(k)
	for i := range k.typed.ConfigMapGenerator {
		s.generator(k, fmt.Sprintf("configMapGenerator[%d]", i), &k.typed.ConfigMapGenerator[i].GeneratorArgs)
	}
	for i := range k.typed.SecretGenerator {
		s.generator(k, fmt.Sprintf("secretGenerator[%d]", i), &k.typed.SecretGenerator[i].GeneratorArgs)
	}
}

func (s *scan) generatorOptions(k *kustomization) {
	if o := k.typed.GeneratorOptions; o != nil {
		dropReserved(o.Annotations)
	}
}

func (s *scan) generator(k *kustomization, at string, g *types.GeneratorArgs) {
	k.objects = add(k.objects, 1)
	for i, entry := range g.FileSources {
		field := fmt.Sprintf("%s.files[%d]", at, i)
		key, ref, named := strings.Cut(entry, "=")
		if !named {
			ref = entry
		} else if key == "" || ref == "" || strings.Contains(ref, "=") {
			s.found.at(k.file, k.line(field), ReasonInvalidKustomization, field+": this is neither a path nor key=path", "")
			continue
		}
		s.data(k, field, ref)
	}
	for i, ref := range g.EnvSources {
		s.variables(k, fmt.Sprintf("%s.envs[%d]", at, i), ref)
	}
	if g.EnvSource != "" {
		s.variables(k, at+".env", g.EnvSource)
	}
	for i, literal := range g.LiteralSources {
		if key, _, ok := strings.Cut(literal, "="); !ok || key == "" {
			field := fmt.Sprintf("%s.literals[%d]", at, i)
			s.found.at(k.file, k.line(field), ReasonInvalidKustomization, field+": this is not key=value", "")
		}
	}
	if g.Options == nil {
		g.Options = &types.GeneratorOptions{}
	}
	dropReserved(g.Options.Annotations)
	if g.Options.Annotations == nil {
		g.Options.Annotations = map[string]string{}
	}
	g.Options.Annotations[s.out.annotation] = s.out.origin(k.file, k.line(at))
}

// variables lets kustomize read a file of key=value lines. Of a line that is no
// text it would quote all.
func (s *scan) variables(k *kustomization, at, ref string) {
	if clean := path.Join(k.dir, ref); s.has(clean) && !utf8.Valid(s.files[clean].Content) {
		s.found.at(k.file, k.line(at), ReasonInvalidKustomization, at+": the file is not UTF-8", "")
		return
	}
	s.data(k, at, ref)
}

// data lets kustomize read a file as it is: as data, not as YAML.
func (s *scan) data(k *kustomization, at, ref string) {
	file, ok := s.file(k, at, ref)
	switch {
	case !ok:
	case isKustomizationFile(file):
		s.found.at(k.file, k.line(at), ReasonInvalidPath, fmt.Sprintf("%s: a kustomization file cannot be data", at), "")
	default:
		s.out.verbatim(file, s.files[file].Content)
	}
}

func dropReserved(annotations map[string]string) {
	for key := range annotations {
		if strings.HasPrefix(key, reservedPrefix) {
			delete(annotations, key)
		}
	}
}

// copyOf is the path, as seen from k, of what was read of the file that ref names.
func (s *scan) copyOf(k *kustomization, at, ref string) string {
	file, ok := s.file(k, at, ref)
	if !ok {
		return ref
	}
	before := s.found.count()
	docs := s.documentsOf(file)
	if len(docs) == 0 {
		if s.found.count() == before && s.readable(file) {
			s.found.at(file, 0, ReasonInvalidKustomization, fmt.Sprintf("the file is empty, and %s of %s names it", at, k.file), "")
		}
		return ref
	}
	return relative(k.dir, s.out.plain(file, docs))
}

// readable reports whether no problem with the file was told.
func (s *scan) readable(file string) bool {
	for _, p := range s.found.problems {
		if p.Origin.Path == file {
			return false
		}
	}
	return true
}

// inline is what was read of a patch that stands in the kustomization itself.
func (s *scan) inline(k *kustomization, at, text string) string {
	before := s.found.count()
	docs := readDocuments(k.file, k.inlineStart(at), []byte(text), s.objects, &s.found)
	if len(docs) == 0 && s.found.count() == before {
		s.found.at(k.file, k.line(at), ReasonInvalidKustomization, at+": the patch is empty", "")
	}
	return string(joinJSON(docs))
}

// inlineStart is the line before the first one of a text in the file.
func (k *kustomization) inlineStart(field string) int {
	n := nodeOf(k.node, field)
	if n == nil {
		return 0
	}
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return n.Line
	}
	return n.Line - 1
}

// joinJSON is the documents as JSON, in a form that is YAML as well.
func joinJSON(docs []document) []byte {
	var b []byte
	for i, doc := range docs {
		if i > 0 {
			b = append(b, "\n---\n"...)
		}
		b = appendJSON(b, doc.root)
	}
	return b
}

// lineOf is the line of the value at a path such as "a.b[2].c", or of the
// nearest one above it that exists.
func lineOf(n *yaml.Node, field string) int {
	line := n.Line
	walk(n, field, func(key, value *yaml.Node) {
		line = value.Line
		if key != nil {
			line = key.Line
		}
	})
	return line
}

// nodeOf is the value at a path; nil if there is none.
func nodeOf(n *yaml.Node, field string) *yaml.Node {
	var last *yaml.Node
	if !walk(n, field, func(_, value *yaml.Node) { last = value }) {
		return nil
	}
	return last
}

// walk follows a path and calls visit at each step that exists, with the key
// where the step is one of a mapping. It reports whether it came to the end.
func walk(n *yaml.Node, field string, visit func(key, value *yaml.Node)) bool {
	for field != "" {
		if rest, ok := strings.CutPrefix(field, "["); ok {
			number, after, _ := strings.Cut(rest, "]")
			i, err := strconv.Atoi(number)
			if err != nil || n.Kind != yaml.SequenceNode || i < 0 || i >= len(n.Content) {
				return false
			}
			n, field = n.Content[i], strings.TrimPrefix(after, ".")
			visit(nil, n)
			continue
		}
		name, rest := field, ""
		if i := strings.IndexAny(field, ".["); i >= 0 {
			name, rest = field[:i], strings.TrimPrefix(field[i:], ".")
		}
		if n.Kind != yaml.MappingNode {
			return false
		}
		found := false
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == name {
				visit(n.Content[i], n.Content[i+1])
				n, found = n.Content[i+1], true
				break
			}
		}
		if !found {
			return false
		}
		field = rest
	}
	return true
}

// typeMessage takes a decoder's error apart. It repeats no value.
func typeMessage(err error) (field, msg string) {
	var te *json.UnmarshalTypeError
	if !errors.As(err, &te) {
		return "", "a value is of the wrong type"
	}
	found, _, _ := strings.Cut(te.Value, " ")
	return te.Field, fmt.Sprintf("%s: a JSON %s cannot stand here", clip(te.Field), found)
}
