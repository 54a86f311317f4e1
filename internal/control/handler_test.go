package control

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/edgegw/edge/internal/purge"
)

func TestWhoMayCall(t *testing.T) {
	cases := map[string]struct {
		path, authorization string
		status              int
		challenge           string
	}{
		"no token":                               {"/status", "", 401, `Bearer realm="edge"`},
		"bad token":                              {"/status", "Bearer " + wrongToken, 401, `Bearer realm="edge", error="invalid_token"`},
		"empty token":                            {"/status", "Bearer ", 401, `Bearer realm="edge"`},
		"another scheme":                         {"/status", "Basic " + rightToken, 401, `Bearer realm="edge"`},
		"beginning of the token":                 {"/status", "Bearer " + rightToken[:19], 401, `Bearer realm="edge", error="invalid_token"`},
		"token and more":                         {"/status", "Bearer " + rightToken + " x", 401, `Bearer realm="edge", error="invalid_token"`},
		"immense token":                          {"/status", "Bearer " + strings.Repeat("a1B2c3", 1000), 401, `Bearer realm="edge", error="invalid_token"`},
		"right token":                            {"/status", "Bearer " + rightToken, 200, ""},
		"second token, during rotation":          {"/status", "Bearer " + secondToken, 200, ""},
		"scheme in lower case":                   {"/status", "bearer " + rightToken, 200, ""},
		"alive needs no token":                   {"/healthz", "", 200, ""},
		"alive does not look at tokens":          {"/healthz", "Bearer " + wrongToken, 200, ""},
		"ready needs no token":                   {"/readyz", "", 200, ""},
		"ready is no oracle for tokens":          {"/readyz", "Bearer " + wrongToken, 401, `Bearer realm="edge", error="invalid_token"`},
		"unknown path tells a stranger nothing":  {"/nowhere", "", 401, `Bearer realm="edge"`},
		"unknown path below an open route":       {"/healthz/x", "", 401, `Bearer realm="edge"`},
		"token in the query is not looked at":    {"/status?token=" + rightToken, "", 401, `Bearer realm="edge"`},
		"path without its slash, as mounts have": {"status", "Bearer " + rightToken, 200, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			h := New(Config{Gateway: newFakeGateway(), Tokens: []string{rightToken, secondToken}})
			target := tc.path
			stripped := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.URL.Path = strings.TrimPrefix(r.URL.Path, "/mount/")
				h.ServeHTTP(w, r)
			})
			var handler http.Handler = h
			if !strings.HasPrefix(target, "/") {
				target, handler = "/mount/"+target, stripped
			}
			response := ask(handler, "GET", target, "", "Authorization", tc.authorization)
			if response.StatusCode != tc.status || response.Header.Get("WWW-Authenticate") != tc.challenge {
				t.Errorf("%d %q: want %d %q", response.StatusCode, response.Header.Get("WWW-Authenticate"), tc.status, tc.challenge)
			}
		})
	}
}

