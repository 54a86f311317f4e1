package httpcache

import (
	"errors"
	"time"

	"github.com/edgegw/edge/internal/disk"
)

// A purge is acknowledged when its marking is written, which outlives the process.
// The end of the system it outlives only once it is synced, and that would keep
// each purge waiting for the disk. So the log says in which run of the system it
// was written, and at the end whether everything was synced:
//
//	boot 1: log says "boot 1"
//	boot 1: purge 5 is written, acknowledged; power fails before it is synced
//	boot 2: log says "boot 1" and of no end: purge 5 may be missing, and with
//	        it what judges the answers on disk. All of them are given up
//
// Killed and started anew in boot 1, the process finds purge 5. Where the system
// does not say which run it is, each marking is synced first.

// syncPause is how long what purges have written may stay unsynced, so that many
// of them cost the disk little. Nothing hangs on it but how soon a disk that does
// not keep what is written is noticed.
const syncPause = 100 * time.Millisecond

// record makes a marking outlive the process. When that fails everything on disk
// is given up, which is as durable; and when not even that succeeds, the purge
// holds in memory only, and DiskFault says so.
func (t *tier) record(m marking) {
	frame := encodeMarking(m)
	t.settled(t.ask(func() error { return t.append(frame, t.log.add) }))
}

func (t *tier) settled(err error) {
	if err == nil {
		t.undurable.Store(nil)
		return
	}
	t.broken.Store(true)
	t.serving.Store(false)
	t.undurable.Store(&err)
}

// append is record on the keeper's goroutine, by way of add. Once a marking is missing, later
// ones are not appended: the log would look whole.
func (t *tier) append(frame []byte, add func([]byte) error) error {
	if t.lost.Load() || t.opening.Load() {
		return nil
	}
	var err error
	if !t.broken.Load() {
		if err = add(frame); err == nil {
			return nil
		}
		t.broken.Store(true)
		t.serving.Store(false)
		t.tell(disk.Event{Kind: disk.EventWriteFailed, Err: err, Detail: "fence log: every answer on disk is given up"})
	}
	if gone := t.log.log.Remove(); gone != nil {
		return errors.Join(err, gone)
	}
	t.lost.Store(true)
	return nil
}

func (t *tier) tell(e disk.Event) {
	if t.o.Event != nil {
		t.o.Event(e)
	}
}

// syncSoon has the log synced, for which nobody waits.
func (t *tier) syncSoon() {
	select {
	case t.unsynced <- struct{}{}:
	default: // the syncer knows already
	}
}

// syncer syncs what was acknowledged when it was written. The keeper goes on
// writing meanwhile. What cannot be synced may be missing when it is read again,
// in the same run of the system too, and so counts as not written.
func (t *tier) syncer() {
	for {
		select {
		case <-t.unsynced:
		case <-t.stop:
			return
		}
		select {
		case <-time.After(syncPause):
		case <-t.stop:
			return
		}
		failed := t.log.log.Sync()
		if failed == nil {
			continue
		}
		if err := t.ask(func() error { return t.append(nil, func([]byte) error { return failed }) }); err != nil {
			t.settled(err)
		}
	}
}

// close writes what waits and lets go of the folder.
func (t *tier) close() {
	t.spills.Wait()
	t.leave()
}

// leave is close while bodies are being written to files. It does nothing the
// second time.
func (t *tier) leave() { t.left.Do(t.letGo) }

func (t *tier) letGo() {
	close(t.stop)
	t.wait.Wait()
	t.keepGroups()
	if blobs := t.blobs.Load(); blobs != nil && blobs.Close() {
		t.end()
	}
	t.serving.Store(false)
	t.log.log.Close()
	_ = t.lock.Close() // the process's end would do it
}

// end notes that everything is synced, for a start after the system was down.
// Without the note, as after a failure, that is a cold one.
func (t *tier) end() {
	t.store.fence.ordering.Lock()
	defer t.store.fence.ordering.Unlock()
	if t.log.boot == "" || !t.serving.Load() || t.broken.Load() || t.lost.Load() {
		return
	}
	if err := t.log.end(); err != nil {
		t.tell(disk.Event{Kind: disk.EventWriteFailed, Err: err, Detail: "fence log: the end is not noted, so a start after the machine was down will be cold"})
	}
}
