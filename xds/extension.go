package xds

import (
	"fmt"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"isoline.dev/isoline/dag"
	"isoline.dev/isoline/manifest"
	"isoline.dev/isoline/problem"
)

// ExtensionName is the name of the unit and of the cluster under which a
// listener finds an ExtensionService. A host's own cluster is named by its
// content instead, as all others are.
func ExtensionName(namespace, name string) string { return "extension:" + namespace + "/" + name }

// TranslateExtension is the unit of an ExtensionService that listeners use.
// It is nil where Envoy would not take it, which the problems say.
func TranslateExtension(c *dag.Cluster) (*Unit, []problem.Problem) {
	name := ExtensionName(c.Namespace, c.Extension)
	fail := func(why string) (*Unit, []problem.Problem) {
		return nil, []problem.Problem{{
			Severity: problem.Error, Type: ProblemType, Reason: ProblemReason,
			Message: fmt.Sprintf("it cannot be used by Envoy: %s", why),
			Object:  problem.Object{Kind: manifest.ExtensionService, Namespace: c.Namespace, Name: c.Extension},
		}}
	}
	if why := checkCluster(c); why != "" {
		return fail(why)
	}
	u := upstreamOf(c)
	u.config.Name = name
	if err := validateMessage(u.config); err != nil {
		return fail(err.Error())
	}
	r, err := NewResource(u.config)
	if err != nil {
		return fail(err.Error())
	}
	return &Unit{Name: name, Clusters: []*Cluster{{Resource: r, Endpoints: u.endpoints, SlowToWarm: u.slow}}}, nil
}

func checkExtensionCluster(c *dag.Cluster) string {
	why := checkUpstream(c)
	switch {
	case !dnsLabel.MatchString(c.Namespace) || len(c.Extension) > 253 || !hostPattern.MatchString(c.Extension):
		why = "its namespace or name is not a name in DNS"
	case c.Protocol != dag.ProtocolH2 && c.Protocol != dag.ProtocolH2C:
		why = "gRPC needs HTTP/2"
	}
	if why != "" {
		return fmt.Sprintf("extension service %.64q: %s", c.Namespace+"/"+c.Extension, why)
	}
	return ""
}

// setShares lets the services of an ExtensionService share by weight.
func setShares(config *clusterv3.Cluster, c *dag.Cluster) {
	if c.Extension == "" {
		return
	}
	config.AltStatName = fmt.Sprintf("extension_%s_%s", c.Namespace, c.Extension)
	config.CommonLbConfig.LocalityConfigSpecifier = &clusterv3.Cluster_CommonLbConfig_LocalityWeightedLbConfig_{
		LocalityWeightedLbConfig: &clusterv3.Cluster_CommonLbConfig_LocalityWeightedLbConfig{},
	}
}

// localityOf are the endpoints of one of the services.
func localityOf(s *dag.EndpointShare, endpoints []*endpointv3.LbEndpoint) *endpointv3.LocalityLbEndpoints {
	return &endpointv3.LocalityLbEndpoints{
		Locality:            &corev3.Locality{SubZone: s.Name},
		LoadBalancingWeight: wrapperspb.UInt32(s.Weight),
		LbEndpoints:         endpoints,
	}
}
