package team

import (
	"fmt"
	"slices"
	"strings"

	"isoline.dev/isoline/config"
	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

// kinds: a team has only the kinds that it was granted.
func kinds(_ *Policy, t *config.Team, o *manifest.Object) (*manifest.Object, []problem.Problem) {
	if slices.Contains(t.Kinds, o.Key.Kind) {
		return o, nil
	}
	return nil, []problem.Problem{KindRefused(t, o.Key, o.Origin)}
}

// KindRefused is the problem of an object whose kind the team may not have,
// also when Isoline cannot read that kind at all.
func KindRefused(t *config.Team, key manifest.Key, at problem.Origin) problem.Problem {
	return refuse(t, &manifest.Object{Key: key, Origin: at}, "KindNotAllowed", "kind",
		fmt.Sprintf("team %q may not have objects of kind %s", t.Name, key.Kind),
		"its kinds are "+strings.Join(t.Kinds, ", ")+"; the platform's configuration can grant more")
}
