package httpcache

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edgegw/edge/internal/disk"
)

// DiskOptions are where a Store keeps answers beside memory, and how much.
type DiskOptions struct {
	// Dir is the folder, of which no other process may have the use. Required.
	Dir string
	// MaxBytes bounds the answers on disk. Required.
	MaxBytes int64
	// MaxObject is the largest body that is stored, beside those that memory
	// takes. Default, and at most, an eighth of MaxBytes, or 1 GiB if that is less.
	MaxObject int64
	// MinLife is for how long an answer must be of use to be worth a write.
	// Default 10s.
	MinLife time.Duration
	// Boot names the run of the operating system during which what was written
	// outlives the process (disk.Boot). A purge is then acknowledged when it is
	// written; what the last run left is given up if the system has been down since,
	// unless that run ended in order. Empty, for not known, has each purge synced
	// before it is acknowledged.
	Boot string
	// ID is what UseDisk gave the last time. With another one, or none, what
	// is in the folder is of another time, and given up.
	ID string
	// Event is told of faults. It must not block. Nil for nobody.
	Event func(disk.Event)
	// FS is the file system; nil for the system's own.
	FS disk.FS
}

// DiskFound is what OpenDisk has found.
type DiskFound struct {
	// Warm: the answers on disk and the fence that judges them are whole.
	Warm bool
	// Unsynced: the system went down while the last run was at work, or before it
	// had everything synced. Purges may be missing, so it is not Warm.
	Unsynced bool
	// Generation is the highest that the fence on disk has seen.
	Generation uint64
	// Notes are the latest of each name.
	Notes map[string][]byte
}

const (
	defaultMinLife = 10 * time.Second
	// logPatience is how long a purge waits for the disk. One that takes longer
	// is given up: the purge must reach memory.
	logPatience = 5 * time.Second
	// revivePause is how long a tier that failed stays off.
	revivePause = 30 * time.Second
	// indexShare and queueShare of the memory are what the index of the disk,
	// and answers that wait to be written, may take.
	indexShare = 4
	queueShare = 16
)

// tier is a Store's answers on disk. Everything that is stored in memory is
// written behind it too, so that a crash costs little; an answer that memory
// has evicted is found here. What judges answers, the fence, outlives the process
// before a purge is acknowledged, see tierlog.go.
type tier struct {
	store *Store
	o     DiskOptions
	lock  io.Closer
	// log is touched by the keeper's goroutine only, once that runs; so a disk
	// that hangs keeps nobody else for longer than they have patience.
	log *fenceLog
	// id names what the folder holds. Whoever calls use owns it.
	id string
	// born is the moment of the opening, and stamps the one of answers that were
	// asked for then. Fixed before serving.
	born   time.Time
	stamps int64
	// blobs are replaced when the tier is revived.
	blobs atomic.Pointer[disk.Store]
	// serving: answers are read and written.
	serving atomic.Bool
	// opening, until UseDisk: the log is the last run's. broken: it lacks a
	// marking. lost: it is gone, so that nothing in the folder counts any more.
	// In none of them anything is served.
	opening, broken, lost atomic.Bool
	// undurable is why the last purge may not hold over a restart; nil when it
	// does.
	undurable atomic.Pointer[error]

	maxBytes, maxObject atomic.Int64
	// large counts the bodies that were written to files, late those that were
	// not, since the disk did not keep up.
	large, late   atomic.Int64
	hits, misread atomic.Int64

	mu    sync.Mutex
	loads map[loadKey]*load
	held  map[string]bool // versions

	// groupMarkings wait to be written, and whoever made them for groupsKept.
	groupMarkings []groupMarking
	groupsKept    chan struct{}

	work      chan keeping
	groupWork chan struct{} // there are groupMarkings
	unsynced  chan struct{} // the log is to be synced
	stop      chan struct{}
	wait      sync.WaitGroup
	spills    sync.WaitGroup // bodies that are being written to files
	left      sync.Once
	gone      atomic.Bool // the folder is another process's
}

