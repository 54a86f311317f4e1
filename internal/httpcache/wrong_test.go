package httpcache

import (
	"strings"
	"testing"
)

// What was wrong with one request is no answer to the others.
func TestErrorsAboutARequestAreNotStored(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		refused := func(status int, fields ...string) {
			t.Helper()
			w := newWorld(t)
			w.origin.answer = respond(status, "x", "Cache-Control: public, max-age=60")
			if got := w.get(site, fields...); got.Reason != ReasonRequestError || got.Stored {
				t.Errorf("%d: %s, stored %t", status, got.Reason, got.Stored)
			}
			w.origin.answer = respond(200, "hello", "Cache-Control: max-age=60")
			w.get(site).wants(t, StatusMiss, 200, "hello")
			w.get(site).wants(t, StatusHit, 200, "hello")
		}
		for _, status := range []int{406, 408, 411, 412, 413, 415, 416, 417, 421, 425, 426, 428, 429, 431} {
			refused(status)
		}
		for _, odd := range []string{
			"X-Large: " + strings.Repeat("x", maxUsual), "X-Odd: \xff", "X-Odd: a\x07b", "Cookie: a=", "Content-Type: x",
			"Content-Encoding: x", "Expect: x", "Te: x", "Max-Forwards: x",
		} {
			refused(400, odd)
		}
		w := newWorld(t)
		w.origin.answer = respond(400, "x", "Cache-Control: public, max-age=60")
		w.get(site)
		w.get(site).wants(t, StatusHit, 400, "x")
	})
}

// An error that somebody provoked leaves the stored answer where it is.
func TestAProvokedErrorTakesNothingAway(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, "Cache-Control: max-age=60, stale-if-error=600")
		w.get(site)
		wait(61e9)
		w.origin.answer = respond(431, "x")
		w.get(site).wants(t, StatusMiss, 431, "x")
		w.origin.answer = down
		w.get(site).wants(t, StatusStale, 200, "hello")
	})
}
