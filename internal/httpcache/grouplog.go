package httpcache

import "encoding/binary"

// What unsafe requests invalidate is kept beside the fence, in its log, but after
// it is applied: a POST waits for the disk as short a while as for the deletion of
// its own URL, and not at all when that hangs. So that nothing else depends on the
// order, each run counts from a number that is above all of the last one's, and in
// the log before anything is stored:
//
//	A: POST raises the sequence to 5   B: a fetch begins, stamped 5
//	A: crashes before 5 is in the log  B: its answer is on disk
//
// In the next run invalidations are above 1<<runShift, and thus after B's answer.
const runShift = 32

// recordGroups makes an invalidation durable, soon. It is called with the groups'
// lock.
func (t *tier) recordGroups(m groupMarking) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.groupMarkings = append(t.groupMarkings, m)
	if t.groupsKept == nil {
		t.groupsKept = make(chan struct{})
	}
	select {
	case t.groupWork <- struct{}{}:
	default: // the keeper knows already
	}
	return t.groupsKept
}

// keepGroups writes the invalidations that wait. It runs on the keeper's
// goroutine, without the fence's ordering, and so never rewrites the log.
func (t *tier) keepGroups() {
	t.mu.Lock()
	all, kept := t.groupMarkings, t.groupsKept
	t.groupMarkings, t.groupsKept = nil, nil
	t.mu.Unlock()
	if len(all) == 0 {
		return
	}
	defer close(kept)
	if err := t.append(encodeGroups(all), t.log.put); err != nil {
		t.settled(err)
	}
}

// tidy rewrites the log when it has grown by much.
func (t *tier) tidy() {
	t.store.fence.ordering.Lock()
	defer t.store.fence.ordering.Unlock()
	_ = t.ask(func() error { // a log that cannot be rewritten is still whole
		if !t.log.log.Due() {
			return nil
		}
		return t.log.rewrite()
	})
}

func encodeGroups(all []groupMarking) []byte {
	b := []byte{frameGroups}
	for _, m := range all {
		b = appendTexts(binary.AppendUvarint(b, m.sequence), m.names)
	}
	return b
}

func (d *decoder) groups() (all []groupMarking) {
	for len(d.rest) > 0 {
		all = append(all, groupMarking{sequence: d.uvarint(), names: d.texts()})
	}
	return all
}

// appendSnapshot encodes the groups: what was invalidated, oldest first.
func (g *groups) appendSnapshot(b []byte) []byte {
	g.mu.RLock()
	defer g.mu.RUnlock()
	b = binary.AppendUvarint(b, g.sequence.Load())
	for _, floor := range g.floors {
		b = binary.AppendUvarint(b, floor)
	}
	keys := g.marks.Keys()
	b = binary.AppendUvarint(b, uint64(len(keys)))
	for _, name := range keys {
		mark, _ := g.marks.Peek(name)
		b = appendPart(binary.AppendUvarint(b, mark.sequence), name)
	}
	return b
}

// decodeGroups reads what appendSnapshot has written.
func (m *memory) decodeGroups(d *decoder) {
	m.groupSequence = d.uvarint()
	for i := range m.groupFloors {
		m.groupFloors[i] = d.uvarint()
	}
	for range d.count(2) {
		m.groups = append(m.groups, groupMarking{sequence: d.uvarint(), names: []string{d.text()}})
	}
}

// restore makes the groups what they were, and begins to count anew above that.
// It is for a store that serves nobody yet.
func (g *groups) restore(m *memory) {
	g.mu.Lock()
	defer g.mu.Unlock()
	last := m.groupSequence
	for i, floor := range m.groupFloors {
		g.floors[i] = max(g.floors[i], floor)
		last = max(last, floor)
	}
	for _, one := range m.groups {
		g.applyLocked(one)
		last = max(last, one.sequence)
	}
	g.sequence.Store((last>>runShift + 1) << runShift)
}
