package caddymodule

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"golang.org/x/net/http2/hpack"

	"github.com/edgegw/edge/internal/rawhit/streams"
)

// steady takes from a field what is another in each answer.
func steady(f hpack.HeaderField) hpack.HeaderField {
	switch f.Name {
	case "x-request-id", "age", "date":
		f.Value = ""
	case "cache-status":
		f.Value, _, _ = strings.Cut(f.Value, "; ttl=")
	}
	return f
}

// Whatever a client does with frames, the same comes back with edge_hits and
// without.
func TestFramesAreAnsweredAsWithoutEdgeHits(t *testing.T) {
	address, _ := counting(t, streamed)
	e := startRawEdge(t, address, taggedSite)
	for _, address := range []string{e.secure, e.secureOther} {
		c := rawSecurely(t, address)
		for _, path := range []string{"/hit/a", "/hit/5000", "/hit/40000"} {
			c.ask(streams.Get(path))
		}
	}
	before := replies()
	const seeds = 200
	for seed := range uint64(seeds) {
		var clients [2]*streams.Client
		said := ""
		for i, address := range []string{e.secure, e.secureOther} {
			var err error
			clients[i], said, err = streams.PlayHTTP2(address, anyCertificate, "/hit/a", rand.New(rand.NewPCG(seed, 3)).IntN)
			if err != nil {
				t.Fatalf("seed %d, %d: %v", seed, i, err)
			}
		}
		if how := streams.DifferHTTP2(said, clients[0], clients[1], steady); how != "" {
			t.Fatalf("seed %d: %s", seed, how)
		}
	}
	if n := replies() - before; n < seeds/2 {
		t.Errorf("%d answers on connections: that proves little", n)
	}
}

func TestHitsAreRepeatedOnTheConnectionOverHTTP2(t *testing.T) {
	address, fetches := counting(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.Path) })
	e := startRawEdge(t, address, taggedSite)
	c := dialFrames(t, e.secure)
	c.ask("/a")
	c.learned("/a", "accept-encoding: gzip")
	fetched := fetches.Load()
	raw := c.ask("/a", "accept-encoding: gzip", "user-agent: tester", "x-forwarded-for: 192.0.2.1")
	if fetches.Load() != fetched || string(raw.Body) != "/a" {
		t.Fatalf("%q, %d fetches", raw.Body, fetches.Load()-fetched)
	}
	other := dialFrames(t, e.secureOther).ask("/a", "accept-encoding: gzip", "user-agent: tester", "x-forwarded-for: 192.0.2.1")
	if len(raw.Header) != len(other.Header) {
		t.Fatalf("%v: want %v", raw.Header, other.Header)
	}
	for i := range raw.Header {
		if got, want := steady(raw.Header[i]), steady(other.Header[i]); got.Name != want.Name || got.Value != want.Value {
			t.Errorf("%v: want %v", got, want)
		}
	}
	id := func(s *streams.Stream) string {
		for _, f := range s.Header {
			if f.Name == "x-request-id" {
				return f.Value
			}
		}
		return ""
	}
	e.sameRecord(t, id(raw), id(other))

	e.purge(map[string]any{"tags": []string{"pages"}})
	before := replies()
	if got := c.ask("/a", "accept-encoding: gzip"); replies() != before || !bytes.Equal(got.Body, raw.Body) || fetches.Load() == fetched {
		t.Errorf("still answered on the connection after a purge, or from the store: %v", got.Header)
	}
}

// streamed answers what streams ask for.
func streamed(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/hit/") {
		w.Header().Set("Content-Type", "application/octet-stream") // in one coding, whoever asks first
		size := 20
		_, _ = fmt.Sscanf(r.URL.Path, "/hit/%d", &size) // another name has the usual size
		fmt.Fprint(w, patterned(size))
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	body, err := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s body %q %v", r.Method, r.RequestURI, body, err)
}

// framesClient asks over HTTP/2.
type framesClient struct {
	t *testing.T
	*streams.Client
	id uint32
}

func dialFrames(t *testing.T, address string) *framesClient {
	t.Helper()
	c, err := streams.NewClient(address, anyCertificate)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // the test may have closed it
	c.Grant(1 << 20)
	if err := c.WriteWindowUpdate(0, 1<<20); err != nil {
		t.Fatal(err)
	}
	return &framesClient{t, c, 0}
}

func (c *framesClient) ask(path string, more ...string) *streams.Stream {
	c.t.Helper()
	c.id += 2
	s, err := c.Get(c.id-1, path, more...)
	if err != nil || c.Ended != "" || s.Reset != "" {
		c.t.Fatalf("%v, connection %q, stream %q", err, c.Ended, s.Reset)
	}
	return s
}

func (c *framesClient) learned(path string, more ...string) {
	c.t.Helper()
	for range 200 {
		before := replies()
		if c.ask(path, more...); replies() > before {
			return
		}
	}
	c.t.Fatalf("not learned: %q", path)
}

func TestEdgeHitsReadsItsBlock(t *testing.T) {
	for text, want := range map[string]string{
		"edge_hits": "on", "edge_hits {\nhttp2 off\n}": "off", "edge_hits {\nhttp2 on\n}": "on",
		"edge_hits x": `spare argument "x"`, "edge_hits {\nhttp2\n}": "want on", "edge_hits {\nhttp2 maybe\n}": "http2 maybe: want on",
		"edge_hits {\nhttp3 off\n}": `unknown word "http3"`,
	} {
		h := new(RawHits)
		err := h.UnmarshalCaddyfile(caddyfile.NewTestDispenser(text))
		switch want {
		case "on", "off":
			if err != nil || h.HTTP2Off != (want == "off") {
				t.Errorf("%s: %v, %v", text, h.HTTP2Off, err)
			}
		default:
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v: want %s", text, err, want)
			}
		}
	}
}