// keeping is something to be done with the log.
type keeping struct {
	do     func() error
	result chan error // with room for one
}

// OpenDisk takes a folder into use: it reads the fence of the last run, which
// then judges everything that the store does. Purges hold over restarts from then
// on; answers are read and written after UseDisk. Call it before anything is served.
func (s *Store) OpenDisk(o DiskOptions) (DiskFound, error) {
	o.MinLife = cmp.Or(o.MinLife, defaultMinLife)
	lock, err := disk.Lock(o.Dir)
	if err != nil {
		return DiskFound{}, err
	}
	log, found, err := openFenceLog(o.Dir, o.FS, s.fence, o.Boot)
	if err != nil {
		return DiskFound{}, errors.Join(fmt.Errorf("fence log: %w", err), lock.Close())
	}
	t := &tier{
		store: s, o: o, lock: lock, log: log,
		loads: make(map[loadKey]*load), held: make(map[string]bool),
		work: make(chan keeping), groupWork: make(chan struct{}, 1), unsynced: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	log.unsynced = t.syncSoon
	t.opening.Store(true)
	t.maxBytes.Store(o.MaxBytes)
	t.maxObject.Store(o.MaxObject)
	d := DiskFound{}
	if ours := found != nil && o.ID != "" && found.id == o.ID; ours && !found.outlives(o.Boot) {
		d.Unsynced = true
	} else if ours {
		s.fence.restore(found)
		s.census.advance(s.Generation())
		log.notes = found.notes
		d = DiskFound{Warm: true, Generation: found.generation, Notes: found.notes}
	}
	s.fence.ordering.Lock()
	defer s.fence.ordering.Unlock()
	s.fence.durable = t.record
	s.fence.groups.durable = t.recordGroups
	s.tier.Store(t)
	t.wait.Go(t.keep)
	t.wait.Go(t.syncer)
	t.wait.Go(t.reviver)
	return d, nil
}

// UseDisk begins to read and write answers: warm with those that the last run
// left, or cold, having removed them. It gives the ID for the next OpenDisk.
// After an error it is tried again, cold, by itself.
func (s *Store) UseDisk(warm bool) (id string, err error) {
	t := s.tier.Load()
	if t.id = t.o.ID; !warm || t.id == "" {
		t.id = rand.Text()
	}
	err = t.use(warm)
	t.opening.Store(false)
	if err != nil {
		// What the last run left must not be taken for whole by the next one.
		s.fence.ordering.Lock()
		defer s.fence.ordering.Unlock()
		t.broken.Store(true)
		t.settled(t.ask(func() error { return t.append(nil, t.log.add) }))
	}
	return t.id, err
}

// use opens the blobs and writes the log afresh, after which everything counts.
func (t *tier) use(warm bool) error {
	if !warm {
		if err := disk.RemoveAll(t.o.Dir, t.o.FS); err != nil {
			return err
		}
	}
	most := t.store.maxBytes.Load()
	blobs, err := disk.Open(disk.Options{
		Dir: t.o.Dir, MaxBytes: t.maxBytes.Load(), MaxIndex: most / indexShare, MaxQueue: min(most/queueShare, 32<<20),
		Event: t.o.Event, FS: t.o.FS,
		Grown: func(n int64) { t.store.bytes.Add(n) },
	})
	if err != nil {
		return err
	}
	t.store.fence.ordering.Lock()
	defer t.store.fence.ordering.Unlock()
	if err := t.ask(func() error { return t.log.begin(t.id) }); err != nil {
		blobs.Close()
		return err
	}
	if t.born.IsZero() {
		t.born, t.stamps = time.Now(), blobs.Stats().Newest+1
	}
	t.blobs.Store(blobs)
	t.broken.Store(false)
	t.lost.Store(false)
	t.undurable.Store(nil)
	t.serving.Store(true)
	return nil
}

// keep does what is asked with the log, one thing after the other.
func (t *tier) keep() {
	for {
		select {
		case k := <-t.work:
			k.result <- k.do()
		case <-t.groupWork:
			t.keepGroups()
		case <-t.stop:
			return
		}
	}
}

// errHangs: the disk did not answer in time.
var errHangs = fmt.Errorf("disk did not answer within %s", logPatience)

// ask has the keeper do something, and waits for it as long as there is
// patience.
func (t *tier) ask(do func() error) error {
	timer := time.NewTimer(logPatience)
	defer timer.Stop()
	k := keeping{do: do, result: make(chan error, 1)}
	select {
	case t.work <- k:
	case <-timer.C:
		return errHangs
	case <-t.stop:
		return errClosed
	}
	select {
	case err := <-k.result:
		return err
	case <-timer.C:
		return errHangs
	}
}

// reviver takes a tier that has failed into use again, cold.
func (t *tier) reviver() {
	tick := time.NewTicker(revivePause)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-t.stop:
			return
		}
		if t.opening.Load() {
			continue
		}
		if !t.lost.Load() && !t.broken.Load() {
			t.tidy()
			continue
		}
		if blobs := t.blobs.Load(); blobs != nil {
			blobs.Close()
		}
		if err := t.use(false); err != nil {
			t.tell(disk.Event{Kind: disk.EventWriteFailed, Err: err, Detail: fmt.Sprintf("tried again in %s", revivePause)})
			continue
		}
		t.tell(disk.Event{Kind: disk.EventRecovered, Detail: "fence log: the disk is in use again, and empty"})
	}
}

