package rawhit

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// What does not fit into a window is the server's, which waits for a larger
// one; the client fails if it gets more than it may.
func TestWindowsAreKept(t *testing.T) {
	w := newSecureWorld(t, true)
	rich := w.dialHTTP2()
	rich.grant(1 << 20)
	rich.learned("/hit/60000")
	rich.learned("/hit/20000")

	poor := w.dialHTTP2() // it grants no more than it gets
	poor.ask("/hit/a")    // tells that the client is no proxy
	for range 20 {
		if poor.replied("/hit/60000") {
			t.Error("answered with what is the server's to write")
		}
	}
	// Of 100,000 bytes half is kept for answers here: two of 20,000 at once.
	some := w.dialHTTP2()
	some.grant(100_000)
	some.ask("/hit/a")
	if !some.replied("/hit/20000") || some.replied("/hit/60000") {
		t.Error("the share of the window is not what it should be")
	}
	narrow := w.dialHTTP2(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 30_000})
	narrow.grant(1 << 20)
	narrow.ask("/hit/a")
	if !narrow.replied("/hit/20000") || narrow.replied("/hit/60000") {
		t.Error("the window of a stream does not count")
	}
}

// A client that keeps a smaller table, or takes no long headers, would need
// what only the server's encoder can say.
func TestASmallTableIsTheServers(t *testing.T) {
	w := newSecureWorld(t, true)
	c := w.dialHTTP2()
	c.grant(1 << 20)
	c.learned("/hit/a")
	for _, setting := range []http2.Setting{{ID: http2.SettingHeaderTableSize, Val: 0}, {ID: http2.SettingMaxHeaderListSize, Val: 1000}} {
		small := w.dialHTTP2(setting)
		small.grant(1 << 20)
		for range 5 {
			if small.replied("/hit/a") {
				t.Errorf("%v: answered from the table", setting)
			}
		}
	}
}

func TestHTTP2IsForVisitorsWithoutACertificate(t *testing.T) {
	w := startWorld(t, true, &tls.Config{
		Certificates: []tls.Certificate{newCertificate(t)}, ClientAuth: tls.RequestClientCert, NextProtos: []string{"h2", "http/1.1"},
	})
	c := w.dialHTTP2()
	c.grant(1 << 20)
	c.learned("/hit/a")
	w.secure = w.secure.Clone()
	w.secure.Certificates = []tls.Certificate{newCertificate(t)}
	named := w.dialHTTP2()
	named.grant(1 << 20)
	for range 5 {
		if named.replied("/hit/a") {
			t.Error("answered from the table")
		}
	}
}

func TestHTTP2OfATrustedProxyIsAnotherClient(t *testing.T) {
	w := newSecureWorld(t, true)
	c := w.dialHTTP2()
	c.grant(1 << 20)
	c.learned("/hit/a", "x-forwarded-proto: https")
	w.trusted.Store(true)
	proxy := w.dialHTTP2()
	proxy.grant(1 << 20)
	proxy.ask("/hit/b")
	if proxy.replied("/hit/a", "x-forwarded-proto: https") {
		t.Error("a proxy whose word counts got what a visitor had learned")
	}
}

// The server takes a connection for idle of which it hears no streams.
func TestTheServerHearsOfStreamsNowAndThen(t *testing.T) {
	w := newSecureWorld(t, true)
	c := w.dialHTTP2()
	c.grant(1 << 20)
	c.learned("/hit/a")
	w.idle.Store(4) // a heartbeat of a nanosecond
	if c.replied("/hit/a") {
		t.Error("answered from the table")
	}
}

