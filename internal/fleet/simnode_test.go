package fleet

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// simNode is a gateway with a cache of one page, behind a fence.
type simNode struct {
	s    *simulation
	name string
	wire *wire
	disk bool // what is stored outlives the process
	busy atomic.Bool

	mu         sync.Mutex
	member     *Member // nil while the process is dead
	life       int
	generation uint64
	barrier    uint64
	stored     *copyOf
	noted      []byte
	running    map[uint64]int // fetches in flight by the generation at which they began
	stopped    chan struct{}  // non-nil while the process is stopped
}

type copyOf struct {
	version int
	began   uint64
}

// seize makes sure that one thing at a time happens to a node.
func (n *simNode) seize() bool { return n.busy.CompareAndSwap(false, true) }

// breathe returns when the process is not stopped.
func (n *simNode) breathe() {
	for {
		n.mu.Lock()
		stopped := n.stopped
		n.mu.Unlock()
		if stopped == nil {
			return
		}
		<-stopped
	}
}

func (n *simNode) Generation() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.generation
}

func (n *simNode) purge(generation uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.generation = max(n.generation+1, generation)
	n.barrier = n.generation
}

func (n *simNode) Apply(_ []byte, generation uint64) error {
	n.breathe()
	n.purge(generation)
	n.breathe()
	return nil
}

func (n *simNode) Forget() error { return n.Apply(nil, 0) }

func (n *simNode) Draining(generation uint64) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	total := 0
	for began, count := range n.running {
		if began < generation {
			total += count
		}
	}
	return total
}

func (n *simNode) Note(place []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.noted = place
	return nil
}

// stoppable is a member's way to the board: an answer is not looked at while the
// process is stopped, and no time-out fires.
type stoppable struct {
	board
	n *simNode
}

func (b stoppable) renew(ctx context.Context, t ticket, applied, drained, floor uint64) (View, error) {
	b.n.breathe()
	v, err := b.board.renew(ctx, t, applied, drained, floor)
	b.n.breathe()
	return v, err
}

func (b stoppable) join(ctx context.Context, id, name string, lease time.Duration, floor uint64) (ticket, View, error) {
	b.n.breathe()
	t, v, err := b.board.join(ctx, id, name, lease, floor)
	b.n.breathe()
	return t, v, err
}

func (b stoppable) read(ctx context.Context, after uint64, wait time.Duration) ([]entry, error) {
	b.n.breathe()
	found, err := b.board.read(ctx, after, wait)
	b.n.breathe()
	return found, err
}

func (b stoppable) look(ctx context.Context, floor uint64) (View, error) {
	b.n.breathe()
	v, err := b.board.look(ctx, floor)
	b.n.breathe()
	return v, err
}

func (b stoppable) lead(ctx context.Context, t ticket, floor uint64) (View, error) {
	b.n.breathe()
	v, err := b.board.lead(ctx, t, floor)
	b.n.breathe()
	return v, err
}

func (b stoppable) calling(ctx context.Context, id string, token uint64, target string, left []byte) (bool, error) {
	b.n.breathe()
	ok, err := b.board.calling(ctx, id, token, target, left)
	b.n.breathe()
	return ok, err
}

// boot starts the process.
func (n *simNode) boot() {
	n.mu.Lock()
	defer n.mu.Unlock()
	noted := n.noted
	if !n.disk {
		n.stored, noted = nil, nil
	}
	n.life++
	n.running = make(map[uint64]int)
	n.member = newMember(stoppable{n.wire, n}, n, n.name, simLease, readPlace(noted), nil)
	n.member.start()
}

// kill ends the process: it says nothing to anybody.
func (n *simNode) kill() {
	n.wire.set(true, 0)
	n.mu.Lock()
	m := n.member
	n.member = nil
	n.mu.Unlock()
	if m != nil {
		m.Close() // cannot be heard
	}
	n.wire.set(false, 0)
}
