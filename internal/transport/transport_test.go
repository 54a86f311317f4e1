package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const hello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

func TestOneConnectionServesOneRequestAfterAnother(t *testing.T) {
	s := serve(t, func(c net.Conn, r *http.Request) bool {
		answer := hello
		switch r.URL.Path {
		case "/none":
			answer = "HTTP/1.1 204 No Content\r\n\r\n"
		case "/chunked":
			answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Sum\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\nSum: 5\r\n\r\n"
		}
		if r.Method == http.MethodHead {
			answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
		}
		_, err := io.WriteString(c, answer)
		return err == nil
	})
	tr := s.transport(t, Options{})
	want(t, tr, request(t, "GET", "/"), 200, "hello")
	want(t, tr, request(t, "HEAD", "/"), 200, "")
	want(t, tr, request(t, "DELETE", "/none"), 204, "")
	resp, body, err := fetch(t, tr, request(t, "GET", "/chunked"))
	if err != nil || body != "hello" || resp.Trailer.Get("Sum") != "5" {
		t.Fatalf("chunked: %q, trailer %v, %v", body, resp.Trailer, err)
	}
	want(t, tr, request(t, "POST", "/"), 200, "hello")
	if n := s.connections(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func TestAConnectionThatMayNotBeUsedAgainIsNot(t *testing.T) {
	for name, answer := range map[string]string{
		"it says so":                   "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
		"HTTP/1.0":                     "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"more than its Content-Length": hello + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
		"another protocol, for which nobody asked": "HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: upgrade\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, says(answer))
			tr := s.transport(t, Options{})
			for i := range 3 {
				resp, body, err := fetch(t, tr, request(t, "GET", "/"))
				if err != nil || body == "evil" {
					t.Fatalf("request %d: %v %q %v", i, resp, body, err)
				}
				if got := s.connections(); got != i+1 {
					t.Errorf("%d connections after %d requests", got, i+1)
				}
			}
		})
	}
}

func TestWhatComesUnaskedAfterTheAnswerIsNoAnswer(t *testing.T) {
	more := make(chan struct{})
	s := serve(t, func(c net.Conn, r *http.Request) bool {
		_, _ = io.WriteString(c, hello)
		if r.URL.Path == "/first" {
			<-more
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
			more <- struct{}{}
		}
		return true
	})
	tr := s.transport(t, Options{})
	want(t, tr, request(t, "GET", "/first"), 200, "hello")
	more <- struct{}{}
	<-more
	eventually(t, "the idle connection is found to have said something", func() bool {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		return len(tr.idle) == 0 || !tr.idle[0].alive(time.Now())
	})
	want(t, tr, request(t, "POST", "/second"), 200, "hello")
}

// A server that closes idle connections must not cost a request, whatever its
// method: that is what net/http cannot promise.
func TestAnIdleConnectionThatTheServerHasClosedIsNotUsed(t *testing.T) {
	s := serve(t, func(c net.Conn, _ *http.Request) bool {
		_, _ = io.WriteString(c, hello)
		return false
	})
	tr := s.transport(t, Options{})
	for range 50 {
		want(t, tr, request(t, "POST", "/"), 200, "hello")
		eventually(t, "the connection is closed", func() bool {
			tr.mu.Lock()
			defer tr.mu.Unlock()
			return len(tr.idle) == 0 || !tr.idle[0].alive(time.Now())
		})
	}
	if n := len(s.requests()); n != 50 {
		t.Errorf("%d requests came for 50", n)
	}
}

// When a connection breaks while the request is on it, one that only reads is
// sent again, and no other.
func TestARequestOnAConnectionThatBreaks(t *testing.T) {
	for method, again := range map[string]bool{"GET": true, "HEAD": true, "OPTIONS": true, "DELETE": false, "POST": false, "PUT": false} {
		t.Run(method, func(t *testing.T) {
			var broken atomic.Bool
			s := serve(t, func(c net.Conn, r *http.Request) bool {
				if r.URL.Path == "/breaks" && broken.CompareAndSwap(false, true) {
					return false
				}
				answer := hello
				if r.Method == http.MethodHead {
					answer = answer[:len(answer)-5]
				}
				_, err := io.WriteString(c, answer)
				return err == nil
			})
			tr := s.transport(t, Options{})
			want(t, tr, request(t, "GET", "/"), 200, "hello")
			_, _, err := fetch(t, tr, request(t, method, "/breaks"))
			if again != (err == nil) {
				t.Errorf("error %v; sent again: want %v", err, again)
			}
			count := 0
			for _, asked := range s.requests() {
				if asked == method+" /breaks" {
					count++
				}
			}
			if wanted := map[bool]int{true: 2, false: 1}[again]; count != wanted {
				t.Errorf("it came %d times, want %d", count, wanted)
			}
		})
	}
}

