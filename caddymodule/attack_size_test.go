package caddymodule

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http2"

	"github.com/edgegw/edge/internal/rawhit/streams"
)

// refused reports whether a request was, by an answer or by the end of the
// connection.
func (c *rawClient) refused(t *testing.T, statuses ...int) {
	t.Helper()
	got, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return // hung up on
	}
	for _, status := range statuses {
		if got.StatusCode == status {
			return
		}
	}
	t.Errorf("%d: want one of %v", got.StatusCode, statuses)
}

// With nothing configured a header may have 16 KiB, its target included, and what is
// larger reaches no replica; with max_header_size it is what the operator says.
func TestAHeaderThatIsTooLargeIsRefused(t *testing.T) {
	address, fetches := counting(t, streamed)
	e := startRawEdge(t, address, slowSite)
	header := func(size int) string { return "X-Large: " + strings.Repeat("x", size) + "\n" }
	request := func(target, header string) string {
		return "GET " + target + " HTTP/1.1\nHost: example.com\n" + header + "\n"
	}
	for _, d := range e.doors() {
		before := fetches.Load()
		for name, text := range map[string]string{
			"one field":       request("/private/a", header(30<<10)),
			"many fields":     request("/private/a", strings.Repeat("X-Many: 1234567890\n", 2000)),
			"a long target":   request("/private/"+strings.Repeat("a", 30<<10), ""),
			"a long query":    request("/private/a?"+strings.Repeat("a=1&", 8<<10), ""),
			"a long name":     request("/private/a", strings.Repeat("X", 30<<10)+": 1\n"),
			"a long method":   strings.Repeat("G", 30<<10) + request("/private/a", ""),
			"a long protocol": strings.Replace(request("/private/a", ""), "HTTP/1.1", "HTTP/1.1"+strings.Repeat("1", 30<<10), 1),
		} {
			t.Run(name+" at "+d.name, func(t *testing.T) {
				c := d.dial(t)
				_, _ = io.WriteString(c, strings.ReplaceAll(text, "\n", "\r\n")) // it may be cut off within
				c.refused(t, http.StatusRequestHeaderFieldsTooLarge, http.StatusBadRequest)
			})
		}
		if n := fetches.Load() - before; n > 0 {
			t.Errorf("%s: the replica was asked %d times", d.name, n)
		}
		c := d.dial(t)
		c.send("%s", request("/private/a", header(12<<10)))
		if got := c.answer(http.MethodGet); got.StatusCode != http.StatusOK {
			t.Errorf("%s: a header of 12 KiB: %d", d.name, got.StatusCode)
		}
	}
	for _, address := range []string{e.secure, e.secureOther} {
		before := fetches.Load()
		c := dialFrames(t, address)
		if s, err := c.Get(1, "/private/a", "x-large: "+strings.Repeat("x", 30<<10)); err != nil || c.Ended == "" && !strings.Contains(fmt.Sprint(s.Header), "431") || fetches.Load() != before {
			t.Errorf("30 KiB over HTTP/2: %v, connection %q, %v, %d requests", err, c.Ended, s, fetches.Load()-before)
		}
		if s := dialFrames(t, address).ask("/private/a", "x-large: "+strings.Repeat("x", 12<<10)); !strings.Contains(string(s.Body), "/private/a") {
			t.Errorf("12 KiB over HTTP/2: %q", s.Body)
		}
	}

	if err := e.loadText(strings.Replace(e.text, " {\n\t\tlistener_wrappers", " {\n\t\tmax_header_size 64KiB\n\t\tlistener_wrappers", 1)); err != nil {
		t.Fatal(err)
	}
	c := rawTo(t, strings.TrimPrefix(e.URL, "http://"))
	c.send("%s", request("/private/a", header(50<<10)))
	if got := c.answer(http.MethodGet); got.StatusCode != http.StatusOK {
		t.Errorf("with max_header_size 64KiB, a header of 50 KiB: %d", got.StatusCode)
	}
}

// Bodies are streamed, so their size costs no memory; where it is to be limited,
// Caddy's request_body does it, and edge_hits goes on.
func TestABodyThatIsTooLargeIsRefused(t *testing.T) {
	finished := make(chan int64, 1000)
	address, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		if n, err := io.Copy(io.Discard, r.Body); err == nil && r.Method == http.MethodPost {
			finished <- n
		}
	})
	e := startRawEdge(t, address, "request_body {\n\tmax_size 1MB\n}\n"+slowSite)
	big := strings.Repeat("x", 2<<20)
	for _, d := range e.doors() {
		for name, text := range map[string]string{
			"its length said": fmt.Sprintf("POST /form HTTP/1.1\r\nHost: example.com\r\nContent-Length: %d\r\n\r\n%s", len(big), big),
			"in chunks":       fmt.Sprintf("POST /form HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(big), big),
		} {
			t.Run(name+" at "+d.name, func(t *testing.T) {
				c := d.dial(t)
				go func() { _, _ = io.WriteString(c, text) }() // it is cut off within
				c.refused(t, http.StatusRequestEntityTooLarge)
			})
		}
		c := d.dial(t)
		c.send("POST /form HTTP/1.1\nHost: example.com\nContent-Length: 5\n\nsmall")
		if got := c.answer(http.MethodPost); got.StatusCode != http.StatusOK || <-finished != 5 {
			t.Errorf("%s: a small body: %d", d.name, got.StatusCode)
		}
		if d.hits {
			d.dial(t).learned(streams.Get("/page"))
		}
	}
	for _, address := range []string{e.secure, e.secureOther} {
		c := dialFrames(t, address)
		c.Open(1)
		c.write(t, c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: c.Block(streams.Fields("POST", "/form", fmt.Sprintf("content-length: %d", len(big)))...)}))
		if err := c.Await(1); err != nil || !strings.Contains(fmt.Sprint(c.Streams[1].Header), "413") {
			t.Errorf("2 MiB over HTTP/2: %v, %v", err, c.Streams[1])
		}
	}
	if len(finished) > 0 {
		t.Errorf("the replica has got a body of %d bytes as a whole", <-finished)
	}
	if replica := e.poolStatus().Replicas[0]; replica.Failures != 0 || replica.Breaker != "closed" {
		t.Errorf("the replica is blamed: %d failures, breaker %s", replica.Failures, replica.Breaker)
	}
}

// A server that nobody has set limits for has some.
func TestServersHaveLimitsByDefault(t *testing.T) {
	address, _ := counting(t, streamed)
	startRawEdge(t, address, slowSite)
	app, err := caddy.ActiveContext().App("http")
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range app.(*caddyhttp.App).Servers {
		for what, limit := range map[string]caddy.Duration{
			"read_header": s.ReadHeaderTimeout, "read_body_idle": s.ReadIdleTimeout, "write_idle": s.WriteIdleTimeout, "idle": s.IdleTimeout,
		} {
			if d := time.Duration(limit); d <= 0 || d > 5*time.Minute {
				t.Errorf("server %s: %s %s: want a limit, as docs/security.md says", name, what, d)
			}
		}
		if s.MaxHeaderBytes != 16<<10 {
			t.Errorf("server %s: max_header_size %d: want 16 KiB", name, s.MaxHeaderBytes)
		}
	}
}
