package rawhit

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/edgegw/edge/internal/rawhit/streams"
)

// frameClient is a connection of HTTP/2.
type frameClient struct {
	*streams.Client
	w  *world
	id uint32
}

func (w *world) dialHTTP2(settings ...http2.Setting) *frameClient {
	w.t.Helper()
	c, err := streams.NewClient(w.address, w.secure, settings...)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = c.Close() }) // most have been closed
	return &frameClient{c, w, 0}
}

func (c *frameClient) ask(path string, more ...string) *streams.Stream {
	c.w.t.Helper()
	c.id += 2
	s, err := c.Get(c.id-1, path, more...)
	if err != nil || c.Ended != "" {
		c.w.t.Fatalf("%v, %s", err, c.Ended)
	}
	return s
}

func (c *frameClient) replied(path string, more ...string) bool {
	c.w.t.Helper()
	before := c.w.table.Replies()
	c.ask(path, more...)
	return c.w.table.Replies() > before
}

func (c *frameClient) learned(path string, more ...string) {
	c.w.t.Helper()
	for range 200 {
		if c.replied(path, more...) {
			return
		}
	}
	c.w.t.Fatalf("not learned: %q", path)
}

// grant lets the connection bring more than its first window.
func (c *frameClient) grant(n uint32) {
	c.w.t.Helper()
	c.Grant(int64(n))
	if err := c.WriteWindowUpdate(0, n); err != nil {
		c.w.t.Fatal(err)
	}
}

func TestAHitIsGivenAgainOverHTTP2(t *testing.T) {
	w := newSecureWorld(t, true)
	wide := http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20}
	for _, path := range []string{"/hit/a", "/hit/16384", "/hit/60000", "/hit/65400", "/hit/65535", "/hit/147000", "/hit/262144"} {
		c := w.dialHTTP2(wide)
		c.grant(4 << 20)
		plain := c.ask(path)
		c.learned(path)
		before := w.table.Replies()
		again := c.ask(path, "user-agent: another", "cf-ray: 12")
		if !bytes.Equal(again.Body, plain.Body) || w.table.Replies() != before+1 {
			t.Fatalf("%s: %d bytes after %d, %d replies", path, len(again.Body), len(plain.Body), w.table.Replies()-before)
		}
		if len(again.Header) != len(plain.Header) {
			t.Fatalf("%v: want %v", again.Header, plain.Header)
		}
		for i, f := range again.Header {
			want := plain.Header[i]
			if f.Name == "x-request-id" && len(f.Value) == requestIDSize && f.Value != want.Value {
				continue
			}
			if f.Name != want.Name || f.Value != want.Value {
				t.Errorf("%s: %v: want %v", path, f, want)
			}
		}
	}
	w.ended()
}

func TestWhatDiffersTakesTheLongWayOverHTTP2(t *testing.T) {
	w := newSecureWorld(t, true)
	c := w.dialHTTP2()
	c.grant(1 << 20)
	c.learned("/hit/a", "accept-encoding: gzip")
	for _, more := range [][]string{
		{}, {"accept-encoding: br"}, {"accept-encoding: gzip", "x-real-ip: 1.2.3.4"}, {"accept-encoding: gzip", "x-other: 1"},
		{"accept-encoding: gzip", "user-agent: caf\xc3\xa9"}, {"accept-encoding: gzip", "cookie: a=b"}, {"accept-encoding: gzip", "te: trailers"},
		{"accept-encoding: gzip", "x-request-id: 0123456789"},
	} {
		if c.replied("/hit/a", more...) {
			t.Errorf("answered from the table: %q", more)
		}
	}
	for _, path := range []string{"/hit/cookie", "/hit/edited", "/hit/varies", "/plain"} {
		for range 4 {
			if c.replied(path) {
				t.Errorf("learned: %s", path)
			}
		}
	}
	if w.replied(w.dial(), get("/hit/a", "Accept-Encoding: gzip")) {
		t.Error("HTTP/1.1 got what HTTP/2 had learned")
	}
}

func TestWhatHasChangedIsNotGivenAgainOverHTTP2(t *testing.T) {
	w := newSecureWorld(t, true)
	c := w.dialHTTP2()
	c.grant(1 << 20)
	for range 3 {
		c.learned("/hit/a")
		w.changes.Add(1)
		if got, want := c.ask("/hit/a").Body, w.body("/hit/a"); !bytes.Equal(got, want) {
			t.Fatalf("%q: want %q", got, want)
		}
	}
}

var volatile = func(f hpack.HeaderField) hpack.HeaderField {
	if f.Name == "x-request-id" && len(f.Value) == requestIDSize {
		f.Value = ""
	}
	return f
}

// compareHTTP2 plays a script with a table and without one.
func compareHTTP2(t *testing.T, raw, plain *world, picks func() func(int) int) {
	t.Helper()
	got, said, err := streams.PlayHTTP2(raw.address, raw.secure, "/hit/a", picks())
	if err != nil {
		t.Fatalf("with a table: %v\n%s", err, said)
	}
	want, said, err := streams.PlayHTTP2(plain.address, plain.secure, "/hit/a", picks())
	if err != nil {
		t.Fatalf("without a table: %v\n%s", err, said)
	}
	if how := streams.DifferHTTP2(said, got, want, volatile); how != "" {
		t.Error(how)
	}
}

func TestFramesAreAnsweredAsWithoutATable(t *testing.T) {
	raw, plain := newSecureWorld(t, true), newSecureWorld(t, false)
	c := raw.dialHTTP2()
	c.grant(1 << 20)
	for _, path := range []string{"/hit/a", "/hit/5000", "/hit/40000"} {
		c.learned(path)
	}
	before := raw.table.Replies()
	const seeds = 1000
	for seed := range uint64(seeds) {
		compareHTTP2(t, raw, plain, func() func(int) int { return rand.New(rand.NewPCG(seed, 5)).IntN })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if n := raw.table.Replies() - before; n < seeds/2 {
		t.Errorf("%d answers came from the table: that proves little", n)
	} else {
		t.Logf("%d answers came from the table", n)
	}
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3})
	f.Add([]byte("some frames, one after another, and a few more of them"))
	f.Fuzz(func(t *testing.T, choices []byte) {
		if len(choices) > 300 {
			return
		}
		raw, plain := newSecureWorld(t, true), newSecureWorld(t, false)
		compareHTTP2(t, raw, plain, func() func(int) int {
			left := choices
			return func(n int) int {
				if len(left) == 0 {
					return 0
				}
				choice := int(left[0])
				left = left[1:]
				return choice % n
			}
		})
	})
}
