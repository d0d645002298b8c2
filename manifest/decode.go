package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"isoline.dev/isoline/problem"
)

// TypeSpecError is the type of every problem that Decode finds. The reasons
// are part of the contract with people's scripts.
const (
	TypeSpecError = "SpecError"

	ReasonNotAnObject        = "NotAnObject"        // no JSON or YAML mapping, or no kind
	ReasonUnsupportedVersion = "UnsupportedVersion" // a kind of ours in a version that is not read
	ReasonUnknownKind        = "UnknownKind"        // a kind that is not there, where one of ours is meant
	ReasonUnknownField       = "UnknownField"
	ReasonDuplicateField     = "DuplicateField"
	ReasonInvalidField       = "InvalidField" // a value of the wrong type
	ReasonInvalidName        = "InvalidName"
	ReasonInvalidNamespace   = "InvalidNamespace"
)

// DefaultNamespace is where an object goes that names no namespace, if nothing
// else is said.
const DefaultNamespace = "default"

// Identity is what an object says of itself, whatever its kind.
type Identity struct {
	APIVersion string `json:"apiVersion"`
	// Key is as written: no default namespace is filled in.
	Key Key `json:"key"`
}

// Identify reads the apiVersion, kind, namespace and name of one object,
// which is JSON or YAML. It judges none of them; fields that are absent or are
// no strings come out empty.
func Identify(raw []byte) (Identity, error) {
	j, err := toJSON(raw)
	if err != nil {
		return Identity{}, err
	}
	var head struct {
		APIVersion any `json:"apiVersion"`
		Kind       any `json:"kind"`
		Metadata   any `json:"metadata"`
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(j, &head); err != nil {
		return Identity{}, errors.New("it is not a mapping of fields to values")
	}
	id := Identity{APIVersion: text(head.APIVersion), Key: Key{Kind: text(head.Kind)}}
	if meta, ok := head.Metadata.(map[string]any); ok {
		id.Key.Namespace, id.Key.Name = text(meta["namespace"]), text(meta["name"])
	}
	return id, nil
}

func text(v any) string { s, _ := v.(string); return s }

// Decode reads one object, JSON or YAML, that came from origin in team's
// repository. Objects without a namespace get defaultNamespace, or
// DefaultNamespace where that is empty; cluster-scoped kinds get none.
//
// It is strict: a field that the kind does not have is a warning, and the
// object is used without it; a value of the wrong type is an error, and there
// is no object. The object is nil exactly where there is an error, or where
// the kind is not one that Isoline reads; in that last case there is no
// problem either, and Identify tells what it was.
//
// What only an API server may say (status, managedFields, resourceVersion,
// generation) is dropped, except for the creation time.
func Decode(raw []byte, team string, origin problem.Origin, defaultNamespace string) (*Object, []problem.Problem) {
	d := decoding{team: team, origin: origin}
	j, err := toJSON(raw)
	if err != nil {
		return nil, d.fail(ReasonNotAnObject, "", "this cannot be read: "+err.Error(), "")
	}
	id, err := Identify(j)
	if err != nil {
		return nil, d.fail(ReasonNotAnObject, "", "this is not a Kubernetes object: "+err.Error(), "")
	}
	d.object = id.Key.Ref()
	if id.Key.Kind == "" {
		return nil, d.fail(ReasonNotAnObject, "kind", "the object has no kind", "say apiVersion and kind")
	}
	switch kind, remedy := supportOf(id.APIVersion, id.Key.Kind); kind {
	case otherKind:
		return nil, nil
	case wrongVersion:
		msg := fmt.Sprintf("%s in version %q is not read", id.Key.Kind, clip(id.APIVersion))
		if id.APIVersion == "" {
			msg = "the object has no apiVersion"
		}
		return nil, d.fail(ReasonUnsupportedVersion, "apiVersion", msg, remedy)
	case wrongKind:
		msg := fmt.Sprintf("there is no kind %q in %s", clip(id.Key.Kind), clip(id.APIVersion))
		return nil, d.fail(ReasonUnknownKind, "kind", msg, remedy)
	}
	if defaultNamespace == "" {
		defaultNamespace = DefaultNamespace
	}
	return d.decode(j, id.Key, defaultNamespace)
}

// decoding collects the problems of one object.
type decoding struct {
	team     string
	origin   problem.Origin
	object   problem.Object
	problems []problem.Problem
}

// decode reads j, which says that it is of a kind that specOf knows.
func (d *decoding) decode(j []byte, key Key, defaultNamespace string) (*Object, []problem.Problem) {
	s, _ := specOf(key.Kind)
	switch {
	case s.clusterScoped:
		d.object.Namespace = ""
	case key.Namespace == "":
		d.object.Namespace = defaultNamespace
	}
	v := s.empty()
	strict, err := kjson.UnmarshalStrict(j, v)
	if len(strict) > 0 {
		// The decoder tells the two apart only in its text: ask for one alone.
		duplicates, _ := kjson.UnmarshalStrict(j, s.empty(), kjson.DisallowDuplicateFields)
		d.strictProblems(strict, duplicates)
	}
	if err != nil {
		field, msg := typeProblem(j, key.Kind, err)
		d.fail(ReasonInvalidField, field, msg, "")
	} else if filled := withDefaults(key.Kind, j); filled != nil {
		v = s.empty()
		err = kjson.UnmarshalCaseSensitivePreserveInts(filled, v)
	}
	switch {
	case s.clusterScoped:
		v.SetNamespace("")
	case v.GetNamespace() == "":
		v.SetNamespace(defaultNamespace)
	}
	if err == nil { // otherwise the decoder may not have come to the name
		d.checkName(v.GetName())
		d.checkNamespace(v.GetNamespace())
	}
	if problem.Errors(d.problems) > 0 {
		return nil, problem.Sort(d.problems)
	}
	foldStringData(v)
	dropServerFields(v)
	digest, err := digestOf(v)
	if err != nil {
		return nil, d.fail(ReasonInvalidField, "", "the object cannot be written back: "+err.Error(), "")
	}
	return &Object{
		Key:    Key{Kind: key.Kind, Namespace: v.GetNamespace(), Name: v.GetName()},
		Team:   d.team,
		Origin: d.origin,
		Value:  v,
		Digest: digest,
	}, problem.Sort(d.problems)
}

func (d *decoding) add(severity problem.Severity, reason, field, msg, remedy string) {
	d.problems = append(d.problems, problem.Problem{
		Severity: severity,
		Type:     TypeSpecError,
		Reason:   reason,
		Message:  msg,
		Remedy:   remedy,
		Object:   d.object,
		Field:    field,
		Origin:   d.origin,
		Team:     d.team,
	})
}

// fail adds an error and returns all that was found.
func (d *decoding) fail(reason, field, msg, remedy string) []problem.Problem {
	d.add(problem.Error, reason, field, msg, remedy)
	return problem.Sort(d.problems)
}

// strictProblems turns what the strict decoder found into warnings: paths of
// fields that do not exist, and of those that stand there twice.
func (d *decoding) strictProblems(all, duplicates []error) {
	twice := make(map[string]bool, len(duplicates))
	for _, err := range duplicates {
		twice[fieldPath(err)] = true
	}
	for _, err := range all {
		path := fieldPath(err)
		if path == "status" || strings.HasPrefix(path, "status.") {
			continue // dropped in any case
		}
		if twice[path] {
			d.add(problem.Warning, ReasonDuplicateField, clip(path),
				"this field stands there twice", "remove one; the last one counts")
			continue
		}
		d.add(problem.Warning, ReasonUnknownField, clip(path),
			"this field does not exist in "+d.object.Kind,
			"check its spelling and indentation; it has no effect as it is")
	}
}

// fieldPath is the path that the strict decoder's error is about.
func fieldPath(err error) string {
	var fe kjson.FieldError
	if errors.As(err, &fe) {
		return fe.FieldPath()
	}
	return ""
}

func (d *decoding) checkName(name string) {
	if name == "" {
		d.add(problem.Error, ReasonInvalidName, "metadata.name", "the object has no name", "")
		return
	}
	if msgs := validation.IsDNS1123Subdomain(name); len(msgs) > 0 {
		d.add(problem.Error, ReasonInvalidName, "metadata.name",
			fmt.Sprintf("%q is not a name", clip(name)),
			"use lower-case letters, digits, '-' and '.', beginning and ending with a letter or digit, at most 253 of them")
	}
}

func (d *decoding) checkNamespace(namespace string) {
	if namespace == "" {
		return
	}
	if msgs := validation.IsDNS1123Label(namespace); len(msgs) > 0 {
		d.add(problem.Error, ReasonInvalidNamespace, "metadata.namespace",
			fmt.Sprintf("%q is not a namespace's name", clip(namespace)),
			"use lower-case letters, digits and '-', beginning and ending with a letter or digit, at most 63 of them")
	}
}

// foldStringData moves a Secret's stringData into data, as the API server does.
func foldStringData(v Value) {
	secret, ok := v.(*corev1.Secret)
	if !ok || len(secret.StringData) == 0 {
		return
	}
	if secret.Data == nil {
		secret.Data = make(map[string][]byte, len(secret.StringData))
	}
	for k, s := range secret.StringData {
		secret.Data[k] = []byte(s)
	}
	secret.StringData = nil
}

// digestOf is a hash of the value's JSON, whose keys are in a fixed order.
func digestOf(v Value) (string, error) {
	j, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("marshal the object: %w", err)
	}
	sum := sha256.Sum256(j)
	return hex.EncodeToString(sum[:16]), nil
}

