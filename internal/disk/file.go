package disk

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// A blob's second part may be in a file of its own, for what is too large to be
// in memory as a whole. It is written piece by piece under a name of no meaning,
// and gets its place, in one step, when it is whole and its record is written:
//
//	bytes, in chunks of ChunkSize; the last one may be shorter
//	table: the CRC-32C of each chunk
//
// The record has the length and the CRC-32C of the table, so a file that is not
// the record's is noticed, and so is each chunk that is not what was written.
// There is one file for a key and variant. Files without a record are removed.
const (
	// ChunkSize is how much of a file is read, and checked, at once.
	ChunkSize    = 256 << 10
	contentsSize = 12
	fileSuffix   = ".body"
	partSuffix   = ".part"
)

// Contents say which file a blob's second part is.
type Contents struct {
	// Size is the length of the part; never zero for one that is in a file.
	Size int64
	// Sum is that of the file's table.
	Sum uint32
}

func (c Contents) append(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint64(b, uint64(c.Size)), c.Sum)
}

// ReadContents reads what Read gives as the second part of a blob that is Filed.
func ReadContents(body []byte) (c Contents, ok bool) {
	if len(body) != contentsSize {
		return Contents{}, false
	}
	c = Contents{Size: int64(binary.LittleEndian.Uint64(body)), Sum: binary.LittleEndian.Uint32(body[8:])}
	return c, c.Size > 0 && c.Size <= MaxBytes
}

// chunks is how many there are.
func (c Contents) chunks() int64 { return (c.Size + ChunkSize - 1) / ChunkSize }

// onDisk is the length of the whole file.
func (c Contents) onDisk() int64 { return c.Size + 4*c.chunks() }

// fileName names a file: there is one for a key and variant.
type fileName struct {
	key     Key
	variant uint64
}

func (n fileName) String() string { return fmt.Sprintf("%x%016x%s", n.key[:], n.variant, fileSuffix) }

func parseFileName(name string) (n fileName, ok bool) {
	text, ok := strings.CutSuffix(name, fileSuffix)
	b, err := hex.DecodeString(text)
	if !ok || err != nil || len(b) != len(n.key)+8 {
		return fileName{}, false
	}
	return fileName{key: Key(b), variant: binary.BigEndian.Uint64(b[len(n.key):])}, true
}

func (s *slot) kind() recordKind {
	if s.filed {
		return kindPutFile
	}
	return kindPut
}

// Writing is a file that is being written. One goroutine may use it.
type Writing struct {
	s     *Store
	path  string
	file  File // nil when it has been given up, or has its place
	size  int64
	table []byte
	sum   uint32 // of the chunk that is not full yet
}

// Begin begins a file. The disk may be at work for as long as it likes, here and
// in all of Writing's methods. An error has been reported.
func (s *Store) Begin() (*Writing, error) {
	if s.paused() {
		return nil, errBusy
	}
	w := &Writing{s: s, path: filepath.Join(s.dir, fmt.Sprintf("%s-%08x%s", s.run, s.parts.Add(1), partSuffix))}
	file, err := s.fs.OpenFile(w.path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, w.judge(err)
	}
	w.file = file
	return w, nil
}

// judge counts and reports what went wrong, and has room made on a full disk.
func (w *Writing) judge(err error) error {
	if err != nil {
		w.s.failed(err)
		if isFull(err) {
			w.s.crowded.Store(true)
		}
		w.s.poke()
	}
	return err
}

// Write appends to the file.
func (w *Writing) Write(p []byte) (n int, err error) {
	if w.file == nil {
		return 0, os.ErrClosed
	}
	if w.size+int64(len(p)) > w.s.MaxBlob() {
		return 0, fmt.Errorf("more than %d bytes", w.s.MaxBlob())
	}
	n, err = w.file.WriteAt(p, w.size)
	for p = p[:n]; len(p) > 0; {
		part := p[:min(int64(len(p)), ChunkSize-w.size%ChunkSize)]
		w.sum = crc32.Update(w.sum, castagnoli, part)
		if w.size += int64(len(part)); w.size%ChunkSize == 0 {
			w.endChunk()
		}
		p = p[len(part):]
	}
	w.s.occupy(int64(n))
	return n, w.judge(err)
}

