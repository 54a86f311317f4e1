package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// manners is how a replica behaves. It is told over HTTP, at its own address.
type manners struct {
	Mean     time.Duration // of the time that the work of a request takes
	Workers  int           // requests that are worked on at a time; the others wait
	Slowness float64       // times Mean
	Spikes   float64       // share of requests whose work takes a Spike
	Spike    time.Duration
	Fails    failing
	Share    float64 // of requests that fail, for some
	Status   int     // of those that fail, after a millisecond
}

// failing is which requests fail.
type failing string

const (
	fine       failing = ""
	always     failing = "always"
	everyOther failing = "every other second"
	some       failing = "some"
)

// sigma of the lognormal time that work takes: the slowest of a hundred
// requests takes 4.7 times the mean.
const sigma = 0.8

// counts is what a replica has seen of requests for work since it was asked
// last; checks are not among them.
type counts struct {
	Requests int
	Failed   int
	Most     int           // at a time
	Mean     float64       // at a time, over the time
	Done     int           // and did not fail
	Took     time.Duration // their sum
}

// worker is one replica. Its methods may be called concurrently.
type worker struct {
	name string

	mu       sync.Mutex
	manners  manners
	slots    chan struct{}
	counts   counts
	inflight int
	changed  time.Time // when inflight was
	since    time.Time // of the counts
	area     float64   // of inflight over seconds
}

func newWorker(name string) *worker {
	now := time.Now()
	w := &worker{name: name, changed: now, since: now}
	w.behave(manners{Mean: time.Millisecond, Workers: 1, Slowness: 1})
	return w
}

// behave puts manners in force for requests from now on.
func (w *worker) behave(m manners) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.slots == nil || cap(w.slots) != m.Workers {
		w.slots = make(chan struct{}, m.Workers)
	}
	w.manners = m
}

// passLocked counts a request that comes, or one that goes.
func (w *worker) passLocked(by int) {
	now := time.Now()
	w.area += float64(w.inflight) * now.Sub(w.changed).Seconds()
	w.inflight, w.changed = w.inflight+by, now
	w.counts.Most = max(w.counts.Most, w.inflight)
}

// report returns the counts and begins them anew.
func (w *worker) report() counts {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.passLocked(0)
	c := w.counts
	if passed := time.Since(w.since).Seconds(); passed > 0 {
		c.Mean = w.area / passed
	}
	w.counts, w.area, w.since = counts{Most: w.inflight}, 0, time.Now()
	return c
}

func (w *worker) work(rw http.ResponseWriter, _ *http.Request) {
	began := time.Now()
	w.mu.Lock()
	m, slots := w.manners, w.slots
	w.counts.Requests++
	w.passLocked(1)
	w.mu.Unlock()
	fails := m.fails(began)
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.passLocked(-1)
		if fails {
			w.counts.Failed++
		} else {
			w.counts.Done++
			w.counts.Took += time.Since(began)
		}
	}()
	rw.Header().Set("X-Replica", w.name)
	if fails {
		time.Sleep(time.Millisecond)
		rw.WriteHeader(m.Status)
		return
	}
	slots <- struct{}{}
	time.Sleep(m.takes())
	<-slots
	_, _ = fmt.Fprintln(rw, w.name) // An error here is the client's going away.
}

func (m manners) fails(now time.Time) bool {
	switch m.Fails {
	case always:
		return true
	case everyOther:
		return now.Unix()%2 == 0
	case some:
		return rand.Float64() < m.Share
	}
	return false
}

// takes draws how long the work of a request takes.
func (m manners) takes() time.Duration {
	if rand.Float64() < m.Spikes {
		return m.Spike
	}
	return time.Duration(float64(m.Mean) * m.Slowness * math.Exp(sigma*rand.NormFloat64()-sigma*sigma/2))
}

// routes are /work, /healthz, and those of whoever runs the bench.
func (w *worker) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("/work", w.work)
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /manners", func(rw http.ResponseWriter, r *http.Request) {
		var m manners
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil || m.Workers < 1 {
			http.Error(rw, fmt.Sprint("manners: ", err, "; want workers"), http.StatusBadRequest)
			return
		}
		w.behave(m)
	})
	mux.HandleFunc("POST /counts", func(rw http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(rw).Encode(w.report()) // as above
	})
	return mux
}

// serveReplica is what the command does when it is started as a replica.
func serveReplica(args []string) error {
	flags := flag.NewFlagSet("replica", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:0", "`address` to listen on")
	name := flags.String("name", "r", "what it calls itself")
	idle := flags.Duration("idle", 0, "how long a connection may be idle; 0 for ever")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	server := &http.Server{Handler: newWorker(*name).routes(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: *idle}
	context.AfterFunc(ctx, func() { _ = server.Close() }) // It has no state to lose.
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
