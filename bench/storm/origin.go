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
	title, about string
	path         string // the beginning of its pages'
	storable     bool
	times        int  // how often the same page is asked for by all
	apart        bool // nobody asks for another's page
}

var kinds = []kind{
	{"It may be stored", "`Cache-Control: public, max-age=3600`", "/stored/", true, 1, false},
	{"It may not be stored", "`Cache-Control: no-store`, and the same page twice in a row: the second time a cache may know", "/private/", false, 2, false},
	{"It sets a cookie", "`Set-Cookie`, and no word of caching", "/cookie/", false, 1, false},
	{"Each asks for a page of their own", "`Cache-Control: no-store`. Nobody need wait for anybody: it is what one round trip takes in such a crowd", "/private/own-", false, 1, true},
}

// pages of one storm: one, or one for each client.
func (k kind) pages(round, clients int, takes time.Duration) []string {
	if !k.apart {
		return []string{fmt.Sprintf("%s%d?takes=%s", k.path, round, takes)}
	}
	pages := make([]string, clients)
	for i := range pages {
		pages[i] = fmt.Sprintf("%s%d-%d?takes=%s", k.path, round, i, takes)
	}
	return pages
}

// origin is an application whose answers each have a number of their own.
type origin struct {
	mu    sync.Mutex
	count map[string]int
	next  int
}

// fetches is how often some pages were asked for.
func (o *origin) fetches(pages ...string) (sum int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, page := range pages {
		sum += o.count[page]
	}
	return sum
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
