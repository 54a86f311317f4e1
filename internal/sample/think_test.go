package sample

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

func TestTheAPIThinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := replica(t, "v1")
		for target, want := range map[string]struct {
			status int
			took   time.Duration
		}{
			"/api/contacts":             {200, 0},
			"/api/contacts?think=300ms": {200, 300 * time.Millisecond},
			"/api/contacts?think=1m":    {200, time.Minute},
			"/api/contacts?think=61s":   {400, 0},
			"/api/contacts?think=-1s":   {400, 0},
			"/api/contacts?think=long":  {400, 0},
		} {
			began := time.Now()
			if r := answer(a, "GET", target, ""); r.StatusCode != want.status || time.Since(began) != want.took {
				t.Errorf("%s: %d after %s: want %d after %s", target, r.StatusCode, time.Since(began), want.status, want.took)
			}
		}
		began := time.Now()
		r := answer(a, "POST", "/api/contacts?think=2s", `{"name":"Ada","email":"ada@example.com"}`)
		if r.StatusCode != http.StatusCreated || time.Since(began) != 2*time.Second {
			t.Errorf("a new contact: %d after %s: want 201 after 2s", r.StatusCode, time.Since(began))
		}
	})
}

func TestWhoLeavesIsNotThoughtFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := replica(t, "v1")
		before := len(a.contacts.search(""))
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		began := time.Now()
		r := httptest.NewRequestWithContext(ctx, "GET", "/api/contacts?think=1m", nil)
		a.ServeHTTP(httptest.NewRecorder(), r)
		if took := time.Since(began); took != time.Second || len(a.contacts.search("")) != before {
			t.Errorf("it thought for %s: want one second", took)
		}
	})
}
