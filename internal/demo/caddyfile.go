package demo

import (
	"fmt"
	"strings"
	"text/template"
	"time"
)

const (
	poolName = "app"
	// zoneID has the shape of an identifier at Cloudflare: 32 hexadecimal
	// digits.
	zoneID = "0edde110000000000000000000000000"
)

// gatewayConfig is what the demo's Caddyfile needs to know.
type gatewayConfig struct {
	Listen          string // host:port of the site
	Admin           string // host:port of Caddy's admin endpoint
	StateDir        string
	AccessLog       string // a file
	ControlToken    string // a file
	CloudflareToken string // a file
	CloudflareAPI   string // URL
	Drain           time.Duration
}

// caddyfileText is the configuration that the demo runs: what a real one has,
// but for addresses and times. Replicas register themselves, so the pool
// discovers nothing; the breakers are touchy, so that few visitors are enough
// to see one open.
const caddyfileText = `{
	admin {{.Admin}}
	persist_config off
	skip_install_trust
	grace_period 5s
	servers {
		listener_wrappers {
			edge
			tls
			edge_hits
		}
	}
	edge {
		state_dir {{quote .StateDir}}
		cache {
			memory 64MiB
		}
		pool {{.Pool}} {
			health /healthz {
				interval 500ms
				timeout 1s
				version_header X-App-Version
			}
			policy least_time
			breaker {
				consecutive 2
				open 10s
			}
			slow_start 1s
			drain {{.Drain}}
		}
		cloudflare {
			zone_id {{.Zone}}
			api_token {{file .CloudflareToken}}
			plan free
			api_url {{.CloudflareAPI}}
		}
		control {
			token {{file .ControlToken}}
		}
		stop {
			announce 1ms
			window 1ms
		}
	}
}

http://:{{.Port}} {
	bind {{.Host}}
	log {
		output file {{quote .AccessLog}}
	}
	edge_rules {
		fingerprinted /assets/*
		static /images/* {
			browser 1h
			edge 1d
			stale 7d
		}
		private /api/* /account /login /logout /events /ws /healthz
		page /* {
			browser none
			edge 60s
			stale 10m
			tag pages
			without_cookie session
		}
	}
	edge_cache
	edge_proxy {{.Pool}}
	handle /.edge/* {
		edge_control
	}
}
`

var caddyfile = template.Must(template.New("Caddyfile").Funcs(template.FuncMap{
	"quote": quoted,
	"file":  func(path string) string { return quoted("{file." + path + "}") },
}).Parse(caddyfileText))

// caddyfileFor is the Caddyfile for a gateway. Listen must have been split
// before, by validate.
func caddyfileFor(c gatewayConfig) (string, error) {
	cut := strings.LastIndexByte(c.Listen, ':')
	if cut < 0 {
		return "", fmt.Errorf("listen %q: want host:port", c.Listen)
	}
	facts := struct {
		gatewayConfig
		Host, Port, Pool, Zone string
	}{c, strings.Trim(c.Listen[:cut], "[]"), c.Listen[cut+1:], poolName, zoneID}
	var text strings.Builder
	err := caddyfile.Execute(&text, facts)
	return text.String(), err
}

// quoted is a Caddyfile token that may hold spaces; within quotes only the
// quote needs an escape.
func quoted(s string) string {
	return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"`
}
