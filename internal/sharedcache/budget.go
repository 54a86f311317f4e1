package sharedcache

import (
	"container/heap"
	"encoding/binary"
	"sync"
	"time"
)

// budget counts what this node has in Redis, from what it has put there and when
// that ends. The zero value has no room.
type budget struct {
	size int64

	mu    sync.Mutex
	bytes int64
	ends  ends
	byKey map[string]*holding
}

// holding is a value that is there until it ends.
type holding struct {
	key   string
	bytes int64
	until time.Time
	at    int // in ends
}

// take makes room for a value, in place of the last one of its key. False: there is
// none, and nothing has changed.
func (b *budget) take(key string, bytes int64, ttl time.Duration, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.passLocked(now)
	before := int64(0)
	h := b.byKey[key]
	if h != nil {
		before = h.bytes
	}
	if b.bytes-before+bytes > b.size {
		return false
	}
	b.bytes += bytes - before
	if h != nil {
		h.bytes, h.until = bytes, now.Add(ttl)
		heap.Fix(&b.ends, h.at)
		return true
	}
	h = &holding{key: key, bytes: bytes, until: now.Add(ttl)}
	if b.byKey == nil {
		b.byKey = make(map[string]*holding)
	}
	b.byKey[key] = h
	heap.Push(&b.ends, h)
	return true
}

func (b *budget) used(now time.Time) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.passLocked(now)
	return b.bytes
}

// passLocked forgets what has ended.
func (b *budget) passLocked(now time.Time) {
	for len(b.ends) > 0 && !now.Before(b.ends[0].until) {
		h := heap.Pop(&b.ends).(*holding)
		b.bytes -= h.bytes
		delete(b.byKey, h.key)
	}
}

// ends is a heap of holdings, the first to end first.
type ends []*holding

func (e ends) Len() int           { return len(e) }
func (e ends) Less(i, j int) bool { return e[i].until.Before(e[j].until) }
func (e ends) Swap(i, j int) {
	e[i], e[j] = e[j], e[i]
	e[i].at, e[j].at = i, j
}

// Push is for package heap.
func (e *ends) Push(x any) {
	h := x.(*holding)
	h.at = len(*e)
	*e = append(*e, h)
}

// Pop is for package heap.
func (e *ends) Pop() any {
	old := *e
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*e = old[:len(old)-1]
	return last
}

// seal writes a value with how long it is to stay, from which follows, with what is
// left of that, how old it is.
func seal(value []byte, ttl time.Duration) []byte {
	return append(binary.AppendUvarint(nil, uint64(ttl.Milliseconds())), value...)
}

// open reads what seal wrote.
func open(text []byte) (value []byte, ttl time.Duration, ok bool) {
	n, size := binary.Uvarint(text)
	if size <= 0 || n > uint64(longestKeep.Milliseconds()) {
		return nil, 0, false
	}
	return text[size:], time.Duration(n) * time.Millisecond, true
}
