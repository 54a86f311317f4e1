package httpcache

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// Nothing can be stamped with a generation that the next process would not know.
// Where the system does not say which run it is, a purge is synced first.
func TestAPurgeIsOnDiskBeforeItIsApplied(t *testing.T) {
	for _, boot := range []string{"", "first"} {
		t.Run("boot "+boot, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newDiskWorld(t, lasting)
				defer func() { w.h.Store.Close() }()
				w.h.Store.Close()
				w.boot = boot
				w.begin(t)
				written, synced := 0, 0
				counted := func(n *int) func(string) {
					return func(name string) {
						if *n++; strings.HasSuffix(name, fenceLogName) && w.h.Store.Generation() != uint64(*n-1) {
							t.Errorf("purge %d gets to the disk at generation %d", *n, w.h.Store.Generation())
						}
					}
				}
				w.files.setPace(nil, counted(&written))
				if boot == "" {
					w.files.setSyncing(counted(&synced))
				}
				for range 3 {
					w.h.Store.Purge(Purge{Tags: []string{"a"}})
				}
				w.files.setPace(nil, nil)
				w.files.setSyncing(nil)
				if want := map[string]int{"": 3}[boot]; written != 3 || synced != want || w.h.Store.Generation() != 3 {
					t.Errorf("%d writes, %d syncs, generation %d: want 3, %d, 3", written, synced, w.h.Store.Generation(), want)
				}
			})
		})
	}
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
		if got, want := w.h.Store.fence.snapshot("", "", false), before.snapshot("", "", false); string(got) != string(want) {
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
	f.Add(fence.snapshot("id", "", false), encodeMarking(fence.plan(Purge{Everything: true, Soft: true})))
	fence.groups.invalidate("https://example.com", []string{"a", "b"})
	f.Add(fence.snapshot("id", "boot", false), encodeGroups([]groupMarking{{sequence: 7, names: []string{groupName("https://example.com", "c")}}}))
	f.Add(fence.snapshot("id", "boot", true), encodeNote("pool app", []byte("{}")))
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
		again, err := decodeFrames([][]byte{restored.snapshot(m.id, m.boot, m.ended)})
		if err != nil || again.generation != m.generation || again.floor != restored.floor || again.boot != m.boot || again.ended != m.ended {
			t.Errorf("%+v became %+v, %v", m, again, err)
		}
	})
}