// On a connection that is new, the server's end of it is its answer.
func TestANewConnectionThatBreaksIsAnError(t *testing.T) {
	s := serve(t, func(net.Conn, *http.Request) bool { return false })
	tr := s.transport(t, Options{})
	if _, _, err := fetch(t, tr, request(t, "GET", "/")); err == nil {
		t.Error("no error")
	}
	if got := s.requests(); len(got) != 1 {
		t.Errorf("asked %q, want one request", got)
	}
}

func TestAnAnswerThatIsLate(t *testing.T) {
	done := make(chan struct{})
	s := serve(t, func(c net.Conn, r *http.Request) bool {
		if r.URL.Path == "/half" {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-")
		}
		<-done
		return false
	})
	t.Cleanup(func() { close(done) })
	tr := s.transport(t, Options{HeaderTimeout: 20 * time.Millisecond})
	for _, path := range []string{"/none", "/half"} {
		_, _, err := fetch(t, tr, request(t, "GET", path))
		//nolint:errorlint // callers look at the error itself
		if late, ok := err.(net.Error); !ok || !late.Timeout() {
			t.Errorf("%s: %v, want a net.Error that is a time-out", path, err)
		}
	}
}

// The limit is for the header: a body may take its time.
func TestABodyMayTakeLongerThanTheHeader(t *testing.T) {
	limit := 300 * time.Millisecond
	s := serve(t, func(c net.Conn, _ *http.Request) bool {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
		<-time.After(2 * limit) // its slowness is what is tried here
		_, err := io.WriteString(c, "llo")
		return err == nil
	})
	tr := s.transport(t, Options{HeaderTimeout: limit})
	for range 2 {
		resp, err := tr.RoundTrip(request(t, "GET", "/"), nil)
		if err != nil {
			continue // a loaded machine may take that long for a header
		}
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "hello" {
			t.Errorf("%q, %v", body, err)
		}
	}
}

func TestTheClientIsGone(t *testing.T) {
	reached := make(chan struct{}, 1)
	over := make(chan struct{})
	s := serve(t, func(c net.Conn, r *http.Request) bool {
		if r.URL.Path == "/body" {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
		}
		reached <- struct{}{}
		<-over
		return false
	})
	t.Cleanup(func() { close(over) })
	tr := s.transport(t, Options{})
	why := errors.New("tired of waiting")

	t.Run("before the header", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() {
			<-reached
			cancel(why)
		}()
		if _, err := tr.RoundTrip(request(t, "GET", "/").WithContext(ctx), nil); !errors.Is(err, why) {
			t.Errorf("%v, want the context's cause", err)
		}
	})
	t.Run("in the body", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		resp, err := tr.RoundTrip(request(t, "GET", "/body").WithContext(ctx), nil)
		if err != nil {
			t.Fatal(err)
		}
		<-reached
		time.AfterFunc(time.Millisecond, func() { cancel(why) })
		body, err := io.ReadAll(resp.Body)
		if string(body) != "he" || !errors.Is(err, why) {
			t.Errorf("%q %v, want what came and the context's cause", body, err)
		}
	})
	t.Run("before it is sent", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(why)
		if _, err := tr.RoundTrip(request(t, "GET", "/").WithContext(ctx), nil); !errors.Is(err, why) {
			t.Errorf("%v, want the context's cause", err)
		}
	})
	if tr.pop() != nil {
		t.Error("a connection with half an answer was kept")
	}
}

func TestCloseEndsARead(t *testing.T) {
	over := make(chan struct{})
	s := serve(t, func(c net.Conn, _ *http.Request) bool {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
		<-over
		return false
	})
	t.Cleanup(func() { close(over) })
	tr := s.transport(t, Options{})
	for range 20 {
		resp, err := tr.RoundTrip(request(t, "GET", "/"), nil)
		if err != nil {
			t.Fatal(err)
		}
		read := make(chan error)
		go func() {
			_, err := io.ReadAll(resp.Body)
			read <- err
		}()
		_ = resp.Body.Close()
		if err := <-read; err == nil {
			t.Fatal("the body seems to be whole")
		}
		if _, err := resp.Body.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Fatalf("a Read after Close says %v", err)
		}
	}
}

