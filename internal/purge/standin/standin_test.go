package standin

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const (
	zone  = "023e105f4ecef8ad9ca31a8372d0c353"
	token = "the token"
)

var zones = []Zone{{zone, "example.com"}, {"9a7806061c88ada191ed06f989cc3dac", "example.org"}}

func start(t *testing.T, o Options) *Server {
	t.Helper()
	if o.Zones == nil {
		o.Zones = zones
	}
	o.Token = token
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// said is an answer of the API.
type said struct {
	status int
	header http.Header
	body   struct {
		Success bool
		Errors  []message
		Result  json.RawMessage
	}
}

func (a said) code() int {
	if len(a.body.Errors) == 0 {
		return 0
	}
	return a.body.Errors[0].Code
}

func ask(t *testing.T, s *Server, method, path, body string, change func(*http.Request)) said {
	t.Helper()
	r := httptest.NewRequest(method, base+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	a := said{status: w.Code, header: w.Header()}
	if err := json.Unmarshal(w.Body.Bytes(), &a.body); err != nil {
		t.Fatalf("%s: %v", w.Body, err)
	}
	if a.body.Success != (w.Code == http.StatusOK) || a.body.Success != (len(a.body.Errors) == 0) {
		t.Errorf("status %d, body %s: they disagree", w.Code, w.Body)
	}
	return a
}

func list(n int, item string) string {
	return `["` + strings.Repeat(item+`","`, n-1) + item + `"]`
}

func TestBodies(t *testing.T) {
	cases := map[string]struct {
		body string
		code int
	}{
		"a tag":                        {`{"tags":["a"]}`, 0},
		"100 tags":                     {`{"tags":` + list(100, "a") + `}`, 0},
		"a tag of 1024 characters":     {`{"tags":["` + strings.Repeat("t", 1024) + `"]}`, 0},
		"a host":                       {`{"hosts":["example.com"]}`, 0},
		"a prefix":                     {`{"prefixes":["example.com/a"]}`, 0},
		"30 prefixes":                  {`{"prefixes":` + list(30, "example.com/a") + `}`, 0},
		"everything":                   {`{"purge_everything":true}`, 0},
		"a URL":                        {`{"files":["https://example.com/a?b"]}`, 0},
		"a URL with headers":           {`{"files":[{"url":"https://example.com/a","headers":{"CF-Device-Type":"mobile"}}]}`, 0},
		"nothing":                      {`{}`, codeNone},
		"an unknown field":             {`{"tagz":["a"]}`, codeInvalid},
		"an unknown field beside tags": {`{"tags":["a"],"soft":true}`, codeInvalid},
		"everything and tags":          {`{"purge_everything":true,"tags":["a"]}`, codeMixed},
		"tags and hosts":               {`{"tags":["a"],"hosts":["h"]}`, codeInvalid},
		"tags as text":                 {`{"tags":"a"}`, codeInvalid},
		"tags as numbers":              {`{"tags":[1]}`, codeInvalid},
		"tags as null":                 {`{"tags":null}`, codeInvalid},
		"a tag that is null":           {`{"tags":[null]}`, codeInvalid},
		"no tag":                       {`{"tags":[]}`, codeInvalid},
		"101 tags":                     {`{"tags":` + list(101, "a") + `}`, codeInvalid},
		"a tag of 1025 characters":     {`{"tags":["` + strings.Repeat("t", 1025) + `"]}`, codeInvalid},
		"a tag with a space":           {`{"tags":["a b"]}`, codeInvalid},
		"a tag with a comma":           {`{"tags":["a,b"]}`, codeInvalid},
		"a tag that is not ASCII":      {`{"tags":["ä"]}`, codeInvalid},
		"a host with a scheme":         {`{"hosts":["https://h"]}`, codeInvalid},
		"a host with a port":           {`{"hosts":["h:80"]}`, codeInvalid},
		"a prefix with a scheme":       {`{"prefixes":["https://h/a"]}`, codeInvalid},
		"a prefix with a query":        {`{"prefixes":["h/a?b"]}`, codeInvalid},
		"a prefix with a fragment":     {`{"prefixes":["h/a#b"]}`, codeInvalid},
		"31 prefixes":                  {`{"prefixes":` + list(31, "h/a") + `}`, codeInvalid},
		"a prefix of 31 separators":    {`{"prefixes":["h` + strings.Repeat("/a", 31) + `"]}`, 0},
		"a prefix of 32 separators":    {`{"prefixes":["h` + strings.Repeat("/a", 32) + `"]}`, codeInvalid},
		"everything: false":            {`{"purge_everything":false}`, codeInvalid},
		"a relative URL":               {`{"files":["/a"]}`, codeInvalid},
		"a URL with a fragment":        {`{"files":["https://h/a#b"]}`, codeInvalid},
		"101 URLs":                     {`{"files":` + list(101, "https://h/") + `}`, codeInvalid},
		"a URL, then one with headers": {`{"files":["https://h/",{"url":"https://h/"}]}`, codeInvalid},
		"a URL that is a number":       {`{"files":[{"url":1}]}`, codeInvalid},
		"a file with an unknown field": {`{"files":[{"url":"https://h/","vary":"x"}]}`, codeInvalid},
		"no JSON":                      {`tags=a`, codeInvalid},
		"no object":                    {`["a"]`, codeInvalid},
		"null":                         {`null`, codeInvalid},
		"two objects":                  {`{"tags":["a"]}{"tags":["b"]}`, codeInvalid},
		"half an object":               {`{"tags":["a"]`, codeInvalid},
		"no body":                      {``, codeInvalid},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := start(t, Options{})
			for _, path := range []string{"/purge_cache", "/invalidate_cache", "/environments/env/purge_cache"} {
				if a := ask(t, s, "POST", "/zones/"+zone+path, c.body, nil); a.code() != c.code {
					t.Errorf("%s: code %d, %v: want %d", path, a.code(), a.body.Errors, c.code)
				}
			}
			if want := 3; (c.code == 0) != (len(s.Calls()) == want) {
				t.Errorf("calls %v", s.Calls())
			}
		})
	}
}

