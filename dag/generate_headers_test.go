package dag

import (
	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
	"pgregory.net/rapid"
)

func drawHeaders(t *rapid.T) *contourv1.HeadersPolicy {
	if few(t, 9) > 0 {
		return nil
	}
	p := &contourv1.HeadersPolicy{Remove: oneOf(t, nil, []string{"X-A"}, []string{"x-b", "X-B"}, []string{"Host"})}
	for range few(t, 2) {
		p.Set = append(p.Set, contourv1.HeaderValue{
			Name:  oneOf(t, "X-A", "x-a", "X-B", "Host", "bad name", "Content-Length"),
			Value: oneOf(t, "v", "", "100%", "%HOSTNAME%", "%REQ(X-A)%", "%CONTOUR_SERVICE_NAME%", "a\nb"),
		})
	}
	return p
}

func drawCookies(t *rapid.T) []contourv1.CookieRewritePolicy {
	if few(t, 9) > 0 {
		return nil
	}
	var all []contourv1.CookieRewritePolicy
	for range few(t, 2) {
		all = append(all, contourv1.CookieRewritePolicy{
			Name: oneOf(t, "a", "b", "a;b"), Secure: maybe(t, rapid.Bool()),
			SameSite: maybe(t, rapid.SampledFrom([]string{"Lax", "lax"})),
		})
	}
	return all
}
