package lb

import (
	"context"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/edgegw/edge/internal/transport"
)

// lenience is how far a request goes to find a replica when none is in good
// standing. Each step is taken only when the one before leaves nobody at all:
// a full replica is waited for, not worked around.
type lenience uint8

const (
	strict      lenience = iota // healthy, not ejected, and the breaker admits
	anyHealth                   // health and ejections are presumed wrong
	anyStanding                 // so are breakers, save those of replicas that cannot be reached
	lenienceEnd
)

// slot is the right to send one request to one replica. Its holder calls
// release exactly once.
type slot struct {
	replica *replica
	record  *record
	breaker *breaker
	probe   func(outcome) // nil unless this is the breaker's probe
	began   int64
	crowd   int64 // that were in flight when it began, itself among them
}

// smallBody is the largest request body that comes with its headers, as good
// as at once. With a larger one the time to the answer is the client's as much
// as the replica's.
const smallBody = 16 << 10

// exchange is one call of RoundTrip: the state of its tries and, once an
// answer is passed on, the wrapper of its body. It is the Candidates that the
// policy sees, so that a pick allocates nothing.
type exchange struct {
	pool  *Pool
	view  *view
	in    *http.Request
	trace *Trace
	tries func(Try, http.Header) func(int, error) // the trace's Try; nil for none

	now    int64 // of the current pick
	median float64
	level  lenience

	attempts int
	tried    [maxAttempts + maxRescues]*replica

	held    bool // slot is ours to release
	beside  bool // this is the try of a hedge
	errand  bool // for what another version's replica did not have
	slot    slot
	outlet  outlet
	payload *payload // nil: the request has no body
	guard   *guard   // the reader of this try

	ctx  context.Context         // of this try; nil when it has none of its own
	stop context.CancelCauseFunc // ends it
	next slot                    // taken already for the try that follows
	conn net.Conn                // of this try, if it asks for another protocol

	body answerBody
}

func (x *exchange) Len() int { return len(x.view.members) }

func (x *exchange) Up(i int) bool {
	r := x.view.members[i]
	return x.inRotation(r) && !x.full(r) && !x.hasTried(r)
}

func (x *exchange) Load(i int) int { return int(x.view.members[i].inflight.Load()) }

func (x *exchange) Weight(i int) float64 {
	return x.view.members[i].weight(x.now, x.view.settings.SlowStart.D())
}

func (x *exchange) Cost(i int) float64 {
	return x.view.members[i].cost(x.now, x.median, x.view.settings.SlowStart.D())
}

// Standing leaves aside how far this request has gone to find anybody.
func (x *exchange) Standing(i int) bool {
	level := x.level
	x.level = strict
	defer func() { x.level = level }()
	return x.inRotation(x.view.members[i])
}

func (x *exchange) Place(i int) uint64 { return x.view.members[i].place }

func (x *exchange) Process(i int) uint64 {
	r := x.view.members[i]
	is := r.identity.Load()
	return hashed(hashed(r.place, is.instance), is.version)
}

func (x *exchange) Request() *http.Request { return x.in }

func (x *exchange) Client() string {
	if x.trace != nil && x.trace.Client != "" {
		return x.trace.Client
	}
	host, _, err := net.SplitHostPort(x.in.RemoteAddr)
	if err != nil {
		return x.in.RemoteAddr
	}
	return host
}

func (x *exchange) Shared() bool { return x.trace != nil && x.trace.Shared }

// mark lets the policy mark the answer of the replica that gave it.
func (x *exchange) mark(resp *http.Response) {
	marker, ok := x.view.settings.policy.(Marker)
	if !ok || resp.StatusCode >= 500 || x.errand { // The visitor stays with whom it was sent to.
		return
	}
	x.now = x.pool.now()
	if i := slices.Index(x.view.members, x.slot.replica); i >= 0 {
		marker.Mark(x, i, resp.Header)
	}
}

// inRotation reports whether r takes requests, leaving aside how many it has.
// While most replicas look bad, a request is not tried again on another that
// does: the first tries find out soon enough whether the looks deceive, and an
// outage is not made worse.
func (x *exchange) inRotation(r *replica) bool {
	if x.attempts > 0 && x.pool.inDoubt() && !r.record.Load().sound(x.now) {
		return false
	}
	switch r.is() {
	case up:
	case sick:
		if x.level < anyHealth && !x.pool.panicking.Load() {
			return false
		}
	case joining:
		// Its first check is awaited even when nobody else is there: it is over
		// within the check's time-out, and a starting process refuses.
		if x.level < anyHealth || !r.checked.Load() {
			return false
		}
	default:
		return false
	}
	record := r.record.Load()
	if record.ejection.on() && x.level < anyHealth && !x.pool.panicking.Load() {
		return false
	}
	if x.level < anyHealth && x.pool.avoided(r) {
		return false
	}
	b := record.breaker.Load()
	if b.unreachable() && r.is() != up {
		return false // Checks cannot reach it either: the one that does closes the breaker.
	}
	if b.admits(x.now) {
		return true
	}
	lenient := x.level >= anyStanding || x.pool.distrusted.Load()
	return lenient && !b.unreachable()
}

func (x *exchange) full(r *replica) bool {
	limit := x.limit(r)
	return limit > 0 && r.inflight.Load() >= limit
}

