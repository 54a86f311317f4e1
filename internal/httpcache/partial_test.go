package httpcache

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const alphabet = "abcdefghijklmnopqrstuvwxyz"

// file answers as file servers do, with Range and If-Range.
func file(text, etag string, fields ...string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("ETag", etag)
		w.Header().Set("Content-Type", "text/plain")
		setFields(w.Header(), fields)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(text))
		return nil
	}
}

const minute = "Cache-Control: max-age=60"

// RFC 9111, 3.3 and 3.4; RFC 9110, 15.3.7.3.
func TestPartsOfAnAnswer(t *testing.T) {
	type step struct {
		ask    string // Range; empty for the whole
		status Status
		want   string
		asked  string // Range that the origin gets; empty if it asks for all, or is not asked
	}
	for name, steps := range map[string][]step{
		"a part, again": {
			{"bytes=0-4", StatusMiss, "abcde", "bytes=0-4"}, {"bytes=0-4", StatusHit, "abcde", ""},
		},
		"a part of a part": {
			{"bytes=5-14", StatusMiss, "fghijklmno", "bytes=5-14"}, {"bytes=7-8", StatusHit, "hi", ""},
		},
		"the end, by three names": {
			{"bytes=-5", StatusMiss, "vwxyz", "bytes=-5"}, {"bytes=-2", StatusHit, "yz", ""}, {"bytes=21-", StatusHit, "vwxyz", ""},
			{"bytes=22-99", StatusHit, "wxyz", ""},
		},
		"more than is there": {
			{"bytes=0-4", StatusMiss, "abcde", "bytes=0-4"}, {"bytes=3-6", StatusMiss, "defg", "bytes=3-6"},
			{"bytes=0-6", StatusHit, "abcdefg", ""},
		},
		"two parts and what lies between": {
			{"bytes=0-4", StatusMiss, "abcde", "bytes=0-4"}, {"bytes=8-9", StatusMiss, "ij", "bytes=8-9"},
			{"bytes=4-8", StatusMiss, "efghi", "bytes=4-8"}, {"bytes=0-9", StatusHit, "abcdefghij", ""},
		},
		"the whole, from its beginning": {
			{"bytes=0-4", StatusMiss, "abcde", "bytes=0-4"}, {"", StatusMiss, alphabet, "bytes=5-"},
			{"", StatusHit, alphabet, ""}, {"bytes=10-11", StatusHit, "kl", ""},
		},
		"the whole, from its end": {
			{"bytes=-5", StatusMiss, "vwxyz", "bytes=-5"}, {"", StatusMiss, alphabet, "bytes=0-20"}, {"", StatusHit, alphabet, ""},
		},
		"the whole, from both ends": {
			{"bytes=-5", StatusMiss, "vwxyz", "bytes=-5"}, {"bytes=0-1", StatusMiss, "ab", "bytes=0-1"},
			{"", StatusMiss, alphabet, "bytes=2-20"}, {"", StatusHit, alphabet, ""},
		},
		"the whole, from its middle": {
			{"bytes=5-6", StatusMiss, "fg", "bytes=5-6"}, {"", StatusMiss, alphabet, ""}, {"", StatusHit, alphabet, ""},
		},
		"a part that is all": {
			{"bytes=0-", StatusMiss, alphabet, "bytes=0-"}, {"", StatusHit, alphabet, ""},
		},
		"parts that are all": {
			{"bytes=0-9", StatusMiss, "abcdefghij", "bytes=0-9"}, {"bytes=10-", StatusMiss, alphabet[10:], "bytes=10-"},
			{"", StatusHit, alphabet, ""}, {"bytes=9-10", StatusHit, "jk", ""},
		},
	} {
		inBubble(t, func(t *testing.T) {
			w := newWorld(t)
			w.origin.answer = file(alphabet, `"a"`, minute)
			for i, s := range steps {
				fetches := w.origin.fetches()
				var fields []string
				code := http.StatusOK
				if s.ask != "" {
					fields, code = []string{"Range: " + s.ask}, http.StatusPartialContent
				}
				got := w.get(site, fields...)
				got.wants(t, s.status, code, s.want)
				if length := got.Header().Get("Content-Length"); length != itoa(len(s.want)) {
					t.Errorf("%s, step %d: Content-Length %q of %d bytes", name, i, length, len(s.want))
				}
				if got.Header().Get("Content-Type") != "text/plain" || got.Header().Get("ETag") != `"a"` {
					t.Errorf("%s, step %d: fields %v", name, i, got.Header())
				}
				asked := ""
				if w.origin.fetches() > fetches {
					asked = w.origin.lastAsked().Get("Range")
				}
				if asked != s.asked || (w.origin.fetches() > fetches) != (s.status == StatusMiss) {
					t.Errorf("%s, step %d: the origin was asked for %q: want %q", name, i, asked, s.asked)
				}
			}
		})
	}
}

