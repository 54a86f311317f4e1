package httpcache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestCutAnswersAreNeverStoredNorPassedOffAsWhole(t *testing.T) {
	fresh := "Cache-Control: max-age=60"
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request) error{
		"shorter than declared": respond(200, "hell", fresh, "Content-Length: 5"),
		"longer than declared":  respond(200, "hello!", fresh, "Content-Length: 5"),
		"cut by a panic": func(w http.ResponseWriter, r *http.Request) error {
			_ = respond(200, "hell", fresh)(w, r)
			panic(http.ErrAbortHandler)
		},
		"cut by an error": func(w http.ResponseWriter, r *http.Request) error {
			_ = respond(200, "hell", fresh)(w, r)
			return io.ErrUnexpectedEOF
		},
	} {
		inBubble(t, func(t *testing.T) {
			w := newWorld(t)
			let := make(chan struct{})
			w.origin.answer = func(rw http.ResponseWriter, r *http.Request) error {
				<-let
				return answer(rw, r)
			}
			all := w.startMany(3, site)
			close(let)
			for _, one := range all {
				if got := <-one; got.err == nil || !strings.Contains(got.err.Error(), "abort Handler") {
					t.Errorf("%s: %v: want the answer to be aborted", name, got.err)
				}
			}
			if n := w.h.Store.Stats().Entries; n != 0 {
				t.Errorf("%s: %d entries: want none", name, n)
			}
			if n := w.h.Store.Stats().Bytes; n != 0 {
				t.Errorf("%s: %d bytes still accounted: want 0", name, n)
			}
		})
	}
}

// slowClient reads when it is let: the test takes what it reads from reads.
type slowClient struct {
	*httptest.ResponseRecorder
	let chan struct{}
}

func (c *slowClient) Write(p []byte) (int, error) {
	<-c.let
	return c.ResponseRecorder.Write(p)
}

func TestAnUnstorableAnswerWaitsForItsClient(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		const pieces, piece = 64, 64 << 10
		sent := 0
		w.origin.answer = func(rw http.ResponseWriter, _ *http.Request) error {
			rw.Header().Set("Cache-Control", "no-store")
			for range pieces {
				if _, err := rw.Write(make([]byte, piece)); err != nil {
					return err
				}
				sent += piece
			}
			return nil
		}
		client := &slowClient{ResponseRecorder: httptest.NewRecorder(), let: make(chan struct{})}
		done := make(chan error, 1)
		go func() {
			_, err := w.h.Serve(client, httptest.NewRequest("GET", site, nil), w.verdict, w.origin)
			done <- err
		}()
		synctest.Wait()
		// One piece may be on its way to the client while the window fills up.
		if sent > windowBytes+2*piece {
			t.Errorf("origin sent %d bytes to a client that reads nothing: want at most the window of %d", sent, windowBytes)
		}
		close(client.let)
		if err := <-done; err != nil || client.Body.Len() != pieces*piece {
			t.Errorf("%v, %d bytes: want all %d", err, client.Body.Len(), pieces*piece)
		}
	})
}

func TestAnEventStreamFlowsAndEndsWithItsClient(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		tick, ended := make(chan string), make(chan error, 1)
		w.origin.answer = func(rw http.ResponseWriter, r *http.Request) error {
			rw.Header().Set("Content-Type", "text/event-stream")
			rw.(http.Flusher).Flush()
			for text := range tick {
				if _, err := io.WriteString(rw, text); err != nil {
					ended <- err
					return err
				}
				rw.(http.Flusher).Flush()
			}
			return nil
		}
		for _, how := range []string{"through a fill", "known to be uncacheable"} {
			began := w.h.Store.Generation() + 1
			ctx, leave := context.WithCancel(t.Context())
			rec := httptest.NewRecorder()
			done := make(chan error, 1)
			go func() {
				_, err := w.h.Serve(rec, httptest.NewRequest("GET", site, nil).WithContext(ctx), w.verdict, w.origin)
				done <- err
			}()
			synctest.Wait()
			if !rec.Flushed {
				t.Errorf("%s: the header was not flushed", how)
			}
			if n := w.h.Store.Draining(began); n != 0 {
				t.Errorf("%s: %d exchanges to drain: want none to wait for an endless stream", how, n)
			}
			tick <- "data: 1\n\n"
			synctest.Wait()
			if rec.Body.String() != "data: 1\n\n" {
				t.Errorf("%s: client has %q: want the first event at once", how, rec.Body)
			}
			leave()
			synctest.Wait()
			if how == "through a fill" {
				<-done
				tick <- "data: 2\n\n"
				if err := <-ended; !errors.Is(err, errNobody) {
					t.Errorf("the origin's write says %v: want that nobody reads", err)
				}
				continue
			}
			close(tick)
			<-done
		}
	})
}

