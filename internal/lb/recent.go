package lb

import "time"

// recentSeconds is the time over which replicas are compared (Envoy's interval
// of outlier detection: 10 s).
const recentSeconds = 10

// recent is what a process did lately.
type recent struct {
	requests int
	failures int
	timed    int     // answers that tell a latency
	ms       float64 // their sum
}

// ratio is the share of failures.
func (r recent) ratio() float64 {
	if r.requests == 0 {
		return 0
	}
	return float64(r.failures) / float64(r.requests)
}

// mean is the mean latency in milliseconds. Unlike the estimate that picks rest
// on it is not moved by one slow answer.
func (r recent) mean() float64 {
	if r.timed == 0 {
		return 0
	}
	return r.ms / float64(r.timed)
}

// window holds the last ten seconds, second by second, and the streak of
// gateway failures. Its owner locks.
type window struct {
	streak  int
	seconds [recentSeconds]struct {
		at uint32
		recent
	}
}

// second is the one that now belongs to, empty if it has just begun.
func (w *window) second(now int64) *recent {
	at := secondOf(now)
	s := &w.seconds[at%recentSeconds]
	if s.at != at {
		s.at, s.recent = at, recent{}
	}
	return &s.recent
}

// sum adds up the seconds that lie within the window that ends now.
func (w *window) sum(now int64) recent {
	var total recent
	for i := range w.seconds {
		s := &w.seconds[i]
		if secondOf(now)-s.at >= recentSeconds {
			continue
		}
		total.requests += s.requests
		total.failures += s.failures
		total.timed += s.timed
		total.ms += s.ms
	}
	return total
}

// count takes note of how a request ended and returns the streak of gateway
// failures.
func (r *record) count(now int64, o outcome) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.window.second(now)
	s.requests++
	if o.failed() {
		s.failures++
	}
	if o.streaky() {
		r.window.streak++
	} else {
		r.window.streak = 0
	}
	return r.window.streak
}

// timeLocked takes note of a latency.
func (r *record) timeLocked(now int64, elapsed time.Duration) {
	s := r.window.second(now)
	s.timed++
	s.ms += float64(elapsed) / float64(time.Millisecond)
}

// recent is what the process did in the last ten seconds.
func (r *record) recent(now int64) recent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.window.sum(now)
}

func (r *record) forgetRecent() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.window = window{}
}
