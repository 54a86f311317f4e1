package caddymodule

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// Each event arrives before the origin has the next one, and so does the
// header before there is any.
func TestEventsArriveOneByOne(t *testing.T) {
	next, ended := make(chan string), make(chan struct{}, 2)
	address, fetches := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Cache-Control", "max-age=60") // even so
		flush := http.NewResponseController(w).Flush
		if flush() != nil {
			return
		}
		for {
			select {
			case event := <-next:
				fmt.Fprintf(w, "data: %s\n\n", event)
				if flush() != nil {
					return
				}
			case <-r.Context().Done():
				ended <- struct{}{}
				return
			}
		}
	})
	e := startEdge(t, staticPool(address), wholeSite)
	for n, round := range []string{"the first stream", "one of a key known to stream"} {
		ctx, leave := context.WithTimeout(t.Context(), time.Minute)
		stream := e.open(ctx, "/events")
		if status := stream.Header.Get("Cache-Status"); strings.Contains(status, "stored") {
			t.Errorf("%s: Cache-Status %q", round, status)
		}
		lines := bufio.NewReader(stream.Body)
		for _, event := range []string{"one", "two", "three"} {
			select {
			case next <- event:
			case <-ctx.Done():
				t.Fatalf("%s: nobody takes %s", round, event)
			}
			line, err := lines.ReadString('\n')
			if err != nil || line != "data: "+event+"\n" {
				t.Fatalf("%s: %q, %v: want %s", round, line, err, event)
			}
			if _, err := lines.ReadString('\n'); err != nil { // the empty line
				t.Fatal(err)
			}
		}
		// The origin learns that a client has left before the pool has counted it.
		eventually(t, round+": one stream and no request is counted", func() bool {
			s := e.poolStatus().Replicas[0]
			return s.Streams == 1 && s.InFlight == 0
		})
		leave()
		<-ended
		if got := fetches.Load(); got != int64(n+1) {
			t.Errorf("%s: %d fetches", round, got)
		}
	}
}

// Long polls wait at the origin as long as it takes, each for itself, once the
// key is known to be unstorable.
func TestLongPolls(t *testing.T) {
	arrived, release := make(chan struct{}, 10), make(chan struct{})
	address, fetches := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if r.Header.Get("X-Wait") != "" {
			arrived <- struct{}{}
			<-release
		}
		fmt.Fprintf(w, "for %s", r.Header.Get("X-Wait"))
	})
	e := startEdge(t, staticPool(address), wholeSite)
	e.get("/poll")
	answers := make(chan string, 5)
	for n := range 5 {
		go func() {
			want := fmt.Sprintf("for %d", n)
			if r, err := e.try(http.MethodGet, "/poll", nil, "X-Wait", fmt.Sprint(n)); err != nil || r.Text != want {
				answers <- fmt.Sprintf("%q, %v: want %q", r.Text, err, want)
				return
			}
			answers <- ""
		}()
	}
	for range 5 {
		<-arrived // all at once: none waits for another
	}
	close(release)
	for range 5 {
		if wrong := <-answers; wrong != "" {
			t.Error(wrong)
		}
	}
	if n := fetches.Load(); n != 6 {
		t.Errorf("%d fetches: want 6", n)
	}
}

// An upgrade goes through rules and cache untouched, where pages are cached too.
func TestWebSocketsGoThroughTheCache(t *testing.T) {
	address, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			w.Header().Set("Cache-Control", "max-age=60")
			fmt.Fprint(w, "page")
			return
		}
		socket, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer socket.CloseNow()
		for {
			kind, text, err := socket.Read(r.Context())
			if err != nil || socket.Write(r.Context(), kind, append([]byte("echo of "), text...)) != nil {
				return
			}
		}
	})
	e := startEdge(t, staticPool(address), wholeSite)
	e.get("/socket") // a page is stored under the same URL
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	socket, answer, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(e.URL, "http")+"/socket", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.CloseNow()
	if answer.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("%d: want 101", answer.StatusCode)
	}
	for _, text := range []string{"one", "two", patterned(20 << 10)} {
		if err := socket.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
		_, got, err := socket.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "echo", string(got), "echo of "+text)
	}
	if r := e.get("/socket"); r.Text != "page" || !r.hit() {
		t.Errorf("then %q, Cache-Status %q: want the stored page", r.Text, r.cacheStatus())
	}
}

