package httpcache

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/edgegw/edge/internal/cacherules"
)

// someAnswer lives at example.com/shop/cart?id=1, with two tags, made by v1.
var someAnswer = provenance{
	place: placeOf("example.com", "/shop/cart?id=1"), tags: tagListOf("cart", "pages"), version: "v1",
}

func TestSelectors(t *testing.T) {
	for name, c := range map[string]struct {
		purge Purge
		gone  bool
	}{
		"everything":                      {Purge{Everything: true}, true},
		"its URL":                         {Purge{URLs: []string{"https://example.com/shop/cart?id=1"}}, true},
		"its URL without the query":       {Purge{URLs: []string{"https://example.com/shop/cart"}}, false},
		"its URL among many":              {Purge{URLs: []string{"https://a.example/", "http://EXAMPLE.com/shop/cart?id=1"}}, true},
		"its host":                        {Purge{Hosts: []string{"Example.com"}}, true},
		"a host above it":                 {Purge{Hosts: []string{"com"}}, false},
		"the path it lies under":          {Purge{Prefixes: []string{"example.com/shop/"}}, true},
		"a prefix that ends in a word":    {Purge{Prefixes: []string{"example.com/sho"}}, true},
		"its whole path":                  {Purge{Prefixes: []string{"example.com/shop/cart"}}, true},
		"the path of another host":        {Purge{Prefixes: []string{"www.example.com/shop"}}, false},
		"a longer path":                   {Purge{Prefixes: []string{"example.com/shop/cart/"}}, false},
		"the whole host as a prefix":      {Purge{Prefixes: []string{"example.com"}}, true},
		"a tag":                           {Purge{Tags: []string{"cart"}}, true},
		"a tag in capitals":               {Purge{Tags: []string{"Cart"}}, true},
		"another tag":                     {Purge{Tags: []string{"car"}}, false},
		"its version":                     {Purge{Versions: []string{"v1"}}, true},
		"another version":                 {Purge{Versions: []string{"v10"}}, false},
		"a version in the place of a tag": {Purge{Tags: []string{"v1"}}, false},
	} {
		for _, soft := range []bool{false, true} {
			f := newFence(10, new(atomic.Int64))
			before, _ := f.judge(someAnswer, f.generation.Load())
			began := f.generation.Load()
			c.purge.Soft = soft
			after := f.purge(c.purge)
			want := standsFirm
			if c.gone {
				want = hardPurged
				if soft {
					want = softPurged
				}
			}
			got, _ := f.judge(someAnswer, began)
			later, _ := f.judge(someAnswer, after)
			if before != standsFirm || got != want || later != standsFirm {
				t.Errorf("%s, soft %v: before %d, after %d, newer %d: want %d for what began before only",
					name, soft, before, got, later, want)
			}
		}
	}
}

func TestGenerationsOnlyRise(t *testing.T) {
	s := NewStore(Options{})
	if g := s.Purge(Purge{Generation: 7, Everything: true}); g != 7 {
		t.Errorf("first order: generation %d: want its own, 7", g)
	}
	// An order that arrives late must fence what began since the later one.
	if g := s.Purge(Purge{Generation: 5, Everything: true}); g != 8 {
		t.Errorf("late order: generation %d: want 8, above all earlier ones", g)
	}
	if g := s.Purge(Purge{Everything: true}); g != 9 || s.Generation() != 9 {
		t.Errorf("order without a number: generation %d: want 9", g)
	}
}

func TestDrainingCountsWhatBeganBefore(t *testing.T) {
	s := NewStore(Options{})
	s.Purge(Purge{Generation: 3, Everything: true})
	old := s.census.join()
	s.Purge(Purge{Generation: 3, Everything: true}) // applied here as 4
	young := s.census.join()
	if n := s.Draining(3); n != 1 {
		t.Errorf("draining %d: want the one that began before the order was applied", n)
	}
	old.leave()
	if n := s.Draining(3); n != 0 {
		t.Errorf("draining %d after it ended: want 0", n)
	}
	if n := s.Draining(100); n != 1 {
		t.Errorf("draining %d before an order to come: want 1", n)
	}
	young.leave()
}

func TestNobodyEscapesTheCensus(t *testing.T) {
	s := NewStore(Options{})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 500 {
				s.census.join().leave()
			}
		})
	}
	all.Go(func() {
		for range 200 {
			s.Purge(Purge{Everything: true})
		}
	})
	all.Wait()
	if n := s.Draining(s.Generation() + 1); n != 0 {
		t.Errorf("draining %d when all have left: want 0", n)
	}
	if n := len(s.census.past); n != 0 {
		t.Errorf("%d cohorts kept without members: want 0", n)
	}
}