// toJSON is raw itself if it is JSON, else what it says as YAML. YAML's error
// is shortened, and is the only part of raw that may be seen by people.
func toJSON(raw []byte) ([]byte, error) {
	if json.Valid(raw) {
		return raw, nil
	}
	j, err := yaml.YAMLToJSONStrict(raw)
	if err != nil {
		return nil, errors.New(clip(firstLine(err.Error())))
	}
	return j, nil
}

// typeProblem says which field of j has which wrong type. It never repeats
// the value, which may be a secret.
func typeProblem(j []byte, kind string, err error) (field, msg string) {
	var te *json.UnmarshalTypeError
	if !errors.As(err, &te) {
		if kind == Secret {
			return "", "a value is malformed; a Secret's data is base64, its stringData plain text"
		}
		return "", clip(firstLine(err.Error()))
	}
	found, _, _ := strings.Cut(te.Value, " ")
	msg = "expected " + typeWords(te.Type)
	switch {
	case found == "number" && isNumber(te.Type):
		msg += ", found a number out of its range"
	case found != "":
		msg += ", found " + foundWords(found)
	}
	return fieldAt(j, te), msg
}

func foundWords(jsonType string) string {
	switch jsonType {
	case "array":
		return "a list"
	case "object":
		return "a mapping"
	case "bool":
		return "true or false"
	default:
		return "a " + jsonType
	}
}

