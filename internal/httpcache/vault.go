package httpcache

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// VaultOptions bound the vault, which keeps fingerprinted answers that memory has
// evicted, so that pages of past versions find their assets though no replica has
// them any more. The zero value stands for the defaults.
type VaultOptions struct {
	// MaxBytes is the part of Options.MaxBytes that it may take. It takes what is
	// in it, no more. Default an eighth, and never more than half.
	MaxBytes int64 `json:"max_bytes,omitempty"`
	// Versions is of how many versions of the application it keeps answers: of
	// those that were fetched from last. Default 10.
	Versions int `json:"versions,omitempty"`
}

const (
	defaultVaultShare    = 8 // one part in so many
	mostVaultShare       = 2
	defaultVaultVersions = 10
)

// Validate reports every mistake. Nil is none.
func (o *VaultOptions) Validate() error {
	if o == nil {
		return nil
	}
	var errs []error
	if o.MaxBytes < 0 {
		errs = append(errs, fmt.Errorf("vault max_bytes %d: want more than 0, or 0 for an eighth of memory", o.MaxBytes))
	}
	if o.Versions < 0 {
		errs = append(errs, fmt.Errorf("vault versions %d: want 1 or more, or 0 for %d", o.Versions, defaultVaultVersions))
	}
	return errors.Join(errs...)
}

// withDefaults is the vault of a store of so many bytes.
func (o *VaultOptions) withDefaults(memory int64) *VaultOptions {
	if o == nil {
		return nil
	}
	return &VaultOptions{
		MaxBytes: min(cmp.Or(max(0, o.MaxBytes), memory/defaultVaultShare), memory/mostVaultShare),
		Versions: cmp.Or(max(0, o.Versions), defaultVaultVersions),
	}
}

// vault is that of a store, whose bytes its own are part of. An answer is in
// memory or here, never in both: it comes with its eviction and goes when it is
// found, or when anything takes its place. What it holds is judged by the fence
// when it is found, as all that is stored: a purge need not look for it here.
//
// Its lock comes after a shard's.
type vault struct {
	most         atomic.Int64 // 0: there is none
	hits, losses atomic.Int64

	mu       sync.Mutex
	versions int
	bytes    int64
	shelves  map[string]*vaultShelf // by version
	index    map[string][]*kept     // by key, oldest first
}

// vaultShelf is what is kept of one version, by when it came.
type vaultShelf struct {
	since time.Time // when the first was fetched
	kept  *simplelru.LRU[*kept, struct{}]
}

// kept is an answer as it is on disk, too: what a request has made of it since
// is not kept.
type kept struct {
	key, version string
	vary         []varied
	meta         []byte
	body         body
	stamp        int64 // on disk, if it is there
	bytes        int64
}

// keptCost is what one takes beside its key, text and body: itself, its place on
// the shelf, and in the index a slot of a map from strings to lists, and a list.
const keptCost = 128 + listCost + 94 + 8

