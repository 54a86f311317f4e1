package fleet

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var (
	schedules = flag.Int("schedules", 60, "how many random schedules to run")
	firstSeed = flag.Uint64("seed", 0, "the first of their seeds")
)

const simLease = 10 * time.Second

// simulation is an origin with one page, the nodes in front of it and the Redis
// where they meet, in a clock of its own. Everything random is of one seed.
type simulation struct {
	t     *testing.T
	board *standIn
	nodes []*simNode

	mu         sync.Mutex
	dice       *rand.Rand
	version    int // of the page at the origin
	acks       []ack
	hits       int
	distrusted int
	uses       []use

	over atomic.Bool
	runs sync.WaitGroup
}

// ack is a purge that was acknowledged: from then on, no reader sees a version
// that is older than the page was when the purge was asked.
type ack struct {
	at      time.Time
	version int
}

func (s *simulation) roll(n int64) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Duration(s.dice.Int64N(n))
}

func (s *simulation) current() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version
}

// visit is one request. It holds what came out against every purge that was
// acknowledged before the request was made.
func (n *simNode) visit() {
	s := n.s
	asked := time.Now()
	n.breathe()
	n.mu.Lock()
	m, life, found := n.member, n.life, n.stored
	n.mu.Unlock()
	if m == nil {
		return
	}
	n.breathe() // a process may be stopped anywhere
	trusted := m.Holds()
	n.breathe()
	n.mu.Lock()
	if trusted && found != nil && found.began >= n.barrier && n.life == life {
		n.mu.Unlock()
		n.breathe()
		s.check(n, asked, found.version, "a hit")
		return
	}
	pass := !trusted && found != nil // as the cache does: neither given nor replaced
	if !trusted {
		s.mu.Lock()
		s.distrusted++
		s.mu.Unlock()
	}
	began := n.generation
	n.running[began]++
	n.mu.Unlock()
	pause(context.Background(), s.roll(int64(400*time.Millisecond)))
	got := s.current()
	pause(context.Background(), s.roll(int64(400*time.Millisecond)))
	n.breathe()
	n.mu.Lock()
	if n.life == life {
		n.running[began]--
		if began >= n.barrier && !pass {
			n.stored = &copyOf{got, began}
		}
	}
	n.mu.Unlock()
	s.check(n, asked, got, "the origin's")
}

func (s *simulation) check(n *simNode, asked time.Time, version int, how string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if how == "a hit" {
		s.hits++
	}
	for _, a := range s.acks {
		if a.at.Before(asked) && version < a.version {
			s.t.Errorf("%s gave version %d, %s, to a request of %s; a purge of what is older than %d was acknowledged at %s",
				n.name, version, how, asked.Format("04:05.000"), a.version, a.at.Format("04:05.000"))
		}
	}
}

// deploy changes the page, and has it purged by a node.
func (s *simulation) deploy(n *simNode, patience time.Duration) error {
	s.mu.Lock()
	s.version++
	version := s.version
	s.mu.Unlock()
	n.mu.Lock()
	m := n.member
	n.mu.Unlock()
	if m == nil {
		return fmt.Errorf("%s is dead", n.name)
	}
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	generation, err := m.Next(ctx, n.Generation())
	if err != nil {
		return err
	}
	n.breathe()
	n.purge(generation)
	if _, err := m.Announce(ctx, generation, []byte("{}")); err != nil {
		return err
	}
	n.breathe()
	n.mu.Lock()
	same := n.member == m
	n.mu.Unlock()
	if !same {
		return fmt.Errorf("%s has died meanwhile", n.name)
	}
	s.mu.Lock()
	s.acks = append(s.acks, ack{time.Now(), version})
	s.mu.Unlock()
	return nil
}

