package httpcache

import (
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// repeats has the handler keep what it offers for the next hits.
func (w *world) repeats() *[]Offer {
	offered := new([]Offer)
	w.h.Repeatable = func(_ *http.Request, offer func() (Offer, bool)) {
		if p, ok := offer(); ok {
			*offered = append(*offered, p)
		}
	}
	return offered
}

// repeat is what the next hit offers.
func (w *world) repeat(url string, fields ...string) Offer {
	w.t.Helper()
	offered := w.repeats()
	w.get(url, fields...)
	w.settled()
	w.get(url, fields...).wants(w.t, StatusHit, http.StatusOK, "hello")
	if len(*offered) != 1 {
		w.t.Fatalf("%d offers: want one, of the hit", len(*offered))
	}
	return (*offered)[0]
}

func TestAHitIsRepeated(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, "Cache-Control: max-age=60", "Vary: X-A", "Age: 3")
		p := w.repeat("http://a.example/")
		if p.Age != 3 || p.TTL != 57 || string(p.Body[0]) != "hello" || !p.Varies("X-A") || p.Varies("X-B") {
			t.Errorf("offered %+v", p)
		}
		hits := w.h.Store.Stats().Hits
		wait(20500 * time.Millisecond)
		use, ok := p.Repeat.Begin(time.Now())
		if !ok || use.Age != 23 || use.TTL != 37 || string(use.Body[0]) != "hello" {
			t.Fatalf("%+v, %v", use, ok)
		}
		use.Exchange.End()
		if now := w.h.Store.Stats().Hits; now != hits+1 {
			t.Errorf("%d hits after %d", now, hits)
		}
		wait(37 * time.Second)
		if _, ok := p.Repeat.Begin(time.Now()); ok {
			t.Error("repeated when stale")
		}
	})
}

func TestWhatChangesAHitEndsItsRepeats(t *testing.T) {
	url := "http://a.example/page"
	for name, change := range map[string]func(w *world){
		"everything": func(w *world) { w.h.Store.Purge(Purge{Everything: true}) },
		"soft":       func(w *world) { w.h.Store.Purge(Purge{Everything: true, Soft: true}) },
		"tag":        func(w *world) { w.h.Store.Purge(Purge{Tags: []string{"blue"}}) },
		"unsafe":     func(w *world) { w.do(http.MethodPost, url) },
		"variant": func(w *world) {
			w.origin.answer = respond(http.StatusOK, "other", "Cache-Control: max-age=60", "Vary: X-B")
			w.get(url, "X-A: 2")
		},
		"eviction": func(w *world) { w.h.Store.Configure(Options{MaxBytes: 1}) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newWorld(t, "Cache-Control: max-age=60", "Vary: X-A", "Cache-Tag: blue")
				p := w.repeat(url)
				for range 2 { // nothing has changed
					use, ok := p.Repeat.Begin(time.Now())
					if !ok {
						t.Fatal("not repeated")
					}
					use.Exchange.End()
				}
				change(w)
				w.settled()
				if _, ok := p.Repeat.Begin(time.Now()); ok {
					t.Error("still repeated")
				}
			})
		})
	}
}

// A purge waits for what is being written, as for any exchange.
func TestAPurgeWaitsForARepeat(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, "Cache-Control: max-age=60")
		p := w.repeat("http://a.example/")
		use, ok := p.Repeat.Begin(time.Now())
		if !ok {
			t.Fatal("not repeated")
		}
		generation := w.h.Store.Purge(Purge{Everything: true})
		if n := w.h.Store.Draining(generation); n != 1 {
			t.Errorf("%d exchanges to drain: want the one that is being written", n)
		}
		use.Exchange.End()
		if n := w.h.Store.Draining(generation); n != 0 {
			t.Errorf("%d exchanges to drain", n)
		}
		if _, ok := p.Repeat.Begin(time.Now()); ok {
			t.Error("repeated after the purge")
		}
	})
}

func TestWhatIsOneClientsIsNotOffered(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, "Cache-Control: max-age=1, stale-while-revalidate=60", `ETag: "a"`)
		w.get("http://a.example/")
		w.settled()
		offered := w.repeats()
		w.get("http://a.example/", `If-None-Match: "a"`)
		w.get("http://a.example/", "Range: bytes=1-2")
		w.get("http://a.example/miss")
		w.settled()
		wait(2 * time.Second)
		w.get("http://a.example/").wants(t, StatusStale, http.StatusOK, "hello")
		if len(*offered) != 0 {
			t.Errorf("%d offers: want none", len(*offered))
		}
	})
}

func TestARepeatIsOfTheCodingThatWasChosen(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		text := strings.Repeat("hello ", 1000)
		w.origin.answer = respond(http.StatusOK, text, "Cache-Control: max-age=60", "Content-Type: text/plain")
		t.Cleanup(w.h.Store.Close)
		offered := w.repeats()
		for range 3 {
			w.get("http://a.example/", "Accept-Encoding: gzip")
			w.settled()
		}
		if len(*offered) < 2 {
			t.Fatalf("%d offers", len(*offered))
		}
		if _, ok := (*offered)[0].Repeat.Begin(time.Now()); ok {
			t.Error("the body as it was is repeated, though there is a better one")
		}
		use, ok := (*offered)[len(*offered)-1].Repeat.Begin(time.Now())
		if !ok || len(use.Body[0]) >= len(text)/2 {
			t.Errorf("%v, %d bytes: want those of gzip", ok, len(use.Body[0]))
		}
		use.Exchange.End()
	})
}

// An encoding may be ready just after the answer to a hit was chosen.
func TestNothingIsOfferedThatIsNotTheBestAnyMore(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.origin.answer = respond(http.StatusOK, strings.Repeat("hello ", 1000), "Cache-Control: max-age=60", "Content-Type: text/plain")
		t.Cleanup(w.h.Store.Close)
		var offers []bool
		w.h.Repeatable = func(_ *http.Request, offer func() (Offer, bool)) {
			w.settled() // the encoding that this hit has asked for is made meanwhile
			_, ok := offer()
			offers = append(offers, ok)
		}
		w.get("http://a.example/") // stored, with nothing to encode
		w.settled()
		for range 2 {
			w.get("http://a.example/", "Accept-Encoding: gzip")
		}
		if !slices.Equal(offers, []bool{false, true}) {
			t.Errorf("offers %v: want none of the body as it was, then that of gzip", offers)
		}
	})
}

// Whoever keeps a repeat keeps no answer alive that had to make room.
func TestARepeatHoldsNoBody(t *testing.T) {
	w := newWorld(t)
	w.origin.answer = respond(http.StatusOK, strings.Repeat("x", 64<<10), "Cache-Control: max-age=3600")
	offered := w.repeats()
	const url = "http://a.example/"
	w.get(url)
	for len(*offered) == 0 { // it is stored when the fill has ended
		w.get(url)
	}
	gone := make(chan struct{})
	kept := (*offered)[0].Repeat
	runtime.AddCleanup(&(*offered)[0].Body[0][0], func(done chan struct{}) { close(done) }, gone)
	*offered = nil
	w.h.Store.Configure(Options{MaxBytes: 1})
	const enough = 1000
	for cycles, collected := 0, false; !collected; cycles++ {
		if cycles == enough {
			t.Fatalf("the body is still there after %d collections", enough)
		}
		runtime.GC()
		select {
		case <-gone:
			collected = true
		default:
			runtime.Gosched()
		}
	}
	if _, ok := kept.Begin(time.Now()); ok {
		t.Error("repeated though it is gone")
	}
}
