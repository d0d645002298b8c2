// Package render turns a tree of files into objects with their origin.
//
// A tree is somebody else's text: whoever can push to a team's repository
// wrote it. So it is read by a short-lived child process that has no network,
// no files, no other programs, little memory and little time (see RunIfChild);
// this process hands it a map of files and takes back JSON. In the child a
// pre-scan refuses what could reach outside the tree or grow beyond bounds,
// and only then is the tree built with kustomize.
//
// The package does not know where trees come from, what a team may own, or
// what an object means. It reads no file and keeps no state but the number of
// children at work.
package render

import (
	"context"
	"fmt"
	"path"
	"runtime"
	"slices"
	"strings"
	"time"

	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

// File is one file of a tree.
type File struct {
	Content []byte
	// Symlink: the file is a symbolic link and Content is its target. It is
	// never followed.
	Symlink bool
}

// Source is what one render reads. The Renderer does not change it.
type Source struct {
	// Repository and Commit go into every origin. Both are empty for a plain directory.
	Repository, Commit string
	// Files by their path relative to the repository's root, or to the plain
	// directory, with forward slashes.
	Files map[string]File
	// Root is the readable root: files outside it do not exist for the build.
	// Empty is everything. Build is the directory below Root that is built;
	// empty is Root itself.
	Root, Build string
	// Team goes into every object and problem; empty without teams.
	Team string
	// DefaultNamespace is for objects that name none; see manifest.Decode.
	DefaultNamespace string
	Limits           Limits
}

// Limits bound one render. Zero fields mean the default.
type Limits struct {
	// Files and Bytes bound what lies below Root. Defaults: 2000 and 16 MiB.
	Files int
	Bytes int64
	// Objects bounds the result. Default: 1000.
	Objects int
	// Deadline is the wall time after which the child is killed. Default: 20s.
	Deadline time.Duration
	// Memory is the number of bytes of its own memory at which it is killed.
	// Default: 512 MiB.
	Memory int64
}

func (l Limits) withDefaults() Limits {
	setDefault(&l.Files, 2000)
	setDefault(&l.Bytes, 16<<20)
	setDefault(&l.Objects, 1000)
	setDefault(&l.Deadline, 20*time.Second)
	setDefault(&l.Memory, 512<<20)
	return l
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

// Other is an object of a kind that Isoline does not read.
type Other struct {
	APIVersion string
	// Key as written; no default namespace is filled in.
	Key    manifest.Key
	Origin problem.Origin
}

// Result is what a tree says. Where a problem of severity error concerns the
// build as a whole (its Object is zero), Objects and Others hold only what
// could still be read, and a caller that wants all or nothing takes nothing.
type Result struct {
	// Objects in the order of their keys, each key once.
	Objects []*manifest.Object
	// Others in the order of their origins.
	Others   []Other
	Problems []problem.Problem
	// Diagnostic is what a child that crashed wrote on its standard error, cut
	// short. It is for the log of whoever runs Isoline, not for the tree's
	// author: it may hold pieces of files.
	Diagnostic string
}

// TypeRenderError is the type of every problem that render itself finds; those
// of single objects are Decode's. The reasons are part of the contract with
// people's scripts.
const (
	TypeRenderError = "RenderError"

	ReasonSyntaxError           = "SyntaxError"           // no YAML or JSON
	ReasonNotAnObject           = "NotAnObject"           // a document that is no Kubernetes object
	ReasonDuplicateKey          = "DuplicateKey"          // a mapping has a key twice
	ReasonUnsupportedYAML       = "UnsupportedYAML"       // anchors, aliases, merge keys, tags
	ReasonInvalidPath           = "InvalidPath"           // a name that is no path inside the tree, or leaves it
	ReasonNotFound              = "NotFound"              // a path that is not in the tree
	ReasonSymlink               = "Symlink"               // a symbolic link where a file is needed
	ReasonUnsupportedField      = "UnsupportedField"      // helm, plugins, openapi
	ReasonInvalidKustomization  = "InvalidKustomization"  // the kustomization file itself is wrong
	ReasonCycle                 = "Cycle"                 // kustomizations that include each other
	ReasonKustomizeFailed       = "KustomizeFailed"       // kustomize's own error
	ReasonKustomizationNotBuilt = "KustomizationNotBuilt" // below a directory that has none itself
	ReasonReservedAnnotation    = "ReservedAnnotation"    // a manifest uses our own annotation
	ReasonDuplicateObject       = "DuplicateObject"       // kind, namespace and name twice
	ReasonTooManyFiles          = "TooManyFiles"
	ReasonTooManyBytes          = "TooManyBytes"
	ReasonTooManyObjects        = "TooManyObjects"
	ReasonTooManyKustomizations = "TooManyKustomizations"
	ReasonTooDeep               = "TooDeep"          // overlays, lists or values nested too deep
	ReasonDeadlineExceeded      = "DeadlineExceeded" // the child was killed for its time
	ReasonMemoryExceeded        = "MemoryExceeded"   // for its memory
	ReasonOutputTooLarge        = "OutputTooLarge"   // for the size of what it wrote
	ReasonCrashed               = "Crashed"          // the child died by itself
)

// Renderer renders trees, each in a child process, a bounded number at once.
// It is safe for concurrent use.
type Renderer struct {
	slots chan struct{}
	arg   string // makes the program a child; tests have others
}

// New makes a Renderer that runs at most GOMAXPROCS children at once. The
// program's main function must call RunIfChild before anything else, and so
// must the TestMain of a test that renders.
func New() *Renderer {
	return &Renderer{slots: make(chan struct{}, runtime.GOMAXPROCS(0)), arg: childArg}
}

// Render renders one tree. What is wrong with the tree, including that its
// render was killed or crashed, is in the result's problems; an error means
// that ctx ended, or that no child could be run at all.
func (r *Renderer) Render(ctx context.Context, src Source) (Result, error) {
	src.Limits = src.Limits.withDefaults()
	req, problems := request(src)
	if problem.Errors(problems) > 0 {
		return Result{Problems: src.own(problems)}, nil
	}
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return Result{}, fmt.Errorf("wait to render %s: %w", src.name(), context.Cause(ctx))
	}
	out, err := runChild(ctx, r.arg, req, src.Limits)
	if err != nil {
		return Result{}, fmt.Errorf("render %s: %w", src.name(), err)
	}
	result := src.decode(out.response)
	result.Diagnostic = out.diagnostic
	result.Problems = problem.Sort(src.own(append(append(problems, out.response.Problems...), result.Problems...)))
	return result, nil
}

// request selects the files below the root and checks what can be checked
// without reading any.
func request(src Source) (childRequest, []problem.Problem) {
	req := childRequest{Objects: src.Limits.Objects}
	var problems []problem.Problem
	for _, dir := range []*string{&src.Root, &src.Build} {
		clean, ok := cleanDir(*dir)
		if !ok {
			return req, append(problems, failure(*dir, ReasonInvalidPath,
				"this is not a directory inside the repository", "correct repo.path and repo.build in Isoline's configuration"))
		}
		*dir = clean
	}
	req.Root, req.Build = src.Root, path.Join(src.Root, src.Build)
	var bytes int64
	for _, name := range sortedKeys(src.Files) {
		if !below(name, src.Root) {
			continue
		}
		if !validPath(name) {
			problems = append(problems, problem.Problem{Severity: problem.Warning, Type: TypeRenderError,
				Reason: ReasonInvalidPath, Message: fmt.Sprintf("the file's name %q cannot be used, and the file is not read", clip(name)),
				Remedy: "rename it"})
			continue
		}
		f := src.Files[name]
		req.Files = append(req.Files, childFile{Path: name, Symlink: f.Symlink, Content: f.Content})
		bytes += int64(len(f.Content))
	}
	where := src.Root
	if n := len(req.Files); n > src.Limits.Files {
		problems = append(problems, failure(where, ReasonTooManyFiles,
			fmt.Sprintf("there are %d files, and %d are allowed", n, src.Limits.Files),
			"move other files out of the readable directory, narrow repo.path, or raise limits.files"))
	}
	if bytes > src.Limits.Bytes {
		problems = append(problems, failure(where, ReasonTooManyBytes,
			fmt.Sprintf("the files have %d bytes, and %d are allowed", bytes, src.Limits.Bytes),
			"move other files out of the readable directory, narrow repo.path, or raise limits.bytes"))
	}
	return req, problems
}

// decode makes typed objects of the child's.
func (s Source) decode(resp childResponse) Result {
	var result Result
	seen := map[manifest.Identity]problem.Origin{}
	for _, o := range resp.Objects {
		origin := problem.Origin{Repository: s.Repository, Commit: s.Commit, Path: o.Path, Line: o.Line}
		id, err := manifest.Identify(o.JSON)
		if err != nil {
			// The child emits mappings only.
			result.Problems = append(result.Problems, failure(o.Path, ReasonCrashed, "the render gave something that is no object", ""))
			continue
		}
		obj, problems := manifest.Decode(o.JSON, s.Team, origin, s.DefaultNamespace)
		result.Problems = append(result.Problems, problems...)
		if obj != nil {
			id.Key = obj.Key
		}
		if first, twice := seen[id]; twice {
			result.Problems = append(result.Problems, duplicate(id.Key, origin, first))
			continue
		}
		seen[id] = origin
		switch {
		case obj != nil:
			result.Objects = append(result.Objects, obj)
		case len(problems) == 0:
			result.Others = append(result.Others, Other{APIVersion: id.APIVersion, Key: id.Key, Origin: origin})
		}
	}
	slices.SortFunc(result.Objects, func(a, b *manifest.Object) int { return a.Key.Compare(b.Key) })
	return result
}

func duplicate(key manifest.Key, second, first problem.Origin) problem.Problem {
	return problem.Problem{
		Severity: problem.Error, Type: TypeRenderError, Reason: ReasonDuplicateObject,
		Message: "the object is there twice, and this one is not used",
		Remedy:  "remove or rename one of the two",
		Object:  key.Ref(), Origin: second,
		Related: []problem.Related{{Object: key.Ref(), Origin: first}},
	}
}

// own fills in what the child does not know: where the tree comes from.
func (s Source) own(problems []problem.Problem) []problem.Problem {
	for i := range problems {
		p := &problems[i]
		p.Team, p.Origin.Repository, p.Origin.Commit = s.Team, s.Repository, s.Commit
		for j := range p.Related {
			p.Related[j].Origin.Repository, p.Related[j].Origin.Commit = s.Repository, s.Commit
		}
	}
	return problem.Sort(problems)
}

// name is how errors call the tree.
func (s Source) name() string {
	switch {
	case s.Team != "":
		return "team " + s.Team
	case s.Repository != "":
		return s.Repository
	default:
		return "the directory"
	}
}

// failure is an error about a file or directory of the tree.
func failure(at, reason, msg, remedy string) problem.Problem {
	return problem.Problem{Severity: problem.Error, Type: TypeRenderError, Reason: reason,
		Message: msg, Remedy: remedy, Origin: problem.Origin{Path: at}}
}

// cleanDir is a directory's path relative to the tree's root, "" for the root
// itself; false if it is absolute or leaves the tree.
func cleanDir(dir string) (string, bool) {
	if dir == "" {
		return "", true
	}
	dir = path.Clean(dir)
	if dir == "." {
		return "", true
	}
	return dir, validPath(dir)
}

// below reports whether name is dir or lies in it. The empty dir holds all.
func below(name, dir string) bool {
	return dir == "" || name == dir || strings.HasPrefix(name, dir+"/")
}
