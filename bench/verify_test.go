package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/edgegw/edge/bench/measure"
	"github.com/edgegw/edge/bench/object"
	"github.com/edgegw/edge/bench/peers"
	"github.com/edgegw/edge/bench/workloads"
)

// standWith has an origin that counts, and one row whose server is a handler
// that may call it.
func standWith(t *testing.T, kind workloads.Kind, server func(w http.ResponseWriter, r *http.Request, fetch func())) (*stand, *row) {
	t.Helper()
	var fetches atomic.Int64
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write(strconv.AppendInt(nil, fetches.Load(), 10))
	}))
	t.Cleanup(origin.Close)
	peer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		server(w, r, func() { fetches.Add(1) })
	}))
	t.Cleanup(peer.Close)
	return &stand{originURL: origin.URL}, &row{way: peers.Way{Kind: kind}, address: strings.TrimPrefix(peer.URL, "http://")}
}

func TestVerifyObject(t *testing.T) {
	const size = 1024
	answer := func(w http.ResponseWriter) { w.Write(object.Body(size)) }
	filled := false
	cases := map[string]struct {
		kind   workloads.Kind
		server func(w http.ResponseWriter, r *http.Request, fetch func())
		want   string // in the error; empty if there should be none
	}{
		"a hit from memory": {workloads.Hit, func(w http.ResponseWriter, _ *http.Request, _ func()) { answer(w) }, ""},
		"a cache that fills once": {workloads.Hit, func(w http.ResponseWriter, _ *http.Request, fetch func()) {
			if !filled {
				filled = true
				fetch()
			}
			answer(w)
		}, ""},
		"a cache that never stores": {workloads.Hit, func(w http.ResponseWriter, _ *http.Request, fetch func()) { fetch(); answer(w) },
			"asked 2 times for two requests: want 0"},
		"a proxy": {workloads.Pass, func(w http.ResponseWriter, _ *http.Request, fetch func()) { fetch(); answer(w) }, ""},
		"a proxy that caches": {workloads.Pass, func(w http.ResponseWriter, _ *http.Request, _ func()) { answer(w) },
			"asked 0 times for two requests: want 2"},
		"another body of the same length": {workloads.Hit, func(w http.ResponseWriter, _ *http.Request, _ func()) {
			w.Write([]byte(strings.Repeat("x", size)))
		}, "1024 bytes with hash"},
		"an error": {workloads.Hit, func(w http.ResponseWriter, _ *http.Request, _ func()) {
			w.WriteHeader(http.StatusBadGateway)
		}, "502"},
		"a redirect is not followed": {workloads.Hit, func(w http.ResponseWriter, r *http.Request, _ func()) {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		}, "302"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s, r := standWith(t, c.kind, c.server)
			err := s.verifyObject(t.Context(), r, size)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestCleanest(t *testing.T) {
	failed := errors.New("wrong answer")
	cases := map[string]struct {
		noise []float64 // of each try; below zero, the try fails
		taken int
		want  float64
		err   error
	}{
		"quiet at once":                   {[]float64{0.1}, 1, 0.1, nil},
		"at the limit is quiet":           {[]float64{noisyCores}, 1, noisyCores, nil},
		"noisy, then quiet":               {[]float64{0.5, 0.15}, 2, 0.15, nil},
		"always noisy: the least of them": {[]float64{0.5, 0.3, 0.4}, 3, 0.3, nil},
		"a failure is no noise":           {[]float64{0.5, -1}, 2, 0, failed},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			taken := 0
			got, err := cleanest(func() (measure.Sample, error) {
				noise := c.noise[taken]
				taken++
				if noise < 0 {
					return nil, failed
				}
				return measure.Sample{measure.OtherCores: noise}, nil
			})
			if !errors.Is(err, c.err) || taken != c.taken || got[measure.OtherCores] != c.want {
				t.Errorf("got %v after %d tries, %v; want %v after %d, %v", got[measure.OtherCores], taken, err, c.want, c.taken, c.err)
			}
		})
	}
}