func (w *Writing) endChunk() {
	w.table, w.sum = binary.LittleEndian.AppendUint32(w.table, w.sum), 0
}

// occupy counts bytes of files; the writer makes room for them.
func (s *Store) occupy(n int64) {
	s.mu.Lock()
	s.bytes += n
	s.mu.Unlock()
	s.poke()
}

// Finish ends the file, and waits until it is on the platter.
func (w *Writing) Finish() (Contents, error) {
	if w.file == nil {
		return Contents{}, os.ErrClosed
	}
	if w.size%ChunkSize != 0 {
		w.endChunk()
	}
	_, err := w.file.WriteAt(w.table, w.size)
	if err == nil {
		err = w.file.Sync()
	}
	w.s.occupy(int64(len(w.table)))
	w.size += int64(len(w.table))
	return Contents{Size: w.size - int64(len(w.table)), Sum: crc32.Checksum(w.table, castagnoli)}, w.judge(err)
}

// Abandon gives the file up, unless it has got its place.
func (w *Writing) Abandon() {
	if w.file == nil {
		return
	}
	_ = w.file.Close() // it has no name in a moment
	w.file = nil
	w.s.occupy(-w.size)
	w.s.counters.dropped.Add(1)
	if err := w.s.fs.Remove(w.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		_ = w.judge(err) // reported; the next start removes it
	}
}

// adopt gives the file of a put its place, or looks for the one that is there.
// The writer's goroutine.
func (s *Store) adopt(p Put) (found bool, err error) {
	name := fileName{p.Key, p.Variant}
	w := p.Written
	if w == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.files[name] == p.File.onDisk(), nil
	}
	if w.file == nil {
		return false, nil
	}
	if err := s.fs.Rename(w.path, filepath.Join(s.dir, name.String())); err != nil {
		return false, err
	}
	_ = w.file.Close() // it was synced
	w.file = nil
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes -= s.files[name] // one that it has replaced
	s.files[name] = w.size
	return true, nil
}

// suspect has the file looked at: it goes if no record names it.
func (s *Store) suspect(name fileName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropped = append(s.dropped, name)
}

// filedLocked is the length of the file that a record names.
func (s *Store) filedLocked(h *head) int64 {
	if h.kind != kindPutFile {
		return 0
	}
	return s.files[fileName{h.key, h.variant}]
}

// sweep removes the files of which there is no record any more. It reports false
// when the disk failed. The writer's goroutine.
func (s *Store) sweep() bool {
	for {
		s.mu.Lock()
		if len(s.dropped) == 0 {
			s.dropped = nil
			s.mu.Unlock()
			return true
		}
		name := s.dropped[len(s.dropped)-1]
		at := s.index.find(name.key, name.variant)
		_, there := s.files[name]
		if there = there && (at == noSlot || !s.index.slots[at].filed); !there {
			s.dropped = s.dropped[:len(s.dropped)-1]
		}
		s.mu.Unlock()
		if !there {
			continue
		}
		if err := s.fs.Remove(filepath.Join(s.dir, name.String())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.failed(err)
			return false
		}
		s.mu.Lock()
		s.bytes -= s.files[name]
		delete(s.files, name)
		s.mu.Unlock()
	}
}

// fileNames lists what the files of a folder are called, whole and not.
func fileNames(files FS, dir string) (names []string, err error) {
	all, err := files.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, one := range all {
		if _, ok := parseFileName(one.Name()); ok || strings.HasSuffix(one.Name(), partSuffix) {
			names = append(names, one.Name())
		}
	}
	return names, err
}

