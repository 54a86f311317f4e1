package httpcache

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A purge while the rest is on its way keeps the whole out, and from those who
// ask after it.
func TestAPurgeDuringACompletion(t *testing.T) {
	for name, first := range map[string]bool{"before the header": false, "after it": true} {
		inBubble(t, func(t *testing.T) {
			w := newWorld(t)
			w.origin.answer = file(alphabet, `"a"`, minute, "Cache-Tag: t")
			w.get(site, "Range: bytes=0-4")
			g := newGate()
			rest := g.answer(206, alphabet[5:], minute, `ETag: "a"`, "Cache-Tag: t", "Content-Range: bytes 5-25/26")
			w.origin.answer = func(rw http.ResponseWriter, r *http.Request) error {
				if r.Header.Get("Range") == "" {
					return file("new", `"b"`, minute)(rw, r)
				}
				return rest(rw, r)
			}
			leader := w.startGet(site)
			synctest.Wait()
			if first {
				close(g.header)
				synctest.Wait()
			}
			w.h.Store.Purge(Purge{Tags: []string{"t"}})
			after := newWorld(t)
			after.h = w.h
			after.origin.answer = file("new", `"b"`, minute)
			follower := after.startGet(site)
			synctest.Wait()
			if !first {
				close(g.header)
			}
			close(g.body)
			if got := <-follower; got.Body.String() != "new" {
				t.Errorf("%s: a later request got %s %q: want new", name, got.Status, got.Body)
			}
			if got := <-leader; got.Body.String() != alphabet && got.Body.String() != "new" {
				t.Errorf("%s: the leader got %q", name, got.Body)
			}
			if got := after.get(site); got.Body.String() != "new" {
				t.Errorf("%s: then %s %q: want new", name, got.Status, got.Body)
			}
		})
	}
}

// Completions end as fills do, whatever the origin does, and followers wait for
// them as for any.
func TestCompletionsThatFail(t *testing.T) {
	rest := []string{minute, `ETag: "a"`, "Content-Range: bytes 5-25/26"}
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request) error{
		"too little": respond(206, alphabet[5:20], rest...),
		"too much":   respond(206, alphabet[5:]+"!", rest...),
		"cut off": func(w http.ResponseWriter, r *http.Request) error {
			_ = respond(206, alphabet[5:20], rest...)(w, r)
			panic(http.ErrAbortHandler)
		},
		"not at all": down,
		"a failure":  respond(503, "busy"),
	} {
		inBubble(t, func(t *testing.T) {
			w := newWorld(t)
			w.origin.answer = file(alphabet, `"a"`, minute)
			w.get(site, "Range: bytes=0-4")
			w.origin.answer = answer
			all := w.startMany(3, site)
			for _, one := range all {
				if got := <-one; got.err == nil && got.ResponseRecorder.Code == 200 {
					t.Errorf("%s: %s %q: want no whole answer", name, got.Status, got.Body)
				}
			}
			w.settled()
			w.origin.answer = file(alphabet, `"a"`, minute)
			w.get(site).wants(t, StatusMiss, 200, alphabet)
			w.get(site) // after a failure that is remembered, this one fills
			w.get(site).wants(t, StatusHit, 200, alphabet)
		})
	}
}

// What is combined began when the oldest of its parts did.
func TestTheOldestPartCounts(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.origin.answer = file(alphabet, `"a"`, minute)
		w.get(site, "Range: bytes=0-4")
		w.h.Store.Purge(Purge{Tags: []string{"unrelated"}})
		w.get(site, "Range: bytes=5-6")
		if e := w.h.Store.peekPart(w.h.keyOf(site)); e == nil || len(e.pieces()) != 1 || e.began != 0 {
			t.Errorf("part %+v: want one piece that began before the purge", e)
		}
		w.get(site).wants(t, StatusMiss, 200, alphabet)
		x := w.h.Explain(httptest.NewRequest("GET", site, nil), nil, time.Now())
		if x.Entry == nil || x.Entry.Began != 0 || x.Generation != 1 {
			t.Errorf("entry %+v: want that it began before the purge", x.Entry)
		}
	})
}

func TestACrowdWaitsForOneCompletion(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.origin.answer = file(alphabet, `"a"`, minute)
		w.get(site, "Range: bytes=0-4")
		w.h.Store.Purge(Purge{Tags: []string{"unrelated"}})
		g := newGate()
		w.origin.answer = g.answer(206, alphabet[5:], minute, `ETag: "a"`, "Content-Range: bytes 5-25/26")
		all := w.startMany(20, site)
		close(g.header)
		close(g.body)
		for _, one := range all {
			(<-one).wants(t, StatusMiss, 200, alphabet)
		}
		if n := w.origin.fetches(); n != 2 {
			t.Errorf("%d fetches: want one for the part and one for the rest", n)
		}
	})
}

// Many clients ask for parts and wholes of a file that changes, with a purge
// each time: nobody ever gets bytes of two, nor of an old one after its purge.
func TestPartsNeverMix(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			m := &changing{random: rand.New(rand.NewPCG(seed, 3))}
			w := newWorld(t)
			w.origin.answer = func(rw http.ResponseWriter, r *http.Request) error {
				m.mu.Lock()
				now := m.now
				m.mu.Unlock()
				m.nap(30 * time.Millisecond)
				rw.Header().Set("Cache-Control", "max-age=5")
				etag := fmt.Sprintf("\"%d\"", now)
				if m.intn(20) == 0 {
					return errDown
				}
				return file(strings.Repeat(string(rune('a'+now)), 100), etag)(rw, r)
			}
			w.origin.detaching = func() { m.nap(20 * time.Millisecond) }
			var all sync.WaitGroup
			for range 6 {
				all.Go(func() {
					for range 40 {
						m.nap(100 * time.Millisecond)
						m.visitPart(t, w)
					}
				})
			}
			all.Go(func() {
				for range 10 {
					m.nap(400 * time.Millisecond)
					m.mu.Lock()
					m.now++
					m.mu.Unlock()
					w.h.Store.Purge(Purge{Everything: true})
					m.mu.Lock()
					m.oldest = m.now
					m.mu.Unlock()
				}
			})
			all.Wait()
			w.h.Store.Close()
			w.h.Store.Configure(Options{MaxBytes: 1})
			if s := w.h.Store.Stats(); s.Bytes != 0 || s.Faults != 0 {
				t.Errorf("seed %d: %d bytes after all was evicted, %d faults", seed, s.Bytes, s.Faults)
			}
		})
	}
}

// changing is a file that changes, and below which number nobody may see it.
type changing struct {
	mu          sync.Mutex
	random      *rand.Rand
	now, oldest int
}

func (m *changing) intn(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.random.IntN(n)
}

func (m *changing) nap(longest time.Duration) { wait(time.Duration(m.intn(int(longest)))) }

func (m *changing) visitPart(t *testing.T, w *world) {
	m.mu.Lock()
	oldest := m.oldest
	m.mu.Unlock()
	var fields []string
	want := 100
	if m.intn(4) > 0 {
		from := m.intn(100)
		to := min(99, from+m.intn(60))
		fields, want = []string{fmt.Sprintf("Range: bytes=%d-%d", from, to)}, to-from+1
	}
	got := <-w.startGet(site, fields...)
	if got.err != nil {
		return
	}
	text := got.Body.Bytes()
	if len(text) != want || len(bytes.Trim(text, string(text[:1]))) != 0 || int(text[0]-'a') < oldest {
		t.Errorf("%v: %s %q: want %d equal letters from %c on", fields, got.Status, text, want, 'a'+oldest)
	}
}
