package httpcache

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgegw/edge/internal/cacherules"
	"github.com/edgegw/edge/internal/fleet"
)

// shelf is what nodes have in common. Looks and writes take a while, during which
// anything may happen.
type shelf struct {
	mu   sync.Mutex
	kept map[string]shelved
	lag  func() time.Duration
	work sync.WaitGroup
}

type shelved struct {
	value []byte
	put   time.Time
	until time.Time
}

// user is a node's use of the shelf.
type user struct {
	*shelf

	course  *fleet.Course
	version string // the one that is current here
	// raw stamps answers with this node's own generation, as a check of the model.
	raw bool
}

func (u *user) Stamp(began uint64) (Stamp, bool) {
	if u.raw {
		return Stamp{Position: began}, true
	}
	incarnation, position, known := u.course.Stamp(began)
	return Stamp{incarnation, position}, known
}

func (u *user) Began(s Stamp) (uint64, bool) {
	if u.raw {
		return s.Position, true
	}
	return u.course.Generation(s.Incarnation, s.Position)
}

func (u *user) Scope() string               { return u.version }
func (u *user) Current(version string) bool { return version == "" || version == u.version }
func (*user) MaxObject() int64              { return 1000 }
func (*user) Keep() time.Duration           { return 10 * time.Minute }
func (*user) MinLife() time.Duration        { return 10 * time.Second }

func (u *user) Get(key string) ([]byte, time.Duration, bool) {
	wait(u.lag())
	u.mu.Lock()
	s, found := u.kept[key]
	u.mu.Unlock()
	at := time.Now()
	wait(u.lag())
	if !found || !at.Before(s.until) {
		return nil, 0, false
	}
	return s.value, time.Since(s.put), true
}

func (u *user) Drop(key string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.kept, key)
}

func (u *user) Put(key string, _ int64, ttl time.Duration, encode func() []byte) {
	u.work.Go(func() {
		wait(u.lag())
		value := encode()
		put := time.Now()
		wait(u.lag())
		if value != nil {
			u.mu.Lock()
			defer u.mu.Unlock()
			u.kept[key] = shelved{value, put, put.Add(ttl)}
		}
	})
}

// pair is two caches with a shelf in common, and an origin.
type pair struct {
	nodes [2]*world
	users [2]*user
}

// newPair has the pair in a bubble, both at the beginning of a log.
func newPair(t *testing.T, fields ...string) *pair {
	p := new(pair)
	common := &shelf{kept: make(map[string]shelved), lag: func() time.Duration { return time.Millisecond }}
	t.Cleanup(common.work.Wait) // the bubble's end
	for i := range p.nodes {
		p.nodes[i] = newWorld(t, fields...)
		p.users[i] = &user{shelf: common, course: new(fleet.Course)}
		p.users[i].course.Reach("log", 0, p.nodes[i].h.Store.Generation())
		p.nodes[i].h.Store.Share(p.users[i])
	}
	return p
}

// settled waits until all is put.
func (p *pair) settled() {
	wait(time.Second)
	synctest.Wait()
}

// purge has an order applied by both nodes, at the next place of the log.
func (p *pair) purge(position uint64, order Purge) {
	for i, n := range p.nodes {
		n.h.Store.Purge(order)
		p.users[i].course.Reach("log", position, n.h.Store.Generation())
	}
}

