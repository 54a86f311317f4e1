// Package caddymodule is the only package of edge that imports Caddy. It turns
// configuration into engines, Caddy's calls into engine calls, and engine
// events into logs and metrics.
//
// It registers the app "edge" (the global edge block), the handlers edge_lock,
// edge_limit, edge_rules, edge_cache, edge_proxy and edge_control, the listener wrapper edge, the admin
// endpoint under /edge/, and the commands purge, status, explain, check, demo,
// sample and standin.
package caddymodule

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

func init() {
	caddy.RegisterModule(new(App))
	caddy.RegisterModule(Rules{})
	caddy.RegisterModule(new(Cache))
	caddy.RegisterModule(Proxy{})
	caddy.RegisterModule(Control{})
	caddy.RegisterModule(Lock{})
	caddy.RegisterModule(new(Limit))
	caddy.RegisterModule(adminEndpoint{})
	caddy.RegisterModule(Listener{})
	caddy.RegisterModule(new(RawHits))
	caddy.RegisterModule(new(Batch))
	caddy.RegisterModule(new(CloudflareProxies))

	httpcaddyfile.RegisterGlobalOption("edge", parseGlobal)
	httpcaddyfile.RegisterHandlerDirective("edge_rules", parseRules)
	httpcaddyfile.RegisterHandlerDirective("edge_cache", parseCache)
	httpcaddyfile.RegisterHandlerDirective("edge_proxy", parseProxy)
	httpcaddyfile.RegisterHandlerDirective("edge_control", parseControl)
	httpcaddyfile.RegisterHandlerDirective("edge_lock", parseLock)
	httpcaddyfile.RegisterHandlerDirective("edge_limit", parseLimit)

	// Lock and limits stand in front of all that answers, redirections included.
	httpcaddyfile.RegisterDirectiveOrder("edge_lock", httpcaddyfile.Before, "request_body")
	httpcaddyfile.RegisterDirectiveOrder("edge_limit", httpcaddyfile.Before, "request_body")
	// Rules and cache stand in front of everything that may answer, handle
	// blocks included, so that they work without a route block.
	httpcaddyfile.RegisterDirectiveOrder("edge_rules", httpcaddyfile.Before, "invoke")
	httpcaddyfile.RegisterDirectiveOrder("edge_cache", httpcaddyfile.Before, "invoke")
	httpcaddyfile.RegisterDirectiveOrder("edge_control", httpcaddyfile.Before, "respond")
	httpcaddyfile.RegisterDirectiveOrder("edge_proxy", httpcaddyfile.Before, "reverse_proxy")
}
