package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/edgegw/edge/internal/control"
	"github.com/edgegw/edge/internal/handover"
	"github.com/edgegw/edge/internal/httpcache"
	"github.com/edgegw/edge/internal/lb"
)

// How a process hands over to one of another binary, without losing anything:
//
//	1. old: the new binary is tried: its version, and the configuration with it.
//	2. old: starts it with the sockets that it accepts from, and goes on.
//	3. new: loads the configuration, binds what it was not given, finds the
//	   replicas, and accepts nothing. (hello)
//	4. new: has every replica checked that the old one had. (yield)
//	5. old: stops carrying out purges and deploys, lets go of journal, disk and
//	   history; serves on, from memory. Control calls wait.
//	6. new: opens them, begins where the old one stopped. (taken)
//	7. old: accepts no more, tells systemd who it is now; new: accepts. What waits
//	   for a request on a connection of the old one goes on in the new one.
//	8. old: takes leave as on SIGTERM. Until it has gone, purges and changes are
//	   told to both before they count as done.
//
// Up to 6 anything that goes wrong leaves the old one in charge: it kills the new
// one, and opens again what it had let go of. A connection that arrives in between
// waits in a socket that both have, or that the kernel sends to one of them only.

// greeting is what the successor must know before it is in charge.
type greeting struct {
	// Pools are those that have a replica for requests.
	Pools []string `json:"pools"`
	// Leases of replicas that have registered, by pool and address.
	Leases map[string]map[string]time.Duration `json:"leases"`
}

// introduction is what the old process must know of its successor.
type introduction struct {
	// Takes: it takes connections from the passage.
	Takes bool `json:"takes,omitempty"`
}

// succession is one handing over, as the old process sees it.
type succession struct {
	gateway *gateway
	app     *App
	child   *handover.Child
	estate  *estate

	yielding sync.Mutex // one of yield, taken and the end at a time
	yielded  bool
	over     bool          // too late for the successor
	taken    chan struct{} // closed when the successor is in charge
	failed   chan string

	settled chan struct{} // closed when it is known who is in charge
	gone    atomic.Bool   // the successor is; set before
	takes   atomic.Bool   // the successor takes connections
	lost    sync.Once     // the first that it did not take was told of
	// moved is closed when the connections that waited have gone there.
	moved chan struct{}
	// stale: the successor has heard of another current version, so that nothing
	// that is stored here may be used.
	stale atomic.Bool
}

// succeeding is the one under way, or done; nil for none.
var succeeding atomic.Pointer[succession]

var (
	errHandingOver = errors.New("a handover to another binary is under way: try again when it is over")
	errTooLate     = errors.New("too late: this process has given up waiting")
	errHandedOver  = errors.New("another process has taken over: ask again, on another connection")
)

// handOver has a process of the binary take over. When it returns an error this
// one is in charge as before.
func handOver(ctx context.Context, binary string, patience time.Duration) (*succession, error) {
	a := live.Load()
	switch {
	case a == nil:
		return nil, errNotStarted
	case leaving.Load():
		return nil, errors.New("this process has been told to stop")
	case os.Getpid() == 1:
		return nil, errors.New("this is process 1 of a container, which ends with it: start another container instead")
	}
	s := &succession{app: a, gateway: a.gateway, taken: make(chan struct{}), failed: make(chan string, 1), settled: make(chan struct{}), moved: make(chan struct{})}
	if !succeeding.CompareAndSwap(nil, s) {
		return nil, errHandingOver
	}
	err := s.run(ctx, binary, patience)
	if err != nil {
		succeeding.Store(nil)
		close(s.settled)
	}
	return s, err
}

func (s *succession) run(ctx context.Context, binary string, patience time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("it was not ready within %s", patience))
	defer cancel()
	if err := tryBinary(ctx, binary); err != nil {
		return err
	}
	// The kernel counts the sockets of an address: none may be another process's.
	if err := replaced.awaitAlone(ctx); err != nil {
		return err
	}
	var err error
	if s.estate, err = takeStock(); err != nil {
		return err
	}
	defer func() { s.estate.close() }()
	if err := s.start(binary); err != nil {
		return fmt.Errorf("%s: %w", binary, err)
	}
	s.app.logger.Info("handover: successor started", zap.Int("pid", s.child.PID), zap.String("binary", binary))
	select {
	case <-s.taken:
		return nil
	case why := <-s.failed:
		err = errors.New(why)
	case <-s.child.Ended():
		err = errors.New(s.child.Why())
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	return s.abandon(err)
}

// start starts the successor, which may ask at once.
func (s *succession) start(binary string) (err error) {
	s.yielding.Lock()
	defer s.yielding.Unlock()
	s.child, err = handover.Start(handover.Order{
		Binary: binary, Args: os.Args[1:], Sockets: s.estate.inherited, Fixed: s.estate.fixed, Sibling: supervised(),
		Handlers: map[string]handover.Handler{
			"hello": s.hello, "yield": s.yield, "taken": s.take, "failed": s.fail,
			"purge": s.purge, "draining": s.draining, "change": s.change,
		},
	})
	return err
}

// abandon ends the successor, unless it has taken over just now.
func (s *succession) abandon(why error) error {
	s.yielding.Lock()
	defer s.yielding.Unlock()
	if s.gone.Load() {
		return nil
	}
	s.over = true
	s.child.End()
	if s.yielded {
		if err := s.gateway.resume(s.app); err != nil {
			why = errors.Join(why, fmt.Errorf("and this process could not take its state up again, restart it: %w", err))
		}
		s.gateway.store.OnChange(nil)
	}
	s.app.logger.Error("handover: the successor did not take over", zap.Error(why))
	return why
}

