package render

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"isoline.dev/isoline/problem"
)

// maxNesting bounds how deep values may lie in each other.
const maxNesting = 100

// document is one YAML document that is worth reading: neither empty nor only
// comments, without anchors, aliases, merge keys, tags and repeated keys.
type document struct {
	// root is never nil and refers to no other node than its children.
	// Lines in it count from the file's beginning.
	root *yaml.Node
	line int // of the first content, from 1
}

// findings collects the problems of a tree. Past a bound it only counts.
type findings struct {
	problems []problem.Problem
	left     int // not kept
}

// maxFindings is how many problems of one render are told.
const maxFindings = 300

func (f *findings) add(p problem.Problem) {
	if len(f.problems) >= maxFindings {
		f.left++
		return
	}
	f.problems = append(f.problems, p)
}

// at adds an error at a line of a file.
func (f *findings) at(file string, line int, reason, msg, remedy string) {
	p := failure(file, reason, msg, remedy)
	p.Origin.Line = line
	f.add(p)
}

// count is how many there are, kept or not.
func (f *findings) count() int { return len(f.problems) + f.left }

// failed reports whether there is anything that keeps the tree from being built.
func (f *findings) failed() bool { return f.left > 0 || problem.Errors(f.problems) > 0 }

// all is everything, with a last word on what was left out.
func (f *findings) all() []problem.Problem {
	if f.left > 0 {
		return append(f.problems, failure(f.problems[0].Origin.Path, f.problems[0].Reason,
			fmt.Sprintf("and %d problems more", f.left), ""))
	}
	return f.problems
}

// What checked scalars are tagged with: their Value is text, or it is JSON.
const (
	tagText = "!!str"
	tagJSON = "!!json"
)

// readDocuments reads YAML or JSON that begins after line `before` of a file.
// What is wrong goes to found, one problem for each document and line; the
// documents that are right come back. It reads at most limit documents.
func readDocuments(file string, before int, content []byte, limit int, found *findings) []document {
	var docs []document
	count := 0
	for _, chunk := range split(content) {
		chunk.offset += before
		decoder := yaml.NewDecoder(bytes.NewReader(chunk.text))
		for {
			root, err := nextDocument(decoder)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				line, msg := syntaxError(err, chunk.text)
				found.at(file, chunk.offset+line, ReasonSyntaxError, msg, "correct the YAML, and put text that begins with *, &, @ or a quote in quotes; nothing of this document can be read")
				break // the decoder cannot go on after an error
			}
			if root == nil {
				continue
			}
			if count++; count > limit {
				found.at(file, chunk.offset+root.Line, ReasonTooManyObjects,
					fmt.Sprintf("the file has more than %d documents", limit), "split the tree, or raise limits.objects")
				return docs
			}
			check := nodeCheck{file: file, offset: chunk.offset, found: found, sound: true}
			check.node(root, 0)
			if check.sound {
				docs = append(docs, document{root: root, line: root.Line})
			}
		}
	}
	return docs
}

// nextDocument is the next document's content; nil where it has none. io.EOF
// ends. A panic of the parser is an error of the document like any other.
func nextDocument(decoder *yaml.Decoder) (root *yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			root, err = nil, errors.New("the YAML parser gave up on this document")
		}
	}()
	var node yaml.Node
	if err := decoder.Decode(&node); err != nil {
		return nil, err
	}
	if node.Kind != yaml.DocumentNode || len(node.Content) == 0 {
		return nil, nil
	}
	root = node.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" && root.Value == "" && root.Anchor == "" {
		return nil, nil
	}
	return root, nil
}

// chunk is a part of a file that begins at a document marker.
type chunk struct {
	text   []byte
	offset int // lines before it
}

// split cuts a file at its document markers, so that an error in one document
// does not hide those of the next. A line that begins with "---" can be
// nothing else than a marker, even in quotes and block scalars. Parts without
// content and directives before a marker are left out.
func split(content []byte) []chunk {
	var chunks []chunk
	begin, beginLine, line := 0, 0, 0
	cut := func(end int) {
		if text := content[begin:end]; hasContent(text) {
			chunks = append(chunks, chunk{text: text, offset: beginLine})
		}
		begin, beginLine = end, line
	}
	for pos := 0; pos < len(content); line++ {
		end := len(content)
		if i := bytes.IndexByte(content[pos:], '\n'); i >= 0 {
			end = pos + i + 1
		}
		if isMarker(content[pos:end]) {
			cut(pos)
		}
		pos = end
	}
	cut(len(content))
	return chunks
}

func isMarker(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("---"))
	return ok && (len(rest) == 0 || strings.IndexByte(" \t\r\n", rest[0]) >= 0)
}

// hasContent reports whether any line is more than a comment, a directive, a
// bare marker or blank.
func hasContent(text []byte) bool {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && line[0] != '%' && string(line) != "---" {
			return true
		}
	}
	return false
}

