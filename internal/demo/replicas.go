package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// lease is how long the gateway keeps a replica that falls silent; it is
	// renewed three times in it.
	lease = 10 * time.Second
	// starting is how long a replica may take until the gateway sends it
	// requests.
	starting = 20 * time.Second
	// finishing is how long a process may take to end by itself.
	finishing = 10 * time.Second
	// asking is the time between two looks at something that will change soon.
	asking = 50 * time.Millisecond
)

// replica is one process of the sample application.
type replica struct {
	name    string
	version string
	address string
	child   *child
	id      string // the gateway's; guarded by replicas.mu

	stopRenewing context.CancelFunc
	renewing     sync.WaitGroup
}

// replicas starts, registers, drains and ends replicas: the autoscaler of the
// demo. Its methods are safe for concurrent use.
type replicas struct {
	control    *controller
	executable string
	assets     string   // the directory that they share
	env        []string // the session key that they share
	log        *os.File // what they say on standard error
	note       func(format string, args ...any)

	mu      sync.Mutex
	started int
	most    int // at a time
	list    []*replica
}

// add starts a replica and returns when the gateway sends it requests.
func (rs *replicas) add(ctx context.Context, version string) error {
	ctx, cancel := context.WithTimeout(ctx, starting)
	defer cancel()
	r, err := rs.start(ctx, version)
	if err != nil {
		return err
	}
	if err := rs.join(ctx, r); err != nil {
		rs.remove(r)
		return errors.Join(fmt.Errorf("replica %s: %w", r.name, err), r.child.end(finishing))
	}
	return nil
}