// configure changes the bounds. Without options there is no vault.
func (v *vault) configure(s *Store, o *VaultOptions) {
	if o == nil {
		o = new(VaultOptions)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.most.Store(o.MaxBytes)
	v.versions = o.Versions
	if v.shelves == nil {
		v.shelves, v.index = make(map[string]*vaultShelf), make(map[string][]*kept)
	}
	v.trimLocked(s)
}

// keeps reports an answer for the vault: whole, and of a fingerprinted rule, which
// shows in that it has a maker and yet outlives its version.
func keeps(e *entry) bool {
	return e.madeBy != "" && e.version() == "" && e.status == http.StatusOK && !e.isPart() && e.body().file == nil &&
		!e.invalidated()
}

// keep takes an answer in that memory has just evicted, if there is room. The
// shard of its key is locked, so that it is in one place or the other for whoever
// invalidates it.
func (v *vault) keep(s *Store, e *entry) {
	if v.most.Load() == 0 || !keeps(e) {
		return
	}
	k := &kept{key: strings.Clone(e.key()), version: strings.Clone(e.madeBy), vary: copied(e.vary()), meta: e.appendMeta(nil), body: e.body(), stamp: e.stamp}
	if t := s.tier.Load(); t != nil {
		k.stamp = t.stampOf(e)
	}
	k.bytes = managed(keptCost+int64(allocated(len(k.key)+len(k.version))+allocated(cap(k.meta)))+k.body.held()) + e.weighVary()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.removeLocked(s, k.key, func(old *kept) bool { return sameVary(old.vary, k.vary) })
	for !s.fits(k.bytes) {
		if !v.giveLocked(s) {
			v.losses.Add(1)
			return
		}
	}
	at := v.shelves[k.version]
	if at == nil {
		at = &vaultShelf{since: e.received, kept: newLRU[*kept, struct{}](math.MaxInt32, nil)}
		v.shelves[k.version] = at
	}
	if e.received.Before(at.since) {
		at.since = e.received
	}
	at.kept.Add(k, struct{}{})
	v.index[k.key] = append(v.index[k.key], k)
	v.bytes += k.bytes
	v.trimLocked(s)
}

// copied holds on to nothing else.
func copied(vary []varied) []varied {
	vary = slices.Clone(vary)
	for i := range vary {
		vary[i].name, vary[i].value = strings.Clone(vary[i].name), strings.Clone(vary[i].value)
	}
	return vary
}

// weighVary is the memory of the values by which an answer varies.
func (e *entry) weighVary() int64 {
	n := 0
	for _, one := range e.vary() {
		n += len(one.name) + len(one.value) + 64
	}
	return int64(n)
}

// trimLocked keeps to the bounds.
func (v *vault) trimLocked(s *Store) {
	for len(v.shelves) > v.versions {
		at := v.oldestLocked()
		for at == v.oldestLocked() && len(v.shelves) > v.versions {
			v.giveLocked(s)
		}
	}
	for v.bytes > v.most.Load() && v.giveLocked(s) {
	}
}

// oldestLocked is the version that is here for the longest time.
func (v *vault) oldestLocked() *vaultShelf {
	var oldest *vaultShelf
	for _, at := range v.shelves {
		if oldest == nil || at.since.Before(oldest.since) {
			oldest = at
		}
	}
	return oldest
}

// give frees some memory: what came first of the oldest version. It reports false
// when there is nothing.
func (v *vault) give(s *Store) bool {
	if v.most.Load() == 0 {
		return false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.giveLocked(s)
}

func (v *vault) giveLocked(s *Store) bool {
	oldest := v.oldestLocked()
	if oldest == nil {
		return false
	}
	k, _, _ := oldest.kept.GetOldest()
	v.removeLocked(s, k.key, func(one *kept) bool { return one == k })
	v.losses.Add(1)
	return true
}

// removeLocked removes some of the answers of a key.
func (v *vault) removeLocked(s *Store, key string, gone func(*kept) bool) {
	var left []*kept
	for _, k := range v.index[key] {
		if !gone(k) {
			left = append(left, k)
			continue
		}
		at := v.shelves[k.version]
		if at.kept.Remove(k); at.kept.Len() == 0 {
			delete(v.shelves, k.version)
		}
		v.bytes -= k.bytes
		s.release(k.bytes)
	}
	if len(left) == 0 {
		delete(v.index, key)
		return
	}
	v.index[key] = left
}

// forget removes the answer to the requests that e answers. The shard is locked.
func (v *vault) forget(s *Store, e *entry) {
	v.drop(s, e.key(), func(k *kept) bool { return sameVary(k.vary, e.vary()) })
}

// forgetKey removes every answer of a key, and reports whether there was one. The
// shard is locked.
func (v *vault) forgetKey(s *Store, key []byte) bool {
	return v.drop(s, string(key), func(*kept) bool { return true })
}

func (v *vault) drop(s *Store, key string, gone func(*kept) bool) (found bool) {
	if v.most.Load() == 0 {
		return false
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	found = len(v.index[key]) > 0
	v.removeLocked(s, key, gone)
	return found
}

// find makes an answer for a request of what is kept, which stays.
func (v *vault) find(key []byte, request http.Header) *entry {
	if v.most.Load() == 0 {
		return nil
	}
	v.mu.Lock()
	all := v.index[string(key)]
	at := -1
	for i := len(all) - 1; i >= 0 && at < 0; i-- { // the newest
		if matches(all[i].vary, request) {
			at = i
		}
	}
	if at < 0 {
		v.mu.Unlock()
		return nil
	}
	k := all[at]
	v.mu.Unlock()
	e, err := decodeEntry(k.meta, k.body)
	if err != nil || e.key() != string(key) {
		return nil
	}
	e.stamp = k.stamp
	return e
}

// unvault takes the answer for a request from the vault back into memory. It gives
// nil when there is none that may be used.
func (h *Handler) unvault(hash uint64, key []byte, r *http.Request) *entry {
	s := h.Store
	if s.vault.most.Load() == 0 || !s.trusted() {
		return nil
	}
	sh := s.shard(hash)
	sh.mu.Lock()
	invalidations := sh.invalidations
	sh.mu.Unlock()
	e := s.vault.find(key, r.Header)
	if e == nil {
		return nil
	}
	e.adopt(hash, &s.commons)
	// It would validate nothing: who has it gives it as it is.
	if stands, _ := s.fence.judge(e.provenance(), e.began); stands != standsFirm {
		return nil
	}
	s.vault.hits.Add(1)
	if !h.reserve(hash, e.claim()) {
		return e // it is served all the same
	}
	return s.lend(sh, e, key, r.Header, invalidations)
}

// VaultStats is the vault at one moment. Counts run from the start.
type VaultStats struct {
	Entries  int64 `json:"entries"`
	Bytes    int64 `json:"bytes"`     // part of Stats.Bytes
	MaxBytes int64 `json:"max_bytes"` // the cap on them
	Versions int64 `json:"versions"`
	Hits     int64 `json:"hits"`   // answers that came from there
	Losses   int64 `json:"losses"` // that it had to give up
}

// vaultStats is nil without a vault.
func (s *Store) vaultStats() *VaultStats {
	v := &s.vault
	if v.most.Load() == 0 {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	st := &VaultStats{
		Bytes: v.bytes, MaxBytes: v.most.Load(), Versions: int64(len(v.shelves)), Hits: v.hits.Load(), Losses: v.losses.Load(),
	}
	for _, at := range v.shelves {
		st.Entries += int64(at.kept.Len())
	}
	return st
}
