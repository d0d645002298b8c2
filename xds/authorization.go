package xds

import (
	"fmt"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	authzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"isoline.dev/isoline/dag"
)

// Who is asked is said by the host or route that asks. What happens when
// nobody answers, and in which form a body is sent, can be said by a filter
// alone. So there is a filter for each, of which a host or route enables one.
const authorizationName = "envoy.filters.http.ext_authz"

// authorizationFilterName is the filter that does as asked.
func authorizationFilterName(open, raw bool) string {
	name := authorizationName
	if open {
		name += ".fail_open"
	}
	if raw {
		name += ".raw_body"
	}
	return name
}

// filterOf is the name of the filter that a enables.
func filterOf(a *dag.Authorization) string {
	return authorizationFilterName(a.FailOpen, a.Body != nil && a.Body.Raw)
}

// authorizationTimeout is how long the service may take where nothing else
// says: Envoy's own default, which it does not apply to what a route sets.
const authorizationTimeout = 200 * time.Millisecond

// noService is a cluster that does not exist: a host or route that enables a
// filter names its own.
const noService = "isoline-none"

// authorizationFilters let all requests pass where none is enabled.
func authorizationFilters() []*hcmv3.HttpFilter {
	var all []*hcmv3.HttpFilter
	for _, open := range []bool{false, true} {
		for _, raw := range []bool{false, true} {
			all = append(all, authorizationFilter(open, raw))
		}
	}
	return all
}

func authorizationFilter(open, raw bool) *hcmv3.HttpFilter {
	config := &authzv3.ExtAuthz{
		Services:            &authzv3.ExtAuthz_GrpcService{GrpcService: &corev3.GrpcService{TargetSpecifier: envoyGRPC(noService, "")}},
		TransportApiVersion: corev3.ApiVersion_V3,
		FailureModeAllow:    open,
		// The service may set headers that routes are chosen by.
		ClearRouteCache:        true,
		IncludePeerCertificate: true,
	}
	if raw { // how much is sent is said by whoever enables the filter
		config.WithRequestBody = &authzv3.BufferSettings{MaxRequestBytes: 1, PackAsBytes: true}
	}
	f := httpFilter(authorizationFilterName(open, raw), config)
	f.Disabled = true
	return f
}

// authorize makes the host or route ask as a says.
func (c filterConfig) authorize(a *dag.Authorization) {
	name := filterOf(a)
	if a.Disabled {
		c.disable(name)
		return
	}
	settings := &authzv3.CheckSettings{
		ContextExtensions: a.Context,
		ServiceOverride:   &authzv3.CheckSettings_GrpcService{GrpcService: extensionCall(&a.Service, authorizationTimeout)},
	}
	if a.Body != nil {
		settings.WithRequestBody = &authzv3.BufferSettings{
			MaxRequestBytes: a.Body.MaxBytes, AllowPartialMessage: a.Body.AllowPartial, PackAsBytes: a.Body.Raw,
		}
	}
	c.set(name, &authzv3.ExtAuthzPerRoute{Override: &authzv3.ExtAuthzPerRoute_CheckSettings{CheckSettings: settings}})
}

// leaveUnasked lets a route that only leads to https do so for anybody.
func leaveUnasked(plain *routev3.Route, p *dag.HostPolicy) {
	if p == nil || p.Authorization == nil || p.Authorization.Disabled {
		return
	}
	c := filterConfig{}
	c.disable(filterOf(p.Authorization))
	plain.TypedPerFilterConfig = c
}

// disable turns a filter off.
func (c filterConfig) disable(name string) { c.set(name, &routev3.FilterConfig{Disabled: true}) }

// extensionCall is how an ExtensionService is called.
func extensionCall(x *dag.Extension, otherwise time.Duration) *corev3.GrpcService {
	call := &corev3.GrpcService{
		TargetSpecifier: envoyGRPC(upstreamOf(&x.Cluster).config.Name, x.Cluster.Extension+"."+x.Cluster.Namespace),
		Timeout:         durationpb.New(otherwise),
	}
	if x.Timeout != 0 {
		call.Timeout = timeout(x.Timeout)
	}
	return call
}

func envoyGRPC(cluster, authority string) *corev3.GrpcService_EnvoyGrpc_ {
	return &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: cluster, Authority: authority}}
}

// maxContext bounds what is sent along with each request, in bytes.
const maxContext = 16384

func checkAuthorization(a *dag.Authorization) string {
	size := 0
	for key, value := range a.Context {
		if !text(key) || !text(value) {
			return fmt.Sprintf("authorization: %.200q or its value is not printable text", key)
		}
		size += len(key) + len(value)
	}
	switch {
	case size > maxContext:
		return fmt.Sprintf("authorization: the context has %d bytes, and %d is the limit", size, maxContext)
	case a.Body != nil && a.Body.MaxBytes == 0:
		return "authorization: a body of no bytes cannot be sent"
	}
	return checkExtension(&a.Service)
}

func checkExtension(x *dag.Extension) string {
	if x.Cluster.Extension == "" {
		return "it calls a cluster that is no ExtensionService"
	}
	if why := checkTimeout("timeout of a call", x.Timeout); why != "" {
		return why
	}
	return checkCluster(&x.Cluster)
}
