package caddymodule

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/edgegw/edge/internal/rawhit/streams"
)

// impatience is a server's, for tests; the defaults are minutes.
const impatience = `
		timeouts {
			read_header 5s
			read_body_idle 4s
			write_idle 4s
			idle 6s
		}
`

// door is one way in: with edge_hits or by Caddy's server alone, with TLS or without.
type door struct {
	name, address string
	secure, hits  bool
}

func (d door) dial(t *testing.T) *rawClient {
	t.Helper()
	if d.secure {
		return rawSecurely(t, d.address)
	}
	return rawTo(t, d.address)
}

func (e *rawEdge) doors() []door {
	return []door{
		{"edge_hits", strings.TrimPrefix(e.URL, "http://"), false, true},
		{"edge_hits over TLS", e.secure, true, true},
		{"Caddy's server", e.other, false, false},
		{"Caddy's server over TLS", e.secureOther, true, false},
	}
}

// startGuardedEdge is a raw edge, each of whose servers has the options.
func startGuardedEdge(t *testing.T, address, site, options string) *rawEdge {
	t.Helper()
	e := startRawEdge(t, address, site)
	text := strings.ReplaceAll(e.text, "\tservers :", "\tservers_ :")
	for _, one := range []string{strings.TrimPrefix(e.URL, "http://"), e.secure, e.secureOther} {
		_, port, _ := net.SplitHostPort(one)
		text = strings.Replace(text, "\tservers_ :"+port+" {", "\tservers :"+port+" {"+options, 1)
	}
	_, port, _ := net.SplitHostPort(e.other)
	text = strings.Replace(text, "\tedge {", "\tservers :"+port+" {"+options+"\n\t}\n\tedge {", 1)
	if err := e.loadText(text); err != nil {
		t.Fatal(err)
	}
	return e
}

// ended waits until the gateway has ended the connection.
func (c *rawClient) ended(t *testing.T) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c.in); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection is open after a minute")
	}
}

// trickle writes a byte now and then until the gateway has had enough, and does
// not read.
func (c *rawClient) trickle(t *testing.T, bytes string) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		<-tick.C
		at := n % len(bytes)
		if _, err := io.WriteString(c, bytes[at:at+1]); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection is open after a minute")
			}
			return
		}
	}
}

const slowSite = `
edge_rules {
	private /private/*
	page /*
}
edge_cache
edge_proxy app
`

// afterHits is a connection that has asked for a page so often, and is answered on
// the connection where that is done.
func (d door) afterHits(t *testing.T, page string, times int) *rawClient {
	t.Helper()
	c := d.dial(t)
	for range times {
		c.ask(streams.Get(page))
	}
	if d.hits {
		c.learned(streams.Get(page))
	}
	return c
}

// slownesses are what a client does that wants to keep a connection, and all that
// belongs to it, for as long as it can (slowloris and alike).
var slownesses = map[string]func(t *testing.T, d door){
	"says nothing": func(t *testing.T, d door) { d.dial(t).ended(t) },
	"begins no handshake, or none that ends": func(t *testing.T, d door) {
		c := rawTo(t, d.address)
		_, _ = io.WriteString(c, "\x16\x03\x01\x02\x00") // it may be too late already
		c.ended(t)
	},
	"sends a header byte by byte": func(t *testing.T, d door) {
		c := d.dial(t)
		c.send("GET /page HTTP/1.1\nHost: example.com\n")
		c.trickle(t, "X-Slow: slow\r\n")
	},
	"sends the header after a hit byte by byte": func(t *testing.T, d door) {
		c := d.afterHits(t, "/hit/100", 3)
		c.send("GET /page HTTP/1.1\nHost: example.com\n")
		c.trickle(t, "X-Slow: slow\r\n")
	},
	"keeps an idle connection": func(t *testing.T, d door) {
		c := d.dial(t)
		c.ask(streams.Get("/hit/100"))
		c.ended(t)
	},
	"keeps an idle connection after a hit": func(t *testing.T, d door) {
		d.afterHits(t, "/hit/100", 1).ended(t)
	},
	"stops within a body": func(t *testing.T, d door) {
		c := d.dial(t)
		c.send("POST /form HTTP/1.1\nHost: example.com\nContent-Length: 100000\n\nbegun")
		c.ended(t)
	},
	"stops within a chunk": func(t *testing.T, d door) {
		c := d.dial(t)
		c.send("POST /form HTTP/1.1\nHost: example.com\nTransfer-Encoding: chunked\n\nffff\nbegun")
		c.ended(t)
	},
	"takes nothing of a long answer": func(t *testing.T, d door) {
		c := d.dial(t)
		c.send("GET /long HTTP/1.1\nHost: example.com\n\n")
		c.trickle(t, "x")
	},
	"takes nothing of many hits": func(t *testing.T, d door) {
		c := d.afterHits(t, "/hit/200000", 3)
		c.send("%s", strings.ReplaceAll(strings.Repeat(streams.Get("/hit/200000"), 100), "\r\n", "\n"))
		c.trickle(t, "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
	},
}

// slowOrigin answers what the slow ones ask for; the long answer does not fit into
// the buffers of the kernel.
func slowOrigin(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/long" {
		w.Header().Set("Cache-Control", "no-store")
		for range 64 {
			if _, err := io.WriteString(w, patterned(1<<20)); err != nil {
				return // the gateway has given up, as it should
			}
		}
		return
	}
	streamed(w, r)
}