func TestManyConnectionsOfHTTP2AtOnce(t *testing.T) {
	w := newSecureWorld(t, true)
	stop := make(chan struct{})
	var all, clients sync.WaitGroup
	all.Go(func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				w.changes.Add(1)
				w.age.Add(1)
			}
		}
	})
	for n := range 6 {
		c := w.dialHTTP2()
		c.grant(1 << 24)
		clients.Go(func() {
			for i := range 300 {
				before := w.changes.Load()
				s, err := c.Get(uint32(2*i+1), fmt.Sprintf("/hit/%d", 100*(1+(n+i)%3)), fmt.Sprintf("user-agent: %d", i))
				if err != nil || c.Ended != "" {
					t.Errorf("%v, %s", err, c.Ended)
					return
				}
				var path string
				var seen int64
				if _, err := fmt.Sscanf(string(s.Body), "%s after %d changes", &path, &seen); err != nil || seen < before {
					t.Errorf("%.40q, %v: want the state after %d changes, or later", s.Body, err, before)
				}
			}
		})
	}
	clients.Wait()
	close(stop)
	all.Wait()
	if w.table.Replies() == 0 {
		t.Error("nothing was answered from the table")
	}
	w.ended()
}

// A client that asks until the server goes has whole answers.
func TestAShutdownCutsNoReplyOverHTTP2(t *testing.T) {
	for range 10 {
		w := newSecureWorld(t, true)
		const size = 200_000
		var all sync.WaitGroup
		for range 3 {
			c := w.dialHTTP2(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
			c.grant(1 << 30)
			c.learned(fmt.Sprintf("/hit/%d", size))
			all.Go(func() {
				for id := c.id + 1; c.Ended == ""; id += 2 {
					s, err := c.Get(id, fmt.Sprintf("/hit/%d", size))
					if err != nil {
						t.Error(err)
						return
					}
					if n := len(s.Body); s.Header != nil && n != size {
						t.Errorf("cut off after %d of %d bytes", n, size)
					}
				}
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		replies := w.table.Replies()
		waitFor(ctx, t, func() bool { return w.table.Replies() > replies+20 })
		if err := w.server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := w.table.Wait(ctx); err != nil {
			t.Error(err)
		}
		all.Wait()
		cancel()
	}
}

func TestWhatIsPackedIsTheSameHeader(t *testing.T) {
	id := strings.Repeat("0123456789abcdef", 2)
	text := "HTTP/1.1 200 \r\nContent-Type: text/plain\r\nX-Request-Id: " + id + "\r\nX-Empty: \r\nCache-Status: a; b: c\r\n\r\n"
	block, at := pack(text, strings.Index(text, id))
	fields, err := hpack.NewDecoder(0, nil).DecodeFull(block) // with no table at all
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, f := range fields {
		got += http.CanonicalHeaderKey(f.Name) + ": " + f.Value + "\r\n"
	}
	if want := ":status: 200\r\n" + strings.SplitN(text, "\r\n", 2)[1]; got+"\r\n" != want || string(block[at:at+len(id)]) != id {
		t.Errorf("%q: want %q", got, want)
	}
	if block, at := pack("HTTP/1.1 200 \r\nAge: 1\r\n\r\n", -1); at >= 0 || !bytes.HasPrefix(block, []byte{0x88}) {
		t.Errorf("%x, id at %d", block, at)
	}
}

// Requests that somebody wants to see take the long way, and say so once.
func TestAStreamIsChosenOverHTTP2(t *testing.T) {
	w := newSecureWorld(t, true)
	c := w.dialHTTP2()
	c.grant(1 << 20)
	c.learned("/hit/a")
	if told := w.told.Load(); told != 0 {
		t.Fatalf("%d were chosen before any was", told)
	}
	w.choose.Store(true)
	for n := range int64(3) {
		if c.replied("/hit/a") || w.told.Load() != n+1 {
			t.Errorf("%d were told that they were chosen: want %d, by the handler", w.told.Load(), n+1)
		}
	}
	w.choose.Store(false)
	if !c.replied("/hit/a") || w.told.Load() != 3 {
		t.Errorf("not answered from the table any more, or %d told", w.told.Load())
	}
}
