package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// behindCloudflare is a gateway whose first hop from this machine is a
// platform's proxy.
func behindCloudflare(t *testing.T, lines string) (*edge, *atomic.Pointer[http.Header]) {
	t.Helper()
	got := new(atomic.Pointer[http.Header])
	address := startOrigin(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			header := r.Header.Clone()
			got.Store(&header)
		}
	})
	e := newEdge(t)
	e.global = fmt.Sprintf("servers :%s {\n\ttrusted_proxies edge_cloudflare 127.0.0.0/8 {\n\t\t%s\n\t}\n\ttrusted_proxies_strict\n}", e.URL[strings.LastIndex(e.URL, ":")+1:], lines)
	if err := e.load(staticPool(address), "edge_proxy app"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the replica is up", func() bool { return e.replicasUp() == 1 })
	return e, got
}

// lastClient is the client of the last request in the access log.
func (e *edge) lastClient(path string) (client string) {
	e.t.Helper()
	eventually(e.t, "the request is logged", func() bool {
		text, err := os.ReadFile(e.accessLog)
		if err != nil {
			return false
		}
		for line := range strings.Lines(string(text)) {
			var record struct {
				Request struct {
					URI      string
					ClientIP string `json:"client_ip"`
				}
			}
			if json.Unmarshal([]byte(line), &record) == nil && record.Request.URI == path {
				client = record.Request.ClientIP
			}
		}
		return client != ""
	})
	return client
}

func TestTheClientIsWhoCloudflareSays(t *testing.T) {
	e, got := behindCloudflare(t, "interval off")
	for i, c := range []struct{ forwarded, client string }{
		{"", "127.0.0.1"},
		{"203.0.113.7, 104.16.0.1", "203.0.113.7"},                        // Cloudflare, then the platform
		{"198.51.100.9, 203.0.113.7, 2606:4700::1234", "203.0.113.7"},     // what the visitor wrote himself does not count
		{"198.51.100.9, 203.0.113.7", "203.0.113.7"},                      // past Cloudflare: who the platform saw
		{"104.16.0.1, 203.0.113.7", "203.0.113.7"},                        // and pretends to be Cloudflare
		{"203.0.113.7, 104.16.0.1, 172.64.3.4, 127.0.0.9", "203.0.113.7"}, // through two of Cloudflare's, and a proxy here
	} {
		path := fmt.Sprintf("/page-%d", i)
		headers := []string{"Cf-Connecting-Ip", "192.0.2.1"}
		if c.forwarded != "" {
			headers = append(headers, "X-Forwarded-For", c.forwarded)
		}
		if r := e.get(path, headers...); r.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d", path, r.StatusCode)
		}
		if client := e.lastClient(path); client != c.client {
			t.Errorf("X-Forwarded-For %q: the client is %s, want %s", c.forwarded, client, c.client)
		}
		if c.forwarded != "" && !strings.HasPrefix((*got.Load()).Get("X-Forwarded-For"), c.forwarded) {
			t.Errorf("the replica is told %q of %q", (*got.Load()).Get("X-Forwarded-For"), c.forwarded)
		}
	}
}

func TestCloudflaresListIsLearnedAndSurvivesItsLoss(t *testing.T) {
	var down atomic.Bool
	api := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/client/v4/ips" || down.Load() {
			http.Error(w, `{"success":false,"errors":[{"code":7003,"message":"No route for the URI"}],"messages":[],"result":null}`, http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"success":true,"errors":[],"messages":[],"result":{"ipv4_cidrs":["104.16.0.0/13","172.64.0.0/13","131.0.72.0/22","198.18.0.0/16"],"ipv6_cidrs":["2400:cb00::/32"],"etag":"x"}}`)
	})
	e, _ := behindCloudflare(t, "api_url http://"+api+"/client/v4")
	asked := 0
	client := func(forwarded string) string {
		asked++
		path := fmt.Sprintf("/asked-%d", asked)
		e.get(path, "X-Forwarded-For", forwarded)
		return e.lastClient(path)
	}
	eventually(t, "a range that was not built in is trusted", func() bool { return client("203.0.113.7, 198.18.3.4") == "203.0.113.7" })
	if got := client("203.0.113.7, 173.245.48.1"); got != "173.245.48.1" {
		t.Errorf("a range that is no longer Cloudflare's is trusted: client %s", got)
	}
	eventually(t, "the list is kept", func() bool {
		text, err := os.ReadFile(e.stateDir + "/cloudflare-ips.json")
		return err == nil && strings.Contains(string(text), "198.18.0.0/16")
	})

	down.Store(true)
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := e.load(staticPool(api), "edge_proxy app"); err != nil {
		t.Fatal(err)
	}
	if got := client("203.0.113.7, 198.18.3.4"); got != "203.0.113.7" {
		t.Errorf("after a restart without Cloudflare the client is %s", got)
	}
}

func TestMistakesInTrustedProxies(t *testing.T) {
	for text, want := range map[string][]string{
		"edge_cloudflare 0.0.0.0/0 nobody {\n interval 5m\n api_url nowhere\n}": {
			`also "0.0.0.0/0": want a range that not everybody is in`, `also "nobody": want an address, or a range such as 10.0.0.0/8`,
			"interval 5m: want 1h or more", `api_url "nowhere": want an http or https URL`,
		},
		"edge_cloudflare {\n sometimes\n interval soon\n}": {`unknown word "sometimes": want one of also, api_url, interval`, `interval`},
	} {
		c := new(CloudflareProxies)
		err := c.UnmarshalCaddyfile(caddyfile.NewTestDispenser(text))
		if err == nil {
			err = c.Provision(caddy.ActiveContext())
		}
		for _, part := range want {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v: want %s", text, err, part)
			}
		}
	}
}