// mischief is what happens to nodes and to Redis.
func (s *simulation) mischief() {
	n := s.nodes[s.roll(int64(len(s.nodes)))]
	if !n.seize() {
		return // something else happens to it
	}
	defer n.busy.Store(false)
	lasts := s.roll(int64(25 * time.Second))
	switch s.roll(8) {
	case 0, 1: // cut off
		n.wire.set(true, 0)
		pause(context.Background(), lasts)
		n.wire.set(false, 0)
	case 2: // a bad line
		n.wire.set(false, 0.4)
		pause(context.Background(), lasts)
		n.wire.set(false, 0)
	case 3, 4: // SIGSTOP
		resumed := make(chan struct{})
		n.mu.Lock()
		n.stopped = resumed
		n.mu.Unlock()
		pause(context.Background(), lasts)
		n.mu.Lock()
		n.stopped = nil
		n.mu.Unlock()
		close(resumed)
	case 5:
		s.board.flush()
	case 6:
		s.board.restart()
	case 7:
		n.kill()
		pause(context.Background(), lasts/4)
		n.boot()
	}
}

// repeat does something again and again, until the simulation is over.
func (s *simulation) repeat(within time.Duration, do func()) {
	s.runs.Go(func() {
		for !s.over.Load() {
			pause(context.Background(), s.roll(int64(within)))
			do()
		}
	})
}

func simulate(t *testing.T, seed uint64, also ...func(*simulation)) (s *simulation) {
	dice := rand.New(rand.NewPCG(seed, 1))
	s = &simulation{t: t, board: newStandIn(3 + dice.IntN(20)), dice: dice}
	for i := range 3 {
		n := &simNode{s: s, name: fmt.Sprint("node ", i), disk: i == 0}
		n.wire = &wire{standIn: s.board, timeout: time.Second, dice: rand.New(rand.NewPCG(seed, uint64(i)+2)), delay: 30 * time.Millisecond}
		s.nodes = append(s.nodes, n)
		n.boot()
	}
	for _, n := range s.nodes {
		s.repeat(150*time.Millisecond, n.visit)
		s.repeat(150*time.Millisecond, n.visit)
	}
	s.repeat(3*time.Second, func() {
		_ = s.deploy(s.nodes[s.roll(3)], 40*time.Second) // what is not acknowledged promises nothing
	})
	s.repeat(2*time.Second, func() {
		_ = s.deploy(s.nodes[s.roll(3)], 5*time.Second)
	})
	for _, more := range also {
		more(s)
	}
	s.repeat(8*time.Second, s.mischief)
	s.repeat(20*time.Second, s.mischief)
	pause(context.Background(), 2*time.Minute)
	s.over.Store(true)
	s.runs.Wait()
	s.calm()
	for _, n := range s.nodes {
		n.member.Close()
	}
	return s
}

// calm holds that the fleet is whole again once nothing happens to it any more.
func (s *simulation) calm() {
	pause(context.Background(), 3*simLease)
	for _, n := range s.nodes {
		if !n.member.Holds() {
			s.t.Errorf("%s is not trusted: %+v", n.name, n.member.Status())
		}
		if members := len(n.member.Status().Members); members != len(s.nodes) {
			s.t.Errorf("%s knows of %d members: want %d", n.name, members, len(s.nodes))
		}
	}
	began := time.Now()
	if err := s.deploy(s.nodes[1], time.Minute); err != nil {
		s.t.Errorf("a purge in calm: %v", err)
	}
	if took := time.Since(began); took > time.Second {
		s.t.Errorf("a purge in calm took %s: want a second at most", took)
	}
}

// Whatever happens to nodes, their lines and Redis: once a purge is acknowledged,
// nobody is given anything older.
func TestNothingOldIsServedAfterAnAcknowledgement(t *testing.T) {
	hits, acks, distrusted := 0, 0, 0
	for seed := *firstSeed; seed < *firstSeed+uint64(*schedules); seed++ {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := simulate(t, seed)
				hits, acks, distrusted = hits+s.hits, acks+len(s.acks), distrusted+s.distrusted
			})
		})
	}
	t.Logf("%d hits, %d purges acknowledged, %d requests without trust", hits, acks, distrusted)
	if n := *schedules; hits < 100*n || acks < 10*n || distrusted < 10*n {
		t.Errorf("%d hits, %d purges acknowledged, %d requests without trust in %d schedules: these prove little", hits, acks, distrusted, n)
	}
}
