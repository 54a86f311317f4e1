package rawhit

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestAHitIsGivenAgain(t *testing.T) {
	w := newWorld(t, true)
	c := w.dial()
	plain, plainBody := c.ask(get("/hit/a"))
	w.learned(c, get("/hit/a"))
	w.age.Store(9)
	before, counted := w.table.Replies(), w.counted.Load()
	again, body := c.ask(get("/hit/a", "User-Agent: another", "Cf-Ray: 12", "accept: */*"))
	if body != plainBody || w.table.Replies() != before+1 || w.counted.Load() != counted+1 {
		t.Fatalf("body %q after %q, %d replies, %d counted", body, plainBody, w.table.Replies(), w.counted.Load())
	}
	if got := again.Header["Age"]; len(got) != 1 || got[0] != "9" {
		t.Errorf("Age %q: want 9", got)
	}
	if got := again.Header["Cache-Status"]; len(got) != 2 || got[0] != "front; hit" || got[1] != "edge; hit; ttl=3591" {
		t.Errorf("Cache-Status %q", got)
	}
	if id := again.Header.Get("X-Request-Id"); len(id) != requestIDSize || id == plain.Header.Get("X-Request-Id") {
		t.Errorf("X-Request-Id %q after %q: want an id of its own", id, plain.Header.Get("X-Request-Id"))
	}
	for _, name := range []string{"Age", "Cache-Status", "X-Request-Id"} {
		delete(again.Header, name)
		delete(plain.Header, name)
	}
	if fmt.Sprint(again.Header) != fmt.Sprint(plain.Header) {
		t.Errorf("header\n%v: want\n%v", again.Header, plain.Header)
	}
	w.ended()
}

// Each of these differs from what was learned in something that an answer may
// depend on, or is not to be learned at all.
func TestWhatDiffersTakesTheLongWay(t *testing.T) {
	w := newWorld(t, true)
	c := w.dial()
	w.learned(c, get("/hit/a", "Accept-Encoding: gzip"))
	for _, text := range []string{
		get("/hit/a"),
		get("/hit/a?"),
		get("/hit/a", "Accept-Encoding: br"),
		get("/hit/a", "Accept-encoding: gzip"),
		get("/hit/a", "Accept-Encoding: gzip", "X-Real-Ip: 1.2.3.4"), // a matcher looks at it
		get("/hit/a", "Accept-Encoding: gzip", "X-Other: 1"),
		get("/hit/a", "Accept-Encoding: gzip", "User-Agent: caf\xc3\xa9"),
		get("/hit/a", "Accept-Encoding: gzip", "Cookie: a=b"),
		get("/hit/a", "Accept-Encoding: gzip", "X-Request-Id: 0123456789"),
		"GET /hit/a HTTP/1.1\nHost: example.com\r\nAccept-Encoding: gzip\r\n\r\n",
	} {
		if w.replied(c, text) {
			t.Errorf("answered from the table: %q", text)
		}
	}
	for _, text := range []string{
		get("/hit/cookie"), get("/hit/edited"), get("/hit/varies"), get(fmt.Sprintf("/hit/%d", maxBody+1)),
		get("/hit/a", "Authorization: Basic eDp5"), get("/hit/a", "Range: bytes=0-1"), get("/hit/a", `If-None-Match: "x"`),
		get("/hit/a", "Cookie: a=b"), get("/hit/a", "X-Request-Id: 0123456789"), get("/plain"),
		"GET /hit/a HTTP/1.0\r\nHost: example.com\r\nConnection: keep-alive\r\n\r\n",
	} {
		for range 4 {
			if w.replied(c, text) {
				t.Errorf("learned: %q", text)
			}
		}
	}
}

func TestWhatHasChangedIsNotGivenAgain(t *testing.T) {
	w := newWorld(t, true)
	c := w.dial()
	for range 3 {
		w.learned(c, get("/hit/a"))
		w.changes.Add(1)
		_, body := c.ask(get("/hit/a"))
		if want := string(w.body("/hit/a")); body != want {
			t.Fatalf("%q: want %q", body, want)
		}
	}
}

