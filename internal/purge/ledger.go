package purge

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	keepFinished = 1000
	// keepBytes bounds what finished orders hold in memory and on disk,
	// pendingBytes what pending ones may.
	keepBytes    = 4 << 20
	pendingBytes = 64 << 20
	// keyLifetime is how long an idempotency key means the same order.
	keyLifetime = 24 * time.Hour
)

// ledger is every record we know of, in memory and in the journal.
type ledger struct {
	report reporter

	// write serialises the journal's writes, so that a rewrite cannot lose a
	// state that was appended meanwhile. It is taken before mu.
	write   sync.Mutex
	journal Journal

	mu         sync.Mutex
	entries    map[string]*entry
	keys       map[string]*entry
	order      []*entry // oldest first
	pending    int
	waiting    int // bytes of pending orders
	bytes      int // of finished orders
	generation uint64
	fault      error // of the last write
}

// entry is one record's place. Only its run changes it once it is ready.
type entry struct {
	record Record
	hash   [sha256.Size]byte
	size   int
	ready  chan struct{} // closed when durable, or refused
	err    error         // why it was refused; set before ready is closed
	done   chan struct{} // closed when the record is final
}

func newLedger(j Journal, report reporter) *ledger {
	l := &ledger{journal: j, report: report, entries: make(map[string]*entry), keys: make(map[string]*entry)}
	records, generation := j.Load()
	l.generation = generation
	for _, r := range records {
		e := newEntry(r)
		close(e.ready)
		l.insertLocked(e)
		if r.State.Final() {
			l.finishLocked(e)
		}
	}
	return l
}

func newEntry(r Record) *entry {
	return &entry{record: r, hash: bodyHash(r.Order), size: weight(r), ready: make(chan struct{}), done: make(chan struct{})}
}

// weight is about what a record holds in memory.
func weight(r Record) int {
	size := 2048 + len(r.Reason) + len(r.Actor) + len(r.Traceparent)
	for _, list := range [][]string{r.URLs, r.Tags, r.Prefixes, r.Hosts, r.Versions, r.Verify} {
		for _, item := range list {
			size += len(item) + 16
		}
	}
	return size
}

// bodyHash identifies what an order asks for: what makes two orders differ in
// effect, and nothing else.
func bodyHash(o Order) [sha256.Size]byte {
	body := Order{Selectors: o.Selectors, Soft: o.Soft, Expect: o.Expect, Verify: o.Verify}
	text, err := json.Marshal(body)
	if err != nil {
		panic(fmt.Sprintf("purge: marshal order: %v", err)) // plain strings cannot fail
	}
	return sha256.Sum256(text)
}

func (l *ledger) insertLocked(e *entry) {
	l.entries[e.record.ID] = e
	if e.record.IdempotencyKey != "" {
		l.keys[e.record.IdempotencyKey] = e
	}
	l.order = append(l.order, e)
	l.pending++
	l.waiting += e.size
}

func (l *ledger) removeLocked(e *entry) {
	delete(l.entries, e.record.ID)
	if l.keys[e.record.IdempotencyKey] == e {
		delete(l.keys, e.record.IdempotencyKey)
	}
	l.order = slices.DeleteFunc(l.order, func(other *entry) bool { return other == e })
}

// finishLocked counts a record as finished and forgets the oldest finished ones
// beyond the bounds, but never the one just finished.
func (l *ledger) finishLocked(e *entry) {
	close(e.done)
	l.pending--
	l.waiting -= e.size
	l.bytes += e.size
	for finished := len(l.order) - l.pending; finished > keepFinished || (l.bytes > keepBytes && finished > 1); finished-- {
		oldest := l.order[slices.IndexFunc(l.order, func(o *entry) bool { return o != e && o.record.State.Final() })]
		l.removeLocked(oldest)
		l.bytes -= oldest.size
	}
}

