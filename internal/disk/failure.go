package disk

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

const (
	// writePause is how long nothing is written after a failure.
	writePause = 5 * time.Second
	// closePatience is how long Close goes on writing what waits.
	closePatience = 5 * time.Second
)

// paused: writing has failed a moment ago.
func (s *Store) paused() bool { return time.Now().UnixNano() < s.pausedUntil.Load() }

// failed pauses the writing.
func (s *Store) failed(err error) {
	s.counters.errors.Add(1)
	s.pausedUntil.Store(time.Now().Add(writePause).UnixNano())
	s.counters.failing.Store(true)
	s.tell(Event{Kind: EventWriteFailed, Err: err, Detail: fmt.Sprintf("nothing is written for %s", writePause)})
}

// isFull reports that there is no space left for us.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// giveWay leaves the space of the oldest segment to whoever filled the disk,
// and to deletions that must be written.
func (s *Store) giveWay() {
	s.mu.Lock()
	several := len(s.segments) > 1
	s.mu.Unlock()
	if several {
		s.reclaim(false)
	}
}

// save syncs deletions, so that a power cut does not undo them.
func (s *Store) save() {
	s.unsaved = false
	if last := s.last(); last != nil {
		if err := last.file.Sync(); err != nil {
			s.unsaved, s.doubtful = true, true
			s.failed(err)
			return
		}
	}
	s.works()
}

// works notes that writing works.
func (s *Store) works() {
	if s.counters.failing.CompareAndSwap(true, false) {
		s.tell(Event{Kind: EventRecovered})
	}
}

// finish writes what waits and seals the last segment, so that the next start
// need not look for its records.
func (s *Store) finish() {
	s.pausedUntil.Store(0) // once more
	for until := time.Now().Add(closePatience); time.Now().Before(until) && s.next(); {
	}
	s.mu.Lock()
	rest := s.queue
	s.queue, s.pending, s.deleting = nil, nil, nil
	s.mu.Unlock()
	s.giveUp(rest)
	if last := s.last(); last != nil && !last.sealed && len(last.table) > 0 {
		if _, err := last.seal(); err != nil {
			s.doubtful = true
			s.failed(err)
		}
	}
}

// giveUp writes the deletions of what there is no time to write: a blob that
// was to be replaced must not come back.
func (s *Store) giveUp(rest []*op) {
	var err error
	for _, o := range rest {
		s.mu.Lock()
		outdated := o.kind != kindPut || !o.canceled && s.index.find(o.put.Key, o.put.Variant) != noSlot
		s.mu.Unlock()
		if outdated && err == nil {
			err = s.do(&op{kind: max(o.kind, kindDelete), put: Put{Key: o.put.Key, Variant: o.put.Variant}})
		}
		if o.put.Written != nil {
			o.put.Written.Abandon()
		}
		if o.done != nil {
			close(o.done)
		}
	}
	if err != nil {
		s.doubtful = true
		s.failed(err)
	}
}