// LeaveDisk lets go of the folder, for another process, as Close does; the store
// serves on, from memory. Purges and changes must be told to that process: no
// restart finds them here. Bodies that are being written to files are written on,
// for those who read them, and then abandoned.
func (s *Store) LeaveDisk() {
	t := s.tier.Load()
	if t == nil {
		return
	}
	s.fence.ordering.Lock()
	s.fence.durable = nil
	s.fence.ordering.Unlock()
	s.fence.groups.mu.Lock()
	s.fence.groups.durable = nil
	s.fence.groups.mu.Unlock()
	t.gone.Store(true)
	t.leave()
}

// DiskFault is why the last purge, which holds in this process, may not hold
// over a restart: nil when it does, or when there is no disk.
func (s *Store) DiskFault() error {
	t := s.tier.Load()
	if t == nil {
		return nil
	}
	if err := t.undurable.Load(); err != nil {
		return *err
	}
	return nil
}

// Note keeps a few bytes beside the fence, for the next run, in place of the
// last ones of the name. Without a disk there is no next run, and it does
// nothing.
func (s *Store) Note(name string, value []byte) error {
	t := s.tier.Load()
	if t == nil || t.gone.Load() {
		return nil
	}
	s.fence.ordering.Lock()
	defer s.fence.ordering.Unlock()
	err := t.ask(func() error {
		t.log.notes[name] = value
		return t.append(encodeNote(name, value), t.log.add)
	})
	t.settled(err)
	return err
}

// Hold keeps answers of a version on disk from being served until Release: it
// is the one that was current when the last run ended, and whether it still is
// has to be seen.
func (s *Store) Hold(version string) {
	if t := s.tier.Load(); t != nil && version != "" {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.held[version] = true
	}
}

// Release ends a Hold.
func (s *Store) Release(version string) {
	if t := s.tier.Load(); t != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.held, version)
	}
}

// ConfigureDisk changes how much may be on disk, and how much of one answer.
func (s *Store) ConfigureDisk(maxBytes, maxObject int64) {
	t := s.tier.Load()
	if t == nil {
		return
	}
	t.maxBytes.Store(maxBytes)
	t.maxObject.Store(maxObject)
	if blobs := t.blobs.Load(); blobs != nil {
		blobs.Configure(maxBytes)
	}
}