// An upgrade that the origin declines is an answer like others.
func TestADeclinedUpgrade(t *testing.T) {
	address, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, "no")
	})
	e := startEdge(t, staticPool(address), wholeSite)
	for range 2 {
		r := e.get("/socket", "Connection", "Upgrade", "Upgrade", "websocket")
		if r.StatusCode != http.StatusForbidden || r.Text != "no" || r.stored() || r.hit() {
			t.Errorf("%d %q, Cache-Status %q", r.StatusCode, r.Text, r.cacheStatus())
		}
	}
}

// Interim responses reach whoever asked the origin, and nobody later.
func TestInterimResponses(t *testing.T) {
	for _, control := range []string{"max-age=60", "no-store"} {
		t.Run(control, func(t *testing.T) {
			address, _ := rawOrigin(t, func(conn net.Conn, _ *http.Request) {
				raw(conn, "HTTP/1.1 102 Processing\n\nHTTP/1.1 103 Early Hints\nLink: </style.css>; rel=preload\n\n"+
					"HTTP/1.1 200 OK\nContent-Length: 4\nCache-Control: "+control+"\n\npage")
			})
			e := startEdge(t, staticPool(address), wholeSite)
			for n := range 2 {
				var interim []int
				links := ""
				ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
					Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
						interim = append(interim, code)
						links += header.Get("Link")
						return nil
					},
				})
				final := e.open(ctx, "/page")
				text, err := io.ReadAll(final.Body)
				if err != nil || string(text) != "page" {
					t.Errorf("request %d: %q, %v", n, text, err)
				}
				want := "[102 103]</style.css>; rel=preload"
				if n > 0 && control != "no-store" {
					want = "[]"
				}
				if got := fmt.Sprint(interim) + links; got != want {
					t.Errorf("request %d: interim %s: want %s", n, got, want)
				}
				if final.Header.Get("Link") != "" {
					t.Errorf("request %d: the hint's Link stands in the final header", n)
				}
			}
		})
	}
}

// Trailing fields come with each answer, stored or not.
func TestTrailers(t *testing.T) {
	for name, text := range map[string]string{
		"not announced, stored": "Transfer-Encoding: chunked\nCache-Control: max-age=60\n\n4\npage\n0\nX-Sum: 42\n\n",
		"announced":             "Trailer: X-Sum\nTransfer-Encoding: chunked\nCache-Control: max-age=60\n\n4\npage\n0\nX-Sum: 42\n\n",
		"announced, not stored": "Trailer: X-Sum\nTransfer-Encoding: chunked\nCache-Control: no-store\n\n4\npage\n0\nX-Sum: 42\n\n",
		"not announced":         "Transfer-Encoding: chunked\nCache-Control: no-store\n\n4\npage\n0\nX-Sum: 42\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			address, fetches := rawOrigin(t, func(conn net.Conn, _ *http.Request) { raw(conn, "HTTP/1.1 200 OK\n"+text) })
			e := startEdge(t, staticPool(address), wholeSite)
			for n := range 3 {
				r := e.get("/page", "TE", "trailers")
				if r.Text != "page" || r.Trailer.Get("X-Sum") != "42" {
					t.Errorf("request %d: %q, trailer %v, Cache-Status %q", n, r.Text, maps.Clone(r.Trailer), r.cacheStatus())
				}
			}
			want := int32(1)
			if strings.Contains(text, "no-store") {
				want = 3
			}
			if n := fetches.Load(); int32(n) != want {
				t.Errorf("%d fetches: want %d", n, want)
			}
		})
	}
}
