package dag

import (
	"slices"
	"strings"
	"testing"
	"time"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
)

// FuzzHeaderValue: whatever an author writes, its template has no percent
// sign but those of variables and doubled ones, and stands for what was written.
func FuzzHeaderValue(f *testing.F) {
	for _, seed := range []string{
		"", "plain", "100%", "50%%", "%REQ(X-A)%", "%%REQ(X-A)%%", "%REQ()%", "%REQ(a b)%", "%HOSTNAME%", "%%HOSTNAME%%",
		"%HOSTNAME", "HOSTNAME%", "%START_TIME(%s.%3f)%", "%a%HOSTNAME%b%", "%\x00%", "%REQ(X?Y)%", "é%é", "%%%", "%CONTOUR_NAMESPACE%",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		template, _ := headerRules{}.expand(text)
		if got := written(t, template); got != text {
			t.Errorf("%q became %q, which stands for %q", text, template, got)
		}
		if _, err := readHeaders(headersPolicyOf("X-A", text), headerRules{host: true, hostFromHeader: true}); err != nil && text != "" && validHeaderValue(text) && len(text) < maxHeaderValue/2 {
			t.Errorf("%q: %v", text, err)
		}
	})
}

// written is what a template stands for, with its variables left as they are.
func written(t *testing.T, template string) string {
	t.Helper()
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(template, "%")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		name, after, closed := strings.Cut(rest, "%")
		switch {
		case closed && name == "":
			b.WriteByte('%')
		case closed && (slices.Contains(HeaderVariables, name) || RequestHeaderVariable.MatchString(name)):
			b.WriteString("%" + name + "%")
		default:
			t.Fatalf("%q has a percent sign that belongs to no variable", template)
		}
		template = after
	}
}

// FuzzTimeout: a timeout is the default, none, or one that Envoy can count.
func FuzzTimeout(f *testing.F) {
	for _, seed := range []string{"", "0s", "1us", "1ms", "1.5h", "infinity", "infinite", "-1s", "8760h", "8761h", "1", "9223372036854775807ns", "1h1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		timeout, err := parseTimeout(text)
		if err == nil && timeout != 0 && timeout != NoTimeout && (time.Duration(timeout) < time.Millisecond || time.Duration(timeout) > longestTimeout) {
			t.Errorf("%q is %v", text, time.Duration(timeout))
		}
	})
}

// FuzzCookieRewrites: what is read of a rule can be part of a Set-Cookie line
// without ending the attribute that it is in.
func FuzzCookieRewrites(f *testing.F) {
	f.Add("a", "/", "example.com", "Lax")
	f.Add("a;b", "/; Secure", "a\r\nb", "none")
	f.Fuzz(func(t *testing.T, name, path, domain, sameSite string) {
		all, err := readCookies(cookiesOf(name, path, domain, sameSite))
		for _, c := range all {
			if line := c.Name + "=v; Path=" + c.Path + "; Domain=" + c.Domain + "; SameSite=" + c.SameSite; err == nil &&
				(strings.Count(line, ";") != 3 || strings.ContainsAny(line, "\r\n\x00") || strings.ContainsAny(c.Name, "= ")) {
				t.Errorf("%q", line)
			}
		}
	})
}

func headersPolicyOf(name, value string) *contourv1.HeadersPolicy {
	return &contourv1.HeadersPolicy{Set: []contourv1.HeaderValue{{Name: name, Value: value}}}
}

func cookiesOf(name, path, domain, sameSite string) []contourv1.CookieRewritePolicy {
	return []contourv1.CookieRewritePolicy{{
		Name: name, SameSite: &sameSite,
		PathRewrite: &contourv1.CookiePathRewrite{Value: path}, DomainRewrite: &contourv1.CookieDomainRewrite{Value: domain},
	}}
}
