package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"strconv"

	"github.com/edgegw/edge/internal/httpcache"
)

// application is the origin: it answers with as many bytes as an object has.
type application struct{ sizes []int32 }

var zeros [1 << 20]byte

func (a *application) Detach(ctx context.Context, r *http.Request) *http.Request { return r.Clone(ctx) }

func (a *application) Source(*http.Request) httpcache.Source { return httpcache.Source{Current: true} }

func (a *application) Fetch(w http.ResponseWriter, r *http.Request) error {
	object, err := strconv.Atoi(r.URL.Path[1:])
	if err != nil {
		return err
	}
	size := a.sizes[object]
	w.Header()["Cache-Control"] = []string{"max-age=86400"}
	w.Header()["Content-Length"] = []string{strconv.Itoa(int(size))}
	_, err = w.Write(zeros[:size])
	return err
}

// nobody reads answers.
type nobody struct{ header http.Header }

func (n *nobody) Header() http.Header         { return n.header }
func (n *nobody) Write(p []byte) (int, error) { return len(p), nil }
func (n *nobody) WriteHeader(int)             {}

// site asks a store of its own for objects.
type site struct {
	handler *httpcache.Handler
	origin  *application
}

func newSite(sizes []int32, capacity int64) *site {
	store := httpcache.NewStore(httpcache.Options{MaxBytes: capacity})
	return &site{handler: &httpcache.Handler{Store: store}, origin: &application{sizes: sizes}}
}

// ask reports whether the answer was a hit.
func (s *site) ask(object int32) bool {
	r := &http.Request{
		Method: http.MethodGet, Host: "example.com", Header: make(http.Header),
		URL: &url.URL{Path: fmt.Sprintf("/%07d", object)}, // all keys weigh the same
	}
	res, err := s.handler.Serve(&nobody{header: make(http.Header)}, r.WithContext(context.Background()), nil, s.origin)
	if err != nil {
		log.Panicf("object %d: %v", object, err) // the origin cannot fail
	}
	return res.Status == httpcache.StatusHit
}

// edgeStore asks edge's store, and returns how many entries it held in the end.
func edgeStore(t *trace, capacity int64) (result, int64) {
	weight := weights(t)
	s := newSite(t.sizes, capacity)
	sum := tally{}
	for _, o := range t.objects {
		sum.add(s.ask(o), weight(o))
	}
	return sum.result(), s.handler.Store.Stats().Entries
}

// weights is what edge accounts for each object.
func weights(t *trace) func(object int32) int64 {
	if t.weights == nil {
		t.weights = make([]int64, len(t.sizes))
		bySize := make(map[int32]int64)
		for o, size := range t.sizes {
			if bySize[size] == 0 {
				s := newSite(t.sizes, 1<<30)
				s.ask(int32(o))
				bySize[size] = s.handler.Store.Stats().Bytes
			}
			t.weights[o] = bySize[size]
		}
	}
	return func(object int32) int64 { return t.weights[object] }
}
