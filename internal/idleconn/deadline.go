package idleconn

import (
	"net"
	"time"
)

// SetReadDeadline counts: see [Boundary].
func (c *Conn) SetReadDeadline(t time.Time) error {
	return c.setDeadline(t, c.TCPConn.SetReadDeadline)
}

// SetDeadline counts as well.
func (c *Conn) SetDeadline(t time.Time) error { return c.setDeadline(t, c.TCPConn.SetDeadline) }

// setDeadline leaves one that has left to who has it.
func (c *Conn) setDeadline(t time.Time, set func(time.Time) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase == gone {
		return net.ErrClosed
	}
	c.boundary.Deadline()
	if c.moved && c.tells() {
		c.header, t = untilOf(t), after(c.group.Idle)
	}
	return set(t)
}

// headerBegins has the time for a header begin with its first byte. It is called with
// mu held.
func (c *Conn) headerBegins() {
	c.moved = false
	if c.tells() {
		// If it fails the connection is broken, which the next use tells.
		_ = c.TCPConn.SetReadDeadline(after(c.header))
	}
}

// after is the deadline in that time; none for 0.
func after(d time.Duration) (deadline time.Time) {
	if d > 0 {
		deadline = time.Now().Add(d)
	}
	return deadline
}

// untilOf is the time to a deadline; 0 for none.
func untilOf(deadline time.Time) time.Duration {
	if deadline.IsZero() {
		return 0
	}
	return max(time.Until(deadline), time.Nanosecond)
}
