package demo

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// goodbye is how long visitors may take to finish what they began.
const goodbye = patience + time.Second

// crowd is the visitors, the streams, the sockets and the teller of the
// account. A panic in one of them ends the demo in order, not the process.
type crowd struct {
	ctx    context.Context // done when the demo ends, by whatever cause
	cancel context.CancelCauseFunc
	leave  context.Context // done when visitors should go
	going  context.CancelFunc
	all    sync.WaitGroup
}

// gather sends the visitors in. The first of them stand at the door at once;
// disperse sends them home.
func (d *demo) gather(parent context.Context) *crowd {
	c := new(crowd)
	c.ctx, c.cancel = context.WithCancelCause(parent)
	c.leave, c.going = context.WithCancel(c.ctx)
	base := d.gateway.base
	for i := range d.config.Visitors {
		v := newVisitor(base, i, d.tally)
		c.start(func() { v.stay(c.ctx, c.leave) })
	}
	for range max(1, d.config.Visitors/10) {
		c.start(func() { listen(c.leave, base, d.tally) })
		c.start(func() { converse(c.leave, base, d.tally) })
	}
	c.start(func() { d.tell(c.leave) })
	if d.gateway.child != nil {
		c.start(func() { c.watch(d.gateway.child) })
	}
	return c
}

func (c *crowd) start(do func()) {
	c.all.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				c.cancel(fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
			}
		}()
		do()
	})
}

// watch ends the demo when a process that it cannot do without does.
func (c *crowd) watch(needed *child) {
	select {
	case <-needed.ended:
		c.cancel(fmt.Errorf("%s (process %d) ended", needed.name, needed.pid))
	case <-c.leave.Done():
	}
}

// disperse lets visitors finish, within bounds, and returns when all are gone.
// It may be called again.
func (c *crowd) disperse() {
	c.going()
	late := time.AfterFunc(goodbye, func() { c.cancel(context.Canceled) })
	defer late.Stop()
	c.all.Wait()
	c.cancel(context.Canceled)
}

// tell keeps the account up to date until leave is done.
func (d *demo) tell(leave context.Context) {
	for {
		status, err := d.gateway.control.status(leave)
		if err != nil && leave.Err() == nil {
			d.account.note("the gateway's status: %v", err)
		}
		d.account.show(scene{counts: d.tally.now(), replicas: d.replicas.now(), status: status})
		if wait(leave, d.account.every()) != nil {
			return
		}
	}
}
