package dag

import (
	"strconv"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

// readDelegation reports what a TLSCertificateDelegation says in vain.
func (e *entry) readDelegation() {
	fail := func(reason, field, format string, args ...any) problem.Problem {
		return errorIn(e, contourv1.ConditionTypeSpecError, reason, field, format, args...)
	}
	warn := func(reason, field, format string, args ...any) {
		p := fail(reason, field, format, args...)
		p.Severity = problem.Warning
		e.report(p)
	}
	if len(e.delegation.Spec.Delegations) == 0 {
		warn("NothingDefined", "spec.delegations", "it delegates nothing")
	}
	for i, d := range e.delegation.Spec.Delegations {
		field := "spec.delegations[" + strconv.Itoa(i) + "]"
		switch {
		case d.SecretName == "":
			e.report(fail("SecretNameNotSpecified", field+".secretName", "it names no Secret and delegates nothing"))
		case len(d.TargetNamespaces) == 0:
			warn("NothingDefined", field+".targetNamespaces", "it names no namespaces and delegates nothing")
		}
		for j, namespace := range d.TargetNamespaces {
			if namespace != "*" && len(validation.IsDNS1123Label(namespace)) > 0 {
				warn("TargetNamespaceNotValid", field+".targetNamespaces["+strconv.Itoa(j)+"]",
					"%q is neither a namespace nor \"*\" for all", namespace)
			}
		}
	}
}

// delegationProblems are warnings of delegated Secrets that do not exist.
func (g *Graph) delegationProblems() []problem.Problem {
	var all []problem.Problem
	for _, keys := range g.delegations {
		for key := range keys {
			e := g.entries[key]
			for i, d := range e.delegation.Spec.Delegations {
				secret := manifest.Key{Kind: manifest.Secret, Namespace: key.Namespace, Name: d.SecretName}
				if s := g.entries[secret]; d.SecretName == "" || s != nil && s.secret != nil {
					continue
				}
				p := errorIn(e, contourv1.ConditionTypeSpecError, "SecretNotFound",
					"spec.delegations["+strconv.Itoa(i)+"].secretName", "Secret %q not found", key.Namespace+"/"+d.SecretName)
				p.Severity = problem.Warning
				p.Remedy = "the delegation comes into effect when there is one"
				all = append(all, p)
			}
		}
	}
	return all
}
