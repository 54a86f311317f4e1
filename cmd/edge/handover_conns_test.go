package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestConnectionsThatWaitGoOnInTheNewProcess: whatever a client has done with one
// before, it notices nothing of the old process's end.
func TestConnectionsThatWaitGoOnInTheNewProcess(t *testing.T) {
	t.Parallel()
	pieces := make(chan struct{}, 1)
	g := configure(t, enduring(t, newCounted(t, "v1"), pieces), "stop {\nannounce 200ms\n}")
	secure := g.secured()
	g.start()
	g.certified(secure)
	late := g.connect(g.url)
	pieces <- struct{}{}
	late.send(http.MethodGet, "/api/download")
	var kept []*keptConn
	for n := range 300 { // more than wait on their way to the new process
		page := fmt.Sprint("/page", n)
		silent, hit, posted, secret := g.connect(g.url), g.used(g.url), g.used(g.url), g.connect(secure)
		hit.ask(http.MethodGet, "/page0")
		posted.ask(http.MethodPost, page)
		kept = append(kept, silent, hit, posted, secret)
	}
	load := &crowd{t: t}
	for range 8 {
		load.ask(g.url, []string{"/page0"}, func() *http.Transport { return new(http.Transport) })
	}
	defer load.work.Wait()
	defer load.stop.Store(true)
	for round := 1; round <= 2; round++ {
		r, h := g.handOver(binary)
		g.follow(h)
		if r.code != 0 {
			t.Fatalf("handover: exit %d, %s\n%s", r.code, h.Error, g.log)
		}
		if round == 1 {
			close(pieces)
			if text := late.read(); len(text) != 1000 {
				t.Errorf("an answer under way: %d bytes: want 1000", len(text))
			}
		}
		g.eventually("the old process has ended", func() bool { return strings.Count(g.log.String(), "shutdown complete") == round })
		for n, k := range kept {
			if k.secure() && round == 2 {
				continue // it is in use, so that it was closed
			}
			k.ask(http.MethodPost, fmt.Sprint("/page", n))
			k.ask(http.MethodGet, "/page0")
		}
	}
	if text := g.log.String(); strings.Contains(text, "are closed") {
		t.Errorf("the log tells of lost connections:\n%s", text)
	}
}
