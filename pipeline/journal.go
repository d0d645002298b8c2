package pipeline

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"isoline.dev/isoline/dag"
)

// journal is Isoline's memory of what it served, in the state directory:
// for every host the last virtual host (whence incumbents and last good
// actions), and the xDS cache's quarantine. It is a file of JSON lines to
// which changes are appended, so that remembering one host costs the same
// however many there are; it is rewritten when most of it is out of date.
//
// A record is in the file before what it tells of is served. A process that
// is killed loses nothing; a line torn by a power cut is ignored, as is
// everything behind it.
//
// It is not safe for concurrent use. A nil journal remembers nothing.
type journal struct {
	path    string
	file    *os.File
	lines   int
	memory  map[string]*dag.VirtualHost
	blocked json.RawMessage
}

// record is one line: exactly one of the fields besides Host is set, or only
// Host, which then is forgotten.
type record struct {
	Host        string           `json:"host,omitempty"`
	VirtualHost *dag.VirtualHost `json:"virtualHost,omitempty"`
	Quarantine  json.RawMessage  `json:"quarantine,omitempty"`
}

// slack is how many superseded lines the journal tolerates beyond as many
// lines as there are hosts.
const slack = 1000

// readJournal reads what an earlier run remembered, without opening the
// file for writing. A file that is not there is an empty memory.
func readJournal(dir string) (*journal, error) {
	j := &journal{path: filepath.Join(dir, "memory.jsonl"), memory: map[string]*dag.VirtualHost{}}
	f, err := os.Open(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the memory of what was served: %w", err)
	}
	defer f.Close()
	in := bufio.NewReader(f)
	for {
		line, err := in.ReadBytes('\n')
		var r record
		if err != nil || json.Unmarshal(line, &r) != nil {
			return j, nil // the end, or a torn line
		}
		j.lines++
		j.remember(r)
	}
}

// openJournal reads the memory and opens it for writing.
func openJournal(dir string) (*journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the state directory: %w", err)
	}
	j, err := readJournal(dir)
	if err != nil {
		return nil, err
	}
	return j, j.rewrite()
}

func (j *journal) remember(r record) {
	switch {
	case r.Quarantine != nil:
		j.blocked = r.Quarantine
	case r.VirtualHost != nil:
		j.memory[r.Host] = r.VirtualHost
	default:
		delete(j.memory, r.Host)
	}
}

// hosts records the virtual hosts that change; nil ones are forgotten.
func (j *journal) hosts(changed map[string]*dag.VirtualHost) error {
	if j == nil {
		return nil
	}
	var rs []record
	for _, host := range slices.Sorted(maps.Keys(changed)) {
		rs = append(rs, record{Host: host, VirtualHost: changed[host]})
	}
	return j.append(rs)
}

// quarantine records what Envoys refused and what is served in its place.
func (j *journal) quarantine(q json.RawMessage) error {
	if j == nil {
		return nil
	}
	return j.append([]record{{Quarantine: q}})
}

func (j *journal) append(rs []record) error {
	if len(rs) == 0 {
		return nil
	}
	for _, r := range rs {
		j.remember(r)
	}
	if j.lines+len(rs) > 2*len(j.memory)+slack {
		return j.rewrite()
	}
	n, err := writeRecords(j.file, rs)
	j.lines += n
	if err != nil {
		return fmt.Errorf("remember what is served: %w", err)
	}
	return nil
}

// rewrite replaces the file by one that has each host once.
func (j *journal) rewrite() error {
	f, err := os.CreateTemp(filepath.Dir(j.path), "memory-*.tmp")
	if err != nil {
		return fmt.Errorf("rewrite the memory of what was served: %w", err)
	}
	rs := make([]record, 0, len(j.memory)+1)
	for _, host := range slices.Sorted(maps.Keys(j.memory)) {
		rs = append(rs, record{Host: host, VirtualHost: j.memory[host]})
	}
	if j.blocked != nil {
		rs = append(rs, record{Quarantine: j.blocked})
	}
	n, err := writeRecords(f, rs)
	if err = errors.Join(err, f.Sync()); err == nil {
		err = os.Rename(f.Name(), j.path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("rewrite the memory of what was served: %w", err), f.Close(), os.Remove(f.Name()))
	}
	err = j.close()
	j.file, j.lines = f, n
	return err
}

func writeRecords(f *os.File, rs []record) (int, error) {
	out := bufio.NewWriter(f)
	enc := json.NewEncoder(out)
	for i, r := range rs {
		if err := enc.Encode(r); err != nil {
			return i, err
		}
	}
	return len(rs), out.Flush()
}

func (j *journal) close() error {
	if j == nil || j.file == nil {
		return nil
	}
	err := j.file.Close()
	j.file = nil
	return err
}

// served is what every host served before; nil where nothing is remembered.
func (j *journal) served() map[string]*dag.VirtualHost {
	if j == nil {
		return nil
	}
	return j.memory
}
