package xds

import (
	"fmt"
	"strconv"
	"strings"

	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"isoline.dev/isoline/dag"
)

const corsName = "envoy.filters.http.cors"

func cors(c *dag.CORS) *corsv3.CorsPolicy {
	policy := &corsv3.CorsPolicy{
		AllowMethods:              strings.Join(c.Methods, ","),
		AllowHeaders:              strings.Join(c.Headers, ","),
		ExposeHeaders:             strings.Join(c.Expose, ","),
		AllowCredentials:          wrapperspb.Bool(c.Credentials),
		AllowPrivateNetworkAccess: wrapperspb.Bool(c.PrivateNetwork),
	}
	if c.MaxAgeSeconds != nil {
		policy.MaxAge = strconv.FormatInt(*c.MaxAgeSeconds, 10)
	}
	for _, o := range c.Origins {
		policy.AllowOriginStringMatch = append(policy.AllowOriginStringMatch, originMatch(o))
	}
	return policy
}

func originMatch(o dag.Origin) *matcherv3.StringMatcher {
	switch o.Op {
	case dag.OpExact:
		// Schemes and hosts have no case, and browsers send them in lower case.
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: o.Value}, IgnoreCase: true}
	case dag.OpRegex:
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: regex(o.Value)}}
	default: // checkCORS knows no other than OpPresent
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: "*"}}
	}
}

func checkCORS(c *dag.CORS) string {
	if len(c.Origins) == 0 || len(c.Methods) == 0 {
		return "CORS: it needs an origin and a method"
	}
	for _, o := range c.Origins {
		switch o.Op {
		case dag.OpPresent:
		case dag.OpExact:
			if o.Value == "" || !visible(o.Value) {
				return fmt.Sprintf("CORS: %.200q is not an origin", o.Value)
			}
		case dag.OpRegex:
			if why := checkRegex(o.Value); why != "" {
				return fmt.Sprintf("CORS: origin %.200q: %s", o.Value, why)
			}
		default:
			return fmt.Sprintf("CORS: operator %.32q cannot compare origins", o.Op)
		}
	}
	for _, list := range [][]string{c.Methods, c.Headers, c.Expose} {
		for _, token := range list {
			if !headerName(token) {
				return fmt.Sprintf("CORS: %.200q is neither a method nor the name of a header", token)
			}
		}
	}
	if c.MaxAgeSeconds != nil && *c.MaxAgeSeconds < 0 {
		return "CORS: the maximum age is negative"
	}
	return ""
}
