package httpcache

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

func TestUnsafeRequestsInvalidate(t *testing.T) {
	for name, c := range map[string]struct {
		method, url string
		status      int
		fields      []string
		hit         bool
	}{
		"POST":                            {"POST", site, 200, nil, false},
		"PUT":                             {"PUT", site, 204, nil, false},
		"DELETE":                          {"DELETE", site, 200, nil, false},
		"a method that nobody knows":      {"M-SEARCH", site, 200, nil, false},
		"a redirect after POST":           {"POST", site, 303, nil, false},
		"an https POST to the same":       {"POST", "https://example.com/page", 200, nil, false},
		"Location":                        {"POST", "http://example.com/other", 201, []string{"Location: /page"}, false},
		"Content-Location, absolute":      {"POST", "http://example.com/other", 200, []string{"Content-Location: http://example.com/page"}, false},
		"a relative Location":             {"POST", "http://example.com/x/y", 201, []string{"Location: ../page"}, false},
		"a Location elsewhere":            {"POST", "http://example.com/other", 201, []string{"Location: http://example.org/page"}, true},
		"a POST that failed":              {"POST", site, 500, nil, true},
		"a POST that was refused":         {"POST", site, 403, nil, true},
		"a POST to another query":         {"POST", site + "?a", 200, nil, true},
		"PURGE is for other caches":       {"PURGE", site, 200, nil, true},
		"BAN is, too":                     {"BAN", site, 200, nil, true},
		"OPTIONS changes nothing":         {"OPTIONS", site, 200, nil, true},
		"a safe WebDAV method":            {"PROPFIND", site, 207, nil, true},
		"a Location that makes no sense":  {"POST", "http://example.com/other", 201, []string{"Location: http://[::1"}, true},
		"a POST to another host's mirror": {"POST", "http://www.example.com/page", 200, nil, true},
	} {
		inBubble(t, func(t *testing.T) {
			w := newWorld(t, "Cache-Control: max-age=60")
			w.get(site)
			before := w.h.Store.Generation()
			w.origin.answer = respond(c.status, "", c.fields...)
			if got := w.do(c.method, c.url); got.err != nil || got.ResponseRecorder.Code != c.status {
				t.Fatalf("%s: %v %d", name, got.err, got.ResponseRecorder.Code)
			}
			if got := w.get(site); (got.Status == StatusHit) != c.hit {
				t.Errorf("%s: then %s: want hit %v", name, got.Status, c.hit)
			}
			if w.h.Store.Generation() != before {
				t.Errorf("%s: the generation rose: want that left to purges", name)
			}
		})
	}
}

func TestAFillInFlightIsInvalidatedToo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		g := newGate()
		w.origin.answer = g.answer(200, "old", "Cache-Control: max-age=60")
		reader := w.startGet(site)
		synctest.Wait()
		writer := &testOrigin{answer: respond(http.StatusNoContent, ""), source: Source{Current: true}}
		if _, err := w.h.Serve(httptest.NewRecorder(), httptest.NewRequest("POST", site, nil), nil, writer); err != nil {
			t.Fatal(err)
		}
		// Who asks after the change must not get what was asked for before it.
		after := newWorld(t, "Cache-Control: max-age=60")
		after.h = w.h
		after.origin.answer = respond(200, "new", "Cache-Control: max-age=60")
		after.get(site).wants(t, StatusMiss, 200, "new")
		close(g.header)
		close(g.body)
		got := <-reader
		got.wants(t, StatusMiss, 200, "old")
		if got.Stored || got.Reason != ReasonInvalidated {
			t.Errorf("stored %v (%s): want it kept out", got.Stored, got.Reason)
		}
		after.get(site).wants(t, StatusHit, 200, "new")
	})
}

// A request finds a stale copy and, before it asks the origin about it, an
// unsafe request invalidates it. Whoever comes then and waits for that fetch
// must not be given the copy when the origin fails.
func TestWhatWasInvalidatedDoesNotStandInForAFailingOrigin(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, "Cache-Control: max-age=10, stale-if-error=600", `ETag: "a"`)
		w.get(site)
		wait(20 * time.Second)
		g := newGate()
		w.origin.detaching = func() {
			w.origin.detaching = nil
			w.origin.answer = respond(http.StatusNoContent, "")
			w.do(http.MethodPost, site)
			w.origin.answer = func(rw http.ResponseWriter, r *http.Request) error {
				<-g.header
				return errDown
			}
		}
		first := w.startGet(site)
		w.settled()
		second := w.startGet(site)
		w.settled()
		close(g.header)
		if got := <-first; got.err != errDown && got.Status != StatusStale {
			t.Errorf("who asked before it: %v %s", got.err, got.Status)
		}
		if got := <-second; got.err != errDown || w.origin.fetches() != 3 {
			t.Errorf("who asked after it: %v %s %q: want the origin's error", got.err, got.Status, got.Body)
		}
	})
}
