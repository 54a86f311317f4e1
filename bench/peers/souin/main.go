// Command souin is Caddy with its standard modules and the cache of Souin, which is
// Caddy's cache-handler. It is a module of its own, so that what Souin needs is nothing
// that the bench is built with.
package main

import (
	_ "github.com/caddyserver/cache-handler"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

func main() { caddycmd.Main() }
