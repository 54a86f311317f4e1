package lb

import (
	"math"
	"sync"
	"time"

	"github.com/edgegw/edge/internal/transport"
)

const (
	// hedgeFloor is the shortest delay before another replica is asked too: less
	// would double quick requests for nothing (Dean and Barroso, "The Tail at
	// Scale", 2013, wait 10 ms in their measurement).
	hedgeFloor = 10 * time.Millisecond

	// hedgeBusy is the share of what the replicas may have in flight above which
	// the pool has no room for requests besides.
	hedgeBusy = 0.7

	// leastTimed is the number of answers before which a quantile means nothing.
	leastTimed = 100
)

// hedgeAfter is how long the request waits for this try before it asks another
// replica besides; 0 when too little is known. False when it never does.
func (x *exchange) hedgeAfter() (time.Duration, bool) {
	h := &x.view.settings.Hedge
	if !h.On || x.attempts > 0 || !bodyless(x.in) || !transport.Safe(x.in.Method) || len(x.in.Header["Upgrade"]) > 0 {
		return 0, false
	}
	if h.After > 0 {
		return h.After.D(), true
	}
	return x.pool.latencies.quantile(x.pool.now(), float64(h.Quantile)), true
}

// takeSpare takes a slot of a replica in good standing, if the pool has more
// than enough of them. Nobody waits for it.
func (x *exchange) takeSpare() (slot, bool) {
	p := x.pool
	if p.queue.waiting.Load() > 0 || p.inDoubt() {
		return slot{}, false
	}
	x.look()
	var busy, room int64
	for _, r := range x.view.members {
		if limit := x.limit(r); limit > 0 && x.inRotation(r) {
			busy += r.inflight.Load()
			room += limit
		}
	}
	if room > 0 && float64(busy) > hedgeBusy*float64(room) {
		return slot{}, false
	}
	return x.pick()
}

// latencies is how long replicas took to answer, over the last ten to twenty
// seconds, in steps of a fifth.
type latencies struct {
	mu      sync.Mutex
	began   int64
	now     [latencySteps]uint32
	before  [latencySteps]uint32
	reckon  int64         // when the quantile was reckoned last
	reached time.Duration // it
}

const (
	latencySteps  = 128
	latencyFirst  = 0.1 // milliseconds: all that is less is in the first step
	latencyDouble = 4   // steps in which latencies double
	latencyWindow = int64(10 * time.Second)
	reckonEvery   = int64(100 * time.Millisecond)
)

func (l *latencies) add(now int64, took time.Duration) {
	ms := max(float64(took)/float64(time.Millisecond), latencyFirst)
	step := min(int(latencyDouble*math.Log2(ms/latencyFirst)), latencySteps-1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turnLocked(now)
	l.now[step]++
}

// turnLocked forgets what is older than the window.
func (l *latencies) turnLocked(now int64) {
	switch age := now - l.began; {
	case age < latencyWindow:
		return
	case age < 2*latencyWindow:
		l.before = l.now
	default:
		l.before = [latencySteps]uint32{}
	}
	l.began, l.now = now, [latencySteps]uint32{}
}

// quantile is the time within which a share of the answers came, at least
// hedgeFloor; 0 when too few came.
func (l *latencies) quantile(now int64, share float64) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reckon != 0 && now-l.reckon < reckonEvery {
		return l.reached
	}
	l.turnLocked(now)
	l.reckon, l.reached = now, 0
	total := uint64(0)
	for i := range l.now {
		total += uint64(l.now[i]) + uint64(l.before[i])
	}
	if total < leastTimed {
		return 0
	}
	seen := uint64(0)
	for i := range l.now {
		seen += uint64(l.now[i]) + uint64(l.before[i])
		if float64(seen) >= share*float64(total) {
			ms := latencyFirst * math.Pow(2, float64(i+1)/latencyDouble)
			l.reached = max(hedgeFloor, time.Duration(ms*float64(time.Millisecond)))
			break
		}
	}
	return l.reached
}
