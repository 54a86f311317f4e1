package httpcache

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
)

func TestWhatIsYieldedIsNotUsed(t *testing.T) {
	w := newWorld(t)
	s := w.h.Store
	s.Configure(Options{MaxBytes: 1 << 20})
	w.origin.answer = respond(http.StatusOK, strings.Repeat("x", 8<<10), "Cache-Control: max-age=3600")
	fill := func() {
		for i := range 200 {
			w.get(fmt.Sprintf("http://example.com/%d", i))
		}
	}
	wants := func(what string, least, most int64) {
		t.Helper()
		if now := s.Stats(); now.Bytes < least || now.Bytes > most {
			t.Errorf("%s: %d bytes: want %d to %d", what, now.Bytes, least, most)
		}
	}
	fill()
	wants("nothing yielded", 1<<20-16<<10, 1<<20)
	s.Yield(256 << 10)
	wants("a quarter yielded: at once", 1<<20-256<<10-16<<10, 1<<20-256<<10)
	fill()
	wants("and from then on", 1<<20-256<<10-16<<10, 1<<20-256<<10)
	s.Configure(Options{MaxBytes: 512 << 10})
	wants("a smaller cap yields a quarter of itself", 384<<10-16<<10, 384<<10)
	s.Yield(2 << 20)
	wants("more than there is", 384<<10-16<<10, 384<<10)
	s.Yield(-1)
	fill()
	wants("taken back", 512<<10-16<<10, 512<<10)
}

func TestYieldingMeetsStoring(t *testing.T) {
	w := newWorld(t)
	s := w.h.Store
	s.Configure(Options{MaxBytes: 64 << 10})
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for n := range 200 {
				w.get(fmt.Sprintf("http://example.com/%d/%d", i, n))
			}
		})
	}
	all.Go(func() {
		for n := range 200 {
			s.Yield(int64(n%5) << 13)
		}
	})
	all.Wait()
	s.Yield(1 << 20)
	if now := s.Stats(); now.Bytes != 0 || now.Entries != 0 {
		t.Errorf("%d bytes and %d entries when all is yielded: want none", now.Bytes, now.Entries)
	}
}