func TestTooLargeAnswersPassThrough(t *testing.T) {
	const limit = 64 << 10
	whole := bytes.Repeat([]byte("0123456789abcdef"), 4*limit/16)
	for name, declared := range map[string]bool{"declared": true, "undeclared": false} {
		inBubble(t, func(t *testing.T) {
			w := newWorld(t)
			w.h.Store.Configure(Options{MaxObject: limit})
			let := make(chan struct{})
			w.origin.answer = func(rw http.ResponseWriter, _ *http.Request) error {
				<-let
				rw.Header().Set("Cache-Control", "max-age=60")
				if declared {
					rw.Header().Set("Content-Length", fmt.Sprint(len(whole)))
				}
				for part := whole; len(part) > 0; part = part[1024:] {
					if _, err := rw.Write(part[:1024]); err != nil {
						return err
					}
				}
				return nil
			}
			all := w.startMany(3, site)
			close(let)
			for _, one := range all {
				got := <-one
				if got.err != nil || !bytes.Equal(got.Body.Bytes(), whole) || got.Stored {
					t.Errorf("%s: %v, %d bytes, stored %v: want %d bytes, not stored", name, got.err, got.Body.Len(), got.Stored, len(whole))
				}
			}
			if s := w.h.Store.Stats(); s.Entries != 0 || s.Bytes != 0 {
				t.Errorf("%s: %d entries, %d bytes accounted: want none", name, s.Entries, s.Bytes)
			}
			if got := w.get(site); got.Reason != ReasonRefused {
				t.Errorf("%s: next reason %q: want to pass straight through", name, got.Reason)
			}
		})
	}
}

func TestAStalledReaderHoldsUpNobodyWhileTheBodyIsKept(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		whole := strings.Repeat("x", 1<<20)
		w.origin.answer = respond(200, whole, "Cache-Control: max-age=60")
		stalled := &slowClient{ResponseRecorder: httptest.NewRecorder(), let: make(chan struct{})}
		done := make(chan error, 1)
		go func() {
			_, err := w.h.Serve(stalled, httptest.NewRequest("GET", site, nil), w.verdict, w.origin)
			done <- err
		}()
		synctest.Wait()
		w.get(site).wants(t, StatusHit, 200, whole)
		close(stalled.let)
		if err := <-done; err != nil || stalled.Body.Len() != len(whole) {
			t.Errorf("%v, %d bytes: want all", err, stalled.Body.Len())
		}
	})
}

