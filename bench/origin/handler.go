package main

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/edgegw/edge/bench/object"
)

// noStore is for objects that are asked for with the query fresh.
var noStore = []string{"no-store"}

// options of the answers. The zero value sends no Cache-Control and does not
// wait.
type options struct {
	cacheControl string
	delay        time.Duration
}

// published is the Last-Modified of every object: fixed, so that validators
// outlive a restart.
var published = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// handler serves the objects, GET /fetches and an empty 200 for every other
// path, which is what health checks ask for. Only objects count as fetches.
type handler struct {
	options

	objects map[string]*stored
	fetches atomic.Int64
}

type stored struct {
	body   []byte
	length []string
	etag   []string
}

func newHandler(sizes []int, o options) *handler {
	h := &handler{options: o, objects: make(map[string]*stored, len(sizes))}
	for _, size := range sizes {
		body := object.Body(size)
		h.objects[object.Path(size)] = &stored{
			body:   body,
			length: []string{strconv.Itoa(size)},
			etag:   []string{`"` + object.Hash(body)[:16] + `"`},
		}
	}
	return h
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o, ok := h.objects[r.URL.Path]
	if !ok {
		h.serveOther(w, r)
		return
	}
	h.fetches.Add(1)
	if n, err := io.Copy(io.Discard, r.Body); err != nil || r.ContentLength >= 0 && n != r.ContentLength {
		http.Error(w, "the body is not whole", http.StatusBadRequest)
		return
	}
	if !h.wait(r) {
		return
	}
	header := w.Header()
	header["Content-Type"] = []string{"text/plain; charset=utf-8"}
	header["Etag"] = o.etag
	switch {
	case strings.HasPrefix(r.URL.RawQuery, "fresh="):
		header["Cache-Control"] = noStore
	case h.cacheControl != "":
		header["Cache-Control"] = []string{h.cacheControl}
	}
	if r.Method != http.MethodGet && r.Method != http.MethodPost || r.Header["If-None-Match"] != nil || r.Header["If-Modified-Since"] != nil || r.Header["Range"] != nil {
		http.ServeContent(w, r, "", published, bytes.NewReader(o.body))
		return
	}
	// The plain GET or POST is what peers are loaded with: the origin shares a core
	// with the load generator, so it does no more than it must.
	header["Last-Modified"] = []string{published.Format(http.TimeFormat)}
	header["Content-Length"] = o.length
	_, _ = w.Write(o.body) // a client that has left is no concern of the origin
}

func (h *handler) serveOther(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	switch {
	case r.URL.Path == "/fetches":
		_, _ = w.Write(strconv.AppendInt(nil, h.fetches.Load(), 10)) // as above
	default:
		if _, err := object.SizeOf(r.URL.Path); err == nil {
			http.Error(w, "no object of this size: see -sizes", http.StatusNotFound)
		}
	}
}

// wait reports whether the client is still there after the delay.
func (h *handler) wait(r *http.Request) bool {
	if h.delay <= 0 {
		return true
	}
	select {
	case <-time.After(h.delay):
		return true
	case <-r.Context().Done():
		return false
	}
}
