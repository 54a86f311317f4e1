package httpcache

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// Members of groups and parts are read back as they were.
func TestWhatIsReadBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for name, c := range map[string]struct{ fields, ask []string }{
			"a whole answer":           {},
			"a member of cache groups": {fields: []string{`Cache-Groups: "b", "a", "b", ""`}},
			"a part of it":             {ask: []string{"Range: bytes=5-9"}},
			"a part of a member":       {[]string{`Cache-Groups: "a"`}, []string{"Range: bytes=0-4"}},
		} {
			w := newWorld(t)
			w.origin.answer = file(alphabet, `"a"`, append(c.fields, minute)...)
			w.get(site, c.ask...)
			hash, key, request := w.h.keyOf(site)
			e := w.h.Store.peek(hash, key, request, &Explanation{})
			if len(c.ask) > 0 {
				e = w.h.Store.peekPart(hash, key, request)
			}
			meta, content := e.appendMeta(nil), bytes.Join(e.chunks(), nil)
			got, err := decodeEntry(meta, bodyOf(content))
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if again := got.appendMeta(nil); !bytes.Equal(again, meta) || !bytes.Equal(bytes.Join(got.chunks(), nil), content) || got.isPart() != e.isPart() {
				t.Errorf("%s: read as %q %q", name, again, got.chunks())
			}
			for n := range meta {
				if _, err := decodeEntry(meta[:n], bodyOf(content)); err == nil {
					t.Errorf("%s: %d of %d bytes will do", name, n, len(meta))
				}
			}
			if len(c.ask) > 0 {
				if _, err := decodeEntry(meta, bodyOf(content[1:])); err == nil {
					t.Errorf("%s: less than its pieces will do", name)
				}
			}
		}
	})
}

// No restart brings back a member of a group that was invalidated before, and
// none gives up what was stored since.
func TestGroupsHoldOverRestarts(t *testing.T) {
	for how, end := range map[string]func(*diskWorld, *testing.T) DiskFound{"crash": (*diskWorld).crash, "restart": (*diskWorld).restart} {
		for name, marks := range map[string]int{"": maxMarks, ", too many groups": 2} {
			t.Run(how+name, func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					w := newDiskWorld(t, lasting, `Cache-Groups: "news"`)
					defer func() { w.h.Store.Close() }()
					w.h.Store.Close()
					w.h = &Handler{Store: newStore(Options{}, marks)}
					w.open(t)
					w.get(site).wants(t, StatusMiss, 200, "hello")
					w.get("http://example.com/other").wants(t, StatusMiss, 200, "hello")
					w.written()
					end(w, t)
					w.get(site).wants(t, StatusHit, 200, "hello")
					w.post("http://example.com/post", `"news", "x", "y", "z"`)
					w.origin.answer = respond(200, "new", lasting, `Cache-Groups: "news"`)
					w.get(site).wants(t, StatusMiss, 200, "new")
					w.written()
					for range 3 {
						if found := end(w, t); !found.Warm {
							t.Fatal("cold")
						}
						w.get(site).wants(t, StatusHit, 200, "new")
					}
					w.get("http://example.com/other").wants(t, StatusMiss, 200, "new")
					w.post("http://example.com/post", `"news"`)
					w.origin.answer = respond(200, "newer", lasting, `Cache-Groups: "news"`)
					end(w, t)
					w.get(site).wants(t, StatusMiss, 200, "newer")
				})
			})
		}
	}
}

// A disk that hangs does not keep whoever POSTs for long, and a log of many
// invalidations is written afresh.
func TestGroupsAndTheirLog(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newDiskWorld(t, lasting)
		defer func() { w.h.Store.Close() }()
		release := make(chan struct{})
		w.files.setSyncing(func(name string) {
			if strings.HasSuffix(name, fenceLogName) {
				<-release
			}
		})
		start := time.Now()
		w.post("http://example.com/post", `"news"`)
		if took := time.Since(start); took > deletePatience {
			t.Errorf("a POST took %v", took)
		}
		close(release)
		w.files.setSyncing(nil)
		long := strings.Repeat("n", 1000)
		for range 5000 {
			w.post("http://example.com/post", `"`+long+`"`)
		}
		before := len(w.files.file(fenceLogName).Data)
		wait(revivePause)
		w.settled()
		if after := len(w.files.file(fenceLogName).Data); after > 16<<10 || before < 1<<20 {
			t.Errorf("%d bytes of log, %d before: want it written afresh", after, before)
		}
		if !w.crash(t).Warm {
			t.Error("cold")
		}
	})
}

// Parts are there after a restart, completed and purged as before.
func TestPartsHoldOverRestarts(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newDiskWorld(t)
		defer func() { w.h.Store.Close() }()
		w.origin.answer = file(alphabet, `"a"`, lasting, "Cache-Tag: letters")
		w.get(site, "Range: bytes=0-4").wants(t, StatusMiss, 206, "abcde")
		w.get(site, "Range: bytes=10-14").wants(t, StatusMiss, 206, "klmno")
		w.written()
		w.crash(t)
		w.get(site, "Range: bytes=1-3").wants(t, StatusHit, 206, "bcd")
		w.get(site, "Range: bytes=10-14").wants(t, StatusHit, 206, "klmno")
		w.crash(t)
		w.get(site).wants(t, StatusMiss, 200, alphabet)
		if asked := w.origin.lastAsked().Get("Range"); asked != "bytes=5-" {
			t.Errorf("asked for %q: want the rest", asked)
		}
		w.written()
		w.crash(t)
		w.get(site, "Range: bytes=5-9").wants(t, StatusHit, 206, "fghij")
		w.get(site).wants(t, StatusHit, 200, alphabet)
		w.h.Store.Purge(Purge{Tags: []string{"letters"}})
		w.get(site, "Range: bytes=20-").wants(t, StatusMiss, 206, "uvwxyz")
		w.written()
		w.h.Store.Purge(Purge{Tags: []string{"letters"}})
		w.crash(t)
		w.get(site, "Range: bytes=20-").wants(t, StatusMiss, 206, "uvwxyz")
		// Of another answer than the whole that was stored: that is outdated.
		w.get(site).wants(t, StatusMiss, 200, alphabet)
		wait(2 * time.Hour)
		w.origin.answer = file(strings.ToUpper(alphabet), `"b"`, lasting)
		w.get(site, "Range: bytes=0-1").wants(t, StatusMiss, 206, "AB")
		w.written()
		w.crash(t)
		w.origin.answer = down
		if got := w.get(site); got.err == nil {
			t.Errorf("%s %q: want the old answer gone", got.Status, got.Body)
		}
	})
}
