package deploy

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/edgegw/edge/internal/unit"
)

const (
	// keepFinished is how many finished deploys are remembered, of all pools.
	keepFinished = 200
	// maxOpen bounds the calls that wait at a time.
	maxOpen = 50
	// keyLifetime is how long an idempotency key means the same deploy.
	keyLifetime = 24 * time.Hour
	bookSchema  = 1
)

// Book is the history of deploys, with those under way, and the versions of
// each pool: all that a restart must not forget. It decides what follows from
// what is seen; whoever looks carries that out. It is safe for concurrent use.
type Book struct {
	save  func([]byte) error
	event func(Event)

	// write serialises saves, so that an older state cannot replace a newer
	// one. It is taken before mu.
	write sync.Mutex

	mu      sync.Mutex
	entries []*entry // oldest first
	pools   map[string]*sighted
	// restored are the versions of pools that nobody has adopted yet.
	restored map[string]Snapshot
	news     []Event
}

type entry struct {
	Record
	done chan struct{} // closed when the stage is final
}

// sighted is what the book knows of a pool.
type sighted struct {
	tracker  *Tracker
	replicas []Replica
	counted  map[string]Traffic // by replica, as last seen

	// What the guard compares, and has compared so far.
	answers   *Answers
	comparing string
	looks     looks
	asked     map[string]Traffic // by version, since it compares them
}

// page is the book as it is saved.
type page struct {
	Schema  int                 `json:"schema"`
	Pools   map[string]Snapshot `json:"pools"`
	Deploys []Record            `json:"deploys"`
}

// OpenBook reads what save was last given; nothing is an empty book. A book that
// cannot be read is reported and begun anew. save makes its bytes durable before
// it returns; event may be nil.
func OpenBook(text []byte, save func([]byte) error, event func(Event)) *Book {
	b := &Book{save: save, event: event, pools: make(map[string]*sighted), restored: make(map[string]Snapshot)}
	if b.event == nil {
		b.event = func(Event) {}
	}
	if len(text) == 0 {
		return b
	}
	if err := b.read(text); err != nil {
		b.event(Event{Kind: EventJournal, Err: fmt.Errorf("history of deploys: %w: begun anew", err)})
	}
	return b
}

