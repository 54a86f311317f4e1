package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/edgegw/edge/bench/gateway"
	"github.com/edgegw/edge/bench/measure"
	"github.com/edgegw/edge/bench/object"
)

// sizes of the bodies, in bytes.
var sizes = []int{2 << 10, 64 << 10}

// hot is how many objects are asked for that memory has.
const hot = 50

// way is where an answer comes from.
type way struct {
	name string
	node func(*stand) *node
	host string
	// is is a part of the Cache-Status that only such an answer has.
	is string
	// again asks for the same objects each time, stored has another node store
	// them first, puts is how they are put into Redis meanwhile.
	again, stored, puts bool
}

var ways = []way{
	{"this node's memory", other, "quick.test", "; hit", true, false, false},
	{"Redis", other, "quick.test", "detail=shared", false, true, false},
	{"a replica that answers at once, without a cache in common", alone, "quick.test", "fwd=uri-miss", false, false, false},
	{"the same, and put into Redis", other, "quick.test", "fwd=uri-miss", false, false, true},
	{"a replica that takes " + think.String() + ", without a cache in common", alone, "slow.test", "fwd=uri-miss", false, false, false},
}

func other(s *stand) *node { return s.other }
func alone(s *stand) *node { return s.alone }

// row is what the visits to one way came to, for one size.
type row struct {
	way   way
	size  int
	took  []time.Duration // of the answers that came from there
	asked int
	edge  time.Duration // processor time of the node
	redis time.Duration
	app   time.Duration
}

// answer is one, as far as it is looked at.
type answer struct {
	status int
	cache  string
	bytes  int64
	took   time.Duration
	err    error
}

func (n *node) get(ctx context.Context, client *http.Client, host, target string) (a answer) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.address+target, nil)
	if err != nil {
		return answer{err: err}
	}
	r.Host = host
	began := time.Now()
	got, err := client.Do(r)
	if err != nil {
		return answer{err: err}
	}
	defer got.Body.Close()
	a.bytes, a.err = io.Copy(io.Discard, got.Body)
	a.took, a.status, a.cache = time.Since(began), got.StatusCode, got.Header.Get("Cache-Status")
	return a
}

// measure visits each way in turn, again and again.
func (s *stand) measure(ctx context.Context, o options) (rows []*row, err error) {
	for _, size := range sizes {
		for _, w := range ways {
			rows = append(rows, &row{way: w, size: size})
		}
	}
	for round := range o.rounds {
		log.Printf("round %d of %d", round+1, o.rounds)
		for i, r := range rows {
			if err := s.visit(ctx, o, r, fmt.Sprintf("%d-%d", round, i)); err != nil {
				return nil, fmt.Errorf("%s, %d bytes: %w", r.way.name, r.size, err)
			}
		}
	}
	for _, r := range rows {
		if len(r.took) < r.asked*9/10 {
			return nil, fmt.Errorf("%s, %d bytes: %d of %d answers came from there: want nine of ten", r.way.name, r.size, len(r.took), r.asked)
		}
		slices.Sort(r.took)
	}
	return rows, nil
}

// visit asks for a round's objects of one way.
func (s *stand) visit(ctx context.Context, o options, r *row, round string) error {
	n := r.way.node(s)
	target := func(i int) string {
		if r.way.again {
			return fmt.Sprintf("%s?hot-%d", object.Path(r.size), i%hot)
		}
		return fmt.Sprintf("%s?%s-%d", object.Path(r.size), round, i)
	}
	if r.way.again {
		s.ask(ctx, o.clients, r, n, hot, target) // not counted: they may have made room
	}
	if r.way.stored {
		// Gently, so that Redis keeps up, and little is left out.
		s.put(ctx, func() { s.ask(ctx, 1, r, s.first, o.requests, target) })
	}
	var answers []answer
	asking := func() { answers = s.ask(ctx, o.clients, r, n, o.requests, target) }
	before, err := s.used(n)
	if err != nil {
		return err
	}
	if r.way.puts {
		s.put(ctx, asking)
	} else {
		asking()
	}
	after, err := s.used(n)
	if err != nil {
		return err
	}
	r.edge, r.redis, r.app = r.edge+after[0]-before[0], r.redis+after[1]-before[1], r.app+after[2]-before[2]
	for _, a := range answers {
		if a.err != nil || a.status != http.StatusOK || a.bytes != int64(r.size) {
			return fmt.Errorf("status %d, %d bytes: %w", a.status, a.bytes, a.err)
		}
		r.asked++
		if strings.Contains(a.cache, r.way.is) {
			r.took = append(r.took, a.took)
		}
	}
	return nil
}

// ask has so many requests made, as many at a time as there are clients.
func (s *stand) ask(ctx context.Context, atOnce int, r *row, n *node, requests int, target func(int) string) []answer {
	answers := make([]answer, requests)
	var clients sync.WaitGroup
	for c := range atOnce {
		clients.Go(func() {
			for i := c; i < requests; i += atOnce {
				answers[i] = n.get(ctx, s.client, r.way.host, target(i))
			}
		})
	}
	clients.Wait()
	return answers
}

// put waits until no more of what is stored meanwhile comes to Redis. What that does
// not keep up with is left out.
func (s *stand) put(ctx context.Context, work func()) {
	work()
	for before, now := -1, s.keys(); before != now; before, now = now, s.keys() {
		if !gateway.Pause(ctx, 100*time.Millisecond) {
			return
		}
	}
}

func (s *stand) keys() int {
	n, _ := strconv.Atoi(s.redis.Say("DBSIZE")) // no number, no key
	return n
}

// used is the processor time so far of a node, Redis and the applications.
func (s *stand) used(n *node) (used [3]time.Duration, err error) {
	proc := measure.Procfs{FS: os.DirFS("/proc")}
	for i, pids := range [][]int{{n.server.PID()}, {s.redis.PID()}, {s.quick.PID(), s.slow.PID()}} {
		for _, pid := range pids {
			cpu, err := proc.TreeCPU(pid)
			if err != nil {
				return used, err
			}
			used[i] += cpu
		}
	}
	return used, nil
}
