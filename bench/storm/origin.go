package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// kind is what a storm is for.
type kind struct {
	name, about string
	path        string // the beginning of its pages'
	storable    bool
	times       int // how often the same page is asked for by all
}

var kinds = []kind{
	{"may be stored", "`Cache-Control: public, max-age=3600`", "/stored/", true, 1},
	{"may not be stored", "`Cache-Control: no-store`, and the same page twice in a row: the second time a cache may know", "/private/", false, 2},
	{"sets a cookie", "`Set-Cookie`, and no word of caching", "/cookie/", false, 1},
}

// origin is an application whose answers each have a number of their own.
type origin struct {
	mu    sync.Mutex
	count map[string]int
	next  int
}

// fetches is how often a page was asked for.
func (o *origin) fetches(path string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.count[path]
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.count[r.URL.RequestURI()]++
	o.next++
	number := o.next
	o.mu.Unlock()
	if takes, err := time.ParseDuration(r.URL.Query().Get("takes")); err == nil {
		select {
		case <-time.After(takes):
		case <-r.Context().Done():
			return
		}
	}
	h := w.Header()
	switch {
	case strings.HasPrefix(r.URL.Path, "/private/"):
		h.Set("Cache-Control", "no-store")
	case strings.HasPrefix(r.URL.Path, "/cookie/"):
		h.Set("Set-Cookie", fmt.Sprintf("visitor=%d", number))
	default:
		h.Set("Cache-Control", "public, max-age=3600")
	}
	h.Set("Content-Type", "text/plain")
	_, _ = fmt.Fprintf(w, "%d %s", number, filling) // the client may have gone
}

// filling makes an answer a kilobyte.
var filling = strings.Repeat("x", 1<<10)