func isNumber(t reflect.Type) bool {
	return t != nil && t.Kind() >= reflect.Int && t.Kind() <= reflect.Float64
}

// typeWords names a Go type as somebody who writes YAML would.
func typeWords(t reflect.Type) string {
	if t == nil {
		return "something else"
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "a mapping"
	case reflect.Pointer:
		return typeWords(t.Elem())
	default:
		return "something else"
	}
}

// fieldAt is the path, with list positions, of the value that te is about. The
// error has the path without positions and the place in the text; where the
// two do not agree (a type with a decoder of its own counts its places from
// its own start), the path without positions is all that is known.
func fieldAt(j []byte, te *json.UnmarshalTypeError) string {
	path, plain := pathAt(j, te.Offset)
	if path == "" || plain != te.Field {
		return te.Field
	}
	return path
}

// pathAt is the path of the JSON value that ends at, or in which lies, offset;
// plain is the same without list positions.
func pathAt(j []byte, offset int64) (path, plain string) {
	type level struct {
		list  bool
		index int
		key   string
		isKey bool // the next token is a key
	}
	var stack []level
	dec := json.NewDecoder(bytes.NewReader(j))
	dec.UseNumber()
	for {
		tok, err := dec.Token()
		if err != nil {
			return "", ""
		}
		closing := tok == json.Delim('}') || tok == json.Delim(']')
		if closing {
			stack = stack[:len(stack)-1]
		} else if n := len(stack); n > 0 && !stack[n-1].list && stack[n-1].isKey {
			stack[n-1].key, stack[n-1].isKey = tok.(string), false
			continue
		}
		if dec.InputOffset() >= offset {
			break
		}
		switch {
		case tok == json.Delim('{'):
			stack = append(stack, level{isKey: true})
			continue
		case tok == json.Delim('['):
			stack = append(stack, level{list: true})
			continue
		}
		if n := len(stack); n > 0 { // a value ended
			stack[n-1].index++
			stack[n-1].isKey = true
		}
	}
	var p, q strings.Builder
	for _, l := range stack {
		if l.list {
			fmt.Fprintf(&p, "[%d]", l.index)
			continue
		}
		if p.Len() > 0 {
			p.WriteByte('.')
			q.WriteByte('.')
		}
		p.WriteString(l.key)
		q.WriteString(l.key)
	}
	return p.String(), q.String()
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// clip bounds text that an author controls.
func clip(s string) string {
	const limit = 200
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