func TestWhoAndWhere(t *testing.T) {
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	const body = `{"tags":["a"]}`
	cases := map[string]struct {
		method, path string
		change       func(*http.Request)
		status, code int
	}{
		"no token":              {"POST", "/zones/" + zone + "/purge_cache", header("Authorization", ""), 401, 10000},
		"another scheme":        {"POST", "/zones/" + zone + "/purge_cache", header("Authorization", "Basic "+token), 401, 10000},
		"another token":         {"POST", "/zones/" + zone + "/purge_cache", header("Authorization", "Bearer x"), 403, 10000},
		"another zone":          {"POST", "/zones/" + strings.Repeat("0", 32) + "/purge_cache", nil, 404, 7003},
		"another path":          {"POST", "/zones/" + zone + "/purge", nil, 404, 7003},
		"another method":        {"GET", "/zones/" + zone + "/purge_cache", nil, 404, 7003},
		"a form":                {"POST", "/zones/" + zone + "/purge_cache", header("Content-Type", "application/x-www-form-urlencoded"), 400, codeInvalid},
		"no content type":       {"POST", "/zones/" + zone + "/purge_cache", header("Content-Type", ""), 400, codeInvalid},
		"JSON with a charset":   {"POST", "/zones/" + zone + "/purge_cache", header("Content-Type", "application/json; charset=utf-8"), 200, 0},
		"the token is verified": {"GET", "/user/tokens/verify", nil, 200, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := start(t, Options{})
			a := ask(t, s, c.method, c.path, body, c.change)
			if a.status != c.status || a.code() != c.code {
				t.Errorf("status %d, code %d: want %d, %d", a.status, a.code(), c.status, c.code)
			}
		})
	}
}

