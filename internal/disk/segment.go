package disk

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// segment is one file. The writer's goroutine appends to the last one; what is
// written never changes, so reading needs no lock.
type segment struct {
	id    uint32
	file  File
	size  int64    // guarded by the store's mu
	files int64    // bytes of files that its records name; likewise
	slots []int32  // of its records, some of which may be gone; likewise
	table []placed // until it is sealed; the writer's
	// forgot: it may have blobs that the index does not know, and would after the next
	// start. Guarded by the store's mu.
	forgot bool
	// sealed: its table is written. The writer's.
	sealed bool
}

const segmentSuffix = ".seg"

func segmentName(id uint32) string { return fmt.Sprintf("%08x%s", id, segmentSuffix) }

// segmentNames lists the segments in a folder, oldest first.
func segmentNames(files FS, dir string) ([]string, error) {
	all, err := files.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, one := range all {
		if text, ok := strings.CutSuffix(one.Name(), segmentSuffix); ok {
			if _, err := strconv.ParseUint(text, 16, 32); err == nil && len(text) == 8 {
				names = append(names, one.Name())
			}
		}
	}
	slices.Sort(names)
	return names, nil
}

// recover opens the segments and rebuilds the index. The last one is taken up
// again where it ends.
func (s *Store) recover() error {
	if err := s.fs.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	names, err := segmentNames(s.fs, s.dir)
	if err != nil {
		return err
	}
	for i, name := range names {
		g, records, damaged, err := s.openSegment(name, i == len(names)-1)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if damaged {
			// It may have said that older blobs are deleted.
			if err := s.dropAll(); err != nil {
				return err
			}
		}
		if g == nil {
			continue
		}
		s.segments = append(s.segments, g)
		s.bytes += g.size
		for _, p := range records {
			s.replay(g, p)
		}
		if g.table = records; i < len(names)-1 {
			g.table, g.sealed = nil, true // or torn: it is not written to again
		}
	}
	if err := s.recoverFiles(); err != nil {
		return err
	}
	s.counters.recovered.Store(s.index.live)
	return nil
}

// dropAll removes the segments that are open.
func (s *Store) dropAll() error {
	for _, g := range s.segments {
		s.forgetLocked(g)
		if err := s.unlink(g); err != nil {
			return err
		}
	}
	s.segments, s.bytes = nil, 0
	return nil
}

