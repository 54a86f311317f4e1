// Package disk keeps blobs in a folder: as many bytes as allowed, checksummed,
// and back within seconds after a crash. It knows nothing of what is in them.
//
// Blobs are appended to segment files, which never change afterwards; when the
// bound is reached the oldest segment goes, less what was read since. That is
// FIFO with re-insertion, which keeps what is hot without a write for each read
// (CLOCK, of which Yang et al., "FIFO can be better than LRU", HotOS 2023, show
// that it stands up to LRU). Deletions are records too. An index in memory says
// where each blob is; it is rebuilt from the heads of the records when the
// folder is opened. One goroutine writes, behind a bounded queue; when it cannot
// keep up or the disk fails, blobs are dropped and counted, and nobody waits.
package disk

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// Key names a blob, or a family of them: its variants. It is to be a hash, by
// which two things of the user never meet by accident.
type Key [16]byte

// MaxBytes is the most that a Store may be allowed: more would be more segment
// files, which are all open, than processes may have.
const MaxBytes = 1 << 40

// Options say where blobs are kept, and how many.
type Options struct {
	// Dir is the folder, of which the caller has the Lock. It is made, with mode
	// 0700. Required.
	Dir string
	// MaxBytes bounds all segment files together.
	MaxBytes int64
	// MaxIndex bounds the memory of the index. Default 64 MiB.
	MaxIndex int64
	// MaxQueue bounds the bytes that wait to be written. Default 32 MiB.
	MaxQueue int64
	// Event is told of faults. It is called on goroutines of the store and of
	// its users and must not block. Nil for nobody.
	Event func(Event)
	// Grown is told by how many bytes the index has grown or, when negative,
	// shrunk, with a lock held: it must only count. Nil for nobody.
	Grown func(n int64)
	// FS is the file system; nil for the system's own.
	FS FS
}

const (
	defaultMaxIndex = 64 << 20
	defaultMaxQueue = 32 << 20
)

func (o Options) withDefaults() Options {
	if o.MaxIndex <= 0 {
		o.MaxIndex = defaultMaxIndex
	}
	if o.MaxQueue <= 0 {
		o.MaxQueue = defaultMaxQueue
	}
	if o.FS == nil {
		o.FS = systemFS{}
	}
	return o
}

// EventKind names an Event.
type EventKind string

const (
	// EventTorn: bytes that a crash left incomplete were cut off at the start.
	EventTorn EventKind = "torn"
	// EventCorrupt: a blob is not what was written. It is forgotten.
	EventCorrupt EventKind = "corrupt"
	// EventWriteFailed: writing failed; nothing is written for a while.
	EventWriteFailed EventKind = "write-failed"
	// EventReadFailed: reading failed, or took too long; likewise.
	EventReadFailed EventKind = "read-failed"
	// EventRecovered: writing works again.
	EventRecovered EventKind = "recovered"
)

// Event is something about which a person may have to do something.
type Event struct {
	Kind   EventKind
	Detail string
	Err    error
}

// Store is an open folder. Its methods may be called concurrently.
type Store struct {
	dir      string
	fs       FS
	report   func(Event)
	maxQueue int64
	index    index // guarded by mu
	counters counters
	maxBytes atomic.Int64
	reading  chan struct{} // a place for each read at once
	started  time.Time

	mu       sync.Mutex
	segments []*segment // oldest first; the last one is written to
	bytes    int64      // of all segments
	newest   int64      // stamp
	queue    []*op
	queued   int64 // bytes
	pending  map[Key][]*op
	deleting map[Key]*op        // the last deletion of each key, until it is written
	files    map[fileName]int64 // bytes of each
	dropped  []fileName         // of which there may be no record any more
	closed   bool

	// Owned by the writer's goroutine.
	scratch []byte
	unsaved bool // deletions are written, but not on the platter
	// doubtful: something could not be synced, or not be deleted. It stays so:
	// a later sync that succeeds does not say that what came before is there.
	doubtful bool

	pausedUntil  atomic.Int64 // Unix nanoseconds; no writes before
	readersUntil atomic.Int64 // likewise, no reads
	lastError    atomic.Pointer[string]
	parts        atomic.Uint64 // numbers files that are being written
	run          string        // in their names: a process that has let go of the folder may write on
	crowded      atomic.Bool   // the disk was full for one of them
	wake         chan struct{}
	stop         chan struct{}
	done         chan struct{}
}

