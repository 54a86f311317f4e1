package caddymodule

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Every request comes on a connection of its own: none of them may be reset
// because it waited in the queue of a socket that a reload closed.
func TestAReloadRefusesNoConnection(t *testing.T) {
	address, fetches := counting(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") })
	block := staticPool(address)
	e := startEdge(t, block, sampleSite)
	e.get("/contacts") // stored: the load is on the sockets

	fresh := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	var sent, failed atomic.Int64
	var example atomic.Value
	stop, stopped := make(chan struct{}), make(chan struct{})
	for range 8 {
		go func() {
			defer func() { stopped <- struct{}{} }()
			for {
				select {
				case <-stop:
					return
				default:
				}
				sent.Add(1)
				r, err := read(fresh.Get(e.URL + "/contacts"))
				if err != nil || r.StatusCode != http.StatusOK {
					failed.Add(1)
					example.Store(fmt.Sprintf("%v %v", r.Response, err))
				}
			}
		}()
	}
	for n := range 20 {
		if err := e.load(strings.Replace(block, "interval 200ms", fmt.Sprintf("interval %dms", 201+n), 1), sampleSite); err != nil {
			t.Fatal(err)
		}
		before := sent.Load()
		eventually(t, "connections after the reload", func() bool { return sent.Load() > before+20 })
	}
	close(stop)
	for range 8 {
		<-stopped
	}
	if failed.Load() > 0 {
		t.Errorf("%d of %d connections failed, such as %v", failed.Load(), sent.Load(), example.Load())
	}
	if n := fetches.Load(); n != 1 {
		t.Errorf("%d fetches: want 1: the store outlives reloads", n)
	}
	sockets.Lock()
	defer sockets.Unlock()
	for address, s := range sockets.open {
		if len(s.spares) > 2 {
			t.Errorf("%d sockets of %s are open after 20 reloads", len(s.spares)+1, address)
		}
	}
}
