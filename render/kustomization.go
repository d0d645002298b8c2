package render

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"go.yaml.in/yaml/v3"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/kustomize/api/types"
)

const (
	// maxVisits bounds how many kustomizations one build goes through, where
	// one that is included twice counts twice.
	maxVisits = 200
	// maxDepth bounds overlays of overlays.
	maxDepth = 16
	// saturated is where counts stop.
	saturated = 1 << 30
)

// kustomization is one kustomization file, checked, and rewritten for
// kustomize so that it says the same, but refers only to files that we wrote.
type kustomization struct {
	dir, file string
	node      *yaml.Node // the file's mapping
	typed     types.Kustomization
	// objects and visits are what one inclusion of it costs; depth is 1 without bases.
	objects, visits, depth int
}

// line is where a field of the file is, from a path such as "resources[2]".
func (k *kustomization) line(field string) int { return lineOf(k.node, field) }

// scan is the pre-scan of one build: it checks every kustomization that the
// build reaches and lays out the files that kustomize will see.
type scan struct {
	*tree
	known map[string]*kustomization // by directory; nil while and where it cannot be used
	order []*kustomization          // bases before those that include them
	stack []string                  // directories that are being scanned
	out   layout
}

// kustomize builds the tree's build directory.
func (t *tree) kustomize() []childObject {
	s := &scan{tree: t, known: map[string]*kustomization{}, out: newLayout(t)}
	if top := s.prescan(); top != nil {
		return s.build(top)
	}
	return nil
}

// prescan is the build's kustomization with all that it includes scanned; nil
// if there is anything for which it must not be built.
func (s *scan) prescan() *kustomization {
	t := s.tree
	top := s.kustomization(t.build)
	if top == nil || t.found.failed() {
		return nil
	}
	switch {
	case top.visits > maxVisits:
		t.found.at(top.file, 1, ReasonTooManyKustomizations,
			fmt.Sprintf("the build goes through more than %d kustomizations", maxVisits), "include each base once, or split the tree")
	case top.depth > maxDepth:
		t.found.at(top.file, 1, ReasonTooDeep,
			fmt.Sprintf("overlays lie more than %d deep in each other", maxDepth), "make the tree flatter")
	case top.objects > t.objects:
		t.tooManyObjects(top.file, top.objects)
	default:
		return top
	}
	return nil
}

// kustomization scans the one in dir and all that it includes, once. It is nil
// where there is a problem that keeps us from knowing what it says.
func (s *scan) kustomization(dir string) *kustomization {
	if k, known := s.known[dir]; known {
		return k
	}
	s.known[dir] = nil
	k := s.read(dir)
	if k == nil {
		return nil
	}
	s.stack = append(s.stack, dir)
	defer func() { s.stack = s.stack[:len(s.stack)-1] }()
	k.visits, k.depth = 1, 1
	s.refuseFields(k)
	s.resources(k)
	s.components(k)
	s.patches(k)
	s.configs(k)
	s.transformers(k)
	s.generators(k)
	s.out.kustomization(k)
	s.known[dir] = k
	s.order = append(s.order, k)
	return k
}

// read parses the directory's kustomization file.
func (s *scan) read(dir string) *kustomization {
	files := s.kustomizationFiles(dir)
	if len(files) > 1 {
		s.found.at(files[1], 0, ReasonInvalidKustomization,
			fmt.Sprintf("the directory also has %s", path.Base(files[0])), "keep one of the two")
	}
	k := &kustomization{dir: dir, file: files[0]}
	if s.files[k.file].Symlink {
		s.found.at(k.file, 0, ReasonSymlink, "a symbolic link is not followed", "put the file itself here")
		return nil
	}
	before := s.found.count()
	docs := s.documentsOf(k.file)
	if s.found.count() > before {
		return nil
	}
	if len(docs) != 1 || docs[0].root.Kind != yaml.MappingNode {
		s.found.at(k.file, 1, ReasonInvalidKustomization, "a kustomization is one document with one mapping", "")
		return nil
	}
	k.node = docs[0].root
	strict, err := kjson.UnmarshalStrict(appendJSON(nil, k.node), &k.typed)
	for _, e := range strict {
		field := ""
		if fe := kjson.FieldError(nil); errors.As(e, &fe) {
			field = fe.FieldPath()
		}
		s.found.at(k.file, k.line(field), ReasonInvalidKustomization,
			fmt.Sprintf("the field %q does not exist in a kustomization", clip(field)), "check its spelling and indentation; names are in lower and upper case as kustomize's documentation has them")
	}
	if err != nil {
		field, msg := typeMessage(err)
		s.found.at(k.file, k.line(field), ReasonInvalidKustomization, msg, "")
	}
	if len(strict) > 0 || err != nil {
		return nil
	}
	for _, msg := range k.typed.EnforceFields() {
		s.found.at(k.file, 1, ReasonInvalidKustomization, clip(msg), "")
	}
	return k
}

// refuseFields refuses what runs programs, fetches, or changes how kustomize
// reads everybody's objects.
func (s *scan) refuseFields(k *kustomization) {
	for _, f := range []struct{ name, msg, remedy string }{
		{"helmCharts", "Helm charts are not inflated", "render the chart before committing it"},
		{"helmGlobals", "Helm charts are not inflated", "remove it"},
		{"helmChartInflationGenerator", "Helm charts are not inflated", "render the chart before committing it"},
		{"generators", "generator plugins are not run", "use configMapGenerator and secretGenerator, or commit what the generator gives"},
		{"validators", "validator plugins are not run", "remove it"},
		{"openapi", "another OpenAPI schema is not used", "remove it; patches of lists without known keys replace the list"},
	} {
		if n := child(k.node, f.name); n != nil {
			s.found.at(k.file, k.line(f.name), ReasonUnsupportedField, f.name+": "+f.msg, f.remedy)
		}
	}
}

