// Package edge is what xcaddy imports to build a Caddy with everything of edge:
//
//	xcaddy build --with github.com/edgegw/edge
package edge

import _ "github.com/edgegw/edge/caddymodule" // registers modules, directives and commands
