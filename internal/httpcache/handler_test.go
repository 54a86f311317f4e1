package httpcache

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/unit"
)

func TestPersonalAnswersNeverReachTheCDN(t *testing.T) {
	for name, fields := range map[string][]string{
		"a cookie of the rule":               {"Cookie: session=x"},
		"the cookie and a pretended upgrade": {"Cookie: session=x", "Upgrade: h2c"},
		"the cookie and a precondition":      {"Cookie: session=x", `If-Match: "a"`},
		"another method in disguise":         {"X-HTTP-Method-Override: DELETE"},
	} {
		w := newWorld(t)
		w.verdict = page(time.Minute, 0)
		w.verdict.WithoutCookie = []string{"session"}
		got := w.get(site, fields...)
		if cdn := got.Header().Get("Cloudflare-CDN-Cache-Control"); got.err != nil || cdn != "no-store" {
			t.Errorf("%s: %v, Cloudflare-CDN-Cache-Control %q: want no-store", name, got.err, cdn)
		}
	}
	w := newWorld(t)
	w.verdict = page(time.Minute, 0)
	if cdn := w.get(site).Header().Get("Cloudflare-CDN-Cache-Control"); cdn != "max-age=60" {
		t.Errorf("an ordinary page: %q: want the CDN to keep it", cdn)
	}
}

func TestPurgesGoByWhatTheVisitorSent(t *testing.T) {
	w := newWorld(t, "Cache-Control: max-age=60")
	w.h.Seen = func(r *http.Request) (string, string) {
		return "https", r.Header.Get("X-Seen") // the request itself was rewritten
	}
	visit := func() Status { return w.get("http://example.com/index.php?p=shop", "X-Seen: /shop/").Status }
	visit()
	w.h.Store.Purge(Purge{URLs: []string{"https://example.com/index.php?p=shop"}, Prefixes: []string{"example.com/index"}})
	if got := visit(); got != StatusHit {
		t.Errorf("%s after a purge of the rewritten URL: want a hit", got)
	}
	w.h.Store.Purge(Purge{URLs: []string{"https://example.com/shop/"}})
	if got := visit(); got != StatusMiss {
		t.Errorf("%s after a purge of the visitor's URL: want a miss", got)
	}
}

func TestVariants(t *testing.T) {
	w := newWorld(t)
	w.origin.answer = func(rw http.ResponseWriter, r *http.Request) error {
		return respond(200, r.Header.Get("Accept"), "Cache-Control: max-age=60", "Vary: Accept")(rw, r)
	}
	w.get(site, "Accept: a").wants(t, StatusMiss, 200, "a")
	other := w.get(site, "Accept: b")
	other.wants(t, StatusMiss, 200, "b")
	if line := other.Header().Get("Cache-Status"); !strings.HasPrefix(line, "edge; fwd=vary-miss;") {
		t.Errorf("Cache-Status %q: want vary-miss", line)
	}
	w.get(site, "Accept: a").wants(t, StatusHit, 200, "a")
	w.get(site, "Accept: b").wants(t, StatusHit, 200, "b")
	w.get(site).wants(t, StatusMiss, 200, "")
}

func TestSilentAndForgetfulOrigins(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request) error
		code   int
		body   string
	}{
		"one that writes nothing": {func(http.ResponseWriter, *http.Request) error { return nil }, 200, ""},
		"one that writes a body only": {func(w http.ResponseWriter, _ *http.Request) error {
			_, err := w.Write([]byte("hello"))
			return err
		}, 200, "hello"},
		"one that only flushes": {func(w http.ResponseWriter, _ *http.Request) error {
			return http.NewResponseController(w).Flush()
		}, 200, ""},
		"one that writes two headers": {func(w http.ResponseWriter, _ *http.Request) error {
			w.WriteHeader(404)
			w.WriteHeader(200)
			return nil
		}, 404, ""},
	} {
		for _, fields := range [][]string{nil, {"Upgrade: x"}} { // through a fill, and straight through
			w := newWorld(t)
			w.origin.answer = c.answer
			got := w.get(site, fields...)
			if got.err != nil || got.ResponseRecorder.Code != c.code || got.Body.String() != c.body {
				t.Errorf("%s: %v %d %q: want %d %q", name, got.err, got.ResponseRecorder.Code, got.Body, c.code, c.body)
			}
			w.h.Store.Close()
		}
	}
}

func TestStatsAddUp(t *testing.T) {
	w := newWorld(t, "Cache-Control: max-age=60")
	for range 3 {
		w.get(site)
	}
	w.do("POST", site+"?x")
	w.get(site, "Cache-Control: only-if-cached")
	w.get(site+"?none", "Cache-Control: only-if-cached")
	w.h.Store.Purge(Purge{Everything: true})
	s := w.h.Store.Stats()
	if s.Hits != 3 || s.Misses != 1 || s.Bypasses != 1 || s.Errors != 1 || s.Stores != 1 || s.Purges != 1 || s.Entries != 1 || s.Generation != 1 {
		t.Errorf("%+v: want 3 hits, 1 miss, 1 bypass, 1 error, 1 stored, 1 purge", s)
	}
	if w.count(EventStored) != 1 {
		t.Errorf("%d stored events: want 1", w.count(EventStored))
	}
}

func TestValidation(t *testing.T) {
	bad := Policy{Name: "a\nb", StaleOnError: -1, MaxRefreshes: -1, Abandon: unit.Duration(-1)}
	for _, word := range []string{"name", "stale_on_error", "max_refreshes", "abandon"} {
		if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%v: want %s named", err, word)
		}
	}
	options := Options{MaxBytes: -1, MaxObject: -1}
	for _, word := range []string{"max_bytes", "max_object"} {
		if err := options.Validate(); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%v: want %s named", err, word)
		}
	}
	conformance := Conformance()
	for _, err := range []error{new(Policy).Validate(), conformance.Validate(), Options{}.Validate()} {
		if err != nil {
			t.Error(err)
		}
	}
}

func TestTheConformancePolicySharesCookies(t *testing.T) {
	w := newWorld(t, "Cache-Control: max-age=60", "Set-Cookie: a=b")
	w.h.Policy = Conformance()
	w.get(site)
	hit := w.get(site)
	hit.wants(t, StatusHit, 200, "hello")
	if hit.Header().Get("Set-Cookie") != "a=b" {
		t.Errorf("Set-Cookie %q: want it stored", hit.Header().Get("Set-Cookie"))
	}
}

func TestCloseEndsWhatIsInFlight(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.origin.answer = newGate().answer(200, "hello", "Cache-Control: max-age=60")
		waiting := w.startGet(site)
		w.settled()
		w.h.Store.Close()
		if got := <-waiting; got.err == nil {
			t.Error("the request ended without an error")
		}
		if n := w.fetching(site); n != 0 {
			t.Errorf("%d fetches in flight: want 0", n)
		}
	})
}

func TestVerdictsMayBeMissing(t *testing.T) {
	w := newWorld(t, "Cache-Control: max-age=60")
	rec := httptest.NewRecorder()
	if _, err := w.h.Serve(rec, httptest.NewRequest("GET", site, nil), nil, w.origin); err != nil || rec.Code != 200 {
		t.Errorf("%v %d: want the origin's own word to count", err, rec.Code)
	}
}
