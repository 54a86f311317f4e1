package caddymodule

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// script is what a raw origin does with one request: it writes the pieces, a
// moment apart, and then ends the connection or not. Before "wait" it waits
// until the other side has closed.
type script struct {
	pieces []string
	end    string // "", "close", "reset" or "wait"
}

// scripted is an origin of scripts, found by the request's path. It notes what
// it got, byte for byte.
type scripted struct {
	address string

	mu      sync.Mutex
	scripts map[string]script
	got     map[string][]string
	gone    map[string]bool // the other side left while the origin waited
}

func startScripted(t *testing.T) *scripted {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{address: l.Addr().String(), scripts: make(map[string]script), got: make(map[string][]string), gone: make(map[string]bool)}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		work.Wait()
	})
	return s
}

func (s *scripted) serve(conn net.Conn) {
	defer conn.Close()
	var raw bytes.Buffer
	reader := bufio.NewReader(io.TeeReader(conn, &raw))
	for {
		raw.Reset()
		r, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		if r.Header.Get("Expect") != "" {
			_, _ = io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n")
		}
		body, err := io.ReadAll(r.Body)
		way, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		seen := headOf(raw.String(), way) + fmt.Sprintf("%q %v %v", body, err, r.Trailer)
		s.mu.Lock()
		act := s.scripts[path]
		s.got[way+" "+path] = append(s.got[way+" "+path], seen)
		s.mu.Unlock()
		for _, piece := range act.pieces {
			if _, err := io.WriteString(conn, piece); err != nil {
				return
			}
		}
		switch act.end {
		case "close":
			return
		case "reset":
			_ = conn.(*net.TCPConn).SetLinger(0)
			return
		case "wait":
			_, err := reader.ReadByte()
			s.mu.Lock()
			s.gone[way+" "+path] = err != nil
			s.mu.Unlock()
			return
		}
	}
}

// headOf is the head of a request without what differs from way to way.
func headOf(raw, way string) string {
	head, _, _ := strings.Cut(raw, "\r\n\r\n")
	return strings.Replace(head, " /"+way+"/", " /", 1) + "\n"
}

func (s *scripted) seen(way, path string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got[way+" "+path]
}

func (s *scripted) left(way, path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gone[way+" "+path]
}

// answered is what a client got, in what a client can tell apart.
type answered struct {
	Interim []string
	Status  string
	Header  http.Header
	Framing string
	Body    string
	Cut     bool
	Trailer http.Header
	Err     bool // no answer at all
}

// continued takes out and counts how often a client was told to go on.
func (a *answered) continued() (times int) {
	before := len(a.Interim)
	a.Interim = slices.DeleteFunc(a.Interim, func(said string) bool { return strings.HasPrefix(said, "100 ") })
	if len(a.Interim) == 0 {
		a.Interim = nil
	}
	return before - len(a.Interim)
}

// leanPools and leanSite are two routes that differ in nothing but who carries the request.
const leanPools = `
pool lean {
	discover static %[1]s
	%[2]s
}
pool caddy {
	discover static %[1]s
	%[2]s
}`

const leanPool = `
	breaker {
		consecutive none
		min_requests 1000000
	}
	eject off
	retry {
		attempts none
	}
	transport {
		header_timeout 500ms
	}`

const leanSite = `
header >X-Was "{http.reverse_proxy.status_code} {http.reverse_proxy.status_text} {http.reverse_proxy.header.X-One} {http.reverse_proxy.upstream.fails} {http.reverse_proxy.upstream.max_requests}"
handle /lean/* {
	edge_proxy lean {
		trusted_proxies 127.0.0.0/8
	}
}
handle /caddy/* {
	edge_proxy caddy {
		trusted_proxies 127.0.0.0/8
		lean off
	}
}`

