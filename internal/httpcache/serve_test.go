package httpcache

import (
	"net/http"
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
