package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/edgegw/edge/internal/purge/standin"
	"github.com/edgegw/edge/internal/purge/standin/cdn"
)

// site is a data centre of a stand-in of Cloudflare in front of an origin.
func site(t *testing.T, o cdn.Options) string {
	t.Helper()
	c, err := cdn.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	server := httptest.NewServer(c.Site(0))
	t.Cleanup(server.Close)
	return server.URL
}

// What stands between visitors and a gateway is seen in the answers that they
// get: Cloudflare, a platform's own cache, a zone that leaves pages alone.
func TestCheckAsksAsVisitorsDo(t *testing.T) {
	t.Parallel()
	_, lines := cloudflare(t)
	g := configure(t, origin(t), lines)
	g.start()
	behind, err := url.Parse(g.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(behind)
	proxy.ModifyResponse = func(r *http.Response) error {
		r.Header.Set("X-Cache", "HIT")
		r.Header.Set("X-Railway-Edge", "railway/europe-west4")
		return nil
	}
	platform := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Host = behind.Host
		proxy.ServeHTTP(w, r)
	}))
	defer platform.Close()
	nobody := "http://" + freeAddress(t) + "/"
	for name, c := range map[string]struct {
		url  string
		says []string
	}{
		"through Cloudflare":                 {site(t, cdn.Options{Origins: []string{g.url}}) + "/page", nil},
		"past it":                            {g.url + "/page", []string{"did not come through Cloudflare"}},
		"past edge":                          {"http://" + origin(t) + "/", []string{"did not come through Cloudflare", "did not come through edge_cache"}},
		"with a platform's cache in between": {site(t, cdn.Options{Origins: []string{platform.URL}}) + "/page", []string{"(X-Cache: HIT), which no purge of edge reaches: turn that cache off (railway cdn disable)"}},
		"without a cache rule":               {site(t, cdn.Options{Origins: []string{g.url}, ByExtension: true}) + "/page", []string{"not cached at Cloudflare (cf-cache-status: DYNAMIC)"}},
		"nobody there":                       {nobody, []string{"connection refused"}},
		"a gateway that is not there":        {site(t, cdn.Options{Origins: []string{nobody}}) + "/", []string{"status 521"}},
		"no URL":                             {"/page", []string{`visit "/page": want a URL`}},
	} {
		var got checked
		r := command(t, []string{"EDGE_TOKEN=" + controlToken}, "check", "--config", g.config, "--visit", c.url, "--json")
		if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || r.code != 0 {
			t.Fatalf("%s: exit %d, %v\n%s%s", name, r.code, err, r.stdout, r.stderr)
		}
		var visits []string
		for _, f := range got.Findings {
			if strings.HasPrefix(f.Problem, "visit ") {
				visits = append(visits, f.Problem)
			}
		}
		if len(visits) != len(c.says) {
			t.Errorf("%s: %q: want %d", name, visits, len(c.says))
			continue
		}
		for i, want := range c.says {
			if !strings.Contains(visits[i], want) {
				t.Errorf("%s: %q: want %q", name, visits[i], want)
			}
		}
	}
}

func TestCheckLooksForTrustedProxies(t *testing.T) {
	t.Parallel()
	_, lines := cloudflare(t)
	g := configure(t, "127.0.0.1:1", lines)
	text := read(t, g.config)
	servers := func(words string) string {
		return strings.Replace(text, "\tedge {\n", "\tservers {\n"+words+"}\n\tedge {\n", 1)
	}
	for name, c := range map[string]struct{ text, says string }{
		"none":          {text, "a cloudflare block and no trusted_proxies"},
		"not strict":    {servers("trusted_proxies edge_cloudflare\n"), "without trusted_proxies_strict"},
		"as it is":      {servers("trusted_proxies edge_cloudflare\ntrusted_proxies_strict\n"), ""},
		"no cloudflare": {strings.Replace(text, lines, "", 1), ""},
	} {
		r := command(t, []string{"EDGE_TOKEN=" + controlToken}, "check", "--config", written(t, c.text))
		if want := c.says != ""; r.code != 0 || strings.Contains(r.stdout, "trusted_proxies") != want || !strings.Contains(r.stdout, c.says) {
			t.Errorf("%s: exit %d\n%s%s", name, r.code, r.stdout, r.stderr)
		}
		// As JSON, in whatever spelling.
		if c.says != "" {
			adapted := command(t, []string{"EDGE_TOKEN=" + controlToken}, "adapt", "--pretty", "--config", written(t, c.text))
			file := written(t, adapted.stdout) + ".json"
			if err := os.WriteFile(file, []byte(adapted.stdout), 0o600); err != nil {
				t.Fatal(err)
			}
			if r := command(t, []string{"EDGE_TOKEN=" + controlToken}, "check", "--config", file); !strings.Contains(r.stdout, c.says) {
				t.Errorf("%s, as JSON: exit %d\n%s%s", name, r.code, r.stdout, r.stderr)
			}
		}
	}
}

// A zone as Cloudflare makes it keeps no pages, and has browsers keep them.
func TestCheckReadsTheZone(t *testing.T) {
	t.Parallel()
	zone, err := standin.New(standin.Options{
		Token: cloudflareToken, Plan: "business", Zones: []standin.Zone{{ID: zoneID, Name: "example.com"}}, Setup: &standin.Setup{BrowserCacheTTL: 14400},
	})
	if err != nil {
		t.Fatal(err)
	}
	api := httptest.NewServer(zone)
	defer api.Close()
	g := configure(t, "127.0.0.1:1", "cloudflare {\nzone_id "+zoneID+"\napi_token "+cloudflareToken+"\nplan business\napi_url "+api.URL+"/client/v4\n}")
	r := command(t, []string{"EDGE_TOKEN=" + controlToken}, "check", "--config", g.config)
	for _, want := range []string{"Browser Cache TTL of 4h0m0s", "no cache rule that makes pages eligible"} {
		if r.code != 0 || strings.Count(r.stdout, want) != 1 {
			t.Errorf("exit %d\n%s%s\nwant %q", r.code, r.stdout, r.stderr, want)
		}
	}
}
