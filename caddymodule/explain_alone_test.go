package caddymodule

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/edgegw/edge/internal/control"
)

// A configuration explains itself, though nothing runs.
func TestExplainByAConfigurationAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "Caddyfile")
	text := `{
	admin off
	edge {
		state_dir ` + t.TempDir() + `
		pool app {
			discover static 127.0.0.1:9
		}
	}
}
https://shop.test {
` + pagesSite + `
}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]struct{ rule, decision, control, cdn string }{
		"https://shop.test/x":           {"page /*", "fetch", "no-cache", "max-age=60, stale-while-revalidate=600, stale-if-error=600"},
		"https://shop.test/account":     {"private /api/* /account", "pass", "private, no-store", "no-store"},
		"https://shop.test/assets/a.js": {"fingerprinted /assets/*", "fetch", "public, max-age=31536000, immutable", ""},
	} {
		q := control.ExplainQuery{URL: url, Method: http.MethodGet, Header: make(http.Header)}
		answer, err := explainAlone(t.Context(), checkConfig{config: path}, q)
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Notes   []string
			Verdict struct{ Rule string }
			Cache   struct {
				Decision string
				Key      struct{ Scheme, Host, Target string }
			}
			Sends map[string]string
			Pick  any
		}
		if err := json.Unmarshal(encoded, &got); err != nil {
			t.Fatal(err)
		}
		if got.Verdict.Rule != want.rule || got.Cache.Decision != want.decision || got.Cache.Key.Host != "shop.test" || got.Cache.Key.Scheme != "https" || got.Pick != nil {
			t.Errorf("%s: %s: want the rule %s, %s and the key", url, encoded, want.rule, want.decision)
		}
		cdn := got.Sends["Cloudflare-Cdn-Cache-Control"]
		if got.Sends["Cache-Control"] != want.control || want.cdn != "" && cdn != want.cdn {
			t.Errorf("%s: sends %v: want %q for browsers and %q for Cloudflare", url, got.Sends, want.control, want.cdn)
		}
		if len(got.Notes) == 0 || !strings.Contains(got.Notes[len(got.Notes)-1], "nothing runs") {
			t.Errorf("%s: notes %q: want it said that nothing runs", url, got.Notes)
		}
	}
	if _, err := explainAlone(t.Context(), checkConfig{config: path + ".gone"}, control.ExplainQuery{URL: "https://shop.test/"}); err == nil {
		t.Error("a file that is not there explains something")
	}
}
