package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Error is one thing wrong in the file.
type Error struct {
	File string
	// Line counts from 1; 0 means the file as a whole.
	Line int
	// Field is the path of the key, such as "teams[1].repo.url"; may be empty.
	Field   string
	Message string
}

// Error is "file:line: field: message".
func (e Error) Error() string {
	at := e.File
	if e.Line > 0 {
		at += ":" + strconv.Itoa(e.Line)
	}
	if e.Field != "" {
		at += ": " + e.Field
	}
	return at + ": " + e.Message
}

// Load reads and validates the file and fills in defaults. Relative paths in
// it become relative to the file's directory. The error joins every finding;
// each is an Error.
func Load(file string) (*Config, error) { return LoadOver(Config{}, file) }

// LoadOver is Load with something in place of what the file leaves out.
func LoadOver(base Config, file string) (*Config, error) {
	body, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	c, err := parse(base, file, body)
	if err != nil {
		return nil, err
	}
	c.resolvePaths(filepath.Dir(file))
	return c, nil
}

// Default is the configuration of a run without a file: no teams, and
// everything else as Load would fill it in.
func Default() *Config { return Complete(Config{}) }

// Complete fills in the defaults of a configuration that is in no file.
func Complete(base Config) *Config {
	base.APIVersion, base.Kind = APIVersion, Kind
	base.setDefaults()
	return &base
}

func parse(base Config, file string, body []byte) (*Config, error) {
	c := base
	root, err := Decode(file, body, &c)
	if err != nil {
		return nil, err
	}
	c.setDefaults()
	v := validator{file: file, root: root}
	v.config(&c)
	if len(v.errs) > 0 {
		return nil, joined(v.errs)
	}
	return &c, nil
}

func joined(errs []Error) error {
	all := make([]error, len(errs))
	for i, e := range errs {
		all[i] = e
	}
	return errors.Join(all...)
}

// Decode reads a body of one YAML document strictly: a key that into has no
// field for is an error. The error joins every finding; each is an Error. The
// node is for LineOf.
func Decode(file string, body []byte, into any) (*yaml.Node, error) {
	var root yaml.Node
	if err := yaml.Unmarshal(body, &root); err != nil {
		return nil, fromYAML(file, err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(body))
	dec.KnownFields(true)
	if err := dec.Decode(into); err != nil && !errors.Is(err, io.EOF) {
		return nil, fromYAML(file, err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, Error{File: file, Message: "more than one YAML document; a configuration is one"}
	}
	return &root, nil
}

// fromYAML gives the parser's errors, which name lines in their text, a
// file and a line of their own.
func fromYAML(file string, err error) error {
	texts := []string{err.Error()}
	if te := (*yaml.TypeError)(nil); errors.As(err, &te) {
		texts = te.Errors
	}
	var errs []error
	for _, text := range texts {
		e := Error{File: file, Message: strings.TrimPrefix(text, "yaml: ")}
		if rest, ok := strings.CutPrefix(e.Message, "line "); ok {
			if num, msg, ok := strings.Cut(rest, ": "); ok {
				if n, convErr := strconv.Atoi(num); convErr == nil {
					e.Line, e.Message = n, msg
				}
			}
		}
		if field, _, ok := strings.Cut(e.Message, " not found in type "); ok {
			e.Message = "unknown " + field + "; it is none of the documented keys"
		}
		errs = append(errs, e)
	}
	return errors.Join(errs...)
}

func (c *Config) setDefaults() {
	setDefault(&c.StateDir, ".isoline")
	setDefault(&c.Cluster.Mode, "none")
	c.XDS.Address.setDefault("127.0.0.1", 18000)
	c.Web.setDefault("127.0.0.1", 9080)
	setDefault(&c.XDS.StartDeadline, Duration(30*time.Second))
	setDefault(&c.XDS.WarmGrace, Duration(15*time.Second))
	setDefault(&c.XDS.RemovalDelay, Duration(15*time.Second))
	setDefault(&c.Render.Deadline, Duration(20*time.Second))
	setDefault(&c.Render.Memory, 512<<20)
	c.Listeners.setDefaults()
	c.Routing.setDefaults()
	for i := range c.Teams {
		c.Teams[i].setDefaults()
	}
}

func (t *Team) setDefaults() {
	if t.Repo.Ref == (Ref{}) {
		t.Repo.Ref.Branch = "main"
	}
	if len(t.Kinds) == 0 {
		t.Kinds = slices.Clone(defaultKinds)
	}
	setDefault(&t.Repo.Interval, Duration(time.Minute))
	setDefault(&t.Repo.Timeout, Duration(time.Minute))
	setDefault(&t.Limits.Objects, 1000)
	setDefault(&t.Limits.Files, 2000)
	setDefault(&t.Limits.Bytes, 16<<20)
	if t.Limits.PrunePercent == nil {
		percent := 30
		t.Limits.PrunePercent = &percent
	}
}

func (a *Address) setDefault(ip string, port int) {
	setDefault(&a.Address, ip)
	setDefault(&a.Port, port)
}

func setDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

func (c *Config) resolvePaths(dir string) {
	paths := []*string{&c.StateDir}
	for i := range c.Teams {
		a := &c.Teams[i].Repo.Auth
		paths = append(paths, &a.PasswordFile, &a.TokenFile, &a.CAFile, &a.CertFile,
			&a.KeyFile, &a.IdentityFile, &a.PassphraseFile, &a.KnownHostsFile)
	}
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}
