package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/edgegw/edge/bench/gateway"
	"github.com/edgegw/edge/bench/process"
)

const (
	lease     = 3 * time.Second
	patience  = 30 * time.Second // for what the gateway is to notice
	lingering = 4 * time.Second
)

// manner is how a replica leaves in good order, or in what passes for it.
type manner string

const (
	// told: it is taken off the list, SIGTERM when the gateway sends it nothing
	// new.
	told manner = "taken off the list, then SIGTERM"
	// drained: it is taken off the list, SIGTERM when the gateway has let it go.
	drained manner = "drained by the gateway to the end, then SIGTERM"
	// lingers: SIGTERM, upon which it serves on for four seconds, unhealthy, and
	// is taken off the list when it has ended.
	lingers manner = "SIGTERM, unhealthy for 4 s, then taken off the list"
	// unannounced: SIGTERM, upon which it finishes what it has and takes nothing
	// more, and is taken off the list when it has ended.
	unannounced manner = "SIGTERM without notice"
)

var manners = []manner{told, drained, lingers, unannounced}

// replica is one process of the sample application.
type replica struct {
	life       // guarded by fleet.mu
	address    string
	process    *process.Process
	version    string
	manner     manner // in which it will leave
	registered bool   // at the control API; else it stands in the file
	listed     bool   // guarded by fleet.mu
	up         bool   // the gateway has sent it requests; guarded by fleet.mu
	leaving    bool   // somebody is ending it; guarded by fleet.mu
	renewing   sync.WaitGroup
	forget     context.CancelFunc // ends the renewing of its lease
}

// fleet starts and ends replicas, as an orchestrator would. Its methods may be
// called concurrently.
type fleet struct {
	site   *site
	binary string
	dir    string

	mu      sync.Mutex
	target  string // the version that new replicas are of
	started int
	list    []*replica // all that ever were
	most    int        // at a time
}

// add starts a replica and returns when the gateway sends it requests. Every
// other one registers itself, the rest stand in the file; they will leave in one
// manner after the other.
func (f *fleet) add(ctx context.Context, version string) error {
	f.mu.Lock()
	n := f.started
	f.started++
	f.mu.Unlock()
	r := &replica{
		life: life{instance: fmt.Sprintf("r%d", n+1)}, version: version,
		manner: manners[n/2%len(manners)], registered: n%2 == 1, forget: func() {},
	}
	if err := f.start(ctx, r); err != nil {
		return fmt.Errorf("replica %s: %w", r.instance, err)
	}
	f.mu.Lock()
	f.list = append(f.list, r)
	f.mu.Unlock()
	if err := f.join(ctx, r); err != nil {
		return fmt.Errorf("replica %s: %w", r.instance, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	r.up = true
	f.most = max(f.most, len(f.servingLocked()))
	return nil
}

// start runs the process and waits until it listens.
func (f *fleet) start(ctx context.Context, r *replica) error {
	args := []string{"--version", r.version, "--assets-dir", filepath.Join(f.dir, "assets")}
	if r.manner == lingers {
		args = append(args, "--linger", lingering.String())
	}
	var err error
	r.process, r.address, err = gateway.Replica(ctx, f.binary, f.dir, r.instance, args...)
	return err
}

// join has the gateway find the replica, and waits until it is up.
func (f *fleet) join(ctx context.Context, r *replica) error {
	if err := f.enlist(ctx, r); err != nil {
		return err
	}
	return f.site.await(ctx, patience, "up at "+r.address, func(v poolView) bool {
		seen := v.at(r.address)
		f.mu.Lock()
		defer f.mu.Unlock()
		r.id = cmp.Or(r.id, seen.ID)
		return seen.State == "up" || r.how == killed // by chance, before it was up
	})
}

func (f *fleet) enlist(ctx context.Context, r *replica) error {
	if !r.registered {
		return f.write(func() { r.listed = true })
	}
	if err := f.register(ctx, r); err != nil {
		return err
	}
	renewing, forget := context.WithCancel(ctx)
	r.forget = forget
	r.renewing.Go(func() {
		for gateway.Pause(renewing, lease/3) {
			select {
			case <-r.process.Exited():
				return
			default:
			}
			// One that fails is followed by another before the lease ends.
			_ = f.register(renewing, r)
		}
	})
	return nil
}

func (f *fleet) register(ctx context.Context, r *replica) error {
	body, err := json.Marshal(map[string]string{"pool": "app", "address": r.address, "lease": lease.String()})
	if err != nil {
		return err
	}
	return f.site.insist(ctx, http.MethodPost, "replicas", body)
}

// delist takes a replica off the list that it stands on.
func (f *fleet) delist(ctx context.Context, r *replica) error {
	if !r.registered {
		return f.write(func() { r.listed = false })
	}
	r.forget()
	r.renewing.Wait()
	err := f.site.insist(ctx, http.MethodDelete, "replicas/"+r.id, nil)
	if err != nil && strings.Contains(err.Error(), "404") {
		return nil // its lease has ended
	}
	return err
}

// write changes the list and writes the file.
func (f *fleet) write(change func()) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	var addresses []string
	for _, r := range f.list {
		if r.listed {
			addresses = append(addresses, r.address)
		}
	}
	return f.site.list(addresses)
}

// retire ends a replica in its manner. One that is killed meanwhile is no error.
func (f *fleet) retire(ctx context.Context, r *replica) error {
	var err error
	switch r.manner {
	case told, drained:
		f.begin(r, planned)
		if err = f.delist(ctx, r); err != nil {
			break
		}
		err = f.site.await(ctx, patience, r.instance+" is let go", func(v poolView) bool {
			state := v.at(r.address).State
			return state == "" || state == "gone" || (r.manner == told && state == "draining")
		})
		err = errors.Join(err, f.stop(r, planned))
	case lingers:
		err = errors.Join(f.stop(r, planned), f.delist(ctx, r))
	case unannounced:
		err = errors.Join(f.stop(r, sudden), f.delist(ctx, r))
	}
	if err != nil {
		return fmt.Errorf("retire %s, %s: %w", r.instance, r.manner, err)
	}
	return nil
}

// begin notes that the end of a replica has begun.
func (f *fleet) begin(r *replica, how ending) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.how == running {
		r.how, r.at, r.over = how, time.Now(), time.Now().Add(time.Minute)
	}
}

