package rawhit

import "sync"

// scratch is the memory that a connection needs for a request. Most connections
// have none at any time: those share it.
type scratch struct {
	block []byte // the header of a GET that was handed over, if nothing else was
	key   []byte
	out   []byte
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// takeOut returns the connection's scratch, which it has until [conn.putAway].
func (c *conn) takeOut() *scratch {
	if c.work == nil {
		c.work = scratches.Get().(*scratch)
		c.work.block = c.work.block[:0]
	}
	return c.work
}

// putAway gives the scratch back, where a connection waits for its next request.
func (c *conn) putAway() {
	if c.work != nil {
		scratches.Put(c.work)
		c.work = nil
	}
}