// What must not be kept, or not be combined, is not.
func TestPartsThatAreNotKept(t *testing.T) {
	part := func(contentRange, body string, fields ...string) func(http.ResponseWriter, *http.Request) error {
		return respond(http.StatusPartialContent, body, append(fields, "Content-Range: "+contentRange)...)
	}
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request) error{
		"no entity tag":                        part("bytes 0-4/26", "abcde", minute),
		"a weak entity tag":                    part("bytes 0-4/26", "abcde", minute, `ETag: W/"a"`),
		"two entity tags":                      part("bytes 0-4/26", "abcde", minute, `ETag: "a"`, `ETag: "b"`),
		"no Content-Range":                     respond(206, "abcde", minute, `ETag: "a"`),
		"a Content-Range of unknown length":    part("bytes 0-4/*", "abcde", minute, `ETag: "a"`),
		"fewer bytes than it says":             part("bytes 0-5/26", "abcde", minute, `ETag: "a"`),
		"more bytes than it says":              part("bytes 0-3/26", "abcde", minute, `ETag: "a"`),
		"another Content-Length than it says":  part("bytes 0-4/26", "abcde", minute, `ETag: "a"`, "Content-Length: 4"),
		"a Content-Length that makes no sense": part("bytes 0-4/26", "abcde", minute, `ETag: "a"`, "Content-Length: x"),
		"several parts in one":                 respond(206, "abcde", minute, `ETag: "a"`, "Content-Type: multipart/byteranges; boundary=x"),
		"no lifetime":                          part("bytes 0-4/26", "abcde", `ETag: "a"`),
		"no-store":                             part("bytes 0-4/26", "abcde", "Cache-Control: no-store", `ETag: "a"`),
		"private":                              part("bytes 0-4/26", "abcde", "Cache-Control: private, max-age=60", `ETag: "a"`),
		"a cookie":                             part("bytes 0-4/26", "abcde", minute, `ETag: "a"`, "Set-Cookie: id=1"),
		"Vary on everything":                   part("bytes 0-4/26", "abcde", minute, `ETag: "a"`, "Vary: *"),
		"the whole, although a part was asked": file(alphabet, `"a"`, minute),
	} {
		inBubble(t, func(t *testing.T) {
			w := newWorld(t)
			w.origin.answer = answer
			if name == "the whole, although a part was asked" {
				w.origin.answer = respond(200, alphabet, minute, `ETag: "a"`)
			}
			first := w.get(site, "Range: bytes=0-4")
			if first.Stored || first.Status != StatusMiss {
				t.Errorf("%s: %s, stored %v: want it passed on only", name, first.Status, first.Stored)
			}
			if got := w.get(site, "Range: bytes=0-4"); got.Status != StatusMiss {
				t.Errorf("%s: then %s: want the origin asked again", name, got.Status)
			}
			if s := w.h.Store.Stats(); s.Entries != 0 || s.Bytes != 0 {
				t.Errorf("%s: %d entries, %d bytes: want none", name, s.Entries, s.Bytes)
			}
		})
	}
}

// An answer that changes between two parts is never mixed.
func TestPartsOfTwoAnswers(t *testing.T) {
	upper := strings.ToUpper(alphabet)
	for name, c := range map[string]struct {
		then  func(http.ResponseWriter, *http.Request) error
		ask   []string
		want  string
		later string // bytes=0-4
	}{
		"another tag in a part":         {file(upper, `"b"`, minute), []string{"Range: bytes=5-9"}, "FGHIJ", "ABCDE"},
		"another tag in the whole":      {file(upper, `"b"`, minute), nil, upper, "ABCDE"},
		"another length under one tag":  {file(upper+"!", `"a"`, minute), []string{"Range: bytes=5-9"}, "FGHIJ", "ABCDE"},
		"a rest that is not the rest":   {wrongRest(upper, "bytes 6-25/26", `"a"`), nil, upper, "ABCDE"},
		"a rest of another whole":       {wrongRest(upper, "bytes 5-25/27", `"a"`), nil, upper, "ABCDE"},
		"a rest without a tag":          {wrongRest(upper, "bytes 5-25/26", ""), nil, upper, "ABCDE"},
		"a rest with another tag":       {wrongRest(upper, "bytes 5-25/26", `"b"`), nil, upper, "ABCDE"},
		"a rest that cannot be had":     {wrongRest(upper, "bytes */26", `"a"`), nil, upper, "ABCDE"},
		"a rest coded otherwise":        {wrongRest(upper, "bytes 5-25/26", `"a"`, "Content-Encoding: x"), nil, upper, "ABCDE"},
		"a rest that belongs elsewhere": {wrongRest(upper, "bytes 5-25/26", `"a"`, "Cache-Tag: other"), nil, upper, "ABCDE"},
	} {
		inBubble(t, func(t *testing.T) {
			w := newWorld(t)
			w.origin.answer = file(alphabet, `"a"`, minute)
			w.get(site, "Range: bytes=0-4").wants(t, StatusMiss, 206, "abcde")
			w.origin.answer = c.then
			got := w.get(site, c.ask...)
			if got.Body.String() != c.want {
				t.Errorf("%s: %q: want %q", name, got.Body, c.want)
			}
			w.settled()
			if got := w.get(site, "Range: bytes=0-4"); got.Body.String() != c.later {
				t.Errorf("%s: then %s %q: want %q", name, got.Status, got.Body, c.later)
			}
		})
	}
}

