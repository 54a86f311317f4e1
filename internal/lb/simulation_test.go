package lb

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// simulation drives a policy and the real records through virtual time: each
// replica works on eight requests at a time, service times are lognormal with
// a mean of 20 ms, arrivals are Poisson.
type simulation struct {
	replicas []*simulated
	now      int64
	median   float64
	dice     *rand.Rand
	events   schedule
	latency  []float64 // milliseconds
	failed   int
}

const simulatedWorkers = 8

type simulated struct {
	record
	waiting  []int64 // arrivals
	inflight int
	served   int
	slowness float64
	refuses  bool // answers 500 within a millisecond
	joins    int64
}

func (s *simulation) Len() int      { return len(s.replicas) }
func (s *simulation) Up(i int) bool { return s.now >= s.replicas[i].joins }
func (s *simulation) Load(i int) int {
	return s.replicas[i].inflight
}

func (s *simulation) Weight(i int) float64 {
	joins := s.replicas[i].joins
	if joins == 0 {
		return 1
	}
	return min(1, max(0.1, float64(s.now-joins)/float64(10*time.Second)))
}

func (s *simulation) Cost(i int) float64 {
	return s.replicas[i].cost(s.now, s.median, float64(s.replicas[i].inflight+1)) / s.Weight(i)
}

// due is the end of a request.
type due struct {
	at, arrived int64
	replica     *simulated
}

type schedule []due

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].at < s[j].at }
func (s schedule) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *schedule) Push(x any)        { *s = append(*s, x.(due)) }
func (s *schedule) Pop() any {
	last := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return last
}

// service draws a time: lognormal, sigma 0.8, mean 20 ms.
func (s *simulation) service(r *simulated) int64 {
	if r.refuses {
		return int64(time.Millisecond)
	}
	const sigma = 0.8
	ms := 20 * r.slowness * math.Exp(sigma*s.dice.NormFloat64()-sigma*sigma/2)
	return int64(ms * float64(time.Millisecond))
}

func (s *simulation) start(r *simulated, arrived int64) {
	heap.Push(&s.events, due{s.now + s.service(r), arrived, r})
}

func (s *simulation) finish(e due) {
	s.now = e.at
	r, o := e.replica, good
	if r.refuses {
		o = faulty
		s.failed++
	}
	elapsed := time.Duration(e.at - e.arrived)
	r.observe(s.now, o, elapsed)
	s.latency = append(s.latency, float64(elapsed)/float64(time.Millisecond))
	r.inflight--
	r.served++
	if len(r.waiting) > 0 {
		s.start(r, r.waiting[0])
		r.waiting = r.waiting[1:]
	}
}

func (s *simulation) arrive(p Policy) {
	r := s.replicas[p.Pick(s)]
	r.inflight++
	if r.inflight > simulatedWorkers {
		r.waiting = append(r.waiting, s.now)
		return
	}
	s.start(r, s.now)
}

// simulate sends requests at a share of what ten good replicas could do, and
// returns the 99th percentile of latency.
func simulate(p Policy, replicas []*simulated, load1 float64, requests int) (*simulation, float64) {
	s := &simulation{replicas: replicas, dice: rand.New(rand.NewPCG(1, 2)), now: 1}
	gap := float64(20*time.Millisecond) / (10 * simulatedWorkers * load1)
	next := s.now
	for n := range requests {
		next += int64(s.dice.ExpFloat64() * gap)
		for len(s.events) > 0 && s.events[0].at <= next {
			s.finish(heap.Pop(&s.events).(due))
		}
		s.now = next
		if n%100 == 0 {
			s.medianNow()
		}
		s.arrive(p)
	}
	slices.Sort(s.latency)
	return s, s.latency[len(s.latency)*99/100]
}

func (s *simulation) medianNow() {
	var known []float64
	for _, r := range s.replicas {
		if ms := load(&r.latency); ms > 0 {
			known = append(known, ms)
		}
	}
	if len(known) > 0 {
		slices.Sort(known)
		s.median = known[len(known)/2]
	}
}

func tenReplicas() []*simulated {
	list := make([]*simulated, 10)
	for i := range list {
		list[i] = &simulated{slowness: 1}
	}
	return list
}

func TestLeastTimeInSimulation(t *testing.T) {
	const requests = 60_000 // 21 s at seven tenths of what ten replicas can do
	_, even := simulate(leastTime{}, tenReplicas(), 0.7, requests)

	t.Run("ten equals: the tail is that of the service itself", func(t *testing.T) {
		// p99 of the lognormal alone: 20 · exp(0.8·2.326 − 0.32) = 93 ms.
		if even > 1.2*93 {
			t.Errorf("p99 %.0f ms: want at most 112", even)
		}
	})
	t.Run("one ten times as slow gets less than 1.5 % and spoils no tail", func(t *testing.T) {
		replicas := tenReplicas()
		replicas[3].slowness = 10
		s, p99 := simulate(leastTime{}, replicas, 0.7, requests)
		if share := float64(replicas[3].served) / float64(len(s.latency)); share > 0.015 || p99 > 1.2*even {
			t.Errorf("share %.2f %%, p99 %.0f ms: want 1.5 %% and %.0f", 100*share, p99, 1.2*even)
		}
	})
	t.Run("one that fails at once draws no traffic", func(t *testing.T) {
		replicas := tenReplicas()
		replicas[3].refuses = true
		s, _ := simulate(leastTime{}, replicas, 0.7, requests)
		if share := float64(s.failed) / requests; share > 0.001 {
			t.Errorf("%.2f %% failed: want at most 0.1 %%", 100*share)
		}
	})
	t.Run("half slow, half fast: the slow ones get their smaller share", func(t *testing.T) {
		replicas := tenReplicas()
		for i, r := range replicas {
			r.slowness = 0.6 + float64(i%2)
		}
		if _, p99 := simulate(leastTime{}, replicas, 0.7, requests); p99 > 1.3*even {
			t.Errorf("p99 %.0f ms: want at most %.0f", p99, 1.3*even)
		}
	})
	t.Run("a cold replica that joins is not run over", func(t *testing.T) {
		replicas := tenReplicas()
		replicas[9].joins, replicas[9].slowness = int64(5*time.Second), 8
		if _, p99 := simulate(leastTime{}, replicas, 0.6, requests); p99 > 1.2*even {
			t.Errorf("p99 %.0f ms: want at most %.0f", p99, 1.2*even)
		}
	})
}
