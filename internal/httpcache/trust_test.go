package httpcache

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"
)

// untrusting is a world that holds one answer, and may be told not to trust it.
func untrusting(t *testing.T, fields ...string) (*world, *atomic.Bool) {
	w := newWorld(t, append([]string{"Cache-Control: max-age=60, stale-if-error=600", `ETag: "a"`}, fields...)...)
	var trusted atomic.Bool
	trusted.Store(true)
	w.h.Store.Trust(trusted.Load)
	if got := w.get(site); got.Status != StatusMiss || !got.Stored {
		t.Fatalf("first answer %s, stored %v: want a miss that is stored", got.Status, got.Stored)
	}
	return w, &trusted
}

func TestWhatIsNotTrustedIsNotServed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, trusted := untrusting(t)
		if got := w.get(site); got.Status != StatusHit {
			t.Fatalf("%s: want a hit while the node is trusted", got.Status)
		}
		trusted.Store(false)
		got := w.get(site)
		if got.Status != StatusMiss || got.Reason != ReasonFleetBehind || got.Result.Code != http.StatusOK || w.origin.fetches() != 2 {
			t.Errorf("%s, %q, %d, %d fetches: want the origin's answer, fleet-behind", got.Status, got.Reason, got.Result.Code, w.origin.fetches())
		}
		if asked := w.origin.lastAsked(); asked.Get("If-None-Match") != "" {
			t.Errorf("the origin was asked whether %s is still right: a purge may have removed it", asked.Get("If-None-Match"))
		}
		trusted.Store(true)
		if got := w.get(site); got.Status != StatusHit {
			t.Errorf("%s: want a hit again", got.Status)
		}
	})
}

func TestWhatIsNotTrustedIsNoHelpOnErrors(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, trusted := untrusting(t)
		w.origin.answer = respond(http.StatusServiceUnavailable, "down")
		trusted.Store(false)
		if got := w.get(site); got.Result.Code != http.StatusServiceUnavailable {
			t.Errorf("%d: want the origin's own 503, not an answer that may have been purged", got.Result.Code)
		}
	})
}

// An answer under way began before purges that this node may have missed.
func TestNobodyJoinsAFetchWithoutTrust(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		gate := newGate()
		w.origin.answer = gate.answer(200, "hello", "Cache-Control: max-age=60")
		trusted := true
		w.h.Store.Trust(func() bool { return trusted })
		first := w.start(httptest.NewRequest("GET", site, nil))
		w.settled()
		trusted = false
		second := w.start(httptest.NewRequest("GET", site, nil))
		w.settled()
		if n := w.origin.fetches(); n != 2 {
			t.Errorf("%d fetches: want one for each request", n)
		}
		close(gate.header)
		close(gate.body)
		<-first
		<-second
	})
}

func TestOfferedHitsAreNotRepeatedWithoutTrust(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, trusted := untrusting(t)
		var kept *Repeat
		w.h.Repeatable = func(_ *http.Request, offer func() (Offer, bool)) {
			if o, ok := offer(); ok {
				kept = o.Repeat
			}
		}
		w.get(site)
		if kept == nil {
			t.Fatal("the hit was not offered")
		}
		trusted.Store(false)
		if _, ok := kept.Begin(time.Now()); ok {
			t.Error("repeated, although a purge may have removed it")
		}
	})
}
