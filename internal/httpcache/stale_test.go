package httpcache

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgegw/edge/internal/cacherules"
	"github.com/edgegw/edge/internal/unit"
)

func TestStaleWhileRevalidate(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.origin.answer = validating("hello", "Cache-Control: max-age=10, stale-while-revalidate=30", `ETag: "a"`)
		w.get(site)
		wait(13 * time.Second)
		stale := w.get(site)
		stale.wants(t, StatusStale, 200, "hello")
		if line := stale.Header().Get("Cache-Status"); line != "edge; hit; ttl=-3; detail=stale-while-revalidate" {
			t.Errorf("Cache-Status %q: want a hit three seconds past its lifetime", line)
		}
		w.settled()
		if tag := w.origin.lastAsked().Get("If-None-Match"); tag != `"a"` {
			t.Errorf("the refresh asked with If-None-Match %q: want the stored tag", tag)
		}
		fresh := w.get(site)
		fresh.wants(t, StatusHit, 200, "hello")
		if fresh.Header().Get("Age") != "0" || w.origin.fetches() != 2 {
			t.Errorf("Age %s after %d fetches: want 0 after 2", fresh.Header().Get("Age"), w.origin.fetches())
		}
		wait(41 * time.Second)
		w.get(site).wants(t, StatusRevalidated, 200, "hello") // past the window
	})
}

func TestOneRefreshAtATime(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, "Cache-Control: max-age=10, stale-while-revalidate=30")
		w.get(site)
		w.get(site + "?other")
		wait(13 * time.Second)
		g := newGate()
		w.origin.answer = g.answer(200, "news", "Cache-Control: max-age=10")
		w.h.Policy.MaxRefreshes = 1
		for range 5 {
			w.get(site).wants(t, StatusStale, 200, "hello")
			w.get(site+"?other").wants(t, StatusStale, 200, "hello")
		}
		w.settled()
		if n := w.origin.fetches(); n != 3 || w.h.Store.Stats().Refreshing != 1 {
			t.Errorf("%d fetches, %d refreshes at once: want one more than the first two", n, w.h.Store.Stats().Refreshing)
		}
		close(g.header)
		close(g.body)
		w.settled()
		w.get(site).wants(t, StatusHit, 200, "news")
		if n := w.h.Store.Stats().Refreshing; n != 0 {
			t.Errorf("%d refreshes in the end: want 0", n)
		}
	})
}

func TestARefreshThatFailsKeepsTheCopy(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, "Cache-Control: max-age=10, stale-while-revalidate=30, stale-if-error=30")
		w.get(site)
		wait(13 * time.Second)
		w.origin.answer = respond(http.StatusServiceUnavailable, "sorry")
		w.get(site).wants(t, StatusStale, 200, "hello")
		w.settled()
		w.get(site).wants(t, StatusStale, 200, "hello")
		w.settled()
		if n := w.count(EventRefreshFailed); n != 1 {
			t.Errorf("%d refresh-failed events: want 1 within %v", n, refreshPause)
		}
		wait(refreshPause)
		w.get(site).wants(t, StatusStale, 200, "hello")
		w.settled()
		if n := w.count(EventRefreshFailed); n != 2 {
			t.Errorf("%d refresh-failed events: want 2", n)
		}
	})
}

func TestARefreshThatIsNotStorableEndsTheCopy(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, "Cache-Control: max-age=10, stale-while-revalidate=30")
		w.get(site)
		wait(13 * time.Second)
		w.origin.answer = respond(http.StatusGone, "gone", "Cache-Control: no-store")
		w.get(site).wants(t, StatusStale, 200, "hello")
		w.settled()
		w.get(site).wants(t, StatusMiss, http.StatusGone, "gone")
	})
}

