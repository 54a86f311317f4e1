package caddymodule

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// ownHandlers are edge's, in routes as JSON.
var ownHandlers = regexp.MustCompile(`"handler"\s*:\s*"edge_`)

// wrapperName is a listener wrapper, in servers as JSON.
type wrapperName struct {
	Wrapper string `json:"wrapper"`
}

// serverRegrets says which servers with edge's handlers take Cloudflare for their
// visitor, if that is in front, and which lose connections at a reload, by the
// configuration of the HTTP app.
func serverRegrets(http json.RawMessage, cloudflare bool) (all []string) {
	var app struct {
		Servers map[string]struct {
			Listen         []string        `json:"listen"`
			Routes         json.RawMessage `json:"routes"`
			TrustedProxies json.RawMessage `json:"trusted_proxies"`
			Strict         int             `json:"trusted_proxies_strict"`
			Wrappers       []wrapperName   `json:"listener_wrappers"`
		} `json:"servers"`
	}
	if len(http) == 0 || json.Unmarshal(http, &app) != nil {
		return nil // what cannot be read is an error elsewhere
	}
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		server := app.Servers[name]
		at := strings.Join(server.Listen, " ")
		if !ownHandlers.Match(server.Routes) {
			continue
		}
		if !slices.Contains(server.Wrappers, wrapperName{"edge"}) {
			all = append(all, fmt.Sprintf("sites at %s: no listener wrapper edge: a reload resets connections that arrive, and closes those that wait for a request: write servers { listener_wrappers { edge; tls } } in the global block", at))
		}
		switch {
		case !cloudflare:
		case len(server.TrustedProxies) == 0:
			all = append(all, fmt.Sprintf("sites at %s: a cloudflare block and no trusted_proxies: all visitors have the addresses of Cloudflare, in logs, for hash client and for the guard: write servers { trusted_proxies edge_cloudflare; trusted_proxies_strict } in the global block", at))
		case server.Strict == 0:
			all = append(all, fmt.Sprintf("sites at %s: trusted_proxies without trusted_proxies_strict: visitors can write the address that they want to have", at))
		}
	}
	return all
}
