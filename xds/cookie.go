package xds

import (
	"fmt"
	"strings"
	"unicode/utf8"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"isoline.dev/isoline/dag"
)

// cookieFilter is the name of the filter that rewrites cookies, and of its
// script, which runs only for clusters that ask for it.
const cookieFilter = "isoline.cookies"

// luaCookies changes attributes of Set-Cookie headers. What to change is data
// of the route ({"cookies": {name: {attribute: value}}}), and never code: no
// text of a manifest is part of a script. An attribute "secure" is "true" or
// "false"; of the others the value replaces what was there, or is added.
const luaCookies = `local attributes = {"path", "domain", "samesite"}
local written = {path = "Path", domain = "Domain", samesite = "SameSite"}

local function trim(s) return (string.gsub(s, "^%s*(.-)%s*$", "%1")) end

local function rewrite(cookie, rules)
  local parts, seen = {}, {}
  for part in string.gmatch(cookie, "[^;]+") do
    local name = string.lower(trim(string.match(part, "^[^=]*")))
    if #parts == 0 then
      parts[1] = trim(part)
    elseif name == "secure" and rules.secure ~= nil then
      -- Put back below, if at all.
    elseif written[name] ~= nil and rules[name] ~= nil then
      if not seen[name] then
        parts[#parts + 1] = written[name] .. "=" .. rules[name]
        seen[name] = true
      end
    else
      parts[#parts + 1] = trim(part)
    end
  end
  for _, name in ipairs(attributes) do
    if rules[name] ~= nil and not seen[name] then
      parts[#parts + 1] = written[name] .. "=" .. rules[name]
    end
  end
  if rules.secure == "true" then parts[#parts + 1] = "Secure" end
  return table.concat(parts, "; ")
end

function envoy_on_response(handle)
  local cookies = handle:filterContext():get("cookies")
  local headers = handle:headers()
  local count = headers:getNumValues("set-cookie")
  if cookies == nil or count == 0 then return end
  local all = {}
  for i = 0, count - 1 do
    local cookie = headers:getAtIndex("set-cookie", i)
    local rules = cookies[trim(string.match(cookie, "^[^=;]*"))]
    if rules ~= nil then cookie = rewrite(cookie, rules) end
    all[#all + 1] = cookie
  end
  headers:remove("set-cookie")
  for _, cookie in ipairs(all) do headers:add("set-cookie", cookie) end
end
`

func cookieRewriteFilter() *hcmv3.HttpFilter {
	return httpFilter(cookieFilter, &luav3.Lua{
		SourceCodes: map[string]*corev3.DataSource{
			cookieFilter: {Specifier: &corev3.DataSource_InlineString{InlineString: luaCookies}},
		},
		// Every host with TLS has filters of its own, and one machine does for all.
		SharedVmId: cookieFilter,
	})
}

// cookieRewrites is what the script is told.
func cookieRewrites(all []dag.CookieRewrite) map[string]*anypb.Any {
	if len(all) == 0 {
		return nil
	}
	cookies := &structpb.Struct{Fields: map[string]*structpb.Value{}}
	for _, c := range all {
		rules := &structpb.Struct{Fields: map[string]*structpb.Value{}}
		for name, value := range map[string]string{"path": c.Path, "domain": c.Domain, "samesite": c.SameSite} {
			if value != "" {
				rules.Fields[name] = structpb.NewStringValue(value)
			}
		}
		if c.Secure != nil {
			rules.Fields["secure"] = structpb.NewStringValue(fmt.Sprint(*c.Secure))
		}
		cookies.Fields[c.Name] = structpb.NewStructValue(rules)
	}
	return map[string]*anypb.Any{cookieFilter: mustAny(&luav3.LuaPerRoute{
		Override:      &luav3.LuaPerRoute_Name{Name: cookieFilter},
		FilterContext: &structpb.Struct{Fields: map[string]*structpb.Value{"cookies": structpb.NewStructValue(cookies)}},
	})}
}

func checkCookies(all []dag.CookieRewrite) string {
	names := map[string]bool{}
	for _, c := range all {
		switch {
		case c.Name == "" || !cookieText(c.Name) || strings.ContainsAny(c.Name, "=, "):
			return fmt.Sprintf("cookie %.64q: it is not a name that a cookie can have", c.Name)
		case names[c.Name]:
			return fmt.Sprintf("cookie %.64q: it is rewritten twice", c.Name)
		case !cookieText(c.Path) || !cookieText(c.Domain):
			return fmt.Sprintf("cookie %.64q: its path or domain has a semicolon, a control character or what is not UTF-8", c.Name)
		case c.SameSite != "" && c.SameSite != "Strict" && c.SameSite != "Lax" && c.SameSite != "None":
			return fmt.Sprintf("cookie %.64q: %.32q is neither Strict nor Lax nor None", c.Name, c.SameSite)
		}
		names[c.Name] = true
	}
	return ""
}

func cookieText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == ';' })
}