// resources rewrites resources and bases to annotated copies, and counts.
func (s *scan) resources(k *kustomization) {
	rewrite := func(field string, refs []string) []string {
		var out []string
		for i, ref := range refs {
			at := fmt.Sprintf("%s[%d]", field, i)
			target, ok := s.resolve(k, at, ref)
			switch {
			case !ok:
			case target.dir:
				s.include(k, at, target.path)
				out = append(out, ref)
			default:
				name, n := s.out.resource(s.tree, target.path)
				k.objects = add(k.objects, n)
				out = append(out, relative(k.dir, name))
			}
		}
		return out
	}
	k.typed.Resources = rewrite("resources", k.typed.Resources)
	k.typed.Bases = rewrite("bases", k.typed.Bases)
}

func (s *scan) components(k *kustomization) {
	for i, ref := range k.typed.Components {
		at := fmt.Sprintf("components[%d]", i)
		target, ok := s.resolve(k, at, ref)
		switch {
		case !ok:
		case target.dir:
			s.include(k, at, target.path)
		default:
			s.found.at(k.file, k.line(at), ReasonInvalidPath, fmt.Sprintf("%s: %q is a file, and a component is a directory", at, clip(ref)), "")
		}
	}
}

// include scans a base or component and adds its cost to k's.
func (s *scan) include(k *kustomization, at, dir string) {
	for _, open := range s.stack {
		if below(open, dir) {
			s.found.at(k.file, k.line(at), ReasonCycle,
				fmt.Sprintf("%s: the directory %q contains the kustomization in %q, which includes it", at, orDot(dir), orDot(open)),
				"move what both need into a directory beside them")
			return
		}
	}
	if len(s.kustomizationFiles(dir)) == 0 {
		s.found.at(k.file, k.line(at), ReasonNotFound,
			fmt.Sprintf("%s: the directory %q has no kustomization file", at, clip(dir)), "add one, or list the files")
		return
	}
	base := s.kustomization(dir)
	if base == nil {
		return // its problems are told
	}
	k.objects = add(k.objects, base.objects)
	k.visits = add(k.visits, base.visits)
	k.depth = max(k.depth, add(base.depth, 1))
}

func add(a, b int) int { return min(a+b, saturated) }

// target is what a path in a kustomization resolves to.
type target struct {
	path string
	dir  bool
}

// resolve finds what ref means in k. Nothing but a file or directory of the
// tree is right: kustomize would take an address for a download before it looks
// for a file, so that even a file of that name does not make one right.
func (s *scan) resolve(k *kustomization, at, ref string) (target, bool) {
	refuse := func(reason, msg, remedy string) (target, bool) {
		s.found.at(k.file, k.line(at), reason, fmt.Sprintf("%s: %q %s", at, clip(ref), msg), remedy)
		return target{}, false
	}
	switch {
	case ref == "":
		return refuse(ReasonInvalidPath, "is empty", "")
	case looksRemote(ref):
		return refuse(ReasonInvalidPath, "reads like an address, and nothing is fetched", "commit what it names, and use a path")
	case path.IsAbs(ref):
		return refuse(ReasonInvalidPath, "is an absolute path", "use a path relative to the kustomization")
	case strings.ContainsAny(ref, "\\\x00\n\r"):
		return refuse(ReasonInvalidPath, "is not a path", "")
	}
	clean := path.Join(k.dir, ref)
	if clean == "." {
		clean = ""
	}
	if clean == ".." || strings.HasPrefix(clean, "../") || !below(clean, s.root) {
		return refuse(ReasonInvalidPath, "leaves the readable directory", "move the file, or widen repo.path")
	}
	f, isFile := s.files[clean]
	switch {
	case isFile && f.Symlink:
		return refuse(ReasonSymlink, "is a symbolic link, which is not followed", "put the file itself there")
	case isFile && !below(clean, k.dir):
		return refuse(ReasonInvalidPath, "is a file outside the kustomization's own directory", "make its directory a kustomization, and list that")
	case isFile:
		return target{path: clean}, true
	case s.dirs[clean]:
		return target{path: clean, dir: true}, true
	default:
		return refuse(ReasonNotFound, "does not exist", "")
	}
}

// file is resolve where only a file is right.
func (s *scan) file(k *kustomization, at, ref string) (string, bool) {
	t, ok := s.resolve(k, at, ref)
	if ok && t.dir {
		s.found.at(k.file, k.line(at), ReasonInvalidPath, fmt.Sprintf("%s: %q is a directory, and a file is needed", at, clip(ref)), "")
		return "", false
	}
	return t.path, ok
}

// looksRemote reports whether kustomize could take ref for an address: URLs,
// user@host, host:path, and the names it knows without a scheme. It says so of
// some strange but harmless file names as well.
func looksRemote(ref string) bool {
	lower := strings.ToLower(strings.TrimSpace(ref))
	first, _, _ := strings.Cut(lower, "/")
	return strings.ContainsAny(lower, ":?") || strings.Contains(first, "@") || strings.Contains(lower, "//") ||
		strings.HasPrefix(lower, "github.com") || strings.HasPrefix(lower, "git::")
}

// relative is name, which lies below dir, as seen from dir.
func relative(dir, name string) string {
	if dir == "" {
		return name
	}
	return strings.TrimPrefix(name, dir+"/")
}
