package fleet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// standIn is a board in memory that does what the scripts do, and whose network
// and server fail as a schedule has it. TestBoards holds it against the scripts.
type standIn struct {
	mu   sync.Mutex
	keep int

	lives      int // of the state, for names of incarnations
	known      bool
	settled    bool
	generation uint64
	position   uint64
	terms      uint64
	lease      time.Duration
	members    map[string]*seat
	log        []entry
	news       chan struct{} // closed when the log grows

	token  uint64
	caller string
	led    bool // this life has had a caller
}

type seat struct {
	name             string
	term, count      uint64
	applied, drained uint64
}

func newStandIn(keep int) *standIn { return &standIn{keep: keep, news: make(chan struct{})} }

// open begins another incarnation, if what was known is lost. mu is held.
func (b *standIn) open(floor uint64) {
	if !b.known {
		b.lives++
		b.known, b.settled, b.position = true, false, 0
		b.members, b.log = make(map[string]*seat), nil
		b.caller, b.led = "", false
	}
	b.generation = max(b.generation, floor)
}

func (b *standIn) incarnation() string { return fmt.Sprint("life ", b.lives) }

func (s *seat) beat() string { return fmt.Sprintf("%d:%d", s.term, s.count) }

func (b *standIn) viewLocked() View {
	v := View{Incarnation: b.incarnation(), Settled: b.settled, Generation: b.generation, Position: b.position, Token: b.token}
	if b.members[b.caller] != nil {
		v.Caller = b.caller
	}
	for id, s := range b.members {
		v.Members = append(v.Members, Seen{ID: id, Name: s.name, Beat: s.beat(), Applied: s.applied, Drained: s.drained})
	}
	slices.SortFunc(v.Members, func(a, c Seen) int { return cmpText(a.Name+"\x00"+a.ID, c.Name+"\x00"+c.ID) })
	return v
}

func cmpText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// flush loses everything; restart loses what a server that was started anew may
// have lost, which the scripts take for everything but the generation.
func (b *standIn) flush() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known, b.generation, b.terms, b.lease, b.log, b.token = false, 0, 0, 0, nil, 0
}

func (b *standIn) restart() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known = false
}

func (b *standIn) join(_ context.Context, id, name string, lease time.Duration, floor uint64) (ticket, View, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open(floor)
	_, again := b.members[id]
	if others := len(b.members); b.lease != 0 && b.lease != lease && (others > 1 || others == 1 && !again) {
		return ticket{}, View{}, errLease
	}
	b.terms++
	b.lease = lease
	b.members[id] = &seat{name: name, term: b.terms}
	return ticket{b.incarnation(), id, b.terms}, b.viewLocked(), nil
}

func (b *standIn) seatLocked(incarnation, id string) *seat {
	if incarnation != b.incarnation() {
		return nil
	}
	return b.members[id]
}

func (b *standIn) renew(_ context.Context, t ticket, applied, drained, floor uint64) (View, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open(floor)
	s := b.seatLocked(t.incarnation, t.id)
	if s == nil || s.term != t.term {
		return View{}, errGone
	}
	s.count++
	s.applied, s.drained = applied, drained
	return b.viewLocked(), nil
}

func (b *standIn) look(_ context.Context, floor uint64) (View, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open(floor)
	return b.viewLocked(), nil
}

func (b *standIn) next(_ context.Context, floor uint64) (uint64, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open(floor)
	if b.settled {
		b.generation++
	}
	return b.generation, b.settled, nil
}

func (b *standIn) announce(_ context.Context, e entry, floor uint64) (place, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open(floor)
	b.position++
	e.position = b.position
	b.log = append(b.log, e)
	b.log = b.log[max(0, len(b.log)-b.keep):]
	close(b.news)
	b.news = make(chan struct{})
	return place{b.incarnation(), b.position}, nil
}

func (b *standIn) read(ctx context.Context, after uint64, wait time.Duration) ([]entry, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		b.mu.Lock()
		i := slices.IndexFunc(b.log, func(e entry) bool { return e.position > after })
		news := b.news
		var found []entry
		if i >= 0 {
			found = slices.Clone(b.log[i:min(len(b.log), i+readMost)])
		}
		b.mu.Unlock()
		if found != nil || wait <= 0 {
			return found, nil
		}
		select {
		case <-news:
		case <-timer.C:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (b *standIn) evict(_ context.Context, incarnation string, m Seen) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open(0)
	s := b.seatLocked(incarnation, m.ID)
	if s == nil || s.beat() != m.Beat {
		return false, nil
	}
	delete(b.members, m.ID)
	return true, nil
}

func (b *standIn) settle(_ context.Context, incarnation string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open(0)
	b.settled = b.settled || incarnation == b.incarnation()
	return nil
}

func (b *standIn) leave(_ context.Context, t ticket) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open(0)
	if s := b.seatLocked(t.incarnation, t.id); s != nil && s.term == t.term {
		delete(b.members, t.id)
	}
	return nil
}

