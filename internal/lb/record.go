package lb

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// latencyMemory is the time in which a latency loses 63 % of its weight
	// (peak EWMA as in Finagle: 10 s).
	latencyMemory = 10 * time.Second

	// failureMemory is the same for failures.
	failureMemory = 5 * time.Second

	// outlier bounds what one answer can say: four times the estimate. One slow
	// page must not condemn a replica; two slow answers in a row do.
	outlier = 4

	// unknownLatency, in milliseconds, stands for a pool that knows no latency.
	unknownLatency = 20

	// youth is the number of answers before which an estimate is not trusted:
	// the first ones of a process pay for its start. Until then each answer
	// brings the estimate at least half way down, and it fades four times as
	// fast, so that an answer of 1.3 s among ones of 5 ms keeps a replica away
	// for 14 s and not for a minute. One answer that was quick by chance must
	// not draw a herd either: see cost.
	youth      = 8
	youngFades = 4

	// unprovenTimes is how many times the median a process is taken for of which
	// nothing is known.
	unprovenTimes = 2
)

// record is what was learnt about one process behind an address. Another
// process at the address gets a new record.
type record struct {
	breaker  atomic.Pointer[breaker]
	requests atomic.Int64
	failures atomic.Int64

	latency   atomic.Uint64 // float64, milliseconds; 0 when nothing is known
	latencyAt atomic.Int64  // of the last answer; before the first, when the record was made
	answers   atomic.Int64  // that told a latency
	failing   atomic.Uint64 // float64, share of failures, 0 to 1
	failingAt atomic.Int64

	ejection ejection
	limiter  limiter

	mu     sync.Mutex // guards the window, and writers of the five above
	window window
}

// begin lets an estimate of which nothing is known fade from now on.
func (r *record) begin(now int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if load(&r.latency) == 0 {
		r.latencyAt.Store(now)
	}
}

// untimed is the elapsed time of a try that says nothing about latency.
const untimed time.Duration = -1

// observe learns from an answer, or from the lack of one, after elapsed, in a
// pool with this median of latencies.
func (r *record) observe(now int64, o outcome, elapsed time.Duration, median float64) {
	if o.failed() {
		r.failures.Add(1)
	}
	ms := float64(elapsed) / float64(time.Millisecond)
	r.mu.Lock()
	defer r.mu.Unlock()

	estimate := load(&r.latency)
	// A client that gives up on a replica slower than it used to be has seen
	// something too. Quick failures have not: they would attract traffic.
	telling := o == good || o == late || (o == neutral && estimate > 0 && ms > estimate)
	if elapsed != untimed && telling {
		if estimate == 0 {
			estimate = unprovenTimes * median // The first answer says no more than a later one.
		}
		store(&r.latency, peak(estimate, ms, now-r.latencyAt.Load(), r.young()))
		r.latencyAt.Store(now)
		r.answers.Add(1)
		r.timeLocked(now, elapsed)
	}
	if o == neutral {
		return
	}
	miss := 0.0
	if o.failed() || o == busy {
		miss = 1 // A fast refusal must not attract traffic either.
	}
	store(&r.failing, mix(load(&r.failing), miss, now-r.failingAt.Load()))
	r.failingAt.Store(now)
}

// young reports whether the estimate rests on few answers, or on none.
func (r *record) young() bool { return r.answers.Load() < youth }

// memory is the time, in nanoseconds, in which an estimate loses 63 %.
func memory(young bool) float64 {
	if young {
		return float64(latencyMemory) / youngFades
	}
	return float64(latencyMemory)
}

// peak moves an estimate up at once and down slowly.
func peak(estimate, ms float64, age int64, young bool) float64 {
	if estimate == 0 {
		return ms
	}
	ms = min(ms, outlier*estimate)
	if ms > estimate {
		return ms
	}
	keep := math.Exp(-float64(age) / memory(young))
	if young {
		keep = min(keep, 0.5)
	}
	return max(estimate*keep+ms*(1-keep), 1e-3)
}

// mix adds one outcome to a share. An outcome weighs a tenth, and more after a
// pause.
func mix(share, miss float64, age int64) float64 {
	keep := min(math.Exp(-float64(age)/float64(failureMemory)), 0.9)
	share = share*keep + miss*(1-keep)
	if share < 1e-3 {
		return 0
	}
	return share
}

// cost is the time, in milliseconds, that one more request would take:
//
//	max(latency, median/4) · (in flight + 1 + WebSockets/10) / success²
//
// A latency fades while the replica is idle, so that one that was slow once is
// tried again; the floor keeps a very fast or faded one from drawing a herd. A
// replica of which nothing is known yet begins at twice the median and fades
// like the others: with one request at a time nobody is ever busy, and it would
// get none for ever. While few answers speak for it, twice the median is the
// floor of what a request costs beside others.
func (r *record) cost(now int64, median, load1 float64) float64 {
	estimate, floor := load(&r.latency), median/4
	if median == 0 {
		floor = unknownLatency / 4
	}
	switch {
	case estimate == 0 && median == 0:
		estimate = unknownLatency
	case estimate == 0:
		estimate = unprovenTimes * median
	case median == 0:
		floor = 0
	}
	young := r.young()
	if young && load1 >= 2 {
		floor = max(floor, unprovenTimes*median)
	}
	memory := memory(young)
	if age := float64(now - r.latencyAt.Load()); age > memory/100 {
		estimate *= math.Exp(-age / memory)
	}
	estimate = max(estimate, floor)
	success := max(0.02, 1-r.failingAround(now))
	return estimate * load1 / (success * success)
}

// failingAround is the share of failures around now. It fades too.
func (r *record) failingAround(now int64) float64 {
	failing := load(&r.failing)
	if failing == 0 {
		return 0
	}
	return failing * math.Exp(-float64(now-r.failingAt.Load())/float64(failureMemory))
}

// soundBelow is the share of failures below which a process does well. One
// failure alone weighs a tenth, and is half forgiven after 3.5 s.
const soundBelow = 0.05

// sound reports whether what requests saw of the process speaks for it,
// whatever its checks say.
func (r *record) sound(now int64) bool {
	return r.breaker.Load().closed() && !r.ejection.on() && r.failingAround(now) < soundBelow
}

func load(a *atomic.Uint64) float64     { return math.Float64frombits(a.Load()) }
func store(a *atomic.Uint64, f float64) { a.Store(math.Float64bits(f)) }
