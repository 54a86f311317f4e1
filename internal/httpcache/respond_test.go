package httpcache

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/cacherules"
)

func TestRequestsOnAFreshEntry(t *testing.T) {
	whole := []string{
		"Cache-Control: max-age=60", `ETag: "a"`, "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT", "Content-Type: text/x",
	}
	for name, c := range map[string]struct {
		method string
		fields []string
		status Status
		code   int
		body   string
	}{
		"GET":                                 {"GET", nil, StatusHit, 200, "hello"},
		"HEAD is answered from a stored GET":  {"HEAD", nil, StatusHit, 200, ""},
		"the client has it by tag":            {"GET", []string{`If-None-Match: "a"`}, StatusHit, 304, ""},
		"the client has it by date":           {"GET", []string{"If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT"}, StatusHit, 304, ""},
		"HEAD, and the client has it":         {"HEAD", []string{`If-None-Match: "a"`}, StatusHit, 304, ""},
		"a part":                              {"GET", []string{"Range: bytes=1-3"}, StatusHit, 206, "ell"},
		"a part, if it is still the same":     {"GET", []string{"Range: bytes=1-3", `If-Range: "a"`}, StatusHit, 206, "ell"},
		"a part, but it is not the same":      {"GET", []string{"Range: bytes=1-3", `If-Range: "b"`}, StatusHit, 200, "hello"},
		"a part, compared weakly":             {"GET", []string{"Range: bytes=1-3", `If-Range: W/"a"`}, StatusHit, 200, "hello"},
		"a part, by date":                     {"GET", []string{"Range: bytes=-2", "If-Range: Sun, 06 Nov 1994 08:49:37 GMT"}, StatusHit, 206, "lo"},
		"no such part":                        {"GET", []string{"Range: bytes=5-"}, StatusHit, 416, ""},
		"a part of nothing new":               {"GET", []string{"Range: bytes=1-3", `If-None-Match: "a"`}, StatusHit, 304, ""},
		"a HEAD for a part is for the whole":  {"HEAD", []string{"Range: bytes=1-3"}, StatusHit, 200, ""},
		"another unit":                        {"GET", []string{"Range: lines=1-3"}, StatusHit, 200, "hello"},
		"request no-cache is not obeyed":      {"GET", []string{"Cache-Control: no-cache", "Pragma: no-cache"}, StatusHit, 200, "hello"},
		"only-if-cached, and it is":           {"GET", []string{"Cache-Control: only-if-cached"}, StatusHit, 200, "hello"},
		"If-Match is for the origin":          {"GET", []string{`If-Match: "a"`}, StatusBypass, 200, "hello"},
		"Authorization is for the origin":     {"GET", []string{"Authorization: Bearer x"}, StatusBypass, 200, "hello"},
		"another method in disguise":          {"GET", []string{"X-HTTP-Method-Override: DELETE"}, StatusBypass, 200, "hello"},
		"request no-store is content with it": {"GET", []string{"Cache-Control: no-store"}, StatusHit, 200, "hello"},
	} {
		inBubble(t, func(t *testing.T) {
			w := newWorld(t, whole...)
			w.get(site)
			got := w.do(c.method, site, c.fields...)
			if c.status == StatusBypass && c.method == "GET" {
				if w.origin.fetches() != 2 {
					t.Errorf("%s: %d fetches: want the origin asked", name, w.origin.fetches())
				}
			}
			if got.err != nil || got.Status != c.status || got.ResponseRecorder.Code != c.code || got.Body.String() != c.body {
				t.Errorf("%s: %v %s %d %q: want %s %d %q", name, got.err, got.Status, got.ResponseRecorder.Code, got.Body, c.status, c.code, c.body)
			}
			length := got.Header().Get("Content-Length")
			if c.method == "HEAD" && c.code == 200 && length != "5" {
				t.Errorf("%s: Content-Length %q: want that of the body", name, length)
			}
			if c.code == 304 && (length != "" || got.Header().Get("Content-Type") != "" || got.Header().Get("Etag") != `"a"`) {
				t.Errorf("%s: %v: want the tag, and nothing about the body", name, got.Header())
			}
		})
	}
}

