package httpcache

import (
	"math"
	"sync"
	"sync/atomic"

	"github.com/edgegw/edge/internal/httpcache/residency"
)

// residents is what the shards' lists of residents share.
type residents struct {
	tick   atomic.Uint32 // counts entries as they come; the lists tell time by it
	past   residency.Past
	window atomic.Uint64 // the window's share, as the bits of a float64

	climbing sync.Mutex
	climber  residency.Climber
}

// countEvery is how many new entries a shard sees between two reports to the
// climber.
const countEvery = 8

// Hash, Bytes and Mark make an entry a residency.Resident.
func (e *entry) Hash() uint64          { return e.hash }
func (e *entry) Bytes() int64          { return e.held() }
func (e *entry) Mark() *residency.Mark { return &e.stay }

// stayLocked takes an entry in among the residents of its shard, in the place
// of another or, with nil, as a newcomer.
func (s *Store) stayLocked(sh *shard, before, e *entry) {
	tick := s.tick.Add(1)
	if !s.commons.hold(e.common) {
		s.release(e.common.size)
	}
	s.counters.encodedBytes.Add(e.encodings.Load().bytes())
	if before != nil {
		sh.stays.Replace(before, e, tick)
		s.leave(before)
		s.counters.encodedBytes.Add(-before.encodings.Load().bytes())
		s.counters.entries.Add(-1)
		return
	}
	// Without room for a larger sketch the list knows less, that is all.
	if more := sh.stays.Wants(); more > 0 && s.fits(more) {
		sh.stays.Grow()
	}
	sh.stays.Add(e, tick)
	if sh.stays.Added() >= countEvery {
		s.climb(sh.stays.Count())
	}
}

// leave gives back the bytes of an entry that has gone.
func (s *Store) leave(e *entry) {
	s.release(e.held())
	if s.commons.drop(e.common) {
		s.release(e.common.size)
	}
}

// climb passes hits and misses on to who finds the window's share. Whoever
// finds another at it leaves these out: a sample of the traffic will do.
func (s *Store) climb(hits, misses int) {
	if !s.climbing.TryLock() {
		return
	}
	defer s.climbing.Unlock()
	if s.climber.Count(hits, misses, int(s.counters.entries.Load())) {
		s.window.Store(math.Float64bits(s.climber.Share()))
	}
}

// fits reserves n bytes if there is room.
func (s *Store) fits(n int64) bool {
	for {
		now := s.bytes.Load()
		if now+n > s.room() {
			return false
		}
		if s.bytes.CompareAndSwap(now, now+n) {
			return true
		}
	}
}

// reserve makes room for n bytes, evicting what is worth least, and reports how
// many entries. It fails when there is nothing left to evict: fills in flight
// hold the rest.
func (s *Store) reserve(hash uint64, n int64) (evicted int, ok bool) {
	for !s.fits(n) {
		if n > s.room() || !s.evictSomewhere(hash, n) {
			return evicted, false
		}
		evicted++
	}
	return evicted, true
}

func (s *Store) release(n int64) { s.bytes.Add(-n) }

// evictSomewhere evicts one entry to make room for n bytes, or, where there is
// none, has the vault give up something.
func (s *Store) evictSomewhere(hash uint64, n int64) bool {
	return s.evictEntry(hash, n) || s.vault.give(s)
}

// evictEntry evicts an entry of the hash's shard, if that has many, else of all.
func (s *Store) evictEntry(hash uint64, n int64) bool {
	share := math.Float64frombits(s.window.Load())
	sh := s.shard(hash)
	sh.mu.Lock()
	if sh.stays.Alone(s.bytes.Load(), shardCount) {
		defer sh.mu.Unlock()
		return s.evictLocked(sh, share, n)
	}
	sh.mu.Unlock()
	return s.evictAnywhere(share, n)
}

func (s *Store) evictLocked(sh *shard, share float64, n int64) bool {
	for {
		step := residency.Choose([]residency.Bid[*entry]{sh.stays.Bid()}, share, n)
		for _, e := range []*entry{step.Demote, step.Admit} {
			if e != nil {
				sh.stays.Prove(e, s.tick.Load())
			}
		}
		if step.Renew != nil {
			sh.stays.Renew(step.Renew, s.tick.Load())
		}
		if step.Evict != nil {
			s.removeLocked(sh, step.Evict)
			s.vault.keep(s, step.Evict)
			s.counters.evictions.Add(1)
			return true
		}
		if step.Admit == nil {
			return false
		}
	}
}

// evictAnywhere asks all shards, one after another: no two locks are held at
// once. What a shard offered may have gone when its turn comes; then there is
// room, or another round.
func (s *Store) evictAnywhere(share float64, n int64) bool {
	var bids [shardCount]residency.Bid[*entry]
	for {
		for i := range s.shards {
			sh := &s.shards[i]
			sh.mu.Lock()
			bids[i] = sh.stays.Bid()
			sh.mu.Unlock()
		}
		step := residency.Choose(bids[:], share, n)
		for _, e := range []*entry{step.Demote, step.Admit} {
			if e != nil {
				s.onList(e, (*residency.List[*entry]).Prove)
			}
		}
		if step.Renew != nil {
			s.onList(step.Renew, (*residency.List[*entry]).Renew)
		}
		if step.Evict != nil {
			s.evict(step.Evict)
			return true
		}
		if step.Admit == nil {
			return false
		}
	}
}

// onList does something with an entry on the list of its shard, now.
func (s *Store) onList(e *entry, do func(l *residency.List[*entry], e *entry, tick uint32)) {
	sh := s.shard(e.hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	do(sh.stays, e, s.tick.Load())
}

// evict drops an entry, if it is still stored.
func (s *Store) evict(e *entry) {
	sh := s.shard(e.hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.stays.Has(e) {
		s.removeLocked(sh, e)
		s.vault.keep(s, e)
		s.counters.evictions.Add(1)
	}
}
