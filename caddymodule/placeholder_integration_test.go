package caddymodule

import (
	"fmt"
	"net/http"
	"testing"
)

// Placeholders hold in header fields, which are written before the handlers
// have returned.
func TestPlaceholdersHoldInHeaderFields(t *testing.T) {
	address, _ := counting(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") })
	e := startEdge(t, staticPool(address), `
header >X-Was "{edge.cache.status} {edge.cache.reason} {edge.version} {edge.rule} {edge.request_id}"
`+pagesSite)
	for _, c := range []struct{ name, path, want string }{
		{"a miss", "/page", "miss  v1 page /* request-1"},
		{"a hit", "/page", "hit  v1 page /* request-1"},
		{"a private path", "/api/x", "bypass rule v1 private /api/* /account request-1"},
	} {
		if got := e.get(c.path, "X-Request-Id", "request-1").Header.Get("X-Was"); got != c.want {
			t.Errorf("%s: %q: want %q", c.name, got, c.want)
		}
	}
}
