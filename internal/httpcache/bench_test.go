package httpcache

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/edgegw/edge/internal/cacherules"
)

// sink is the cheapest client there is.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(int)             {}

// stored is a world with one stored page of a kilobyte.
func stored(tb testing.TB) (*Handler, *http.Request, *testOrigin) {
	o := &testOrigin{source: Source{Current: true}}
	o.answer = respond(200, strings.Repeat("x", 1024), "Cache-Control: max-age=3600", "Content-Type: text/html",
		`ETag: "abc"`, "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT", "Server: app", "X-One: 1", "X-Two: 2")
	h := &Handler{Store: NewStore(Options{})}
	r := httptest.NewRequest("GET", "http://example.com/some/page?x=1", nil)
	if res, err := h.Serve(httptest.NewRecorder(), r, nil, o); err != nil || !res.Stored {
		tb.Fatalf("%+v %v: want it stored", res, err)
	}
	return h, r, o
}

func TestAHitAllocatesNextToNothing(t *testing.T) {
	h, r, o := stored(t)
	w := &sink{header: make(http.Header)}
	got := testing.AllocsPerRun(1000, func() {
		clear(w.header)
		if _, err := h.Serve(w, r, nil, o); err != nil {
			t.Fatal(err)
		}
	})
	// One for the header values; the line of a new second now and then.
	if got > 2 {
		t.Errorf("%v allocations for a hit: want at most 2", got)
	}
}

func BenchmarkHit(b *testing.B) {
	h, r, o := stored(b)
	w := &sink{header: make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		_, _ = h.Serve(w, r, nil, o)
	}
}

func BenchmarkHitParallel(b *testing.B) {
	h, r, o := stored(b)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		w := &sink{header: make(http.Header)}
		for pb.Next() {
			clear(w.header)
			_, _ = h.Serve(w, r, nil, o)
		}
	})
}

func BenchmarkNotModified(b *testing.B) {
	h, r, o := stored(b)
	r.Header.Set("If-None-Match", `"abc"`)
	w := &sink{header: make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		_, _ = h.Serve(w, r, nil, o)
	}
}

func BenchmarkMiss(b *testing.B) {
	h, r, o := stored(b)
	v := &cacherules.Verdict{}
	w := &sink{header: make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		h.Store.Purge(Purge{Everything: true})
		clear(w.header)
		o.asked = nil
		_, _ = h.Serve(w, r, v, o)
	}
}

func BenchmarkPass(b *testing.B) {
	h, r, o := stored(b)
	v := &cacherules.Verdict{Mode: cacherules.Private}
	w := &sink{header: make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		o.asked = nil
		_, _ = h.Serve(w, r, v, o)
	}
}
