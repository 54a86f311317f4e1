package disk

import (
	"testing"
	"testing/synctest"
	"time"
)

// Whoever deletes what somebody else has deleted waits for the same record: until it is
// written a crash would bring the blob back to both.
func TestADeletionIsWaitedForByAllWhoDelete(t *testing.T) {
	for name, again := range map[string]func(*Store) <-chan struct{}{
		"the blob":       func(s *Store) <-chan struct{} { return s.Delete(keyOf("a"), 0) },
		"all of its key": func(s *Store) <-chan struct{} { return s.DeleteAll(keyOf("a")) },
		"at the very last": func(s *Store) <-chan struct{} {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.closed = true
			return s.deleteLocked(keyOf("a"), 0, true)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				files := new(faulty)
				s, err := Open(Options{Dir: t.TempDir(), MaxBytes: 16 << 20, FS: files})
				if err != nil {
					t.Fatal(err)
				}
				s.Put(putOf("a", 0, 5))
				s.Flush()
				files.set(func(f *faulty) { f.writing = errIO })
				s.Delete(keyOf("a"), 0)
				synctest.Wait()
				done := again(s)
				select {
				case <-done:
					t.Error("the second is told that it is written, which it is not")
				default:
				}
				if done == nil {
					t.Error("the second need not wait, though nothing is written")
				}
				files.set(func(f *faulty) { f.writing = nil })
				time.Sleep(2 * writePause)
				synctest.Wait()
				select {
				case <-done:
				default:
					t.Error("the second is not told when it is written")
				}
				s.mu.Lock()
				s.closed = false
				s.mu.Unlock()
				if s.Delete(keyOf("a"), 0) != nil {
					t.Error("a deletion of what is gone for good is waited for")
				}
				s.Close()
			})
		})
	}
}

// What the index has forgotten, but the log has not, is deleted all the same. Else it
// would be back after the next start.
func TestWhatTheIndexForgotIsDeleted(t *testing.T) {
	unreadable := func(t *testing.T, s *Store, files *faulty) string {
		s.Put(putOf("a", 0, 5))
		s.Flush()
		files.set(func(f *faulty) { f.reading = errIO })
		if _, _, err := s.Read(t.Context(), s.Find(keyOf("a"))[0]); err == nil {
			t.Fatal("the disk fails, and a blob is read")
		}
		files.set(func(f *faulty) { f.reading = nil })
		return "a"
	}
	noRoom := func(_ *testing.T, s *Store, _ *faulty) string {
		for i := range 17 { // the index has room for 16
			s.Put(putOf(numbered(i), 0, int64(i+1)))
		}
		s.Flush()
		return numbered(16)
	}
	madeRoom := func(_ *testing.T, s *Store, _ *faulty) string {
		for i := range 16 {
			s.Put(putOf(numbered(i), 0, int64(i+1)))
		}
		s.Put(bulky("the first of another segment", int(s.segmentSize())-1<<10))
		s.Flush()
		return numbered(1)
	}
	for name, forget := range map[string]func(*testing.T, *Store, *faulty) string{
		"could not be read": unreadable, "no room in the index": noRoom, "gave its room to another": madeRoom,
	} {
		for _, deleted := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				files := new(faulty)
				dir := t.TempDir()
				s := open(t, Options{Dir: dir, MaxBytes: 16 << 20, MaxIndex: 16 * recordCost, FS: files})
				blob := forget(t, s, files)
				if len(s.Find(keyOf(blob))) > 0 {
					t.Fatal("the index knows it")
				}
				if deleted {
					if done := s.DeleteAll(keyOf(blob)); done == nil {
						t.Fatal("nothing is written")
					} else {
						<-done
					}
				}
				again := open(t, small(crashed(t, dir)))
				if got := len(again.Find(keyOf(blob))) == 0; got != deleted {
					t.Errorf("after a crash: gone is %v, deleted was %v", got, deleted)
				}
			})
		}
	}
}
