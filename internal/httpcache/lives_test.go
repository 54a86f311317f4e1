package httpcache

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing/synctest"
	"time"
)

// life is one process of a schedule.
type life struct {
	store    *Store
	handlers []*Handler
	files    *folder
	id       string // of the disk
	boot     string // the run of the system
	ctx      context.Context
	kill     context.CancelFunc
	busy     sync.WaitGroup // whoever has to do with it
	// dead: what it says from now on nobody hears. The model's lock guards it.
	dead bool
}

// begin starts a process on what is in the files.
func (s *schedule) begin(files *folder, id, boot string) {
	l := &life{store: newStore(s.plan.options, s.plan.marks), files: files, id: id, boot: boot}
	l.handlers = []*Handler{s.handler(l.store, s.plan.policy), s.handler(l.store, Policy{})}
	l.ctx, l.kill = context.WithCancel(context.Background())
	if s.plan.lives {
		s.openDisk(l)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.life = l
	close(s.born)
}

// openDisk gives a process its disk, which takes its time.
func (s *schedule) openDisk(l *life) {
	slow := func(longest time.Duration) func(string) {
		return func(name string) {
			if !strings.Contains(name, fenceLogName) { // purges wait for that, with a lock
				s.nap(s.random(uint64(time.Now().UnixNano()), uint64(len(name)), 5), longest)
			}
		}
	}
	o := DiskOptions{Dir: s.dir, MaxBytes: 16 << 20, MinLife: time.Nanosecond, Boot: l.boot, ID: l.id, FS: l.files}
	found, err := l.store.OpenDisk(o)
	if err == nil {
		switch {
		case l.id == "":
		case found.Warm:
			s.count("start warm")
		default:
			s.count("start cold")
			if !s.cut {
				s.fault("a cold start")
			}
		}
		l.id, err = l.store.UseDisk(found.Warm)
	}
	if err != nil {
		s.fault("disk: %v", err)
	}
	// A crash finds answers that are being written, and others being read. What
	// must be waited for, deletions, has to be there in deletePatience.
	l.files.setPace(slow(20*time.Millisecond), slow(2*time.Millisecond))
	if s.plan.films {
		l.files.setRefusing(s.refuse)
	}
}

// refuse has a film that is being written fail, or take long. While a disk fails,
// invalidations are not written to it either, and outlive no kill.
func (s *schedule) refuse(name string) error {
	if !strings.HasSuffix(name, ".part") {
		return nil
	}
	switch random := s.random(uint64(time.Now().UnixNano()), uint64(len(name)), 6); random.IntN(24) {
	case 0:
		if !s.plan.posts {
			return errors.New("a fault of the disk")
		}
	case 1:
		s.nap(random, 2*latePatience)
	}
	return nil
}

// join is for whoever has to do with the process that runs, or the next one.
func (m *model) join() *life {
	for {
		m.mu.Lock()
		l, born := m.life, m.born
		if l != nil {
			l.busy.Add(1)
		}
		m.mu.Unlock()
		if l != nil {
			return l
		}
		<-born
	}
}

// reaper ends the process, in order or at any moment, by itself or with the whole
// system, and begins the next one.
func (s *schedule) reaper(random *rand.Rand) {
	var first []byte
	for range 1 + random.IntN(8) {
		struck := false
		select {
		case <-time.After(s.moment(random, time.Second)):
		case <-s.lightning:
			struck = true
		}
		s.mu.Lock()
		l, left := s.life, s.life.files
		boot, what := l.boot, "end"
		s.cut = false
		s.life, s.born = nil, make(chan struct{})
		if struck || random.IntN(3) > 0 {
			what = "kill"
			if s.cut = s.plan.cuts && (struck || random.IntN(2) == 0); s.cut {
				what, boot, left = "power cut", s.bootAfter(boot), l.files.cutOff(random)
			} else {
				left = l.files.crashed()
			}
			l.dead = true
			l.kill()
		} else if s.plan.cuts && random.IntN(2) == 0 {
			what, boot = "end and another boot", s.bootAfter(boot)
		}
		s.seen[what]++
		s.mu.Unlock()
		s.stop(l)
		if log := left.file(fenceLogName); first == nil && log != nil {
			first = log.Data
		} else if s.plan.forgetful && log != nil {
			log.Data = first
		}
		s.begin(left, l.id, boot)
	}
}

// bootAfter names the next run of the system, where it has a name.
func (s *schedule) bootAfter(boot string) string {
	if s.plan.bootless {
		return ""
	}
	return boot + "x"
}

// stop waits until nobody has to do with a process, ends it, and holds its books
// against what it has.
func (s *schedule) stop(l *life) {
	l.busy.Wait()
	l.files.setPace(nil, nil)
	l.files.setRefusing(nil)
	l.store.Close()
	synctest.Wait()
	s.checkAtRest(l.store)
}

// checkAtRest holds the store's books against what it has.
func (s *schedule) checkAtRest(store *Store) {
	holders := make(map[*common]int)
	now, held, entries, fills, keys := store.Stats(), store.marksHeld(), int64(0), 0, 0
	for i := range store.shards {
		sh := &store.shards[i]
		held += sh.stays.Overhead()
		for _, e := range sh.stays.All() {
			held += e.held()
			holders[e.common]++
			entries++
		}
		for _, e := range sh.index {
			for ; e != nil; e = e.next {
				keys++
			}
		}
		fills += len(sh.fills)
	}
	held += s.checkVault(store)
	for one, n := range holders {
		if held += one.size; one.held != n {
			s.fault("%d answers have a common that is held %d times", n, one.held)
		}
	}
	for _, one := range store.commons.known {
		if holders[one] == 0 {
			s.fault("a common that no answer has is still known")
		}
	}
	if now.Bytes != held || now.Entries != entries || int64(keys) != entries {
		s.fault("the books say %d bytes, %d entries; there are %d, %d, and %d in the index", now.Bytes, now.Entries, held, entries, keys)
	}
	if fills != 0 || now.Refreshing != 0 {
		s.fault("%d keys with fetches in flight, %d refreshes, when all has ended", fills, now.Refreshing)
	}
	if n := store.Draining(store.Generation() + 1); n != 0 {
		s.fault("%d exchanges in flight when all have ended", n)
	}
}
