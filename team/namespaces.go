package team

import (
	"fmt"
	"slices"
	"strings"

	"isoline.dev/isoline/config"
	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

// namespaces: an object lives in a namespace of its team. Objects without a
// namespace of their own got the team's first one when they were decoded, and
// cluster-scoped kinds have none to check.
func namespaces(_ *Policy, t *config.Team, o *manifest.Object) (*manifest.Object, []problem.Problem) {
	if o.Key.Namespace == "" || slices.Contains(t.Namespaces, o.Key.Namespace) {
		return o, nil
	}
	return nil, []problem.Problem{refuse(t, o, "NamespaceNotAllowed", "metadata.namespace",
		fmt.Sprintf("namespace %q does not belong to team %q", o.Key.Namespace, t.Name),
		"use one of "+strings.Join(t.Namespaces, ", "))}
}
