package sample

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestTroubleMakesAReplicaThatLiesAboutItsHealth(t *testing.T) {
	handler, err := Handler(Config{})
	if err != nil {
		t.Fatal(err)
	}
	answer := func(method, target string, through bool) int {
		r := httptest.NewRequest(method, target, nil)
		if through {
			r.Header.Set("X-Forwarded-For", "203.0.113.7")
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w.Code
	}
	for _, step := range []struct {
		name, method, target string
		through              bool
		want                 int
	}{
		{"before", http.MethodGet, "/contacts", false, 200},
		{"nobody makes trouble through a gateway", http.MethodPost, "/trouble?for=1m", true, 403},
		{"so all is well", http.MethodGet, "/contacts", false, 200},
		{"for how long has to be said", http.MethodPost, "/trouble", false, 400},
		{"and not for ever", http.MethodPost, "/trouble?for=1h", false, 400},
		{"trouble begins", http.MethodPost, "/trouble?for=1m", false, 200},
		{"pages fail", http.MethodGet, "/contacts", false, 503},
		{"the check does not know", http.MethodGet, "/healthz", false, 200},
		{"trouble ends", http.MethodPost, "/trouble?for=0s", false, 200},
		{"pages are back", http.MethodGet, "/contacts", false, 200},
	} {
		if got := answer(step.method, step.target, step.through); got != step.want {
			t.Errorf("%s: %s %s gave %d: want %d", step.name, step.method, step.target, got, step.want)
		}
	}
}
