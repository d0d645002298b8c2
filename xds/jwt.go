package xds

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	jwtv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/jwt_authn/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"isoline.dev/isoline/dag"
)

// jwtName is the filter that verifies tokens. Its providers are the filter's
// alone, so each host that has any has a filter in its own chain.
const jwtName = "envoy.filters.http.jwt_authn"

// withJWT puts the host's own filter where a request has the route that it
// keeps.
func withJWT(filters []*hcmv3.HttpFilter, j *dag.JWT) []*hcmv3.HttpFilter {
	at := slices.IndexFunc(filters, func(f *hcmv3.HttpFilter) bool { return f.Name == ipFilterAgainName })
	return slices.Insert(filters, at, jwtFilter(j))
}

// jwtFilter asks for a token where a host or route requires a provider.
func jwtFilter(j *dag.JWT) *hcmv3.HttpFilter {
	config := &jwtv3.JwtAuthentication{
		Providers: map[string]*jwtv3.JwtProvider{}, RequirementMap: map[string]*jwtv3.JwtRequirement{},
	}
	for i := range j.Providers {
		p := &j.Providers[i]
		config.Providers[p.Name] = &jwtv3.JwtProvider{
			Issuer:    p.Issuer,
			Audiences: p.Audiences,
			Forward:   p.Forward,
			JwksSourceSpecifier: &jwtv3.JwtProvider_RemoteJwks{RemoteJwks: &jwtv3.RemoteJwks{
				HttpUri: &corev3.HttpUri{
					Uri:              p.Keys.URI,
					HttpUpstreamType: &corev3.HttpUri_Cluster{Cluster: upstreamOf(&p.Keys.Cluster).config.Name},
					Timeout:          durationpb.New(p.Keys.Timeout),
				},
				CacheDuration: durationpb.New(p.Keys.Cache),
			}},
		}
		config.RequirementMap[p.Name] = &jwtv3.JwtRequirement{
			RequiresType: &jwtv3.JwtRequirement_ProviderName{ProviderName: p.Name},
		}
	}
	return httpFilter(jwtName, config)
}

// verify makes the host or route require the provider; none if it is empty.
func (c filterConfig) verify(provider string) {
	config := &jwtv3.PerRouteConfig{RequirementSpecifier: &jwtv3.PerRouteConfig_Disabled{Disabled: true}}
	if provider != "" {
		config.RequirementSpecifier = &jwtv3.PerRouteConfig_RequirementName{RequirementName: provider}
	}
	c.set(jwtName, config)
}

func checkJWT(j *dag.JWT) string {
	known := map[string]bool{}
	for i := range j.Providers {
		p := &j.Providers[i]
		if why := checkProvider(p); why != "" {
			return fmt.Sprintf("JWT provider %.200q: %s", p.Name, why)
		}
		if known[p.Name] {
			return fmt.Sprintf("JWT provider %.200q is there twice", p.Name)
		}
		known[p.Name] = true
	}
	if j.Default != "" && !known[j.Default] || len(known) == 0 {
		return "JWT: the default is no provider, or there is none"
	}
	return ""
}

func checkProvider(p *dag.JWTProvider) string {
	switch {
	case p.Name == "" || !text(p.Name):
		return "a name must be printable text"
	case !utf8.ValidString(p.Issuer) || slices.ContainsFunc(p.Audiences, func(a string) bool { return !utf8.ValidString(a) }):
		return "the issuer or an audience is not UTF-8"
	case !strings.HasPrefix(p.Keys.URI, "http://") && !strings.HasPrefix(p.Keys.URI, "https://") || !visible(p.Keys.URI):
		return fmt.Sprintf("%.200q is not the URI of keys", p.Keys.URI)
	case p.Keys.Timeout < time.Millisecond || p.Keys.Timeout > longestSeconds*time.Second,
		p.Keys.Cache < time.Millisecond || p.Keys.Cache > longestSeconds*time.Second:
		return "a timeout or a duration is not between 1 ms and a year"
	case p.Keys.Cluster.ExternalName == "" || p.Keys.Cluster.Service != "":
		return "its keys are not at a name in DNS or an address"
	}
	return checkCluster(&p.Keys.Cluster)
}

// checkKeyServer judges a cluster that is neither a Service nor an
// ExtensionService.
func checkKeyServer(c *dag.Cluster) string {
	why := checkUpstream(c)
	switch {
	case c.Port < 1 || c.Port > 65535:
		why = "its port is not between 1 and 65535"
	case c.Protocol != dag.ProtocolHTTP1 && c.Protocol != dag.ProtocolTLS:
		why = "keys are fetched over HTTP/1.1"
	}
	if why != "" {
		return fmt.Sprintf("host %.200q port %d: %s", c.ExternalName, c.Port, why)
	}
	return ""
}

func jwtClusters(j *dag.JWT) []upstream {
	if j == nil {
		return nil
	}
	var all []upstream
	for i := range j.Providers {
		all = append(all, upstreamOf(&j.Providers[i].Keys.Cluster))
	}
	return all
}