func (s *Store) unlink(g *segment) error {
	_ = g.file.Close() // it has no name in a moment
	err := s.fs.Remove(filepath.Join(s.dir, segmentName(g.id)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// openSegment reads the heads of a segment. It gives none for a file that is no
// segment of this format, or an empty one, which is removed. damaged says that
// a segment that was finished has lost records.
func (s *Store) openSegment(name string, last bool) (g *segment, records []placed, damaged bool, err error) {
	path := filepath.Join(s.dir, name)
	id, _ := strconv.ParseUint(strings.TrimSuffix(name, segmentSuffix), 16, 32) // checked by segmentNames
	file, err := s.fs.OpenFile(path, os.O_RDWR, 0o600)
	if err != nil {
		return nil, nil, false, err
	}
	defer func() {
		if g == nil || err != nil {
			err = errors.Join(err, file.Close())
		}
	}()
	info, err := file.Stat()
	if err != nil {
		return nil, nil, false, err
	}
	records, end, sealed := readSegment(file, info.Size())
	damaged = !last && !sealed && end != info.Size()
	if len(records) == 0 {
		return nil, nil, damaged, s.fs.Remove(path)
	}
	g = &segment{id: uint32(id), file: file, size: info.Size()}
	if sealed && !last {
		return g, records, false, nil
	}
	// What follows the last whole record goes: its own table, or what a crash
	// left behind.
	if torn := g.size - end; torn > 0 && !sealed {
		s.counters.torn.Add(torn)
		s.tell(Event{Kind: EventTorn, Detail: fmt.Sprintf("%s: %d bytes cut off", name, torn)})
	}
	g.size = end
	return g, records, damaged, file.Truncate(end)
}

// readSegment gives the records of a file and where the last one ends: from its
// table, or, without a good one, from head to head.
func readSegment(file File, size int64) (records []placed, end int64, sealed bool) {
	magic := make([]byte, len(segmentMagic))
	if _, err := file.ReadAt(magic, 0); err != nil || string(magic) != segmentMagic {
		return nil, 0, false // too short, or not ours
	}
	if records, end, ok := readTable(file, size); ok {
		return records, end, true
	}
	records, end = scan(file, size)
	return records, end, false
}

func readTable(file File, size int64) (records []placed, end int64, ok bool) {
	if size < int64(len(segmentMagic))+tailSize {
		return nil, 0, false
	}
	b := make([]byte, tailSize)
	if _, err := file.ReadAt(b, size-tailSize); err != nil {
		return nil, 0, false
	}
	t, ok := decodeTail(b)
	if !ok || t.offset > size-tailSize {
		return nil, 0, false
	}
	b = make([]byte, size-tailSize-t.offset)
	if _, err := file.ReadAt(b, t.offset); err != nil || crc32.Checksum(b, castagnoli) != t.sum {
		return nil, 0, false
	}
	records, ok = decodeTable(b, t.records, t.offset)
	return records, t.offset, ok
}

// scanWindow is how much is read at once from head to head.
const scanWindow = 64 << 10

// scan goes from head to head until one is not whole.
func scan(file File, size int64) (records []placed, end int64) {
	window, start, filled := make([]byte, scanWindow), int64(0), 0
	for at := int64(len(segmentMagic)); ; {
		if at+headSize+MaxLabel > start+int64(filled) && start+int64(filled) < size || at < start {
			start = at
			filled, _ = file.ReadAt(window, start) // short at the end of the file
		}
		if at-start > int64(filled) {
			return records, at
		}
		h, ok := decodeHead(window[at-start : filled])
		if !ok || at+h.size() > size {
			return records, at
		}
		records = append(records, placed{offset: uint32(at), head: h})
		at += h.size()
	}
}

// replay applies one record to the index.
func (s *Store) replay(g *segment, p placed) {
	h := &p.head
	switch h.kind {
	case kindDelete:
		if at := s.index.find(h.key, h.variant); at != noSlot {
			s.index.remove(at)
		}
	case kindDeleteAll:
		s.index.removeAll(h.key)
	case kindPut, kindPutFile:
		s.insertLocked(g, p)
	}
}

// insertLocked adds a blob to the index. Without room for it, older ones go.
func (s *Store) insertLocked(g *segment, p placed) bool {
	if old := s.index.find(p.head.key, p.head.variant); old != noSlot {
		s.index.remove(old)
	}
	for _, old := range s.segments {
		if !s.index.full() || old == g {
			break
		}
		s.forgetLocked(old)
	}
	label, ok := s.index.labelNumber(p.head.label)
	if !ok || s.index.full() {
		g.forgot = true
		return false
	}
	s.newest = max(s.newest, p.head.stamp)
	g.slots = append(g.slots, s.index.add(slot{
		key: p.head.key, variant: p.head.variant, stamp: p.head.stamp, segment: g.id,
		offset: p.offset, size: uint32(p.head.size()), label: label, flags: p.head.flags,
		filed: p.head.kind == kindPutFile,
	}))
	return true
}

// forgetLocked takes what is left of a segment out of the index, and not out of the log.
func (s *Store) forgetLocked(g *segment) {
	for _, at := range g.slots {
		if one := &s.index.slots[at]; one.used && one.segment == g.id {
			s.index.remove(at)
		}
	}
	g.slots, g.forgot = nil, true
}

// seal writes the table of a segment, syncs it, and gives the table's length.
func (g *segment) seal() (int64, error) {
	var table []byte
	for _, p := range g.table {
		table = appendPlaced(table, p)
	}
	t := tail{records: uint32(len(g.table)), offset: g.size, sum: crc32.Checksum(table, castagnoli)}
	table = t.append(table)
	if _, err := g.file.WriteAt(table, g.size); err != nil {
		return 0, errors.Join(err, g.file.Truncate(g.size))
	}
	g.table, g.sealed = nil, true
	return int64(len(table)), g.file.Sync()
}