// addAll starts n replicas at once.
func (rs *replicas) addAll(ctx context.Context, n int, version string) error {
	errs := make([]error, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { errs[i] = rs.add(ctx, version) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// start runs a process and waits for the address that it listens on.
func (rs *replicas) start(ctx context.Context, version string) (*replica, error) {
	rs.mu.Lock()
	rs.started++
	r := &replica{name: fmt.Sprintf("r%d", rs.started), version: version}
	rs.mu.Unlock()

	address := newFirstLine()
	command := exec.Command(rs.executable, "sample", "--listen", "127.0.0.1:0",
		"--version", version, "--instance", r.name, "--assets-dir", rs.assets)
	command.Env = rs.env
	command.Stdout = address
	command.Stderr = rs.log
	var err error
	if r.child, err = spawn("replica "+r.name, command); err != nil {
		return nil, err
	}
	select {
	case r.address = <-address.line:
	case <-r.child.ended:
		return nil, fmt.Errorf("replica %s ended before it listened: %w", r.name, errors.Join(r.child.how(), errLogged(rs.log)))
	case <-ctx.Done():
		return nil, errors.Join(fmt.Errorf("replica %s does not listen: %w", r.name, ctx.Err()), r.child.end(finishing))
	}
	rs.mu.Lock()
	rs.list = append(rs.list, r)
	rs.most = max(rs.most, len(rs.list))
	rs.mu.Unlock()
	return r, nil
}

// join waits until the replica is healthy, registers it, and waits until the
// gateway finds so too.
func (rs *replicas) join(ctx context.Context, r *replica) error {
	err := await(ctx, asking, func(ctx context.Context) (bool, error) { return rs.healthy(ctx, r) })
	if err != nil {
		return fmt.Errorf("not healthy: %w", err)
	}
	id, err := rs.control.register(ctx, r.address, lease)
	if err != nil {
		return err
	}
	rs.mu.Lock()
	r.id = id
	rs.mu.Unlock()
	rs.renew(r)
	last := "not listed"
	err = await(ctx, asking, func(ctx context.Context) (bool, error) {
		status, err := rs.control.status(ctx)
		if seen, listed := status.find(id); listed {
			last = strings.TrimSpace(seen.State + " " + seen.Why)
			return seen.State == "up", err
		}
		return false, err
	})
	if err != nil {
		return fmt.Errorf("the gateway does not use it (%s): %w", last, err)
	}
	return nil
}

func (rs *replicas) healthy(ctx context.Context, r *replica) (bool, error) {
	if !r.child.alive() {
		return false, errors.Join(errors.New("it ended"), r.child.how())
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.address+"/healthz", nil)
	if err != nil {
		return false, err
	}
	response, err := rs.control.client.Do(request)
	if err != nil {
		return false, nil // not yet
	}
	return response.StatusCode == http.StatusOK, response.Body.Close()
}

// renew keeps the lease until the replica leaves or its process ends.
func (rs *replicas) renew(r *replica) {
	ctx, cancel := context.WithCancel(context.Background())
	r.stopRenewing = cancel
	r.renewing.Go(func() {
		defer cancel()
		tick := time.NewTicker(lease / 3)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-r.child.ended:
				rs.note("replica %s (process %d) ended: its lease runs out", r.name, r.child.pid)
				return
			case <-tick.C:
			}
			if _, err := rs.control.register(ctx, r.address, lease); err != nil && ctx.Err() == nil {
				rs.note("replica %s: lease not renewed: %v", r.name, err)
			}
		}
	})
}

// retire drains a replica, waits until it has finished, and ends its process.
func (rs *replicas) retire(ctx context.Context, r *replica) error {
	// A renewal after the drain would bring the replica back.
	r.stopRenewing()
	r.renewing.Wait()
	defer rs.remove(r)
	err := rs.leave(ctx, r)
	if err != nil {
		err = fmt.Errorf("drain replica %s: %w", r.name, err)
	}
	return errors.Join(err, r.child.end(finishing))
}

// leave takes a replica out of the gateway's pool in good order.
func (rs *replicas) leave(ctx context.Context, r *replica) error {
	ctx, cancel := context.WithTimeout(ctx, starting)
	defer cancel()
	if err := rs.control.drain(ctx, r.id); err != nil {
		return err
	}
	err := await(ctx, asking, func(ctx context.Context) (bool, error) {
		status, err := rs.control.status(ctx)
		seen, listed := status.find(r.id)
		return err == nil && (!listed || seen.State == "drained" || seen.State == "gone"), err
	})
	if err != nil {
		return err
	}
	err = rs.control.forget(ctx, r.id)
	if refused := new(errAnswer); errors.As(err, &refused) && refused.status == http.StatusNotFound {
		return nil // forgotten already
	}
	return err
}

// of lists the running replicas of a version, oldest first.
func (rs *replicas) of(version string) []*replica {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	var found []*replica
	for _, r := range rs.list {
		if r.version == version && r.id != "" && r.child.alive() {
			found = append(found, r)
		}
	}
	return found
}

// running is a replica as people see it.
type running struct {
	name, version, address, id string
	pid                        int
	alive                      bool
}

// now lists all replicas.
func (rs *replicas) now() []running {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	list := make([]running, 0, len(rs.list))
	for _, r := range rs.list {
		list = append(list, running{r.name, r.version, r.address, r.id, r.child.pid, r.child.alive()})
	}
	return list
}

// peak is the most replicas there were at a time.
func (rs *replicas) peak() int {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return rs.most
}

func (rs *replicas) remove(r *replica) {
	if r.stopRenewing != nil {
		r.stopRenewing()
		r.renewing.Wait()
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.list = slices.DeleteFunc(rs.list, func(other *replica) bool { return other == r })
}

// end ends every process, drained or not.
func (rs *replicas) end() error {
	rs.mu.Lock()
	list := slices.Clone(rs.list)
	rs.mu.Unlock()
	errs := make([]error, len(list))
	var group sync.WaitGroup
	for i, r := range list {
		group.Go(func() {
			rs.remove(r)
			if r.child.alive() {
				errs[i] = r.child.end(finishing)
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// errLogged is the end of a process's log as an error; nil if it is empty.
func errLogged(log *os.File) error {
	if text := tail(log.Name(), 2000); text != "" {
		return errors.New(text)
	}
	return nil
}
