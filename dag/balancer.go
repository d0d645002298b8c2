package dag

import (
	"fmt"
	"net/http"
	"strings"

	contourv1 "github.com/projectcontour/contour/apis/projectcontour/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// LoadBalancer says which endpoint of a cluster takes a request.
type LoadBalancer string

const (
	BalanceRoundRobin   LoadBalancer = ""
	BalanceRandom       LoadBalancer = "random"
	BalanceLeastRequest LoadBalancer = "leastRequest"
	// BalanceHash goes by the hash of what RoutePolicy.Hash lists; requests
	// without any of it are spread at random.
	BalanceHash LoadBalancer = "hash"
)

// Hash is one thing of a request that decides, with the others of its list,
// which endpoint takes it. Exactly one of the first four is set.
type Hash struct {
	// Header is a canonical header name.
	Header         string `json:"header,omitempty"`
	QueryParameter string `json:"queryParameter,omitempty"`
	SourceIP       bool   `json:"sourceIP,omitempty"`
	// Cookie is one that Envoy sets, for the session, where a request has none.
	Cookie string `json:"cookie,omitempty"`
	// Terminal leaves out the rest of the list for requests that have this.
	Terminal bool `json:"terminal,omitempty"`
}

// affinityCookie is Contour's name of it, which clients may hold.
const affinityCookie = "X-Contour-Session-Affinity"

// Strategies of a LoadBalancerPolicy.
const (
	strategyCookie      = "Cookie"
	strategyRequestHash = "RequestHash"
	strategyRoundRobin  = "RoundRobin"
	strategyRandom      = "Random"
	strategyLeast       = "WeightedLeastRequest"
)

// balance is a LoadBalancerPolicy as it will be done, and what of it will not.
type balance struct {
	balancer LoadBalancer
	hashes   []Hash
	// ignored are warnings; each has the field, below the policy's, that it
	// is about.
	ignored []ignored
}

type ignored struct{ field, message string }

func (b *balance) ignore(field, format string, args ...any) {
	b.ignored = append(b.ignored, ignored{field, fmt.Sprintf(format, args...)})
}

// readBalance reads the policy of a route. Nothing in it is worth a failure:
// the requests go somewhere, and a warning says what was not done.
func readBalance(p *contourv1.LoadBalancerPolicy) balance {
	var b balance
	if p == nil {
		return b
	}
	switch p.Strategy {
	case strategyCookie:
		b.balancer, b.hashes = BalanceHash, []Hash{{Cookie: affinityCookie}}
	case strategyRequestHash:
		b.readHashes(p.RequestHashPolicies)
	default:
		b.plain(p.Strategy)
	}
	if p.Strategy != strategyRequestHash && len(p.RequestHashPolicies) > 0 {
		b.ignore(".requestHashPolicies", "ignoring field %q; it is only for the %s load balancer strategy",
			"requestHashPolicies", strategyRequestHash)
	}
	return b
}

// readPlainBalance reads the policy of something that has no requests to hash;
// users are what it is called in the plural.
func readPlainBalance(p *contourv1.LoadBalancerPolicy, users string) balance {
	if p == nil || p.Strategy != strategyCookie && p.Strategy != strategyRequestHash {
		return readBalance(p)
	}
	var b balance
	b.ignore("", "ignoring field %q; %s load balancer policy is not supported for %s", "Spec.LoadBalancerPolicy", p.Strategy, users)
	return b
}

// plain reads the strategies that look at no request.
func (b *balance) plain(strategy string) {
	switch strategy {
	case strategyRandom:
		b.balancer = BalanceRandom
	case strategyLeast:
		b.balancer = BalanceLeastRequest
	case "", strategyRoundRobin:
	default:
		b.ignore(".strategy", "ignoring the unknown load balancer strategy %q, setting load balancer strategy to default %s",
			strategy, strategyRoundRobin)
	}
}

// readHashes keeps the valid policies. Without any there is nothing to go by.
func (b *balance) readHashes(list []contourv1.RequestHashPolicy) {
	seen := map[Hash]bool{}
	for i, p := range list {
		field := fmt.Sprintf(".requestHashPolicies[%d]", i)
		hash, why := readHash(p)
		if why == "" && seen[hash] {
			why = repeated(hash)
		}
		if why != "" {
			b.ignore(field, "ignoring %s", why)
			continue
		}
		seen[hash] = true
		hash.Terminal = p.Terminal
		b.hashes = append(b.hashes, hash)
	}
	if len(b.hashes) == 0 {
		b.ignore("", "ignoring invalid request hash policy options, setting load balancer strategy to default %s", strategyRoundRobin)
		return
	}
	b.balancer = BalanceHash
}

// readHash is what a policy hashes, or what is wrong with it.
func readHash(p contourv1.RequestHashPolicy) (Hash, string) {
	header, query := p.HeaderHashOptions, p.QueryParameterHashOptions
	switch {
	case p.HashSourceIP && header == nil && query == nil:
		return Hash{SourceIP: true}, ""
	case header != nil && query == nil && !p.HashSourceIP:
		if wrong := validation.IsHTTPHeaderName(header.HeaderName); len(wrong) > 0 {
			return Hash{}, fmt.Sprintf("invalid header hash policy options with invalid header name %q: %s",
				header.HeaderName, strings.Join(wrong, "; "))
		}
		return Hash{Header: http.CanonicalHeaderKey(header.HeaderName)}, ""
	case query != nil && header == nil && !p.HashSourceIP:
		if query.ParameterName == "" {
			return Hash{}, "invalid query parameter hash policy options with an invalid empty query parameter name"
		}
		return Hash{QueryParameter: query.ParameterName}, ""
	}
	return Hash{}, "invalid request hash policy, must set exactly one of hashSourceIP or headerHashOptions or queryParameterHashOptions"
}

func repeated(h Hash) string {
	switch {
	case h.Header != "":
		return "invalid header hash policy options with duplicated header name " + h.Header
	case h.QueryParameter != "":
		return "invalid query parameter hash policy options with duplicated query parameter name " + h.QueryParameter
	}
	return "invalid request hash policy, hashSourceIP specified multiple times"
}

// hashes reads what a route's requests are hashed by.
func (a *actionReader) hashes(p *contourv1.LoadBalancerPolicy) []Hash {
	b := readBalance(p)
	a.warnIgnored(contourv1.ConditionTypeSpecError, ".loadBalancerPolicy", b)
	return b.hashes
}

// warnIgnored reports what of a policy will not be done.
func (a *actionReader) warnIgnored(typ, field string, b balance) {
	for _, i := range b.ignored {
		a.warn(typ, reasonIgnoredField, field+i.field, "%s", i.message)
	}
}
