package disk

// trim keeps to the bound, after it has become smaller. It reports that the
// writer may go on.
func (s *Store) trim() bool {
	s.sweep()
	s.makeRoom(0)
	return !s.paused()
}

// makeRoom removes the oldest segments until n bytes fit.
func (s *Store) makeRoom(n int64) {
	for {
		s.mu.Lock()
		over := s.bytes+n > s.maxBytes.Load() && len(s.segments) > 1
		s.mu.Unlock()
		if !over || !s.reclaim(true) {
			return
		}
	}
}

// reclaim removes the oldest segment. What was read since it was written goes
// to the end of the log first, up to half of the segment, so that it shrinks.
// Without keep it all goes.
func (s *Store) reclaim(keep bool) bool {
	s.mu.Lock()
	oldest := s.segments[0]
	hot := []int32(nil)
	if keep {
		hot = s.hotLocked(oldest)
	}
	s.mu.Unlock()
	kept := make(map[int32]moved, len(hot))
	for _, at := range hot {
		if s.paused() {
			break // the last one failed
		}
		if m, ok := s.move(oldest, at); ok {
			kept[at] = m
		}
	}
	s.mu.Lock()
	for at, m := range kept {
		s.settleLocked(oldest, at, m)
	}
	s.forgetLocked(oldest)
	s.segments = s.segments[1:]
	s.bytes -= oldest.size
	s.mu.Unlock()
	s.counters.reclaimed.Add(1)
	if err := s.unlink(oldest); err != nil {
		s.doubtful = true
		s.failed(err)
		return false
	}
	return s.sweep()
}

// hotLocked are the slots of a segment that were read since they were written.
func (s *Store) hotLocked(g *segment) (hot []int32) {
	budget := g.size / 2
	for _, at := range g.slots {
		one := &s.index.slots[at]
		if one.used && one.hit && one.segment == g.id && int64(one.size) <= budget {
			one.hit = false // also against a slot that is listed twice
			budget -= int64(one.size)
			hot = append(hot, at)
		}
	}
	return hot
}

// moved is a record's new place.
type moved struct {
	from uint32
	to   *segment
	at   placed
}

// move copies a record to the end of the log. That it is counted twice for a
// moment, and the bound passed by as much, is the price of never being without.
func (s *Store) move(oldest *segment, at int32) (moved, bool) {
	s.mu.Lock()
	one := s.index.slots[at]
	if !one.used || one.segment != oldest.id {
		s.mu.Unlock()
		return moved{}, false
	}
	r := Ref{Key: one.key, Variant: one.variant, Stamp: one.stamp, segment: one.segment, offset: one.offset}
	label := s.index.labels[one.label]
	s.mu.Unlock()
	meta, body, err := s.readNow(r)
	if err != nil {
		return moved{}, false // it goes with its segment
	}
	h := head{
		kind: one.kind(), flags: one.flags, key: one.key, variant: one.variant, stamp: one.stamp, label: label,
		meta: uint32(len(meta)), body: uint32(len(body)), sum: checksum(meta, body),
	}
	g, p, err := s.appendTo(h, meta, [][]byte{body})
	if err != nil {
		s.failed(err)
		return moved{}, false
	}
	return moved{from: one.offset, to: g, at: p}, true
}

// settleLocked points a slot to the record's new place, unless the blob has
// been deleted meanwhile: then the deletion is written after it.
func (s *Store) settleLocked(oldest *segment, at int32, m moved) {
	one := &s.index.slots[at]
	if !one.used || one.segment != oldest.id || one.offset != m.from {
		return
	}
	one.segment, one.offset = m.to.id, m.at.offset
	m.to.slots = append(m.to.slots, at)
	s.counters.reinserted.Add(1)
}