func TestZonesByName(t *testing.T) {
	s := start(t, Options{})
	for query, want := range map[string]int{"": 2, "?name=example.com": 1, "?name=equal:example.org": 1, "?name=example": 0} {
		var found []Zone
		a := ask(t, s, "GET", "/zones"+query, "", nil)
		if err := json.Unmarshal(a.body.Result, &found); err != nil || len(found) != want {
			t.Errorf("%q: %v, %v: want %d zones", query, found, err, want)
		}
	}
}

func TestSetUps(t *testing.T) {
	for path, want := range map[string][2]int{ // status and code
		"/zones/" + zone + "/settings/always_online":                                      {200, 0},
		"/zones/" + zone + "/settings/browser_cache_ttl":                                  {200, 0},
		"/zones/" + zone + "/settings/none":                                               {404, 7003},
		"/zones/none/settings/always_online":                                              {404, 7003},
		"/zones/" + zone + "/rulesets/phases/http_request_cache_settings/entrypoint":      {404, 10003},
		"/zones/" + zone + "/rulesets/phases/http_request_firewall_custom/entrypoint":     {404, 10003},
		"/zones/none/rulesets/phases/http_request_cache_settings/entrypoint":              {404, 7003},
		"/zones/" + zone + "/rulesets/phases/http_request_cache_settings/entrypoint/more": {404, 7003},
	} {
		if a := ask(t, start(t, Options{Setup: new(Setup)}), "GET", path, "", nil); a.status != want[0] || a.code() != want[1] {
			t.Errorf("%s: status %d, code %d: want %v", path, a.status, a.code(), want)
		}
	}
	var found struct{ Rules []CacheRule }
	a := ask(t, start(t, Options{}), "GET", "/zones/"+zone+"/rulesets/phases/http_request_cache_settings/entrypoint", "", nil)
	if err := json.Unmarshal(a.body.Result, &found); err != nil || len(found.Rules) != 1 || !*found.Rules[0].Parameters.Cache {
		t.Errorf("%+v, %v: want a rule", found, err)
	}
	if a := ask(t, start(t, Options{ZoneOnly: true}), "GET", "/zones/"+zone+"/settings/always_online", "", nil); a.status != 403 || a.code() != 9109 {
		t.Errorf("status %d, code %d", a.status, a.code())
	}
}

func TestAnOlderAPIHasNoInvalidation(t *testing.T) {
	s := start(t, Options{NoInvalidate: true})
	if a := ask(t, s, "POST", "/zones/"+zone+"/invalidate_cache", `{"tags":["a"]}`, nil); a.status != 404 || a.code() != 7003 {
		t.Errorf("status %d, code %d", a.status, a.code())
	}
}

func TestNewRefuses(t *testing.T) {
	for name, o := range map[string]Options{"no token": {}, "an unknown plan": {Token: "t", Plan: "gold"}} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestPlans(t *testing.T) {
	const tags, files = `{"tags":["a"]}`, `{"files":["https://h/"]}`
	cases := map[string]struct {
		plan, body string
		allowed    int // calls at once
		retry      string
		wait       time.Duration // until one more
	}{
		"free, tags":       {"free", tags, 25, "12", 12 * time.Second},
		"pro, tags":        {"pro", tags, 25, "1", time.Second / 5},
		"business, tags":   {"business", tags, 50, "1", time.Second / 10},
		"enterprise, tags": {"enterprise", tags, 500, "1", time.Second / 50},
		"free, URLs":       {"free", files, 800, "1", time.Second / 800},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			now := time.Unix(0, 0)
			s := start(t, Options{Plan: c.plan, Now: func() time.Time { return now }})
			call := func() said { return ask(t, s, "POST", "/zones/"+zone+"/purge_cache", c.body, nil) }
			for i := range c.allowed {
				a := call()
				if want := fmt.Sprintf(`"default";r=%d;`, c.allowed-1-i); a.code() != 0 || !strings.HasPrefix(a.header.Get("Ratelimit"), want) || a.header.Get("Retry-After") != "" {
					t.Fatalf("call %d: code %d, %v: want Ratelimit %s", i, a.code(), a.header, want)
				}
			}
			a := call()
			if a.status != 429 || a.code() != 1134 || a.header.Get("Retry-After") != c.retry || a.header.Get("Ratelimit-Policy") == "" {
				t.Errorf("one more: %d, code %d, %v: want 429, 1134, Retry-After %s", a.status, a.code(), a.header, c.retry)
			}
			now = now.Add(c.wait)
			if a := call(); a.code() != 0 {
				t.Errorf("%s later: code %d", c.wait, a.code())
			}
			if a := call(); a.code() != 1134 {
				t.Errorf("and one more: code %d", a.code())
			}
		})
	}
}