// wrongRest answers a request for the rest wrongly, and others with the whole.
func wrongRest(text, contentRange, etag string, fields ...string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.Header.Get("If-Range") == "" {
			return file(text, `"b"`, minute)(w, r)
		}
		fields := append(slices.Clone(fields), minute, "Content-Range: "+contentRange)
		if etag != "" {
			fields = append(fields, "ETag: "+etag)
		}
		if strings.Contains(contentRange, "*") {
			return respond(http.StatusRequestedRangeNotSatisfiable, "", fields...)(w, r)
		}
		return respond(http.StatusPartialContent, text[5:], fields...)(w, r)
	}
}

func TestConditionsOnParts(t *testing.T) {
	for name, c := range map[string]struct {
		fields []string
		hit    bool
	}{
		"If-Range with the tag":          {[]string{`If-Range: "a"`}, true},
		"If-Range with another tag":      {[]string{`If-Range: "b"`}, false},
		"If-Range with the tag, weak":    {[]string{`If-Range: W/"a"`}, false},
		"If-None-Match with the tag":     {[]string{`If-None-Match: "a"`}, false},
		"If-None-Match with another tag": {[]string{`If-None-Match: "b"`}, true},
		"If-Match":                       {[]string{`If-Match: "a"`}, false},
		"Authorization":                  {[]string{"Authorization: Basic x"}, false},
		"another language":               {[]string{"Accept-Language: de"}, false},
		"only-if-cached":                 {[]string{"Cache-Control: only-if-cached"}, true},
		"no-store":                       {[]string{"Cache-Control: no-store"}, false},
	} {
		inBubble(t, func(t *testing.T) {
			w := newWorld(t)
			w.origin.answer = file(alphabet, `"a"`, minute, "Vary: Accept-Language")
			w.get(site, "Range: bytes=0-4")
			got := w.get(site, append(c.fields, "Range: bytes=1-2")...)
			if (got.Status == StatusHit) != c.hit {
				t.Errorf("%s: %s (%s): want hit %v", name, got.Status, got.Reason, c.hit)
			}
			if c.hit && got.Body.String() != "bc" {
				t.Errorf("%s: %q: want bc", name, got.Body)
			}
		})
	}
}

// A stale part answers nothing, but is completed, and parts freshen it.
func TestStaleParts(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.origin.answer = file(alphabet, `"a"`, minute)
		w.get(site, "Range: bytes=0-4")
		wait(2 * time.Minute)
		w.get(site, "Range: bytes=0-1").wants(t, StatusMiss, 206, "ab")
		w.get(site, "Range: bytes=3-4").wants(t, StatusHit, 206, "de")
		wait(2 * time.Minute)
		got := w.get(site)
		got.wants(t, StatusMiss, 200, alphabet)
		asked := w.origin.lastAsked()
		if asked.Get("Range") != "bytes=5-" || asked.Get("If-Range") != `"a"` {
			t.Errorf("asked with %v: want the rest, if of the same tag", asked)
		}
		if line := got.Header().Get("Cache-Status"); line != "edge; fwd=partial; fwd-status=206; ttl=60; stored" {
			t.Errorf("Cache-Status %q", line)
		}
		wait(2 * time.Minute)
		// Of the whole, too.
		w.get(site, "Range: bytes=0-1").wants(t, StatusMiss, 206, "ab")
		w.get(site).wants(t, StatusHit, 200, alphabet)
	})
}

