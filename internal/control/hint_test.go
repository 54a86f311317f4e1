package control

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestHints(t *testing.T) {
	const hintToken = "a1B2c3D4e5F6-only-for-hints"
	for name, c := range map[string]struct {
		config Config
		method string
		path   string
		status int
		hinted int
	}{
		"a webhook's":                   {Config{HintToken: hintToken}, http.MethodPost, "/hints/" + hintToken, 204, 1},
		"another token":                 {Config{HintToken: hintToken}, http.MethodPost, "/hints/" + rightToken, 404, 0},
		"the control token is none":     {Config{Tokens: []string{rightToken}, HintToken: hintToken}, http.MethodPost, "/hints/" + rightToken, 404, 0},
		"where no hint is taken":        {Config{}, http.MethodPost, "/hints/any", 404, 0},
		"none":                          {Config{HintToken: hintToken}, http.MethodPost, "/hints/", 401, 0},
		"a look at it":                  {Config{HintToken: hintToken}, http.MethodGet, "/hints/" + hintToken, 401, 0},
		"of whoever may do all of this": {Config{Trusted: true}, http.MethodPost, "/hints/any", 204, 1},
	} {
		g := newFakeGateway()
		c.config.Gateway = g
		got := ask(New(c.config), c.method, c.path, `{"status":"SUCCESS","deployment":{"id":"nobody reads this"}}`)
		if got.StatusCode != c.status || g.hinted != c.hinted {
			t.Errorf("%s: status %d, %d hints: want %d, %d", name, got.StatusCode, g.hinted, c.status, c.hinted)
		}
	}
}

// Guessing is slowed as that of control tokens is.
func TestGuessingAHintToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Config{Gateway: newFakeGateway(), HintToken: "a1B2c3D4e5F6-only-for-hints"})
		began := time.Now()
		for range clientFailures + 1 {
			if got := ask(h, http.MethodPost, "/hints/guess", ""); got.StatusCode != http.StatusNotFound {
				t.Errorf("status %d", got.StatusCode)
			}
		}
		if took := time.Since(began); took != slowBy {
			t.Errorf("%s: want the last one slowed by %s", took, slowBy)
		}
	})
}
