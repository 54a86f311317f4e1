package purge

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/purge/standin"
)

func TestHTTPVerifier(t *testing.T) {
	cases := map[string]struct {
		status  int
		header  http.Header
		names   []string // of version headers
		expect  string
		elapsed time.Duration
		ok      bool
	}{
		"the expected version":                     {200, http.Header{"X-App-Version": {"2"}}, []string{"X-App-Version"}, "2", time.Second, true},
		"the old version":                          {200, http.Header{"X-App-Version": {"1"}}, []string{"X-App-Version"}, "2", time.Second, false},
		"no version where one is expected":         {200, nil, []string{"X-App-Version"}, "2", time.Second, false},
		"no version header is configured":          {200, http.Header{"X-App-Version": {"2"}}, nil, "2", time.Second, false},
		"the second of two headers":                {200, http.Header{"X-App-Version": {" 2 "}}, []string{"X-Other", "X-App-Version"}, "2", time.Second, true},
		"no version expected":                      {200, nil, nil, "", time.Second, true},
		"a copy made since":                        {200, http.Header{"Age": {"3"}, "Cf-Cache-Status": {"HIT"}}, nil, "", 4 * time.Second, true},
		"a copy from before":                       {200, http.Header{"Age": {"60"}, "Cf-Cache-Status": {"HIT"}}, nil, "", 4 * time.Second, false},
		"the right version, in a copy from before": {200, http.Header{"Age": {"60"}, "X-App-Version": {"2"}}, []string{"X-App-Version"}, "2", 4 * time.Second, false},
		"an Age that is none":                      {200, http.Header{"Age": {"old"}}, nil, "", 0, true},
		"a page that is gone":                      {404, nil, nil, "", 0, true},
		"a redirect is the answer":                 {302, http.Header{"Location": {"/elsewhere"}}, nil, "", 0, true},
		"a server error":                           {503, nil, nil, "", 0, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			requests := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests++
				for field, values := range c.header {
					w.Header()[field] = values
				}
				w.WriteHeader(c.status)
			}))
			got := NewHTTPVerifier(c.names...).Verify(t.Context(), server.URL+"/a", c.expect, time.Now().Add(-c.elapsed))
			server.Close()
			if got.OK != c.ok || got.OK != (got.Error == "") || got.Status != c.status || requests != 1 || got.Cache != c.header.Get("Cf-Cache-Status") {
				t.Errorf("%+v after %d requests: want ok %t", got, requests, c.ok)
			}
		})
	}
	if got := NewHTTPVerifier().Verify(t.Context(), "http://127.0.0.1:1/", "", time.Now()); got.OK || got.Error == "" {
		t.Errorf("nobody there: %+v", got)
	}
}

