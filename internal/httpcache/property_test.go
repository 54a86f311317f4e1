package httpcache

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// model is what must hold about purges. The origin's content has a number that
// rises before each purge; bodies carry the number at which they were produced,
// X-Confirmed the one at which the origin last vouched for them.
type model struct {
	mu     sync.Mutex
	random *rand.Rand
	now    int
	// hard and soft are the numbers below which nothing of a URL may be
	// served, or may be served without asking.
	hard, soft map[string]int
	wrong      []string
}

func (m *model) intn(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.random.IntN(n)
}

func (m *model) nap(longest time.Duration) { time.Sleep(time.Duration(m.intn(int(longest)))) }

// answer produces the current content, slowly. Now and then it fails, confirms,
// or sends what may not be stored.
func (m *model) answer(w http.ResponseWriter, r *http.Request) error {
	m.mu.Lock()
	produced := m.now
	m.mu.Unlock()
	m.nap(40 * time.Millisecond)
	switch m.intn(12) {
	case 0:
		return errDown
	case 1:
		return respond(http.StatusServiceUnavailable, "busy")(w, r)
	case 2:
		return respond(http.StatusOK, strconv.Itoa(produced), "Cache-Control: private")(w, r)
	}
	h := w.Header()
	h.Set("Cache-Control", fmt.Sprintf("max-age=%d, stale-while-revalidate=%d, stale-if-error=%d", m.intn(3), m.intn(3), m.intn(4)))
	h.Set("X-Confirmed", strconv.Itoa(produced))
	h.Set("ETag", `"a"`)
	h.Set("Cache-Tag", "tag,"+r.URL.Path[1:])
	if r.Header.Get("If-None-Match") != "" && m.intn(3) > 0 {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	w.WriteHeader(http.StatusOK)
	body := fmt.Sprintf("%06d", produced)
	_, _ = io.WriteString(w, body[:3])
	m.nap(40 * time.Millisecond)
	_, err := io.WriteString(w, body[3:])
	return err
}

// visit sends one request and checks what comes against what was purged before
// it began.
func (m *model) visit(w *world, path string) {
	m.mu.Lock()
	hard, soft := m.hard[path], m.soft[path]
	m.mu.Unlock()
	got := <-w.startGet("http://example.com" + path)
	if got.err != nil || got.ResponseRecorder.Code != http.StatusOK {
		return
	}
	produced, _ := strconv.Atoi(got.Body.String())
	confirmed, err := strconv.Atoi(got.Header().Get("X-Confirmed"))
	if err != nil {
		confirmed = produced
	}
	if produced < hard || confirmed < soft && got.Reason != ReasonStaleIfError && got.Reason != ReasonStaleUnreachable {
		m.mu.Lock()
		m.wrong = append(m.wrong, fmt.Sprintf("%s: %s (%s) of %d, confirmed at %d, after a hard purge at %d, a soft one at %d",
			path, got.Status, got.Reason, produced, confirmed, hard, soft))
		m.mu.Unlock()
	}
}

// purge raises the content's number and purges a random selector. With apply
// false the cache is not told, as a check that the model notices.
func (m *model) purge(s *Store, paths []string, apply bool) {
	path := paths[m.intn(len(paths))]
	p := Purge{Soft: m.intn(3) == 0}
	matched := []string{path}
	switch m.intn(6) {
	case 0:
		p.URLs = []string{"https://example.com" + path}
	case 1:
		p.Tags = []string{path[1:]}
	case 2:
		p.Prefixes = []string{"example.com" + path}
	case 3:
		p.Hosts, matched = []string{"example.com"}, paths
	case 4:
		p.Versions, matched = []string{"v1"}, paths
	case 5:
		p.Everything, matched = true, paths
	}
	m.mu.Lock()
	m.now++
	number := m.now
	m.mu.Unlock()
	if apply {
		s.Purge(p)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, path := range matched {
		m.soft[path] = max(m.soft[path], number)
		if !p.Soft {
			m.hard[path] = max(m.hard[path], number)
		}
	}
}

// schedule runs visitors and purges at random moments and returns what went
// wrong.
func schedule(t *testing.T, seed uint64, apply bool) (wrong []string) {
	synctest.Test(t, func(t *testing.T) {
		m := &model{random: rand.New(rand.NewPCG(seed, 1)), hard: map[string]int{}, soft: map[string]int{}}
		w := newWorld(t)
		w.origin.answer, w.origin.source = m.answer, Source{Version: "v1", Current: true}
		w.origin.detaching = func() { m.nap(20 * time.Millisecond) } // between look-up and fetch
		if seed%2 == 0 {
			w.h.Store = newStore(Options{}, 2) // the fence overflows all the time
		}
		paths := []string{"/a", "/b", "/ab"}
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				for range 30 {
					m.visit(w, paths[m.intn(len(paths))])
					m.nap(400 * time.Millisecond)
				}
			})
		}
		all.Go(func() {
			for range 40 {
				m.nap(300 * time.Millisecond)
				m.purge(w.h.Store, paths, apply)
			}
		})
		all.Go(func() {
			for range 10 {
				m.nap(time.Second)
				// An unsafe request invalidates, whatever else is going on.
				w.origin.answerTo(w.h, httptest.NewRequest("POST", "http://example.com"+paths[m.intn(len(paths))], nil))
			}
		})
		all.Wait()
		w.h.Store.Close() // background refreshes may still be on their way
		if n := w.h.Store.Draining(w.h.Store.Generation() + 1); n != 0 {
			t.Errorf("seed %d: %d exchanges in flight after all have ended", seed, n)
		}
		wrong = m.wrong
	})
	return wrong
}

// answerTo serves a request with an answer of its own.
func (o *testOrigin) answerTo(h *Handler, r *http.Request) {
	posted := &testOrigin{answer: respond(http.StatusNoContent, ""), source: o.source}
	_, _ = h.Serve(httptest.NewRecorder(), r, nil, posted) // only what it invalidates is of interest
}

func TestNothingFromBeforeAPurgeIsServedAfterIt(t *testing.T) {
	for seed := range uint64(60) {
		for _, wrong := range schedule(t, seed, true) {
			t.Errorf("seed %d: %s", seed, wrong)
		}
	}
}

func TestTheModelNoticesPurgesThatAreNotApplied(t *testing.T) {
	if wrong := schedule(t, 1, false); len(wrong) == 0 {
		t.Error("no violation without any purge: the model checks nothing")
	}
}

func FuzzPurges(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) {
		for _, wrong := range schedule(t, seed, true) {
			t.Errorf("seed %d: %s", seed, wrong)
		}
	})
}
