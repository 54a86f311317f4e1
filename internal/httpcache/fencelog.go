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
	id string
	// boot is the run of the system during which what is written outlives the
	// process; empty if that is not known, and each frame synced.
	boot string
	// unsynced is called when there is something to sync.
	unsynced func()
	notes    map[string][]byte
}

const (
	fenceLogName = "fence.log"
	frameFence   = 'F'
	frameMarking = 'M'
	frameNote    = 'N'
	frameGroups  = 'G'
	// fenceVersion follows frameFence. In the version before each frame was synced,
	// and nothing said of boots.
	fenceVersion = 3
	withoutBoots = 2
)

// memory is what a fence log says.
type memory struct {
	id string
	// boot is the run of the system in which it was written; empty if all of it
	// was synced. ended: the process has ended in order, with everything synced.
	boot       string
	ended      bool
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
func openFenceLog(dir string, files disk.FS, f *fence, boot string) (*fenceLog, *memory, error) {
	log, frames, intact, err := disk.ReadLog(dir, fenceLogName, files)
	if err != nil {
		return nil, nil, err
	}
	l := &fenceLog{log: log, fence: f, boot: boot, unsynced: func() {}, notes: make(map[string][]byte)}
	if !intact {
		return l, nil, nil
	}
	m, err := decodeFrames(frames)
	if err != nil {
		return l, nil, nil // as good as damaged
	}
	return l, m, nil
}

// outlives reports that everything which was written is there, in the folder too,
// when it is read in a run of the system: it is the one in which it was written,
// or all of it was synced.
func (m *memory) outlives(boot string) bool { return m.ended || m.boot == "" || m.boot == boot }

// begin writes the log afresh. The fence's ordering is held.
func (l *fenceLog) begin(id string) error {
	l.id = id
	return l.rewrite()
}

// end says that everything in the folder is synced, and that nothing follows. The
// fence's ordering is held.
func (l *fenceLog) end() error { return l.replace(true) }

// rewrite replaces the log by the fence as it is. The fence's ordering is held:
//
//	A: purge is appended          B: a note makes the log be rewritten
//	A: purge is applied           B: from a fence without the purge
func (l *fenceLog) rewrite() error { return l.replace(false) }

func (l *fenceLog) replace(ended bool) error {
	frames := [][]byte{l.fence.snapshot(l.id, l.boot, ended)}
	for _, name := range slices.Sorted(maps.Keys(l.notes)) {
		frames = append(frames, encodeNote(name, l.notes[name]))
	}
	return l.log.Rewrite(frames...)
}

// add is put that keeps the log small. The fence's ordering is held.
func (l *fenceLog) add(frame []byte) error {
	if l.log.Due() {
		if err := l.rewrite(); err != nil {
			return err
		}
	}
	return l.put(frame)
}

// put makes a frame outlive the process. The end of the system it outlives at
// once, or soon: until then nothing in the folder does.
func (l *fenceLog) put(frame []byte) error {
	if l.boot == "" {
		return l.log.Append(frame)
	}
	err := l.log.Write(frame)
	if err == nil {
		l.unsynced()
	}
	return err
}

// snapshot encodes a fence.
func (f *fence) snapshot(id, boot string, ended bool) []byte {
	f.mu.RLock()
	defer f.mu.RUnlock()
	b := appendPart([]byte{frameFence, fenceVersion}, id)
	b = append(appendPart(b, boot), flagByte(ended))
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
			m.ended = false
		case frameNote:
			name := d.text()
			m.notes[name] = []byte(d.text())
		case frameGroups:
			m.groups, m.ended = append(m.groups, d.groups()...), false
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
	kind, version := d.byte(), d.byte()
	if kind != frameFence || version != fenceVersion && version != withoutBoots {
		return errFrame
	}
	m.id = d.text()
	if version == fenceVersion {
		m.boot, m.ended = d.text(), d.flag()
	}
	m.generation, m.floor = d.uvarint(), d.barrier()
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
