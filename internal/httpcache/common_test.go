package httpcache

import (
	"fmt"
	"net/http"
	"testing"
)

// commonsOf are what the stored answers of a world have in common.
func commonsOf(w *world) map[*common]int {
	all := make(map[*common]int)
	for i := range w.h.Store.shards {
		for _, e := range w.h.Store.shards[i].stays.All() {
			all[e.common]++
		}
	}
	return all
}

func TestWhatAnswersHaveInCommonIsKeptOnce(t *testing.T) {
	page := func(i int) string { return fmt.Sprintf("http://example.com/%d", i) }
	fields := func(i int, more ...string) []string {
		return append(more, "Cache-Control: max-age=3600", "Content-Type: text/html", fmt.Sprintf(`Etag: "%d"`, i),
			fmt.Sprintf("Last-Modified: Wed, 21 Oct 2026 07:%02d:00 GMT", i%60))
	}
	for name, c := range map[string]struct {
		answer func(i int) (status int, fields []string)
		most   int
	}{
		"validators differ, all else is the same": {func(i int) (int, []string) { return 200, fields(i) }, 1},
		"two statuses":              {func(i int) (int, []string) { return 200 + 204*(i%2), fields(i) }, 2},
		"a field with three values": {func(i int) (int, []string) { return 200, fields(i, fmt.Sprint("X-A: ", i%3)) }, 3},
		"a field that is another one in each: those of the first, and one for the rest": {func(i int) (int, []string) {
			return 200, fields(i, fmt.Sprint("X-Request-Id: ", i))
		}, 64},
		"a tag for each": {func(i int) (int, []string) { return 200, fields(i, fmt.Sprint("Cache-Tag: post-", i)) }, 64},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for i := range 300 {
				status, fields := c.answer(i)
				w.origin.answer = respond(status, fmt.Sprint("body ", i), fields...)
				w.get(page(i))
			}
			all := commonsOf(w)
			if len(all) > c.most || len(w.h.Store.commons.known) != len(all) {
				t.Errorf("%d commons, %d known: want at most %d, all known", len(all), len(w.h.Store.commons.known), c.most)
			}
			held := w.h.Store.marksHeld()
			for one, n := range all {
				if held += one.size; one.held != n {
					t.Errorf("held %d times: want %d", one.held, n)
				}
			}
			for i := range w.h.Store.shards {
				held += w.h.Store.shards[i].stays.Overhead()
				for _, e := range w.h.Store.shards[i].stays.All() {
					held += e.held()
				}
			}
			if n := w.h.Store.Stats().Bytes; n != held {
				t.Errorf("%d bytes accounted for %d", n, held)
			}
			w.origin.answer = respond(http.StatusOK, "not asked for")
			for i := range 300 { // what differs is still told apart
				status, fields := c.answer(i)
				got := w.get(page(i))
				got.wants(t, StatusHit, status, fmt.Sprint("body ", i))
				want := make(http.Header)
				setFields(want, fields)
				for field := range want {
					if got.Header().Get(field) != want.Get(field) {
						t.Errorf("%d: %s %q: want %q", i, field, got.Header().Get(field), want.Get(field))
					}
				}
			}
			for i := range 300 {
				hash, key, header := w.h.keyOf(page(i))
				w.h.Store.remove(w.h.Store.peek(hash, key, header, &Explanation{}))
			}
			if n := len(w.h.Store.commons.known); n != 0 || w.h.Store.Stats().Bytes != w.h.Store.marksHeld() {
				t.Errorf("%d commons known, %d bytes in an empty store", n, w.h.Store.Stats().Bytes)
			}
		})
	}
}
