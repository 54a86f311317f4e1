package caddymodule

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/edgegw/edge/internal/coding"
)

// textOf is the body of an answer, decoded as its header says.
func textOf(t *testing.T, r response) string {
	t.Helper()
	name := r.Header.Get("Content-Encoding")
	if name == "" {
		return r.Text
	}
	c, err := coding.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	d, err := coding.Decode(c, strings.NewReader(r.Text))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	text, err := io.ReadAll(d)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return string(text)
}

// articles answers with a long page that says which edition it is.
func articles(edition *atomic.Int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		tag := fmt.Sprintf(`"e%d"`, edition.Load())
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Etag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = io.WriteString(w, article(edition.Load())) // a reader that left is what the test sees
	}
}

func article(edition int64) string {
	return strings.Repeat(fmt.Sprintf("<p>edition %d of a page of some length</p>\n", edition), 3000)
}

func TestTextGoesOutInEveryCoding(t *testing.T) {
	var edition atomic.Int64
	address, fetches := counting(t, articles(&edition))
	s := startSites(t, "", staticPool(address), "https://a.test:PORT "+indented("tls internal\n"+wholeSite))
	client := s.client() // speaks HTTP/2
	get := func(method string, headers ...string) response {
		return s.do(client, method, "https://a.test:PORT/page", nil, headers...)
	}
	if r := get("GET", "Accept-Encoding", "gzip, br"); r.ProtoMajor != 2 || r.Header.Get("Content-Encoding") != "" ||
		r.Text != article(0) || r.Header.Get("Vary") != "Accept-Encoding" || r.Header.Get("Etag") != `"e0"` {
		t.Errorf("the first answer: %s %v: want it streamed as it is", r.Proto, r.Header)
	}
	for _, name := range []string{"br", "zstd", "gzip"} {
		var r response
		eventually(t, "a hit in "+name, func() bool {
			r = get("GET", "Accept-Encoding", name)
			if textOf(t, r) != article(0) {
				t.Fatalf("%s: another body", name)
			}
			return r.Header.Get("Content-Encoding") == name
		})
		if r.ContentLength != int64(len(r.Text)) || r.ContentLength > int64(len(article(0))/10) || r.Header.Get("Etag") != `"e0-`+name+`"` {
			t.Errorf("%s: %d bytes, Content-Length %d, ETag %s", name, len(r.Text), r.ContentLength, r.Header.Get("Etag"))
		}
		if head := get("HEAD", "Accept-Encoding", name); head.ContentLength != r.ContentLength || head.Header.Get("Content-Encoding") != name {
			t.Errorf("%s: HEAD %v", name, head.Header)
		}
		again := get("GET", "Accept-Encoding", name, "If-None-Match", r.Header.Get("Etag"))
		if again.StatusCode != 304 || again.Header.Get("Etag") != r.Header.Get("Etag") || again.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: asked again: %d %v: want 304", name, again.StatusCode, again.Header)
		}
		if part := get("GET", "Accept-Encoding", name, "Range", "bytes=3-11"); part.StatusCode != 206 || part.Text != article(0)[3:12] || part.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s: a part: %d %q %v", name, part.StatusCode, part.Text, part.Header)
		}
	}
	if r := get("GET"); r.Header.Get("Content-Encoding") != "" || r.Text != article(0) {
		t.Errorf("without Accept-Encoding: %v", r.Header)
	}
	if n := fetches.Load(); n != 1 {
		t.Errorf("%d fetches: want 1 for all codings", n)
	}
}

