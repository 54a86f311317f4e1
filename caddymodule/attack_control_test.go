package caddymodule

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// Nobody but this machine's own programs reaches the admin endpoint, nor does a page
// in a browser on it: neither Caddy's part, which could change everything, nor ours.
func TestTheAdminEndpointIsForThisMachineOnly(t *testing.T) {
	address, err := caddy.ParseNetworkAddress(caddy.DefaultAdminListen)
	if err != nil || address.Host != "localhost" && !net.ParseIP(address.Host).IsLoopback() {
		t.Errorf("it listens on %q if nobody says where: want this machine only", caddy.DefaultAdminListen)
	}
	page, _ := counting(t, streamed)
	e := startEdge(t, staticPool(page), pagesSite)
	e.get("/hit/100")
	for _, c := range []struct {
		name, method, path string
		headers            []string // Host among them
		status             int
	}{
		{"from here", "GET", "/edge/status", nil, 200},
		{"by a name that leads here (DNS rebinding)", "GET", "/edge/status", []string{"Host", "evil.example"}, 403},
		{"an order by such a name", "POST", "/edge/purge", []string{"Host", "evil.example:2019", "Content-Type", "application/json"}, 403},
		{"Caddy's configuration by such a name", "GET", "/config/", []string{"Host", "evil.example"}, 403},
		{"from a page of another origin", "POST", "/edge/purge", []string{"Origin", "https://evil.example", "Content-Type", "application/json"}, 403},
		{"from such a page, to stop it all", "POST", "/stop", []string{"Origin", "https://evil.example"}, 403},
		{"from a page with no origin", "POST", "/edge/purge", []string{"Origin", "null", "Content-Type", "application/json"}, 400},
		{"a form, which browsers send without asking", "POST", "/edge/purge", []string{"Content-Type", "text/plain"}, 415},
	} {
		request, err := http.NewRequest(c.method, "http://"+e.Admin+c.path, strings.NewReader(`{"everything":true}`))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(c.headers); i += 2 {
			if request.Header.Set(c.headers[i], c.headers[i+1]); c.headers[i] == "Host" {
				request.Host = c.headers[i+1]
			}
		}
		got, err := read(testClient.Do(request))
		if err != nil {
			t.Fatal(err)
		}
		if got.StatusCode != c.status {
			t.Errorf("%s: %d %.200s: want %d", c.name, got.StatusCode, got.Text, c.status)
		}
	}
	if r := e.get("/hit/100"); !r.hit() {
		t.Errorf("then Cache-Status %q: something was purged", r.cacheStatus())
	}
	// What visitors reach has none of it, wherever the control API is mounted.
	for _, path := range []string{"/config/", "/.edge/config/", "/.edge/../config/", "/stop", "/.edge/stop", "/load", "/.edge/load"} {
		if r := e.get(path, "Authorization", "Bearer "+testToken); strings.Contains(r.Text, `"apps"`) {
			t.Errorf("a visitor gets the configuration at %s", path)
		}
	}
}

// Every call that does something, and every one that was not let in, is in the log with who,
// from where and what; no token is.
func TestControlCallsAreAudited(t *testing.T) {
	address, _ := counting(t, streamed)
	e := newEdge(t)
	const ci, stranger = "c1-d3ploys-8f21-77ab-tests", "n0b0dy-knows-this-one-7731"
	e.controls += "\ncaller ci {\ntoken " + ci + "\nmay purge\n}"
	log := filepath.Join(t.TempDir(), "edge.log")
	text := strings.Replace(e.caddyfile(staticPool(address), pagesSite), "output discard", fmt.Sprintf("output file %q", log), 1)
	if err := e.loadText(text); err != nil {
		t.Fatal(err)
	}
	call := func(token, path, body string) int {
		headers := []string{"Content-Type", "application/json"}
		if token != "" {
			headers = append(headers, "Authorization", "Bearer "+token)
		}
		return e.do(http.MethodPost, "/.edge/"+path, strings.NewReader(body), headers...).StatusCode
	}
	eventually(t, "a replica", func() bool { return e.replicasUp() == 1 })
	replica := e.poolStatus().Replicas[0].ID
	for _, c := range []struct {
		token, path, body string
		status            int
		want              map[string]string
	}{
		{testToken, "purge", `{"tags":["a"]}`, 202, map[string]string{"msg": "control call", "event": "purge_submitted", "client": "127.0.0.1"}},
		{ci, "purge", `{"tags":["b"]}`, 202, map[string]string{"msg": "control call", "actor": "ci", "client": "127.0.0.1"}},
		{ci, "replicas/" + replica + "/drain?force=true", ``, 403, map[string]string{"msg": "control call denied", "actor": "ci", "detail": "not within its scope"}},
		{stranger, "purge", `{"everything":true}`, 401, map[string]string{"msg": "control call denied", "detail": "bad token", "client": "127.0.0.1"}},
		{"", "purge", `{"everything":true}`, 401, map[string]string{"msg": "control call denied", "detail": "no token"}},
	} {
		if got := call(c.token, c.path, c.body); got != c.status {
			t.Errorf("%s with %q: %d: want %d", c.path, c.token, got, c.status)
		}
		eventually(t, fmt.Sprintf("the log has %v", c.want), func() bool { return hasRecord(t, log, c.want) })
	}
	whole, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{testToken, ci, stranger} {
		if strings.Contains(string(whole), token) {
			t.Errorf("the log shows the token %q", token)
		}
	}
}

// hasRecord reports a record of a log that has all the fields.
func hasRecord(t *testing.T, path string, want map[string]string) bool {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
lines:
	for _, line := range strings.Split(string(text), "\n") {
		var record map[string]any
		if json.Unmarshal([]byte(line), &record) != nil {
			continue
		}
		for field, value := range want {
			if record[field] != value {
				continue lines
			}
		}
		return true
	}
	return false
}
