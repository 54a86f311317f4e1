package rawhit

import (
	"context"
	"hash/maphash"
	"net"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

const (
	// slotCount: each request hashes to one slot, so that finding one takes
	// neither lock nor list.
	slotCount = 1 << 13
	// maxMemory is what all that was learned may take, beside the cache.
	maxMemory = 8 << 20
)

// Table holds what was learned for one server of one configuration. Its methods
// may be called concurrently.
type Table struct {
	seed   maphash.Seed
	fields fields
	slots  [slotCount]atomic.Pointer[memo]
	bytes  atomic.Int64
	hand   atomic.Uint32 // where the search for room goes on

	idle, write, handshake func() time.Duration
	unwrap                 func(net.Conn) net.Conn
	choose                 func() bool // nil for none
	frames                 bool
	once                   sync.Once // interposes

	journal *journal // nil before Start

	draining atomic.Bool
	running  atomic.Int64
	replies  atomic.Int64
}

// Config says what a server does apart from answering.
type Config struct {
	// Kept names request fields that a handler looks at.
	Kept []string
	// Idle is how long a connection may wait for a request, and Write how long
	// a client may take no byte; they are asked while connections are served.
	// Zero is without end.
	Idle, Write func() time.Duration
	// Handshake is how long a client may take for the one of TLS. Zero is
	// without end.
	Handshake func() time.Duration
	// Unwrap finds what [Table.Listener]'s handed out in what net/http accepted;
	// nil if nobody puts anything around it. Whatever does may not keep bytes
	// back, nor read any that it was not asked for.
	Unwrap func(net.Conn) net.Conn
	// Choose picks requests that take the long way, for somebody who wants to see
	// them there: see [Chosen]. Nil picks none.
	Choose func() bool
	// HTTP2 has streams of HTTP/2 over TLS answered as well. The server's
	// handler for those must have been made by net/http or golang.org/x/net.
	HTTP2 bool
}

// NewTable makes an empty table.
func NewTable(c Config) *Table {
	return &Table{
		seed: maphash.MakeSeed(), fields: newFields(c.Kept),
		idle: c.Idle, write: c.Write, handshake: c.Handshake, unwrap: c.Unwrap, choose: c.Choose, frames: c.HTTP2,
	}
}

// memo is a request and how its answer goes out. It does not hold on to the
// answer.
type memo struct {
	key      string
	head     head
	frames   bool // for HTTP/2
	answer   Answer
	count    func(took time.Duration)
	log      func(Record)
	keep     func(now time.Time, took time.Duration) bool
	size     int64
	used     atomic.Bool // since the last one that wanted its slot
	rendered atomic.Pointer[rendering]
}

func newMemo(key string, h head, hit *Hit, frames bool) *memo {
	m := &memo{key: key, head: h, answer: hit.Answer, count: hit.Count, log: hit.Log, keep: hit.Keep, frames: frames}
	r := m.render(hit.Age, hit.TTL)
	m.used.Store(true)
	// The text of the head twice: in pieces and rendered.
	m.size = int64(unsafe.Sizeof(*m)) + int64(len(key)) + 2*int64(len(r.bytes)) + int64(len(r.block)) + 256
	return m
}

// render is the header for an age.
func (m *memo) render(age, ttl int64) *rendering {
	if r := m.rendered.Load(); r != nil && r.age == age && r.ttl == ttl {
		return r
	}
	r := m.head.render(age, ttl)
	if m.frames {
		r.block, r.blockID = pack(string(r.bytes), r.id)
	}
	m.rendered.Store(r)
	return r
}

func (t *Table) slot(key []byte) *atomic.Pointer[memo] {
	return &t.slots[maphash.Bytes(t.seed, key)%slotCount]
}

func (t *Table) find(key []byte) *memo {
	m := t.slot(key).Load()
	if m == nil || m.key != string(key) {
		return nil
	}
	if !m.used.Load() {
		m.used.Store(true)
	}
	return m
}

// wants reports that a request may be learned: its slot is free, its own, or
// taken by one that nobody has asked for since the last time.
func (t *Table) wants(key []byte) bool {
	m := t.slot(key).Load()
	return m == nil || m.key == string(key) || !m.used.Swap(false)
}

func (t *Table) put(m *memo) {
	for range slotCount {
		if t.bytes.Load()+m.size <= maxMemory {
			break
		}
		t.drop(&t.slots[t.hand.Add(1)%slotCount], nil)
	}
	t.bytes.Add(m.size)
	if old := t.slot([]byte(m.key)).Swap(m); old != nil {
		t.bytes.Add(-old.size)
	}
}

// drop empties a slot; with a memo, only if that is still in it.
func (t *Table) drop(slot *atomic.Pointer[memo], only *memo) {
	m := slot.Load()
	if m != nil && (only == nil || m == only) && slot.CompareAndSwap(m, nil) {
		t.bytes.Add(-m.size)
	}
}

// Replies counts the answers that were given here.
func (t *Table) Replies() int64 { return t.replies.Load() }

// Drain has everything take the long way from now on: net/http is about to
// close the connections that it takes for idle.
func (t *Table) Drain() { t.draining.Store(true) }

// Wait returns when no answer is being written, or with the context's error.
func (t *Table) Wait(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for t.running.Load() > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}
