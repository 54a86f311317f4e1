package httpcache

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// sealed is an entry with a body of n bytes, not yet stored.
func sealed(s *Store, path string, n int, fields ...varied) *entry {
	key := appendKey(nil, "http", "example.com", path, "", "")
	e := &entry{hash: s.hash(key), received: epoch, common: &common{commonFacts: commonFacts{status: 200, freshness: freshness{lifetime: time.Hour}}}}
	e.belong(fields, nil)
	e.pack(&s.commons, string(key), fieldLines{}, "", placeOf("example.com", path))
	e.seal(body{chunks: [][]byte{make([]byte, n)}, size: int64(n)})
	return e
}

func put(t *testing.T, s *Store, e *entry) {
	t.Helper()
	if _, ok := s.reserve(e.hash, e.claim()); !ok || !s.insert(e) {
		t.Fatalf("%d bytes were not stored", e.size)
	}
}

func (s *Store) has(e *entry) bool {
	found, _ := s.find(e.hash, []byte(e.key()), http.Header{})
	return found == e
}

func TestBytesAreBoundedOverAllShards(t *testing.T) {
	const most = 1 << 20
	s := NewStore(Options{MaxBytes: most})
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := range 400 {
				e := sealed(s, fmt.Sprintf("/%d/%d", g, i), 1000*(i%20))
				if _, ok := s.reserve(e.hash, e.claim()); ok && !s.insert(e) {
					s.release(e.claim())
				}
				if n := s.bytes.Load(); n > most {
					t.Errorf("%d bytes: want at most %d at any moment", n, most)
				}
			}
		})
	}
	all.Wait()
	stats := s.Stats()
	if stats.Entries == 0 || stats.Evictions == 0 || stats.Bytes > most {
		t.Errorf("%+v: want some entries, some evicted, within bounds", stats)
	}
	held, commons := int64(0), make(map[*common]bool)
	for i := range s.shards {
		held += s.shards[i].stays.Overhead()
		for _, e := range s.shards[i].stays.All() {
			held += e.held()
			commons[e.common] = true
		}
	}
	for one := range commons {
		held += one.size
	}
	if held != stats.Bytes {
		t.Errorf("entries hold %d bytes, %d are accounted", held, stats.Bytes)
	}
	s.Configure(Options{MaxBytes: most / 4})
	if n := s.Stats().Bytes; n > most/4 {
		t.Errorf("%d bytes after the bound fell to %d", n, most/4)
	}
}

func TestTheLeastRecentlyUsedGoesFirst(t *testing.T) {
	one := sealed(NewStore(Options{}), "/000000", 980).claim()
	s := NewStore(Options{MaxBytes: 3 * one})
	sh := s.shard(0)
	// Three entries of one shard, so that their order counts.
	var mates []*entry
	for i := 0; len(mates) < 4; i++ {
		if e := sealed(s, fmt.Sprintf("/%06d", i), 980); s.shard(e.hash) == sh {
			mates = append(mates, e)
		}
	}
	for _, e := range mates[:3] {
		put(t, s, e)
	}
	s.has(mates[0]) // a use
	put(t, s, mates[3])
	if s.has(mates[1]) || !s.has(mates[0]) || !s.has(mates[2]) || !s.has(mates[3]) {
		t.Error("want the second, which nobody used since, evicted and no other")
	}
}

func TestAnObjectMayBeAsLargeAsTheStore(t *testing.T) {
	s := NewStore(Options{MaxBytes: 1 << 20})
	for i := range 200 {
		put(t, s, sealed(s, fmt.Sprintf("/%d", i), 1000))
	}
	large := sealed(s, "/large", 900<<10)
	put(t, s, large)
	if !s.has(large) {
		t.Error("an object larger than the share of a shard is not stored")
	}
	if _, ok := s.reserve(0, 2<<20); ok {
		t.Error("more was reserved than the store may hold")
	}
}

func TestCollidingHashesNeverGiveAnotherAnswer(t *testing.T) {
	s := NewStore(Options{})
	a, b, c := sealed(s, "/a", 1), sealed(s, "/b", 1), sealed(s, "/c", 1)
	b.hash, c.hash = a.hash, a.hash
	for _, e := range []*entry{a, b} {
		put(t, s, e)
	}
	if !s.has(a) || !s.has(b) || s.has(c) {
		t.Error("want each key's own answer under one hash")
	}
	put(t, s, c)
	s.remove(b)
	s.remove(b) // twice does no harm
	if !s.has(a) || s.has(b) || !s.has(c) {
		t.Error("want the others left when one in the chain goes")
	}
	s.remove(c)
	s.remove(a)
	if n := s.Stats(); n.Entries != 0 || n.Bytes != 0 || len(s.shard(a.hash).index) != 0 {
		t.Errorf("%+v after all are gone", n)
	}
}

func TestVariantsOfAKeyAreBounded(t *testing.T) {
	s := NewStore(Options{})
	for i := range 2 * maxVariants {
		put(t, s, sealed(s, "/", 1, varied{name: "Accept", value: fmt.Sprint(i), present: true}))
	}
	for i, want := range map[int]bool{0: false, maxVariants - 1: false, maxVariants: true, 2*maxVariants - 1: true} {
		e := sealed(s, "/", 1)
		found, known := s.find(e.hash, []byte(e.key()), http.Header{"Accept": {fmt.Sprint(i)}})
		if (found != nil) != want || !known {
			t.Errorf("variant %d of %d: found %v: want %v", i, 2*maxVariants, found != nil, want)
		}
	}
	if n := s.Stats().Entries; n != maxVariants {
		t.Errorf("%d variants: want %d", n, maxVariants)
	}
}

func TestAnOlderAnswerDoesNotReplaceANewerOne(t *testing.T) {
	s := NewStore(Options{})
	newer, older := sealed(s, "/", 1), sealed(s, "/", 1)
	newer.received = epoch.Add(time.Second)
	put(t, s, newer)
	if s.insert(older) || !s.has(newer) {
		t.Error("an answer that was asked for earlier replaced a later one")
	}
	// Between a purge and the next tick of the clock, the generation decides.
	purged := sealed(s, "/", 1)
	purged.began = 1
	put(t, s, purged)
	same := sealed(s, "/", 1)
	same.received = newer.received
	if s.insert(same) || !s.has(purged) {
		t.Error("an answer from before a purge replaced one from after it")
	}
}

func TestFillsInFlightCountToo(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.h.Store.Configure(Options{MaxBytes: 1 << 20})
		g := newGate()
		whole := strings.Repeat("x", 600<<10)
		w.origin.answer = g.answer(200, whole, "Cache-Control: max-age=60", "Content-Length: "+itoa(len(whole)))
		first := w.startGet(site)
		second := w.startGet(site + "?second")
		close(g.header)
		w.settled()
		if n := w.h.Store.Stats().Bytes; n < int64(len(whole)) || n > 1<<20 {
			t.Errorf("%d bytes accounted: want those of the one fill that there is room for", n)
		}
		close(g.body)
		stored := 0
		for _, one := range []<-chan answer{first, second} {
			got := <-one
			got.wants(t, StatusMiss, 200, whole)
			if got.Stored {
				stored++
			}
		}
		if stored != 1 {
			t.Errorf("%d stored: want 1, and the other served all the same", stored)
		}
	})
}
