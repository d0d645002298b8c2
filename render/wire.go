package render

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"isoline.dev/isoline/problem"
)

// childRequest is what the child reads: a length of 8 bytes, big endian, that
// many bytes of JSON, then the files' contents one after another.
type childRequest struct {
	Root    string      `json:"root"`  // clean; "" is the tree's root
	Build   string      `json:"build"` // clean, in or equal to Root
	Objects int         `json:"objects"`
	Files   []childFile `json:"files"` // in the order of their paths
}

type childFile struct {
	Path    string `json:"path"`
	Symlink bool   `json:"symlink,omitempty"`
	Size    int    `json:"size"`
	Content []byte `json:"-"`
}

// childResponse is what the child writes after greeting, as JSON.
type childResponse struct {
	Objects  []childObject     `json:"objects"`
	Problems []problem.Problem `json:"problems"`
}

// childObject is one object and the place where its document begins.
type childObject struct {
	JSON json.RawMessage `json:"json"`
	Path string          `json:"path"`
	Line int             `json:"line"`
}

// greeting is the first thing that a child writes. A program that answers
// with anything else does not call RunIfChild.
const greeting = "isoline render 1\n"

// maxHeader bounds the request's JSON part.
const maxHeader = 64 << 20

// reader is the request as bytes, without a copy of the contents.
func (r childRequest) reader() (io.Reader, error) {
	files := make([]childFile, len(r.Files))
	parts := make([]io.Reader, 1, len(r.Files)+1)
	for i, f := range r.Files {
		files[i] = f
		files[i].Size = len(f.Content)
		parts = append(parts, bytes.NewReader(f.Content))
	}
	r.Files = files
	header, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("write the render's request: %w", err)
	}
	if len(header) > maxHeader {
		return nil, errors.New("write the render's request: the file names are too long")
	}
	framed := binary.BigEndian.AppendUint64(nil, uint64(len(header)))
	parts[0] = bytes.NewReader(append(framed, header...))
	return io.MultiReader(parts...), nil
}

// readRequest is the child's side of reader.
func readRequest(in io.Reader) (childRequest, error) {
	var req childRequest
	buffered := bufio.NewReader(in)
	var length [8]byte
	if _, err := io.ReadFull(buffered, length[:]); err != nil {
		return req, fmt.Errorf("read the length: %w", err)
	}
	n := binary.BigEndian.Uint64(length[:])
	if n > maxHeader {
		return req, errors.New("read the header: it is too long")
	}
	header := make([]byte, n)
	if _, err := io.ReadFull(buffered, header); err != nil {
		return req, fmt.Errorf("read the header: %w", err)
	}
	if err := json.Unmarshal(header, &req); err != nil {
		return req, fmt.Errorf("read the header: %w", err)
	}
	for i := range req.Files {
		f := &req.Files[i]
		f.Content = make([]byte, f.Size)
		if _, err := io.ReadFull(buffered, f.Content); err != nil {
			return req, fmt.Errorf("read a file: %w", err)
		}
	}
	return req, nil
}

// readResponse reads what a child wrote. greeted is false where it did not
// even begin as a child does.
func readResponse(out []byte) (resp childResponse, greeted bool, err error) {
	body, greeted := bytes.CutPrefix(out, []byte(greeting))
	if !greeted {
		return resp, false, errors.New("no greeting")
	}
	if err := json.Unmarshal(body, &resp); err != nil {
		return childResponse{}, true, fmt.Errorf("read the render's answer: %w", err)
	}
	return resp, true, nil
}
