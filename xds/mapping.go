package xds

import "maps"

// Mapping says what each field of the routing API becomes in Envoy, in the
// words of Envoy's API: "route" is config.route.v3.RouteAction or its Route,
// "cluster" config.cluster.v3.Cluster, "manager" the HTTP connection manager.
// A row holds for the whole subtree of its field that has no row of its own.
// Fields of other kinds than HTTPProxy have the kind before them.
//
// docs/httpproxy.md is generated from it.
func Mapping() map[string]string { return maps.Clone(mapping) }

var mapping = map[string]string{
	// HTTPProxy: the host and what it includes.
	"spec.virtualhost.fqdn": "scope key of the host's RouteConfiguration; virtual_host.domains",
	"spec.includes":         "none: routes of the child become routes of the host",
	"spec.ingressClassName": "none: objects of other classes are not read",
	"metadata.annotations":  "none: decides which objects are read, and who may include them",

	// HTTPProxy: which requests a route takes.
	"spec.routes[].conditions[].prefix":         "route.match.prefix",
	"spec.routes[].conditions[].exact":          "route.match.path",
	"spec.routes[].conditions[].regex":          "route.match.safe_regex",
	"spec.routes[].conditions[].header":         "route.match.headers",
	"spec.routes[].conditions[].queryParameter": "route.match.query_parameters",
	"spec.includes[].conditions":                "joined with the conditions of the child's routes",

	// HTTPProxy: where a route leads.
	"spec.routes[].services[].name":                             "cluster, and its ClusterLoadAssignment from the EndpointSlices",
	"spec.routes[].services[].port":                             "cluster.eds_cluster_config.service_name: the Service's port",
	"spec.routes[].services[].weight":                           "route.weighted_clusters",
	"spec.routes[].services[].protocol":                         "cluster HttpProtocolOptions, and transport_socket for TLS",
	"spec.routes[].services[].healthPort":                       "endpoint.health_check_config.port_value in a ClusterLoadAssignment of the two ports",
	"spec.routes[].services[].slowStartPolicy":                  "cluster.round_robin_lb_config.slow_start_config, or that of least_request_lb_config",
	"spec.routes[].services[].slowStartPolicy.window":           "slow_start_config.slow_start_window",
	"spec.routes[].services[].slowStartPolicy.aggression":       "slow_start_config.aggression",
	"spec.routes[].services[].slowStartPolicy.minWeightPercent": "slow_start_config.min_weight_percent",
	"spec.routes[].services[].validation":                       "UpstreamTlsContext.validation_context",
	"spec.routes[].services[].validation.caSecret":              "UpstreamTlsContext.validation_context.trusted_ca",
	"spec.routes[].services[].validation.subjectName":           "UpstreamTlsContext.validation_context.match_typed_subject_alt_names",
	"spec.routes[].services[].validation.subjectNames":          "UpstreamTlsContext.validation_context.match_typed_subject_alt_names",
	"spec.routes[].loadBalancerPolicy.strategy":                 "cluster.lb_policy; a cookie in route.hash_policy for Cookie",
	"spec.routes[].loadBalancerPolicy.requestHashPolicies":      "route.hash_policy",
	"spec.routes[].timeoutPolicy.idleConnection":                "cluster HttpProtocolOptions.common_http_protocol_options.idle_timeout",
	"spec.routes[].requestRedirectPolicy":                       "redirect",
	"spec.routes[].directResponsePolicy":                        "direct_response",
	"spec.routes[].pathRewritePolicy":                           "route.regex_rewrite, or route.prefix_rewrite where it is the same",
	"spec.routes[].healthCheckPolicy":                           "cluster.health_checks: http_health_check",
	// HTTPProxy: TLS and TCP.
	"spec.virtualhost.tls.secretName":                                "filter chain of the host with DownstreamTlsContext.tls_certificate_sds_secret_configs",
	"spec.virtualhost.tls.minimumProtocolVersion":                    "DownstreamTlsContext.tls_params.tls_minimum_protocol_version",
	"spec.virtualhost.tls.maximumProtocolVersion":                    "DownstreamTlsContext.tls_params.tls_maximum_protocol_version",
	"spec.virtualhost.tls.passthrough":                               "filter chain of the host with tcp_proxy and without TLS",
	"spec.virtualhost.tls.enableFallbackCertificate":                 "filter chain without server names, and a scope of the host for it",
	"spec.virtualhost.tls.clientValidation":                          "DownstreamTlsContext.validation_context and require_client_certificate",
	"spec.virtualhost.tls.clientValidation.forwardClientCertificate": "manager.forward_client_cert_details, set_current_client_cert_details",
	"spec.tcpproxy":                             "tcp_proxy in the filter chain of the host",
	"spec.tcpproxy.include":                     "none: the services of the child become those of the host",
	"spec.tcpproxy.includes":                    "none: the services of the child become those of the host",
	"TLSCertificateDelegation spec.delegations": "none: decides which Secrets may be served",

	"spec.routes[].permitInsecure": "whether the plain HTTP listener has the route, or a redirect to HTTPS",

	// HTTPProxy: how a route treats its requests.
	"spec.routes[].requestHeadersPolicy":                             "Route.request_headers_to_add and _to_remove; Host: route.host_rewrite_literal, or host_rewrite_header",
	"spec.routes[].responseHeadersPolicy":                            "Route.response_headers_to_add and _to_remove",
	"spec.routes[].cookieRewritePolicies":                            "lua: LuaPerRoute.filter_context of each of weighted_clusters, for one fixed script",
	"spec.routes[].services[].requestHeadersPolicy":                  "weighted_clusters.request_headers_to_add and _to_remove; Host: host_rewrite_literal; of a mirror: request_headers_mutations",
	"spec.routes[].services[].responseHeadersPolicy":                 "weighted_clusters.response_headers_to_add and _to_remove",
	"spec.routes[].services[].cookieRewritePolicies":                 "lua: LuaPerRoute.filter_context of its weighted cluster",
	"spec.routes[].services[].mirror":                                "route.request_mirror_policies; weight: runtime_fraction",
	"spec.routes[].timeoutPolicy.response":                           "route.timeout",
	"spec.routes[].timeoutPolicy.idle":                               "route.idle_timeout",
	"spec.routes[].retryPolicy.count":                                "route.retry_policy.num_retries",
	"spec.routes[].retryPolicy.perTryTimeout":                        "route.retry_policy.per_try_timeout",
	"spec.routes[].retryPolicy.retryOn":                              "route.retry_policy.retry_on",
	"spec.routes[].retryPolicy.retriableStatusCodes":                 "route.retry_policy.retriable_status_codes",
	"spec.routes[].enableWebsockets":                                 "route.upgrade_configs: websocket",
	"spec.routes[].internalRedirectPolicy.maxInternalRedirects":      "route.internal_redirect_policy.max_internal_redirects",
	"spec.routes[].internalRedirectPolicy.redirectResponseCodes":     "route.internal_redirect_policy.redirect_response_codes",
	"spec.routes[].internalRedirectPolicy.allowCrossSchemeRedirect":  "route.internal_redirect_policy.allow_cross_scheme_redirect; SafeOnly: predicate safe_cross_scheme",
	"spec.routes[].internalRedirectPolicy.denyRepeatedRouteRedirect": "route.internal_redirect_policy.predicates: previous_routes",

	// HTTPProxy: what holds for a host.
	"spec.virtualhost.corsPolicy":                                "CorsPolicy of the virtual host",
	"spec.virtualhost.ipAllowPolicy":                             "RBACPerRoute of the virtual host: action ALLOW",
	"spec.virtualhost.ipDenyPolicy":                              "RBACPerRoute of the virtual host: action DENY",
	"spec.virtualhost.rateLimitPolicy.local":                     "LocalRateLimit of the virtual host",
	"spec.virtualhost.rateLimitPolicy.global":                    "RateLimitPerRoute.rate_limits of the virtual host",
	"spec.virtualhost.authorization.extensionRef":                "ExtAuthzPerRoute.check_settings.grpc_service of the virtual host",
	"spec.virtualhost.authorization.responseTimeout":             "ExtAuthzPerRoute.check_settings.grpc_service.timeout",
	"spec.virtualhost.authorization.failOpen":                    "which of two ext_authz filters the host enables: failure_mode_allow",
	"spec.virtualhost.authorization.withRequestBody":             "ExtAuthzPerRoute.check_settings.with_request_body",
	"spec.virtualhost.authorization.authPolicy.context":          "ExtAuthzPerRoute.check_settings.context_extensions",
	"spec.virtualhost.authorization.authPolicy.disabled":         "FilterConfig.disabled of the virtual host",
	"spec.virtualhost.jwtProviders":                              "JwtAuthentication.providers of a jwt_authn filter in the host's chain",
	"spec.virtualhost.jwtProviders[].default":                    "PerRouteConfig.requirement_name of the virtual host",
	"spec.virtualhost.jwtProviders[].remoteJWKS.uri":             "JwtProvider.remote_jwks.http_uri, and a STRICT_DNS cluster",
	"spec.virtualhost.jwtProviders[].remoteJWKS.validation":      "cluster.transport_socket: validation_context",
	"spec.virtualhost.jwtProviders[].remoteJWKS.dnsLookupFamily": "cluster.dns_lookup_family",
	"spec.routes[].jwtVerificationPolicy.require":                "PerRouteConfig.requirement_name of the route",
	"spec.routes[].jwtVerificationPolicy.disabled":               "PerRouteConfig.disabled of the route",
	"spec.routes[].authPolicy.context":                           "ExtAuthzPerRoute.check_settings.context_extensions of the route, merged with the host's",
	"spec.routes[].authPolicy.disabled":                          "FilterConfig.disabled of the route",
	"spec.routes[].ipAllowPolicy":                                "RBACPerRoute of the route: action ALLOW",
	"spec.routes[].ipDenyPolicy":                                 "RBACPerRoute of the route: action DENY",
	"spec.routes[].rateLimitPolicy.local":                        "LocalRateLimit of the route",
	"spec.routes[].rateLimitPolicy.global":                       "RateLimitPerRoute.rate_limits of the route",

	// TLSCertificateDelegation and ExtensionService.
	"ExtensionService spec.services":                               "endpoints of the cluster: one locality for each service, by locality_weighted_lb_config",
	"ExtensionService spec.validation":                             "cluster.transport_socket: validation_context",
	"ExtensionService spec.protocol":                               "cluster.transport_socket; always HTTP/2",
	"ExtensionService spec.protocolVersion":                        "transport_api_version",
	"ExtensionService spec.loadBalancerPolicy.strategy":            "cluster.lb_policy; Cookie and RequestHash: a warning",
	"ExtensionService spec.loadBalancerPolicy.requestHashPolicies": "none: calls have nothing to hash, which is a warning",
	"ExtensionService spec.timeoutPolicy.response":                 "grpc_service.timeout; of the rate limit service: RateLimit.timeout",
	"ExtensionService spec.timeoutPolicy.idle":                     "none: a call is bounded by its response timeout, which is a warning",
	"ExtensionService spec.timeoutPolicy.idleConnection":           "cluster HttpProtocolOptions.common_http_protocol_options.idle_timeout",
	"ExtensionService spec.circuitBreakerPolicy":                   "cluster.circuit_breakers",

	// Ingress.
	"Ingress spec.tls":                                                             "filter chain of the host, as for spec.virtualhost.tls",
	"Ingress spec.ingressClassName":                                                "none: objects of other classes are not read",
	"Ingress spec.defaultBackend":                                                  "route of the host *, after all others",
	"Ingress spec.defaultBackend.resource":                                         "none: a problem, and answered 503",
	"Ingress spec.rules[].http.paths[].backend.resource":                           "none: a problem, and answered 503",
	"Ingress spec.rules":                                                           "routes of the host: match.path_separated_prefix, path, safe_regex or prefix by pathType",
	"Ingress metadata.annotations":                                                 "none: decides which objects are read",
	"Ingress metadata.annotations[ingress.kubernetes.io/force-ssl-redirect]":       "redirect.https_redirect on the plain HTTP listener",
	"Ingress metadata.annotations[kubernetes.io/ingress.allow-http]":               "direct_response 404 on the plain HTTP listener",
	"Ingress metadata.annotations[projectcontour.io/tls-minimum-protocol-version]": "DownstreamTlsContext.tls_params",
	"Ingress metadata.annotations[projectcontour.io/tls-maximum-protocol-version]": "DownstreamTlsContext.tls_params",
	"Ingress metadata.annotations[projectcontour.io/tls-cert-namespace]":           "none: where the Secret is looked for",
	"Ingress metadata.annotations[projectcontour.io/num-retries]":                  "route.retry_policy.num_retries",
	"Ingress metadata.annotations[projectcontour.io/retry-on]":                     "route.retry_policy.retry_on",
	"Ingress metadata.annotations[projectcontour.io/per-try-timeout]":              "route.retry_policy.per_try_timeout",
	"Ingress metadata.annotations[projectcontour.io/response-timeout]":             "route.timeout",
	"Ingress metadata.annotations[projectcontour.io/request-timeout]":              "route.timeout",
	"Ingress metadata.annotations[projectcontour.io/websocket-routes]":             "route.upgrade_configs: websocket",

	// Services.
	"Service metadata.annotations[projectcontour.io/max-connections]":          "cluster.circuit_breakers.thresholds.max_connections",
	"Service metadata.annotations[projectcontour.io/max-pending-requests]":     "cluster.circuit_breakers.thresholds.max_pending_requests",
	"Service metadata.annotations[projectcontour.io/max-requests]":             "cluster.circuit_breakers.thresholds.max_requests",
	"Service metadata.annotations[projectcontour.io/max-retries]":              "cluster.circuit_breakers.thresholds.max_retries",
	"Service metadata.annotations[projectcontour.io/per-host-max-connections]": "cluster.circuit_breakers.per_host_thresholds.max_connections",
	"Service metadata.annotations[projectcontour.io/upstream-protocol.h2]":     "cluster HttpProtocolOptions: http2; transport_socket",
	"Service metadata.annotations[projectcontour.io/upstream-protocol.h2c]":    "cluster HttpProtocolOptions: http2",
	"Service metadata.annotations[projectcontour.io/upstream-protocol.tls]":    "cluster.transport_socket",
}
