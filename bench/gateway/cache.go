package gateway

import (
	"path/filepath"
	"strings"
)

// Cache is edge as an operator would set it up to cache all of an application's
// answers; only what is said of the cache is chosen.
func Cache(binary, dir, listen, origin, token, cache string) Program {
	return Program{
		Name: "edge", Binary: binary, Dir: dir, File: "Caddyfile",
		Text: strings.NewReplacer(
			"DIR", filepath.Join(dir, "state"), "CACHE", cache, "ORIGIN", origin, "TOKEN", token, "LISTEN", listen,
		).Replace(cacheFile),
		Args: []string{"run", "--adapter", "caddyfile", "--config", filepath.Join(dir, "Caddyfile")},
	}
}

const cacheFile = `{
	admin off
	persist_config off
	log {
		level ERROR
	}
	edge {
		state_dir DIR
		cache {
			CACHE
		}
		pool app {
			discover static ORIGIN
		}
		control {
			token TOKEN
		}
		stop {
			announce 1ms
		}
	}
}

http://LISTEN {
	edge_cache
	edge_proxy app
	handle /.edge/* {
		edge_control
	}
}
`
