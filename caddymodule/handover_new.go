package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/edgegw/edge/internal/autoscale"
	"github.com/edgegw/edge/internal/handover"
	"github.com/edgegw/edge/internal/httpcache"
	"github.com/edgegw/edge/internal/lb"
)

// predecessor is the process that has started this one to take over.
type predecessor struct {
	*handover.Link

	inheritance *handover.Inheritance
	greeting    greeting
	charged     chan struct{} // closed when this process is in charge
	alone       chan struct{} // closed when it alone listens
	once        sync.Once

	mu      sync.Mutex
	sockets map[string]net.Listener // that no configuration has taken yet
}

// replaced is this process's predecessor, nil for none. Main sets it before
// anything else runs.
var replaced *predecessor

// always is closed: who is nobody's successor is in charge from the start.
var always = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// awaitAlone waits until the predecessor listens on nothing any more, or has ended.
func (p *predecessor) awaitAlone(ctx context.Context) error {
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for p != nil && !p.inheritance.Ended() {
		select {
		case <-p.alone:
			return nil
		case <-look.C:
		case <-ctx.Done():
			return fmt.Errorf("process %d, from which this one has taken over, still listens: %w", p.inheritance.PID, context.Cause(ctx))
		}
	}
	return nil
}

// supervised reports that a service manager has started this process, which wants to
// be told what becomes of it (sd_notify(3)).
func supervised() bool { return os.Getenv("NOTIFY_SOCKET") != "" }

// awaitEnd waits for the predecessor's end, if there is one, under a service manager:
// that kills what is left when this process, its main one, has ended.
func (p *predecessor) awaitEnd(ctx context.Context) {
	if p == nil || !supervised() {
		return
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
	}
}

// left is told that the predecessor listens on nothing any more.
func (p *predecessor) left(context.Context, json.RawMessage) (any, error) {
	p.once.Do(func() { close(p.alone) })
	return nil, nil
}

// inCharge is closed once this process may accept connections.
func inCharge() <-chan struct{} {
	if replaced == nil {
		return always
	}
	return replaced.charged
}

func waitsForCharge() bool {
	select {
	case <-inCharge():
		return false
	default:
		return true
	}
}

// inherit finds out whether this process is to take over from another one.
func inherit() error {
	i, err := handover.Inherit()
	if err != nil || i == nil {
		return err
	}
	p := &predecessor{inheritance: i, sockets: i.Sockets, charged: make(chan struct{}), alone: make(chan struct{})}
	p.Link = handover.NewLink(i.Conn, map[string]handover.Handler{"change": p.change, "alone": p.left})
	replaced = p
	return nil
}

// inheritedSocket is one that the predecessor listens on, too; nil for none.
func inheritedSocket(address string) *net.TCPListener {
	if replaced == nil {
		return nil
	}
	replaced.mu.Lock()
	defer replaced.mu.Unlock()
	l, _ := replaced.sockets[address].(*net.TCPListener)
	if l != nil {
		delete(replaced.sockets, address)
	}
	return l
}