// Somebody types the address with a slash at its end.
func TestTheDashboardIsFoundWithASlash(t *testing.T) {
	h := New(Config{Gateway: newFakeGateway(), Tokens: []string{rightToken}})
	server := httptest.NewServer(http.StripPrefix("/.edge", h))
	defer server.Close()
	for _, method := range []string{"GET", "HEAD"} {
		request, err := http.NewRequestWithContext(t.Context(), method, server.URL+"/.edge/dashboard/", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		if err := response.Body.Close(); err != nil {
			t.Error(err)
		}
		if response.StatusCode != 200 || response.Request.URL.Path != "/.edge/dashboard" || !strings.HasPrefix(response.Header.Get("Content-Type"), "text/html") {
			t.Errorf("%s: %d at %s: want the page where its parts are", method, response.StatusCode, response.Request.URL)
		}
	}
	for path, method := range map[string]string{"/dashboard/": "POST", "/dashboard//": "GET", "/status/": "GET"} {
		if got := ask(h, method, path, "").StatusCode; got != 401 {
			t.Errorf("%s %s without a token: %d, want 401", method, path, got)
		}
	}
}

func TestWithoutTokensNobodyIsLetIn(t *testing.T) {
	for name, tokens := range map[string][]string{"none": nil, "an empty one": {""}} {
		h := New(Config{Gateway: newFakeGateway(), Tokens: tokens})
		for _, authorization := range []string{"", "Bearer", "Bearer ", "Bearer " + rightToken} {
			if got := ask(h, "GET", "/status", "", "Authorization", authorization).StatusCode; got != 401 {
				t.Errorf("tokens: %s, Authorization %q: %d, want 401", name, authorization, got)
			}
		}
	}
}

func TestReadinessInDetailIsForThoseWithAToken(t *testing.T) {
	g := newFakeGateway()
	g.ready = Readiness{Ready: false, Dependencies: []Dependency{{Name: "redis", Detail: "connection refused"}}}
	h := New(Config{Gateway: g, Tokens: []string{rightToken}})

	bare := decode503(t, ask(h, "GET", "/readyz", ""))
	if len(bare) != 1 || bare["status"] != "fail" {
		t.Errorf("without a token: %v, want the bare verdict", bare)
	}
	full := decode503(t, ask(h, "GET", "/readyz", "", "Authorization", "Bearer "+rightToken))
	if full["status"] != "fail" || full["dependencies"] == nil {
		t.Errorf("with the token: %v, want details", full)
	}
	if alive := ask(h, "GET", "/healthz", ""); alive.StatusCode != 200 {
		t.Errorf("alive: %d, want 200 though a dependency is down", alive.StatusCode)
	}
}

func decode503(t *testing.T, response *http.Response) map[string]any {
	t.Helper()
	if response.StatusCode != 503 {
		t.Fatalf("status %d: want 503", response.StatusCode)
	}
	// Not a problem: the answer is what was asked for.
	response.StatusCode = 200
	return decode[map[string]any](t, response, 200)
}

func TestWrongPathListsTheRoutes(t *testing.T) {
	for _, path := range []string{"/", "/nowhere", "/purge/", "/purge/a/b", "/STATUS"} {
		request := ask(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.URL.Path, r.URL.RawPath = path, path
			trusted(newFakeGateway()).ServeHTTP(w, r)
		}), "GET", "/", "")
		p := decode[Problem](t, request, 404)
		if p.Code != CodeRoute || !slices.Contains(p.Routes, "POST purge") || len(p.Routes) != 23 {
			t.Errorf("%s: %+v, want the twenty-three routes", path, p)
		}
	}
}

func TestWrongMethodListsTheRightOnes(t *testing.T) {
	for path, allow := range map[string]string{
		"/status":     "GET, HEAD",
		"/purge":      "GET, HEAD, POST",
		"/replicas/x": "DELETE",
	} {
		response := ask(trusted(newFakeGateway()), "PATCH", path, "")
		if got := response.Header.Get("Allow"); got != allow {
			t.Errorf("%s: Allow %q, want %q", path, got, allow)
		}
		if p := decode[Problem](t, response, 405); p.Code != CodeMethod {
			t.Errorf("%s: code %q", path, p.Code)
		}
	}
}

func TestHeadIsAnsweredAsGet(t *testing.T) {
	if got := ask(trusted(newFakeGateway()), "HEAD", "/status", "").StatusCode; got != 200 {
		t.Errorf("status %d: want 200", got)
	}
}

