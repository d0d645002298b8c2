package render

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"path"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/types"
)

// layout is the files that kustomize will see. Except for the data of
// generators, all of them are JSON that we wrote, from what we read: so nothing
// that the pre-scan did not see can mean anything to kustomize.
//
// Files that are read as YAML are copied beside themselves under another name,
// one copy for their use as resources, where each object is annotated with its
// origin, and one for all other uses, which must not carry origins into objects.
type layout struct {
	files map[string][]byte
	// original is which file a copy stands for.
	original map[string]string
	copies   map[string]string // role and file → copy
	counts   map[string]int    // objects of resource files
	taken    func(string) bool
	// annotation is where objects carry their origin: an index into origins. Its
	// name is drawn anew for each build, so that no patch can write it.
	annotation string
	origins    []place
}

// place is a line of a file.
type place struct {
	file string
	line int
}

func newLayout(t *tree) layout {
	return layout{
		files: map[string][]byte{}, original: map[string]string{}, copies: map[string]string{}, counts: map[string]int{},
		taken: t.has, annotation: reservedPrefix + "origin-" + strings.ToLower(rand.Text()),
	}
}

// origin keeps a place and is what stands for it in an annotation.
func (l *layout) origin(file string, line int) string {
	l.origins = append(l.origins, place{file: file, line: line})
	return strconv.Itoa(len(l.origins) - 1)
}

// verbatim gives kustomize a file as it is.
func (l *layout) verbatim(file string, content []byte) { l.files[file] = content }

// plain gives kustomize what was read of a file, and is the copy's path.
func (l *layout) plain(file string, docs []document) string {
	name, isNew := l.copy("plain", file)
	if isNew {
		l.files[name] = joinJSON(docs)
	}
	return name
}

// resource gives kustomize the objects of a file, each with its origin. It
// returns the copy's path and the number of objects.
func (l *layout) resource(t *tree, file string) (string, int) {
	name, isNew := l.copy("resource", file)
	if !isNew {
		return name, l.counts[file]
	}
	var annotated []document
	items := t.items(file, t.documentsOf(file))
	for _, it := range items {
		if node, ok := l.annotate(t, file, it); ok {
			annotated = append(annotated, document{root: node})
		}
	}
	l.files[name], l.counts[file] = joinJSON(annotated), len(items)
	return name, len(items)
}

// annotate is the object with its origin. The object itself stays as it is:
// it may be a patch elsewhere.
func (l *layout) annotate(t *tree, file string, it item) (*yaml.Node, bool) {
	metadata := child(it.node, "metadata")
	if textOf(child(metadata, "name")) == "" {
		t.found.at(file, it.line, ReasonNotAnObject, "the object has no name, or one that is no text", "give it metadata.name")
		return nil, false
	}
	mark := map[string]string{l.annotation: l.origin(file, it.line)}
	annotations, ok := withText(child(metadata, "annotations"), mark)
	if !ok {
		t.found.at(file, child(metadata, "annotations").Line, ReasonNotAnObject, "metadata.annotations is not a mapping", "")
		return nil, false
	}
	return replaced(it.node, "metadata", replaced(metadata, "annotations", annotations)), true
}

// withText is a mapping with further text values; n is nil, null or a mapping.
func withText(n *yaml.Node, more map[string]string) (*yaml.Node, bool) {
	out := &yaml.Node{Kind: yaml.MappingNode}
	switch {
	case n == nil || n.Kind == yaml.ScalarNode && n.Tag == tagJSON && n.Value == "null":
	case n.Kind == yaml.MappingNode:
		out.Content = append(out.Content, n.Content...)
	default:
		return nil, false
	}
	for _, key := range sortedKeys(more) {
		setChild(out, key, &yaml.Node{Kind: yaml.ScalarNode, Tag: tagText, Value: more[key]})
	}
	return out, true
}

// replaced is a copy of the mapping n with another value for key.
func replaced(n *yaml.Node, key string, v *yaml.Node) *yaml.Node {
	out := *n
	out.Content = append([]*yaml.Node(nil), n.Content...)
	for i := 0; i+1 < len(out.Content); i += 2 {
		if out.Content[i].Value == key {
			out.Content[i+1] = v
			return &out
		}
	}
	setChild(&out, key, v)
	return &out
}

// copy is the path of the file's copy for a role, and whether it is new.
func (l *layout) copy(role, file string) (string, bool) {
	key := role + ":" + file
	if name, ok := l.copies[key]; ok {
		return name, false
	}
	for n := len(l.copies); ; n++ {
		name := path.Join(parent(file), fmt.Sprintf(".isoline-%d.yaml", n))
		if _, used := l.files[name]; used || l.taken(name) {
			continue
		}
		l.copies[key], l.original[name] = name, file
		l.files[name] = nil
		return name, true
	}
}

// kustomization gives kustomize the rewritten file.
func (l *layout) kustomization(k *kustomization) {
	var metadata []string
	for _, option := range k.typed.BuildMetadata {
		// The others annotate objects with the names of our copies.
		if option == types.ManagedByLabelOption {
			metadata = append(metadata, option)
		}
	}
	k.typed.BuildMetadata = metadata
	b, err := json.Marshal(k.typed)
	if err != nil {
		b = nil // types.Kustomization came out of JSON: it goes back
	}
	l.files[k.file] = b
}
