package dag

import (
	"fmt"

	"isoline.dev/isoline/problem"
)

// errorIn is a problem of an object. Origins are filled in when problems are
// asked for, so that they are the current ones.
func errorIn(e *entry, typ, reason, field, format string, args ...any) problem.Problem {
	message := format
	if len(args) > 0 {
		message = fmt.Sprintf(format, args...)
	}
	return problem.Problem{
		Severity: problem.Error, Type: typ, Reason: reason, Message: message,
		Object: e.key().Ref(), Field: field,
	}
}

// against names the object that a problem is with; none where it is the
// problem's own.
func against(p problem.Problem, others ...*entry) problem.Problem {
	for _, o := range others {
		if ref := o.key().Ref(); ref != p.Object {
			p.Related = append(p.Related, problem.Related{Object: ref})
		}
	}
	return p
}