func TestATokenThatCallsTooOftenIsBlockedForFiveMinutes(t *testing.T) {
	now := time.Unix(1e9, 0)
	s := start(t, Options{Now: func() time.Time { return now }})
	verify := func() said { return ask(t, s, "GET", "/user/tokens/verify", "", nil) }
	for range callsAllowed {
		if a := verify(); a.status != 200 {
			t.Fatal(a.status)
		}
	}
	if a := verify(); a.status != 429 || a.header.Get("Retry-After") != "300" {
		t.Errorf("call 1201: %d, %v", a.status, a.header)
	}
	now = now.Add(5*time.Minute - time.Second)
	if a := verify(); a.status != 429 || a.header.Get("Retry-After") != "1" {
		t.Errorf("just before the end: %d, %v", a.status, a.header)
	}
	now = now.Add(time.Second)
	if a := verify(); a.status != 200 {
		t.Errorf("at the end: %d", a.status)
	}
}

func TestFaultsOverTheNetwork(t *testing.T) {
	var heard atomic.Int32
	s := start(t, Options{Accepted: func(Call) { heard.Add(1) }})
	server := httptest.NewServer(s)
	defer server.Close()
	client := server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	client.Timeout = 200 * time.Millisecond // for the fault that hangs
	want := map[Fault]int{TooManyRequests: 429, LimitUnder400: 400, SuccessFalse: 200, SilentFalse: 200, ServerError: 500,
		BadGateway: 502, Garbage: 200, StringErrors: 400, Redirect: 307, Hang: 0, ResetAfter: 0}
	for _, fault := range allFaults {
		res, err := client.Post(server.URL+"/standin/fail?fault="+string(fault), "", nil)
		if err != nil || res.StatusCode != 200 {
			t.Fatal(fault, res, err)
		}
		_ = res.Body.Close()
		r, _ := http.NewRequest("POST", server.URL+base+"/zones/"+zone+"/purge_cache", strings.NewReader(`{"tags":["a"]}`))
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/json")
		res, err = client.Do(r)
		if want[fault] == 0 {
			if err == nil {
				t.Errorf("%s: answered %d", fault, res.StatusCode)
			}
			continue
		}
		if err != nil || res.StatusCode != want[fault] {
			t.Fatalf("%s: %v, %v: want %d", fault, res, err, want[fault])
		}
		_ = res.Body.Close()
	}
	if len(s.Calls()) != 1 || heard.Load() != 1 || s.Requests() != len(allFaults) {
		t.Errorf("%d applied, %d heard, %d requests: want only the one that was reset after it", len(s.Calls()), heard.Load(), s.Requests())
	}
	res, err := client.Post(server.URL+"/standin/fail?fault=flood&n=0", "", nil)
	if err != nil || res.StatusCode != 400 {
		t.Errorf("an unknown fault: %v, %v", res, err)
	}
}

func TestPeopleSeeTheCalls(t *testing.T) {
	s := start(t, Options{})
	ask(t, s, "POST", "/zones/"+zone+"/purge_cache", `{"tags":["a","b"]}`, nil)
	ask(t, s, "POST", "/zones/"+zone+"/purge_cache", `{}`, nil)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "/standin/calls", nil))
	var shown struct {
		Requests int
		Calls    []Call
	}
	text, _ := io.ReadAll(w.Body)
	if err := json.Unmarshal(text, &shown); err != nil || shown.Requests != 2 || len(shown.Calls) != 1 || len(shown.Calls[0].Items) != 2 {
		t.Errorf("%s, %v: want two requests and one call of two items", text, err)
	}
}