func TestRequestsThatFillNothing(t *testing.T) {
	fresh := []string{"Cache-Control: max-age=60"}
	for name, c := range map[string]struct {
		method, body string
		fields       []string
		reason       Reason
		line         string
	}{
		"HEAD":                    {"HEAD", "", nil, ReasonHead, "edge; fwd=uri-miss; detail=head"},
		"a part":                  {"GET", "", []string{"Range: bytes=0-1"}, ReasonRange, "edge; fwd=partial; detail=range"},
		"POST":                    {"POST", "x", nil, ReasonMethod, "edge; fwd=method; detail=method"},
		"a GET with a body":       {"GET", "x", nil, ReasonRequestBody, "edge; fwd=bypass; detail=request-body"},
		"request no-store":        {"GET", "", []string{"Cache-Control: no-store"}, ReasonRequestNoStore, "edge; fwd=request; detail=request-no-store"},
		"a cookie of the rule":    {"GET", "", []string{"Cookie: a=b; session=x"}, ReasonRule, "edge; fwd=bypass; detail=rule"},
		"Authorization":           {"GET", "", []string{"Authorization: Bearer x"}, ReasonAuthorization, "edge; fwd=uri-miss; detail=authorization"},
		"an upgrade":              {"GET", "", []string{"Upgrade: websocket"}, ReasonUpgrade, "edge; fwd=bypass; detail=upgrade"},
		"a method override field": {"GET", "", []string{"X-Method-Override: PUT"}, ReasonMethodOverride, "edge; fwd=bypass; detail=method-override"},
	} {
		inBubble(t, func(t *testing.T) {
			w := newWorld(t, fresh...)
			w.verdict = &cacherules.Verdict{Mode: cacherules.Cacheable, WithoutCookie: []string{"session"}}
			r := httptest.NewRequest(c.method, site, strings.NewReader(c.body))
			setFields(r.Header, c.fields)
			got := w.send(r)
			if got.err != nil || got.Reason != c.reason || got.Header().Get("Cache-Status") != c.line {
				t.Errorf("%s: %v %q %q: want %q %q", name, got.err, got.Reason, got.Header().Get("Cache-Status"), c.reason, c.line)
			}
			if n := w.h.Store.Stats().Entries; n != 0 {
				t.Errorf("%s: %d entries: want none", name, n)
			}
			w.get(site).wants(t, StatusMiss, 200, "hello")
			w.get(site).wants(t, StatusHit, 200, "hello")
		})
	}
}

func TestOnlyIfCachedWithoutACopy(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		got := w.get(site, "Cache-Control: only-if-cached")
		if got.err != nil || got.ResponseRecorder.Code != http.StatusGatewayTimeout || w.origin.fetches() != 0 {
			t.Errorf("%v %d after %d fetches: want 504 and none", got.err, got.ResponseRecorder.Code, w.origin.fetches())
		}
		// Nor with a copy that may not be given to the request.
		w.origin.answer = respond(200, "hello", "Cache-Control: max-age=60")
		w.get(site)
		got = w.get(site, "Cache-Control: only-if-cached", "Authorization: Bearer x")
		if got.ResponseRecorder.Code != http.StatusGatewayTimeout || w.origin.fetches() != 1 {
			t.Errorf("with Authorization: %d after %d fetches: want 504 and one", got.ResponseRecorder.Code, w.origin.fetches())
		}
	})
}

func TestAuthorizedRequestsShareWhatTheOriginPermits(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, "Cache-Control: max-age=60, public")
		w.get(site, "Authorization: Bearer x").wants(t, StatusMiss, 200, "hello")
		w.get(site, "Authorization: Bearer y").wants(t, StatusHit, 200, "hello")
		w.get(site).wants(t, StatusHit, 200, "hello")
	})
}

func TestEveryStatusWithALifetimeIsStored(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for _, status := range []int{200, 203, 204, 299, 301, 302, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504, 599, 999} {
			w := newWorld(t)
			body := "x"
			if status == 204 {
				body = ""
			}
			w.origin.answer = respond(status, body, "Cache-Control: max-age=60")
			w.get(site).wants(t, StatusMiss, status, body)
			w.get(site).wants(t, StatusHit, status, body)
		}
	})
}

