package httpcache

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"unsafe"
)

// common is what many answers have in common: what the rule says, who made them,
// and of the header what is the same in all. It does not change.
type common struct {
	commonFacts
	hash uint64 // zero for one that is not to be found
	size int64  // accounted bytes
	held int    // by how many stored answers; the lock of commons guards it
}

// commonFacts are compared as a whole.
type commonFacts struct {
	status int
	freshness
	madeBy  string // the version that produced it
	replica string
	rule    string
	lines   string // of the header, see fieldLines
	tags    tagList

	valueCount uint16 // of fields that go out, with Cache-Status
	validates  bool   // the origin can be asked for the news since
	unstorable bool   // by any cache: see forbidsEveryone
	encodable  bool   // its body may go out in another coding
	authorized bool   // may be given to requests with Authorization
	versioned  bool   // purges of the version that made it reach it
}

// commons has what stored answers have in common, each once. Bytes are the
// store's: those of a common are counted while a stored answer has it.
type commons struct {
	seed maphash.Seed

	mu    sync.Mutex
	known map[uint64]*common // by hash; of two with one hash the first
	// seen has a bit for each value that was seen of a field, by its name: see
	// differs.
	seen map[string]uint64
}

func newCommons() commons {
	return commons{seed: maphash.MakeSeed(), known: make(map[uint64]*common), seen: make(map[string]uint64)}
}

const (
	// maxSeen fields of at most maxSeenName bytes are told apart; others are taken
	// for such as differ.
	maxSeen, maxSeenName = 512, 64
	// fewBits of the 64 are those of some 18 values. Fields that have had more are
	// kept with each answer: what is shared by few answers costs more than it saves.
	fewBits = 16
	// tagsName stands for tags, among the names of fields.
	tagsName = ":tags"
)

// alwaysDiffer are fields of which that is known.
var alwaysDiffer = map[string]bool{
	"Age": true, "Content-Length": true, "Date": true, "Etag": true, "Expires": true, "Last-Modified": true,
}

// differsLocked reports a field whose value is mostly another one in each answer,
// and notes the value. Nil knows no values, and shares none.
func (c *commons) differsLocked(name, value string) bool {
	if c == nil || alwaysDiffer[name] || len(name) > maxSeenName {
		return true
	}
	bitsSeen, known := c.seen[name]
	if !known && len(c.seen) >= maxSeen || bits.OnesCount64(bitsSeen) >= fewBits {
		return true
	}
	if now := bitsSeen | 1<<(maphash.String(c.seed, value)%64); now != bitsSeen {
		c.seen[string([]byte(name))] = now // a copy: the name may be part of something large
	}
	return false
}

// find gives the common with the same facts that stored answers have, or the one
// that it was asked for. Nil has none.
func (c *commons) find(own *common) *common {
	if c == nil {
		return own
	}
	own.hash = maphash.Comparable(c.seed, own.commonFacts)
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.known[own.hash]; known != nil && known.commonFacts == own.commonFacts {
		return known
	}
	return own
}

// hold notes that a stored answer has it, and reports the first.
func (c *commons) hold(one *common) (first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if one.held++; one.held > 1 {
		return false
	}
	if one.hash != 0 && c.known[one.hash] == nil {
		c.known[one.hash] = one
	}
	return true
}

// drop is the end of hold; it reports the last.
func (c *commons) drop(one *common) (last bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if one.held--; one.held > 0 {
		return false
	}
	if c.known[one.hash] == one {
		delete(c.known, one.hash)
	}
	return true
}

// pack puts all strings into one, and counts the bytes.
func (c *common) pack() {
	c.size = managed(int64(packStrings(&c.madeBy, &c.replica, &c.rule, &c.lines, (*string)(&c.tags)) +
		scanned(unsafe.Sizeof(*c), 1) + mapSlot))
}

// packStrings makes strings parts of a new one, and says what that takes.
func packStrings(all ...*string) (bytes int) {
	var space [textSpace]byte
	b := space[:0]
	for _, s := range all {
		b = append(b, *s...)
	}
	text, start := string(b), 0
	for _, s := range all {
		*s, start = text[start:start+len(*s)], start+len(*s)
	}
	return allocated(len(text))
}

// adopt prepares an entry that was decoded for the store.
func (e *entry) adopt(hash uint64, others *commons) {
	e.hash = hash
	e.pack(others, e.key(), linesOf(e.fields().inOne()), e.tags(), e.place())
	e.size = e.weigh()
}

// claim is all that has to be reserved for an entry that is going to be stored: what
// it has in common with stored ones is given back then.
func (e *entry) claim() int64 { return e.held() + e.common.size }
