package caddymodule

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
)

// collector sets the pace of Go's collector, the limit on the runtime's memory,
// and what the cache gives up, after each collection. It is one for the
// process; the finalizer's goroutine owns it.
type collector struct {
	once  sync.Once
	force budget
	// given is the limit that was there before: from the environment, or from
	// the container, by Caddy.
	given int64
	// limited: the operator has set a limit, which stays what it is.
	limited bool
	// before is what the cache had at the last collection.
	before int64
}

var pace collector

// paceCollector begins to set the pace. An operator who sets GOGC keeps it, and
// is left alone.
func paceCollector() {
	if os.Getenv("GOGC") != "" {
		return
	}
	pace.once.Do(func() {
		pace.given = debug.SetMemoryLimit(-1)
		pace.limited = os.Getenv("GOMEMLIMIT") != ""
		pace.adapt()
		armSentinel()
	})
}

// sentinel is garbage from the start: its finalizer runs once in each
// collection, on the runtime's own goroutine.
type sentinel struct{ _ [16]byte }

func armSentinel() {
	runtime.SetFinalizer(new(sentinel), func(*sentinel) {
		pace.adapt()
		armSentinel()
	})
}

// adapt measures and applies.
func (c *collector) adapt() {
	m := measureMemory()
	m.limit, m.yielded = c.given, c.force.yield
	app := live.Load()
	if app != nil {
		s := app.gateway.store.Stats()
		m.cap, m.bytes = s.MaxBytes, min(c.before, s.Bytes)
		c.before = s.Bytes
	}
	c.apply(m.budget(), app)
}

// apply sets what has changed enough to matter: the first two stop the world for
// a moment.
func (c *collector) apply(b budget, app *App) {
	if differs(int64(b.percent), int64(c.force.percent), 10) {
		debug.SetGCPercent(b.percent)
		c.force.percent = b.percent
	}
	if !c.limited && differs(b.limit, c.force.limit, 100) {
		debug.SetMemoryLimit(b.limit)
		c.force.limit = b.limit
	}
	c.force.yield = b.yield
	if app != nil {
		app.gateway.store.Yield(b.yield)
	}
}

// differs reports that two numbers are apart by more than one part in some.
func differs(a, b, parts int64) bool {
	apart := max(a, b) - min(a, b)
	return apart > max(a, b)/parts
}

// measureMemory reads what there is, just after a collection: the resident set
// is then about the largest since the last one.
func measureMemory() memoryState {
	live, mapped := measureRuntime()
	m := memoryState{live: live, mapped: mapped}
	m.resident = max(m.mapped, residentSet())
	if m.resident == m.mapped {
		m.resident += usualOutside
	}
	return m
}

// measureRuntime reads what the last collection found alive, and what the runtime
// has mapped and not given back.
func measureRuntime() (live, mapped int64) {
	read := readMetrics("/gc/heap/live:bytes", "/memory/classes/total:bytes", "/memory/classes/heap/released:bytes")
	return read[0], read[1] - read[2]
}

// readMetrics reads numbers of the runtime, by name; zero for one that it does not
// have.
func readMetrics(names ...string) []int64 {
	samples := make([]metrics.Sample, len(names))
	for i, name := range names {
		samples[i].Name = name
	}
	metrics.Read(samples)
	numbers := make([]int64, len(names))
	for i, s := range samples {
		if s.Value.Kind() == metrics.KindUint64 {
			numbers[i] = int64(s.Value.Uint64())
		}
	}
	return numbers
}

// residentSet is that of this process, or zero where the system does not say.
// proc_pid_statm(5): size and resident, in pages.
func residentSet() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
