package httpcache

import (
	"crypto/sha256"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	groupsField            = "Cache-Groups"
	groupInvalidationField = "Cache-Group-Invalidation"
	// groupFloors is how many floors the origins share.
	groupFloors = 256
)

// membership is the cache groups of an answer (RFC 9875, 2). Only judged
// changes once it is shared.
type membership struct {
	names []string // as groupName writes them, sorted
	floor uint64   // index of the origin's floor
	// began is the number of invalidations when its fetch began.
	began uint64
	// judged is one more than the number at which it was last found valid.
	judged atomic.Uint64
}

// groups remembers which groups unsafe requests have invalidated (RFC 9875, 3).
// It is a barrier like the fence's, but one of its own: the fence's generation
// belongs to purges, and anyone who may POST could raise it.
//
// Each invalidation has a number. An answer is invalid when its fetch began at
// a lower number than that of the latest invalidation of one of its groups,
// wherever it is: stored, being fetched, or being confirmed. Marks are bounded.
// When there are too many the oldest falls out, and the floor that its origin
// shares with one in groupFloors others rises to it: too much is invalidated,
// never too little, and answers without groups are never concerned.
type groups struct {
	// sequence rises with every invalidation, after the marks are set.
	sequence atomic.Uint64
	weight   *markWeight
	// durable is handed each invalidation after it is applied, and gives a channel
	// that is closed when a crash cannot undo it; nil for nobody. Fixed before
	// serving.
	durable func(groupMarking) <-chan struct{}

	mu     sync.RWMutex
	marks  *simplelru.LRU[string, groupMark] // by groupName; Peek only under RLock
	floors [groupFloors]uint64
}

// groupMark is the latest invalidation of a group.
type groupMark struct {
	sequence uint64
	floor    uint64 // index of its origin's floor
}

func newGroups(marks int, total *atomic.Int64) *groups {
	g := &groups{weight: newMarkWeight(total)}
	g.marks = newLRU(marks, func(name string, m groupMark) {
		g.weight.add(-markBytes(name))
		g.floors[m.floor] = max(g.floors[m.floor], m.sequence)
	})
	return g
}

// groupName is a group of an origin: the same name elsewhere is another group,
// and case matters (RFC 9875, 2.1). No origin contains the byte between them.
func groupName(origin, group string) string { return origin + "\x00" + group }

// originOf is the URI origin of a request (RFC 9110, 4.3.1).
func (h *Handler) originOf(r *http.Request) string {
	scheme, _ := h.seen(r)
	return scheme + "://" + canonicalHost(r.Host, scheme)
}

// membershipOf reads Cache-Groups; nil means no groups. A field that is no list
// of strings counts as absent (RFC 9651, 4.2).
func membershipOf(origin string, header http.Header, began uint64) *membership {
	lines := header[groupsField]
	if len(lines) == 0 {
		return nil
	}
	found, ok := parseStrings(lines)
	if !ok || len(found) == 0 {
		return nil
	}
	m := &membership{names: make([]string, len(found)), floor: floorOf(origin), began: began}
	for i, group := range found {
		m.names[i] = groupName(origin, group)
	}
	slices.Sort(m.names)
	m.names = slices.Compact(m.names)
	return m
}

// floorOf is the index of an origin's floor: the same in every run.
func floorOf(origin string) uint64 { return uint64(sha256.Sum256([]byte(origin))[0]) % groupFloors }

// origin is that of the groups.
func (m *membership) origin() string {
	origin, _, _ := strings.Cut(m.names[0], "\x00")
	return origin
}

// invalidate gives up what began before now and belongs to one of the groups.
// The cost depends on the number of groups, not of answers. The channel, which
// may be nil, is closed when a crash cannot undo it.
func (g *groups) invalidate(origin string, found []string) <-chan struct{} {
	m := groupMarking{names: make([]string, len(found))}
	for i, group := range found {
		m.names[i] = groupName(origin, group)
	}
	m.paid = g.weight.prepay(m.names)
	g.mu.Lock()
	defer g.mu.Unlock()
	m.sequence = g.sequence.Load() + 1
	g.applyLocked(m)
	g.sequence.Store(m.sequence)
	if g.durable == nil {
		return nil
	}
	return g.durable(m)
}

// groupMarking is what an invalidation does: names are as groupName writes them.
type groupMarking struct {
	sequence uint64
	names    []string
	paid     int64 // for their memory: see markWeight.prepay
}

func (g *groups) applyLocked(m groupMarking) {
	g.weight.spend(m.paid)
	defer g.weight.settle()
	for _, name := range m.names {
		origin, _, _ := strings.Cut(name, "\x00")
		old, known := g.marks.Peek(name)
		if !known {
			g.weight.add(markBytes(name))
		}
		g.marks.Add(name, groupMark{sequence: max(old.sequence, m.sequence), floor: floorOf(origin)})
		for g.weight.tooMuch() && g.marks.Len() > 1 {
			g.marks.RemoveOldest()
		}
	}
}

// gaveUp reports that one of an answer's groups was invalidated after its fetch
// began. It looks once for each answer and invalidation; else it costs a load.
func (g *groups) gaveUp(m *membership) bool {
	if m == nil {
		return false
	}
	sequence := g.sequence.Load()
	if m.began == sequence || m.judged.Load() == sequence+1 {
		return false
	}
	g.mu.RLock()
	defer g.mu.RUnlock()
	if m.began < g.floors[m.floor] {
		return true
	}
	for _, name := range m.names {
		if mark, ok := g.marks.Peek(name); ok && m.began < mark.sequence {
			return true
		}
	}
	m.judged.Store(sequence + 1)
	return false
}

// invalidatedGroups are those that the answer to an unsafe request says it has
// changed, and their origin.
func (x *exchange) invalidatedGroups(h http.Header) (origin string, found []string) {
	lines := h[groupInvalidationField]
	if len(lines) == 0 {
		return "", nil
	}
	if found, ok := parseStrings(lines); ok && len(found) > 0 {
		return x.h.originOf(x.r), found
	}
	return "", nil
}

// invalidateGroups drops groups. Invalidated answers invalidate no others of their
// groups: RFC 9875, 2.2.1, leaves that open, and what one visitor posts would reach
// further than the origin said.
func (s *Store) invalidateGroups(origin string, found []string) {
	if len(found) > 0 {
		s.counters.invalidations.Add(1)
		awaitDeleted(s.fence.groups.invalidate(origin, found))
	}
}

// reasonAgainst is why an answer is hardPurged.
func (f *fence) reasonAgainst(p provenance) Reason {
	if f.groups.gaveUp(p.groups) {
		return ReasonInvalidated
	}
	return ReasonFenced
}

// plain are the groups' names as the origin wrote them.
func (m *membership) plain() []string {
	if m == nil {
		return nil
	}
	names := make([]string, len(m.names))
	for i, name := range m.names {
		_, names[i], _ = strings.Cut(name, "\x00")
	}
	return names
}

// weigh counts the memory behind the groups.
func (m *membership) weigh() int {
	if m == nil {
		return 0
	}
	n := scanned(unsafe.Sizeof(*m), 1) + scanned(unsafe.Sizeof(""), cap(m.names))
	for _, name := range m.names {
		n += allocated(len(name))
	}
	return n
}
