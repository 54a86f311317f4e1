package control

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// Bounds on guessing. With them, all callers together get at most
// maxWaiting/slowBy = 16 answers a second once they are slowed.
const (
	// clientFailures bad tokens from one client within failureWindow pass
	// unhindered, allFailures from all clients together.
	clientFailures = 5
	allFailures    = 100
	failureWindow  = time.Minute
	// slowBy delays each further answer to a bad token.
	slowBy = 2 * time.Second
	// maxWaiting delayed answers at a time; further ones are refused at once.
	maxWaiting = 32
	// maxClients remembered one by one; the others share one record, so that
	// a caller with many addresses cannot push its own record out.
	maxClients = 4096
)

// guard slows down callers that guess tokens. It never sees a right token, so
// nobody's guessing slows those who have one. Safe for concurrent use.
type guard struct {
	now func() time.Time

	mu sync.Mutex

	clients map[string]*failures
	others  *failures // of clients beyond maxClients
	all     *failures
	waiting int
	swept   time.Time
}

func newGuard(now func() time.Time) *guard {
	return &guard{
		now:     now,
		clients: make(map[string]*failures),
		others:  newFailures(clientFailures),
		all:     newFailures(allFailures),
	}
}

// fail counts a bad token of the client and holds its answer back, if there
// were too many. It reports whether the caller gets an answer at all: if not,
// too many answers are held back already.
func (g *guard) fail(ctx context.Context, client string) bool {
	slow, room := g.count(client)
	if !slow {
		return true
	}
	if !room {
		return false
	}
	defer g.leave()
	timer := time.NewTimer(slowBy)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return true
}

// count records a failure. It reports whether the answer is to be slowed, and
// if so, whether a place to wait was taken.
func (g *guard) count(client string) (slow, room bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	// Both are counted: no || here.
	mine := g.recordLocked(clientKey(client), now).add(now)
	all := g.all.add(now)
	if !mine && !all {
		return false, false
	}
	if g.waiting == maxWaiting {
		return true, false
	}
	g.waiting++
	return true, true
}

func (g *guard) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting--
}

func (g *guard) recordLocked(key string, now time.Time) *failures {
	if f, ok := g.clients[key]; ok {
		return f
	}
	// A sweep looks at every record: once a second is often enough.
	if len(g.clients) == maxClients && now.Sub(g.swept) >= time.Second {
		g.swept = now
		for key, f := range g.clients {
			if now.Sub(f.newest) >= failureWindow {
				delete(g.clients, key)
			}
		}
	}
	if len(g.clients) == maxClients {
		return g.others
	}
	f := newFailures(clientFailures)
	g.clients[key] = f
	return f
}

// clientKey puts the addresses of one IPv6 network together: whoever has one
// of a /64 has them all (RFC 4291, 2.5.4).
func clientKey(client string) string {
	address, err := netip.ParseAddr(client)
	if err != nil {
		return client
	}
	address = address.Unmap().WithZone("")
	if address.Is4() {
		return address.String()
	}
	network, err := address.Prefix(64)
	if err != nil {
		return client
	}
	return network.String()
}

// failures remembers the last few failures, in a ring.
type failures struct {
	times  []time.Time
	next   int
	newest time.Time
}

func newFailures(limit int) *failures { return &failures{times: make([]time.Time, 0, limit)} }

// add records a failure and reports whether as many as the ring holds came
// before it within failureWindow.
func (f *failures) add(now time.Time) (tooMany bool) {
	f.newest = now
	if len(f.times) < cap(f.times) {
		f.times = append(f.times, now)
		return false
	}
	tooMany = now.Sub(f.times[f.next]) < failureWindow
	f.times[f.next] = now
	f.next = (f.next + 1) % len(f.times)
	return tooMany
}
