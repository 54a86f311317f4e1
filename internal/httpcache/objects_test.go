package httpcache

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"unsafe"
)

// BenchmarkAnObjectOf1KiB says what a stored answer takes: of the heap after a
// collection, and in the account. What it takes of the process, with garbage and
// all, is in bench/README.md.
func BenchmarkAnObjectOf1KiB(b *testing.B) {
	const n = 100_000
	o := &testOrigin{source: Source{Version: "v1", Replica: "replica-1", Current: true}}
	for b.Loop() {
		h := &Handler{Store: NewStore(Options{MaxBytes: 1 << 30})}
		before := heapOf()
		for i := range n {
			o.answer = respond(http.StatusOK, strings.Repeat("x", 1<<10), "Cache-Control: max-age=3600", "Content-Length: 1024",
				"Content-Type: text/html; charset=utf-8", fmt.Sprintf(`Etag: "%016x"`, i), "Date: Wed, 21 Oct 2026 07:28:00 GMT")
			r := httptest.NewRequest(http.MethodGet, fmt.Sprintf("http://example.com/objects/%07d", i), nil)
			if res, err := h.Serve(&sink{header: make(http.Header)}, r, nil, o); err != nil || !res.Stored {
				b.Fatalf("%+v %v: want it stored", res, err)
			}
		}
		o.asked = nil
		b.ReportMetric(float64(heapOf()-before)/n, "heap-B/object")
		b.ReportMetric(float64(h.Store.Stats().Bytes)/n, "accounted-B/object")
		b.ReportMetric(float64(unsafe.Sizeof(entry{})), "entry-B")
		runtime.KeepAlive(h)
	}
}