// exchangeRaw sends a raw request through one way and reads the answer.
func exchangeRaw(t *testing.T, e *edge, way, path, request string) answered {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(e.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(conn, addressed(e, way, path, request)); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	return readAnswer(bufio.NewReader(conn), method)
}

// addressed is a raw request for a path of one way.
func addressed(e *edge, way, path, request string) string {
	host := strings.TrimPrefix(e.URL, "http://")
	return strings.NewReplacer("PATH", "/"+way+"/"+path, "a.example", host).Replace(request)
}

func readAnswer(reader *bufio.Reader, method string) answered {
	var a answered
	for {
		resp, err := http.ReadResponse(reader, &http.Request{Method: method})
		if err != nil {
			a.Err = true
			return a
		}
		resp.Header.Del("Date")
		if resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols {
			a.Interim = append(a.Interim, fmt.Sprint(resp.StatusCode, resp.Header))
			continue
		}
		a.Status, a.Header = resp.Proto+" "+resp.Status, resp.Header
		a.Framing = fmt.Sprint(resp.TransferEncoding, resp.ContentLength, resp.Close, slices.Sorted(maps.Keys(resp.Trailer)))
		body, err := io.ReadAll(resp.Body)
		a.Body, a.Cut, a.Trailer = string(body), err != nil, resp.Trailer
		if a.Body == "" && !a.Cut && len(a.Trailer) == 0 && method != http.MethodHead {
			a.Framing = "empty" // of a stream: by chance in chunks or not, as above
			a.Header.Del("Content-Length")
		}
		return a
	}
}

// sameBothWays sends one exchange through both ways and holds them equal.
// net/http's transport may fail a request that meets a connection on which the
// exchange before has left rubbish, if it is quick: so only what differs three
// times differs.
func sameBothWays(t *testing.T, e *edge, origin *scripted, path, request string, act script) answered {
	t.Helper()
	var got answered
	var differs string
	for try := range 3 {
		got, differs = bothWays(t, e, origin, fmt.Sprint(path, "/", try), request, act)
		if differs == "" {
			return got
		}
	}
	t.Errorf("%s: %s\nfor %q\nanswered with %.2000q", path, differs, request, act)
	return got
}

func bothWays(t *testing.T, e *edge, origin *scripted, path, request string, act script) (got answered, differs string) {
	t.Helper()
	origin.mu.Lock()
	origin.scripts[path] = act
	origin.mu.Unlock()
	want := exchangeRaw(t, e, "caddy", path, request)
	got = exchangeRaw(t, e, "lean", path, request)
	withoutOwnVia(want.Header)
	withoutOwnVia(got.Header) // of a request that the lean path leaves to Caddy's handler
	if len(act.pieces) > 0 && !strings.Contains(strings.Join(act.pieces, ""), "Content-Type") {
		// Caddy flushes the header of a stream and writes its body at once, on
		// two goroutines: chance decides whether net/http tells the type.
		got.Header.Del("Content-Type")
		want.Header.Del("Content-Type")
	}
	if strings.Contains(request, "Expect:") {
		// Caddy's handler passes on the origin's 100, and has net/http say it besides,
		// as chance will have it.
		once := min(1, want.continued())
		if told := got.continued(); told != once {
			return got, fmt.Sprintf("the client was told %d times to go on, want %d", told, once)
		}
	}
	if !reflect.DeepEqual(got, want) {
		return got, fmt.Sprintf("the client got\n%d bytes, %.2000s\nand from Caddy's handler\n%d bytes, %.2000s",
			len(got.Body), fmt.Sprintf("%+v", got), len(want.Body), fmt.Sprintf("%+v", want))
	}
	atLean, atCaddy := origin.seen("lean", path), origin.seen("caddy", path)
	if !slices.Equal(atLean, atCaddy) {
		return got, fmt.Sprintf("the origin got\n%q\nand from Caddy's handler\n%q", atLean, atCaddy)
	}
	return got, ""
}

// withoutOwnVia removes the line that Caddy's handler puts before the origin's.
func withoutOwnVia(h http.Header) {
	if lines := h["Via"]; len(lines) > 0 && strings.HasSuffix(lines[0], " Caddy") {
		h["Via"] = lines[1:]
	}
	if len(h["Via"]) == 0 {
		delete(h, "Via")
	}
}

func startWays(t *testing.T) (*edge, *scripted) {
	t.Helper()
	origin := startScripted(t)
	origin.scripts["up"] = script{pieces: []string{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}}
	e := startEdge(t, fmt.Sprintf(leanPools, origin.address, leanPool), leanSite)
	eventually(t, "the pools are up", func() bool {
		return e.get("/lean/up").StatusCode == http.StatusOK && e.get("/caddy/up").StatusCode == http.StatusOK
	})
	return e, origin
}
