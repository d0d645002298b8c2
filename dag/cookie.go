package dag

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
)

// CookieRewrite changes the attributes of a cookie that an upstream sets.
// What is empty stays as it is; what is not replaces the attribute, or adds it.
type CookieRewrite struct {
	Name string `json:"name"`
	// Path and Domain have no semicolon and no control character.
	Path   string `json:"path,omitempty"`
	Domain string `json:"domain,omitempty"`
	// SameSite is "Strict", "Lax" or "None".
	SameSite string `json:"sameSite,omitempty"`
	// Secure adds the attribute, or takes it away.
	Secure *bool `json:"secure,omitempty"`
}

const maxCookieText = 4096

var cookieDomain = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

// readCookies reads the cookie rewrites of a route or a service. They come
// sorted by name, each name once.
func readCookies(policies []contourv1.CookieRewritePolicy) ([]CookieRewrite, error) {
	var all []CookieRewrite
	for _, p := range policies {
		c := CookieRewrite{Name: p.Name, SameSite: deref(p.SameSite), Secure: p.Secure}
		if p.PathRewrite != nil {
			if c.Path = p.PathRewrite.Value; !validCookieText(c.Path, ";") {
				return nil, fmt.Errorf("invalid path for cookie %q: it must have 1 to %d characters, no semicolon and no control character", p.Name, maxCookieText)
			}
		}
		if p.DomainRewrite != nil {
			if c.Domain = p.DomainRewrite.Value; len(c.Domain) > maxCookieText || !cookieDomain.MatchString(c.Domain) {
				return nil, fmt.Errorf("invalid domain for cookie %q: %.300q is not a host name", p.Name, c.Domain)
			}
		}
		switch {
		case !validCookieText(p.Name, "()<>@,;:\\\"/[]?={} \t"):
			return nil, fmt.Errorf("invalid cookie name %.300q", p.Name)
		case slices.ContainsFunc(all, func(o CookieRewrite) bool { return o.Name == c.Name }):
			return nil, fmt.Errorf("duplicate cookie rewrite rule for cookie %q", p.Name)
		case p.SameSite != nil && c.SameSite != "Strict" && c.SameSite != "Lax" && c.SameSite != "None":
			return nil, fmt.Errorf("invalid sameSite %q for cookie %q, must be Strict, Lax or None", c.SameSite, p.Name)
		case c == CookieRewrite{Name: c.Name}:
			return nil, fmt.Errorf("no attributes rewritten for cookie %q", p.Name)
		}
		all = append(all, c)
	}
	sortCookies(all)
	return all, nil
}

func sortCookies(all []CookieRewrite) {
	slices.SortFunc(all, func(x, y CookieRewrite) int { return cmp.Compare(x.Name, y.Name) })
}

func validCookieText(s, without string) bool {
	return s != "" && len(s) <= maxCookieText && !strings.ContainsAny(s, without) &&
		!strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// mergeCookies are the rewrites of a route, but for those cookies of which the
// service has rewrites of its own.
func mergeCookies(service, route []CookieRewrite) []CookieRewrite {
	all := slices.Clone(service)
	for _, c := range route {
		if !slices.ContainsFunc(service, func(o CookieRewrite) bool { return o.Name == c.Name }) {
			all = append(all, c)
		}
	}
	sortCookies(all)
	return all
}

func (a *actionReader) cookies(policies []contourv1.CookieRewritePolicy, field, level string) ([]CookieRewrite, bool) {
	all, err := readCookies(policies)
	if err != nil {
		a.fail(contourv1.ConditionTypeRouteError, "CookieRewritePoliciesInvalid", field+".cookieRewritePolicies", "%s on %s cookie rewrite rules", err, level)
	}
	return all, err == nil
}

// routeCookies adds the rewrites of a route to its services.
func (a *actionReader) routeCookies(r *contourv1.Route, action *Action) bool {
	all, ok := a.cookies(r.CookieRewritePolicies, "", "route")
	for i := range action.Clusters {
		w := &action.Clusters[i]
		w.Cookies = mergeCookies(w.Cookies, all)
	}
	return ok
}
