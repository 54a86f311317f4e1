package httpcache

import (
	"iter"
	"math"
	"net/http"
)

// stored are all stored answers of a key, newest first. The one at hand may be
// unlinked. Keys whose hashes collide are in one chain.
func (sh *shard) stored(hash uint64, key []byte) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for e := sh.index[hash]; e != nil; {
			next := e.next
			if e.key() == string(key) && !yield(e) {
				return
			}
			e = next
		}
	}
}

// newest is the first of stored, or nil.
func (sh *shard) newest(hash uint64, key []byte) *entry {
	for e := range sh.stored(hash, key) {
		return e
	}
	return nil
}

// match is the newest stored answer for such a request: RFC 9111, 4.1.
func (sh *shard) match(hash uint64, key []byte, request http.Header) *entry {
	for e := sh.index[hash]; e != nil; e = e.next {
		if e.key() == string(key) && !e.isPart() && matches(e.vary(), request) {
			return e
		}
	}
	return nil
}

// link puts an entry in, as the newest.
func (sh *shard) link(e *entry) {
	e.next = sh.index[e.hash]
	sh.index[e.hash] = e
}

// unlink takes an entry out, which is in.
func (sh *shard) unlink(e *entry) {
	switch at := sh.index[e.hash]; {
	case at != e:
		for at.next != e {
			at = at.next
		}
		at.next = e.next
	case e.next == nil:
		delete(sh.index, e.hash)
	default:
		sh.index[e.hash] = e.next
	}
	e.next = nil
}

// relink puts an entry where another is.
func (sh *shard) relink(old, e *entry) {
	e.next, old.next = old.next, nil
	at := sh.index[e.hash]
	if at == old {
		sh.index[e.hash] = e
		return
	}
	for at.next != old {
		at = at.next
	}
	at.next = e
}

// useLocked notes that a stored answer was found for a request.
func (sh *shard) useLocked(e *entry) {
	sh.events++
	if e.uses < math.MaxUint32 {
		e.uses++
	}
	e.lastUsed = sh.events
}

// leastUseful is the variant that makes room for another: one that nobody came
// back for, if there is one, else any; of these the one that was used longest
// ago. By age alone, a visitor who makes up values of a field that the page
// varies by could push out what all others get.
func (sh *shard) leastUseful(hash uint64, key []byte) (worst *entry) {
	for e := range sh.stored(hash, key) {
		if worst == nil || (e.uses == 0) == (worst.uses == 0) && int32(e.lastUsed-worst.lastUsed) < 0 || e.uses == 0 && worst.uses > 0 {
			worst = e
		}
	}
	return worst
}
