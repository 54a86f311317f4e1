package lb

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9+0.01*math.Abs(b) }

func TestPeak(t *testing.T) {
	tests := map[string]struct {
		estimate, ms float64
		age          time.Duration
		young        bool
		want         float64
	}{
		"the first sample is the estimate":                   {0, 30, time.Hour, false, 30},
		"a slower answer counts at once":                     {20, 50, 0, false, 50},
		"an outlier counts as four times the estimate":       {20, 5000, 0, false, 80},
		"a faster answer at the same moment changes nothing": {20, 10, 0, false, 20},
		"of a young one, half way down":                      {1300, 5, 0, true, 652.5},
		"after 5 s, a young one is at 86 %":                  {20, 10, 5 * time.Second, true, 10 + 10/math.E/math.E},
		"after 10 s, 63 % of the way down":                   {20, 10, 10 * time.Second, false, 10 + 10/math.E},
	}
	for name, test := range tests {
		if got := peak(test.estimate, test.ms, int64(test.age), test.young); !near(got, test.want) {
			t.Errorf("%s: %g: want %g", name, got, test.want)
		}
	}
}

func TestCost(t *testing.T) {
	const now = int64(time.Hour)
	known := func(ms float64, latencyAge time.Duration, failing float64, failingAge time.Duration) *record {
		r := new(record)
		r.answers.Store(youth)
		store(&r.latency, ms)
		store(&r.failing, failing)
		r.latencyAt.Store(now - int64(latencyAge))
		r.failingAt.Store(now - int64(failingAge))
		return r
	}
	unknown := func(age time.Duration) *record {
		r := new(record)
		r.latencyAt.Store(now - int64(age))
		return r
	}
	young := known(100, 2500*time.Millisecond, 0, 0)
	young.answers.Store(youth - 1)
	tests := map[string]struct {
		record        *record
		median, load1 float64
		want          float64
	}{
		"latency times requests":                    {known(30, 0, 0, 0), 20, 3, 90},
		"unknown in a pool that knows nothing":      {unknown(0), 0, 1, unknownLatency},
		"unknown counts as twice the median":        {unknown(0), 20, 1, 40},
		"a very fast one counts as a quarter of it": {known(0.1, 0, 0, 0), 20, 1, 5},
		"idle for 10 s: a third of it is left":      {known(100, 10*time.Second, 0, 0), 20, 1, 100 / math.E},
		"of few answers, after 2.5 s already":       {young, 20, 1, 100 / math.E},
		"of few answers, beside another request":    {young, 20, 2, 80},
		"unknown for 2.5 s: a third of it is left":  {unknown(2500 * time.Millisecond), 20, 1, 40 / math.E},
		"unknown for an hour: the floor":            {unknown(time.Hour), 20, 1, 5},
		"and in a pool that knows nothing":          {unknown(time.Hour), 0, 2, 2 * unknownLatency / 4},
		"half failing costs four times":             {known(30, 0, 0.5, 0), 20, 1, 120},
		"always failing costs 2500 times":           {known(30, 0, 1, 0), 20, 1, 75000},
		"failures of 5 s ago count a third":         {known(30, 0, 1, 5*time.Second), 20, 1, 30 / math.Pow(1-1/math.E, 2)},
	}
	for name, test := range tests {
		if got := test.record.cost(now, test.median, test.load1); !near(got, test.want) {
			t.Errorf("%s: %g: want %g", name, got, test.want)
		}
	}
}

func TestObserve(t *testing.T) {
	var r record
	r.observe(1, good, 20*time.Millisecond, 0)
	r.observe(1, gateway, time.Millisecond, 0)
	r.observe(1, cut, untimed, 0)
	if got := load(&r.latency); got != 20 {
		t.Errorf("latency %g: want 20, from the good answer alone", got)
	}
	// Each of two failures after a success moves a tenth of the way: 0.19.
	if got := load(&r.failing); !near(got, 0.19) {
		t.Errorf("failing %g: want 0.19", got)
	}
	if got := r.failures.Load(); got != 2 {
		t.Errorf("%d failures: want 2", got)
	}
	r.observe(1, neutral, 10*time.Millisecond, 0)
	if got := load(&r.latency); got != 20 {
		t.Errorf("latency %g after a client left early: want 20", got)
	}
	r.observe(1, neutral, 60*time.Millisecond, 0)
	if got := load(&r.latency); got != 60 {
		t.Errorf("latency %g after a client gave up at 60 ms: want 60", got)
	}
}