func TestFieldsThatEndAtEachConnection(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, "Cache-Control: max-age=60", "Connection: X-Hop, close", "X-Hop: 1", "Keep-Alive: timeout=5",
			"Proxy-Authenticate: Basic", "Te: trailers", "Upgrade: h2c", "X-Stays: 1",
			`Cache-Status: Origin; hit`, "Age: 7")
		first, hit := w.get(site), w.get(site)
		for _, got := range []answer{first, hit} {
			for _, name := range []string{"X-Hop", "Keep-Alive", "Proxy-Authenticate", "Te", "Upgrade", "Connection"} {
				if value := got.Header().Get(name); value != "" {
					t.Errorf("%s: %s %q: want none", got.Status, name, value)
				}
			}
			if got.Header().Get("X-Stays") != "1" || got.Header().Get("Age") != "7" {
				t.Errorf("%s: %v: want X-Stays and Age: 7", got.Status, got.Header())
			}
			if lines := got.Header()["Cache-Status"]; len(lines) != 2 || lines[0] != "Origin; hit" {
				t.Errorf("%s: Cache-Status %q: want ours after that of the cache before", got.Status, lines)
			}
		}
	})
}

func TestHandlersMayEditWhatTheyGet(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, "Cache-Control: max-age=60", "X-Test: stored")
		w.get(site)
		for range 2 {
			got := w.get(site)
			for name, values := range got.Header() {
				if values[0] == "edited" {
					t.Errorf("%s was edited in the store", name)
				}
				values[0] = "edited"
				got.Header()[name] = append(values, "added")
			}
		}
	})
}

func TestOnlyTheCurrentVersionIsStored(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.verdict = page(time.Minute, 10*time.Minute)
		w.origin.source = Source{Version: "v1", Replica: "r1", Current: true}
		first := w.get(site)
		if tags := first.Header().Get("Cache-Tag"); tags != "v-v1" {
			t.Errorf("Cache-Tag %q: want that of the version", tags)
		}
		hit := w.get(site)
		if hit.Version != "v1" || hit.Replica != "r1" {
			t.Errorf("%+v: want who produced the stored answer", hit.Result)
		}
		wait(2 * time.Minute)
		w.origin.answer, w.origin.source = respond(200, "v2"), Source{Version: "v2", Replica: "r2"}
		w.get(site).wants(t, StatusStale, 200, "hello") // and refreshes in vain
		w.settled()
		w.get(site).wants(t, StatusStale, 200, "hello")
		if n := w.origin.fetches(); n != 2 {
			t.Errorf("%d fetches: want no second refresh within %v", n, refreshPause)
		}
		other := w.get(site + "?new")
		other.wants(t, StatusMiss, 200, "v2")
		if other.Reason != ReasonRollout || other.Header().Get("Cloudflare-CDN-Cache-Control") != "no-store" {
			t.Errorf("%q %v: want it kept from the CDN too", other.Reason, other.Header())
		}
		if got := w.get(site + "?new"); got.Status != StatusMiss {
			t.Errorf("%s: want the new version's answer not stored", got.Status)
		}
		w.origin.source.Current = true
		w.h.Store.Purge(Purge{Versions: []string{"v1"}})
		w.get(site).wants(t, StatusMiss, 200, "v2") // the key was refused: this one passes
		w.get(site).wants(t, StatusMiss, 200, "v2") // and this one fills
		w.get(site).wants(t, StatusHit, 200, "v2")
	})
}

func TestFingerprintedAnswersOutliveTheirVersion(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.verdict = &cacherules.Verdict{Mode: cacherules.Cacheable, Fingerprinted: true, Edge: cacherules.For(24 * time.Hour)}
		w.origin.source = Source{Version: "v1"}
		w.get(site)
		w.h.Store.Purge(Purge{Versions: []string{"v1"}, Tags: []string{"v-v1"}})
		w.get(site).wants(t, StatusHit, 200, "hello")
	})
}

func TestNamesInCacheStatus(t *testing.T) {
	for name, want := range map[string]string{
		"edge": "edge; hit", "edge.example.com:80": "edge.example.com:80; hit", "My Cache": `"My Cache"; hit`, `a"b`: `"a\"b"; hit`, "9": `"9"; hit`,
	} {
		if got := cacheStatus(name, statusLine{hit: true}); got != want {
			t.Errorf("%q: %q: want %q", name, got, want)
		}
	}
}
