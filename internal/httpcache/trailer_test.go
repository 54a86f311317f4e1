package httpcache

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// trailing answers with a file and trailing fields, announced or not.
func trailing(announced bool, fields ...string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		trailer := http.TrailerPrefix + "X-Sum"
		if announced {
			w.Header().Set("Trailer", "X-Sum, X-Never, Set-Cookie")
			trailer = "X-Sum"
		}
		if r.Header.Get("If-None-Match") == `"a"` {
			return respond(http.StatusNotModified, "", minute)(w, r)
		}
		setFields(w.Header(), append(fields, minute, `ETag: "a"`))
		w.WriteHeader(http.StatusOK)
		_, err := io.WriteString(w, alphabet)
		w.(http.Flusher).Flush() // as proxies do, to leave room for what was not announced
		w.Header()[trailer] = []string{"5", "6"}
		w.Header().Set("Set-Cookie", "mine")
		return err
	}
}

// What came after the body is stored beside the header, and comes again with
// each whole answer, whether it had been announced or not (RFC 9110, 6.5; RFC
// 9111, 3.1): from memory, from disk, and after a 304. Parts, HEAD and 304 have
// no trailer.
func TestTrailersAreStoredAndReplayed(t *testing.T) {
	for name, announced := range map[string]bool{"announced": true, "not announced": false} {
		for _, large := range []bool{false, true} {
			inBubble(t, func(t *testing.T) {
				w := newDiskWorld(t)
				defer func() { w.h.Store.Close() }()
				if large {
					w.h.Store.Configure(Options{MaxObject: 10})
				}
				w.origin.answer = trailing(announced, "Content-Type: text/plain")
				w.get(site).wants(t, StatusMiss, 200, alphabet)
				w.spilled()
				check := func(when string, got answer, status Status) {
					t.Helper()
					got.wants(t, status, 200, alphabet)
					h := got.ResponseRecorder.Result()
					if sum := h.Trailer["X-Sum"]; len(sum) != 2 || sum[0] != "5" || sum[1] != "6" || h.Header.Get("Trailer") != "X-Sum" ||
						h.Header.Get("Content-Length") != "" || len(h.Trailer) != 1 {
						t.Errorf("%s, %s, large %v: trailer %v, %v", name, when, large, h.Trailer, h.Header)
					}
				}
				check("hit", w.get(site), StatusHit)
				check("asked for it encoded", w.get(site, "Accept-Encoding: gzip"), StatusHit)
				part := w.get(site, "Range: bytes=0-4")
				part.wants(t, StatusHit, 206, "abcde")
				if part.Header().Get("Trailer") != "" || part.Header().Get("Content-Length") != "5" {
					t.Errorf("a part: %v", part.Header())
				}
				if same := w.get(site, `If-None-Match: "a"`); same.ResponseRecorder.Code != 304 || same.Header().Get("Trailer") != "" {
					t.Errorf("304: %v", same.Header())
				}
				w.do(http.MethodHead, site).wants(t, StatusHit, 200, "")
				wait(2 * time.Minute)
				check("after a 304", w.get(site), StatusRevalidated)
				w.spilled()
				w.crash(t)
				check("after a crash", w.get(site), StatusHit)
			})
		}
	}
}

// What was announced and never came is not announced again, and what must not
// come after the body does not.
func TestTrailersThatAreNotKept(t *testing.T) {
	for name, came := range map[string]http.Header{
		"nothing came": {},
		"framing, routing and caching": {
			"Content-Length": {"3"}, "Transfer-Encoding": {"chunked"}, "Cache-Control": {"max-age=9"}, "Age": {"1"}, "Vary": {"*"},
			http.TrailerPrefix + "Set-Cookie": {"a=b"}, "Trailer": {"x"}, "Www-Authenticate": {"Basic"}, "Location": {"/"},
		},
	} {
		if kept := keptTrailer(came); !kept.isEmpty() {
			t.Errorf("%s: %q is kept", name, kept)
		}
	}
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, "Trailer: X-Sum", minute)
		w.get(site).wants(t, StatusMiss, 200, "hello")
		hit := w.get(site)
		hit.wants(t, StatusHit, 200, "hello")
		if hit.Header().Get("Trailer") != "" || hit.Header().Get("Content-Length") != "5" {
			t.Errorf("%v", hit.Header())
		}
	})
}

// The trailer of a part is about the part.
func TestTrailersOfPartsAreNotKept(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.origin.answer = func(rw http.ResponseWriter, r *http.Request) error {
			err := file(alphabet, `"a"`, minute)(rw, r)
			rw.Header().Set(http.TrailerPrefix+"X-Sum", "5")
			return err
		}
		w.get(site, "Range: bytes=0-4").wants(t, StatusMiss, 206, "abcde")
		w.get(site, "Range: bytes=0-4").wants(t, StatusHit, 206, "abcde")
		w.get(site).wants(t, StatusMiss, 200, alphabet)
		hit := w.get(site)
		hit.wants(t, StatusHit, 200, alphabet)
		if hit.Header().Get("Trailer") != "" || hit.Header().Get("Content-Length") != "26" {
			t.Errorf("%v", hit.Header())
		}
	})
}

// As clients of HTTP/1.1 and HTTP/2 have them.
func TestTrailersOnTheWire(t *testing.T) {
	for name, two := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		w := newWorld(t)
		w.origin.answer = trailing(true)
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if _, err := w.h.Serve(rw, r, w.verdict, w.origin); err != nil {
				t.Error(err)
			}
		}))
		server.EnableHTTP2 = two
		server.StartTLS()
		for n := range 3 {
			resp, err := server.Client().Get(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close() // all was read
			if err != nil || string(body) != alphabet || len(resp.Trailer["X-Sum"]) != 2 || (resp.ProtoMajor == 2) != two {
				t.Errorf("%s, %d: %v %q, trailer %v", resp.Proto, n, err, body, resp.Trailer)
			}
			if n > 0 && (len(resp.Trailer) != 1 || w.origin.fetches() != 1) {
				t.Errorf("%s, %d: trailer %v, %d fetches", name, n, resp.Trailer, w.origin.fetches())
			}
		}
		server.Close()
	}
}