// recoverFiles brings files and records together: neither is of use alone.
func (s *Store) recoverFiles() error {
	names, err := fileNames(s.fs, s.dir)
	if err != nil {
		return err
	}
	s.dropped = nil
	for _, text := range names {
		name, ok := parseFileName(text)
		path := filepath.Join(s.dir, text)
		if at := s.index.find(name.key, name.variant); !ok || at == noSlot || !s.index.slots[at].filed {
			if err := s.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			continue
		}
		file, err := s.fs.OpenFile(path, os.O_RDONLY, 0)
		if err != nil {
			return err
		}
		info, err := file.Stat()
		if err := errors.Join(err, file.Close()); err != nil {
			return err
		}
		s.files[name] = info.Size()
		s.bytes += info.Size()
	}
	for _, g := range s.segments {
		for _, at := range g.slots {
			one := &s.index.slots[at]
			if !one.used || !one.filed || one.segment != g.id {
				continue
			}
			size, there := s.files[fileName{one.key, one.variant}]
			if g.files += size; !there {
				s.index.remove(at)
			}
		}
	}
	return nil
}

// Reading is a file that is being read. Chunk and Close may be called by one
// goroutine.
type Reading struct {
	s     *Store
	r     Ref
	c     Contents
	file  File
	table []byte
}

// errOther: the file is that of a blob that has replaced the one that was found.
var errOther = fmt.Errorf("%w: its file is another's", ErrGone)

// Open opens the file of a blob, with a second's patience, as Read.
func (s *Store) Open(ctx context.Context, r Ref, c Contents) (*Reading, error) {
	return patiently(ctx, s, r, func() (*Reading, error) { return s.openNow(r, c) }, (*Reading).Close)
}

func (s *Store) openNow(r Ref, c Contents) (_ *Reading, err error) {
	name := fileName{r.Key, r.Variant}
	file, err := s.fs.OpenFile(filepath.Join(s.dir, name.String()), os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrGone
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close())
		}
	}()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() != c.onDisk() {
		return nil, errOther
	}
	table := make([]byte, 4*c.chunks())
	if _, err := file.ReadAt(table, c.Size); err != nil {
		return nil, err
	}
	if crc32.Checksum(table, castagnoli) != c.Sum {
		return nil, errOther
	}
	return &Reading{s: s, r: r, c: c, file: file, table: table}, nil
}

// chunkSpace is memory for chunks.
var chunkSpace = sync.Pool{New: func() any { b := make([]byte, ChunkSize); return &b }}

// Chunk gives a part of the file, checked, to use: all of the chunk with the
// offset, from there on.
func (o *Reading) Chunk(ctx context.Context, offset int64, use func([]byte) error) error {
	at := offset / ChunkSize
	pooled, err := patiently(ctx, o.s, o.r, func() (*[]byte, error) { return o.chunkNow(at) }, func(b *[]byte) { chunkSpace.Put(b) })
	if err != nil {
		return err
	}
	defer chunkSpace.Put(pooled)
	return use((*pooled)[offset-at*ChunkSize : min(ChunkSize, o.c.Size-at*ChunkSize)])
}

func (o *Reading) chunkNow(at int64) (*[]byte, error) {
	pooled := chunkSpace.Get().(*[]byte)
	b := (*pooled)[:min(ChunkSize, o.c.Size-at*ChunkSize)]
	if _, err := o.file.ReadAt(b, at*ChunkSize); err != nil {
		chunkSpace.Put(pooled)
		return nil, err
	}
	if crc32.Checksum(b, castagnoli) != binary.LittleEndian.Uint32(o.table[4*at:]) {
		chunkSpace.Put(pooled)
		return nil, fmt.Errorf("chunk %d of a file: %w", at, errCorrupt)
	}
	return pooled, nil
}

// Close lets go of the file. A read that hangs keeps its own hold of it.
func (o *Reading) Close() { _ = o.file.Close() }
