package httpcache

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/edgegw/edge/internal/cacherules"
)

// shape is a kind of answer, as an origin would send it.
type shape struct {
	body   int
	fields []string
	tags   []string
	vary   string // a request field that answers differ by
}

var shapes = map[string]shape{
	"nothing but the bare answer": {body: 5, fields: []string{"Cache-Control: max-age=3600"}},
	"an object of 1 KiB": {body: 1 << 10, fields: []string{
		"Cache-Control: max-age=3600", "Content-Type: text/html; charset=utf-8", `Etag: "33a64df551425fcc"`,
	}},
	"a page with all that frameworks send": {body: 7 << 10, fields: []string{
		"Cache-Control: public, max-age=60, stale-while-revalidate=600", "Content-Type: text/html; charset=utf-8",
		`Etag: W/"33a64df551425fcc55e4d42a148795d9f25f89d4"`, "Last-Modified: Wed, 21 Oct 2026 07:28:00 GMT",
		"X-Frame-Options: SAMEORIGIN", "X-Content-Type-Options: nosniff", "X-Xss-Protection: 0", "Server: app",
		"Content-Security-Policy: default-src 'self'; img-src *; object-src 'none'; frame-ancestors 'self'",
		"Strict-Transport-Security: max-age=63072000; includeSubDomains", "X-Request-Id: 6fd1b8a2-2b1c-4c8b",
		"Referrer-Policy: strict-origin-when-cross-origin", "X-Runtime: 0.012345",
	}},
	"tags and variants": {body: 900, vary: "Accept-Language", tags: []string{"blog", "post:17", "author:4"}, fields: []string{
		"Cache-Control: max-age=3600", "Content-Type: application/json", "Vary: Accept-Language", "Cache-Tag: a,b,c",
	}},
	"cache groups": {body: 900, fields: []string{
		"Cache-Control: max-age=3600", `Cache-Groups: "orders", "customer-42", "a group of forty characters, or so"`,
	}},
	"a larger object": {body: 100_000, fields: []string{"Cache-Control: max-age=3600", "Content-Type: image/webp"}},
}

// heapOf is what the heap holds after a collection.
func heapOf() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what finalizers and sync.Pool kept goes with the second
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A sum that is too small breaks the bound on memory; one that is too large
// wastes it.
func TestAccountedBytesAreThoseOfTheHeap(t *testing.T) {
	for name, s := range shapes {
		// Right after maps have grown, and right before.
		for _, n := range []int{3500, 7000} {
			n = min(n, 100<<20/s.body)
			w := newWorld(t, s.fields...)
			w.h.Event = nil
			w.verdict = &cacherules.Verdict{Tags: s.tags}
			w.origin.source = Source{Version: "v1", Replica: "replica-1", Current: true}
			w.origin.answer = respond(http.StatusOK, strings.Repeat("x", s.body), s.fields...)
			w.get(site)
			before, already := heapOf(), w.h.Store.Stats().Bytes
			for i := range n {
				got := w.get(fmt.Sprintf("http://example.com/articles/of/the/day/%d", i/2), "Accept-Language: "+itoa(i%2*len(s.vary)))
				if len(s.vary) == 0 && i%2 == 1 {
					got.wants(t, StatusHit, http.StatusOK, got.Body.String())
				}
			}
			w.origin.asked = nil
			held, accounted := heapOf()-before, w.h.Store.Stats().Bytes-already
			entries := w.h.Store.Stats().Entries - 1
			ratio := float64(accounted) / float64(held)
			t.Logf("%s: %d answers, %d bytes each on the heap, %d accounted: %.3f",
				name, entries, held/entries, accounted/entries, ratio)
			if ratio < 1 || ratio > 1.15 {
				t.Errorf("%s, %d answers: %d bytes accounted for %d on the heap: want 1 to 1.15 times as many",
					name, entries, accounted, held)
			}
			runtime.KeepAlive(w)
		}
	}
}

func TestSizesAreRoundedAsTheAllocatorDoes(t *testing.T) {
	for n := range 40 << 10 {
		// append grows to all that the allocator would hand out anyway.
		if got, want := allocated(n), cap(append([]byte(nil), make([]byte, n)...)); got != want {
			t.Fatalf("%d bytes: %d allocated: want %d", n, got, want)
		}
	}
	for n := range 300 {
		if got, want := scanned(unsafe.Sizeof(""), n), 16*cap(append([]string(nil), make([]string, n)...)); got < want {
			t.Fatalf("%d strings: %d allocated: want at least %d", n, got, want)
		}
	}
}
