package lb

import (
	"container/heap"
	"context"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgegw/edge/internal/named"
)

// world drives a real pool through virtual time, without sockets: policies,
// records, breakers, ejection, budget and retries are those of production. A
// replica works on eight requests at a time; service times are lognormal with a
// mean of 20 ms and a sigma of 0.8; arrivals are Poisson. It belongs into a
// synctest bubble.
type world struct {
	pool     *Pool
	apps     []*virtual // as the view has them
	of       map[*replica]*virtual
	dice     *rand.Rand
	events   schedule
	latency  []float64 // of all requests with their retries, milliseconds
	stays    []float64 // of all tries at their replica, milliseconds
	tries    int
	errors   int // that a visitor saw
	refused  int // by the pool: too many wait, or for too long
	line     []*trip
	polling  bool
	request  func() *http.Request
	observed func() // called at each arrival, if set
	checked  func() // before each arrival, if set
}

const virtualWorkers = 8

// virtual is a replica that exists in numbers only.
type virtual struct {
	*replica
	slowness float64                           // times 20 ms
	answer   func(now time.Duration) outcome   // nil: good
	service  func(time.Duration) time.Duration // nil: drawn
	crowding func(inflight int64) float64      // times the service time; nil: once
	workers  int
	busy     int
	waiting  []*trip
	served   int
	most     int64 // in flight
}

// trip is one request on its way.
type trip struct {
	x       *exchange
	arrived time.Time
	at      *virtual
}

// due is the end of a try.
type due struct {
	at   time.Time
	trip *trip
}

type schedule []due

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].at.Before(s[j].at) }
func (s schedule) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *schedule) Push(x any)        { *s = append(*s, x.(due)) }
func (s *schedule) Pop() any {
	last := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return last
}

// inWorld runs a simulation in virtual time, beside others: how busy the machine
// is changes nothing in there.
func inWorld(t *testing.T, name string, n int, c Config, test func(t *testing.T, w *world)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) { test(t, newWorld(t, n, c)) })
	})
}

// inWorlds is for what chance may spoil now and then, since policies throw dice
// of their own: two of three worlds must find nothing wrong. Where two agree, the
// third has nothing to say.
func inWorlds(t *testing.T, name string, n int, c Config, test func(t *testing.T, w *world) (wrong string)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		var wrong []string
		for right := 0; right < 2 && len(wrong) < 2; {
			synctest.Test(t, func(t *testing.T) {
				if w := test(t, newWorld(t, n, c)); w != "" {
					wrong = append(wrong, w)
				} else {
					right++
				}
			})
		}
		if len(wrong) > 1 {
			t.Errorf("in two worlds: %s", strings.Join(wrong, "; "))
		}
	})
}

// newWorld has n replicas that are up and known to nobody. Its keeper runs
// until the test ends.
func newWorld(t *testing.T, n int, c Config) *world {
	t.Helper()
	w := &world{of: make(map[*replica]*virtual), dice: rand.New(rand.NewPCG(1, 2))}
	w.pool = NewPool("app", nil)
	w.pool.settings = must(compile(c))
	for _, address := range addresses(n) {
		w.add(address)
	}
	w.show()
	w.request = func() *http.Request { return must(http.NewRequest(http.MethodGet, "http://pool/", nil)) }
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.pool.keep(ctx)
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	return w
}

// add makes a replica that is up, though nothing is known of it.
func (w *world) add(address Address) *virtual {
	r := newReplica("app", address)
	r.since = time.Now()
	r.record.Store(w.pool.newRecord(r))
	r.state.Store(uint32(up))
	w.pool.refit(r, nil)
	w.pool.mu.Lock()
	w.pool.members[address] = r
	w.pool.mu.Unlock()
	v := &virtual{replica: r, slowness: 1, workers: virtualWorkers}
	w.of[r] = v
	return v
}

// show lets requests see who was added.
func (w *world) show() {
	w.pool.mu.Lock()
	defer w.pool.mu.Unlock()
	w.pool.publishLocked()
	w.apps = w.apps[:0]
	for _, r := range w.pool.view.Load().members {
		w.apps = append(w.apps, w.of[r])
	}
}

// policyConfig is every default but for the policy.
func policyConfig(name string, args ...string) Config {
	return Config{Policy: named.Spec{Name: name, Args: args}}
}

func (w *world) now() time.Duration { return time.Duration(w.pool.now()) }