func TestATrustedProxyIsAnotherClient(t *testing.T) {
	w := newWorld(t, true)
	visitor := w.dial()
	w.learned(visitor, get("/hit/a", "X-Forwarded-Proto: https"))
	w.trusted.Store(true)
	proxy := w.dial()
	proxy.ask(get("/hit/a")) // tells that the connection is a trusted one
	if w.replied(proxy, get("/hit/a", "X-Forwarded-Proto: https")) {
		t.Error("a proxy whose word counts got what a visitor had learned")
	}
}

func TestManyConnectionsAtOnce(t *testing.T) {
	w := newWorld(t, true)
	var all sync.WaitGroup
	stop := make(chan struct{})
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
	var clients sync.WaitGroup
	for n := range 8 {
		c := w.dial()
		clients.Go(func() {
			for i := range 500 {
				before := w.changes.Load()
				_, body := c.ask(get(fmt.Sprintf("/hit/%d", 100*(1+(n+i)%5)), fmt.Sprintf("User-Agent: %d", i)))
				var path string
				var seen int64
				if _, err := fmt.Sscanf(body, "%s after %d changes", &path, &seen); err != nil || seen < before {
					t.Errorf("%.40q, %v: want the state after %d changes, or later", body, err, before)
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

// net/http closes the connections that it takes for idle when it shuts down.
func TestAShutdownCutsNoReply(t *testing.T) {
	for n := range 20 {
		w := newWorld(t, true)
		if n%4 == 0 {
			w = newSecureWorld(t, true)
		}
		const size = 200_000
		text := get(fmt.Sprintf("/hit/%d", size))
		var all sync.WaitGroup
		for range 4 {
			c := w.dial()
			w.learned(c, text)
			all.Go(func() {
				for {
					if _, err := io.WriteString(c.Conn, text); err != nil {
						return
					}
					got, err := http.ReadResponse(c.in, nil)
					if err != nil {
						return // closed between two answers
					}
					n, err := io.Copy(io.Discard, got.Body)
					if err != nil || n != size {
						t.Errorf("cut off after %d of %d bytes: %v", n, size, err)
						return
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

func TestTheTableIsBounded(t *testing.T) {
	table := NewTable(Config{})
	for i := range 4 * slotCount {
		key := fmt.Sprintf("-GET /%d HTTP/1.1\r\n%s\r\n\r\n", i, strings.Repeat("x", 1000))
		if table.wants([]byte(key)) {
			table.put(newMemo(key, head{texts: []string{"head"}}, &Hit{}, false))
		}
		if n := table.bytes.Load(); n > maxMemory {
			t.Fatalf("%d bytes after %d: want %d at most", n, i, maxMemory)
		}
	}
	held := int64(0)
	for i := range table.slots {
		if m := table.slots[i].Load(); m != nil {
			held += m.size
		}
	}
	if held != table.bytes.Load() || held < maxMemory/2 {
		t.Errorf("%d bytes are held, %d counted", held, table.bytes.Load())
	}
}

func TestOneThatIsInUseKeepsItsSlot(t *testing.T) {
	table := NewTable(Config{})
	m := newMemo("a", head{texts: []string{"head"}}, &Hit{}, false)
	table.put(m)
	other := ""
	for i := 0; table.slot([]byte(other)) != table.slot([]byte("a")); i++ {
		other = fmt.Sprint("b", i)
	}
	if table.wants([]byte(other)) {
		t.Error("it took the place of one that is new")
	}
	if !table.wants([]byte(other)) {
		t.Error("it cannot take the place of one that nobody asks for")
	}
	table.find([]byte("a"))
	if table.wants([]byte(other)) {
		t.Error("it took the place of one that was just asked for")
	}
}

func TestOnlyVersionsThatWereChecked(t *testing.T) {
	for version, want := range map[string]bool{
		"go1.26": true, "go1.26.8": true, "go1.26rc1": true, "go1.26.1 X:nodwarf5": true,
		"go1.25.3": false, "go1.260": false, "go1.27": false, "devel go1.27-abcdef": false,
	} {
		if got := supports(version); got != want {
			t.Errorf("%s: %v", version, got)
		}
	}
	if !Supported() {
		t.Error("this build's own version is not supported: check conn.Read against its net/http")
	}
}
