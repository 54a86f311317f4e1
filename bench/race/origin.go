package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/edgegw/edge/bench/gateway"
)

// point is where a fetch can be held.
type point int

const (
	beforeHeader point = iota
	inBody
)

// hold stops one fetch until it is released.
type hold struct {
	at                point
	arrived, released chan struct{}
	// conditional says that the fetch asked whether a copy still holds; known
	// when it has arrived.
	conditional bool
}

func newHold(at point) *hold {
	return &hold{at: at, arrived: make(chan struct{}), released: make(chan struct{})}
}

func (h *hold) release() { close(h.released) }

// origin is the application behind every contestant. Its answers carry the
// number that their page had when the fetch began.
type origin struct {
	ledger *ledger

	mu      sync.Mutex
	holds   map[string]*hold
	fetches map[string]int
	control string
	plain   bool
	// random delays answers by up to longest; nil for no delay.
	random  *rand.Rand
	longest time.Duration
}

// half is how a page looks: twice the number.
func half(number int) string { return fmt.Sprintf("%08d", number) }

// numberIn reads a page.
func numberIn(body string) (int, error) {
	if len(body) != 16 || body[:8] != body[8:] {
		return 0, fmt.Errorf("a page of %q: want a number twice", body)
	}
	return strconv.Atoi(body[:8])
}

func newOrigin() *origin {
	o := &origin{}
	o.reset(newLedger(), "", false)
	return o
}

// reset begins anew, with a Cache-Control for all pages; plain ones have no
// validator.
func (o *origin) reset(l *ledger, control string, plain bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ledger, o.control, o.plain, o.random = l, control, plain, nil
	o.holds, o.fetches = make(map[string]*hold), make(map[string]int)
}

func (o *origin) delay(random *rand.Rand, longest time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.random, o.longest = random, longest
}

// holdNext holds the next fetch of a page.
func (o *origin) holdNext(path string, at point) *hold {
	h := newHold(at)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.holds[path] = h
	return h
}

func (o *origin) fetched(path string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.fetches[path]
}

// fetch is one answer in the making.
type fetch struct {
	number          int
	hold            *hold
	control         string
	plain           bool
	before, between time.Duration
}

// begin notes a fetch and says what is to become of it.
func (o *origin) begin(path string) fetch {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fetches[path]++
	f := fetch{number: o.ledger.current(path), hold: o.holds[path], control: o.control, plain: o.plain}
	delete(o.holds, path)
	if o.random != nil {
		f.before, f.between = time.Duration(o.random.Int64N(int64(o.longest))), time.Duration(o.random.Int64N(int64(o.longest)))
	}
	return f
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, "/page/") {
		return // an empty 200 is what health checks want
	}
	f := o.begin(r.URL.Path)
	etag := `"` + half(f.number) + `"`
	confirmed := r.Header.Get("If-None-Match") == etag
	if !f.stop(r.Context(), beforeHeader, confirmed, f.before) {
		return
	}
	header := w.Header()
	header.Set("Cache-Control", f.control)
	header.Set("Cache-Tag", tagOf(r.URL.Path))
	header.Set("Content-Type", "text/plain")
	if !f.plain {
		header.Set("ETag", etag)
	}
	if confirmed {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Length", "16")
	_, _ = w.Write([]byte(half(f.number))) // who has left needs no answer
	_ = http.NewResponseController(w).Flush()
	if f.stop(r.Context(), inBody, confirmed, f.between) {
		_, _ = w.Write([]byte(half(f.number))) // likewise
	}
}

// stop waits, and reports whether anybody still wants the answer.
func (f *fetch) stop(ctx context.Context, at point, confirmed bool, d time.Duration) bool {
	if h := f.hold; h != nil && h.at == at {
		h.conditional = confirmed
		close(h.arrived)
		select {
		case <-h.released:
		case <-ctx.Done():
			return false
		}
	}
	return gateway.Pause(ctx, d)
}

func tagOf(path string) string { return strings.ReplaceAll(strings.Trim(path, "/"), "/", "-") }
