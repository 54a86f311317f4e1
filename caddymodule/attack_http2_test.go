package caddymodule

import (
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/edgegw/edge/internal/rawhit/streams"
)

// flood is frames that cost the sender less than whom they are sent to.
type flood struct {
	times int
	// ends: the gateway has to end the connection. Of the others it has to bear what
	// the sender manages to send.
	ends bool
	send func(c *framesClient, n int) error
}

// get is a header of a request on stream id.
func (c *framesClient) get(id uint32, path string, end bool) http2.HeadersFrameParam {
	return http2.HeadersFrameParam{StreamID: id, EndHeaders: true, EndStream: end, BlockFragment: c.Block(streams.Fields("GET", path)...)}
}

// first sends a header before the first of a flood's frames.
func (c *framesClient) first(n int, p http2.HeadersFrameParam) error {
	if n > 0 {
		return nil
	}
	return c.WriteHeaders(p)
}

var floods = map[string]flood{
	"rapid reset (CVE-2023-44487)": {15_000, false, func(c *framesClient, n int) error {
		id := uint32(2*n + 1)
		if err := c.WriteHeaders(c.get(id, "/private/slow", true)); err != nil {
			return err
		}
		return c.WriteRSTStream(id, http2.ErrCodeCancel)
	}},
	"rapid reset of hits": {15_000, false, func(c *framesClient, n int) error {
		id := uint32(2*n + 1)
		if err := c.WriteHeaders(c.get(id, "/hit/100", true)); err != nil {
			return err
		}
		return c.WriteRSTStream(id, http2.ErrCodeCancel)
	}},
	"made you reset (CVE-2025-8671)": {15_000, false, func(c *framesClient, n int) error {
		id := uint32(2*n + 1)
		if err := c.WriteHeaders(c.get(id, "/private/slow", true)); err != nil {
			return err
		}
		return c.WriteWindowUpdate(id, 0) // a mistake, for which the server resets the stream
	}},
	"SETTINGS (CVE-2019-9515)": {15_000, false, func(c *framesClient, n int) error {
		return c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(1 << (n % 20))})
	}},
	"tables that change their size": {15_000, false, func(c *framesClient, n int) error {
		return c.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: uint32(n % 2 * 4096)})
	}},
	"PING (CVE-2019-9512)": {30_000, false, func(c *framesClient, n int) error { return c.WritePing(false, [8]byte{1}) }},
	"PRIORITY (CVE-2019-9513)": {15_000, false, func(c *framesClient, n int) error {
		return c.WritePriority(uint32(2*n+1), http2.PriorityParam{StreamDep: uint32(2*n + 3), Weight: 7})
	}},
	"DATA without data (CVE-2019-9518)": {15_000, false, func(c *framesClient, n int) error {
		p := c.get(1, "/private/form", false)
		if err := c.first(n, p); err != nil {
			return err
		}
		return c.WriteData(1, false, nil)
	}},
	"windows opened by the byte (CVE-2019-9511)": {15_000, false, func(c *framesClient, n int) error {
		if err := c.first(n, c.get(1, "/hit/200000", true)); err != nil {
			return err
		}
		return c.WriteWindowUpdate(1, 1)
	}},
	"CONTINUATION (CVE-2024-24549, CVE-2023-45288)": {20_000, true, func(c *framesClient, n int) error {
		p := c.get(1, "/page", true)
		p.EndHeaders = false
		if err := c.first(n, p); err != nil {
			return err
		}
		return c.WriteContinuation(1, false, c.Block(hpack.HeaderField{Name: "x-filler", Value: strings.Repeat("x", 500), Sensitive: true}))
	}},
	"CONTINUATION without a field": {15_000, false, func(c *framesClient, n int) error {
		p := c.get(1, "/page", true)
		p.EndHeaders = false
		if err := c.first(n, p); err != nil {
			return err
		}
		return c.WriteContinuation(1, false, nil)
	}},
	"a field that stands for four thousand bytes, over and over (CVE-2016-6581)": {2_000, true, func(c *framesClient, n int) error {
		p := c.get(1, "/page", true)
		p.EndHeaders = false
		if err := c.first(n, p); err != nil {
			return err
		}
		bomb := hpack.HeaderField{Name: "x-bomb", Value: strings.Repeat("x", 4000)}
		return c.WriteContinuation(1, false, []byte(strings.Repeat(string(c.Block(bomb)), 50)))
	}},
	"frames of no known type": {15_000, false, func(c *framesClient, n int) error {
		return c.WriteRawFrame(http2.FrameType(0xbd), 0, 0, []byte("whatever"))
	}},
}

// What a client floods a connection with is its own loss: others are served
// meanwhile, replicas see no more requests at a time than a connection may have open,
// and nothing is left when it is over.
func TestFloodsOfHTTP2AreBorne(t *testing.T) {
	var now, most atomic.Int64
	address, _ := counting(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/private/slow" {
			if n := now.Add(1); n > most.Load() {
				most.Store(n) // as good as exact
			}
			defer now.Add(-1)
			select {
			case <-r.Context().Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
		streamed(w, r)
	})
	e := startRawEdge(t, address, slowSite)
	before, heap := runtime.NumGoroutine(), heapInUse()
	for _, d := range e.doors() {
		if !d.secure {
			continue
		}
		dialFrames(t, d.address).ask("/hit/100")
		for name, f := range floods {
			most.Store(0)
			c := dialFrames(t, d.address)
			if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			var err error
			for n := 0; n < f.times && err == nil; n++ {
				err = f.send(c, n)
			}
			if f.ends && err == nil {
				t.Errorf("%s at %s: the connection is still open", name, d.name)
			}
			for range 3 {
				if got, err := e.try(http.MethodGet, "/hit/100", nil); err != nil || got.StatusCode != http.StatusOK {
					t.Errorf("%s at %s: another visitor gets %d, %v", name, d.name, got.StatusCode, err)
				}
			}
			_ = c.Close() // it may have ended
			if n := most.Load(); n > 300 {
				t.Errorf("%s at %s: the replica had %d requests at a time", name, d.name, n)
			}
		}
	}
	eventually(t, "nothing is in flight", func() bool { return e.poolStatus().Replicas[0].InFlight == 0 })
	eventually(t, "the goroutines of the floods have ended", func() bool { return runtime.NumGoroutine() < before+50 })
	if grown := heapInUse() - heap; grown > 64<<20 {
		t.Errorf("the heap has grown by %d MiB", grown>>20)
	}
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
