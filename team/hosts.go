package team

import (
	"fmt"
	"slices"
	"strings"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"isoline.dev/isoline/config"
	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

// hosts: a team claims only hosts that are its own. A root HTTPProxy claims
// one host and is refused whole; of an Ingress only the rules for foreign
// hosts are left out.
func hosts(_ *Policy, t *config.Team, o *manifest.Object) (*manifest.Object, []problem.Problem) {
	switch v := o.Value.(type) {
	case *contourv1.HTTPProxy:
		if v.Spec.VirtualHost == nil || mayClaim(t, v.Spec.VirtualHost.Fqdn) {
			return o, nil
		}
		return nil, []problem.Problem{hostRefused(t, o, "spec.virtualhost.fqdn", v.Spec.VirtualHost.Fqdn)}
	case *networkingv1.Ingress:
		return ingressHosts(t, o, v)
	default:
		return o, nil
	}
}

func ingressHosts(t *config.Team, o *manifest.Object, v *networkingv1.Ingress) (*manifest.Object, []problem.Problem) {
	var problems []problem.Problem
	kept := v.DeepCopy()
	kept.Spec.Rules = nil
	for i, rule := range v.Spec.Rules {
		if mayClaim(t, rule.Host) {
			kept.Spec.Rules = append(kept.Spec.Rules, rule)
			continue
		}
		problems = append(problems, hostRefused(t, o, fmt.Sprintf("spec.rules[%d].host", i), rule.Host))
	}
	if v.Spec.DefaultBackend != nil && !mayClaim(t, "*") {
		kept.Spec.DefaultBackend = nil
		problems = append(problems, hostRefused(t, o, "spec.defaultBackend", "*"))
	}
	if len(problems) == 0 {
		return o, nil
	}
	if len(kept.Spec.Rules) == 0 && kept.Spec.DefaultBackend == nil {
		return nil, problems
	}
	return &manifest.Object{Key: o.Key, Team: o.Team, Origin: o.Origin, Value: kept,
		Digest: o.Digest + partSuffix(problems)}, problems
}

// partSuffix tells apart the copies of one object from which different
// parts were left out: the same manifest under another policy is another
// object to dag.
func partSuffix(problems []problem.Problem) string {
	var b strings.Builder
	for _, p := range problems {
		b.WriteString("-" + p.Field)
	}
	return b.String()
}

// mayClaim reports whether host, as an object has it, is the team's; an empty
// one stands for every host.
func mayClaim(t *config.Team, host string) bool {
	host = strings.ToLower(host)
	if host == "" {
		host = "*"
	}
	return slices.ContainsFunc(t.Hosts, func(pattern string) bool { return CoversHost(pattern, host) })
}

func hostRefused(t *config.Team, o *manifest.Object, field, host string) problem.Problem {
	may := "it has no hosts: it can only have HTTPProxies that others include"
	if len(t.Hosts) > 0 {
		may = "its hosts are " + strings.Join(t.Hosts, ", ")
	}
	if host == "" {
		host = "*"
	}
	return refuse(t, o, "HostNotAllowed", field,
		fmt.Sprintf("host %q does not belong to team %q", host, t.Name), may+"; the platform's configuration can grant more")
}
