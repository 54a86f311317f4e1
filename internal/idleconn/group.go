package idleconn

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Moved is a connection on its way to another server.
type Moved struct {
	*net.TCPConn
	// Early is what the last one has read of the first request.
	Early []byte
}

// Group is the connections of one server.
type Group struct {
	// Idle is how long one that has left another group may wait for its first request
	// here; 0 for ever. net/http takes it for a new one, and waits less. It is set
	// before the first one is added.
	Idle time.Duration

	mu    sync.Mutex
	first *Conn
	to    func(*Moved)
	left  atomic.Bool
}

// Add makes a connection one of the group: one of TCP, or one that has left another
// group. Others are given back as they are.
func (g *Group) Add(nc net.Conn) net.Conn {
	c := &Conn{group: g}
	switch own := nc.(type) {
	case *net.TCPConn:
		c.TCPConn = own
	case *Moved:
		c.TCPConn, c.early, c.moved = own.TCPConn, own.Early, true
	default:
		return nc
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.next = g.first; c.next != nil {
		c.next.before = c
	}
	g.first = c
	return c
}

func (g *Group) remove(c *Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case c.before != nil:
		c.before.next = c.next
	case g.first == c:
		g.first = c.next
	default:
		return // is out already
	}
	if c.next != nil {
		c.next.before = c.before
	}
	c.before, c.next = nil, nil
}

// all are the connections that the group has now.
func (g *Group) all() (list []*Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := g.first; c != nil; c = c.next {
		list = append(list, c)
	}
	return list
}

// Leave has every connection that waits for a request, and later each that comes to
// wait for one, handed to to, without deadlines. To the server that has it now, it
// looks as if the client had ended it, but not before to has returned. A few are on
// their way at a time: a request that arrives on one of them waits for the others. When
// Leave returns, all have left, unless ctx is done: then they do when that server closes
// them. Those stay that this package cannot tell to wait: of TLS (but for those on
// which nothing was read at all), of HTTP/2, and what was hijacked.
func (g *Group) Leave(ctx context.Context, to func(*Moved)) {
	g.mu.Lock()
	g.to = to
	g.mu.Unlock()
	g.left.Store(true)
	way := make(chan struct{}, atOnce)
	take := func() bool {
		select {
		case way <- struct{}{}:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for _, c := range g.all() {
		if !take() {
			return
		}
		c.summon(way)
	}
	for range atOnce {
		if !take() {
			return
		}
	}
}

// atOnce is how many connections are on their way to another server at a time.
const atOnce = 16

// Busy reports that there are connections with a request of which the server may not
// have the whole header: it would drop them if it shut down.
func (g *Group) Busy() bool {
	for _, c := range g.all() {
		if c.busy() {
			return true
		}
	}
	return false
}
