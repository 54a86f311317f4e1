// Package httpcache is a shared HTTP cache (RFC 9111) with purges that hold: an
// answer whose fetch began before a purge that covers it is neither stored nor
// served from then on, wherever it was at that moment.
//
// A Store holds the answers and outlives configurations. A Handler belongs to
// one configuration and serves requests from a Store, asking an Origin. The
// decisions are pure functions of request, stored answer, verdict and time.
package httpcache

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/edgegw/edge/internal/httpcache/residency"
)

// Options bound a Store. The zero value stands for the defaults.
type Options struct {
	// MaxBytes is the most that stored answers and answers being stored may
	// take: bodies, header fields, keys, tags, bookkeeping and what purges leave. Default 512 MiB.
	MaxBytes int64 `json:"max_bytes,omitempty"`
	// MaxObject is the largest body that is stored. Default 32 MiB, and never
	// more than MaxBytes.
	MaxObject int64 `json:"max_object,omitempty"`
	// Vault is nil for none.
	Vault *VaultOptions `json:"vault,omitempty"`
}

const (
	// DefaultMaxBytes is Options.MaxBytes, if that is not said.
	DefaultMaxBytes  = 512 << 20
	defaultMaxObject = 32 << 20
)

// Validate reports every mistake.
func (o Options) Validate() error {
	var errs []error
	if o.MaxBytes < 0 {
		errs = append(errs, fmt.Errorf("max_bytes %d: want more than 0, or 0 for %d", o.MaxBytes, DefaultMaxBytes))
	}
	if o.MaxObject < 0 {
		errs = append(errs, fmt.Errorf("max_object %d: want more than 0, or 0 for %d", o.MaxObject, defaultMaxObject))
	}
	return errors.Join(append(errs, o.Vault.Validate())...)
}

func (o Options) withDefaults() Options {
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.MaxObject <= 0 {
		o.MaxObject = defaultMaxObject
	}
	o.MaxObject = min(o.MaxObject, o.MaxBytes)
	o.Vault = o.Vault.withDefaults(o.MaxBytes)
	return o
}

const (
	// shardCount: enough that cores rarely meet; bytes are bounded over all
	// shards together, so it does not limit the size of an object.
	shardCount = 64
	// maxRefused is how many keys each shard remembers whose answer was not
	// stored.
	maxRefused = 1024
	// refusedFor is how long. A storable answer ends it at once, so this only
	// bounds how long a key that nobody asks for is remembered.
	refusedFor = 2 * time.Minute
)

// Store holds answers, fills in flight, the fence and the counters. All methods
// may be called concurrently, Configure too.
type Store struct {
	seed      maphash.Seed
	shards    [shardCount]shard
	fence     *fence
	census    *census
	counters  counters
	encoder   encoder
	vault     vault
	bytes     atomic.Int64
	maxBytes  atomic.Int64
	yielded   atomic.Int64 // the part of maxBytes that is given up: see Yield
	maxObject atomic.Int64
	refreshes atomic.Int64
	tier      atomic.Pointer[tier]    // nil without a disk
	sharing   atomic.Pointer[sharing] // nil without a shared cache
	trust     atomic.Pointer[func() bool]
	changed   atomic.Pointer[func(Change)]
	residents
	commons  commons
	hitLines shown // Cache-Status of plain hits, by TTL
	ages     shown
	changes  changes
}

// shard holds the keys of one share of the hashes.
type shard struct {
	mu      sync.Mutex
	index   map[uint64]*entry       // the newest of each hash, see entry.next
	stays   *residency.List[*entry] // every entry of index
	fills   map[uint64][]*fill
	events  uint32                          // insertions and finds; it may turn over
	refused *simplelru.LRU[uint64, refusal] // by the hash of the key
	// invalidations counts what unsafe requests asked to drop, found or not.
	invalidations uint64
}

// NewStore makes an empty store.
func NewStore(o Options) *Store { return newStore(o, maxMarks) }

func newStore(o Options, marks int) *Store {
	s := &Store{seed: maphash.MakeSeed(), census: newCensus(), commons: newCommons()}
	s.fence = newFence(marks, &s.bytes)
	room := func(n int64) bool {
		_, ok := s.reserve(0, n)
		return ok
	}
	s.fence.weight.room, s.fence.groups.weight.room = room, room
	for i := range s.shards {
		s.shards[i] = shard{
			index:   make(map[uint64]*entry),
			stays:   residency.New[*entry](&s.past),
			fills:   make(map[uint64][]*fill),
			refused: newLRU[uint64, refusal](maxRefused, nil),
		}
	}
	s.climber = *residency.NewClimber()
	s.window.Store(math.Float64bits(s.climber.Share()))
	s.Configure(o)
	return s
}

// Configure changes the bounds. A smaller MaxBytes evicts at once; a smaller
// MaxObject holds for answers that arrive from now on.
func (s *Store) Configure(o Options) {
	o = o.withDefaults()
	s.maxBytes.Store(o.MaxBytes)
	s.maxObject.Store(o.MaxObject)
	s.fence.bound(o.MaxBytes)
	s.vault.configure(s, o.Vault)
	s.shrink()
}

