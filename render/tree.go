package render

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"io/fs"

	"go.yaml.in/yaml/v3"

	"isoline.dev/isoline/problem"
)

// tree is the file map as the child sees it, and what was found in it.
type tree struct {
	root, build string
	files       map[string]childFile
	dirs        map[string]bool // every directory from root down
	objects     int             // how many there may be
	found       findings
	documents   map[string][]document // of files that were read
}

// renderTree renders one request. It is the whole work of a child.
func renderTree(req childRequest) childResponse {
	t := newTree(req)
	var objects []childObject
	switch {
	case !t.dirs[t.build]:
		t.found.add(failure(t.build, ReasonNotFound, "this directory does not exist, or is empty",
			"correct repo.path and repo.build in Isoline's configuration, or bring the directory back"))
	case len(t.kustomizationFiles(t.build)) > 0:
		objects = t.kustomize()
	default:
		objects = t.plain()
	}
	return childResponse{Objects: objects, Problems: problem.Sort(t.found.all())}
}

func newTree(req childRequest) *tree {
	t := &tree{
		root: req.Root, build: req.Build, objects: req.Objects,
		files: make(map[string]childFile, len(req.Files)), dirs: map[string]bool{},
		documents: map[string][]document{},
	}
	if req.Root == "" {
		t.dirs[""] = true
	}
	for _, f := range req.Files {
		t.files[f.Path] = f
		for dir := parent(f.Path); below(dir, t.root) && !t.dirs[dir]; dir = parent(dir) {
			t.dirs[dir] = true
			if dir == "" {
				break
			}
		}
	}
	return t
}

// plain reads every manifest below the directory, in the order of the paths.
func (t *tree) plain() []childObject {
	var objects []childObject
	count := 0
	for _, name := range sortedKeys(t.files) {
		if !below(name, t.build) || hidden(name, t.build) {
			continue
		}
		f := t.files[name]
		switch {
		case isKustomizationFile(name):
			t.found.at(name, 0, ReasonKustomizationNotBuilt,
				"a kustomization below a directory without one is not built",
				fmt.Sprintf("set repo.build to the directory to build, or add a kustomization.yaml to %q that lists it", orDot(t.build)))
			continue
		case !isManifest(name):
			continue
		case f.Symlink:
			p := failure(name, ReasonSymlink, "a symbolic link is not followed, and nothing is read", "put the file itself here")
			p.Severity = problem.Warning
			t.found.add(p)
			continue
		}
		for _, it := range t.items(name, t.documentsOf(name)) {
			if count++; count <= t.objects {
				dropServerFields(it.node)
				objects = append(objects, childObject{JSON: appendJSON(nil, it.node), Path: name, Line: it.line})
			}
		}
	}
	if count > t.objects {
		t.tooManyObjects(t.build, count)
		return nil
	}
	return objects
}

func (t *tree) tooManyObjects(at string, count int) {
	n := fmt.Sprint(count)
	if count >= saturated {
		n = "more than " + fmt.Sprint(saturated)
	}
	t.found.add(failure(at, ReasonTooManyObjects,
		fmt.Sprintf("there are %s objects, and %d are allowed", n, t.objects),
		"split the tree, or raise limits.objects"))
}

// documentsOf reads a file of the tree once.
func (t *tree) documentsOf(file string) []document {
	docs, read := t.documents[file]
	if !read {
		docs = readDocuments(file, 0, t.files[file].Content, t.objects, &t.found)
		t.documents[file] = docs
	}
	return docs
}

// item is one object of a document: the document itself, or a member of the
// list that it is.
type item struct {
	node *yaml.Node
	line int
}

// items are the objects in a file's documents, lists taken apart. What is no
// object is a problem.
func (t *tree) items(file string, docs []document) []item {
	var items []item
	for _, doc := range docs {
		items = t.appendItems(items, file, doc.root, 0)
	}
	return items
}

// maxListDepth bounds lists in lists.
const maxListDepth = 4

func (t *tree) appendItems(items []item, file string, n *yaml.Node, depth int) []item {
	if n.Kind != yaml.MappingNode {
		t.found.at(file, n.Line, ReasonNotAnObject, "this is not a Kubernetes object but "+nodeWords(n), "say apiVersion, kind and metadata")
		return items
	}
	kind := textOf(child(n, "kind"))
	if kind == "" {
		t.found.at(file, n.Line, ReasonNotAnObject, "this is not a Kubernetes object: it has no kind", "say apiVersion, kind and metadata")
		return items
	}
	if !isList(n, kind) {
		if t.reserved(file, n) {
			return items
		}
		return append(items, item{node: n, line: n.Line})
	}
	if depth == maxListDepth {
		t.found.at(file, n.Line, ReasonTooDeep, fmt.Sprintf("lists lie more than %d deep in each other", maxListDepth), "")
		return items
	}
	for _, member := range child(n, "items").Content {
		if of := strings.TrimSuffix(kind, "List"); of != "" && member.Kind == yaml.MappingNode {
			inherit(member, "kind", of)
			inherit(member, "apiVersion", textOf(child(n, "apiVersion")))
		}
		items = t.appendItems(items, file, member, depth+1)
	}
	return items
}