// The parser has no typed errors: that a line is named, from where it counts,
// and which alias is meant stand only in the text. The tests pin these texts.
var (
	lineInError  = regexp.MustCompile(`^line (\d+): (.*)$`)
	unknownAlias = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
	// countedFromZero are the errors of the grammar; those of the characters
	// count lines from 1.
	countedFromZero = regexp.MustCompile(`^(did not find expected (',' or '[]}]'|'-' indicator|<.*>|key|node content)|found (duplicate|incompatible|undefined) .*)$`)
)

// syntaxError takes the parser's error about a text apart.
func syntaxError(err error, text []byte) (line int, msg string) {
	msg, _, _ = strings.Cut(err.Error(), "\n")
	msg = strings.TrimPrefix(msg, "yaml: ")
	if m := lineInError.FindStringSubmatch(msg); m != nil {
		line, _ = strconv.Atoi(m[1])
		msg = m[2]
	}
	if countedFromZero.MatchString(msg) {
		line++
	}
	if m := unknownAlias.FindStringSubmatch(msg); m != nil {
		if i := bytes.Index(text, []byte("*"+m[1])); i >= 0 {
			line = 1 + bytes.Count(text[:i], []byte("\n"))
		}
		msg = fmt.Sprintf("the alias *%s is not supported, and there is no such anchor", m[1])
	}
	// An error at the end of the text belongs to its last line.
	return max(min(line, bytes.Count(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))+1), 1), clip(msg)
}

// nodeCheck walks one document and refuses what makes it other than a plain
// tree of mappings, lists and values.
type nodeCheck struct {
	file   string
	offset int
	found  *findings
	sound  bool
}

func (c *nodeCheck) refuse(n *yaml.Node, reason, msg, remedy string) {
	c.sound = false
	c.found.at(c.file, n.Line, reason, msg, remedy)
}

func (c *nodeCheck) node(n *yaml.Node, depth int) {
	n.Line += c.offset
	if depth > maxNesting {
		c.refuse(n, ReasonTooDeep, fmt.Sprintf("values lie more than %d deep in each other", maxNesting), "")
		return
	}
	if n.Anchor != "" {
		c.refuse(n, ReasonUnsupportedYAML, fmt.Sprintf("the anchor &%s is not supported", clip(n.Anchor)),
			"write the value out where it is used")
	}
	if n.Kind == yaml.AliasNode {
		c.refuse(n, ReasonUnsupportedYAML, fmt.Sprintf("the alias *%s is not supported", clip(n.Value)),
			"write the value out, or put it in quotes if it is meant as text")
		return
	}
	if n.Style&yaml.TaggedStyle != 0 && n.Tag != "!!str" && n.Tag != "!!map" && n.Tag != "!!seq" {
		c.refuse(n, ReasonUnsupportedYAML, fmt.Sprintf("the tag %s is not supported", clip(n.Tag)), "leave it out")
		return
	}
	switch n.Kind {
	case yaml.MappingNode:
		c.mapping(n, depth)
	case yaml.SequenceNode:
		for _, item := range n.Content {
			c.node(item, depth+1)
		}
	case yaml.ScalarNode:
		if v, err := scalar(n); err != nil {
			c.refuse(n, ReasonUnsupportedYAML, err.Error(), "put it in quotes if it is meant as text")
		} else {
			c.rewrite(n, v)
		}
	}
}

func (c *nodeCheck) mapping(n *yaml.Node, depth int) {
	first := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		key.Line += c.offset
		if name, ok := c.key(key); ok {
			if line, twice := first[name]; twice {
				c.refuse(key, ReasonDuplicateKey, fmt.Sprintf("the key %q stands there twice, first in line %d", clip(name), line),
					"remove one of the two")
			} else {
				first[name] = key.Line
			}
			key.Value, key.Tag = name, tagText
		}
		c.node(value, depth+1)
	}
}

// key is the text of a mapping's key.
func (c *nodeCheck) key(n *yaml.Node) (string, bool) {
	switch {
	case n.Kind != yaml.ScalarNode:
		c.refuse(n, ReasonUnsupportedYAML, "a key is not plain text", "")
	case n.Anchor != "":
		c.refuse(n, ReasonUnsupportedYAML, fmt.Sprintf("the anchor &%s is not supported", clip(n.Anchor)), "leave it out")
	case n.Style&yaml.TaggedStyle != 0 && n.Tag != "!!str":
		c.refuse(n, ReasonUnsupportedYAML, fmt.Sprintf("the tag %s is not supported", clip(n.Tag)), "leave it out")
	case n.Tag == "!!merge":
		c.refuse(n, ReasonUnsupportedYAML, "the merge key << is not supported", "write the values out")
	default:
		v, err := scalar(n)
		if err == nil && v.json == "null" {
			err = errors.New("a key is empty")
		}
		if err != nil {
			c.refuse(n, ReasonUnsupportedYAML, err.Error(), "put the key in quotes")
			return "", false
		}
		return v.text, true
	}
	return "", false
}

// rewrite makes the node say in plain JSON terms what it means, so that nobody
// after us reads it in another way.
func (c *nodeCheck) rewrite(n *yaml.Node, v value) {
	if v.isText {
		n.Tag = tagText
		return
	}
	n.Value, n.Tag = v.json, tagJSON
}
