package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
)

// A webhook's hint has the replicas asked at once what they run; what it says
// itself is not believed.
func TestAWebhookIsAHint(t *testing.T) {
	t.Parallel()
	var version, checks atomic.Int64
	version.Store(1)
	replica := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		checks.Add(1)
		w.Header().Set("X-App-Version", fmt.Sprint("v", version.Load()))
	}))
	t.Cleanup(replica.Close)
	const token = "hints-7c1f04be92aa"
	g := configure(t, strings.TrimPrefix(replica.URL, "http://"))
	text := strings.NewReplacer("interval 200ms", "interval 1h", "token {env.EDGE_TOKEN}", "token {env.EDGE_TOKEN}\n\t\t\thint_token {env.EDGE_HINT}").Replace(read(t, g.config))
	if err := os.WriteFile(g.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	g.env = []string{"EDGE_HINT=" + token}
	g.start()
	runs := func() string {
		r := g.edge("status", "--json")
		_, rest, _ := strings.Cut(r.stdout, `"version": "v`)
		return rest[:min(1, len(rest))]
	}
	g.eventually("v1 is seen", func() bool { return runs() == "1" })
	version.Store(2)
	seen := checks.Load()
	post := func(path string) int {
		got, err := http.Post(g.url+"/.edge/hints/"+path, "application/json", strings.NewReader(`{"version":"v3","status":"SUCCESS"}`))
		if err != nil {
			t.Fatal(err)
		}
		got.Body.Close()
		return got.StatusCode
	}
	if code := post("another-7c1f04be92aa"); code != http.StatusNotFound || checks.Load() != seen {
		t.Errorf("%d, %d checks, for a bad token", code, checks.Load()-seen)
	}
	if code := post(token); code != http.StatusNoContent {
		t.Errorf("%d: want 204", code)
	}
	g.eventually("v2 is seen", func() bool { return runs() == "2" })
}

func TestAHintTokenOfItsOwn(t *testing.T) {
	config := func(token string) string {
		return written(t, fmt.Sprintf("{\n\tadmin off\n\tedge {\n\t\tstate_dir %q\n\t\tcontrol {\n\t\t\ttoken %s\n\t\t\thint_token %s\n\t\t}\n\t}\n}\n", t.TempDir(), controlToken, token))
	}
	for token, want := range map[string]string{
		controlToken: "control hint_token: is a control token", "short": "control hint_token: token has 5 characters", "{env.NOPE}": "{env.NOPE}",
	} {
		if r := command(t, nil, "check", "--config", config(token)); r.code != 2 || !strings.Contains(r.stdout, want) {
			t.Errorf("%s: exit %d, %s", token, r.code, r.stdout)
		}
	}
}