func (f *fleet) stop(r *replica, how ending) error {
	f.begin(r, how)
	err := r.process.Stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.how == killed {
		return nil
	}
	r.over = time.Now()
	return err
}

// kill ends a replica with kill -9, whatever it is doing.
func (f *fleet) kill(r *replica) {
	f.mu.Lock()
	r.how, r.at = killed, time.Now()
	r.over = r.at.Add(time.Minute)
	f.mu.Unlock()
	r.process.Kill()
	f.mu.Lock()
	defer f.mu.Unlock()
	r.over = time.Now()
}

// bury is what an orchestrator does when it notices that a replica is dead. One
// that registered itself is left to its lease. Nobody takes the place of one that
// was leaving.
func (f *fleet) bury(ctx context.Context, r *replica) error {
	f.mu.Lock()
	leaving := r.leaving
	r.leaving = true
	f.mu.Unlock()
	if !r.registered {
		if err := f.delist(ctx, r); err != nil {
			return err
		}
	}
	if leaving {
		return nil
	}
	return f.substitute(ctx)
}

// substitute starts a replica of the version that is wanted, another one if that
// has changed by the time it serves.
func (f *fleet) substitute(ctx context.Context) error {
	for {
		if err := f.add(ctx, f.wanted()); err != nil {
			return err
		}
		r := f.outdated()
		if r == nil {
			return nil
		}
		if err := f.retire(ctx, r); err != nil {
			return err
		}
	}
}

// outdated chooses a replica of another version than is wanted, which is to leave.
func (f *fleet) outdated() *replica {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.servingLocked() {
		if r.version != f.target {
			r.leaving = true
			return r
		}
	}
	return nil
}

// wanted is the version that new replicas are of.
func (f *fleet) wanted() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.target
}

func (f *fleet) want(version string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.target = version
}

// servingLocked are those that are up and that nobody is ending, oldest first.
func (f *fleet) servingLocked() (serving []*replica) {
	for _, r := range f.list {
		if r.up && !r.leaving && r.how == running {
			serving = append(serving, r)
		}
	}
	return serving
}

// oldest chooses the replica that is to leave next; nil if there is but one.
func (f *fleet) oldest() *replica {
	f.mu.Lock()
	defer f.mu.Unlock()
	serving := f.servingLocked()
	if len(serving) < 2 {
		return nil
	}
	serving[0].leaving = true
	return serving[0]
}

// victim chooses a replica by a number, also among those that are leaving; nil
// if fewer than three serve.
func (f *fleet) victim(number int) *replica {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.servingLocked()) < 3 {
		return nil
	}
	alive := slices.DeleteFunc(slices.Clone(f.list), func(r *replica) bool {
		return r.id == "" || r.how == killed || (r.how != running && time.Now().After(r.over))
	})
	return alive[number%len(alive)]
}

func (f *fleet) serving() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.servingLocked())
}

// lives are those of all replicas.
func (f *fleet) lives() []life {
	f.mu.Lock()
	defer f.mu.Unlock()
	var lives []life
	for _, r := range f.list {
		lives = append(lives, r.life)
	}
	return lives
}

// end ends all processes.
func (f *fleet) end() error {
	f.mu.Lock()
	list := slices.Clone(f.list)
	f.mu.Unlock()
	var errs []error
	for _, r := range list {
		r.forget()
		r.renewing.Wait()
		select {
		case <-r.process.Exited():
		default:
			errs = append(errs, r.process.Stop())
		}
	}
	return errors.Join(errs...)
}