// limit is the number of requests r may work on, 0 for any. Slow start lowers
// it too.
func (x *exchange) limit(r *replica) int64 {
	most := x.view.settings.Queue.MaxInflight
	if most < 0 {
		return 0
	}
	if x.view.settings.Queue.Adaptive {
		most = int(r.record.Load().limiter.allows(int64(most)))
	}
	if r.slowFrom.Load() == 0 {
		return int64(most)
	}
	return max(1, int64(float64(most)*r.started(x.now, x.view.settings.SlowStart.D())))
}

func (x *exchange) hasTried(r *replica) bool {
	for _, t := range x.tried[:x.attempts] {
		if t == r {
			return true
		}
	}
	return false
}

// take picks a replica and takes a slot of it. False when none may have the
// request now.
func (x *exchange) take() (slot, bool) {
	x.look()
	for x.level = strict; x.level < lenienceEnd; x.level++ {
		if s, ok := x.takeProbe(); ok {
			return s, true
		}
		if s, ok := x.pick(); ok {
			return s, true
		}
		if x.somebody() {
			break
		}
	}
	return slot{}, false
}

// look takes the pool as it is now for the pick that follows.
func (x *exchange) look() {
	if v := x.pool.view.Load(); v != nil { // None once the pool is closed.
		x.view = v
	}
	x.now = x.pool.now()
	x.median = load(&x.pool.median)
}

// pick takes a slot of whom the policy picks. A pick that another request beats
// to the slot is made again.
func (x *exchange) pick() (slot, bool) {
	for range 3 {
		i := x.view.settings.policy.Pick(x)
		if i < 0 {
			break
		}
		if s, ok := x.claim(x.view.members[i]); ok {
			return s, true
		}
	}
	return slot{}, false
}

// somebody reports whether any replica is in rotation at this level, be it
// full or tried already.
func (x *exchange) somebody() bool {
	for _, r := range x.view.members {
		if x.inRotation(r) {
			return true
		}
	}
	return false
}

// takeProbe sends this request to a replica whose breaker waits for a probe,
// if it may be retried elsewhere when that goes wrong. Left to the policy, a
// replica with a bad record might never be probed.
func (x *exchange) takeProbe() (slot, bool) {
	if i := x.dueProbe(); i >= 0 {
		return x.claim(x.view.members[i])
	}
	return slot{}, false
}

// dueProbe is the replica that takeProbe would ask, or -1.
func (x *exchange) dueProbe() int {
	if x.pool.opened.Load() == 0 || x.attempts > 0 || !bodyless(x.in) || !transport.Safe(x.in.Method) {
		return -1
	}
	for i, r := range x.view.members {
		if r.record.Load().breaker.Load().due(x.now) && x.Up(i) {
			return i
		}
	}
	return -1
}

// claim takes a slot of r. It counts first and looks after, so that a limit
// holds and a drain that sees nothing in flight is right:
//
//	claim: inflight+1, then reads the state
//	drain: writes the state, then reads inflight
//
// One of the two sees the other. Nor is a process asked of which the pick did
// not know that it is another one by now.
func (x *exchange) claim(r *replica) (slot, bool) {
	n := r.inflight.Add(1)
	limit := x.limit(r)
	if (limit > 0 && n > limit) || r.is().leaving() || r.unproven() {
		x.pool.unclaim(r)
		return slot{}, false
	}
	record := r.record.Load()
	b := record.breaker.Load()
	probe, ok := b.begin(x.now)
	if !ok && x.level < anyStanding && !x.pool.distrusted.Load() {
		x.pool.unclaim(r)
		return slot{}, false
	}
	record.requests.Add(1)
	return slot{replica: r, record: record, breaker: b, probe: probe, began: x.now, crowd: n}, true
}

// acquire takes a slot, waiting for one if need be. It returns "" or why there
// is none.
func (x *exchange) acquire() string {
	q := &x.pool.queue
	if q.waiting.Load() == 0 {
		if s, ok := x.take(); ok {
			x.hold(s)
			return ""
		}
	}
	began := x.pool.now()
	why := q.wait(x.in.Context(), x.view.settings.Queue.Wait.D(), x.view.settings.Queue.Length, func() bool {
		s, ok := x.take()
		if ok {
			x.hold(s)
		}
		return ok
	})
	if x.trace != nil {
		x.trace.Waited = time.Duration(x.pool.now() - began)
	}
	return why
}

func (x *exchange) hold(s slot) { x.slot, x.held = s, true }

// settle ends the try: it tells the records, and gives the slot back.
func (x *exchange) settle(o outcome) {
	if !x.held {
		return
	}
	x.held = false
	x.learn(o)
	x.pool.conclude(&x.slot, o)
	x.pool.unclaim(x.slot.replica)
}

// learn takes note of what the try came to, at the moment it is known.
func (x *exchange) learn(o outcome) {
	now := x.pool.now()
	elapsed := untimed
	if bodyless(x.in) || (x.in.ContentLength > 0 && x.in.ContentLength <= smallBody) {
		elapsed = time.Duration(now - x.slot.began)
	}
	x.slot.record.observe(now, o, elapsed, load(&x.pool.median))
	if q := &x.view.settings.Queue; q.Adaptive && o == good && elapsed != untimed {
		ms := float64(elapsed) / float64(time.Millisecond)
		x.slot.record.limiter.observe(now, ms, x.slot.crowd, x.slot.replica.inflight.Load(), int64(q.MaxInflight))
	}
	x.pool.refreshMedian(now)
}

// conclude counts what a request came to, once: beside the replica's peers,
// and for its breaker.
func (p *Pool) conclude(s *slot, o outcome) {
	p.compare(s.replica, s.record, o)
	if s.probe != nil {
		s.probe(o)
		s.probe = nil
		return
	}
	s.breaker.report(o)
}
