package httpcache

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
	"weak"

	"github.com/edgegw/edge/internal/coding"
)

func TestA304KeepsTheEncodings(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := pageWorld(t, `ETag: "abc"`)
		w.warm()
		before := w.h.Store.Stats()
		wait(2 * time.Minute)
		w.get(site, "Accept-Encoding: br").wants(t, StatusRevalidated, 200, w.get(site, "Accept-Encoding: br").Body.String())
		got := w.get(site, "Accept-Encoding: br")
		if got.Header().Get("Content-Encoding") != "br" || got.Header().Get("Etag") != `"abc-br"` || got.plain(t) != longPage {
			t.Errorf("after the 304: %v", got.Header())
		}
		if tag := w.origin.lastAsked().Get("If-None-Match"); tag != `"abc"` {
			t.Errorf("the origin was asked about %s: want its own tag", tag)
		}
		w.settled()
		after := w.h.Store.Stats()
		if after.Encoded != 3 || after.EncodedBytes != before.EncodedBytes || after.Bytes != before.Bytes {
			t.Errorf("%+v: want the same encodings and bytes as before: %+v", after, before)
		}
	})
}

// An answer that is confirmed for each request is another entry each time.
func TestAnAnswerConfirmedForEachRequestIsEncodedToo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.origin.answer = validatingPage(longPage, "Cache-Control: no-cache", "Content-Type: text/css", `ETag: "abc"`)
		w.get(site)
		w.get(site, "Accept-Encoding: br")
		w.settled()
		for range 3 {
			got := w.get(site, "Accept-Encoding: br")
			w.settled()
			if got.Status != StatusRevalidated || got.Header().Get("Content-Encoding") != "br" || got.plain(t) != longPage {
				t.Errorf("%s %v: want it confirmed, in br", got.Status, got.Header())
			}
		}
		if s := w.h.Store.Stats(); s.Encoded != 1 {
			t.Errorf("%d encodings: want 1", s.Encoded)
		}
	})
}

// The order was given for an entry that a 304 replaced before its turn came.
func TestAnEncodingFindsTheEntryThatA304MadeMeanwhile(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := pageWorld(t, `ETag: "abc"`)
		w.get(site)
		old := w.storedEntry()
		wait(2 * time.Minute)
		w.get(site)
		if w.storedEntry() == old {
			t.Fatal("the 304 made no entry")
		}
		if !w.h.Store.encode(new(coding.Encoder), toEncode{h: w.h, e: weak.Make(old), c: coding.Zstd}) {
			t.Error("a fault")
		}
		if got := w.get(site, "Accept-Encoding: zstd"); got.Header().Get("Content-Encoding") != "zstd" || got.plain(t) != longPage {
			t.Errorf("%v: want it in zstd", got.Header())
		}
	})
}

// storedEntry is the answer that is stored for the site.
func (w *world) storedEntry() *entry {
	r := httptest.NewRequest(http.MethodGet, site, nil)
	key := w.h.requestKey(nil, r)
	e, _ := w.h.Store.find(w.h.Store.hash(key), key, r.Header)
	return e
}

func TestEncodingsGoWithTheEntry(t *testing.T) {
	for name, end := range map[string]func(w *world){
		"purged": func(w *world) {
			w.h.Store.Purge(Purge{Everything: true})
			w.origin.answer = down
			w.get(site)
		},
		"evicted":     func(w *world) { w.h.Store.Configure(Options{MaxBytes: 1}) },
		"invalidated": func(w *world) { w.do(http.MethodPost, site) },
		"replaced by what is not stored": func(w *world) {
			wait(time.Hour)
			w.origin.answer = respond(200, longPage, "Cache-Control: no-store")
			w.get(site)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := pageWorld(t)
				w.warm()
				if s := w.h.Store.Stats(); s.Encoded != 3 || s.EncodedBytes == 0 {
					t.Fatalf("%+v: want three encodings", s)
				}
				end(w)
				w.settled()
				if s := w.h.Store.Stats(); s.Entries != 0 || s.Bytes != 0 || s.EncodedBytes != 0 {
					t.Errorf("%d entries, %d bytes, %d of them encoded: want none", s.Entries, s.Bytes, s.EncodedBytes)
				}
			})
		})
	}
}

// A purge comes while the body waits to be encoded.
func TestNothingIsAddedToWhatIsGone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := pageWorld(t)
		w.get(site)
		e := w.storedEntry()
		w.h.attach(e, coding.Gzip, []byte("gzipped"))
		w.h.Store.Purge(Purge{Everything: true})
		if w.h.Store.encode(new(coding.Encoder), toEncode{h: w.h, e: weak.Make(e), c: coding.Brotli}); e.encodings.Load().settled(coding.Brotli) {
			t.Error("encoded what was purged")
		}
		w.h.attach(e, coding.Brotli, []byte("br")) // it was gone when the encoder was done
		if s := w.h.Store.Stats(); s.Bytes != 0 || s.EncodedBytes != 0 {
			t.Errorf("%d bytes, %d encoded: want none", s.Bytes, s.EncodedBytes)
		}
	})
}

func TestWhatSavesTooLittleIsTriedOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(3, 4))
		noise := make([]byte, 5000)
		for i := range noise {
			noise[i] = byte(random.Uint32())
		}
		w := newWorld(t)
		w.origin.answer = respond(200, string(noise), "Cache-Control: max-age=60", "Content-Type: text/plain")
		for range 5 {
			got := w.get(site, "Accept-Encoding: gzip")
			w.settled()
			if got.Header().Get("Content-Encoding") != "" || got.Body.String() != string(noise) {
				t.Fatalf("%v: want it as it is", got.Header())
			}
		}
		if s := w.h.Store.Stats(); s.UselessEncodings != 1 || s.Encoded != 0 {
			t.Errorf("%d useless, %d kept: want one try", s.UselessEncodings, s.Encoded)
		}
	})
}

func TestAFaultOfALibraryIsNobodysFault(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := pageWorld(t)
		w.get(site)
		order := toEncode{h: w.h, e: weak.Make(w.storedEntry()), c: coding.Brotli}
		if w.h.Store.encode(nil, order) { // it panics without tables
			t.Error("the tables are to be used again after a panic")
		}
		for range 3 {
			if got := w.get(site, "Accept-Encoding: br"); got.Header().Get("Content-Encoding") != "" || got.Body.String() != longPage {
				t.Errorf("%v: want the body as it is", got.Header())
			}
			w.settled()
		}
		if s := w.h.Store.Stats(); s.FailedEncodings != 1 || s.Faults != 1 || w.count(EventFault) != 1 {
			t.Errorf("%d failed, %d faults, %d events: want one of each", s.FailedEncodings, s.Faults, w.count(EventFault))
		}
		order.c = coding.Identity // no encoder makes that
		if w.h.Store.encode(new(coding.Encoder), order) {
			t.Error("encoded in no coding")
		}
	})
}

func TestAFullQueueLeavesItToTheNextRequest(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := pageWorld(t)
		q := &w.h.Store.encoder
		q.workers = maxEncoders() // none starts
		for range maxToEncode {
			if !q.add(w.h.Store, toEncode{h: w.h}) {
				t.Fatal("no room below the bound")
			}
		}
		w.get(site)
		w.get(site, "Accept-Encoding: br")
		if w.storedEntry().asked.Load() != 0 {
			t.Error("it counts as asked for, but is not in the queue")
		}
		q.queue, q.workers = nil, 0
		w.get(site, "Accept-Encoding: br")
		w.settled()
		if got := w.get(site, "Accept-Encoding: br").Header().Get("Content-Encoding"); got != "br" {
			t.Errorf("in %q: want br", got)
		}
	})
}

func TestCloseEndsTheEncoder(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := pageWorld(t)
		for i := range 50 {
			url := fmt.Sprint(site, "?", i)
			w.get(url)
			w.get(url, "Accept-Encoding: br")
		}
		w.h.Store.Close()
		done := w.h.Store.Stats().Encoded
		w.get(site)
		w.get(site, "Accept-Encoding: br")
		w.settled()
		if s := w.h.Store.Stats(); s.Encoded != done || w.h.Store.encoder.workers != 0 {
			t.Errorf("%d encodings after the end, %d goroutines", s.Encoded-done, w.h.Store.encoder.workers)
		}
	})
}

// TestEncodingsUnderFire has clients of all sorts, purges, replacements, 304s
// and a store that is too small, all at once. Nobody may get what it does not
// accept, or a body that is not its page's, and the account must close.
func TestEncodingsUnderFire(t *testing.T) {
	const pages, clients, rounds = 12, 8, 300
	o := &testOrigin{source: Source{Current: true}}
	o.answer = func(w http.ResponseWriter, r *http.Request) error {
		body := longPage + strings.Repeat(r.URL.RawQuery, 300)
		return validatingPage(body, "Cache-Control: max-age=60", "Content-Type: text/html", `ETag: "`+r.URL.RawQuery+`"`)(w, r)
	}
	h := &Handler{Store: NewStore(Options{MaxBytes: 96 << 10})}
	fields := []string{"br", "gzip", "zstd", "gzip, br", "gzip, deflate, br, zstd", "identity", "", "br;q=0, *"}
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(client), 1))
			for round := range rounds {
				query := fmt.Sprint("page", random.IntN(pages))
				r := httptest.NewRequest(http.MethodGet, site+"?"+query, nil)
				field := fields[random.IntN(len(fields))]
				r.Header.Set("Accept-Encoding", field)
				rec := httptest.NewRecorder()
				if _, err := h.Serve(rec, r, nil, o); err != nil {
					t.Error(err)
					return
				}
				name := rec.Header().Get("Content-Encoding")
				if name != "" && !lists([]string{field}, name) {
					t.Errorf("%q got %q", field, name)
				}
				if text := decoded(t, name, rec.Body.Bytes()); text != longPage+strings.Repeat(query, 300) {
					t.Errorf("%s in %q: another body", query, name)
				}
				if client == 0 && round%10 == 0 {
					h.Store.Purge(Purge{URLs: []string{site + "?" + query}, Soft: round%20 == 0})
				}
			}
		})
	}
	wg.Wait()
	h.Store.encoder.wg.Wait()
	s := h.Store.Stats()
	if s.Encoded == 0 || s.Evictions == 0 || s.Bytes > s.MaxBytes {
		t.Errorf("%+v: want encodings, evictions, and bytes below the cap", s)
	}
	for h.Store.evictSomewhere(0, 0) {
	}
	if s := h.Store.Stats(); s.Bytes != h.Store.marksHeld() || s.EncodedBytes != 0 || s.Entries != 0 {
		t.Errorf("%d bytes, %d encoded, %d entries are left", s.Bytes, s.EncodedBytes, s.Entries)
	}
	h.Store.Close()
}
