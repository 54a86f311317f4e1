package disk

// recordCost is what the index takes for a record at most, measured on 64-bit
// Go 1.26: a slot, its share of the map of keys, its place in the segment's
// list, and the room to grow of all three.
const recordCost = 192

const (
	// maxLabels bounds how many different labels the index knows.
	maxLabels = 4096
	// maxVariants bounds the variants of one key, and with it how long looking
	// for one takes.
	maxVariants = 64
)

// slot is a blob in the index. It holds no pointers, so that the collector does
// not look at millions of them.
type slot struct {
	key     Key
	variant uint64
	stamp   int64
	segment uint32
	offset  uint32
	size    uint32 // of the whole record
	label   uint32
	next    int32 // slot of the same key that is older; or of the free list
	flags   uint8
	used    bool
	hit     bool // read since it was written
	filed   bool // its second part is in a file
}

const noSlot = -1

// index says where blobs are. It has no lock of its own.
type index struct {
	heads  map[Key]int32 // newest slot of each key
	slots  []slot
	free   int32
	live   int64
	max    int64
	grown  func(int64)
	gone   func(*slot) // a blob that is forgotten
	labels []string
	number map[string]uint32
}

func newIndex(records int64, grown func(int64)) index {
	if grown == nil {
		grown = func(int64) {}
	}
	return index{heads: make(map[Key]int32), free: noSlot, max: max(records, 16), grown: grown, gone: func(*slot) {}, number: make(map[string]uint32)}
}

// labelNumber finds the number of a label, or gives it one.
func (x *index) labelNumber(label string) (uint32, bool) {
	if n, known := x.number[label]; known {
		return n, true
	}
	if len(x.labels) >= maxLabels {
		return 0, false
	}
	n := uint32(len(x.labels))
	x.labels = append(x.labels, label)
	x.number[label] = n
	return n, true
}

// find is the slot of a key and variant.
func (x *index) find(key Key, variant uint64) int32 {
	at, ok := x.heads[key]
	if !ok {
		return noSlot
	}
	for at != noSlot && x.slots[at].variant != variant {
		at = x.slots[at].next
	}
	return at
}

// add puts a blob in front of the others of its key, none of which is of its
// variant.
func (x *index) add(s slot) int32 {
	at := x.free
	if at != noSlot {
		x.free = x.slots[at].next
	} else {
		at = int32(len(x.slots))
		x.slots = append(x.slots, slot{})
	}
	s.used, s.next = true, noSlot
	if first, ok := x.heads[s.key]; ok {
		s.next = first
	}
	x.slots[at] = s
	x.heads[s.key] = at
	x.live++
	x.grown(recordCost)
	x.bound(at)
	return at
}

// bound drops the oldest of too many variants.
func (x *index) bound(first int32) {
	at := first
	for range maxVariants - 1 {
		if at = x.slots[at].next; at == noSlot {
			return
		}
	}
	if last := x.slots[at].next; last != noSlot {
		x.remove(last)
	}
}

// remove frees a slot.
func (x *index) remove(at int32) {
	s := &x.slots[at]
	if first := x.heads[s.key]; first != at {
		for x.slots[first].next != at {
			first = x.slots[first].next
		}
		x.slots[first].next = s.next
	} else if s.next != noSlot {
		x.heads[s.key] = s.next
	} else {
		delete(x.heads, s.key)
	}
	x.gone(s)
	*s = slot{next: x.free}
	x.free = at
	x.live--
	x.grown(-recordCost)
}

// removeAll frees the slots of a key and reports how many.
func (x *index) removeAll(key Key) (n int) {
	for {
		at, ok := x.heads[key]
		if !ok {
			return n
		}
		x.remove(at)
		n++
	}
}

// clear frees everything.
func (x *index) clear() {
	x.grown(-x.live * recordCost)
	*x = newIndex(x.max, nil)
}

func (x *index) full() bool { return x.live >= x.max }
