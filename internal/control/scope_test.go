package control

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const (
	scopedToken = "sc0ped-Zt5Wq8Nb2Xk7"
	otherScoped = "sc0ped-Hy4Pd9Mf1Jc6"
)

// TestScopes tries every route with a token of every scope. What a route is for stands
// here again, so that a new one has to be thought about.
func TestScopes(t *testing.T) {
	opened := map[string]string{
		"GET traffic": "read", "GET status": "read", "GET explain": "read", "GET autoscale": "read", "GET autoscale/{id}": "read",
		"GET purge": "read purge", "GET purge/{id}": "read purge", "POST purge": "purge", "POST purge/{id}/cancel": "purge",
		"GET deploys": "read deploy", "GET deploys/{id}": "read deploy", "POST deploy": "deploy", "POST deploys/{id}/cancel": "deploy",
		"POST replicas": "replicas", "POST replicas/{id}/drain": "replicas", "DELETE replicas/{id}": "replicas",
		"POST pools/{id}/drain": "replicas", "POST pools/{id}/undrain": "replicas",
	}
	tried := 0
	for _, r := range routes {
		name := r.method + " " + r.pattern
		want, listed := opened[name]
		if r.open == listed {
			t.Errorf("%s: open %t, and listed here %t: want one of them", name, r.open, listed)
		}
		if r.open {
			continue
		}
		tried++
		for _, scope := range Scopes() {
			h := New(Config{Gateway: newFakeGateway(), Callers: []Caller{{Name: "ci", Tokens: []string{scopedToken}, May: []Scope{scope}}}})
			got := called(h, r, scopedToken)
			may := strings.Contains(" "+want+" ", " "+string(scope)+" ")
			if (got == http.StatusForbidden) == may || got == http.StatusUnauthorized {
				t.Errorf("%s with a token for %s: %d, want it to be let in: %t", name, scope, got, may)
			}
		}
		for who, h := range map[string]*Handler{
			"everything":     New(Config{Gateway: newFakeGateway(), Tokens: []string{scopedToken}}),
			"all scopes":     New(Config{Gateway: newFakeGateway(), Callers: []Caller{{Name: "ci", Tokens: []string{otherScoped, scopedToken}, May: Scopes()}}}),
			"nothing at all": New(Config{Gateway: newFakeGateway(), Callers: []Caller{{Name: "ci", Tokens: []string{scopedToken}}}}),
		} {
			if got := called(h, r, scopedToken); (got == http.StatusForbidden) != (who == "nothing at all") {
				t.Errorf("%s with a token for %s: %d", name, who, got)
			}
		}
	}
	if tried != len(opened) {
		t.Errorf("%d routes tried: want %d", tried, len(opened))
	}
}

func called(h *Handler, r route, token string) int {
	request := httptest.NewRequest(r.method, "/"+strings.Replace(r.pattern, "{id}", "x", 1), strings.NewReader("{}"))
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, request)
	return answer.Code
}

// Who called stands in the record, and in the event when it was not let in.
func TestACallerIsNamed(t *testing.T) {
	var events []Event
	h := New(Config{
		Gateway: newFakeGateway(), Tokens: []string{"everything-Zt5Wq8Nb"}, Event: func(e Event) { events = append(events, e) },
		Callers: []Caller{{Name: "ci", Tokens: []string{scopedToken, otherScoped}, May: []Scope{ScopeRead}}, {Name: "scaler", Tokens: []string{"scaler-Kd3Vg6Ls0Bn"}, May: []Scope{ScopeRead}}},
	})
	for token, want := range map[string]string{"everything-Zt5Wq8Nb": "token 1", scopedToken: "ci (token 1)", otherScoped: "ci (token 2)", "scaler-Kd3Vg6Ls0Bn": "scaler"} {
		events = nil
		called(h, route{method: http.MethodPost, pattern: "purge/{id}/cancel"}, token)
		for _, e := range events {
			if e.Actor != want {
				t.Errorf("%s is called %q: want %q", token, e.Actor, want)
			}
		}
		if refused := len(events) == 1 && events[0].Kind == Denied; refused != (want != "token 1") {
			t.Errorf("%s: events %+v: want that it was denied, or not", token, events)
		}
	}
}

func TestCallersThatAreWrong(t *testing.T) {
	for _, c := range []struct {
		caller Caller
		want   []string
	}{
		{Caller{}, []string{`caller ""`, "got 0 tokens", "may do nothing"}},
		{Caller{Name: "a b", Tokens: []string{"1", "2", "3"}, May: []Scope{"everything"}}, []string{`"a b"`, "got 3 tokens", `may "everything": want some of read, purge, deploy, replicas`}},
		{Caller{Name: "ci", Tokens: []string{scopedToken}, May: []Scope{ScopePurge}}, nil},
	} {
		err := c.caller.Validate()
		if (err == nil) != (c.want == nil) {
			t.Errorf("%+v: got %v", c.caller, err)
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: got %v: want %q", c.caller, err, want)
			}
		}
	}
}
