package caddymodule

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"time"
)

// Garbage starts a collection, so in a lull there is none, and the process keeps
// what the last burst of requests has left: the garbage, what the runtime holds
// free for more, and the stacks that connections had while they were served, which
// only a collection makes smaller. With ten thousand idle connections that is as
// much as all that they need. So once in a lull it is collected, and given back.
const (
	lullLook = time.Second
	// lullPause is the least time between two lulls of which use is made, and
	// lullShare how many times as long as the last took it is at least.
	lullPause = 5 * time.Second
	lullShare = 20
	// leastGrowth, and one part in growthShare of what lives, is what it must be
	// about: a collection marks all that lives.
	leastGrowth = 8 << 20
	growthShare = 16
	// lullLasts: with the pace of the last second it takes as long, at least, until
	// as much is allocated again.
	lullLasts = time.Minute
	// lullRounds: each collection halves stacks, if that, and the pools of what may
	// be used again take two.
	lullRounds = 3
)

// usage is what the process has at a time.
type usage struct {
	at        time.Time
	allocated int64 // since the process started
	live      int64 // found by the last collection
	mapped    int64 // by the runtime, and not given back
}

// settled is how the last use of a lull ended.
type settled struct {
	at     time.Time
	took   time.Duration
	mapped int64 // growth counts from here
}

// worth is how many bytes a collection must be about.
func (u usage) worth() int64 { return max(leastGrowth, u.live/growthShare) }

// lull reports whether this is one to collect in: before is from the look before.
func (u usage) lull(before usage, last settled) bool {
	grown := u.mapped - last.mapped
	if u.at.Sub(last.at) < max(lullPause, lullShare*last.took) || grown < u.worth() {
		return false
	}
	allocated, passed := float64(u.allocated-before.allocated), u.at.Sub(before.at).Seconds()
	return allocated*lullLasts.Seconds() <= float64(grown)*passed
}

// lulls makes use of them. One goroutine has it.
type lulls struct {
	measure func() usage
	collect func()
	before  usage // at the look before
	last    settled
}

// look collects if this is a lull.
func (l *lulls) look() {
	now := l.measure()
	if l.before.at.IsZero() {
		l.before = now
		return
	}
	if now.lull(l.before, l.last) {
		began := now.at
		now = l.settle(now)
		l.last = settled{at: now.at, took: now.at.Sub(began), mapped: now.mapped}
	}
	// What the runtime gives back by itself may grow again.
	l.last.mapped = min(l.last.mapped, now.mapped)
	l.before = now
}

// settle collects until little is won by it.
func (l *lulls) settle(now usage) usage {
	for range lullRounds {
		had := now.mapped
		l.collect()
		now = l.measure()
		if had-now.mapped < now.worth() {
			break
		}
	}
	return now
}

// collectInLulls looks for lulls until it is told to end. An operator who sets
// GOGC is left alone.
func collectInLulls() (end func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(lullLook)
		defer tick.Stop()
		for l := (lulls{measure: measureUsage, collect: func() { giveBack(runtime.GOMAXPROCS(0)) }}); ; {
			select {
			case <-tick.C:
				l.look()
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

// giveBack collects, and gives back what is free. The runtime leaves the processor
// that gives back to nobody else meanwhile, for a tenth of a second with some hundred
// MiB. Where there is one only, the runtime gives back what it does by itself.
func giveBack(processors int) {
	if processors < 2 {
		runtime.GC()
		return
	}
	debug.FreeOSMemory()
}

// measureUsage asks the runtime.
func measureUsage() usage {
	live, mapped := measureRuntime()
	return usage{at: time.Now(), allocated: readMetrics("/gc/heap/allocs:bytes")[0], live: live, mapped: mapped}
}