func TestOverTheWire(t *testing.T) {
	w := newWorld(t)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if _, err := w.h.Serve(rw, r, w.verdict, w.origin); err != nil {
			http.Error(rw, err.Error(), http.StatusBadGateway)
		}
	}))
	defer server.Close()
	get := func(path string) (*http.Response, string, error) {
		resp, err := server.Client().Get(server.URL + path)
		if err != nil {
			return nil, "", err
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		return resp, string(body), err
	}

	t.Run("1xx responses reach the leader and are not stored", func(t *testing.T) {
		w.origin.answer = func(rw http.ResponseWriter, r *http.Request) error {
			rw.Header().Set("Link", "</a.css>; rel=preload")
			rw.WriteHeader(http.StatusEarlyHints)
			rw.Header().Del("Link")
			return respond(200, "hello", "Cache-Control: max-age=60")(rw, r)
		}
		for _, want := range []string{"</a.css>; rel=preload", ""} {
			hints := ""
			r, _ := http.NewRequestWithContext(withHints(t.Context(), &hints), "GET", server.URL+"/hints", nil)
			resp, err := server.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if hints != want || resp.Header.Get("Link") != "" || string(body) != "hello" {
				t.Errorf("hints %q, final Link %q, body %q: want %q, none, hello", hints, resp.Header.Get("Link"), body, want)
			}
		}
	})
	t.Run("a cut answer is cut for the client too", func(t *testing.T) {
		w.origin.answer = func(rw http.ResponseWriter, r *http.Request) error {
			_ = respond(200, strings.Repeat("x", 100_000), "Cache-Control: max-age=60")(rw, r)
			panic(http.ErrAbortHandler)
		}
		if _, body, err := get("/cut"); err == nil {
			t.Errorf("%d bytes and no error: want the connection to break", len(body))
		}
	})
	t.Run("trailers that nobody announced", func(t *testing.T) {
		w.origin.answer = func(rw http.ResponseWriter, _ *http.Request) error {
			err := respond(200, "hello", "Cache-Control: no-store")(rw, nil)
			rw.Header().Set(http.TrailerPrefix+"X-Sum", "5")
			return err
		}
		resp, body, err := get("/unannounced")
		if err != nil || body != "hello" || resp.Trailer.Get("X-Sum") != "5" {
			t.Errorf("%v %q, trailer %q: want 5", err, body, resp.Trailer.Get("X-Sum"))
		}
	})
	t.Run("unannounced trailers of an answer that may be stored", func(t *testing.T) {
		w.origin.answer = func(rw http.ResponseWriter, _ *http.Request) error {
			_ = respond(200, "hello", "Cache-Control: max-age=60")(rw, nil)
			err := http.NewResponseController(rw).Flush() // as proxies do, to leave room for them
			rw.Header().Set(http.TrailerPrefix+"X-Sum", "5")
			return err
		}
		for range 2 { // the second one must not miss them
			resp, body, err := get("/kept")
			if err != nil || body != "hello" || resp.Trailer.Get("X-Sum") != "5" {
				t.Errorf("%v %q, trailer %q: want 5", err, body, resp.Trailer.Get("X-Sum"))
			}
		}
	})
	t.Run("trailers of an answer that is not stored", func(t *testing.T) {
		w.origin.answer = func(rw http.ResponseWriter, r *http.Request) error {
			rw.Header().Set("Trailer", "X-Sum")
			_ = respond(200, "hello", "Cache-Control: max-age=60")(rw, r)
			rw.Header().Set("X-Sum", "5")
			return nil
		}
		resp, body, err := get("/trailer")
		if err != nil || body != "hello" || resp.Trailer.Get("X-Sum") != "5" {
			t.Errorf("%v %q, trailer %q: want 5", err, body, resp.Trailer.Get("X-Sum"))
		}
	})
	t.Run("an upgraded connection belongs to the origin", func(t *testing.T) {
		w.origin.answer = func(rw http.ResponseWriter, _ *http.Request) error {
			conn, _, err := rw.(http.Hijacker).Hijack()
			if err != nil {
				return err
			}
			defer func() { _ = conn.Close() }()
			_, err = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello")
			return err
		}
		r, _ := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/ws", nil)
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "echo")
		resp, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusSwitchingProtocols || string(body) != "hello" {
			t.Errorf("%d %q: want 101 and what the origin wrote", resp.StatusCode, body)
		}
	})
}

func TestFaultsOfOursAreNotTheVisitors(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, "Cache-Control: max-age=60")
		w.h.Event = func(Event) { panic("a bad listener") }
		w.get(site).wants(t, StatusMiss, 200, "hello")
		wait(time.Second)
		if s := w.h.Store.Stats(); s.Faults == 0 {
			t.Errorf("%d faults counted: want the panic of the listener", s.Faults)
		}
		w.h.Event = nil
		w.origin.source = Source{Current: true}
		w.h.Store.Purge(Purge{Everything: true})
		broken := &brokenSource{testOrigin: w.origin}
		rec := httptest.NewRecorder()
		if _, err := w.h.Serve(rec, httptest.NewRequest("GET", site, nil), w.verdict, broken); err != nil || rec.Body.String() != "hello" {
			t.Errorf("%v %q: want the origin's answer all the same", err, rec.Body)
		}
	})
}

// brokenSource panics when asked who answered.
type brokenSource struct{ *testOrigin }

func (*brokenSource) Source(*http.Request) Source { panic("no idea") }
