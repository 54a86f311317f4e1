// Command edge is the gateway: Caddy's standard modules, edge's, and the
// commands of both.
package main

import (
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/edgegw/edge/caddymodule"
)

func main() { caddymodule.Main() }
