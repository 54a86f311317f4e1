package httpcache

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"github.com/edgegw/edge/internal/disk"
)

// fenceLog keeps the fence where restarts find it, beside the answers that it
// judges. A frame of its file is a snapshot, which is the first one and the
// only one of its kind; a marking; or a note, the latest of each name counting.
// The file is whole or it is nothing: then every answer on disk is given up.
type fenceLog struct {
	log   *disk.Log
	fence *fence
	// id names what the folder holds, from one cold start to the next.
	id    string
	notes map[string][]byte
}

const (
	fenceLogName = "fence.log"
	frameFence   = 'F'
	frameMarking = 'M'
	frameNote    = 'N'
	frameGroups  = 'G'
	// fenceVersion follows frameFence.
	fenceVersion = 2
)

// memory is what a fence log says.
type memory struct {
	id         string
	generation uint64
	floor      barrier
	keys       []string // of marks, oldest first
	barriers   []barrier
	markings   []marking
	notes      map[string][]byte

	groupSequence uint64
	groupFloors   [groupFloors]uint64
	groups        []groupMarking
}

// openFenceLog reads the log in a folder; nothing is remembered when there is
// none, or it is damaged.
func openFenceLog(dir string, files disk.FS, f *fence) (*fenceLog, *memory, error) {
	log, frames, intact, err := disk.ReadLog(dir, fenceLogName, files)
	if err != nil {
		return nil, nil, err
	}
	l := &fenceLog{log: log, fence: f, notes: make(map[string][]byte)}
	if !intact {
		return l, nil, nil
	}
	m, err := decodeFrames(frames)
	if err != nil {
		return l, nil, nil // as good as damaged
	}
	return l, m, nil
}

// begin writes the log afresh. The fence's ordering is held.
func (l *fenceLog) begin(id string) error {
	l.id = id
	return l.rewrite()
}

// rewrite replaces the log by the fence as it is. The fence's ordering is held:
//
//	A: purge is appended          B: a note makes the log be rewritten
//	A: purge is applied           B: from a fence without the purge
func (l *fenceLog) rewrite() error {
	frames := [][]byte{l.fence.snapshot(l.id)}
	for _, name := range slices.Sorted(maps.Keys(l.notes)) {
		frames = append(frames, encodeNote(name, l.notes[name]))
	}
	return l.log.Rewrite(frames...)
}

// add makes a frame durable. The fence's ordering is held.
func (l *fenceLog) add(frame []byte) error {
	if l.log.Due() {
		if err := l.rewrite(); err != nil {
			return err
		}
	}
	return l.log.Append(frame)
}

// snapshot encodes a fence.
func (f *fence) snapshot(id string) []byte {
	f.mu.RLock()
	defer f.mu.RUnlock()
	b := appendPart([]byte{frameFence, fenceVersion}, id)
	b = binary.AppendUvarint(b, f.generation.Load())
	b = appendBarrier(b, f.floor)
	keys := f.marks.Keys()
	b = binary.AppendUvarint(b, uint64(len(keys)))
	for _, key := range keys {
		mark, _ := f.marks.Peek(key)
		b = appendBarrier(appendPart(b, key), mark)
	}
	return f.groups.appendSnapshot(b)
}

func appendBarrier(b []byte, mark barrier) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(b, mark.hard), mark.soft)
}

func encodeMarking(m marking) []byte {
	b := binary.AppendUvarint([]byte{frameMarking}, m.generation)
	b = append(appendBarrier(b, m.barrier), flagByte(m.everything))
	return appendTexts(b, m.keys)
}

func encodeNote(name string, value []byte) []byte {
	return appendPart(appendPart([]byte{frameNote}, name), string(value))
}

// errFrame is for a frame that this version did not write.
var errFrame = errors.New("fence log is not of this format")

func decodeFrames(frames [][]byte) (*memory, error) {
	if len(frames) == 0 {
		return nil, errFrame
	}
	m := &memory{notes: make(map[string][]byte)}
	if err := m.decodeFence(frames[0]); err != nil {
		return nil, err
	}
	for _, frame := range frames[1:] {
		d := &decoder{rest: frame}
		switch d.byte() {
		case frameMarking:
			one := marking{generation: d.uvarint(), barrier: d.barrier(), everything: d.flag(), keys: d.texts()}
			d.bad = d.bad || one.generation <= m.generation
			m.markings, m.generation = append(m.markings, one), one.generation
		case frameNote:
			name := d.text()
			m.notes[name] = []byte(d.text())
		case frameGroups:
			m.groups = append(m.groups, d.groups()...)
		default:
			d.fail()
		}
		if !d.done() {
			return nil, errFrame
		}
	}
	return m, nil
}

func (m *memory) decodeFence(frame []byte) error {
	d := &decoder{rest: frame}
	if d.byte() != frameFence || d.byte() != fenceVersion {
		return errFrame
	}
	m.id, m.generation, m.floor = d.text(), d.uvarint(), d.barrier()
	for range d.count(3) {
		m.keys = append(m.keys, d.text())
		m.barriers = append(m.barriers, d.barrier())
	}
	m.decodeGroups(d)
	if !d.done() || m.id == "" {
		return errFrame
	}
	return nil
}

func (d *decoder) barrier() barrier { return barrier{hard: d.uvarint(), soft: d.uvarint()} }

// restore makes a fence what it was, and whatever it has become since. It is
// for a store that serves nobody yet.
func (f *fence) restore(m *memory) {
	f.groups.restore(m)
	f.ordering.Lock()
	defer f.ordering.Unlock()
	f.mu.Lock()
	f.floor = f.floor.join(m.floor)
	for i, key := range m.keys {
		f.markLocked(key, m.barriers[i])
	}
	f.mu.Unlock()
	for _, one := range m.markings {
		one.generation = max(one.generation, f.generation.Load())
		f.apply(one)
	}
	f.mu.Lock()
	f.generation.Store(max(f.generation.Load(), m.generation))
	f.mu.Unlock()
}
