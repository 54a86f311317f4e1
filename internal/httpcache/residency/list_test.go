package residency

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// object is a resident for tests.
type object struct {
	name  int
	hash  uint64
	bytes int64
	mark  Mark
}

func (o *object) Hash() uint64 { return o.hash }
func (o *object) Bytes() int64 { return o.bytes }
func (o *object) Mark() *Mark  { return &o.mark }

// hashOf scatters names over all bits, as a hash does (splitmix64).
func hashOf(name int) uint64 {
	x := uint64(name)*0x9e3779b97f4a7c15 + 0x1234567
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// cache is a bounded cache of lists, as a store has them.
type cache struct {
	lists   []*List[*object]
	climber *Climber
	past    Past
	objects map[int]*object
	most    int64
	held    int64
	tick    uint32
	hits    int
	all     int
}

func newCache(lists int, most int64) *cache {
	c := &cache{climber: NewClimber(), objects: make(map[int]*object), most: most}
	for range lists {
		c.lists = append(c.lists, New[*object](&c.past))
	}
	return c
}

func (c *cache) list(o *object) *List[*object] { return c.lists[o.hash%uint64(len(c.lists))] }

// ask is a request for an object, which is stored when it is not there.
func (c *cache) ask(name int, bytes int64) (hit bool) {
	c.all++
	if o := c.objects[name]; o != nil {
		c.hits++
		c.climber.Count(1, 0, len(c.objects))
		c.list(o).Use(o, c.tick)
		return true
	}
	c.climber.Count(0, 1, len(c.objects))
	o := &object{name: name, hash: hashOf(name), bytes: bytes}
	l := c.list(o)
	for c.held+bytes > c.most && c.step(l, bytes) {
	}
	if l.Wants() > 0 {
		l.Grow()
	}
	c.tick++
	l.Add(o, c.tick)
	c.objects[name] = o
	c.held += bytes
	return false
}

// step reports false when there is nothing to evict.
func (c *cache) step(l *List[*object], incoming int64) bool {
	var bids []Bid[*object]
	if l.Alone(c.held, len(c.lists)) {
		bids = append(bids, l.Bid())
	} else {
		for _, l := range c.lists {
			bids = append(bids, l.Bid())
		}
	}
	step := Choose(bids, c.climber.Share(), incoming)
	for _, o := range []*object{step.Demote, step.Admit} {
		if o != nil {
			c.list(o).Prove(o, c.tick)
		}
	}
	if step.Renew != nil {
		c.list(step.Renew).Renew(step.Renew, c.tick)
	}
	if step.Evict != nil {
		c.list(step.Evict).Remove(step.Evict)
		delete(c.objects, step.Evict.name)
		c.held -= step.Evict.bytes
	}
	return step.Admit != nil || step.Evict != nil
}

func TestAScanFlushesNothing(t *testing.T) {
	for _, lists := range []int{1, 64} {
		t.Run(fmt.Sprint(lists, " lists"), func(t *testing.T) {
			c := newCache(lists, 1000)
			hot := func() (hits int) {
				for name := range 500 {
					if c.ask(name, 1) {
						hits++
					}
				}
				return hits
			}
			for range 5 {
				hot()
			}
			for name := range 8000 { // eight times what fits, each once
				c.ask(1000+name, 1)
			}
			if hits := hot(); hits < 400 { // none, under LRU
				t.Errorf("%d of 500 are still there after a scan: want most", hits)
			}
		})
	}
}

func TestWhatIsNewAndPopularComesIn(t *testing.T) {
	for _, lists := range []int{1, 64} {
		c := newCache(lists, 1000)
		for range 20 {
			for name := range 900 {
				c.ask(name, 1)
			}
		}
		hits := 0
		for range 50 { // the old ones are never asked for again
			for name := range 900 {
				if c.ask(5000+name, 1) {
					hits++
				}
			}
		}
		// The past has to fade first: seven uses for each resident, twice or so.
		if share := float64(hits) / (50 * 900); share < 0.5 {
			t.Errorf("%d lists: %.2f of the requests for what is popular now are hits: want most", lists, share)
		}
	}
}

// Few and large objects on many lists must not fare worse than under LRU.
func TestFewObjectsOnManyListsAreKeptAsByLRU(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	c := newCache(64, 40)
	var recent []int
	lru := 0
	for range 40_000 {
		name := int(r.ExpFloat64() * 25)
		for i, one := range recent {
			if one == name {
				lru++
				recent = append(recent[:i], recent[i+1:]...)
				break
			}
		}
		if recent = append(recent, name); len(recent) > 40 {
			recent = recent[1:]
		}
		c.ask(name, 1)
	}
	if c.hits < lru-400 { // a point
		t.Errorf("%d hits: want about as many as LRU, %d", c.hits, lru)
	}
}

func TestRenewMovesWhatIsOnProbationOnly(t *testing.T) {
	l, inWindow, inMain := listWith([]int{1, 1}, []int{1, 1, 1})
	l.Use(inMain[2], 9000) // is protected from now on
	for _, o := range []*object{inWindow[0], inMain[0], inMain[2]} {
		l.Renew(o, 9999)
	}
	bid := l.Bid()
	if bid.candidate.r != inWindow[0] || bid.victim.r != inMain[1] || bid.elder.used != 9000 || inMain[0].mark.used != 9999 {
		t.Errorf("%+v", bid)
	}
	l.Remove(inMain[0])
	l.Renew(inMain[0], 10_000)
	if l.Has(inMain[0]) {
		t.Error("what has gone is back")
	}
}

func TestBytesAndPartsAddUp(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	past := new(Past)
	l := New[*object](past)
	held := make(map[*object]bool)
	one := func() *object {
		for o := range held {
			return o
		}
		return nil
	}
	for i := range 20_000 {
		o := one()
		switch n := r.IntN(10); {
		case n < 4 || o == nil:
			o = &object{name: i, hash: r.Uint64(), bytes: 1 + r.Int64N(1000)}
			l.Add(o, uint32(i))
			held[o] = true
		case n < 6:
			l.Use(o, uint32(i))
		case n < 7:
			next := &object{name: i, hash: o.hash, bytes: 1 + r.Int64N(1000)}
			l.Replace(o, next, uint32(i))
			delete(held, o)
			held[next] = true
		case n < 8 && i%2 == 0:
			l.Renew(o, uint32(i))
		case n < 8:
			l.Prove(o, uint32(i))
		case n < 9:
			o.bytes = 1 + r.Int64N(1000)
			l.Resize(o)
		default:
			l.Remove(o)
			l.Remove(o)          // twice does no harm
			l.Use(o, uint32(i))  // nor does a use of what has gone
			o.bytes = -1_000_000 // nor what becomes of it
			l.Resize(o)
			delete(held, o)
		}
		if r.IntN(4) == 0 && l.Wants() > 0 {
			l.Grow()
		}
	}
	sum := int64(0)
	for _, o := range l.All() {
		if !held[o] || !l.Has(o) {
			t.Fatalf("%d is listed: want it gone", o.name)
		}
		sum += o.bytes
	}
	if l.Len() != len(held) || int(past.residents.Load()) != len(held) || l.Bytes() != sum {
		t.Errorf("%d residents of %d bytes, %d counted for the past: want %d of %d", l.Len(), l.Bytes(), past.residents.Load(), len(held), sum)
	}
	for o := range held {
		l.Remove(o)
	}
	if l.Bytes() != 0 || l.Shrink() == 0 || l.Overhead() != 0 {
		t.Errorf("%d bytes and %d more in an empty list: want none", l.Bytes(), l.Overhead())
	}
}