func TestCheckCloudflare(t *testing.T) {
	s, config := newStandIn(t, "free", nil)
	server := httptest.NewServer(s)
	defer server.Close()
	config.APIURL = server.URL + "/client/v4"
	if problems := CheckCloudflare(t.Context(), config); problems != nil {
		t.Error("the right token:", problems)
	}
	wrong := config
	wrong.APIToken = "another-secret"
	err := errors.Join(CheckCloudflare(t.Context(), wrong)...)
	var failed *TargetError
	if !errors.As(err, &failed) || failed.Kind != NotAllowed || strings.Contains(err.Error(), wrong.APIToken) {
		t.Errorf("a wrong token: %v", err)
	}
	if problems := CheckCloudflare(t.Context(), CloudflareConfig{}); problems == nil {
		t.Error("no configuration: no error")
	}
	inactive := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"success":true,"result":{"status":"expired"}}`))
	}))
	defer inactive.Close()
	config.APIURL = inactive.URL
	if problems := CheckCloudflare(t.Context(), config); len(problems) != 1 || !strings.Contains(problems[0].Error(), `"expired"`) {
		t.Errorf("an expired token: %v", problems)
	}
	if s.Requests() != 6 || len(s.Calls()) != 0 {
		t.Errorf("%d requests, %d calls: want six and none", s.Requests(), len(s.Calls()))
	}
}

func TestCheckCloudflareReadsZones(t *testing.T) {
	s, config := newStandIn(t, "business", nil)
	server := httptest.NewServer(s)
	defer server.Close()
	config.APIURL = server.URL + "/client/v4"
	right := config.ZoneIDs[0]
	paused := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		result := `{"status":"active"}`
		if r.URL.Path != "/user/tokens/verify" {
			result = `{"name":"example.com","status":"pending","paused":true,"plan":{"legacy_id":"pro"}}`
		}
		_, _ = w.Write([]byte(`{"success":true,"result":` + result + `}`))
	}))
	defer paused.Close()
	for name, c := range map[string]struct {
		zones []string
		plan  string
		url   string
		want  []string
	}{
		"as they are":        {[]string{right}, "business", "", nil},
		"another plan":       {[]string{right}, "free", "", []string{`plan "free": zone ` + right + " has the plan business"}},
		"a zone that is not": {[]string{"a.example=" + strings.Repeat("0", 32), "b.example=" + strings.Repeat("1", 32)}, "business", "", []string{strings.Repeat("0", 32), strings.Repeat("1", 32)}},
		"another's domain":   {[]string{"shop.example=" + right}, "business", "", []string{"want that of shop.example"}},
		"pending and paused": {[]string{right}, "pro", paused.URL, []string{`"pending"`, "paused", "no cache rule"}},
	} {
		asked := config
		asked.ZoneIDs, asked.Plan = c.zones, c.plan
		if c.url != "" {
			asked.APIURL = c.url
		}
		got := CheckCloudflare(t.Context(), asked)
		if len(got) != len(c.want) {
			t.Errorf("%s: %v: want %q", name, got, c.want)
			continue
		}
		for i, want := range c.want {
			if !strings.Contains(got[i].Error(), want) {
				t.Errorf("%s: %v: want %q", name, got[i], want)
			}
		}
	}
}

func TestATokenThatMayOnlyPurgeIsTold(t *testing.T) {
	s, err := standin.New(standin.Options{Token: "purges-only-and-nothing-else", PurgeOnly: true, Zones: []standin.Zone{{ID: strings.Repeat("0", 32)}, {ID: strings.Repeat("1", 32)}}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	defer server.Close()
	got := CheckCloudflare(t.Context(), CloudflareConfig{
		APIToken: "purges-only-and-nothing-else", APIURL: server.URL + "/client/v4",
		ZoneIDs: []string{"a.example=" + strings.Repeat("0", 32), "b.example=" + strings.Repeat("1", 32)},
	})
	if len(got) != 1 || !strings.Contains(got[0].Error(), "Zone Read") {
		t.Errorf("%v: want one line, about Zone Read", got)
	}
}

// A zone that is set up so that Cloudflare does not do what edge says.
func TestCheckCloudflareReadsSetUps(t *testing.T) {
	overrides, off, silent := standin.Eligible(), standin.Eligible(), standin.Eligible()
	overrides.Parameters.EdgeTTL = &standin.TTL{Mode: "override_origin", Default: 3600}
	off.Enabled, silent.Parameters.Cache, silent.Parameters.EdgeTTL = false, nil, nil
	for name, c := range map[string]struct {
		setup    standin.Setup
		zoneOnly bool
		want     []string
	}{
		"a new zone":                       {standin.Setup{BrowserCacheTTL: 14400}, false, []string{"Browser Cache TTL of 4h0m0s", "no cache rule"}},
		"as it should be":                  {standin.Setup{CacheRules: []standin.CacheRule{standin.Eligible()}}, false, nil},
		"in development":                   {standin.Setup{DevelopmentMode: 600, CacheRules: []standin.CacheRule{standin.Eligible()}}, false, []string{"Development Mode"}},
		"where it is over":                 {standin.Setup{DevelopmentMode: -600, CacheRules: []standin.CacheRule{standin.Eligible()}}, false, nil},
		"always online":                    {standin.Setup{AlwaysOnline: true, CacheRules: []standin.CacheRule{standin.Eligible()}}, false, []string{"Always Online"}},
		"a rule with a lifetime":           {standin.Setup{CacheRules: []standin.CacheRule{standin.Eligible(), overrides}}, false, []string{`cache rule "pages" overrides`}},
		"rules that are off, or say less":  {standin.Setup{CacheRules: []standin.CacheRule{off, silent}}, false, []string{"no cache rule"}},
		"a token that reads only the zone": {standin.Setup{DevelopmentMode: 1, AlwaysOnline: true}, true, []string{"Development Mode", "may not read settings and cache rules"}},
	} {
		const token = "a-token-for-setups-of-zones"
		s, err := standin.New(standin.Options{Token: token, Setup: &c.setup, ZoneOnly: c.zoneOnly, Zones: []standin.Zone{{ID: strings.Repeat("0", 32)}}})
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(s)
		got := CheckCloudflare(t.Context(), CloudflareConfig{APIToken: token, APIURL: server.URL + "/client/v4", ZoneIDs: []string{strings.Repeat("0", 32)}})
		server.Close()
		for i, want := range c.want {
			if i >= len(got) || !strings.Contains(got[i].Error(), want) {
				t.Errorf("%s: %v: want %q", name, got, c.want)
				break
			}
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: %v: want %d lines", name, got, len(c.want))
		}
	}
}
