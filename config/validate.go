package config

import (
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// defaultKinds are what a team may have when the file does not say: routes,
// and where they go in a world without a cluster.
var defaultKinds = []string{"EndpointSlice", "HTTPProxy", "Ingress", "Service"}

// knownKinds are the kinds that can be granted.
var knownKinds = []string{"EndpointSlice", "ExtensionService", "HTTPProxy", "Ingress",
	"IngressClass", "Secret", "Service", "TLSCertificateDelegation"}

var (
	label = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	host  = regexp.MustCompile(`^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	hexID = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// validator collects what is wrong, each with the line of its key.
type validator struct {
	file string
	root *yaml.Node
	errs []Error
}

func (v *validator) errorf(field, format string, args ...any) {
	v.errs = append(v.errs, Error{File: v.file, Line: LineOf(v.root, field), Field: field,
		Message: fmt.Sprintf(format, args...)})
}

func (v *validator) config(c *Config) {
	if c.APIVersion != APIVersion {
		v.errorf("apiVersion", "must be %s", APIVersion)
	}
	if c.Kind != Kind {
		v.errorf("kind", "must be %s", Kind)
	}
	if c.Cluster.Mode != "none" {
		v.errorf("cluster.mode", "%q is not a mode that this version has; it has none", c.Cluster.Mode)
	}
	v.edge(c)
	v.address("listeners.http", c.Listeners.HTTP)
	v.address("listeners.https", c.Listeners.HTTPS)
	v.address("xds", c.XDS.Address)
	v.address("web", c.Web)
	if c.Listeners.HTTP == c.Listeners.HTTPS {
		v.errorf("listeners.https", "has the address and port of listeners.http")
	}
	for i, text := range c.Endpoints.Allow {
		if _, err := netip.ParsePrefix(text); err != nil {
			v.errorf(fmt.Sprintf("endpoints.allow[%d]", i), "%q is not a CIDR such as 10.0.0.0/8", text)
		}
	}
	v.teams(c.Teams)
}

func (v *validator) teams(teams []Team) {
	names, namespaces := map[string]int{}, map[string]string{}
	for i := range teams {
		t, at := &teams[i], fmt.Sprintf("teams[%d]", i)
		if v.label(at+".name", t.Name) {
			if j, dup := names[t.Name]; dup {
				v.errorf(at+".name", "%q is also teams[%d]", t.Name, j)
			}
			names[t.Name] = i
		}
		if len(t.Namespaces) == 0 {
			v.errorf(at+".namespaces", "must list at least one namespace: objects of a team live in its namespaces only")
		}
		for j, ns := range t.Namespaces {
			field := fmt.Sprintf("%s.namespaces[%d]", at, j)
			if !v.label(field, ns) {
				continue
			}
			if other, dup := namespaces[ns]; dup {
				v.errorf(field, "namespace %q belongs to team %q already; a namespace has one team", ns, other)
			}
			namespaces[ns] = t.Name
		}
		v.team(at, t)
	}
}

func (v *validator) team(at string, t *Team) {
	for j, kind := range t.Kinds {
		if !slices.Contains(knownKinds, kind) {
			v.errorf(fmt.Sprintf("%s.kinds[%d]", at, j), "%q is not one of %s", kind, strings.Join(knownKinds, ", "))
		}
	}
	for j, h := range t.Hosts {
		if h != "*" && !host.MatchString(h) {
			v.errorf(fmt.Sprintf("%s.hosts[%d]", at, j), "%q is not a host name in lower case, *.name, or *", h)
		}
	}
	if t.Repo.URL == "" {
		v.errorf(at+".repo.url", "is required")
	}
	v.ref(at+".repo.ref", t.Repo.Ref)
	v.inside(at+".repo.path", t.Repo.Path)
	v.inside(at+".repo.build", t.Repo.Build)
	if i := t.Repo.Interval.Std(); i < 100*time.Millisecond {
		v.errorf(at+".repo.interval", "%s is below the least of 100ms", i)
	}
	if p := *t.Limits.PrunePercent; p < 0 || p > 100 {
		v.errorf(at+".limits.prunePercent", "must be from 0 to 100")
	}
	if t.Limits.Objects < 1 || t.Limits.Files < 1 {
		v.errorf(at+".limits", "must be positive")
	}
}

func (v *validator) ref(at string, r Ref) {
	set := 0
	for _, s := range []string{r.Branch, r.Tag, r.Semver, r.Name, r.Commit} {
		if s != "" {
			set++
		}
	}
	if set > 1 {
		v.errorf(at, "more than one of branch, tag, semver, name and commit is set")
	}
	if r.Commit != "" && !hexID.MatchString(r.Commit) {
		v.errorf(at+".commit", "must be a full commit id of 40 hexadecimal digits")
	}
	if r.Name != "" && !strings.HasPrefix(r.Name, "refs/") {
		v.errorf(at+".name", "must be a full ref name that starts with refs/")
	}
}

func (v *validator) inside(field, p string) {
	if p != "" && (path.IsAbs(p) || p == ".." || strings.HasPrefix(path.Clean(p), "../")) {
		v.errorf(field, "%q must stay inside the repository", p)
	}
}

func (v *validator) label(field, s string) bool {
	if !label.MatchString(s) {
		v.errorf(field, "%q is not a name of at most 63 lower-case letters, digits and dashes", s)
		return false
	}
	return true
}

func (v *validator) address(field string, a Address) {
	if _, err := netip.ParseAddr(a.Address); err != nil {
		v.errorf(field+".address", "%q is not an IP address", a.Address)
	}
	if a.Port < 1 || a.Port > 65535 {
		v.errorf(field+".port", "%d is not a port from 1 to 65535", a.Port)
	}
}

// LineOf finds the line of a field such as "teams[1].repo.url", or of its
// nearest parent that is in the file.
func LineOf(root *yaml.Node, field string) int {
	_, line := find(root, field)
	return line
}

// NodeOf finds the value of a field, nil where it is not in the file.
func NodeOf(root *yaml.Node, field string) *yaml.Node {
	n, _ := find(root, field)
	return n
}

// find returns the value of a field, if it is there, and the line of its key,
// or that of its nearest parent's.
func find(root *yaml.Node, field string) (*yaml.Node, int) {
	n := root
	if n.Kind == yaml.DocumentNode && len(n.Content) > 0 {
		n = n.Content[0]
	}
	line := n.Line
	for part := range strings.SplitSeq(strings.ReplaceAll(field, "[", ".["), ".") {
		key, value := child(n, part)
		if value == nil {
			return nil, line
		}
		n, line = value, key.Line
	}
	return n, line
}

// child returns a member's key and value; an element is its own key.
func child(n *yaml.Node, part string) (key, value *yaml.Node) {
	if index, ok := strings.CutPrefix(part, "["); ok {
		i := 0
		if _, err := fmt.Sscanf(index, "%d]", &i); err != nil || n.Kind != yaml.SequenceNode || i >= len(n.Content) {
			return nil, nil
		}
		return n.Content[i], n.Content[i]
	}
	if n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == part {
			return n.Content[i], n.Content[i+1]
		}
	}
	return nil, nil
}
