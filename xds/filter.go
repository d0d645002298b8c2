package xds

import (
	"slices"

	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	grpcwebv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/grpc_web/v3"
	localv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/local_ratelimit/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

// httpFilters are the filters behind the choice of the route, in the order in
// which a request passes them. They are the same for every host: one that a
// host or route has not configured lets requests pass.
func httpFilters(opts ListenerOptions) []*hcmv3.HttpFilter {
	filters := []*hcmv3.HttpFilter{
		httpFilter(corsName, &corsv3.Cors{}),
		compressor(opts.Compression),
		httpFilter("envoy.filters.http.grpc_web", &grpcwebv3.GrpcWeb{}),
		httpFilter(ipFilterName, &rbacv3.RBAC{}),
	}
	filters = append(filters, authorizationFilters()...)
	// From here on a request has the route that it keeps: what an authorization
	// server adds to it can lead it to another.
	filters = append(filters,
		httpFilter(ipFilterAgainName, &rbacv3.RBAC{}),
		httpFilter(localRateLimitName, &localv3.LocalRateLimit{StatPrefix: localRateLimitStats}),
		cookieRewriteFilter(),
		rateLimitFilter(opts.RateLimit),
		routerFilter(),
	)
	return slices.DeleteFunc(filters, func(f *hcmv3.HttpFilter) bool { return f == nil })
}
