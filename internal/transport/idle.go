package transport

import (
	"context"
	"slices"
	"time"
)

// sweepEvery is how often idle connections are looked at. Nobody reads them, so
// that one which the server has closed shows only then, or when it is wanted.
const sweepEvery = time.Second

// take gives the connection that was used last and still works, or a new one.
func (t *Transport) take(ctx context.Context) (*conn, error) {
	for {
		c := t.pop()
		if c == nil {
			return t.dial(ctx)
		}
		if c.alive(time.Now()) {
			return c, nil
		}
		c.close()
	}
}

func (t *Transport) pop() *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leaving = false
	n := len(t.idle)
	if n == 0 {
		return nil
	}
	c := t.idle[n-1]
	t.idle[n-1] = nil
	t.idle = t.idle[:n-1]
	return c
}

// dial makes a connection when it is this request's turn. Whoever has to wait
// takes one that becomes free meanwhile.
func (t *Transport) dial(ctx context.Context) (*conn, error) {
	if t.o.Turns != nil {
		select {
		case t.o.Turns <- struct{}{}: // No timer, as a rule.
		default:
			if c, err := t.await(ctx); c != nil || err != nil {
				return c, err
			}
		}
		defer func() { <-t.o.Turns }()
	}
	made, err := t.o.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return newConn(t, made)
}

// await waits for a connection, or else for a turn to make one: then both
// results are nil, and the turn is the caller's to give back.
func (t *Transport) await(ctx context.Context) (*conn, error) {
	handed := make(chan *conn, 1)
	t.mu.Lock()
	t.waiting = append(t.waiting, handed)
	t.mu.Unlock()
	over := time.NewTimer(t.o.TurnWait)
	defer over.Stop()
	for {
		var err error
		select {
		case c := <-handed:
			if c.alive(time.Now()) {
				return c, nil
			}
			c.close()
			t.mu.Lock()
			t.waiting = append(t.waiting, handed)
			t.mu.Unlock()
			continue
		case t.o.Turns <- struct{}{}:
		case <-over.C:
			err = &DialError{ErrNoTurn}
		case <-ctx.Done():
			err = &DialError{context.Cause(ctx)}
		}
		t.leave(handed)
		return nil, err
	}
}

// leave ends the wait. A connection that came at the last moment goes to another.
func (t *Transport) leave(handed chan *conn) {
	t.mu.Lock()
	if i := slices.IndexFunc(t.waiting, func(w chan<- *conn) bool { return w == handed }); i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
	}
	t.mu.Unlock()
	select {
	case c := <-handed:
		t.put(c)
	default:
	}
}

// sweep closes what has been idle for too long, or what the server has closed.
func (t *Transport) sweep() {
	t.mu.Lock()
	now := time.Now()
	var gone []*conn
	t.idle = slices.DeleteFunc(t.idle, func(c *conn) bool {
		dead := !c.alive(now)
		if dead {
			gone = append(gone, c)
		}
		return dead
	})
	if len(t.idle) > 0 {
		t.sweeper.Reset(sweepEvery)
	}
	t.mu.Unlock()
	for _, c := range gone {
		c.close()
	}
}

// CloseIdleConnections closes the idle connections. Until another request comes,
// those in use close when they fall idle.
func (t *Transport) CloseIdleConnections() {
	t.mu.Lock()
	t.leaving = true
	all := t.idle
	t.idle = nil
	t.mu.Unlock()
	for _, c := range all {
		c.close()
	}
}

// put takes back a connection on which an exchange has ended well.
func (t *Transport) put(c *conn) {
	if !t.keep(c) {
		c.close()
	}
}

func (t *Transport) keep(c *conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.used = true
	c.since = time.Now()
	c.seen = c.since
	if len(t.waiting) > 0 {
		t.waiting[0] <- c // It has room: who waits stands in the list once.
		t.waiting = slices.Delete(t.waiting, 0, 1)
		return true
	}
	if t.leaving || (t.o.MaxIdle > 0 && len(t.idle) >= t.o.MaxIdle) {
		return false
	}
	t.idle = append(t.idle, c)
	switch {
	case t.sweeper == nil:
		t.sweeper = time.AfterFunc(sweepEvery, t.sweep)
	case len(t.idle) == 1:
		t.sweeper.Reset(sweepEvery)
	}
	return true
}

// standing is what a look at an idle connection finds.
type standing int

const (
	open  standing = iota // and silent
	ended                 // the server has closed it
	noisy                 // it has failed, or the server has said something unasked
)
