package httpcache

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"weak"

	"github.com/edgegw/edge/internal/coding"
)

// Offer says how a hit goes out that may be given again.
type Offer struct {
	// Repeat is to be kept; nothing else of the offer is, since it holds on to
	// the stored answer.
	Repeat *Repeat
	// Age and TTL stand in the answer's header, in whole seconds; so does Date.
	Age, TTL int64
	Date     string
	// Body is what is being sent, in pieces. Nobody changes their bytes.
	Body [][]byte
	// Version and Replica made it.
	Version, Replica string

	names []string // of the request fields by which answers for the key vary
}

// Repeat is a hit that may be given again to the same request, by somebody who
// does not look for it here each time. It keeps nothing in memory that the
// store has dropped.
type Repeat struct {
	store  *Store
	entry  weak.Pointer[entry]
	coding coding.Coding
	change *atomic.Uint64
	at     uint64
}

// Use is one more time that a Repeat is given.
type Use struct {
	Age, TTL int64
	Body     [][]byte
	// Exchange ends when the answer has been written: a purge waits for those
	// that began before it.
	Exchange interface{ End() }
}

// changes counts what happens to stored answers, by their hash. Several keys
// share a counter: a change to one is taken for a change to all.
type changes [4096]atomic.Uint64

func (c *changes) at(hash uint64) *atomic.Uint64 { return &c[hash/shardCount%uint64(len(c))] }

// repeatable reports a hit that says nothing about this request alone.
func (rp *reply) repeatable() bool {
	return rp.status == StatusHit && rp.reason == "" && rp.forward == "" && rp.e.status == http.StatusOK &&
		!rp.firstHand && !rp.trails() && !rp.unmodified && !rp.noCDN && rp.tag == "" && len(rp.cookies) == 0 && !rp.e.mustAsk
}

// repeat offers a reply that is about to be written.
func (s *Store) repeat(r *http.Request, rp reply) (Offer, bool) {
	e := rp.e
	sh := s.shard(e.hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.match(e.hash, []byte(e.key()), r.Header) != e {
		return Offer{}, false
	}
	p := &Repeat{store: s, entry: weak.Make(e), change: s.changes.at(e.hash)}
	p.at = p.change.Load()
	if e.encodings.Load() != rp.among {
		return Offer{}, false // there are others since it was chosen
	}
	if rp.encoded != nil {
		p.coding = coding.Coding(slices.Index(rp.among.of[:], rp.encoded))
	}
	o := Offer{
		Repeat: p, Date: e.fields().first("Date"), Body: rp.body().chunks, Version: strings.Clone(e.madeBy), Replica: e.replica,
	}
	o.Age, o.TTL = e.shownAge(rp.now)
	for variant := range sh.stored(e.hash, []byte(e.key())) {
		for i := range variant.vary() {
			o.names = append(o.names, variant.vary()[i].name)
		}
	}
	return o, true
}

// shownAge is the age and what is left, as a hit's header has them: ages count
// in whole seconds, so the rest does too.
func (e *entry) shownAge(now time.Time) (age, ttl int64) {
	age = int64(e.currentAge(now) / time.Second)
	return age, int64(e.lifetime/time.Second) - age
}

// Varies reports that an answer for the key depends on a request field, by its
// canonical name.
func (o *Offer) Varies(name string) bool { return slices.Contains(o.names, name) }

// Begin reports whether the same request would be given the same answer now,
// apart from its age. It then counts as a hit, and as an exchange in flight
// until that ends. Like any exchange it is counted before the fence is asked.
func (p *Repeat) Begin(now time.Time) (Use, bool) {
	e := p.entry.Value()
	if e == nil {
		return Use{}, false
	}
	s := p.store
	member := s.census.join()
	if p.change.Load() != p.at || s.standing(e) != standsFirm || e.ttl(now) <= 0 {
		member.leave()
		return Use{}, false
	}
	sent := e.body()
	if p.coding != coding.Identity {
		sent = e.encodings.Load().get(p.coding).body
	}
	use := Use{Body: sent.chunks, Exchange: member}
	use.Age, use.TTL = e.shownAge(now)
	s.counters.hits.Add(1)
	s.counters.sentBytes.Add(sent.size)
	s.noteUse(e)
	return use, true
}

// noteUse marks an entry as used. While others hold its shard it is left out:
// which entries are in use shows in a sample too.
func (s *Store) noteUse(e *entry) {
	sh := s.shard(e.hash)
	if !sh.mu.TryLock() {
		return
	}
	defer sh.mu.Unlock()
	if sh.stays.Has(e) {
		sh.stays.Use(e, s.tick.Load())
		sh.useLocked(e)
	}
}