// MostYield is the part of MaxBytes that can be given up, one in so many.
const MostYield = 4

// Yield gives up a part of MaxBytes for as long as the rest of the process needs
// it, a quarter at most: a cap that becomes much smaller must not find all of it
// given up. More of it evicts at once.
func (s *Store) Yield(n int64) {
	s.yielded.Store(max(0, n))
	s.shrink()
}

// room is what answers may take at present.
func (s *Store) room() int64 {
	most := s.maxBytes.Load()
	return most - min(s.yielded.Load(), most/MostYield)
}

func (s *Store) shrink() {
	for s.bytes.Load() > s.room() && s.evictSomewhere(0, 0) {
	}
}

// Generation is the number that an exchange beginning now is stamped with.
func (s *Store) Generation() uint64 { return s.fence.generation.Load() }

// Purge applies an order: what began before it and matches one of its selectors
// is never served again, or, if Soft, serves as validator and for
// stale-if-error only. The cost depends on the number of selectors, not of
// entries. It returns the generation that the order has here: at least the
// order's own, and above every earlier one.
func (s *Store) Purge(p Purge) uint64 {
	generation := s.fence.purge(p)
	s.census.advance(generation)
	s.counters.purges.Add(1)
	return generation
}

// Draining counts the exchanges still in flight that began before the order of
// that generation was applied here. Connections that were upgraded, event
// streams and answers that no cache may keep do not count.
func (s *Store) Draining(generation uint64) int {
	return s.census.before(s.fence.local(generation))
}

func (s *Store) hash(key []byte) uint64 { return maphash.Bytes(s.seed, key) }

func (s *Store) shard(hash uint64) *shard { return &s.shards[hash%shardCount] }

// find returns the stored answer for a request and marks it as used. known
// reports that there are answers for the key, even if none for the request.
func (s *Store) find(hash uint64, key []byte, request http.Header) (e *entry, known bool) {
	sh := s.shard(hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if e = sh.match(hash, key, request); e != nil {
		sh.stays.Use(e, s.tick.Load())
		sh.useLocked(e)
		return e, true
	}
	return nil, sh.hasWhole(hash, key)
}

// insert stores an entry for whose bytes there is a reservation. It replaces
// the answer to the same request, unless that is newer; then it reports false.
func (s *Store) insert(e *entry) (stored bool) {
	sh := s.shard(e.hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return s.insertLocked(sh, e)
}

func (s *Store) insertLocked(sh *shard, e *entry) (stored bool) {
	if s.newerOnDisk(e) || !s.placeLocked(sh, e) {
		return false
	}
	s.counters.stores.Add(1)
	s.persist(e)
	s.share(e)
	return true
}

// placeLocked is insert for memory alone.
func (s *Store) placeLocked(sh *shard, e *entry) (placed bool) {
	before, count := (*entry)(nil), 0
	for old := range sh.stored(e.hash, []byte(e.key())) {
		count++
		if sameVary(old.vary(), e.vary()) {
			before = old
		}
	}
	switch {
	case before != nil && !e.supersedes(before):
		return false
	case before != nil:
		sh.unlink(before)
	case count >= maxVariants:
		loser := sh.leastUseful(e.hash, []byte(e.key()))
		sh.unlink(loser)
		s.forgetLocked(sh, loser)
		s.counters.evictions.Add(1)
	}
	sh.link(e)
	s.vault.forget(s, e)
	s.changes.at(e.hash).Add(1)
	s.stayLocked(sh, before, e)
	sh.events++
	e.lastUsed = sh.events
	s.counters.entries.Add(1)
	return true
}

func sameVary(a, b []varied) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// forgetLocked drops an entry that is in the index no more.
func (s *Store) forgetLocked(sh *shard, e *entry) {
	sh.stays.Remove(e)
	s.leave(e)
	s.bytes.Add(-sh.stays.Shrink())
	s.counters.encodedBytes.Add(-e.encodings.Load().bytes())
	s.counters.entries.Add(-1)
}

// remove drops an entry, if it is still stored, from disk too.
func (s *Store) remove(e *entry) {
	sh := s.shard(e.hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	s.unpersist(e)
	s.vault.forget(s, e)
	if sh.stays.Has(e) {
		s.removeLocked(sh, e)
	}
}

func (s *Store) removeLocked(sh *shard, e *entry) {
	sh.unlink(e)
	s.changes.at(e.hash).Add(1)
	s.forgetLocked(sh, e)
}

// standing asks the fence about a stored entry; once per entry and generation,
// else it costs one load. Entries behind the fence are dropped here.
func (s *Store) standing(e *entry) standing {
	if !s.trusted() {
		return distrusted
	}
	if s.fence.groups.gaveUp(e.groups()) {
		s.remove(e)
		return hardPurged
	}
	if judged := e.judged.Load(); judged>>1 == s.fence.generation.Load()+1 {
		return standing(judged & 1)
	}
	found, generation := s.fence.judge(e.provenance(), e.began)
	if found == hardPurged {
		s.remove(e)
		return found
	}
	e.judged.Store((generation+1)<<1 | uint64(found))
	return found
}