func TestWhatOneNodeStoresAnotherFinds(t *testing.T) {
	for name, c := range map[string]struct {
		fields  []string
		request []string
		other   []string // of the other node's visitor
		between func(p *pair)
		found   bool
	}{
		"a page":                      {fields: []string{"Cache-Control: max-age=60"}, found: true},
		"one that varies, for alike":  {fields: []string{"Cache-Control: max-age=60", "Vary: X-A"}, request: []string{"X-A: 1"}, other: []string{"X-A: 1"}, found: true},
		"one that varies, for others": {fields: []string{"Cache-Control: max-age=60", "Vary: X-A"}, request: []string{"X-A: 1"}, other: []string{"X-A: 2"}},
		"fresh for too short":         {fields: []string{"Cache-Control: max-age=5"}},
		"nobody's but one's":          {fields: []string{"Cache-Control: private, max-age=60"}},
		"with a cookie":               {fields: []string{"Cache-Control: max-age=60", "Set-Cookie: a=b"}},
		"of a cache group":            {fields: []string{"Cache-Control: max-age=60", `Cache-Groups: "a"`}},
		"to be asked about each time": {fields: []string{"Cache-Control: no-cache", `ETag: "a"`}},
		"it has ended":                {fields: []string{"Cache-Control: max-age=60"}, between: func(*pair) { wait(time.Minute) }},
		"purged, by its tag":          {fields: []string{"Cache-Control: max-age=60", "Cache-Tag: t"}, between: func(p *pair) { p.purge(1, Purge{Generation: 1, Tags: []string{"t"}}) }},
		"softly purged":               {fields: []string{"Cache-Control: max-age=60"}, between: func(p *pair) { p.purge(1, Purge{Generation: 1, Soft: true, Everything: true}) }},
		"another tag is purged":       {fields: []string{"Cache-Control: max-age=60", "Cache-Tag: t"}, between: func(p *pair) { p.purge(1, Purge{Generation: 1, Tags: []string{"u"}}) }, found: true},
		"the other node has joined later": {fields: []string{"Cache-Control: max-age=60"}, between: func(p *pair) {
			p.users[1].course.Reach("log", 1, p.nodes[1].h.Store.Generation())
			p.users[1].course.Reach("log", 0, 0)
			*p.users[1].course = fleet.Course{}
			p.users[1].course.Reach("log", 1, p.nodes[1].h.Store.Generation())
		}},
		"the log is another one": {fields: []string{"Cache-Control: max-age=60"}, between: func(p *pair) {
			p.users[1].course.Reach("new log", 0, p.nodes[1].h.Store.Generation())
		}},
		"another version is current": {fields: []string{"Cache-Control: max-age=60"}, between: func(p *pair) { p.users[1].version = "v2" }},
		"the other may have missed purges": {fields: []string{"Cache-Control: max-age=60"}, between: func(p *pair) {
			p.nodes[1].h.Store.Trust(func() bool { return false })
		}},
		"an unsafe request at the first": {fields: []string{"Cache-Control: max-age=60", "Vary: X-A"}, between: func(p *pair) { p.nodes[0].do(http.MethodPost, site) }},
		"an unsafe request at the other": {fields: []string{"Cache-Control: max-age=60"}, between: func(p *pair) { p.nodes[1].do(http.MethodPost, site) }},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p := newPair(t, c.fields...)
				p.nodes[0].get(site, c.request...)
				p.settled()
				if c.between != nil {
					c.between(p)
				}
				before := p.nodes[1].origin.fetches()
				got := p.nodes[1].get(site, c.other...)
				if asked := p.nodes[1].origin.fetches() > before; asked == c.found {
					t.Errorf("%s (%s), origin asked: %v, want it found: %v", got.Status, got.Reason, asked, c.found)
				}
				if !c.found {
					return
				}
				got.wants(t, StatusHit, http.StatusOK, "hello")
				if again := p.nodes[1].get(site, c.other...); got.Reason != ReasonShared || again.Reason != "" || again.Status != StatusHit {
					t.Errorf("reason %q, then %q: want shared, and then memory's", got.Reason, again.Reason)
				}
				if age, err := strconv.Atoi(got.Header().Get("Age")); err != nil || age != 1 {
					t.Errorf("Age %q: want the second that it was on the shelf", got.Header().Get("Age"))
				}
			})
		})
	}
}

func TestExplainTellsOfTheSharedCache(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p := newPair(t, "Cache-Control: max-age=60")
		p.nodes[0].get(site)
		p.settled()
		other := p.nodes[1]
		x := other.h.Explain(httptest.NewRequest("GET", site, nil), other.verdict, time.Now())
		if x.Decision != "serve" || x.Reason != ReasonShared || x.Entry == nil || x.Variants != 0 {
			t.Errorf("%+v", x)
		}
		if got := other.h.Store.Stats(); got.Entries != 0 || got.Shared == nil || got.Shared.Hits != 0 {
			t.Errorf("%+v: want nothing changed", got)
		}
	})
}

func TestAnAnswerFromTheShelfIsDecodedWhatever(t *testing.T) {
	n := &sharing{Shared: &user{course: new(fleet.Course), shelf: new(shelf)}}
	for _, value := range [][]byte{nil, {sharedAnswer}, {sharedLabel}, []byte("A\x03log\x00\x00\x00"), []byte("A\x03log\xff\xff\xff")} {
		if e := n.decode(value, time.Second, time.Now()); e != nil {
			t.Errorf("%q became %+v", value, e)
		}
	}
}

// doubles is a fleet of two with a shelf, at random moments: pages have a number
// that grows; a purge is acknowledged when both have applied it where it stands in
// the log, and the one that ordered it before that too.
type doubles struct {
	*pair
	dice *rand.Rand

	mu       sync.Mutex
	number   int
	log      []doubleOrder
	acked    int // numbers below are gone
	applied  [2]int
	mute     bool // own orders are not repeated, as a check of the model
	faults   []string
	borrowed int
}

type doubleOrder struct {
	from   int
	number int
	Purge
}

func (d *doubles) upTo(most time.Duration) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Duration(d.dice.Int64N(int64(most)))
}

