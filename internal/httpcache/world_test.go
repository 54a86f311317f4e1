package httpcache

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgegw/edge/internal/cacherules"
)

// testOrigin answers with a handler and keeps what it was asked.
type testOrigin struct {
	answer func(w http.ResponseWriter, r *http.Request) error
	source Source
	// detaching is called at each Detach, unless nil.
	detaching func()

	mu    sync.Mutex
	asked []http.Header
}

func (o *testOrigin) Detach(ctx context.Context, r *http.Request) *http.Request {
	if o.detaching != nil {
		o.detaching()
	}
	return r.Clone(ctx)
}

func (o *testOrigin) Fetch(w http.ResponseWriter, r *http.Request) error {
	o.mu.Lock()
	o.asked = append(o.asked, r.Header.Clone())
	o.mu.Unlock()
	return o.answer(w, r)
}

func (o *testOrigin) Source(*http.Request) Source { return o.source }

func (o *testOrigin) fetches() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.asked)
}

func (o *testOrigin) lastAsked() http.Header {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked[len(o.asked)-1]
}

// world is a cache with its origin.
type world struct {
	t       *testing.T
	h       *Handler
	origin  *testOrigin
	verdict *cacherules.Verdict
	mu      sync.Mutex
	events  []Event
}

// newWorld makes an origin that answers 200 with the given fields, as "Name:
// value", and body "hello".
func newWorld(t *testing.T, fields ...string) *world {
	o := &testOrigin{source: Source{Current: true}}
	o.answer = respond(http.StatusOK, "hello", fields...)
	w := &world{t: t, origin: o, verdict: &cacherules.Verdict{}}
	w.h = &Handler{Store: NewStore(Options{}), Event: func(e Event) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.events = append(w.events, e)
	}}
	return w
}

// respond is a handler that always answers alike.
func respond(status int, body string, fields ...string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, _ *http.Request) error {
		setFields(w.Header(), fields)
		w.WriteHeader(status)
		if body == "" {
			return nil
		}
		_, err := w.Write([]byte(body))
		return err
	}
}

func setFields(h http.Header, fields []string) {
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		h.Add(name, value)
	}
}

// reply is what a client saw.
type answer struct {
	*httptest.ResponseRecorder
	Result
	err error
}

// do sends a request whose fields are given as "Name: value".
func (w *world) do(method, url string, fields ...string) answer {
	r := httptest.NewRequest(method, url, nil)
	setFields(r.Header, fields)
	return w.send(r)
}

func (w *world) send(r *http.Request) answer {
	rec := httptest.NewRecorder()
	res, err := w.h.Serve(rec, r, w.verdict, w.origin)
	if err == nil {
		countShort(rec, r)
	}
	return answer{ResponseRecorder: rec, Result: res, err: err}
}

// countShort writes the Content-Length that net/http's server writes, where the
// handler has left it to that.
func countShort(rec *httptest.ResponseRecorder, r *http.Request) {
	h := rec.Header()
	if len(h["Content-Length"]) > 0 || len(h["Trailer"]) > 0 || rec.Flushed || r.Method == http.MethodHead || !bodyAllowed(rec.Code) {
		return
	}
	if n := rec.Body.Len(); n <= 2048 {
		h.Set("Content-Length", strconv.Itoa(n))
	}
}

func (w *world) get(url string, fields ...string) answer {
	return w.do(http.MethodGet, url, fields...)
}

// settled waits until all goroutines of the bubble rest.
func (w *world) settled() { synctest.Wait() }

func (w *world) count(kind EventKind) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, e := range w.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

const site = "http://example.com/page"

var errDown = errors.New("connection refused")

func down(http.ResponseWriter, *http.Request) error { return errDown }

// wants fails unless the answer's status word, status code and body are these.
func (a answer) wants(t *testing.T, status Status, code int, body string) {
	t.Helper()
	if a.err != nil {
		t.Fatalf("error %v", a.err)
	}
	if a.Status != status || a.ResponseRecorder.Code != code || a.Body.String() != body {
		t.Fatalf("got %s (%s) %d %q, Cache-Status %q: want %s %d %q", a.Status, a.Reason, a.ResponseRecorder.Code,
			a.Body.String(), a.Header().Values("Cache-Status"), status, code, body)
	}
}

// inBubble runs a test with a clock of its own.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

func wait(d time.Duration) { time.Sleep(d) } // of a bubble's clock

// validating answers 304 to a request with the entity tag "a" of its fields.
func validating(body string, fields ...string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.Header.Get("If-None-Match") == `"a"` {
			return respond(http.StatusNotModified, "", fields...)(w, r)
		}
		return respond(http.StatusOK, body, fields...)(w, r)
	}
}

// withHints notes the Link field of a 103.
func withHints(ctx context.Context, link *string) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
			*link = h.Get("Link")
			return nil
		},
	})
}

func itoa(n int) string { return strconv.Itoa(n) }