func TestStaleIfError(t *testing.T) {
	failing := respond(http.StatusBadGateway, "bad")
	for name, c := range map[string]struct {
		control string
		policy  Policy
		after   time.Duration
		answer  func(http.ResponseWriter, *http.Request) error
		status  Status
		code    int
	}{
		"no connection, within the window":       {"max-age=10, stale-if-error=30", Policy{}, 20 * time.Second, down, StatusStale, 200},
		"a 502, within the window":               {"max-age=10, stale-if-error=30", Policy{}, 20 * time.Second, failing, StatusStale, 200},
		"a 502, after the window":                {"max-age=10, stale-if-error=30", Policy{}, 40 * time.Second, failing, StatusMiss, 502},
		"no window":                              {"max-age=10", Policy{}, 20 * time.Second, failing, StatusMiss, 502},
		"the policy's window":                    {"max-age=10", Policy{StaleOnError: unit.Duration(time.Hour)}, 20 * time.Second, failing, StatusStale, 200},
		"a 404 is an answer":                     {"max-age=10, stale-if-error=30", Policy{}, 20 * time.Second, respond(404, "bad"), StatusMiss, 404},
		"must-revalidate forbids":                {"max-age=10, must-revalidate, stale-if-error=30", Policy{}, 20 * time.Second, failing, StatusMiss, 502},
		"no-cache forbids, fresh or not":         {"no-cache, max-age=60", Policy{}, 0, failing, StatusMiss, 502},
		"no-cache forbids what the policy gives": {`no-cache`, Policy{StaleOnError: unit.Duration(time.Hour)}, 0, failing, StatusMiss, 502},
	} {
		inBubble(t, func(t *testing.T) {
			w := newWorld(t, "Cache-Control: "+c.control, `ETag: "a"`)
			w.h.Policy = c.policy
			w.get(site)
			wait(c.after)
			w.origin.answer = c.answer
			got := w.get(site)
			if got.err != nil || got.Status != c.status || got.ResponseRecorder.Code != c.code {
				t.Errorf("%s: %v %s %d: want %s %d", name, got.err, got.Status, got.ResponseRecorder.Code, c.status, c.code)
			}
			if c.status == StatusStale && !strings.Contains(got.Header().Get("Cache-Status"), "detail=stale-if-error") {
				t.Errorf("%s: Cache-Status %q: want the reason", name, got.Header().Get("Cache-Status"))
			}
		})
	}
}

// RFC 9111, 4.2.4: a cache that is disconnected may serve stale answers unless
// told otherwise. One that is answered with a failure is not disconnected.
func TestStaleWhileUnreachable(t *testing.T) {
	const minute = time.Minute
	asked := page(minute, 0) // a rule that has said how long
	for name, c := range map[string]struct {
		fields  string
		verdict *cacherules.Verdict
		after   time.Duration
		answer  func(http.ResponseWriter, *http.Request) error
		code    int // zero for no answer
	}{
		"no connection":                         {"Cache-Control: max-age=10", nil, minute, down, 200},
		"a lifetime of the targeted field":      {"CDN-Cache-Control: max-age=10", nil, minute, down, 200},
		"no validator is needed":                {"Expires: Sat, 01 Jan 2000 00:00:10 GMT", nil, minute, down, 200},
		"ten minutes and no longer":             {"Cache-Control: max-age=10", nil, 10*minute + 10*time.Second, down, 0},
		"a 503 is an answer":                    {"Cache-Control: max-age=10", nil, minute, respond(503, "sorry"), 503},
		"a 500 is an answer":                    {"Cache-Control: max-age=10", nil, minute, respond(500, "sorry"), 500},
		"must-revalidate forbids":               {"Cache-Control: max-age=10, must-revalidate", nil, minute, down, 0},
		"proxy-revalidate forbids":              {"Cache-Control: max-age=10, proxy-revalidate", nil, minute, down, 0},
		"s-maxage implies it":                   {"Cache-Control: s-maxage=10", nil, minute, down, 0},
		"no-cache forbids":                      {"Cache-Control: max-age=10, no-cache", nil, minute, down, 0},
		"stale-if-error says how long":          {"Cache-Control: max-age=10, stale-if-error=20", nil, minute, down, 0},
		"stale-if-error=0 says not at all":      {"Cache-Control: max-age=10, stale-if-error=0", nil, minute, down, 0},
		"a rule says not at all":                {"Cache-Control: max-age=10", asked, minute, down, 0},
		"what was never fresh is not kept":      {"Cache-Control: max-age=0", nil, minute, down, 0},
		"a rule that says nothing of lifetimes": {"Cache-Control: max-age=10", &cacherules.Verdict{Mode: cacherules.Cacheable, Browser: cacherules.For(0)}, minute, down, 200},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newWorld(t, c.fields) // it is 2000-01-01 in every bubble
				if c.verdict != nil {
					w.verdict = c.verdict
				}
				w.get(site)
				wait(c.after)
				w.origin.answer = c.answer
				switch got := w.get(site); {
				case c.code == 0 && got.err == nil:
					t.Errorf("%s %d: want the origin's error", got.Status, got.ResponseRecorder.Code)
				case c.code != 0 && (got.err != nil || got.ResponseRecorder.Code != c.code):
					t.Errorf("%v %d: want %d", got.err, got.ResponseRecorder.Code, c.code)
				case c.code == 200 && got.Reason != ReasonStaleUnreachable:
					t.Errorf("%s (%s): want the reason", got.Status, got.Reason)
				}
			})
		})
	}
}

