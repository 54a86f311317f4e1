package caddymodule

import (
	"context"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/edgegw/edge/internal/deploy"
	"github.com/edgegw/edge/internal/lb"
)

type poolKey string

const (
	// lookEvery apart are two looks at a pool while a deploy is under way.
	lookEvery = 500 * time.Millisecond
	// startingFor is how long after the start a version that was current before
	// is not replaced while there are replicas of which nothing is known yet.
	startingFor = 15 * time.Second
)

// pool is a pool with the versions that its replicas were seen to run.
type pool struct {
	*lb.Pool
	name     string
	versions *deploy.Tracker
	answers  *deploy.Answers
	poked    chan struct{}
	end      context.CancelFunc
	ended    chan struct{}

	mu       sync.Mutex
	restored time.Time // when the versions of the last run were taken over
	held     string    // the version whose answers on disk are held back
	unnoted  bool      // the last run's end is not what a restart would find
	// missing are purges of other nodes that nobody tells about, since when.
	missing map[string]time.Time
}

func acquirePool(name string) (*pool, error) {
	made, _, err := shared.LoadOrNew(poolKey(name), func() (caddy.Destructor, error) {
		ctx, end := context.WithCancel(context.Background())
		p := &pool{
			Pool: lb.NewPool(name, onPoolEvent), name: name, versions: new(deploy.Tracker), answers: new(deploy.Answers),
			poked: make(chan struct{}, 1), end: end, ended: make(chan struct{}), missing: make(map[string]time.Time),
		}
		go p.oversee(ctx)
		p.Watch(p.poke)
		return p, nil
	})
	if err != nil {
		return nil, err
	}
	return made.(*pool), nil
}

func releasePool(name string) error {
	_, err := shared.Delete(poolKey(name))
	return err
}

// Destruct is called when the last configuration with this pool is gone.
func (p *pool) Destruct() error {
	p.end()
	<-p.ended
	return p.Close()
}

// poke asks for a look at the versions. It never waits.
func (p *pool) poke() {
	select {
	case p.poked <- struct{}{}:
	default:
	}
}

// oversee looks at what the replicas run whenever asked to, and again and again
// while a deploy is under way.
func (p *pool) oversee(ctx context.Context) {
	defer close(p.ended)
	again := time.NewTimer(lookEvery)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.poked:
		case <-again.C:
		}
		if p.observe() {
			again.Reset(lookEvery)
		}
	}
}

// adopt takes over what the last run knew of the pool.
func (p *pool) adopt(book *deploy.Book) {
	if book.Adopt(p.name, p.versions, p.answers) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.restored = time.Now()
	}
}

// observe looks at what the replicas run, and carries out what follows: when the
// last replica of a version is gone, that version's answers are purged, even if
// CI never calls. It reports whether to look again soon.
func (p *pool) observe() (active bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := live.Load()
	if a == nil || a.pools[p.name] != p {
		return false // looked at again when the configuration has started
	}
	if !a.gateway.atHome() {
		return false
	}
	a.gateway.asides.keep(a.pools) // one may have gone
	book, now := a.gateway.deploys(), time.Now()
	seen := p.replicas()
	found := book.Look(now, deploy.Sight{Pool: p.name, Replicas: seen, Starting: p.starting(now, seen), Guard: a.Pools[p.name].Guard})
	p.Avoid(found.Avoid)
	p.settleLocked(a.gateway.store, found.Change, seen)
	ordered := p.order(a, book, found.Orders)
	p.followPurges(book, now, found.Purges)
	if ordered {
		if err := p.noteLocked(a.gateway.store); err != nil {
			a.logger.Warn("cache disk", zap.String("event", "not-noted"), zap.String("pool", p.name), zap.Error(err))
		}
	}
	return found.Active
}

// settle waits for whoever looks at the pool now.
func (p *pool) settle() {
	p.mu.Lock()
	defer p.mu.Unlock()
}

// replicas are all that answer, or soon will.
func (p *pool) replicas() []deploy.Replica {
	versions := p.Versions()
	seen := make([]deploy.Replica, len(versions))
	for i, r := range versions {
		seen[i] = deploy.Replica{
			ID: r.ID, Name: p.name + "/" + r.Address, Version: r.Version, State: r.State, Fresh: r.Fresh,
			Requests: r.Requests, Failures: r.Failures,
		}
	}
	return seen
}

// starting reports whether replicas of the last run may not have been seen yet.
func (p *pool) starting(now time.Time, seen []deploy.Replica) bool {
	if now.Sub(p.restored) >= startingFor {
		return false
	}
	for _, r := range seen {
		if r.Fresh {
			return true
		}
	}
	return false
}
