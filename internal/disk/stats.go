package disk

import (
	"sync/atomic"
	"time"
)

type counters struct {
	reads, writes, deletes, dropped, reclaimed, reinserted atomic.Int64
	corrupt, errors, timeouts, torn, recovered, openedIn   atomic.Int64
	failing                                                atomic.Bool
}

// Stats is a store at one moment. Counts run from its opening.
type Stats struct {
	Blobs      int64 `json:"blobs"`
	Bytes      int64 `json:"bytes"` // of all segments
	MaxBytes   int64 `json:"max_bytes"`
	IndexBytes int64 `json:"index_bytes"` // memory
	Queued     int64 `json:"queued"`      // bytes that wait to be written
	Segments   int   `json:"segments"`

	// Recovered is how many blobs were found at the opening, which took
	// OpenedIn; Torn how many bytes a crash had left incomplete.
	Recovered int64         `json:"recovered"`
	OpenedIn  time.Duration `json:"opened_in"`
	Torn      int64         `json:"torn"`
	// Newest is the highest stamp that was found or written.
	Newest int64 `json:"-"`

	Reads      int64 `json:"reads"`
	Writes     int64 `json:"writes"`
	Deletes    int64 `json:"deletes"`
	Dropped    int64 `json:"dropped"`    // blobs not written: the queue was full, or the disk failing
	Reclaimed  int64 `json:"reclaimed"`  // segments that made room
	Reinserted int64 `json:"reinserted"` // blobs that outlived theirs
	Corrupt    int64 `json:"corrupt"`
	Errors     int64 `json:"errors"`   // of the file system
	Timeouts   int64 `json:"timeouts"` // reads that took too long

	// Failing: the last write failed. Error is the last fault; empty for none.
	Failing bool   `json:"failing"`
	Error   string `json:"error,omitempty"`
}

// Stats reads the counters.
func (s *Store) Stats() Stats {
	c := &s.counters
	st := Stats{
		MaxBytes: s.maxBytes.Load(), Recovered: c.recovered.Load(), OpenedIn: time.Duration(c.openedIn.Load()), Torn: c.torn.Load(),
		Reads: c.reads.Load(), Writes: c.writes.Load(), Deletes: c.deletes.Load(), Dropped: c.dropped.Load(),
		Reclaimed: c.reclaimed.Load(), Reinserted: c.reinserted.Load(), Corrupt: c.corrupt.Load(),
		Errors: c.errors.Load(), Timeouts: c.timeouts.Load(), Failing: c.failing.Load(),
	}
	if text := s.lastError.Load(); text != nil {
		st.Error = *text
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Blobs, st.IndexBytes = s.index.live, s.index.live*recordCost
	st.Newest = s.newest
	st.Bytes, st.Queued, st.Segments = s.bytes, s.queued, len(s.segments)
	return st
}
