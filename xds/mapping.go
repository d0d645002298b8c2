package xds

// Mapping says what each field of the routing API becomes in Envoy, in the
// words of Envoy's API: "route" is config.route.v3.RouteAction or its Route,
// "cluster" config.cluster.v3.Cluster, "manager" the HTTP connection manager.
// A row holds for the whole subtree of its field that has no row of its own.
// Fields of other kinds than HTTPProxy have the kind before them.
//
// docs/httpproxy.md is generated from it.
func Mapping() map[string]string {
	return map[string]string{
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
		"spec.routes[].services[].name":       "cluster, and its ClusterLoadAssignment from the EndpointSlices",
		"spec.routes[].services[].port":       "cluster.eds_cluster_config.service_name: the Service's port",
		"spec.routes[].services[].weight":     "route.weighted_clusters",
		"spec.routes[].services[].protocol":   "cluster HttpProtocolOptions, and transport_socket for TLS",
		"spec.routes[].requestRedirectPolicy": "redirect",
		"spec.routes[].directResponsePolicy":  "direct_response",
		"spec.routes[].pathRewritePolicy":     "route.regex_rewrite, or route.prefix_rewrite where it is the same",
		"spec.routes[].healthCheckPolicy":     "cluster.health_checks: http_health_check",
		"spec.routes[].permitInsecure":        "whether the plain HTTP listener has the route, or a redirect to HTTPS",

		// HTTPProxy: how a route treats its requests.

		// HTTPProxy: what holds for a host.

		// TLSCertificateDelegation and ExtensionService.

		// Ingress.
		"Ingress spec.ingressClassName":                                    "none: objects of other classes are not read",
		"Ingress spec.defaultBackend":                                      "route of the host *, after all others",
		"Ingress spec.rules":                                               "routes of the host: match.path_separated_prefix, path, safe_regex or prefix by pathType",
		"Ingress metadata.annotations":                                     "none: decides which objects are read",
		"Ingress metadata.annotations[projectcontour.io/num-retries]":      "route.retry_policy.num_retries",
		"Ingress metadata.annotations[projectcontour.io/retry-on]":         "route.retry_policy.retry_on",
		"Ingress metadata.annotations[projectcontour.io/per-try-timeout]":  "route.retry_policy.per_try_timeout",
		"Ingress metadata.annotations[projectcontour.io/response-timeout]": "route.timeout",
		"Ingress metadata.annotations[projectcontour.io/request-timeout]":  "route.timeout",
		"Ingress metadata.annotations[projectcontour.io/websocket-routes]": "route.upgrade_configs: websocket",

		// Services.
		"Service metadata.annotations[projectcontour.io/upstream-protocol.h2]":  "cluster HttpProtocolOptions: http2; transport_socket",
		"Service metadata.annotations[projectcontour.io/upstream-protocol.h2c]": "cluster HttpProtocolOptions: http2",
		"Service metadata.annotations[projectcontour.io/upstream-protocol.tls]": "cluster.transport_socket",
	}
}
