package repo

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1" // the format's own checksum
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// A pack is somebody else's: it is written to a temporary file, looked
// through for what would take too much memory, and only then indexed and
// added. See gitformat-pack(5) for the format.

const (
	// maxObjects bounds the number of objects in one pack.
	maxObjects = 1_000_000
	// inflation bounds the sum of all objects' sizes, as a multiple of the
	// bound of the pack itself.
	inflation = 16
)

// packError says why a pack is not taken; limit that it is for its size.
type packError struct {
	limit bool
	err   error
}

func (e *packError) Error() string { return e.err.Error() }
func (e *packError) Unwrap() error { return e.err }

func badPack(err error) error { return &packError{err: err} }

func packLimit(format string, args ...any) error {
	return &packError{limit: true, err: fmt.Errorf(format, args...)}
}

// tempFile is a file that goes away unless it is kept.
type tempFile struct {
	*os.File
	kept bool
}

// tempPack makes a file for a pack beside the packs and not among them:
// go-git takes a file that vanishes while it lists packs for there being none.
func (s store) tempPack() (*tempFile, error) {
	if err := os.MkdirAll(filepath.Join(s.dir, "objects", "pack"), 0o700); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(s.dir, "tmp_pack_")
	if err != nil {
		return nil, err
	}
	return &tempFile{File: f}, nil
}

func (f *tempFile) discard() {
	_ = f.Close() // a second close, or of a file that goes away
	if !f.kept {
		_ = os.Remove(f.Name()) // tidy removes it at the next start
	}
}

// addPack checks the pack in f, indexes it and adds it to the store. It
// returns the pack's name as packs does.
func (s store) addPack(ctx context.Context, f *tempFile, opts Options) (string, error) {
	if err := inspectPack(ctx, f, opts); err != nil {
		return "", err
	}
	index, checksum, err := indexPack(f)
	if err != nil {
		return "", badPack(err)
	}
	name := filepath.Join(s.dir, "objects", "pack", "pack-"+checksum.String())
	if _, err := os.Lstat(name + ".pack"); err == nil {
		return name, nil // what it would replace is the same
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	// The index first: a pack without one is an error to its readers, an
	// index without a pack is nothing.
	if err := os.WriteFile(name+".idx", index, 0o600); err != nil {
		return "", err
	}
	if err := f.Close(); err != nil {
		return "", err
	}
	if err := os.Rename(f.Name(), name+".pack"); err != nil {
		return "", err
	}
	f.kept = true
	return name, nil
}

// indexPack makes the index of a pack that inspectPack has passed.
func indexPack(f *tempFile) ([]byte, plumbing.Hash, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, plumbing.ZeroHash, err
	}
	w := new(idxfile.Writer)
	parser, err := packfile.NewParser(packfile.NewScanner(f), w)
	if err != nil {
		return nil, plumbing.ZeroHash, err
	}
	checksum, err := parser.Parse()
	if err != nil {
		return nil, plumbing.ZeroHash, err
	}
	index, err := w.Index()
	if err != nil {
		return nil, plumbing.ZeroHash, err
	}
	var b bytes.Buffer
	if _, err := idxfile.NewEncoder(&b).Encode(index); err != nil {
		return nil, plumbing.ZeroHash, err
	}
	return b.Bytes(), checksum, nil
}

// inspectPack reads a pack once without keeping anything, and refuses one
// that could not be indexed within bounds: go-git takes the number of objects
// and their sizes on trust.
func inspectPack(ctx context.Context, f *tempFile, opts Options) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	scanner := packfile.NewScanner(f)
	_, count, err := scanner.Header()
	if err != nil {
		return badPack(err)
	}
	if count > maxObjects {
		return packLimit("it has %d objects, and %d are allowed", count, maxObjects)
	}
	var total int64
	for range count {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := scanner.NextObjectHeader()
		if err != nil {
			return badPack(err)
		}
		if h.Length > opts.MaxObjectBytes {
			return packLimit("it has a file of %d bytes, and %d are allowed", h.Length, opts.MaxObjectBytes)
		}
		start := &prefix{}
		if _, _, err := scanner.NextObject(start); err != nil {
			return badPack(err)
		}
		size := h.Length
		if h.Type.IsDelta() {
			if size, err = deltaTarget(start.kept); err != nil {
				return badPack(err)
			}
			if size > opts.MaxObjectBytes {
				return packLimit("it has a file of %d bytes, and %d are allowed", size, opts.MaxObjectBytes)
			}
		}
		if total += size; total > inflation*opts.MaxPackBytes {
			return packLimit("its files have more than %d bytes together", inflation*opts.MaxPackBytes)
		}
	}
	return nil
}

// prefix keeps the first bytes that are written to it.
type prefix struct{ kept []byte }

func (p *prefix) Write(b []byte) (int, error) {
	if room := 2*binary.MaxVarintLen64 - len(p.kept); room > 0 {
		p.kept = append(p.kept, b[:min(room, len(b))]...)
	}
	return len(b), nil
}

var errDelta = errors.New("a delta has no valid header")

// deltaTarget is the size of what a delta makes: the second of the two
// numbers that it begins with.
func deltaTarget(start []byte) (int64, error) {
	_, n := binary.Uvarint(start)
	if n <= 0 {
		return 0, errDelta
	}
	size, m := binary.Uvarint(start[n:])
	if m <= 0 || size > 1<<62 {
		return 0, errDelta
	}
	return int64(size), nil
}

// writePack writes a pack of whole objects, one in memory at a time.
func writePack(ctx context.Context, w io.Writer, o *objects, list []plumbing.Hash, most int64) error {
	sum := sha1.New() // the format's own checksum
	out := io.MultiWriter(w, sum)
	head := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), uint32(len(list)))
	if _, err := out.Write(head); err != nil {
		return err
	}
	z := zlib.NewWriter(out)
	for _, h := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		t, content, err := o.readAny(h, most)
		if err != nil {
			return err
		}
		if _, err := out.Write(entryHead(t, len(content))); err != nil {
			return err
		}
		z.Reset(out)
		if _, err := z.Write(content); err != nil {
			return err
		}
		if err := z.Close(); err != nil {
			return err
		}
	}
	_, err := w.Write(sum.Sum(nil))
	return err
}

// entryHead is the type and size that an entry begins with: four bits of the
// size with the type, then seven a byte.
func entryHead(t plumbing.ObjectType, size int) []byte {
	b := []byte{byte(t)<<4 | byte(size&0x0f)}
	for size >>= 4; size > 0; size >>= 7 {
		b[len(b)-1] |= 0x80
		b = append(b, byte(size&0x7f))
	}
	return b
}

// contentOf reads an object of the size that its header promises.
func contentOf(e plumbing.EncodedObject, size int64) (content []byte, err error) {
	in, err := e.Reader()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	content = make([]byte, size)
	if _, err := io.ReadFull(in, content); err != nil {
		return nil, errObjectCorrupt
	}
	if n, _ := in.Read(make([]byte, 1)); n > 0 {
		return nil, errObjectCorrupt
	}
	return content, nil
}