// ErrGone is what Read gives for a blob that is no longer there.
var ErrGone = errors.New("blob is gone")

// errBusy: too many reads at once, or the disk has just failed.
var errBusy = errors.New("disk does not keep up")

// Open reads the heads of all records in a folder and starts writing.
// What a crash left incomplete is cut off; what is not ours to understand is
// removed.
func Open(o Options) (*Store, error) {
	o = o.withDefaults()
	s := &Store{
		dir: o.Dir, fs: o.FS, report: o.Event, maxQueue: o.MaxQueue,
		index: newIndex(o.MaxIndex/recordCost, o.Grown), pending: make(map[Key][]*op),
		files: make(map[fileName]int64), deleting: make(map[Key]*op),
		reading: make(chan struct{}, maxReads), started: time.Now(), run: rand.Text()[:8],
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	s.maxBytes.Store(o.MaxBytes)
	s.index.gone = func(one *slot) {
		if one.filed {
			s.dropped = append(s.dropped, fileName{one.key, one.variant})
		}
	}
	if err := s.recover(); err != nil {
		s.closeFiles()
		return nil, fmt.Errorf("disk %s: %w", o.Dir, err)
	}
	s.counters.openedIn.Store(int64(time.Since(s.started)))
	go s.write()
	return s, nil
}

// Configure changes the bound. A smaller one removes the oldest segments soon.
func (s *Store) Configure(maxBytes int64) {
	s.maxBytes.Store(maxBytes)
	s.poke()
}

// segmentSize is that of a new segment: a sixty-fourth of the whole, so that
// little goes at a time and few files are open.
func (s *Store) segmentSize() int64 {
	return min(max(s.maxBytes.Load()/64, 1<<20), 2<<30)
}

// MaxBlob is the largest blob that is taken: an eighth of the whole, so that a
// few large ones do not push out everything else.
func (s *Store) MaxBlob() int64 { return min(s.maxBytes.Load()/8, 1<<30) }

func (s *Store) tell(e Event) {
	if e.Err != nil {
		text := e.Err.Error()
		s.lastError.Store(&text)
	}
	if s.report != nil {
		s.report(e)
	}
}

func (s *Store) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Close writes what waits, for a few seconds at most, and closes the files. It
// reports whether all that was deleted or replaced is so on the platter, where the
// end of the system cannot undo it. Whatever is called afterwards does nothing.
func (s *Store) Close() (durable bool) {
	s.mu.Lock()
	already := s.closed
	s.closed = true
	s.mu.Unlock()
	if already {
		return false
	}
	close(s.stop)
	<-s.done
	s.closeFiles()
	return !s.doubtful
}

func (s *Store) closeFiles() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.segments {
		_ = g.file.Close() // everything of worth was synced before
	}
	s.index.clear()
}

// RemoveAll removes every segment and file of a folder that is not open as a Store.
func RemoveAll(dir string, files FS) error {
	if files == nil {
		files = systemFS{}
	}
	names, err := segmentNames(files, dir)
	if err != nil {
		return err
	}
	rest, err := fileNames(files, dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range append(names, rest...) {
		if err := files.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// FS is what a store needs of a file system.
type FS interface {
	OpenFile(name string, flag int, mode fs.FileMode) (File, error)
	ReadDir(name string) ([]fs.DirEntry, error)
	MkdirAll(name string, mode fs.FileMode) error
	Remove(name string) error
	Rename(from, to string) error
}

// File is an open file or folder.
type File interface {
	ReadAt(p []byte, offset int64) (int, error)
	WriteAt(p []byte, offset int64) (int, error)
	Truncate(size int64) error
	Stat() (fs.FileInfo, error)
	Sync() error
	Close() error
}

type systemFS struct{}

func (systemFS) OpenFile(name string, flag int, mode fs.FileMode) (File, error) {
	return os.OpenFile(name, flag, mode)
}
func (systemFS) ReadDir(name string) ([]fs.DirEntry, error)   { return os.ReadDir(name) }
func (systemFS) MkdirAll(name string, mode fs.FileMode) error { return os.MkdirAll(name, mode) }
func (systemFS) Remove(name string) error                     { return os.Remove(name) }
func (systemFS) Rename(from, to string) error                 { return os.Rename(from, to) }