func TestAFullFencePurgesTooMuchNeverTooLittle(t *testing.T) {
	for _, soft := range []bool{false, true} {
		f := newFence(3, new(atomic.Int64))
		other := provenance{place: placeOf("other.example", "/")}
		began := f.generation.Load()
		f.purge(Purge{Tags: []string{"cart"}, Soft: soft})
		for i := range 3 {
			f.purge(Purge{Prefixes: []string{fmt.Sprintf("host%d.example/", i)}, Soft: soft})
		}
		want := hardPurged
		if soft {
			want = softPurged
		}
		for name, p := range map[string]provenance{"what was purged": someAnswer, "what was not": other} {
			if got, _ := f.judge(p, began); got != want {
				t.Errorf("soft %v: %s stands at %d: want %d once its mark fell out", soft, name, got, want)
			}
		}
		if got, _ := f.judge(other, began+1); got != standsFirm {
			t.Errorf("soft %v: what began after the forgotten purge stands at %d: want firm", soft, got)
		}
		if f.marks.Len() != 3 {
			t.Errorf("%d marks: want 3", f.marks.Len())
		}
		for range 3 {
			f.purge(Purge{Hosts: []string{fmt.Sprintf("h%d.example", f.generation.Load())}})
		}
		if len(f.sorted) != 0 || len(f.lengths) != 0 {
			t.Errorf("lengths %v of prefixes that fell out are still looked up", f.sorted)
		}
	}
}

func TestPurges(t *testing.T) {
	tagged := []string{"Cache-Control: max-age=60, stale-if-error=600, stale-while-revalidate=600", "Cache-Tag: Cart,pages", `ETag: "a"`}
	for name, c := range map[string]struct {
		purge  Purge
		status Status
	}{
		"hard by tag: a miss":                 {Purge{Tags: []string{"cart"}}, StatusMiss},
		"hard by version: a miss":             {Purge{Versions: []string{"v1"}}, StatusMiss},
		"by the version's tag: a miss":        {Purge{Tags: []string{cacherules.VersionTag("v1")}}, StatusMiss},
		"by another tag: still a hit":         {Purge{Tags: []string{"shop"}}, StatusHit},
		"soft by URL: confirmed by a 304":     {Purge{Soft: true, URLs: []string{"https://example.com/page"}}, StatusRevalidated},
		"soft, then hard: a miss":             {Purge{Everything: true}, StatusMiss},
		"soft by host: not served as SWR":     {Purge{Soft: true, Hosts: []string{"example.com"}}, StatusRevalidated},
		"soft for another URL: still a hit":   {Purge{Soft: true, URLs: []string{"http://example.com/"}}, StatusHit},
		"hard by prefix: a miss":              {Purge{Prefixes: []string{"example.com/p"}}, StatusMiss},
		"everything, softly: confirmed again": {Purge{Soft: true, Everything: true}, StatusRevalidated},
	} {
		inBubble(t, func(t *testing.T) {
			w := newWorld(t)
			w.origin.source.Version = "v1"
			w.origin.answer = validating("hello", tagged...)
			w.get(site).wants(t, StatusMiss, http.StatusOK, "hello")
			if c.purge.Everything && !c.purge.Soft {
				w.h.Store.Purge(Purge{Soft: true, Everything: true})
			}
			w.h.Store.Purge(c.purge)
			got := w.get(site)
			if got.Status != c.status {
				t.Errorf("%s: %s: want %s", name, got.Status, c.status)
			}
			if again := w.get(site); again.Status != StatusHit {
				t.Errorf("%s: then %s: want a hit", name, again.Status)
			}
		})
	}
}

func TestASoftPurgedCopyStandsInForAFailingOrigin(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, "Cache-Control: max-age=60, stale-if-error=600")
		w.get(site)
		w.h.Store.Purge(Purge{Soft: true, Everything: true})
		w.origin.answer = down
		got := w.get(site)
		got.wants(t, StatusStale, http.StatusOK, "hello")
		if cdn := got.Header().Get("Cloudflare-CDN-Cache-Control"); cdn != "no-store" {
			t.Errorf("Cloudflare-CDN-Cache-Control %q: want no-store, or the CDN takes the old copy back", cdn)
		}
		w.h.Store.Purge(Purge{Everything: true})
		if got := w.get(site); got.err != errDown {
			t.Errorf("after a hard purge: %v: want the origin's error", got.err)
		}
	})
}

func TestEvictionOrderIsThatOfPurges(t *testing.T) {
	f := newFence(2, new(atomic.Int64))
	f.purge(Purge{Tags: []string{"a"}})
	f.purge(Purge{Tags: []string{"b"}})
	f.purge(Purge{Tags: []string{"a"}}) // a is now the younger one
	f.purge(Purge{Tags: []string{"c"}})
	if keys := f.marks.Keys(); !slices.Equal(keys, []string{"ta", "tc"}) || f.floor.hard != 2 {
		t.Errorf("marks %q, floor %d: want a and c, and the floor at b's generation 2", keys, f.floor.hard)
	}
}