// accept makes an order durable. It returns the record of an earlier order with
// the same key and body in its place, and says whether the record is new.
func (l *ledger) accept(r Record, maxPending int) (Record, bool, error) {
	fresh := newEntry(r)
	l.mu.Lock()
	if old := l.keys[r.IdempotencyKey]; old != nil && r.Created.Sub(old.record.Created) < keyLifetime {
		l.mu.Unlock()
		return l.same(old, fresh)
	}
	if l.pending >= maxPending || l.waiting+fresh.size > pendingBytes {
		pending := l.pending
		l.mu.Unlock()
		return Record{}, false, fmt.Errorf("%w: %d", ErrBusy, pending)
	}
	l.insertLocked(fresh)
	l.mu.Unlock()

	l.write.Lock()
	err := l.journal.Append(r, true)
	l.settle(fresh, err)
	l.write.Unlock()
	if err != nil {
		l.report.send(Event{Kind: JournalFault, Record: r, Err: err})
		return Record{}, false, fmt.Errorf("%w: %w", ErrJournal, err)
	}
	return r, true, nil
}

// adopt takes up an order that another node has accepted. The fleet has it: that
// it cannot be written down here is no reason not to carry it out.
func (l *ledger) adopt(r Record) {
	l.mu.Lock()
	e := l.entries[r.ID]
	if e == nil {
		e = newEntry(r)
		close(e.ready)
		l.insertLocked(e)
	}
	e.record = r
	l.mu.Unlock()
	l.write.Lock()
	err := l.journal.Append(r, true)
	l.write.Unlock()
	if err != nil {
		l.report.send(Event{Kind: JournalFault, Record: r, Err: err})
	}
}

// settle ends the time in which an entry is neither durable nor refused.
func (l *ledger) settle(e *entry, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = err
	if err != nil {
		l.removeLocked(e)
		l.pending--
		l.waiting -= e.size
		e.err = fmt.Errorf("%w: %w", ErrJournal, err)
	}
	close(e.ready)
}

func (l *ledger) same(old, fresh *entry) (Record, bool, error) {
	if old.hash != fresh.hash {
		return Record{}, false, ErrConflict
	}
	<-old.ready // bounded by one write to disk
	if old.err != nil {
		return Record{}, false, old.err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return old.record, false, nil
}

// update makes a new state durable and then visible. When the journal fails the
// state becomes visible all the same: what was done was done, and a restart
// repeats it.
func (l *ledger) update(r Record) {
	l.write.Lock()
	err := l.journal.Append(r, false)
	l.show(r, err)
	if err == nil && l.journal.Due() {
		records, generation := l.durable()
		err = l.journal.Rewrite(records, generation)
	}
	l.write.Unlock()
	if err != nil {
		l.report.send(Event{Kind: JournalFault, Record: r, Err: err})
	}
}

func (l *ledger) show(r Record, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = err
	l.generation = max(l.generation, r.Generation)
	e := l.entries[r.ID]
	e.record = r
	if r.State.Final() {
		l.finishLocked(e)
	}
}

// durable lists what a rewrite must keep: all but what is not accepted yet.
func (l *ledger) durable() ([]Record, uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	records := make([]Record, 0, len(l.order))
	for _, e := range l.order {
		if e.accepted() {
			records = append(records, e.record)
		}
	}
	return records, l.generation
}

func (e *entry) accepted() bool {
	select {
	case <-e.ready:
		return e.err == nil
	default:
		return false
	}
}

// touch shows progress that need not be durable.
func (l *ledger) touch(r Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.entries[r.ID]; e != nil {
		e.record = r
	}
}

// get gives an accepted record, and a channel that is closed when it is final.
func (l *ledger) get(id string) (Record, <-chan struct{}, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[id]
	if e == nil || !e.accepted() {
		return Record{}, nil, false
	}
	return e.record, e.done, true
}

// list gives the newest records first.
func (l *ledger) list(limit int) []Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	var records []Record
	for _, e := range slices.Backward(l.order) {
		if len(records) == limit {
			break
		}
		if e.accepted() {
			records = append(records, e.record)
		}
	}
	return records
}

// unfinished gives what a restart has to resume, oldest first.
func (l *ledger) unfinished() []Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	var records []Record
	for _, e := range l.order {
		if e.accepted() && !e.record.State.Final() {
			records = append(records, e.record)
		}
	}
	return records
}

func (l *ledger) highest() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.generation
}

func (l *ledger) lastFault() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fault
}

func (l *ledger) close() error {
	l.write.Lock()
	defer l.write.Unlock()
	return l.journal.Close()
}