// Each of them is ended within the server's timeouts, whichever way it came; the
// others are served all the while, and no replica is blamed.
func TestSlowClientsAreEnded(t *testing.T) {
	address, _ := counting(t, slowOrigin)
	e := startGuardedEdge(t, address, slowSite, impatience)
	// A connection that a client keeps without having asked anything may be ended just
	// when it asks.
	other := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	var all sync.WaitGroup // not t.Parallel, which has as many at a time as there are processors
	for _, d := range e.doors() {
		for name, slow := range slownesses {
			all.Go(func() {
				t.Run(name+" at "+d.name, func(t *testing.T) {
					slow(t, d)
					if r, err := read(other.Get(e.URL + "/hit/100")); err != nil || r.StatusCode != http.StatusOK {
						t.Errorf("another visitor gets %v, %v", r.Response, err)
					}
				})
			})
		}
		for name, slow := range slowStreams {
			if !d.secure || name == "takes nothing from the socket" && !d.hits {
				continue // without the listener wrapper edge, nobody ends that one: the page says so
			}
			all.Go(func() { t.Run(name+" at "+d.name, func(t *testing.T) { slow(t, d.address) }) })
		}
	}
	all.Wait()
	eventually(t, "nothing is in flight", func() bool { return e.poolStatus().Replicas[0].InFlight == 0 })
	if replica := e.poolStatus().Replicas[0]; replica.Failures != 0 || replica.Breaker != "closed" {
		t.Errorf("the replica is blamed: %d failures, breaker %s", replica.Failures, replica.Breaker)
	}
}

// slowStreams are the same over HTTP/2.
var slowStreams = map[string]func(t *testing.T, address string){
	"opens HTTP/2 and says nothing": func(t *testing.T, address string) { dialFrames(t, address).over(t) },
	"ends no header": func(t *testing.T, address string) {
		c := dialFrames(t, address)
		c.write(t, c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.Block(streams.Fields("GET", "/hit/100")...)}))
		c.over(t)
	},
	"ends no body": func(t *testing.T, address string) {
		c := dialFrames(t, address)
		c.write(t, c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, BlockFragment: c.Block(streams.Fields("POST", "/form")...)}))
		c.write(t, c.WriteData(1, false, []byte("begun")))
		c.over(t)
	},
	"opens no window": func(t *testing.T, address string) {
		c, err := streams.NewClient(address, anyCertificate, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() }) // it is closed, if all is well
		frames := &framesClient{t, c, 0}
		for id := uint32(1); id < 20; id += 2 {
			frames.write(t, c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndHeaders: true, EndStream: true, BlockFragment: c.Block(streams.Fields("GET", "/hit/200000")...)}))
		}
		frames.over(t)
	},
	"takes nothing from the socket": func(t *testing.T, address string) {
		c := dialFrames(t, address)
		c.write(t, c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30}))
		c.write(t, c.WriteWindowUpdate(0, 1<<30))
		c.write(t, c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true, EndStream: true, BlockFragment: c.Block(streams.Fields("GET", "/long")...)}))
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for range tick.C {
			if err := c.WriteWindowUpdate(0, 1); err != nil {
				if errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("the connection is open after a minute")
				}
				return
			}
		}
	},
}

func (c *framesClient) write(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// over reads until the gateway has ended the connection.
func (c *framesClient) over(t *testing.T) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c.Conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection is open after a minute")
	}
}
