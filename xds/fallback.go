package xds

import (
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

// A request is led to its host's route configuration by two headers, which
// early header mutation writes over whatever the client sent, and which are
// removed before the request goes on. Scope keys are compared exactly, so a
// host that is not found as written is looked for again: without port and in
// lower case, then as "*.parent", then as "*".
const (
	listenerHeader = "x-isoline-listener"
	hostHeader     = "x-isoline-host"
	// wildcardSuffix on the listener's key marks the scopes of wildcard hosts.
	// No request has such a key before the fallback writes it, so that a
	// literal "Host: *.example.com" leads nowhere.
	wildcardSuffix = "/wildcard"
)

// luaPlainHost asks again without the port and in lower case. Every route has
// a name, so an empty one means that no scope matched.
//
// clearRouteCache alone does not select again: metadata() does, once in a
// filter, which is why the next attempts are another filter's.
//
// A host that differs from the authority is that of a redirect that Envoy
// followed: the request comes again, for another host perhaps, and finds its
// way anew.
const luaPlainHost = `function envoy_on_request(handle)
  local headers = handle:headers()
  local host = headers:get("x-isoline-host")
  local authority = headers:get(":authority")
  if host == nil or authority == nil then return end
  local plain = string.lower((string.gsub(authority, ":%d*$", "")))
  if host == authority then
    if plain == host or handle:streamInfo():routeName() ~= "" then return end
  else
    headers:replace("x-isoline-listener", (string.gsub(headers:get("x-isoline-listener"), "/wildcard$", "")))
  end
  headers:replace("x-isoline-host", plain)
  handle:clearRouteCache()
  handle:metadata()
end
`

// luaWildcard asks again for the wildcard one label up, then for the host "*".
// It does so only for what can be a host name or an address: a literal
// wildcard, a trailing dot, an empty label or user information find nothing.
const luaWildcard = `function envoy_on_request(handle)
  if handle:streamInfo():routeName() ~= "" then return end
  local headers = handle:headers()
  local host = headers:get("x-isoline-host")
  if host == nil or host == "" or string.find(host, "[^%w%-_.:%[%]]") then return end
  if string.find(host, "^%.") or string.find(host, "%.$") or string.find(host, "..", 1, true) then return end
  headers:replace("x-isoline-listener", headers:get("x-isoline-listener") .. "/wildcard")
  local parent = string.match(host, "^[^.]+(%..+)$")
  if parent ~= nil then
    headers:replace("x-isoline-host", "*" .. parent)
    handle:clearRouteCache()
    handle:metadata()
    if handle:streamInfo():routeName() ~= "" then return end
  end
  headers:replace("x-isoline-host", "*")
  handle:clearRouteCache()
end
`

// luaServedElsewhere stands between the two where not all hosts have a scope,
// as in the chain for clients with the fallback certificate: a name that has
// found none, and that a host has for its own, is not a wildcard's. Every host
// has a scope on plain HTTP, so that can be looked up.
const luaServedElsewhere = `function envoy_on_request(handle)
  if handle:streamInfo():routeName() ~= "" then return end
  local headers = handle:headers()
  local listener = headers:get("x-isoline-listener")
  headers:replace("x-isoline-listener", "` + HTTPListener + `")
  handle:clearRouteCache()
  handle:metadata()
  if handle:streamInfo():routeName() ~= "" then
    handle:respond({[":status"] = "421"}, "")
    return
  end
  headers:replace("x-isoline-listener", listener)
  handle:clearRouteCache()
end
`

// fallbackFilters stand before all other filters, because they choose the route.
func fallbackFilters() []*hcmv3.HttpFilter {
	return []*hcmv3.HttpFilter{
		luaFilter("isoline.scope.plain_host", luaPlainHost),
		luaFilter("isoline.scope.wildcard", luaWildcard),
	}
}

func luaFilter(name, code string) *hcmv3.HttpFilter {
	return httpFilter(name, &luav3.Lua{
		DefaultSourceCode: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: code}},
		SharedVmId:        name, // of all listeners and chains
	})
}

// scopeKey is what the two headers hold when a request is for host.
func scopeKey(listener, host string) []string {
	if strings.HasPrefix(host, "*") {
		listener += wildcardSuffix
	}
	return []string{listener, host}
}