func TestInterimAnswers(t *testing.T) {
	hints := "HTTP/1.1 103 Early Hints\r\nLink: </app.css>\r\n\r\n"
	s := serve(t, says("HTTP/1.1 100 Continue\r\n\r\n"+hints+hints+hello))
	tr := s.transport(t, Options{})
	var told []string
	resp, err := tr.RoundTrip(request(t, "GET", "/"), func(status int, header textproto.MIMEHeader) error {
		told = append(told, fmt.Sprint(status, header.Get("Link")))
		return nil
	})
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	if wanted := []string{"100", "103</app.css>", "103</app.css>"}; !slices.Equal(told, wanted) {
		t.Errorf("told %q, want %q", told, wanted)
	}
	refuse := errors.New("no more")
	if _, err := tr.RoundTrip(request(t, "GET", "/"), func(int, textproto.MIMEHeader) error { return refuse }); !errors.Is(err, refuse) {
		t.Errorf("%v, want what inform said", err)
	}
	want(t, tr, request(t, "GET", "/"), 200, "hello")
}

func TestAHeaderWithoutEnd(t *testing.T) {
	s := serve(t, func(c net.Conn, _ *http.Request) bool {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n")
		line := "X: " + strings.Repeat("x", 32<<10) + "\r\n"
		for range 2 * maxHeader / len(line) {
			if _, err := io.WriteString(c, line); err != nil {
				return false
			}
		}
		return false
	})
	if _, _, err := fetch(t, s.transport(t, Options{}), request(t, "GET", "/")); !errors.Is(err, errHeaderTooLarge) {
		t.Errorf("%v, want %v", err, errHeaderTooLarge)
	}
}

func TestWhatIsNoRequestIsRefusedAndCostsNoConnection(t *testing.T) {
	s := serve(t, says(hello))
	tr := s.transport(t, Options{})
	want(t, tr, request(t, "GET", "/"), 200, "hello")
	for name, spoil := range map[string]func(*http.Request){
		"field name":                 func(r *http.Request) { r.Header["Bad Name"] = []string{"x"} },
		"field value":                func(r *http.Request) { r.Header["X"] = []string{"a\r\nInjected: yes"} },
		"method":                     func(r *http.Request) { r.Method = "GET / HTTP/1.1\r\nX:" },
		"no host":                    func(r *http.Request) { r.Host, r.URL.Host = "", "" },
		"a line's end in the target": func(r *http.Request) { r.URL.Opaque = "/a\r\nX: y" },
	} {
		r := request(t, "GET", "/")
		spoil(r)
		if _, err := tr.RoundTrip(r, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	want(t, tr, request(t, "GET", "/"), 200, "hello")
	if n, asked := s.connections(), s.requests(); n != 1 || len(asked) != 2 {
		t.Errorf("%d connections and %q, want one and two requests", n, asked)
	}
}

// Connections break at random, clients leave at random: every request gets its
// own answer, whole, or an error.
func TestManyAtOnce(t *testing.T) {
	var count atomic.Int64
	s := serve(t, func(c net.Conn, r *http.Request) bool {
		n := count.Add(1)
		if n%11 == 0 {
			return false
		}
		text := r.URL.Path + strings.Repeat("x", int(n%7)*3000)
		_, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
		return err == nil && n%13 != 0
	})
	tr := s.transport(t, Options{MaxIdle: 4, Turns: make(chan struct{}, 2), TurnWait: time.Minute})
	var answers atomic.Int64
	var work sync.WaitGroup
	for g := range 16 {
		work.Go(func() {
			for i := range 100 {
				path := fmt.Sprintf("/%d-%d.", g, i)
				ctx, cancel := context.WithCancel(t.Context())
				resp, err := tr.RoundTrip(request(t, "GET", path).WithContext(ctx), nil)
				if err == nil && i%17 == 0 {
					go cancel()
				}
				if err == nil {
					body, err := io.ReadAll(resp.Body)
					_ = resp.Body.Close()
					if !strings.HasPrefix(string(body), path[:min(len(path), len(body))]) || (err == nil && !strings.HasPrefix(string(body), path)) {
						t.Errorf("%s got %.20q", path, body)
					}
					answers.Add(1)
				}
				cancel()
			}
		})
	}
	work.Wait()
	if answers.Load() < 1000 {
		t.Errorf("%d answers of 1600", answers.Load())
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if len(tr.idle) > 4 || len(tr.waiting) > 0 || len(tr.o.Turns) > 0 {
		t.Errorf("%d idle, %d waiting, %d turns taken; want at most 4, none, none", len(tr.idle), len(tr.waiting), len(tr.o.Turns))
	}
}
