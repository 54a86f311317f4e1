package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

func TestALargeObjectIsStoredWhole(t *testing.T) {
	want := patterned(5 << 20)
	address, fetches := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", fmt.Sprint(len(want)))
		}
		_, _ = io.WriteString(w, want) // a reader that left is what the test sees
	})
	e := startEdge(t, staticPool(address), wholeSite)
	for _, path := range []string{"/length", "/chunked"} {
		same(t, path+", miss", e.get(path).Text, want)
		r := e.get(path)
		same(t, path+", hit", r.Text, want)
		if !r.hit() || r.ContentLength != int64(len(want)) {
			t.Errorf("%s: Cache-Status %q, Content-Length %d", path, r.cacheStatus(), r.ContentLength)
		}
	}
	if n := fetches.Load(); n != 2 {
		t.Errorf("%d fetches: want one for each", n)
	}
}

// What is too large streams through: the origin is held back when the client
// does not read, nothing piles up here, and nothing is stored.
func TestTooLargeAnObjectStreamsThrough(t *testing.T) {
	const total = 256 << 20
	piece := []byte(patterned(64 << 10))
	for _, framing := range []string{"length", "chunked"} {
		t.Run(framing, func(t *testing.T) {
			var written atomic.Int64
			ended := make(chan struct{}, 10)
			address, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
				defer func() { ended <- struct{}{} }()
				w.Header().Set("Cache-Control", "max-age=60")
				if framing == "length" {
					w.Header().Set("Content-Length", fmt.Sprint(total))
				}
				for sent := 0; sent < total; sent += len(piece) {
					n, err := w.Write(piece)
					written.Add(int64(n))
					if err != nil {
						return
					}
				}
			})
			e := startEdge(t, "cache {\n\tmax_object 1MiB\n}\n"+staticPool(address), wholeSite)
			for _, round := range []string{"the first time", "known to be too large"} {
				written.Store(0)
				ctx, leave := context.WithCancel(t.Context())
				body := e.open(ctx, "/large").Body
				start := make([]byte, 2<<20)
				if _, err := io.ReadFull(body, start); err != nil {
					t.Fatal(err)
				}
				same(t, round, string(start), strings.Repeat(string(piece), len(start)/len(piece)))
				// Sockets hold some megabytes at each hop; the rest must wait.
				before := int64(-1)
				eventually(t, "the origin is held back", func() bool {
					now := written.Load()
					held := now == before
					before = now
					return held
				})
				if before > total/2 {
					t.Errorf("%s: the origin wrote %d bytes of which the client took %d", round, before, len(start))
				}
				leave()
				_ = body.Close() // its error says that we left
				<-ended
			}
			if r, err := e.try(http.MethodHead, "/large", nil); err == nil && r.hit() {
				t.Errorf("Cache-Status %q of what is too large", r.cacheStatus())
			}
		})
	}
}

// open sends a GET and returns as soon as the header is there.
func (e *edge) open(ctx context.Context, path string, headers ...string) *http.Response {
	e.t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, e.URL+path, nil)
	if err != nil {
		e.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	got, err := testClient.Transport.RoundTrip(request)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { _ = got.Body.Close() }) // the test may have
	return got
}

func TestASlowClientHoldsUpNobody(t *testing.T) {
	want := patterned(12 << 20)
	address, fetches := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, want) // a reader that left is what the test sees
	})
	e := startEdge(t, staticPool(address), wholeSite)
	slow := e.open(t.Context(), "/page") // reads nothing yet
	for range 2 {
		same(t, "another client", e.get("/page").Text, want)
	}
	if n := fetches.Load(); n != 1 {
		t.Errorf("%d fetches: want 1", n)
	}
	if r := e.get("/page"); !r.hit() {
		t.Errorf("Cache-Status %q while the first client reads: want a hit", r.cacheStatus())
	}
	text, err := io.ReadAll(slow.Body)
	if err != nil {
		t.Error(err)
	}
	same(t, "the slow client", string(text), want)
}

