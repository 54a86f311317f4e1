package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

var errIO = errors.New("input/output error")

// told collects events.
type told struct {
	mu    sync.Mutex
	kinds map[EventKind]int
}

func (l *told) event(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kinds == nil {
		l.kinds = make(map[EventKind]int)
	}
	l.kinds[e.Kind]++
}

func (l *told) count(kind EventKind) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kinds[kind]
}

// While the disk fails blobs are dropped and nobody waits; what was to be
// replaced or deleted stays away; afterwards everything works again.
func TestWritesFailForAWhile(t *testing.T) {
	for name, fault := range map[string]error{"full": syscall.ENOSPC, "broken": errIO} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				files, events := new(faulty), new(told)
				dir := t.TempDir()
				s, err := Open(Options{Dir: dir, MaxBytes: 16 << 20, FS: files, Event: events.event})
				if err != nil {
					t.Fatal(err)
				}
				s.Put(putOf("a", 0, 5))
				s.Put(putOf("b", 0, 5))
				s.Put(putOf("c", 0, 5))
				s.Flush()
				files.set(func(f *faulty) { f.writing = fault })
				s.Put(putOf("a", 0, 6))
				synctest.Wait()
				deleted := s.Delete(keyOf("b"), 0)
				s.Put(putOf("d", 0, 5))
				synctest.Wait()
				for name, want := range map[string]int64{"a": 0, "b": 0, "c": 5, "d": 0} {
					if got := stampOf(t, s, name, 0); got != want {
						t.Errorf("%s while writes fail: stamp %d, want %d", name, got, want)
					}
				}
				if st := s.Stats(); !st.Failing || st.Errors == 0 || st.Dropped != 2 || st.Error == "" || events.count(EventWriteFailed) == 0 {
					t.Errorf("not shown: %+v", st)
				}
				select {
				case <-deleted:
					t.Error("a deletion that is not written is reported as written")
				default:
				}
				files.set(func(f *faulty) { f.writing = nil })
				time.Sleep(2 * writePause)
				synctest.Wait()
				<-deleted
				s.Put(putOf("d", 0, 7))
				s.Close()
				if s.Stats().Failing || events.count(EventRecovered) == 0 {
					t.Error("still failing")
				}
				again, err := Open(small(dir))
				if err != nil {
					t.Fatal(err)
				}
				defer again.Close()
				for name, want := range map[string]int64{"a": 0, "b": 0, "c": 5, "d": 7} {
					if got := stampOf(t, again, name, 0); got != want {
						t.Errorf("%s after a restart: stamp %d, want %d", name, got, want)
					}
				}
			})
		})
	}
}

// A disk that others fill gets space from us.
func TestAFullDiskShrinksTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := new(faulty)
		s, err := Open(Options{Dir: t.TempDir(), MaxBytes: 16 << 20, FS: files})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		for i := range 500 {
			s.Put(bulky(numbered(i), 16<<10))
			s.Flush()
		}
		before := s.Stats().Bytes
		files.set(func(f *faulty) { f.writing = syscall.ENOSPC })
		for i := range 20 {
			s.Put(bulky(numbered(1000+i), 16<<10))
			time.Sleep(writePause)
		}
		if after := s.Stats().Bytes; after > before/2 {
			t.Errorf("%d bytes of %d are still taken", after, before)
		}
	})
}

func TestNoNewSegmentCanBeOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		files := &faulty{opening: os.ErrPermission}
		s, err := Open(Options{Dir: t.TempDir(), MaxBytes: 16 << 20, FS: files})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		s.Put(putOf("a", 0, 5))
		synctest.Wait()
		files.set(func(f *faulty) { f.opening = nil })
		time.Sleep(2 * writePause)
		s.Put(putOf("a", 0, 6))
		s.Flush()
		if got := stampOf(t, s, "a", 0); got != 6 {
			t.Errorf("stamp %d, want 6", got)
		}
	})
}

func TestReadsFail(t *testing.T) {
	files, events := new(faulty), new(told)
	s := open(t, Options{Dir: t.TempDir(), MaxBytes: 16 << 20, FS: files, Event: events.event})
	s.Put(putOf("a", 0, 5))
	s.Flush()
	files.set(func(f *faulty) { f.reading = errIO })
	r := s.Find(keyOf("a"))[0]
	if _, _, err := s.Read(context.Background(), r); !errors.Is(err, errIO) {
		t.Fatalf("error %v, want %v", err, errIO)
	}
	if s.Has(r) || events.count(EventReadFailed) != 1 || s.Stats().Errors != 1 {
		t.Errorf("a blob that cannot be read is still offered, or nobody was told: %+v", s.Stats())
	}
}