// order purges the page: at one node first, as a coordinator does.
func (d *doubles) order(at int) {
	d.mu.Lock()
	d.number++
	number, generation := d.number, uint64(d.number)
	d.mu.Unlock()
	p := Purge{Generation: generation, Tags: []string{"t"}}
	d.nodes[at].h.Store.Purge(p)
	wait(d.upTo(200 * time.Millisecond))
	d.mu.Lock()
	defer d.mu.Unlock()
	d.log = append(d.log, doubleOrder{at, number, p})
}

// follow applies the next order of the log at a node.
func (d *doubles) follow(at int) {
	d.mu.Lock()
	next := d.applied[at]
	if next == len(d.log) {
		d.mu.Unlock()
		return
	}
	o := d.log[next]
	d.mu.Unlock()
	if s := d.nodes[at].h.Store; o.from != at || !d.mute {
		s.Purge(o.Purge)
	}
	d.users[at].course.Reach("log", uint64(next+1), d.nodes[at].h.Store.Generation())
	d.mu.Lock()
	defer d.mu.Unlock()
	d.applied[at]++
	for _, o := range d.log[:min(d.applied[0], d.applied[1])] {
		d.acked = max(d.acked, o.number)
	}
}

// visit asks a node, and holds the answer against what was acknowledged before.
func (d *doubles) visit(at int) {
	d.mu.Lock()
	least := d.acked
	d.mu.Unlock()
	got := d.nodes[at].get(site)
	number, err := strconv.Atoi(got.Body.String())
	d.mu.Lock()
	defer d.mu.Unlock()
	if got.Reason == ReasonShared {
		d.borrowed++
	}
	if err != nil || number < least {
		d.faults = append(d.faults, fmt.Sprintf("node %d gave %q (%s %s) after all below %d were purged", at, got.Body.String(), got.Status, got.Reason, least))
	}
}

// runDoubles plays one schedule.
func runDoubles(t *testing.T, seed uint64, edit func(*doubles)) (faults []string, borrowed int) {
	synctest.Test(t, func(t *testing.T) {
		d := &doubles{pair: newPair(t), dice: rand.New(rand.NewPCG(seed, 11))}
		d.users[0].lag = func() time.Duration { return d.upTo(80 * time.Millisecond) }
		edit(d)
		for _, n := range d.nodes {
			n.verdict = &cacherules.Verdict{}
			n.origin.answer = func(w http.ResponseWriter, r *http.Request) error {
				d.mu.Lock()
				number := d.number // what is asked now is read now
				d.mu.Unlock()
				wait(d.upTo(150 * time.Millisecond))
				return respond(http.StatusOK, strconv.Itoa(number), "Cache-Control: max-age=600", "Cache-Tag: t")(w, r)
			}
		}
		var work sync.WaitGroup
		until := time.Now().Add(5 * time.Second)
		often := func(most time.Duration, do func()) {
			work.Go(func() {
				for time.Now().Before(until) {
					wait(time.Millisecond + d.upTo(most))
					do()
				}
			})
		}
		for at := range d.nodes {
			often(40*time.Millisecond, func() { d.visit(at) })
			often(40*time.Millisecond, func() { d.visit(at) })
			often(900*time.Millisecond, func() { d.order(at) })
			often(120*time.Millisecond, func() { d.follow(at) })
			// One that forgets what it stores asks the shelf more often.
			often(150*time.Millisecond, func() { d.forget(at) })
		}
		work.Wait()
		d.users[0].work.Wait()
		faults, borrowed = d.faults, d.borrowed
	})
	return faults, borrowed
}

// forget drops what a node has in memory, as eviction does.
func (d *doubles) forget(at int) {
	s := d.nodes[at].h.Store
	s.Configure(Options{MaxBytes: 1})
	s.Configure(Options{})
}

func TestNoScheduleOfTwoNodesTakesWhatWasPurgedFromTheShelf(t *testing.T) {
	borrowed := 0
	for seed := range uint64(60) {
		faults, some := runDoubles(t, seed, func(*doubles) {})
		if borrowed += some; len(faults) > 0 {
			t.Fatalf("seed %d: %d faults, such as %s", seed, len(faults), faults[0])
		}
	}
	if borrowed < 200 {
		t.Errorf("%d answers came from the shelf: nothing is shown", borrowed)
	}
}

// The model has to find what is wrong without either half of the stamp's meaning.
func TestTheModelOfTwoNodesSeesWhatWouldGoWrong(t *testing.T) {
	for name, edit := range map[string]func(*doubles){
		"own orders are not repeated where they stand in the log": func(d *doubles) { d.mute = true },
		"answers are stamped with a node's own generation": func(d *doubles) {
			d.users[0].raw, d.users[1].raw = true, true
		},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(400) {
				if faults, _ := runDoubles(t, seed, edit); len(faults) > 0 {
					return
				}
			}
			t.Error("no schedule of 400 shows it")
		})
	}
}
