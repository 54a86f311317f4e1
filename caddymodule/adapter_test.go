package caddymodule

import "testing"

func TestWhatIsACaddyfile(t *testing.T) {
	for text, is := range map[string]map[string]bool{
		"{\n\tadmin off\n}\n": {"Caddyfile": true, "site.caddy": true, "edge.conf": true, "x": true, "a.json": false, "A.JSON": false, "Caddyfile.json": false},
		`{"admin":{}}`:        {"Caddyfile": true, "prod.caddyfile": true, "site.caddy": false, "edge.conf": false, "a.json": false},
		"":                    {"x.caddy": true, "a.json": false},
	} {
		for name, want := range is {
			if got := isCaddyfile("/etc/edge/"+name, []byte(text)); got != want {
				t.Errorf("%s with %q: a Caddyfile %t, want %t", name, text, got, want)
			}
		}
	}
}
