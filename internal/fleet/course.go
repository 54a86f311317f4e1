package fleet

import (
	"slices"
	"sync"
)

// maxCourse is how many places of the log are remembered with their generations.
const maxCourse = 4096

// Course translates between places in the fleet's log, which all nodes have in
// common, and the generations of this node, which count by themselves: orders may
// arrive here in another sequence than they were numbered in. It relies on every
// order being applied here when the log comes to it, this node's own too, though
// that has applied it before:
//
//	this node                         another
//	1. applies its own order, at 5
//	                                  2. fetches the old page, having applied
//	                                     all up to place 7
//	3. comes to place 7: generation 5
//	4. its order is place 8, applied
//	   again, at 6
//	                                  5. comes to place 8
//	6. takes the page, of place 7,
//	   for one of generation 5: 5 < 6
//
// Without the second time the page would stand. The zero value knows nothing. It
// is safe for concurrent use.
type Course struct {
	mu          sync.RWMutex
	incarnation string
	steps       []step // by position, and so by generation
}

// step is a place, and the generation right after all orders up to it had been
// applied.
type step struct{ position, generation uint64 }

// Reach notes that all orders up to a place were applied, and the generation that
// was read after that.
func (c *Course) Reach(incarnation string, position, generation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.incarnation != incarnation {
		c.incarnation, c.steps = incarnation, nil
	}
	if n := len(c.steps); n > 0 && position < c.steps[n-1].position {
		c.steps = nil // joined again, at an earlier place
	}
	c.steps = append(c.steps, step{position, generation})
	if len(c.steps) > maxCourse {
		c.steps = slices.Clone(c.steps[maxCourse/4:])
	}
}

// Stamp is the last place up to which all orders had been applied at a generation;
// false when that is not known.
func (c *Course) Stamp(generation uint64) (incarnation string, position uint64, known bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	i, _ := slices.BinarySearchFunc(c.steps, generation, func(s step, g uint64) int {
		if s.generation <= g {
			return -1
		}
		return 1
	})
	if i == 0 {
		return "", 0, false
	}
	return c.incarnation, c.steps[i-1].position, true
}

// Generation is one at which no order after a place had been applied, unless this
// node has not come to that place yet; false when it is not known.
func (c *Course) Generation(incarnation string, position uint64) (uint64, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if incarnation != c.incarnation {
		return 0, false
	}
	i, _ := slices.BinarySearchFunc(c.steps, position, func(s step, p uint64) int {
		if s.position <= p {
			return -1
		}
		return 1
	})
	if i == 0 {
		return 0, false
	}
	return c.steps[i-1].generation, true
}

// Repeater is a Node that applies its own orders once more when the log comes to
// them: see Course.
type Repeater interface {
	Repeat(order []byte, generation uint64) error
}

// repeat has the node do so.
func (m *Member) repeat(e entry) error {
	if r, ok := m.node.(Repeater); ok {
		return r.Repeat(e.order, e.generation)
	}
	return nil
}

// Course is how far this node has come in the log, and when.
func (m *Member) Course() *Course { return &m.course }