func TestTheFirstAnswerIsAnOutlierToo(t *testing.T) {
	var r record
	r.observe(1, good, 1300*time.Millisecond, 5)
	// Four times what stands for the unknown, twice the median.
	if got := load(&r.latency); got != 40 {
		t.Errorf("latency %g: want 40", got)
	}
	var quick record
	quick.observe(1, good, 5*time.Millisecond, 20)
	// Half way down from 40.
	if got := load(&quick.latency); got != 22.5 {
		t.Errorf("latency %g: want 22.5", got)
	}
}

func TestBudgetArithmetic(t *testing.T) {
	second := int64(time.Second)
	tests := map[string]struct {
		requests int
		share    float64
		want     int // retries that pass within one window
	}{
		"a quiet pool has its reserve: 10 s of 10 a second": {0, 0.2, 100},
		"1000 requests add 200":                             {1000, 0.2, 300},
		"half of 1000":                                      {1000, 0.5, 600},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var b budget
			for i := range test.requests {
				b.request(int64(i) * 10 * second / int64(test.requests))
			}
			passed := 0
			for range 2000 {
				if b.retry(9*second, test.share) {
					passed++
				}
			}
			if passed != test.want {
				t.Errorf("%d retries: want %d", passed, test.want)
			}
			if b.retry(18*second, test.share) {
				t.Error("a retry passes 9 s later: those of the window still count")
			}
			if !b.retry(19*second, test.share) {
				t.Error("no retry passes 10 s later: the window is over")
			}
		})
	}
}

func TestBudgetCountsEveryRequestThoughSecondsChange(t *testing.T) {
	var b budget
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 5000 {
				b.request(int64(i) * int64(time.Millisecond)) // over 5 s
			}
		})
	}
	wg.Wait()
	// Workers out of step may reset a second that another has passed, but never
	// count one request twice.
	if got := sum(&b.requests, 4); got > 20000 || got < 5000 {
		t.Errorf("%g requests: want at most 20000", got)
	}
}

func TestQueueServesInOrderAndGivesUpInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q queue
		var free atomic.Int64
		take := func() bool {
			for n := free.Load(); n > 0; n = free.Load() {
				if free.CompareAndSwap(n, n-1) {
					return true
				}
			}
			return false
		}
		results := make([]string, 4)
		order := make(chan int, 4)
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 4 {
			go func() {
				own := t.Context()
				if i == 1 {
					own = ctx
				}
				if results[i] = q.wait(own, 2*time.Second, 4, take); results[i] == "" {
					order <- i
				}
			}()
			synctest.Wait()
		}
		if why := q.wait(t.Context(), time.Second, 4, take); why != queueFull {
			t.Errorf("a fifth in a queue of four: %q: want %q", why, queueFull)
		}
		cancel() // the second in line leaves
		synctest.Wait()
		began := time.Now()
		free.Store(2)
		q.call() // one call is enough: who leaves calls the next
		synctest.Wait()
		if waited := time.Since(began); waited != 0 {
			t.Errorf("two were served after %s: want at once", waited)
		}
		if a, b := <-order, <-order; a != 0 || b != 2 {
			t.Errorf("served %d, then %d: want 0, then 2", a, b)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if results[1] != clientGone || results[3] != queueTimeout {
			t.Errorf("got %q: want the second gone and the last timed out", results)
		}
		if n := q.waiting.Load(); n != 0 {
			t.Errorf("%d still wait", n)
		}
	})
}
