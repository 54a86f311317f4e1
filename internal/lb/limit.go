package lb

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// The adaptive limit finds out how many requests at a time do a process good.
// More only wait inside it, where they cost memory and switches; here they wait
// in order, and are told in time when there is no hope.
//
// By Little's law a process has, at its best, as many requests in flight as it
// answers in the time that one takes when it does not wait. The limit is half as
// many more, so that a gap between two requests costs nothing (BBR: gain times
// bandwidth times least round trip; Cardwell et al., 2016):
//
//	limit = 1.5 · in flight · uncrowded / latency
//
// What remains is to know the uncrowded latency while the process is crowded.
// One cannot tell by looking whether answers take longer because there are more
// of them or because the process has become slower: so fewer are sent, and the
// limiter looks at what that does to the throughput, in flight / latency. If it
// stays, the rest had only waited. If it falls, nobody waits any more, and the
// latency is that of the process (as in Uber's Cinnamon, which watches how
// throughput and requests in flight go together).
const (
	limitWindow   = int64(250 * time.Millisecond) // the shortest
	fewestSamples = 40                            // in a window
	// limitPatience is how long to wait for answers to requests that began in the
	// window. With the others, slow ones would count in one window and be missing
	// in the next; but when all are slow there is nothing else to go by.
	limitPatience = 2 * limitWindow
	limitGain     = 1.5
	limitFloor    = 4
	// limitMemory is how long an uncrowded latency is believed, and for how many
	// windows at least: each probe costs one or two.
	limitMemory   = int64(5 * time.Second)
	limitMemories = 20
	// kept is the share of the throughput above which it stayed: two windows of a
	// hundred answers each differ by a tenth for no reason.
	kept = 0.8
)

// limiter is the adaptive limit of one process.
type limiter struct {
	value atomic.Int64 // 0: as configured

	mu      sync.Mutex
	limit   float64
	began   int64   // of the window
	fresh   samples // of requests that began in it
	older   samples // of those that were there before, and may be many more
	present float64 // in flight at the last answer
	base    float64
	learnt  int64 // when base was
	before  sample
	trial   trial
}

// sample is an answer, or the average of some.
type sample struct {
	ms       float64
	inflight float64
}

// samples is a sum.
type samples struct {
	sample
	n float64
}

func (s *samples) add(one sample) {
	s.ms, s.inflight, s.n = s.ms+one.ms, s.inflight+one.inflight, s.n+1
}

func (s *samples) mean() sample { return sample{max(s.ms/s.n, 1e-3), s.inflight / s.n} }

// throughput is answers per millisecond.
func (s sample) throughput() float64 { return s.inflight / s.ms }

// trial is why fewer requests are sent than before.
type trial uint8

const (
	noTrial trial = iota
	cutting       // they take too long, as far as is known
	probing       // it has not been looked for long whether it is so
)

// allows is how many requests at a time the process may have, of most.
func (l *limiter) allows(most int64) int64 {
	if v := l.value.Load(); v > 0 {
		return min(v, most)
	}
	return most
}

// observe learns from an answer that took so many milliseconds. When it was
// asked for, found requests were in flight, with its own; now there are others.
// What it took has to do with the first: while they become more, the first of
// them are answered as quickly as ever.
func (l *limiter) observe(now int64, ms float64, found, inflight, most int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.began == 0 {
		l.began, l.limit = now, float64(most)
	}
	l.present = float64(inflight)
	met := sample{ms, float64(found)}
	if now-int64(ms*float64(time.Millisecond)) >= l.began {
		l.fresh.add(met)
	} else {
		l.older.add(met)
	}
	switch age := now - l.began; {
	case age >= limitWindow && l.fresh.n >= fewestSamples:
		l.closeLocked(now, l.fresh.mean(), float64(most))
	case age >= limitPatience && l.trial == noTrial && l.older.n >= fewestSamples:
		l.closeLocked(now, l.older.mean(), float64(most))
	default:
		return
	}
	l.began, l.fresh, l.older = now, samples{}, samples{}
}

// closeLocked ends a window that saw this.
func (l *limiter) closeLocked(now int64, saw sample, most float64) {
	l.limit = min(l.limit, most)
	switch {
	case l.trial != noTrial:
		l.judgeLocked(now, saw)
	case 2*max(saw.inflight, l.present) < l.limit: // Whatever it takes, it is not our doing.
		if l.base == 0 || saw.ms < l.base || now-l.learnt > limitMemory {
			l.base, l.learnt = saw.ms, now
		}
		l.limit += math.Sqrt(l.limit)
	default:
		l.crowdedLocked(now, saw)
	}
	l.limit = math.Floor(min(most, max(limitFloor, l.limit)))
	l.value.Store(int64(l.limit))
}

// crowdedLocked ends a window in which the limit mattered, or nearly so.
func (l *limiter) crowdedLocked(now int64, saw sample) {
	full := saw.inflight > 0.9*l.limit
	old := now-l.learnt > max(limitMemory, limitMemories*(now-l.began))
	if l.base == 0 {
		l.base, old = saw.ms, true
	}
	if l.limit <= limitFloor {
		l.base, l.learnt = saw.ms, now
	}
	target := limitGain * saw.inflight * l.base / saw.ms
	switch {
	case target < kept*l.limit && saw.ms > limitGain*l.base:
		l.before, l.trial = saw, cutting
		l.limit = target
	case full && (saw.ms < kept*l.base || old):
		l.before, l.trial = saw, probing
		l.limit /= 2
	case saw.ms > limitGain*l.base:
		l.limit = target
	default:
		l.limit = max(l.limit, target)
	}
}

// judgeLocked ends a window in which fewer requests were sent than before.
func (l *limiter) judgeLocked(now int64, saw sample) {
	if saw.throughput() < kept*l.before.throughput() {
		// They are missed: nobody waits any more.
		l.base, l.learnt = saw.ms, now
		l.limit = limitGain * l.before.inflight * saw.ms / l.before.ms
		l.trial = noTrial
		return
	}
	if l.trial == cutting {
		l.trial = noTrial
		return
	}
	if l.limit <= limitFloor || saw.inflight < l.limit/2 {
		l.base, l.learnt = saw.ms, now
		l.trial = noTrial
		return
	}
	l.before = saw
	l.limit /= 2
}