// A disk that hangs costs each of the first a second, then nobody anything.
func TestReadsHang(t *testing.T) {
	files := new(faulty)
	s := open(t, Options{Dir: t.TempDir(), MaxBytes: 16 << 20, FS: files})
	s.Put(putOf("a", 0, 5))
	s.Flush()
	hang := make(chan struct{})
	files.set(func(f *faulty) { f.hang = hang })
	r := s.Find(keyOf("a"))[0]
	var all sync.WaitGroup
	for range 2 * maxReads {
		all.Go(func() {
			if _, _, err := s.Read(context.Background(), r); !errors.Is(err, errBusy) {
				t.Errorf("error %v, want %v", err, errBusy)
			}
		})
	}
	all.Wait()
	quickest := readPatience // on a machine that may be busy
	for range 5 {
		start := time.Now()
		if _, _, err := s.Read(context.Background(), r); !errors.Is(err, errBusy) {
			t.Errorf("error %v, want %v", err, errBusy)
		}
		quickest = min(quickest, time.Since(start))
	}
	if quickest > readPatience/2 {
		t.Errorf("%s: want it at once", quickest)
	}
	files.set(func(f *faulty) { f.hang = nil })
	close(hang)
	s.readersUntil.Store(0)
	if got := stampOf(t, s, "a", 0); got != 5 {
		t.Errorf("stamp %d, want 5: slowness is no reason to forget a blob", got)
	}
}

func TestWhoeverLeavesDoesNotWait(t *testing.T) {
	files := new(faulty)
	s := open(t, Options{Dir: t.TempDir(), MaxBytes: 16 << 20, FS: files})
	s.Put(putOf("a", 0, 5))
	s.Flush()
	hang := make(chan struct{})
	defer close(hang)
	files.set(func(f *faulty) { f.hang = hang })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := s.Read(ctx, s.Find(keyOf("a"))[0]); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

// Writers, deleters, readers and a bound that makes segments go, all at once:
// nothing wrong is ever read, and nothing that was deleted.
func TestEverythingAtOnce(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir, MaxBytes: 8 << 20})
	const names = 20
	var deleted [names]atomic.Int64 // stamps up to this one are gone
	var stamps atomic.Int64
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			for i := range 1500 {
				n := (i*7 + w) % names
				name := numbered(n)
				switch i % 5 {
				case 0:
					upTo := deleted[n].Load()
					for _, r := range s.Find(keyOf(name)) {
						if r.Stamp <= upTo {
							t.Errorf("%q: stamp %d is back after a deletion of all up to %d", name, r.Stamp, upTo)
						}
					}
					stampOf(t, s, name, uint64(i%3))
				case 1:
					s.Put(bulky(fmt.Sprint("filler ", w, i), 20<<10))
				case 2:
					if n%4 != w { // one deleter for each name
						continue
					}
					now := stamps.Load()
					s.DeleteAll(keyOf(name))
					for _, r := range s.Find(keyOf(name)) {
						now = min(now, r.Stamp-1) // put since
					}
					for old := deleted[n].Load(); old < now && !deleted[n].CompareAndSwap(old, now); old = deleted[n].Load() {
					}
				default:
					if n%4 == w { // and one writer
						s.Put(putOf(name, uint64(i%3), stamps.Add(1)))
					}
				}
			}
		})
	}
	all.Wait()
	s.Flush()
	last := map[string]int64{}
	for n := range names {
		for v := range uint64(3) {
			last[fmt.Sprint(n, v)] = stampOf(t, s, numbered(n), v)
		}
	}
	again := open(t, Options{Dir: crashed(t, dir), MaxBytes: 8 << 20})
	for n := range names {
		for v := range uint64(3) {
			if got := stampOf(t, again, numbered(n), v); got != last[fmt.Sprint(n, v)] {
				t.Errorf("%d %d: stamp %d after a crash, %d before", n, v, got, last[fmt.Sprint(n, v)])
			}
		}
	}
}

// Close says whether the end of the system could undo a deletion.
func TestCloseSaysWhatIsDurable(t *testing.T) {
	for name, c := range map[string]struct {
		during, closing error // what syncs come to
		want            bool
	}{
		"all is well":               {nil, nil, true},
		"the last sync failed":      {nil, errIO, false},
		"a sync has failed earlier": {errIO, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				files := new(faulty)
				s, err := Open(Options{Dir: t.TempDir(), MaxBytes: 16 << 20, FS: files})
				if err != nil {
					t.Fatal(err)
				}
				s.Put(putOf("a", 0, 5))
				s.Put(putOf("b", 0, 5))
				s.Flush()
				files.set(func(f *faulty) { f.syncing = c.during })
				<-s.Delete(keyOf("a"), 0)
				synctest.Wait() // until it has been synced, or not
				files.set(func(f *faulty) { f.syncing = c.closing })
				if got := s.Close(); got != c.want {
					t.Errorf("%v, want %v", got, c.want)
				}
				if s.Close() {
					t.Error("a second Close knows of the first one")
				}
			})
		})
	}
}
