package lb

import (
	"context"
	"io"
	"math/rand/v2"
	"sync"
	"time"
)

// answerWithin is how long a connection that was asked to end may take: for the
// client's Close frame, or for the end of an event that has begun. Then it is
// closed.
const answerWithin = 5 * time.Second

// lasting is what may last for hours: an upgraded connection or a stream of
// events. It waits for nobody, so whoever wants its replica to be idle must ask.
type lasting interface {
	// part ends it as soon as it can be ended in good order, and returns at
	// once. It is called once at most.
	part()
	// Close ends it now.
	io.Closer
}

// lastings are those of a replica.
type lastings struct {
	mu      sync.Mutex
	here    map[lasting]struct{}
	parting map[lasting]struct{} // asked to end
}

func (l *lastings) add(c lasting) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.here == nil {
		l.here, l.parting = make(map[lasting]struct{}), make(map[lasting]struct{})
	}
	l.here[c] = struct{}{}
}

func (l *lastings) remove(c lasting) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.here, c)
	delete(l.parting, c)
}

// count is how many have not been asked to end, and how many there are.
func (l *lastings) count() (here, all int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.here), len(l.here) + len(l.parting)
}

// ask asks n of them, chosen by chance, to end.
func (l *lastings) ask(n int) {
	l.mu.Lock()
	asked := make([]lasting, 0, min(n, len(l.here)))
	for c := range l.here { // Go begins at a random one.
		if len(asked) == n {
			break
		}
		asked = append(asked, c)
		delete(l.here, c)
		l.parting[c] = struct{}{}
	}
	l.mu.Unlock()
	for _, c := range asked {
		c.part()
	}
}

// closeAll closes all of them.
func (l *lastings) closeAll() {
	l.mu.Lock()
	all := make([]lasting, 0, len(l.here)+len(l.parting))
	for _, set := range []map[lasting]struct{}{l.here, l.parting} {
		for c := range set {
			all = append(all, c)
		}
	}
	l.mu.Unlock()
	for _, c := range all {
		_ = c.Close() // It is being abandoned.
	}
}

// hurried is how long the last answers are waited for when there is no time.
const hurried = time.Second

// Part has the pool's upgraded connections and event streams end, one after the
// other over the window, while requests go on being served: what a gateway does
// before it stops. Clients of WebSockets are told to come back (1012, Service
// Restart); streams of events end between two events, after which browsers
// come back by themselves. It returns how many were asked, once all have ended:
// a little after the window, if it must be, or after ctx is done, which has all
// that are left end at once.
func (p *Pool) Part(ctx context.Context, window time.Duration) int {
	ends := time.Now().Add(window)
	last := ends.Add(answerWithin)
	partings := make(map[*replica]*parting)
	asked := 0
	tick := time.NewTimer(0)
	defer tick.Stop()
	over := ctx.Done()
	for {
		select {
		case <-tick.C:
		case <-over:
			over = nil
			ends = time.Now()
			last = ends.Add(hurried)
			clear(partings)
		}
		now := time.Now()
		again, left := now.Add(otherwise), 0
		for _, r := range p.all() {
			here, all := r.lasting.count()
			s := partings[r]
			if s == nil && here > 0 {
				of := newParting(here, now, ends, rand.Float64())
				s = &of
				partings[r] = s
			}
			left += all
			if s == nil {
				continue
			}
			n, next := s.due(here, now)
			asked += n
			r.lasting.ask(n)
			again = earlier(again, next)
		}
		if left == 0 {
			return asked
		}
		if !now.Before(last) {
			for _, r := range p.all() {
				r.lasting.closeAll()
			}
			return asked
		}
		tick.Reset(again.Sub(now))
	}
}

// all lists the members, those that leave too.
func (p *Pool) all() []*replica {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]*replica, 0, len(p.members))
	for _, r := range p.members {
		list = append(list, r)
	}
	return list
}