// isList reports whether an object is Kubernetes' List, or such as
// HTTPProxyList: an object of such a kind that has items.
func isList(n *yaml.Node, kind string) bool {
	members := child(n, "items")
	return strings.HasSuffix(kind, "List") && members != nil &&
		(members.Kind == yaml.SequenceNode || members.Tag == tagJSON && members.Value == "null")
}

// inherit sets a field that a member of a typed list leaves out.
func inherit(n *yaml.Node, key, text string) {
	if child(n, key) == nil && text != "" {
		setChild(n, key, &yaml.Node{Kind: yaml.ScalarNode, Tag: tagText, Value: text, Line: n.Line})
	}
}

// reservedPrefix begins the annotations that only Isoline writes.
const reservedPrefix = "internal.isoline.dev/"

// reserved refuses an object that carries annotations of ours.
func (t *tree) reserved(file string, n *yaml.Node) bool {
	annotations := child(child(n, "metadata"), "annotations")
	if annotations == nil || annotations.Kind != yaml.MappingNode {
		return false
	}
	for i := 0; i+1 < len(annotations.Content); i += 2 {
		if key := annotations.Content[i]; strings.HasPrefix(key.Value, reservedPrefix) {
			t.found.at(file, key.Line, ReasonReservedAnnotation,
				fmt.Sprintf("annotations that begin with %s are Isoline's own", reservedPrefix), "remove it")
			return true
		}
	}
	return false
}

// serverFields of metadata are what only an API server may say. An object out
// of a repository has none: a creation time, for one, would decide conflicts.
func serverFields() []string {
	return []string{"creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
		"generation", "managedFields", "resourceVersion", "selfLink", "uid"}
}

// dropServerFields takes out of an object what only an API server may say.
func dropServerFields(n *yaml.Node) {
	removeChild(n, "status")
	metadata := child(n, "metadata")
	for _, field := range serverFields() {
		removeChild(metadata, field)
	}
}

func setChild(n *yaml.Node, key string, v *yaml.Node) {
	n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: tagText, Value: key, Line: v.Line}, v)
}

func removeChild(n *yaml.Node, key string) {
	if n == nil || n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			n.Content = slices.Delete(n.Content, i, i+2)
			return
		}
	}
}

// nodeWords names what a node is.
func nodeWords(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Tag == tagText:
		return "text"
	default:
		return "a single value"
	}
}

// kustomizationFiles are those that a directory has; one is right.
func (t *tree) kustomizationFiles(dir string) []string {
	var files []string
	for _, name := range kustomizationNames() {
		if file := path.Join(dir, name); t.has(file) {
			files = append(files, file)
		}
	}
	return files
}

func (t *tree) has(file string) bool { _, ok := t.files[file]; return ok }

// kustomizationNames are the names that kustomize looks for.
func kustomizationNames() []string {
	return []string{"kustomization.yaml", "kustomization.yml", "Kustomization"}
}

func isKustomizationFile(name string) bool {
	return slices.Contains(kustomizationNames(), path.Base(name))
}

func isManifest(name string) bool {
	switch path.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	default:
		return false
	}
}

// hidden reports whether the file, or a directory between it and dir, has a
// name that begins with a dot. Isoline's own .isoline is one.
func hidden(name, dir string) bool {
	rel := strings.TrimPrefix(strings.TrimPrefix(name, dir), "/")
	for part := range strings.SplitSeq(rel, "/") {
		if strings.HasPrefix(part, ".") {
			return true
		}
	}
	return false
}

// parent is the directory that holds name; "" is the tree's root.
func parent(name string) string {
	if dir := path.Dir(name); dir != "." {
		return dir
	}
	return ""
}

// validPath reports whether name is a clean path inside a tree.
func validPath(name string) bool {
	return fs.ValidPath(name) && name != "." && !strings.ContainsAny(name, "\x00\n\r")
}

func orDot(dir string) string { return cmp.Or(dir, ".") }

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// clip bounds text that an author controls.
func clip(s string) string {
	const limit = 200
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "�")
	}
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
