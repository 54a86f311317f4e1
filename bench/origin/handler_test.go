package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgegw/edge/bench/object"
)

func ask(h http.Handler, method, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestObjects(t *testing.T) {
	h := newHandler([]int{1024}, options{cacheControl: "max-age=60"})
	etag := ask(h, "GET", object.Path(1024)).Header().Get("ETag")
	cases := map[string]struct {
		method, path string
		header       []string
		status, body int
	}{
		"a GET":                            {"GET", object.Path(1024), nil, 200, 1024},
		"a HEAD has no body":               {"HEAD", object.Path(1024), nil, 200, 0},
		"the client has this entity":       {"GET", object.Path(1024), []string{"If-None-Match", etag}, 304, 0},
		"the client has another entity":    {"GET", object.Path(1024), []string{"If-None-Match", `"other"`}, 200, 1024},
		"not modified since":               {"GET", object.Path(1024), []string{"If-Modified-Since", "Fri, 02 Jan 2026 03:04:05 GMT"}, 304, 0},
		"modified since":                   {"GET", object.Path(1024), []string{"If-Modified-Since", "Fri, 02 Jan 2026 03:04:04 GMT"}, 200, 1024},
		"a range":                          {"GET", object.Path(1024), []string{"Range", "bytes=0-9"}, 206, 10},
		"a size that was not asked for":    {"GET", object.Path(2048), nil, 404, len("no object of this size: see -sizes\n")},
		"a health check, wherever it asks": {"GET", "/healthz", nil, 200, 0},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := ask(h, c.method, c.path, c.header...)
			if w.Code != c.status || w.Body.Len() != c.body {
				t.Errorf("got %d with %d bytes, want %d with %d", w.Code, w.Body.Len(), c.status, c.body)
			}
			if c.body == 1024 && object.Hash(w.Body.Bytes()) != object.Hash(object.Body(1024)) {
				t.Error("the body is not the object's")
			}
			if c.status == 200 && c.path == object.Path(1024) && (w.Header().Get("Cache-Control") != "max-age=60" || w.Header().Get("Last-Modified") == "") {
				t.Errorf("headers %v: want Cache-Control and a validator", w.Header())
			}
		})
	}
}

func TestPOSTsBringTheirBodies(t *testing.T) {
	h := newHandler([]int{1024}, options{})
	for body, want := range map[string]int{"": http.StatusOK, "whole": http.StatusOK, "half": http.StatusBadRequest} {
		r := httptest.NewRequest("POST", object.Path(1024), strings.NewReader(body))
		if body == "half" {
			r.ContentLength *= 2
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want || want == http.StatusOK && w.Body.Len() != 1024 {
			t.Errorf("%q: got %d with %d bytes: want %d", body, w.Code, w.Body.Len(), want)
		}
	}
}

func TestOnlyObjectsCountAsFetches(t *testing.T) {
	h := newHandler([]int{1024}, options{})
	if got := ask(h, "GET", object.Path(1024)).Header().Values("Cache-Control"); len(got) != 0 {
		t.Errorf("Cache-Control %v: want none when none is configured", got)
	}
	if got := ask(h, "GET", object.Path(1024)+"?fresh=1").Header().Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q of what is always fresh: want no-store", got)
	}
	ask(h, "GET", object.Path(1024), "If-None-Match", "*")
	for _, path := range []string{"/", "/healthz", "/fetches", object.Path(5)} {
		ask(h, "GET", path)
	}
	if got := ask(h, "GET", "/fetches").Body.String(); got != "3" {
		t.Errorf("got %s fetches, want 3", got)
	}
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandler([]int{1}, options{delay: 200 * time.Millisecond})
		start := time.Now()
		ask(h, "GET", object.Path(1))
		if got := time.Since(start); got != 200*time.Millisecond {
			t.Errorf("answered after %v, want 200ms", got)
		}
	})
}

func TestParseSizes(t *testing.T) {
	got, err := parseSizes("1024,16384")
	if err != nil || len(got) != 2 || got[0] != 1024 || got[1] != 16384 {
		t.Errorf("got %v, %v", got, err)
	}
	for _, text := range []string{"", "1k", "1024,", "-1"} {
		if _, err := parseSizes(text); err == nil {
			t.Errorf("%q: want an error", text)
		}
	}
}
