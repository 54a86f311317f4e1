package httpcache

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"weak"

	"github.com/edgegw/edge/internal/coding"
)

// maxToEncode is how many bodies wait to be encoded. Past it a request that
// asks for one leaves it to the next request.
const maxToEncode = 1024

// encoder encodes stored bodies in the background, one after another: what
// visitors wait for comes first. Its goroutines live while there is work.
type encoder struct {
	wg sync.WaitGroup

	mu      sync.Mutex
	queue   []toEncode
	workers int
	closed  bool
}

// toEncode is an order to encode an entry's body. It keeps nothing in memory
// that the store has given up meanwhile.
type toEncode struct {
	h *Handler
	e weak.Pointer[entry]
	c coding.Coding
}

// maxEncoders leaves most of the machine to visitors.
func maxEncoders() int { return max(1, runtime.GOMAXPROCS(0)/4) }

// encodeLater has a stored body encoded, once: later calls cost one load.
func (h *Handler) encodeLater(e *entry, c coding.Coding) {
	bit := uint32(coding.Of(c))
	if !h.Policy.Encode.fits(e.body().size) || e.asked.Load()&bit != 0 || e.asked.Or(bit)&bit != 0 {
		return
	}
	if !h.Store.encoder.add(h.Store, toEncode{h: h, e: weak.Make(e), c: c}) {
		e.asked.And(^bit)
	}
}

// add reports false when there is no room in the queue.
func (q *encoder) add(s *Store, one toEncode) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.queue) >= maxToEncode {
		return false
	}
	q.queue = append(q.queue, one)
	if q.workers < maxEncoders() {
		q.workers++
		q.wg.Go(func() { q.work(s) })
	}
	return true
}

// spareTables keeps the tables of the codings, some megabytes, for the next
// goroutine, until the collector has come by twice.
var spareTables = sync.Pool{New: func() any { return new(coding.Encoder) }}

// work encodes until nothing is left.
func (q *encoder) work(s *Store) {
	tables := spareTables.Get().(*coding.Encoder)
	for one, ok := q.next(); ok; one, ok = q.next() {
		if !s.encode(tables, one) {
			tables = new(coding.Encoder)
		}
	}
	spareTables.Put(tables)
}

func (q *encoder) next() (one toEncode, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.queue) == 0 {
		q.queue = nil
		q.workers--
		return toEncode{}, false
	}
	one, q.queue[0] = q.queue[0], toEncode{}
	q.queue = q.queue[1:]
	return one, true
}

// close gives up what waits and returns when nothing is encoded any more.
func (q *encoder) close() {
	q.mu.Lock()
	q.closed, q.queue = true, nil
	q.mu.Unlock()
	q.wg.Wait()
}

// encode does one order. It reports false when the tables are not to be used
// again. A fault is ours, not the visitors': they get the body as it is.
func (s *Store) encode(tables *coding.Encoder, one toEncode) (sound bool) {
	e := s.current(one.e.Value())
	if e == nil || e.encodings.Load().settled(one.c) {
		return true
	}
	text, err := encodeBody(tables, e, one.c)
	switch {
	case err == nil:
	case errors.Is(err, coding.ErrNoGain):
		s.counters.uselessEncodings.Add(1)
	default:
		s.counters.failedEncodings.Add(1)
		at := e.place()
		one.h.fault(at.hostName(), at.pathName(), err)
	}
	one.h.attach(e, one.c, text)
	return err == nil || errors.Is(err, coding.ErrNoGain)
}

// encodeBody turns panics of the libraries into errors.
func encodeBody(tables *coding.Encoder, e *entry, c coding.Coding) (text []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			text, err = nil, fmt.Errorf("encoding %s panicked: %v", c, p)
		}
	}()
	return tables.Encode(c, e.body().chunks, int(e.body().size-e.body().size/leastGain))
}

// current is the stored entry that has e's body: e, or one that a 304 has
// freshened since. Nil means that there is none that may be served.
func (s *Store) current(e *entry) *entry {
	if e == nil {
		return nil
	}
	sh := s.shard(e.hash)
	sh.mu.Lock()
	e = sh.currentLocked(e)
	sh.mu.Unlock()
	if e == nil || s.standing(e) == hardPurged {
		return nil
	}
	return e
}

func (sh *shard) currentLocked(e *entry) *entry {
	if len(e.body().chunks) == 0 { // parts have none
		return nil
	}
	for other := range sh.stored(e.hash, []byte(e.key())) {
		if len(other.body().chunks) > 0 && &other.body().chunks[0][0] == &e.body().chunks[0][0] && other.encodable {
			return other
		}
	}
	return nil
}

// attach gives an entry a body in a coding, or, with nil, notes that there is
// no use in one. Its bytes are reserved before, as far as they are known; they
// are the entry's from then on. Without room, or when the entry has gone, the
// body goes.
func (h *Handler) attach(e *entry, c coding.Coding, text []byte) {
	s, sh, reserved := h.Store, h.Store.shard(e.hash), int64(0)
	for {
		missing := h.attachReserved(sh, e, c, text, reserved)
		if missing <= 0 {
			return
		}
		if !h.reserve(e.hash, missing) {
			s.release(reserved)
			return
		}
		reserved += missing
	}
}

// attachReserved is a try with so many bytes reserved, which it uses up; or it
// says how many are missing.
func (h *Handler) attachReserved(sh *shard, e *entry, c coding.Coding, text []byte, reserved int64) (missing int64) {
	s := h.Store
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e = sh.currentLocked(e)
	if e == nil || e.encodings.Load().settled(c) {
		s.release(reserved)
		return 0
	}
	old, one := e.encodings.Load(), (*encoded)(nil)
	if text != nil {
		one = newEncoded(e, c, text)
	}
	more := old.with(c, one)
	need := more.bytes() - old.bytes()
	if need > reserved {
		return need - reserved
	}
	s.release(reserved - need)
	s.counters.encodedBytes.Add(need)
	if one != nil {
		s.counters.encoded.Add(1)
	}
	e.encodings.Store(more)
	s.changes.at(e.hash).Add(1)
	sh.stays.Resize(e)
	return 0
}
