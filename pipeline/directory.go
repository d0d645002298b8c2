package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"isoline.dev/isoline/problem"
	"isoline.dev/isoline/render"
)

// directory is a source without git: plain files below a directory.
type directory struct {
	path   string
	limits render.Limits
}

// look reads the directory as it is now.
func (d *directory) look(ctx context.Context) sighting {
	start := time.Now()
	t, err := d.read(ctx)
	return sighting{commit: "", hash: t.hash, at: start, err: err,
		read: func(context.Context) (tree, error) { return t, nil }}
}

// watch looks at the directory at once and whenever something below it
// changes, until ctx ends. It also looks again now and then, for file systems
// that tell of no changes.
func (d *directory) watch(ctx context.Context, seen func(sighting)) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch %s: %w", d.path, err)
	}
	defer w.Close()
	const unasked = 10 * time.Second
	again := time.NewTimer(unasked)
	defer again.Stop()
	for {
		d.follow(w)
		seen(d.look(ctx))
		again.Reset(unasked)
		select {
		case <-ctx.Done():
			return nil
		case <-w.Events:
			drain(w.Events)
		case err := <-w.Errors:
			if err != nil { // events were lost: the look that follows sees all
				continue
			}
		case <-again.C:
		}
	}
}

func drain(events <-chan fsnotify.Event) {
	for {
		select {
		case <-events:
		default:
			return
		}
	}
}

// follow adds the directories that are there now to the watch. One that
// cannot be watched is seen by the look that comes unasked.
func (d *directory) follow(w *fsnotify.Watcher) {
	_ = filepath.WalkDir(d.path, func(name string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			_ = w.Add(name)
		}
		return nil
	})
}

// read takes in every regular file, below the limits. Symbolic links are
// noted and not followed; hidden directories other than .isoline are skipped.
func (d *directory) read(ctx context.Context) (tree, error) {
	t := tree{files: map[string]render.File{}}
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return t, fmt.Errorf("read manifests: %w", err)
	}
	defer root.Close()
	var bytes int64
	err = fs.WalkDir(root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return err
		case e.IsDir():
			if base := path.Base(name); strings.HasPrefix(base, ".") && base != "." && base != ".isoline" {
				return fs.SkipDir
			}
			return nil
		case e.Type()&fs.ModeSymlink != 0:
			t.files[name] = render.File{Symlink: true}
			return nil
		case !e.Type().IsRegular():
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		bytes += info.Size()
		if bytes > d.limits.Bytes || len(t.files) >= d.limits.Files {
			t.problems = append(t.problems, problem.Problem{Severity: problem.Error, Type: "SourceError", Reason: "LimitExceeded",
				Message: fmt.Sprintf("the directory holds more than %d files or %d bytes", d.limits.Files, d.limits.Bytes),
				Remedy:  "name a smaller directory", Origin: problem.Origin{Path: name}})
			return fs.SkipAll
		}
		content, err := root.ReadFile(name)
		if err != nil {
			return err
		}
		t.files[name] = render.File{Content: content}
		return nil
	})
	if err != nil {
		return t, fmt.Errorf("read manifests: %w", err)
	}
	t.hash = hashFiles(t.files)
	return t, nil
}

func hashFiles(files map[string]render.File) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		for _, part := range [][]byte{[]byte(name), files[name].Content} {
			h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
			h.Write(part)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

// lastGood: a directory has no history.
func (d *directory) lastGood(context.Context) (sighting, bool, error) { return sighting{}, false, nil }

func (d *directory) markGood(context.Context, string) error { return nil }
