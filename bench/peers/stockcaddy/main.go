// Command stockcaddy is Caddy as it comes: the standard modules and nothing of
// ours, in the version that edge is built on.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

func main() { caddycmd.Main() }