// run sends requests at a rate a second for a while.
func (w *world) run(perSecond float64, length time.Duration) {
	gap := float64(time.Second) / perSecond
	end := time.Now().Add(length)
	next := time.Now()
	for {
		next = next.Add(time.Duration(w.dice.ExpFloat64() * gap))
		if next.After(end) {
			break
		}
		w.until(next)
		if w.checked != nil {
			w.checked()
		}
		if w.observed != nil {
			w.observed()
		}
		w.arrive()
	}
	w.until(end)
}

// finish lets what is on its way come to its end.
func (w *world) finish() {
	for len(w.events) > 0 {
		w.until(w.events[0].at)
	}
}

// until handles what ends before a moment, and waits for the moment.
func (w *world) until(moment time.Time) {
	for len(w.events) > 0 && !w.events[0].at.After(moment) {
		e := heap.Pop(&w.events).(due)
		time.Sleep(time.Until(e.at))
		w.end(e.trip)
	}
	time.Sleep(time.Until(moment))
}

func (w *world) arrive() {
	w.pool.budget.request(w.pool.now())
	w.seek(&trip{x: &exchange{pool: w.pool, in: w.request()}, arrived: time.Now()})
}

// seek takes a slot or a place in the line, if that is not too long.
func (w *world) seek(c *trip) {
	if len(w.line) >= w.pool.settings.Queue.Length {
		w.refused++
		return
	}
	w.line = append(w.line, c)
	w.call()
}

// call lets those in the line look, like the queue: in order, when a slot is
// given back and now and then, until their patience ends.
func (w *world) call() {
	for len(w.line) > 0 {
		c := w.line[0]
		if time.Since(c.arrived) > w.pool.settings.Queue.Wait.D() {
			w.refused++
			w.line = w.line[1:]
			continue
		}
		s, ok := c.x.take()
		if !ok {
			break
		}
		w.line = w.line[1:]
		c.x.hold(s)
		w.begin(c)
	}
	if len(w.line) > 0 && !w.polling {
		w.polling = true
		heap.Push(&w.events, due{at: time.Now().Add(10 * time.Millisecond)})
	}
}

func (w *world) begin(c *trip) {
	w.tries++
	v := w.of[c.x.slot.replica]
	c.at = v
	c.x.tried[c.x.attempts] = v.replica
	c.x.attempts++
	v.most = max(v.most, v.inflight.Load())
	if v.busy == v.workers {
		v.waiting = append(v.waiting, c)
		return
	}
	v.busy++
	w.serve(v, c)
}

func (w *world) serve(v *virtual, c *trip) {
	takes := w.serviceOf(v)
	if v.crowding != nil {
		takes = time.Duration(float64(takes) * v.crowding(v.inflight.Load()))
	}
	heap.Push(&w.events, due{time.Now().Add(takes), c})
}

func (w *world) serviceOf(v *virtual) time.Duration {
	if v.service != nil {
		return v.service(w.now())
	}
	const sigma = 0.8
	ms := 20 * v.slowness * math.Exp(sigma*w.dice.NormFloat64()-sigma*sigma/2)
	return time.Duration(ms * float64(time.Millisecond))
}

// end is the answer to a try: passed on, or tried again elsewhere. Without a
// try, it is time to look at the line.
func (w *world) end(c *trip) {
	if c == nil {
		w.polling = false
		w.call()
		return
	}
	v := c.at
	defer w.call()
	v.busy--
	v.served++
	w.stays = append(w.stays, float64(w.pool.now()-c.x.slot.began)/float64(time.Millisecond))
	if len(v.waiting) > 0 {
		v.busy++
		w.serve(v, v.waiting[0])
		v.waiting = v.waiting[1:]
	}
	o := good
	if v.answer != nil {
		o = v.answer(w.now())
	}
	next, again := c.x.another(o)
	c.x.settle(o)
	if again {
		c.x.hold(next)
		w.begin(c)
		return
	}
	if o.failed() {
		w.errors++
	}
	w.latency = append(w.latency, float64(time.Since(c.arrived))/float64(time.Millisecond))
}

// p99 is the 99th percentile of latency so far.
func (w *world) p99() float64 {
	if len(w.latency) == 0 {
		return 0
	}
	slices.Sort(w.latency)
	return w.latency[len(w.latency)*99/100]
}

// share is the part of all tries that went to v.
func (w *world) share(v *virtual) float64 { return float64(v.served) / float64(w.tries) }

// forget begins the counts anew.
func (w *world) forget() {
	w.latency, w.stays, w.tries, w.errors, w.refused = nil, nil, 0, 0, 0
	for _, v := range w.apps {
		v.served, v.most = 0, 0
	}
}

// full is the rate that a number of good replicas could just do.
func full(replicas int) float64 { return float64(replicas) * virtualWorkers * 50 }