// Every coding of a page goes with it.
func TestAPurgeTakesEveryCoding(t *testing.T) {
	var edition atomic.Int64
	address, _ := counting(t, articles(&edition))
	e := startEdge(t, staticPool(address), pagesSite)
	accepts := []string{"br", "zstd", "gzip", "identity"}
	warm := func(path string) {
		for _, name := range accepts[:3] {
			eventually(t, "a hit in "+name, func() bool {
				return e.get(path, "Accept-Encoding", name).Header.Get("Content-Encoding") == name
			})
		}
	}
	for _, order := range []map[string]any{{"everything": true}, {"tags": []string{"pages"}}, {"urls": []string{e.URL + "/news"}}} {
		warm("/news")
		edition.Add(1)
		if state := e.purge(order); state != "done" {
			t.Fatalf("purge %v: %s", order, state)
		}
		for _, name := range accepts {
			if r := e.get("/news", "Accept-Encoding", name); textOf(t, r) != article(edition.Load()) {
				t.Errorf("after %v, %s: an old page", order, name)
			}
		}
	}
	var x struct {
		Cache struct {
			Entry struct {
				Bytes     int64
				Encodings map[string]int64
				Encodable bool
			}
		}
	}
	warm("/explained")
	if status := e.control(http.MethodGet, "explain?url="+e.URL+"/explained", nil, &x); status != 200 {
		t.Fatalf("explain: %d", status)
	}
	if entry := x.Cache.Entry; len(entry.Encodings) != 3 || entry.Encodings["br"] <= 0 || entry.Encodings["br"] >= entry.Bytes || !entry.Encodable {
		t.Errorf("explain says %+v: want three encodings", entry)
	}
	now := scrape(t, "http://"+e.Admin+"/metrics")
	if now[`edge_cache_encodings_total{result="done"}`] < 6 || now["edge_cache_encoded_bytes"] <= 0 || now[`edge_cache_encodings_total{result="failed"}`] != 0 {
		t.Errorf("metrics: %v done, %v bytes", now[`edge_cache_encodings_total{result="done"}`], now["edge_cache_encoded_bytes"])
	}
}

func TestTheOriginsOwnEncodingIsRespected(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := io.WriteString(z, article(7)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	var asked atomic.Value
	address, fetches := counting(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.Header.Get("Accept-Encoding"))
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("Etag", `"own"`)
		w.Header().Set("Vary", "Accept-Encoding")
		if !strings.Contains(strings.ToLower(r.Header.Get("Accept-Encoding")), "gzip") {
			_, _ = io.WriteString(w, article(7)) // as above
			return
		}
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(zipped.Bytes()) // as above
	})
	e := startEdge(t, staticPool(address), pagesSite)
	for i, field := range []string{"GZIP;q=0.8, br", "br, gzip", "gzip,br;q=0.1"} {
		r := e.get("/page", "Accept-Encoding", field)
		if r.Header.Get("Content-Encoding") != "gzip" || r.Header.Get("Etag") != `"own"` || r.Text != zipped.String() || len(r.Header["Vary"]) != 1 {
			t.Errorf("answer %d: %v: want what the origin sent", i, r.Header)
		}
	}
	if n := fetches.Load(); n != 1 || asked.Load() != "GZIP;q=0.8, br" {
		t.Errorf("%d fetches, the last with %q: want one, with the first client's own field", n, asked.Load())
	}
	eventually(t, "br for who does not take gzip", func() bool {
		r := e.get("/page", "Accept-Encoding", "br")
		return textOf(t, r) == article(7) && r.Header.Get("Content-Encoding") == "br"
	})
}

// Caddy's encode in front leaves alone what is encoded, and encodes the rest.
func TestCaddysEncodeMayStandInFront(t *testing.T) {
	var edition atomic.Int64
	address, _ := counting(t, articles(&edition))
	e := startEdge(t, staticPool(address), "encode gzip\n"+pagesSite)
	first := e.get("/page", "Accept-Encoding", "gzip")
	if first.Header.Get("Content-Encoding") != "gzip" || textOf(t, first) != article(0) {
		t.Errorf("a miss: %v: want it encoded by Caddy", first.Header)
	}
	eventually(t, "ours, with a length", func() bool {
		r := e.get("/page", "Accept-Encoding", "gzip")
		if textOf(t, r) != article(0) || strings.Join(r.Header.Values("Vary"), ",") != "Accept-Encoding" {
			t.Fatalf("%v", r.Header)
		}
		return r.ContentLength > 0
	})
	for _, tag := range []string{`"e0"`, `"e0-gzip"`} {
		if r := e.get("/page", "Accept-Encoding", "gzip", "If-None-Match", tag); r.StatusCode != 304 {
			t.Errorf("asked about %s: %d", tag, r.StatusCode)
		}
	}
}
