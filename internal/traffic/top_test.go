package traffic

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func page(n int) Request {
	return Request{Method: "GET", Host: "www.example.com", Path: fmt.Sprintf("/%d", n)}
}

func TestSumsAreExactWhileThereIsRoom(t *testing.T) {
	c := newTop(10, time.Minute, 1e-3)
	for n := range 5 {
		for range n + 1 {
			c.add(start, page(n), 2, Note{Rule: "page /*", Reason: "set-cookie"})
		}
	}
	list := c.list(start, 3)
	if len(list) != 3 {
		t.Fatalf("%d rows: want the three that were asked for", len(list))
	}
	for i, row := range list {
		want := Row{Request: page(4 - i), Note: Note{"page /*", "set-cookie"}, Sum: float64(2 * (5 - i)), Times: float64(5 - i)}
		if row != want {
			t.Errorf("row %d: %+v, want %+v", i, row, want)
		}
	}
}

// TestTheBoundsOfSpaceSaving holds what the paper proves, over streams with few
// heavy requests among very many: no sum too low, none too high by more than it
// says nor by more than total/places, and nobody with more than that missing.
func TestTheBoundsOfSpaceSaving(t *testing.T) {
	for seed := range uint64(6) {
		random := rand.New(rand.NewPCG(seed, 1))
		const room = 50
		c, truth, total := newTop(room, time.Hour, 1e-3), make(map[Request]float64), 0.0
		for range 20000 {
			n := random.IntN(10)
			if random.IntN(2) == 0 {
				n = 10 + random.IntN(100000)
			}
			weight := float64(1 + random.IntN(3))
			c.add(start, page(n), weight, Note{})
			truth[page(n)] += weight
			total += weight
		}
		if len(c.rows) != room || len(c.least) != room {
			t.Fatalf("seed %d: %d rows, %d in the heap: want %d", seed, len(c.rows), len(c.least), room)
		}
		for request, row := range c.rows {
			if row.sum < truth[request] || row.sum-row.over > truth[request] || row.over > total/room {
				t.Errorf("seed %d: %v: sum %v, over %v; it is %v of %v", seed, request, row.sum, row.over, truth[request], total)
			}
		}
		for request, sum := range truth {
			if _, there := c.rows[request]; !there && sum > total/room {
				t.Errorf("seed %d: %v with %v of %v is missing", seed, request, sum, total)
			}
		}
		if list := c.list(start, 100); len(list) != 10 {
			t.Errorf("seed %d: %d rows are told: want the ten of which something is certain", seed, len(list))
		}
	}
}

func TestWhatHappenedFades(t *testing.T) {
	c := newTop(10, 10*time.Minute, 1e-3)
	c.add(start, page(1), 8, Note{})
	c.add(start.Add(10*time.Minute), page(2), 5, Note{})
	list := c.list(start.Add(20*time.Minute), 10)
	if len(list) != 2 || list[0].Request != page(2) || math.Abs(list[0].Sum-2.5) > 1e-9 || math.Abs(list[1].Sum-2) > 1e-9 {
		t.Errorf("%+v: want 5 halved once, then 8 halved twice", list)
	}
	if list := c.list(start.Add(24*time.Hour), 10); len(list) != 0 {
		t.Errorf("%+v: want nothing left after a day", list)
	}
	// A long time after, the scale is renewed; and a clock that goes back is no harm.
	c.add(start.Add(100*24*time.Hour), page(3), 1, Note{})
	c.add(start, page(3), 1, Note{})
	list = c.list(start.Add(100*24*time.Hour), 10)
	if len(list) != 1 || list[0].Sum != 2 || list[0].Times != 2 {
		t.Errorf("%+v: want the two that were added last", list)
	}
}

func TestRowsAreBounded(t *testing.T) {
	long := Request{Method: strings.Repeat("M", 1000), Host: strings.Repeat("h", 10000), Path: "/" + strings.Repeat("é", 10000)}
	c := newTop(10, time.Minute, 1e-3)
	c.add(start, long, 1, Note{})
	c.add(start, Request{Method: "GET", Path: "/\xff"}, 0.5, Note{})
	list := c.list(start, 10)
	if len(list) != 2 {
		t.Fatalf("%+v", list)
	}
	for _, row := range list {
		if len(row.Method)+len(row.Host)+len(row.Path) > maxMethod+maxHost+maxPath+9 || !utf8.ValidString(row.Method+row.Host+row.Path) {
			t.Errorf("%+v: want it short, and text", row.Request)
		}
	}
	for _, weight := range []float64{0, -1, math.NaN()} {
		c.add(start, page(7), weight, Note{})
	}
	if len(c.rows) != 2 {
		t.Errorf("%d rows: what weighs nothing wants no place", len(c.rows))
	}
}

func FuzzTop(f *testing.F) {
	f.Add([]byte{1, 2, 3, 200, 1, 1, 9, 0, 255})
	f.Fuzz(func(t *testing.T, steps []byte) {
		c, now, truth := newTop(4, time.Second, 1e-3), start, make(map[Request]float64)
		for _, b := range steps {
			if b >= 128 {
				gone := time.Duration(b-128) * 500 * time.Millisecond
				now = now.Add(gone)
				for request := range truth {
					truth[request] *= math.Exp2(-gone.Seconds())
				}
				continue
			}
			c.add(now, page(int(b%16)), float64(1+b/16), Note{})
			truth[page(int(b%16))] += float64(1 + b/16)
		}
		faded := 1 / c.grown(now)
		if len(c.rows) > 4 || len(c.rows) != len(c.least) {
			t.Fatalf("%d rows, %d in the heap", len(c.rows), len(c.least))
		}
		for i, r := range c.least {
			if r.at != i || c.rows[r.request] != r || i > 0 && c.least[(i-1)/2].sum > r.sum {
				t.Fatalf("place %d of the heap: %+v", i, r)
			}
			if sum := r.sum * faded; sum < truth[r.request]*(1-1e-9)-1e-12 || (r.sum-r.over)*faded > truth[r.request]*(1+1e-9)+1e-9 {
				t.Fatalf("%v: %v, over %v: it is %v", r.request, sum, r.over*faded, truth[r.request])
			}
		}
	})
}

func BenchmarkMissed(b *testing.B) {
	m := New()
	requests := make([]Request, 4096)
	for i := range requests {
		requests[i] = page(i)
	}
	b.ReportAllocs()
	for i := range b.N {
		m.Missed(start, requests[i%len(requests)], Note{})
	}
}
