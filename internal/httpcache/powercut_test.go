package httpcache

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
)

// What was purged does not come back however much of the disk is as it was a
// while ago; and with nothing that says whether the system was down, a purge is
// synced, so that the rest may stay.
func TestAPowerCutBringsNothingBack(t *testing.T) {
	for _, boot := range []string{"first", ""} {
		t.Run("boot "+boot, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				kept, cut := 0, 0
				for seed := range uint64(60) {
					w := newDiskWorld(t, lasting, "Cache-Tag: news")
					w.h.Store.Close()
					w.boot = boot
					w.begin(t)
					w.get(site).wants(t, StatusMiss, 200, "hello")
					w.get(site+"/b").wants(t, StatusMiss, 200, "hello")
					w.written()
					wait(2 * syncPause)
					w.h.Store.Purge(Purge{URLs: []string{site}})
					if found := w.powerCut(t, rand.New(rand.NewPCG(seed, 1))); found.Warm != (boot == "") {
						t.Errorf("seed %d: warm %v", seed, found.Warm)
					} else if found.Unsynced {
						cut++
					}
					w.origin.answer = respond(200, "new", lasting)
					w.get(site).wants(t, StatusMiss, 200, "new")
					if got := w.get(site + "/b"); got.Status == StatusHit {
						kept++
					}
					w.h.Store.Close()
				}
				if boot == "" && kept == 0 || boot != "" && (kept > 0 || cut == 0) {
					t.Errorf("%d of 60 answers kept, %d starts that say why not", kept, cut)
				}
			})
		})
	}
}

// An end in order is as good as none: the next run of the system is warm. That
// holds for the one start that follows it.
func TestAnEndInOrderOutlivesTheSystem(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newDiskWorld(t, lasting, "Cache-Tag: news")
		defer func() { w.h.Store.Close() }()
		w.get(site).wants(t, StatusMiss, 200, "hello")
		w.get(site+"/b").wants(t, StatusMiss, 200, "hello")
		w.h.Store.Purge(Purge{URLs: []string{site}})
		w.do("POST", site+"/c")
		generation := w.h.Store.Generation()
		random := rand.New(rand.NewPCG(1, 2))
		w.h.Store.Close()
		w.files, w.boot = w.files.cutOff(random), "second"
		if found := w.begin(t); !found.Warm || found.Unsynced || found.Generation != generation {
			t.Fatalf("%+v: want it warm, at %d", found, generation)
		}
		w.get(site+"/b").wants(t, StatusHit, 200, "hello")
		w.origin.answer = respond(200, "new", lasting)
		w.get(site).wants(t, StatusMiss, 200, "new")
		w.written()
		if found := w.powerCut(t, random); found.Warm || !found.Unsynced {
			t.Fatalf("%+v: want it cold, and why", found)
		}
		w.get(site+"/b").wants(t, StatusMiss, 200, "new")
	})
}

// Whatever could not be synced, the end does not say that it was.
func TestAnEndThatIsNotSyncedIsNone(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newDiskWorld(t, lasting)
		defer func() { w.h.Store.Close() }()
		w.get(site).wants(t, StatusMiss, 200, "hello")
		w.written()
		w.files.failSyncs(errors.New("input/output error"))
		w.h.Store.Close()
		w.files.failSyncs(nil)
		if found := w.begin(t); !found.Warm {
			t.Fatalf("%+v: want it warm, in the same run of the system", found)
		}
		w.files.failSyncs(errors.New("input/output error"))
		w.h.Store.Close()
		w.files.failSyncs(nil)
		w.boot = "second"
		if found := w.begin(t); found.Warm || !found.Unsynced {
			t.Fatalf("%+v: want it cold, in the next one", found)
		}
	})
}

// A purge that was acknowledged, and then could not be synced, may be missing when
// it is read again: everything on disk is given up.
func TestAPurgeThatCannotBeSyncedEmptiesTheDisk(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newDiskWorld(t, lasting)
		defer func() { w.h.Store.Close() }()
		w.get(site).wants(t, StatusMiss, 200, "hello")
		w.get(site+"/b").wants(t, StatusMiss, 200, "hello")
		w.written()
		w.files.failSyncs(errors.New("input/output error"))
		w.h.Store.Purge(Purge{URLs: []string{site}})
		if err := w.h.Store.DiskFault(); err != nil || !w.h.Store.Stats().Disk.Serving {
			t.Errorf("%v: want the purge acknowledged, and the disk in use", err)
		}
		wait(2 * syncPause)
		w.settled()
		if w.h.Store.Stats().Disk.Serving {
			t.Error("a disk that lost a purge is in use")
		}
		w.files.failSyncs(nil)
		if found := w.crash(t); found.Warm {
			t.Errorf("%+v: want it cold", found)
		}
		w.origin.answer = respond(200, "new", lasting)
		w.get(site).wants(t, StatusMiss, 200, "new")
	})
}

// Purges that come at once are synced together, and none waits for another's sync.
func TestPurgesDoNotWaitForSyncs(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newDiskWorld(t, lasting)
		defer func() { w.h.Store.Close() }()
		syncing, goOn := make(chan struct{}, 100), make(chan struct{})
		w.files.setSyncing(func(string) { syncing <- struct{}{}; <-goOn })
		for i := range 50 {
			w.h.Store.Purge(Purge{Tags: []string{fmt.Sprint(i)}})
		}
		<-syncing
		for i := range 50 {
			w.h.Store.Purge(Purge{Tags: []string{fmt.Sprint(i)}})
		}
		if got := w.h.Store.Generation(); got != 100 || len(syncing) > 0 {
			t.Errorf("%d purges, %d more syncs: want 100, and one", got, len(syncing))
		}
		close(goOn)
		wait(2 * syncPause)
		w.settled()
		if len(syncing) != 1 {
			t.Errorf("%d syncs of what came meanwhile: want one", len(syncing))
		}
		w.files.setSyncing(nil)
	})
}

// What the version before has written was synced, whatever came of the system.
func TestARecordWithoutBootsIsTakenUp(t *testing.T) {
	fence := newFence(10, new(atomic.Int64))
	fence.purge(Purge{Tags: []string{"a"}})
	head := append(appendPart(appendPart([]byte{frameFence, fenceVersion}, "id"), ""), 0)
	rest := fence.snapshot("id", "", false)[len(head):]
	before := append(appendPart([]byte{frameFence, withoutBoots}, "id"), rest...)
	m, err := decodeFrames([][]byte{before})
	if err != nil || m.id != "id" || m.generation != 1 || len(m.keys) != 1 || !m.outlives("any") || !m.outlives("") {
		t.Errorf("%+v, %v", m, err)
	}
	for _, version := range []byte{withoutBoots - 1, fenceVersion + 1} {
		before[1] = version
		if _, err := decodeFrames([][]byte{before}); err == nil {
			t.Errorf("version %d is taken for one of ours", version)
		}
	}
}

func TestWhatOutlivesTheSystem(t *testing.T) {
	for name, c := range map[string]struct {
		m    memory
		boot string
		want bool
	}{
		"the same run":                       {memory{boot: "a"}, "a", true},
		"another run":                        {memory{boot: "a"}, "b", false},
		"another run, after an end":          {memory{boot: "a", ended: true}, "b", true},
		"a run without a name":               {memory{boot: "a"}, "", false},
		"a run without a name, after an end": {memory{boot: "a", ended: true}, "", true},
		"all was synced":                     {memory{}, "b", true},
		"all was synced, nothing has names":  {memory{}, "", true},
	} {
		if got := c.m.outlives(c.boot); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