func TestParametersAreReadStrictly(t *testing.T) {
	cases := map[string]struct {
		target string
		want   Mistake
	}{
		"misspelt":                {"/purge?limits=3", Mistake{"query", "limits", "one of limit"}},
		"where none is taken":     {"/status?x=1", Mistake{"query", "x", "no parameter"}},
		"twice":                   {"/purge?limit=3&limit=4", Mistake{"limit", "3, 4", "it once"}},
		"limit of zero":           {"/purge?limit=0", Mistake{"limit", "0", "a number from 1 to 1000"}},
		"limit too large":         {"/purge?limit=1001", Mistake{"limit", "1001", "a number from 1 to 1000"}},
		"empty limit":             {"/purge?limit=", Mistake{"limit", "", "a number from 1 to 1000"}},
		"wait is no duration":     {"/purge/x?wait=30", Mistake{"wait", "30", "a duration of at most 2m, such as 30s"}},
		"wait longer than served": {"/purge/x?wait=121s", Mistake{"wait", "121s", "a duration of at most 2m, such as 30s"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p := decode[Problem](t, ask(trusted(newFakeGateway()), "GET", tc.target, ""), 400)
			if len(p.Mistakes) != 1 || p.Mistakes[0] != tc.want {
				t.Errorf("%+v: want %+v", p.Mistakes, tc.want)
			}
		})
	}
	if p := decode[Problem](t, ask(trusted(newFakeGateway()), "GET", "/status?a=%zz", ""), 400); p.Mistakes[0].Field != "query" {
		t.Errorf("unreadable query: %+v", p)
	}
}

func TestStatusIsWholeAndHasASchema(t *testing.T) {
	got := decode[map[string]any](t, ask(trusted(newFakeGateway()), "GET", "/status", ""), 200)
	if got["schema"] != 1.0 || got["version"] != "1.2.3" || got["generation"] != 17.0 {
		t.Errorf("status: %v", got)
	}
	// Lists stay lists when they are empty.
	if _, ok := got["dependencies"].([]any); !ok {
		t.Errorf("dependencies: %v, want []", got["dependencies"])
	}
	if last := got["purges"].(map[string]any)["last"]; last == nil {
		t.Error("purges.last: null, want []")
	}
	deploys := decode[map[string]any](t, ask(trusted(newFakeGateway()), "GET", "/deploys", ""), 200)
	if _, ok := deploys["deploys"].([]any); !ok {
		t.Errorf("deploys: %v, want []", deploys)
	}
}

func TestAFaultOfOursIsSaidAndReported(t *testing.T) {
	for name, tc := range map[string]struct {
		err    error
		status int
		code   string
		retry  string
	}{
		"journal":   {errors.Join(purge.ErrJournal, errors.New("disk full")), 503, CodeJournal, "5"},
		"busy":      {purge.ErrBusy, 503, CodeBusy, "5"},
		"closing":   {purge.ErrClosed, 503, CodeClosed, "5"},
		"any other": {errors.New("out of luck"), 500, CodeFault, ""},
	} {
		t.Run(name, func(t *testing.T) {
			g, seen := newFakeGateway(), new(events)
			g.submitErr = tc.err
			h := New(Config{Gateway: g, Trusted: true, Event: seen.add})
			response := ask(h, "POST", "/purge", `{"tags":["a"]}`)
			if got := response.Header.Get("Retry-After"); got != tc.retry {
				t.Errorf("Retry-After %q: want %q", got, tc.retry)
			}
			p := decode[Problem](t, response, tc.status)
			if p.Code != tc.code || p.Type != "about:blank" || p.Title != http.StatusText(tc.status) || p.Status != tc.status {
				t.Errorf("problem: %+v", p)
			}
			if seen.count(Fault) != 1 {
				t.Errorf("%d faults reported: want 1", seen.count(Fault))
			}
		})
	}
}

func TestACallerThatLeavesIsNoFault(t *testing.T) {
	g, seen := newFakeGateway(), new(events)
	g.submitErr = context.Canceled
	ctx, leave := context.WithCancel(t.Context())
	leave()
	r := httptest.NewRequestWithContext(ctx, "POST", "/purge", strings.NewReader(`{"tags":["a"]}`))
	r.Header.Set("Content-Type", "application/json")
	New(Config{Gateway: g, Trusted: true, Event: seen.add}).ServeHTTP(httptest.NewRecorder(), r)
	if seen.count(Fault) != 0 {
		t.Errorf("%d faults reported: want none", seen.count(Fault))
	}
}