// prepare finds and checks replicas, and changes nothing yet. It is Start while the
// predecessor is in charge.
func (a *App) prepare() error {
	who := introduction{Takes: replaced.inheritance.Passage != nil}
	if err := replaced.Ask("hello", who, &replaced.greeting, yieldPatience); err != nil {
		return err
	}
	asides, err := openAsides(a.StateDir, a.gateway.write)
	if err != nil {
		return err
	}
	var errs []error
	for name, pool := range a.pools {
		config, err := a.Pools[name].WithStickyKey(a.stickyKey)
		if err == nil {
			config.Autoscale = autoscale.Config{} // two processes must not drive
			asides.begin(pool)
			err = pool.Configure(config)
		}
		for address, left := range replaced.greeting.Leases[name] {
			_, failed := pool.Register(address, min(max(left, lb.MinLease), lb.MaxLease))
			err = errors.Join(err, failed)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("pool %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// succeed is told when all apps of a configuration have started.
type succeed struct{ app *App }

// Handle takes over from the predecessor, if there is one. Without it there is no
// use in this process.
func (s succeed) Handle(ctx context.Context, _ caddy.Event) error {
	if !waitsForCharge() {
		return nil
	}
	if err := s.app.takeOver(ctx); err != nil {
		s.app.logger.Error("handover: did not take over", zap.Error(err))
		_ = replaced.Ask("failed", err.Error(), nil, changePatience) // it notices our end, too
		os.Exit(1)
	}
	return nil
}

// yieldPatience is how long the predecessor may take to let go of the state, and
// for other things that are not answered from memory.
const yieldPatience = 30 * time.Second

func (a *App) takeOver(ctx context.Context) error {
	if err := a.awaitReplicas(ctx); err != nil {
		return err
	}
	began := time.Now()
	if err := replaced.Ask("yield", nil, nil, yieldPatience); err != nil {
		return err
	}
	if err := a.gateway.open(a); err != nil {
		return err
	}
	a.gateway.store.OnChange(replaced.told)
	// From here on there is no way back. One that is gone, or does not answer, has
	// left us in charge.
	if err := replaced.Ask("taken", nil, nil, yieldPatience); err != nil {
		if refused := handover.Refused(""); errors.As(err, &refused) {
			return err
		}
		a.logger.Warn("handover", zap.Error(err))
	}
	if err := a.begin(); err != nil {
		return err
	}
	a.awaitVersions(ctx)
	if err := replaced.inheritance.Adopted(); err != nil {
		a.logger.Warn("handover", zap.Error(err))
	}
	replaced.release()
	close(replaced.charged)
	go replaced.takeConns()
	a.logger.Info("handover: in charge", zap.Duration("took", time.Since(began)))
	go replaced.outlive(a)
	return nil
}

// awaitReplicas waits until each pool that had a replica in the predecessor has one
// here. How long that may take is the predecessor's business.
func (a *App) awaitReplicas(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if !slices.ContainsFunc(replaced.greeting.Pools, func(name string) bool {
			p := a.pools[name]
			return p != nil && !poolState(name, p.Status()).OK
		}) {
			return nil
		}
		select {
		case <-tick.C:
		case <-replaced.Done():
			return handover.ErrGone
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// awaitVersions waits until it is seen that the version whose answers are on disk is
// current still: the replicas have been asked, so that takes no time.
func (a *App) awaitVersions(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for _, p := range a.pools {
		for p.holds() {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}
}

// release closes the sockets that this configuration does not listen on.
func (p *predecessor) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for address, l := range p.sockets {
		_ = l.Close() // the predecessor has it still
		delete(p.sockets, address)
	}
}

// outlive waits for the predecessor's end, after which there is nobody to be told.
// It had removed the file that names the process.
func (p *predecessor) outlive(a *App) {
	<-p.Done()
	a.gateway.store.OnChange(nil)
	p.Close()
	a.logger.Info("handover: the predecessor has ended")
	path := flagOf(os.Args[1:], "--pidfile")
	if path == "" {
		return
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		a.logger.Warn("handover: file of the process id", zap.Error(err))
	}
}

// flagOf is the value of a flag, or of its other name, among arguments.
func flagOf(args []string, names ...string) string {
	for i, arg := range args {
		for _, name := range names {
			if value, found := strings.CutPrefix(arg, name+"="); found {
				return value
			}
			if arg == name && i+1 < len(args) {
				return args[i+1]
			}
		}
	}
	return ""
}

// change is told what a visitor of the predecessor has changed.
func (p *predecessor) change(_ context.Context, body json.RawMessage) (any, error) {
	var c httpcache.Change
	if err := json.Unmarshal(body, &c); err != nil {
		return nil, err
	}
	if a := live.Load(); a != nil {
		a.gateway.store.Invalidate(c)
	}
	if s := succeeding.Load(); s != nil && s.hasYielded() { // this process is on its way out, too
		s.told(c)
	}
	return nil, nil
}

// told tells the predecessor what a visitor of this process has changed.
func (p *predecessor) told(c httpcache.Change) {
	if p == nil {
		return
	}
	_ = p.Ask("change", c, nil, changePatience) // one that is gone serves nobody
}

// purgePatience is how long a purge waits for the predecessor.
const purgePatience = 5 * time.Second

// purge has the predecessor honour a purge, too, as long as it serves. An error
// says that it may not.
func (p *predecessor) purge(order httpcache.Purge) error {
	if p == nil {
		return nil
	}
	err := p.Ask("purge", order, nil, purgePatience)
	if errors.Is(err, handover.ErrGone) {
		return nil // Without the link it uses nothing of what it has stored.
	}
	return err
}

// draining counts the predecessor's exchanges that began before a purge.
func (p *predecessor) draining(generation uint64) int {
	if p == nil {
		return 0
	}
	count := 0
	switch err := p.Ask("draining", generation, &count, changePatience); {
	case errors.Is(err, handover.ErrGone):
		return 0
	case err != nil:
		return 1 // not known
	}
	return count
}
