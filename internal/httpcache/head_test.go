package httpcache

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

const (
	monday  = "Mon, 03 Jan 2000 00:00:00 GMT" // long before a bubble's clock begins
	tuesday = "Tue, 04 Jan 2000 00:00:00 GMT"
)

// onHead answers HEAD with one header, and everything else with another.
func onHead(status int, head []string, get func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.Method == http.MethodHead {
			return respond(status, "", head...)(w, r)
		}
		return get(w, r)
	}
}

// RFC 9111, 4.3.5.
func TestHeadUpdatesTheStoredAnswer(t *testing.T) {
	const (
		kept      = "kept"      // as it was: stale
		freshened = "freshened" // fresh, with the new fields
		dropped   = "dropped"
	)
	stored := []string{"Cache-Control: max-age=10, stale-if-error=600", `ETag: "a"`, "Last-Modified: " + monday, "X-News: old"}
	lasting := "Cache-Control: max-age=60"
	for name, c := range map[string]struct {
		stored []string
		status int
		head   []string
		want   string
	}{
		"the same entity tag":              {stored, 200, []string{lasting, `ETag: "a"`, "X-News: new"}, freshened},
		"the same, weakly":                 {stored, 200, []string{lasting, `ETag: W/"a"`, "X-News: new"}, freshened},
		"the same date":                    {stored, 200, []string{lasting, "Last-Modified: " + monday, "X-News: new"}, freshened},
		"the same of everything":           {stored, 200, []string{lasting, `ETag: "a"`, "Last-Modified: " + monday, "Content-Length: 5", "X-News: new"}, freshened},
		"another entity tag":               {stored, 200, []string{lasting, `ETag: "b"`, "Last-Modified: " + monday}, dropped},
		"another date":                     {stored, 200, []string{lasting, `ETag: "a"`, "Last-Modified: " + tuesday}, dropped},
		"a date that makes no sense":       {stored, 200, []string{lasting, "Last-Modified: yesterday"}, dropped},
		"another length":                   {stored, 200, []string{lasting, `ETag: "a"`, "Content-Length: 6"}, dropped},
		"another length, and no validator": {stored, 200, []string{lasting, "Content-Length: 6"}, dropped},
		"the same length, no validator":    {stored, 200, []string{lasting, "Content-Length: 5"}, kept},
		"nothing to go by":                 {stored, 200, []string{lasting}, kept},
		"an entity tag where was none":     {stored[:1], 200, []string{lasting, `ETag: "a"`}, dropped},
		"another status":                   {stored, 404, []string{lasting, `ETag: "a"`}, kept},
		"a failure":                        {stored, 503, nil, kept},
		"coded otherwise":                  {stored, 200, []string{lasting, `ETag: "a"`, "Content-Encoding: gzip", "Content-Length: 3"}, kept},
		"no longer to be stored":           {stored, 200, []string{"Cache-Control: no-store", `ETag: "a"`}, dropped},
		"another, for one visitor":         {stored, 200, []string{lasting, `ETag: "b"`, "Set-Cookie: id=1"}, kept},
	} {
		inBubble(t, func(t *testing.T) {
			w := newWorld(t, c.stored...)
			w.get(site)
			wait(20 * time.Second)
			w.origin.answer = onHead(c.status, c.head, down)
			if got := w.do("HEAD", site); got.ResponseRecorder.Code != c.status || got.Reason != ReasonHead {
				t.Errorf("%s: HEAD %d (%s): want the origin's %d", name, got.ResponseRecorder.Code, got.Reason, c.status)
			}
			got := w.get(site)
			found := dropped
			switch {
			case got.Status == StatusHit:
				found = freshened
				got.wants(t, StatusHit, 200, "hello")
				if news := got.Header().Get("X-News"); news != "new" {
					t.Errorf("%s: X-News %q: want the HEAD's", name, news)
				}
			case got.Status == StatusStale:
				found = kept
			}
			if found != c.want {
				t.Errorf("%s: then %s: %s, want %s", name, got.Status, found, c.want)
			}
		})
	}
}

// The version that answers the HEAD must be the one that may be stored.
func TestHeadOfAnotherVersion(t *testing.T) {
	for name, etag := range map[string]string{"the same tag": `"a"`, "another tag": `"b"`} {
		inBubble(t, func(t *testing.T) {
			w := newWorld(t, "Cache-Control: max-age=10, stale-if-error=600", `ETag: "a"`)
			w.get(site)
			wait(20 * time.Second)
			w.origin.answer = onHead(200, []string{"Cache-Control: max-age=60", "ETag: " + etag}, down)
			w.origin.source = Source{Version: "v2", Current: false}
			w.do("HEAD", site)
			if got := w.get(site); got.Status != StatusStale {
				t.Errorf("%s: then %s: want the answer left alone", name, got.Status)
			}
		})
	}
}

// A HEAD answers for what was before it was sent, not for what came meanwhile.
func TestWhatComesDuringAHead(t *testing.T) {
	fields := []string{"Cache-Control: max-age=10", `ETag: "a"`, `Cache-Groups: "g"`, "Cache-Tag: t"}
	for name, c := range map[string]struct {
		meanwhile func(w *world)
		hit       bool
	}{
		"nothing":       {func(*world) {}, true},
		"a purge":       {func(w *world) { w.h.Store.Purge(Purge{Tags: []string{"t"}}) }, false},
		"a soft purge":  {func(w *world) { w.h.Store.Purge(Purge{Soft: true, Everything: true}) }, false},
		"another purge": {func(w *world) { w.h.Store.Purge(Purge{Tags: []string{"u"}}) }, true},
		"its group":     {func(w *world) { w.post("http://example.com/x", `"g"`) }, false},
		"a POST to it":  {func(w *world) { w.post(site, "") }, false},
		"a POST to it, and another answer": {func(w *world) {
			w.post(site, "")
			w.get(site)
		}, false},
	} {
		inBubble(t, func(t *testing.T) {
			w := newWorld(t, fields...)
			w.get(site)
			wait(20 * time.Second)
			g := newGate()
			short := respond(200, "stale!", "Cache-Control: max-age=0", `ETag: "a"`)
			slow := g.answer(200, "", append(fields, "Cache-Control: max-age=60")[1:]...)
			w.origin.answer = func(rw http.ResponseWriter, r *http.Request) error {
				if r.Method == http.MethodHead {
					return slow(rw, r)
				}
				return short(rw, r)
			}
			done := w.start(httptest.NewRequest("HEAD", site, nil))
			synctest.Wait()
			c.meanwhile(w)
			close(g.header)
			close(g.body)
			<-done
			if got := w.get(site); (got.Status == StatusHit) != c.hit {
				t.Errorf("%s: then %s %q: want hit %v", name, got.Status, got.Body, c.hit)
			}
		})
	}
}

func TestABodyIsWeighedOnceAfterAHead(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, "Cache-Control: max-age=10", `ETag: "a"`)
		w.get(site)
		before := w.h.Store.Stats()
		for range 3 {
			wait(20 * time.Second)
			w.origin.answer = respond(200, "", "Cache-Control: max-age=10", `ETag: "a"`)
			w.do("HEAD", site)
		}
		after := w.h.Store.Stats()
		if after.Bytes != before.Bytes || after.Entries != 1 || after.Stores != before.Stores+3 {
			t.Errorf("%+v, then %+v: want one entry of the same weight", before, after)
		}
	})
}