func TestRevalidation(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		date := httpDate(time.Now())
		w.origin.answer = respond(200, "hello", "Cache-Control: max-age=10", `ETag: "a"`, "Date: "+date, "X-Test: old", "Content-Type: text/x")
		w.get(site)
		wait(20 * time.Second)
		w.origin.answer = respond(304, "", "Cache-Control: max-age=100", `ETag: "a"`, "X-Test: new", "Content-Type: text/y", "Set-Cookie: seen=1")
		got := w.get(site)
		got.wants(t, StatusRevalidated, 200, "hello")
		if line := got.Header().Get("Cache-Status"); line != "edge; fwd=stale; fwd-status=304; ttl=100; stored" {
			t.Errorf("Cache-Status %q", line)
		}
		if got.Header().Get("Set-Cookie") != "seen=1" || got.Header().Get("Cloudflare-CDN-Cache-Control") != "no-store" {
			t.Errorf("%v: want the cookie for its client, and kept from the CDN", got.Header())
		}
		wait(50 * time.Second)
		hit := w.get(site)
		hit.wants(t, StatusHit, 200, "hello")
		for name, want := range map[string]string{"X-Test": "new", "Content-Type": "text/x", "Age": "50", "Set-Cookie": ""} {
			if value := hit.Header().Get(name); value != want {
				t.Errorf("%s %q: want %q", name, value, want)
			}
		}
		if hit.Header().Get("Date") == date {
			t.Error("Date is still that of the first answer: want that of its confirmation")
		}
	})
}

func TestRevalidationThatBringsNews(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, "Cache-Control: max-age=10", `ETag: "a"`)
		w.get(site)
		wait(20 * time.Second)
		w.origin.answer = respond(200, "news", "Cache-Control: max-age=10", `ETag: "b"`)
		got := w.get(site)
		got.wants(t, StatusMiss, 200, "news")
		if line := got.Header().Get("Cache-Status"); line != "edge; fwd=stale; ttl=10; stored" {
			t.Errorf("Cache-Status %q", line)
		}
		w.get(site).wants(t, StatusHit, 200, "news")
		if n := w.h.Store.Stats().Entries; n != 1 {
			t.Errorf("%d entries: want the old one replaced", n)
		}
	})
}

func TestA304AboutAnotherAnswerIsNotBelieved(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, "Cache-Control: max-age=10", `ETag: "a"`)
		w.get(site)
		wait(20 * time.Second)
		w.origin.answer = func(rw http.ResponseWriter, r *http.Request) error {
			if r.Header.Get("If-None-Match") != "" {
				return respond(304, "", `ETag: "b"`)(rw, r)
			}
			return respond(200, "news", "Cache-Control: max-age=10", `ETag: "b"`)(rw, r)
		}
		w.get(site).wants(t, StatusMiss, 200, "news")
	})
}

func TestAnswersThatMustBeConfirmedAreNotQueuedFor(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		let := make(chan struct{})
		plain := validating("hello", "Cache-Control: no-cache", `ETag: "a"`)
		w.origin.answer = func(rw http.ResponseWriter, r *http.Request) error {
			<-let
			return plain(rw, r)
		}
		first := w.startMany(4, site)
		close(let)
		for _, one := range first {
			if got := <-one; got.err != nil || got.Body.String() != "hello" {
				t.Errorf("%v %q: want hello", got.err, got.Body)
			}
		}
		let = make(chan struct{})
		before := w.origin.fetches()
		all := w.startMany(4, site)
		if n := w.origin.fetches() - before; n != 4 {
			t.Errorf("%d fetches at once for 4 requests: want one each", n)
		}
		close(let)
		for _, one := range all {
			(<-one).wants(t, StatusRevalidated, 200, "hello")
		}
		synctest.Wait()
	})
}