func (b *standIn) lead(_ context.Context, t ticket, floor uint64) (View, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open(floor)
	s := b.seatLocked(t.incarnation, t.id)
	if s == nil || s.term != t.term {
		return View{}, errGone
	}
	if b.settled && b.members[b.caller] == nil {
		if !b.led && b.token > 0 {
			b.token += 99
		}
		b.token++
		b.caller, b.led = t.id, true
	}
	return b.viewLocked(), nil
}

func (b *standIn) calling(_ context.Context, id string, token uint64, _ string, _ []byte) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open(0)
	return b.members[id] != nil && b.caller == id && b.token == token, nil
}

// hasSeen is what a member tells with each call.
func (b *standIn) hasSeen(token uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open(0)
	if token > b.token {
		b.token, b.caller = token, ""
	}
}

// wire is one node's way to a board. Calls and answers take time and get lost.
type wire struct {
	*standIn
	timeout time.Duration

	mu    sync.Mutex
	dice  *rand.Rand
	cut   bool    // nothing gets through
	loss  float64 // the share of calls, and of answers, that are lost
	delay time.Duration
	token uint64 // the highest that was seen
}

var errLine = errors.New("no answer")

// carry makes a call: it may never arrive, or its answer may not.
func carry[T any](w *wire, call func() (T, error)) (T, error) {
	var none T
	there, lost := w.fate()
	if lost {
		pause(context.Background(), w.timeout)
		return none, errLine
	}
	pause(context.Background(), there)
	w.standIn.hasSeen(w.highest(View{}))
	answer, err := call()
	back, lost := w.fate()
	if lost || there+back > w.timeout {
		pause(context.Background(), max(0, w.timeout-there))
		return none, errLine
	}
	pause(context.Background(), back)
	return answer, err
}

func (w *wire) fate() (delay time.Duration, lost bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut || w.dice.Float64() < w.loss {
		return 0, true
	}
	return time.Duration(w.dice.Int64N(int64(w.delay) + 1)), false
}

// highest is the highest token that was seen, this view included.
func (w *wire) highest(v View) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.token = max(w.token, v.Token)
	return w.token
}

func (w *wire) set(cut bool, loss float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut, w.loss = cut, loss
}

type joined struct {
	t ticket
	v View
}

func (w *wire) join(ctx context.Context, id, name string, lease time.Duration, floor uint64) (ticket, View, error) {
	j, err := carry(w, func() (joined, error) {
		t, v, err := w.standIn.join(ctx, id, name, lease, floor)
		return joined{t, v}, err
	})
	return j.t, j.v, err
}

func (w *wire) renew(ctx context.Context, t ticket, applied, drained, floor uint64) (View, error) {
	v, err := carry(w, func() (View, error) { return w.standIn.renew(ctx, t, applied, drained, floor) })
	w.highest(v)
	return v, err
}

func (w *wire) look(ctx context.Context, floor uint64) (View, error) {
	return carry(w, func() (View, error) { return w.standIn.look(ctx, floor) })
}

func (w *wire) next(ctx context.Context, floor uint64) (uint64, bool, error) {
	settled := false
	g, err := carry(w, func() (g uint64, err error) {
		g, settled, err = w.standIn.next(ctx, floor)
		return g, err
	})
	return g, settled, err
}

func (w *wire) announce(ctx context.Context, e entry, floor uint64) (place, error) {
	return carry(w, func() (place, error) { return w.standIn.announce(ctx, e, floor) })
}

func (w *wire) read(ctx context.Context, after uint64, wait time.Duration) ([]entry, error) {
	return carry(w, func() ([]entry, error) { return w.standIn.read(ctx, after, wait) })
}

func (w *wire) evict(ctx context.Context, incarnation string, m Seen) (bool, error) {
	return carry(w, func() (bool, error) { return w.standIn.evict(ctx, incarnation, m) })
}

func (w *wire) settle(ctx context.Context, incarnation string) error {
	_, err := carry(w, func() (bool, error) { return true, w.standIn.settle(ctx, incarnation) })
	return err
}

func (w *wire) lead(ctx context.Context, t ticket, floor uint64) (View, error) {
	v, err := carry(w, func() (View, error) { return w.standIn.lead(ctx, t, floor) })
	w.highest(v)
	return v, err
}

func (w *wire) calling(ctx context.Context, id string, token uint64, target string, left []byte) (bool, error) {
	return carry(w, func() (bool, error) { return w.standIn.calling(ctx, id, token, target, left) })
}

func (w *wire) leave(ctx context.Context, t ticket) error {
	_, err := carry(w, func() (bool, error) { return true, w.standIn.leave(ctx, t) })
	return err
}
