// Package problem has the one type in which every stage says what is wrong:
// with which object, where it came from, why, and what to do next.
//
// A stage returns problems as values beside its result; it does not log them.
// The package holds data and its order, and knows no stage.
package problem

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity says whether a problem keeps something from being served.
type Severity string

const (
	// Error: something the author wrote is not in effect.
	Error Severity = "error"
	// Warning: all is in effect, but perhaps not as the author expects.
	Warning Severity = "warning"
)

// Object names a Kubernetes object. Namespace is empty for cluster-scoped
// objects; all three are empty where a problem concerns no single object.
type Object struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// IsZero reports whether o names nothing.
func (o Object) IsZero() bool { return o == Object{} }

// String is "Kind namespace/name", or "Kind name" without a namespace.
func (o Object) String() string {
	switch {
	case o.IsZero():
		return ""
	case o.Namespace == "":
		return o.Kind + " " + o.Name
	default:
		return o.Kind + " " + o.Namespace + "/" + o.Name
	}
}

// Origin is the place in a repository that a thing was read from.
// Repository never holds credentials; it is empty for plain directories, as
// is Commit. Path is relative to the repository's root, or to the directory,
// with forward slashes. Line counts from 1; 0 means that no line is known.
type Origin struct {
	Repository string `json:"repository"`
	Commit     string `json:"commit"`
	Path       string `json:"path"`
	Line       int    `json:"line"`
}

// IsZero reports whether nothing is known of the origin.
func (o Origin) IsZero() bool { return o == Origin{} }

// String is "repository@commit path:line", leaving out what is not known.
// The commit is shortened to 12 digits.
func (o Origin) String() string {
	var b strings.Builder
	b.WriteString(o.Repository)
	if o.Commit != "" {
		b.WriteString("@" + o.Commit[:min(12, len(o.Commit))])
	}
	if o.Path != "" {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(o.Path)
		if o.Line > 0 {
			fmt.Fprintf(&b, ":%d", o.Line)
		}
	}
	return b.String()
}

// Related is another object that a problem is about: for a conflict, the one
// that keeps serving.
type Related struct {
	Object Object `json:"object"`
	Origin Origin `json:"origin"`
}

// Problem is one finding. Type and Reason are stable and meant for machines
// (those of HTTPProxy are Contour's); Message and Remedy are for people and
// never hold secrets, credentials or file bodies.
type Problem struct {
	Severity Severity `json:"severity"`
	Type     string   `json:"type"`
	Reason   string   `json:"reason"`
	Message  string   `json:"message"`
	// Remedy says what to do next, where the message does not already.
	Remedy string `json:"remedy,omitempty"`
	Object Object `json:"object"`
	// Field is the path inside the object, such as "spec.routes[2].services[0]".
	Field  string `json:"field,omitempty"`
	Origin Origin `json:"origin"`
	// Team is the team whose repository the problem is in; empty without teams.
	Team    string    `json:"team,omitempty"`
	Related []Related `json:"related,omitempty"`
}

// String is one line for a terminal or a log.
func (p Problem) String() string {
	var b strings.Builder
	if at := p.Origin.String(); at != "" {
		b.WriteString(at + ": ")
	}
	fmt.Fprintf(&b, "%s: %s/%s: ", p.Severity, p.Type, p.Reason)
	if !p.Object.IsZero() {
		b.WriteString(p.Object.String() + ": ")
	}
	if p.Field != "" {
		b.WriteString(p.Field + ": ")
	}
	b.WriteString(p.Message)
	for _, r := range p.Related {
		fmt.Fprintf(&b, " (%s", r.Object)
		if at := r.Origin.String(); at != "" {
			b.WriteString(" at " + at)
		}
		b.WriteByte(')')
	}
	if p.Remedy != "" {
		b.WriteString("; " + p.Remedy)
	}
	return b.String()
}

// Compare is a total order: by place, then object, then severity, type,
// reason, field and message.
func Compare(a, b Problem) int {
	return cmp.Or(
		cmp.Compare(a.Origin.Repository, b.Origin.Repository),
		cmp.Compare(a.Origin.Path, b.Origin.Path),
		cmp.Compare(a.Origin.Line, b.Origin.Line),
		cmp.Compare(a.Object.Namespace, b.Object.Namespace),
		cmp.Compare(a.Object.Name, b.Object.Name),
		cmp.Compare(a.Object.Kind, b.Object.Kind),
		cmp.Compare(a.Severity, b.Severity),
		cmp.Compare(a.Type, b.Type),
		cmp.Compare(a.Reason, b.Reason),
		cmp.Compare(a.Field, b.Field),
		cmp.Compare(a.Message, b.Message),
		cmp.Compare(a.Remedy, b.Remedy),
		cmp.Compare(a.Team, b.Team),
		cmp.Compare(a.Origin.Commit, b.Origin.Commit),
		cmp.Compare(fmt.Sprint(a.Related), fmt.Sprint(b.Related)),
	)
}

// Sort orders the problems by Compare, in place, and drops exact repeats.
func Sort(ps []Problem) []Problem {
	slices.SortFunc(ps, Compare)
	return slices.CompactFunc(ps, func(a, b Problem) bool { return Compare(a, b) == 0 })
}

// Errors counts the problems of severity Error.
func Errors(ps []Problem) int {
	n := 0
	for _, p := range ps {
		if p.Severity == Error {
			n++
		}
	}
	return n
}
