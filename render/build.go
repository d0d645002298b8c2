package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// mount is where the tree lies in kustomize's file system.
const mount = "/tree"

// build runs kustomize on what the pre-scan laid out.
func (s *scan) build(top *kustomization) []childObject {
	fsys := filesys.MakeFsInMemory()
	for _, name := range sortedKeys(s.out.files) {
		if err := fsys.WriteFile(path.Join(mount, name), s.out.files[name]); err != nil {
			s.found.add(failure(name, ReasonInvalidPath, "this name cannot be used", "rename the file"))
			return nil
		}
	}
	built, err := run(fsys, top)
	if err != nil {
		s.blame(fsys, top, err)
		return nil
	}
	if n := built.Size(); n > s.objects {
		s.tooManyObjects(top.file, n)
		return nil
	}
	objects := make([]childObject, 0, built.Size())
	for _, r := range built.Resources() {
		o, err := s.finish(top, r)
		if err != nil {
			s.found.at(top.file, 1, ReasonKustomizeFailed, s.clean(err), "")
			return nil
		}
		objects = append(objects, o)
	}
	return objects
}

func run(fsys filesys.FileSystem, k *kustomization) (resmap.ResMap, error) {
	options := krusty.MakeDefaultOptions()
	options.LoadRestrictions = types.LoadRestrictionsRootOnly
	options.PluginConfig = types.DisabledPluginConfig()
	return krusty.MakeKustomizer(options).Run(fsys, path.Join(mount, k.dir))
}

// blame finds the kustomizations that are at fault for a build that failed:
// those that fail by themselves although all that they include does not. So
// there may be several, where kustomize stops at the first.
func (s *scan) blame(fsys filesys.FileSystem, top *kustomization, topErr error) {
	failed := map[string]bool{}
	blamed := false
	for _, k := range s.order {
		if k == top || k.typed.Kind == types.ComponentKind {
			continue
		}
		if s.includesAny(k, failed) {
			failed[k.dir] = true
			continue
		}
		if _, err := run(fsys, k); err != nil {
			failed[k.dir], blamed = true, true
			s.found.at(k.file, 1, ReasonKustomizeFailed, s.clean(err), "")
		}
	}
	if !blamed {
		s.found.at(top.file, 1, ReasonKustomizeFailed, s.clean(topErr), "")
	}
}

// includesAny reports whether k includes one of the directories itself.
func (s *scan) includesAny(k *kustomization, dirs map[string]bool) bool {
	for _, list := range [][]string{k.typed.Resources, k.typed.Bases, k.typed.Components} {
		for _, ref := range list {
			if dirs[path.Join(k.dir, ref)] {
				return true
			}
		}
	}
	return false
}

// finish is an object as it leaves the child: with its origin beside it
// instead of in it.
func (s *scan) finish(top *kustomization, r *resource.Resource) (childObject, error) {
	raw, err := r.MarshalJSON()
	if err != nil {
		return childObject{}, fmt.Errorf("write an object: %w", err)
	}
	var object map[string]any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&object); err != nil {
		return childObject{}, fmt.Errorf("read an object back: %w", err)
	}
	// A patch may have taken the annotations away: then the build is all we know.
	at := place{file: top.file, line: 1}
	delete(object, "status")
	if metadata, ok := object["metadata"].(map[string]any); ok {
		for _, field := range serverFields() {
			delete(metadata, field)
		}
		if annotations, ok := metadata["annotations"].(map[string]any); ok {
			if i, err := strconv.Atoi(fmt.Sprint(annotations[s.out.annotation])); err == nil && i >= 0 && i < len(s.out.origins) {
				at = s.out.origins[i]
			}
			for key := range annotations {
				if strings.HasPrefix(key, reservedPrefix) {
					delete(annotations, key)
				}
			}
			if len(annotations) == 0 {
				delete(metadata, "annotations")
			}
		}
	}
	out, err := json.Marshal(object)
	if err != nil {
		return childObject{}, fmt.Errorf("write an object: %w", err)
	}
	return childObject{JSON: out, Path: at.file, Line: at.line}, nil
}

// maxMessage bounds what of kustomize's errors is told.
const maxMessage = 500

var (
	// body begins where kustomize's errors quote files and settings.
	body = regexp.MustCompile("[{`]|\\\\n")
	// kustomize tries each resource as a file and then as a directory, and tells
	// of both: asFile keeps what went wrong with a file, detour what with a directory.
	asFile = regexp.MustCompile(`(accumulating resources: )?accumulation err='(.*)': must build at directory: .*$`)
	detour = regexp.MustCompile(`(accumulating resources: )?accumulation err='[^']*'*[^']*': `)
	quoted = regexp.MustCompile(`"[^"]*"`)
)

// clean makes kustomize's error fit to be shown: on one line, with the tree's
// own paths, and without the bodies of files, which it likes to quote. With
// generated Secrets about, it quotes nothing at all.
func (s *scan) clean(err error) string {
	msg := err.Error()
	if i := body.FindStringIndex(msg); i != nil {
		msg = strings.TrimRight(msg[:i[0]], " \t\n\"'[(:") + " …"
	}
	msg = asFile.ReplaceAllString(msg, "$2")
	msg = detour.ReplaceAllString(msg, "")
	for _, name := range sortedKeys(s.out.original) {
		msg = strings.ReplaceAll(msg, path.Base(name), path.Base(s.out.original[name]))
	}
	msg = strings.ReplaceAll(msg, mount+"/", "")
	msg = strings.ReplaceAll(msg, mount, ".")
	msg = strings.ReplaceAll(msg, s.out.annotation, "origin")
	for _, k := range s.order {
		if len(k.typed.SecretGenerator) > 0 {
			msg = quoted.ReplaceAllString(msg, `"…"`)
			break
		}
	}
	msg = strings.Join(strings.Fields(msg), " ")
	return strings.ToValidUTF8(msg[:min(len(msg), maxMessage)], "")
}