// What a purge, an unsafe request or another version covers is not combined.
func TestPartsBehindTheFence(t *testing.T) {
	for name, meanwhile := range map[string]func(w *world){
		"a purge":         func(w *world) { w.h.Store.Purge(Purge{Tags: []string{"t"}}) },
		"a soft purge":    func(w *world) { w.h.Store.Purge(Purge{Soft: true, Everything: true}) },
		"a POST":          func(w *world) { w.post(site, "") },
		"a group":         func(w *world) { w.post("http://example.com/x", `"g"`) },
		"another version": func(w *world) { w.origin.source = Source{Version: "v2", Current: true} },
		// Its tag is the same.
		"another version by case": func(w *world) { w.origin.source = Source{Version: "V1", Current: true} },
	} {
		for when, during := range map[string]bool{"then": false, "meanwhile": true} {
			inBubble(t, func(t *testing.T) {
				w := newWorld(t)
				w.origin.source = Source{Version: "v1", Current: true}
				fields := []string{minute, "Cache-Tag: t", `Cache-Groups: "g"`}
				old := file(alphabet, `"a"`, fields...)
				w.origin.answer = old
				if !during {
					w.get(site, "Range: bytes=0-4")
					meanwhile(w)
				}
				g := newGate()
				slow := g.answer(206, alphabet[:5], append(slices.Clone(fields), `ETag: "a"`, "Content-Range: bytes 0-4/26")...)
				if during {
					w.origin.answer = slow
					done := w.startGet(site, "Range: bytes=0-4")
					synctest.Wait()
					meanwhile(w)
					close(g.header)
					close(g.body)
					<-done
					if strings.HasPrefix(name, "another version") {
						return // it was the one that answered
					}
				}
				w.origin.answer = file(strings.ToUpper(alphabet), `"a"`, fields...)
				if got := w.get(site); got.Body.String() != strings.ToUpper(alphabet) {
					t.Errorf("%s %s: %s %q: want nothing of what was before", when, name, got.Status, got.Body)
				}
				if got := w.get(site, "Range: bytes=0-4"); got.Body.String() != "ABCDE" {
					t.Errorf("%s %s: part %s %q: want nothing of what was before", when, name, got.Status, got.Body)
				}
			})
		}
	}
}

// The client that leaves, and the origin that panics, leave nothing reserved.
func TestPartsThatAreCutOff(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.origin.answer = func(rw http.ResponseWriter, r *http.Request) error {
			_ = respond(206, alphabet[:3], minute, `ETag: "a"`, "Content-Range: bytes 0-4/26")(rw, r)
			panic(http.ErrAbortHandler)
		}
		if got := <-w.startGet(site, "Range: bytes=0-4"); got.err == nil {
			t.Error("no panic: want the client's connection cut off")
		}
		if s := w.h.Store.Stats(); s.Entries != 0 || s.Bytes != 0 || s.Faults != 0 {
			t.Errorf("%+v: want nothing kept", s)
		}
	})
}

func TestPartsStayWithinTheirBounds(t *testing.T) {
	text := strings.Repeat(alphabet, 10_000)
	w := newWorld(t)
	w.h.Store = NewStore(Options{MaxBytes: 200_000, MaxObject: 50_000})
	w.origin.answer = file(text, `"a"`, minute)
	for start := 0; start < len(text); start += 20_000 {
		end := min(start+20_000, len(text))
		got := w.get(site, fmt.Sprintf("Range: bytes=%d-%d", start, end-1))
		got.wants(t, StatusMiss, 206, text[start:end])
		e := w.h.Store.peekPart(w.h.keyOf(site))
		if s := w.h.Store.Stats(); e == nil || e.bodySize() > 50_000 || s.Bytes != e.claim() || s.Entries != 1 {
			t.Fatalf("from %d: %d bytes in %d entries: want the last parts, of no more than 50000", start, s.Bytes, s.Entries)
		}
	}
	if got := w.get(site, "Range: bytes=0-99999"); got.Stored {
		t.Error("a part larger than MaxObject is stored")
	}
}

// keyOf is the hash and key of a URL, and the header of a bare request for it.
func (h *Handler) keyOf(url string) (uint64, []byte, http.Header) {
	r := httptest.NewRequest("GET", url, nil)
	key := h.requestKey(nil, r)
	return h.Store.hash(key), key, r.Header
}

func TestExplainParts(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.origin.answer = file(alphabet, `"a"`, minute)
		w.get(site, "Range: bytes=0-4")
		w.get(site, "Range: bytes=10-11")
		for field, want := range map[string]string{"bytes=1-2": "serve", "bytes=5-6": "pass", "": "fetch"} {
			r := httptest.NewRequest("GET", site, nil)
			if field != "" {
				r.Header.Set("Range", field)
			}
			x := w.h.Explain(r, nil, time.Now())
			if x.Decision != want || x.Entry != nil || !slices.Equal(x.Parts, []string{"bytes 0-4/26", "bytes 10-11/26"}) {
				t.Errorf("Range %q: %s, %v: want %s and both parts", field, x.Decision, x.Parts, want)
			}
		}
	})
}