func TestAClientLeavesInTheMiddleOfAFill(t *testing.T) {
	release := make(chan struct{})
	address, fetches := counting(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		_, _ = io.WriteString(w, "first, ") // a reader that left is what the test sees
		_ = http.NewResponseController(w).Flush()
		<-release
		_, _ = io.WriteString(w, "second") // likewise
	})
	e := startEdge(t, staticPool(address), wholeSite)
	ctx, leave := context.WithCancel(t.Context())
	body := e.open(ctx, "/page").Body
	if _, err := io.ReadFull(body, make([]byte, 7)); err != nil {
		t.Fatal(err)
	}
	leave()
	_ = body.Close() // its error says that we left
	close(release)
	eventually(t, "the next request is a hit", func() bool {
		r := e.get("/page")
		if r.Text != "first, second" {
			t.Fatalf("got %q", r.Text)
		}
		return r.hit()
	})
	if n := fetches.Load(); n != 1 {
		t.Errorf("%d fetches: want 1", n)
	}
}

// Whoever leaves an answer that nobody else can have ends the origin's work,
// even while the origin has nothing to say.
func TestAClientLeavesAnUnstorableStream(t *testing.T) {
	kinds := map[string]http.Header{
		"no-store":      {"Cache-Control": {"no-store"}},
		"events":        {"Content-Type": {"text/event-stream"}},
		"sets a cookie": {"Cache-Control": {"max-age=60"}, "Set-Cookie": {"a=b"}},
	}
	for name, header := range kinds {
		t.Run(name, func(t *testing.T) {
			ended := make(chan struct{}, 10)
			address, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
				for field, values := range header {
					w.Header()[field] = values
				}
				_, _ = io.WriteString(w, "data: 1\n\n") // a reader that left is what the test sees
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
				ended <- struct{}{}
			})
			e := startEdge(t, staticPool(address), wholeSite)
			for range 2 { // as a fill, and as one known not to be stored
				ctx, leave := context.WithCancel(t.Context())
				body := e.open(ctx, "/events").Body
				if _, err := io.ReadFull(body, make([]byte, 9)); err != nil {
					t.Fatal(err)
				}
				leave()
				_ = body.Close() // its error says that we left
				eventually(t, "the origin sees it", func() bool { return len(ended) > 0 })
				<-ended
			}
		})
	}
}

// An answer that is cut short must not look complete to the client, must not
// be stored, and counts against the replica.
func TestACutBodyIsAnAbort(t *testing.T) {
	cuts := map[string]string{
		"Content-Length":      "HTTP/1.1 200 OK\nCache-Control: max-age=60\nContent-Length: 100\n\nonly this",
		"chunked":             "HTTP/1.1 200 OK\nCache-Control: max-age=60\nTransfer-Encoding: chunked\n\n9\nonly this\n",
		"within a chunk":      "HTTP/1.1 200 OK\nCache-Control: max-age=60\nTransfer-Encoding: chunked\n\n64\nonly this",
		"length, not stored":  "HTTP/1.1 200 OK\nCache-Control: no-store\nContent-Length: 100\n\nonly this",
		"chunked, not stored": "HTTP/1.1 200 OK\nCache-Control: no-store\nTransfer-Encoding: chunked\n\n9\nonly this\n",
	}
	for name, text := range cuts {
		t.Run(name, func(t *testing.T) {
			address, fetches := rawOrigin(t, func(conn net.Conn, _ *http.Request) {
				raw(conn, text)
				_ = conn.Close() // the cut
			})
			e := startEdge(t, staticPool(address), wholeSite)
			for range 3 {
				asked := fetches.Load()
				r, err := e.try(http.MethodGet, "/page", nil)
				// Without a flush the header may be lost with the body, which is an end too.
				if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
					t.Errorf("%q, %v: want an unexpected end", r.Text, err)
				}
				if fetches.Load() == asked {
					t.Error("answered without asking the origin")
				}
			}
			eventually(t, "the replica is blamed", func() bool { return e.poolStatus().Replicas[0].Failures >= 3 })
		})
	}
}

// Everyone who waits for a fill that is cut short sees it cut.
func TestFollowersOfACutBodySeeItCut(t *testing.T) {
	release := make(chan struct{})
	address, _ := rawOrigin(t, func(conn net.Conn, _ *http.Request) {
		raw(conn, "HTTP/1.1 200 OK\nCache-Control: max-age=60\nContent-Length: 100\n\nonly this")
		<-release
		_ = conn.Close() // the cut
	})
	e := startEdge(t, staticPool(address), wholeSite)
	var readers []io.Reader
	for range 5 {
		readers = append(readers, e.open(t.Context(), "/page").Body)
	}
	close(release)
	for _, reader := range readers {
		if text, err := io.ReadAll(reader); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q, %v: want an unexpected end", text, err)
		}
	}
}
