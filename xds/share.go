package xds

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"isoline.dev/isoline/dag"
)

// share is one cluster's part of a route's requests, and what is done to them.
type share struct {
	upstream
	weight    uint32
	treatment dag.WeightedCluster // without cluster and weight
	key       []byte              // of the treatment; empty where there is none
}

// plain reports whether nothing is done to requests and answers.
func (s share) plain() bool {
	return s.treatment.RequestHeaders == nil && s.treatment.ResponseHeaders == nil && s.treatment.HostRewrite == "" && len(s.treatment.Cookies) == 0
}

// compare is the order of shares: by the cluster's name, then by treatment.
func (s share) compare(o share) int {
	return cmp.Or(cmp.Compare(s.config.Name, o.config.Name), bytes.Compare(s.key, o.key))
}

// sharesOf resolves the weights: all zero is an even split, and a cluster that
// is listed twice with the same treatment has the sum. A cluster whose weight
// is zero beside others stays, so that it is warm when its weight rises.
// checkAction has made sure that the sum fits.
func sharesOf(list []dag.WeightedCluster) []share {
	even := !slices.ContainsFunc(list, func(w dag.WeightedCluster) bool { return w.Weight > 0 })
	var shares []share
	for i := range list {
		s := shareOf(&list[i])
		if even {
			s.weight = 1
		}
		at, found := slices.BinarySearchFunc(shares, s, share.compare)
		if found {
			shares[at].weight += s.weight
		} else {
			shares = slices.Insert(shares, at, s)
		}
	}
	return shares
}

func shareOf(w *dag.WeightedCluster) share {
	s := share{upstream: upstreamOf(&w.Cluster), weight: w.Weight, treatment: *w}
	s.treatment.Cluster, s.treatment.Weight = dag.Cluster{}, 0
	if s.plain() {
		return s
	}
	key, err := json.Marshal(s.treatment)
	if err != nil {
		panic(err) // strings and numbers only
	}
	s.key = key
	return s
}

func weighted(shares []share) *routev3.WeightedCluster {
	w := &routev3.WeightedCluster{}
	for _, s := range shares {
		c := &routev3.WeightedCluster_ClusterWeight{
			Name:                    s.config.Name,
			Weight:                  wrapperspb.UInt32(s.weight),
			RequestHeadersToAdd:     headersToAdd(s.treatment.RequestHeaders),
			RequestHeadersToRemove:  headersToRemove(s.treatment.RequestHeaders),
			ResponseHeadersToAdd:    headersToAdd(s.treatment.ResponseHeaders),
			ResponseHeadersToRemove: headersToRemove(s.treatment.ResponseHeaders),
			TypedPerFilterConfig:    cookieRewrites(s.treatment.Cookies),
		}
		if host := s.treatment.HostRewrite; host != "" {
			c.HostRewriteSpecifier = &routev3.WeightedCluster_ClusterWeight_HostRewriteLiteral{HostRewriteLiteral: host}
		}
		w.Clusters = append(w.Clusters, c)
	}
	return w
}

// percent is a chance of n in a hundred.
func percent(n uint32) *corev3.RuntimeFractionalPercent {
	return &corev3.RuntimeFractionalPercent{DefaultValue: &typev3.FractionalPercent{
		Numerator: n, Denominator: typev3.FractionalPercent_HUNDRED,
	}}
}

func checkShare(w *dag.WeightedCluster) string {
	name := fmt.Sprintf("service %.64q: ", w.Cluster.Namespace+"/"+w.Cluster.Service)
	why := cmp.Or(
		checkHeaders("request headers", w.RequestHeaders),
		checkHeaders("response headers", w.ResponseHeaders),
		checkHostHeader(cmp.Or(w.HostRewrite, "none")),
		checkCookies(w.Cookies),
	)
	if why == "" {
		return ""
	}
	return name + why
}

func checkMirror(m *dag.Mirror) string {
	why := cmp.Or(
		checkCluster(&m.Cluster),
		checkHeaders("request headers", m.RequestHeaders),
		checkHostHeader(cmp.Or(m.HostRewrite, "none")),
	)
	switch {
	case m.Percent < 1 || m.Percent > 100:
		return fmt.Sprintf("mirror: %d is not a percentage between 1 and 100", m.Percent)
	case why != "":
		return "mirror: " + why
	}
	return ""
}
