package httpcache

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// Nothing can be stamped with a generation that the next process would not know.
func TestAPurgeIsOnDiskBeforeItIsApplied(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newDiskWorld(t, lasting)
		defer func() { w.h.Store.Close() }()
		synced := 0
		w.files.syncing = func(name string) {
			if strings.Contains(name, fenceLogName) {
				synced++
				if got := w.h.Store.Generation(); got != uint64(synced-1) {
					t.Errorf("purge %d is synced at generation %d", synced, got)
				}
			}
		}
		for range 3 {
			w.h.Store.Purge(Purge{Tags: []string{"a"}})
		}
		w.files.syncing = nil
		if synced != 3 || w.h.Store.Generation() != 3 {
			t.Errorf("%d syncs, generation %d", synced, w.h.Store.Generation())
		}
	})
}

// The log stays as small as the fence, and the fence it keeps is the same.
func TestTheFenceLogIsBounded(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newDiskWorld(t)
		defer func() { w.h.Store.Close() }()
		w.h.Store.Close()
		w.h.Store = newStore(Options{}, 50)
		w.open(t)
		long := strings.Repeat("x", 1000)
		for i := range 5000 {
			w.h.Store.Purge(Purge{Tags: []string{long + strconv.Itoa(i)}, Prefixes: []string{"example.com/" + strconv.Itoa(i%9)}, Soft: i%2 == 0})
		}
		if size := len(w.files.file(fenceLogName).Data); size > 3<<20 {
			t.Errorf("%d bytes for 50 marks", size)
		}
		before := w.h.Store.fence
		w.files = w.files.crashed()
		w.h.Store.Close()
		w.h.Store = newStore(Options{}, 50)
		if !w.open(t).Warm {
			t.Fatal("cold")
		}
		before.groups.sequence.Store(w.h.Store.fence.groups.sequence.Load()) // each run has its own
		if got, want := w.h.Store.fence.snapshot(""), before.snapshot(""); string(got) != string(want) {
			t.Error("another fence after a restart")
		}
		if fmt.Sprint(before.lengths, before.sorted) != fmt.Sprint(w.h.Store.fence.lengths, w.h.Store.fence.sorted) {
			t.Error("other lengths of prefixes")
		}
	})
}

func FuzzDecodeFence(f *testing.F) {
	fence := newFence(10, new(atomic.Int64))
	fence.purge(Purge{Tags: []string{"a"}, Prefixes: []string{"example.com/b"}})
	f.Add(fence.snapshot("id"), encodeMarking(fence.plan(Purge{Everything: true, Soft: true})))
	fence.groups.invalidate("https://example.com", []string{"a", "b"})
	f.Add(fence.snapshot("id"), encodeGroups([]groupMarking{{sequence: 7, names: []string{groupName("https://example.com", "c")}}}))
	f.Add(fence.snapshot("id"), encodeNote("pool app", []byte("{}")))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		m, err := decodeFrames([][]byte{first, second})
		if err != nil {
			return
		}
		restored := newFence(1000, new(atomic.Int64))
		restored.restore(m)
		if restored.generation.Load() != m.generation {
			t.Errorf("generation %d, want %d", restored.generation.Load(), m.generation)
		}
		again, err := decodeFrames([][]byte{restored.snapshot(m.id)})
		if err != nil || again.generation != m.generation || again.floor != restored.floor {
			t.Errorf("%+v became %+v, %v", m, again, err)
		}
	})
}