func (b *Book) read(text []byte) error {
	var p page
	if err := json.Unmarshal(text, &p); err != nil {
		return err
	}
	if p.Schema != bookSchema {
		return fmt.Errorf("schema %d: want %d", p.Schema, bookSchema)
	}
	var errs []error
	for pool, snapshot := range p.Pools {
		if err := new(Tracker).Restore(snapshot); err != nil {
			errs = append(errs, fmt.Errorf("pool %s: %w", pool, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, r := range p.Deploys {
		b.insertLocked(r)
	}
	b.restored = p.Pools
	return nil
}

// Adopt makes the book follow a pool, and puts the tracker into the state of
// the last run, if there was one. It reports whether it did. answers are what
// the pool's visitors got.
func (b *Book) Adopt(pool string, t *Tracker, answers *Answers) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if known := b.pools[pool]; known != nil && known.tracker == t {
		return false
	}
	b.pools[pool] = &sighted{tracker: t, answers: answers, counted: make(map[string]Traffic)}
	snapshot, ok := b.restored[pool]
	delete(b.restored, pool)
	return ok && t.Restore(snapshot) == nil
}

// Keep ends the deploys of pools that are gone.
func (b *Book) Keep(now time.Time, pools []string) {
	b.mu.Lock()
	for _, e := range b.entries {
		if e.open() && !slices.Contains(pools, e.Pool) {
			b.finishLocked(e, now, Failed, "the pool is gone from the configuration")
		}
	}
	for name, pool := range b.pools {
		if !slices.Contains(pools, name) {
			b.restored[name] = pool.tracker.Snapshot() // for when it is back
			delete(b.pools, name)
		}
	}
	b.mu.Unlock()
	b.settle()
}

// Get finds a deploy by its id.
func (b *Book) Get(id string) (Record, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.findLocked(id); e != nil {
		return e.copied(), true
	}
	return Record{}, false
}

// Wait is Get after the stage is final, or as it is when ctx is done.
func (b *Book) Wait(ctx context.Context, id string) (Record, bool) {
	b.mu.Lock()
	e := b.findLocked(id)
	b.mu.Unlock()
	if e == nil {
		return Record{}, false
	}
	select {
	case <-e.done:
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return e.copied(), true
}

// List gives up to limit deploys, the newest first; of one pool, if it is named.
func (b *Book) List(pool string, limit int) []Record {
	b.mu.Lock()
	defer b.mu.Unlock()
	records := []Record{}
	for _, e := range slices.Backward(b.entries) {
		if len(records) == limit {
			break
		}
		if pool == "" || e.Pool == pool {
			records = append(records, e.copied())
		}
	}
	return records
}

func (b *Book) findLocked(id string) *entry {
	for _, e := range b.entries {
		if e.ID == id {
			return e
		}
	}
	return nil
}

func (b *Book) insertLocked(r Record) *entry {
	e := &entry{Record: r, done: make(chan struct{})}
	e.Exit = exitOf(e)
	if r.Stage.Final() {
		close(e.done)
	}
	b.entries = append(b.entries, e)
	finished := 0
	for _, e := range slices.Backward(b.entries) {
		if e.Stage.Final() {
			finished++
		}
	}
	b.entries = slices.DeleteFunc(b.entries, func(old *entry) bool {
		if finished <= keepFinished || !old.Stage.Final() || old == e {
			return false
		}
		finished--
		return true
	})
	return e
}

// exitOf keeps the exit code that a purge has given.
func exitOf(e *entry) int {
	if code := e.exit(); code != exitPartial || e.Exit == 0 || e.Exit == exitGate {
		return code
	}
	return e.Exit
}

// moveLocked gives a deploy another stage.
func (b *Book) moveLocked(e *entry, to Stage, kind EventKind) {
	e.Stage = to
	if !e.open() {
		e.Behind = nil
	}
	e.Exit = exitOf(e)
	b.news = append(b.news, Event{Kind: kind, Record: e.copied()})
}

// finishLocked gives a deploy its last stage, and says why unless it is done.
func (b *Book) finishLocked(e *entry, now time.Time, to Stage, why string) {
	began := e.Began
	if began.IsZero() {
		began = e.Created
	}
	// A clock that was set back makes no deploy shorter than none.
	e.Finished, e.Took = now, unit.Duration(max(0, now.Sub(began).Round(time.Millisecond)))
	if why != "" {
		e.Error = why
	}
	b.moveLocked(e, to, EventFinished)
	close(e.done)
}

// Held is the version that the guard keeps from becoming current; "" for none.
func (b *Book) Held(pool string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.entries {
		if e.Pool == pool && e.Stage == Held {
			return e.Version
		}
	}
	return ""
}

// settle saves the book, if it has news, and tells them.
func (b *Book) settle() {
	b.mu.Lock()
	news := b.news
	b.news = nil
	b.mu.Unlock()
	if len(news) == 0 {
		return
	}
	if err := b.persist(); err != nil {
		b.event(Event{Kind: EventJournal, Err: err})
	}
	for _, e := range news {
		b.event(e)
	}
}

func (b *Book) persist() error {
	b.write.Lock()
	defer b.write.Unlock()
	b.mu.Lock()
	p := page{Schema: bookSchema, Pools: make(map[string]Snapshot), Deploys: []Record{}}
	for name, snapshot := range b.restored {
		p.Pools[name] = snapshot
	}
	for name, pool := range b.pools {
		p.Pools[name] = pool.tracker.Snapshot()
	}
	for _, e := range b.entries {
		p.Deploys = append(p.Deploys, e.copied())
	}
	b.mu.Unlock()
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return b.save(text)
}

// newID is sortable by time, and cannot be guessed.
func newID(now time.Time) string {
	return fmt.Sprintf("d%011x%s", now.UnixMilli(), strings.ToLower(rand.Text()[:13]))
}
