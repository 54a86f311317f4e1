package caddymodule

import "testing"

func TestSuggestions(t *testing.T) {
	for mistake, want := range map[string]string{
		"Caddyfile:12: unrecognized directive: edge_controll":                                                        "did you mean edge_control?",
		"Caddyfile:12: unrecognized directive: egde_cache":                                                           "did you mean edge_cache?",
		"Caddyfile:12: unrecognized directive: edge_rule - are you sure your Caddyfile structure is correct?":        "did you mean edge_rules?",
		"Caddyfile:12: unrecognized directive: edge_hit":                                                             "did you mean edge_hits in listener_wrappers?",
		"Caddyfile:12: unrecognized directive: edge_hits":                                                            "did you mean edge_hits in listener_wrappers?",
		"getting module named 'caddy.listeners.edge_hit': module not registered: caddy.listeners.edge_hit, at a:4":   "did you mean edge_hits?",
		"getting module named 'caddy.listeners.edge_cach': module not registered: caddy.listeners.edge_cach, at a:4": "did you mean edge_cache in a site?",
		"Caddyfile:2: unrecognized global option: ege":                                                               "did you mean edge?",
		"Caddyfile:2: unrecognized global option: edge_proxy":                                                        "did you mean edge_proxy in a site?",
		"loading module 'edge_proxi': unknown module: http.handlers.edge_proxi":                                      "did you mean edge_proxy?",
		"Caddyfile:12: unrecognized directive: edge":                                                                 "did you mean edge in listener_wrappers?",
		"Caddyfile:12: unrecognized directive: souin":                                                                "",
		"Caddyfile:12: unrecognized directive: e":                                                                    "",
		`unknown word "statedir": want one of backup`:                                                                "",
	} {
		if got := suggestion(mistake); got != want {
			t.Errorf("%s: %q, want %q", mistake, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"edge", "edge", 0}, {"edge", "egde", 1}, {"edge_hit", "edge_hits", 1}, {"kitten", "sitting", 3}, {"ab", "ba", 1}, {"abc", "cab", 2}} {
		if got, back := distance(c.a, c.b), distance(c.b, c.a); got != c.want || back != c.want {
			t.Errorf("%q and %q: %d and %d, want %d", c.a, c.b, got, back, c.want)
		}
	}
}