func (s *succession) hello(_ context.Context, body json.RawMessage) (any, error) {
	var who introduction
	if err := json.Unmarshal(body, &who); err != nil {
		return nil, err
	}
	s.takes.Store(who.Takes)
	g := greeting{Leases: make(map[string]map[string]time.Duration)}
	for name, p := range s.app.pools {
		status := p.Status()
		if slices.ContainsFunc(status.Replicas, func(r lb.ReplicaStatus) bool { return r.State == "up" }) {
			g.Pools = append(g.Pools, name)
		}
		g.Leases[name] = make(map[string]time.Duration)
		for _, r := range status.Replicas {
			if r.LeaseEnds != nil {
				g.Leases[name][r.Address] = time.Until(*r.LeaseEnds)
			}
		}
	}
	return g, nil
}

// yield lets go of the state.
func (s *succession) yield(context.Context, json.RawMessage) (any, error) {
	s.yielding.Lock()
	defer s.yielding.Unlock()
	if s.over {
		return nil, errTooLate
	}
	s.yielded = true
	s.gateway.store.OnChange(s.told)
	return nil, s.gateway.yield(s.app)
}

// take is the moment at which the successor is in charge.
func (s *succession) take(context.Context, json.RawMessage) (any, error) {
	s.yielding.Lock()
	defer s.yielding.Unlock()
	if s.over {
		return nil, errTooLate
	}
	s.gone.Store(true)
	if s.app.Fleet == nil {
		// Of a fleet this process is a member to the end, and hears of purges there.
		s.gateway.store.Trust(s.trusted)
	}
	err := errors.Join(s.estate.giveTurn(), notifyMainPID(s.child.PID))
	stopAccepting()
	go s.moveConns() // the successor takes them once it has heard that it is in charge
	last := *s.estate
	s.estate = new(estate) // what is left to close
	go func() {
		last.letGo()
		last.close()
		_ = s.child.Ask("alone", nil, nil, changePatience) // it notices our end, too
	}()
	close(s.settled)
	close(s.taken)
	if err != nil {
		s.app.logger.Warn("handover", zap.Error(err))
	}
	s.app.logger.Info("handover: the successor is in charge", zap.Int("pid", s.child.PID))
	return nil, nil
}

// trusted reports that every purge which the successor has acknowledged was told
// to this process, too.
func (s *succession) trusted() bool {
	select {
	case <-s.child.Done():
		return false
	default:
		return !s.stale.Load()
	}
}

func (s *succession) fail(_ context.Context, body json.RawMessage) (any, error) {
	var why string
	err := json.Unmarshal(body, &why)
	select {
	case s.failed <- why:
	default: // has failed already
	}
	return nil, err
}

func (s *succession) purge(_ context.Context, body json.RawMessage) (any, error) {
	var p httpcache.Purge
	if err := json.Unmarshal(body, &p); err != nil {
		return nil, err
	}
	if len(p.Versions) > 0 {
		s.stale.Store(true)
	}
	// This process's own predecessor may serve still.
	return s.gateway.store.Purge(p), replaced.purge(p)
}

func (s *succession) draining(_ context.Context, body json.RawMessage) (any, error) {
	var generation uint64
	if err := json.Unmarshal(body, &generation); err != nil {
		return nil, err
	}
	return s.gateway.store.Draining(generation) + replaced.draining(generation), nil
}

// change is told what a visitor of the successor has changed.
func (s *succession) change(_ context.Context, body json.RawMessage) (any, error) {
	var c httpcache.Change
	if err := json.Unmarshal(body, &c); err != nil {
		return nil, err
	}
	s.gateway.store.Invalidate(c)
	replaced.told(c)
	return nil, nil
}

// lastHandshakes is how long after a handover connections may still arrive whose
// handshake began before.
const lastHandshakes = time.Second

// changePatience is how long a visitor who has changed something waits for the
// other process to know of it.
const changePatience = 2 * time.Second

// told tells the successor what a visitor of this process has changed, once it is
// in charge. If it does not come to that, the disk may have missed the change.
func (s *succession) told(c httpcache.Change) {
	<-s.settled
	if !s.gone.Load() {
		s.gateway.store.Invalidate(c)
		return
	}
	// One that does not answer is gone, or will be found out by who watches it.
	_ = s.child.Ask("change", c, nil, changePatience)
}

// passOn has control calls wait while nobody can answer them, and sends them to
// the successor once it can. It reports whether it has answered.
func passOn(w http.ResponseWriter, r *http.Request) bool {
	s := succeeding.Load()
	if s == nil || r.URL.Path == "/healthz" || r.URL.Path == "/readyz" {
		return false
	}
	if !s.hasYielded() {
		return false
	}
	select {
	case <-s.settled:
	case <-r.Context().Done():
		return true
	}
	if !s.gone.Load() {
		return false
	}
	w.Header().Set("Retry-After", "1")
	w.Header().Set("Connection", "close")
	writeProblem(w, http.StatusServiceUnavailable, control.CodeClosed, errHandedOver)
	return true
}

// hasYielded reports that this process has let go of the state.
func (s *succession) hasYielded() bool {
	s.yielding.Lock()
	defer s.yielding.Unlock()
	return s.yielded
}

// handedOver reports that another process is in charge.
func handedOver() bool {
	s := succeeding.Load()
	return s != nil && s.gone.Load()
}
