package httpcache

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestServe(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, "Cache-Control: max-age=60")
		w.get(site).wants(t, StatusMiss, http.StatusOK, "hello")
		wait(3 * time.Second)
		hit := w.get(site)
		hit.wants(t, StatusHit, http.StatusOK, "hello")
		for name, want := range map[string]string{
			"Cache-Status": "edge; hit; ttl=57", "Age": "3", "Content-Length": "5",
		} {
			if got := hit.Header().Get(name); got != want {
				t.Errorf("%s %q: want %q", name, got, want)
			}
		}
	})
}

// One of a crowd may look the key up before the first answer makes it known as
// uncacheable, and come to the fill after. It must not start another one, for
// which the rest of the crowd would wait.
func TestNobodyQueuesForWhatHasJustBeenRefused(t *testing.T) {
	w := newWorld(t, "Cache-Control: no-store")
	hash := w.h.Store.hash(w.h.requestKey(nil, httptest.NewRequest(http.MethodGet, site, nil)))
	w.origin.detaching = func() { w.h.Store.refuse(hash, ReasonNoStore, time.Now()) }
	got := w.get(site)
	got.wants(t, StatusMiss, http.StatusOK, "hello")
	if got.Reason != ReasonRefused {
		t.Errorf("reason %q: want %q", got.Reason, ReasonRefused)
	}
}
