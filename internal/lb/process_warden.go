package lb

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/edgegw/edge/internal/process"
)

// lookEvery is how often the pool is asked what it makes of the processes.
const lookEvery = 100 * time.Millisecond

// proc is a process of ours. The warden's goroutine alone touches it.
type proc struct {
	id        int
	program   program
	address   Address
	child     *process.Child
	began     time.Time
	phase     phase
	doomed    bool
	everUp    bool
	sickSince time.Time
	grace     time.Duration // that it was stopped with
	lastError string        // its last line on stderr; to be read once it has ended
}

// warden runs the processes of one discovery. One goroutine owns it.
type warden struct {
	feed     Feed
	launch   launch
	procs    []*proc
	ended    chan *proc
	work     sync.WaitGroup
	started  int
	failures int       // starts that came to nothing, in a row
	next     time.Time // no start before
	problem  error     // what came of the last start, until one is up
	reported []Address
	doubted  bool // reported with a problem
	spoken   bool // reported something
	lastPort int
}

func (w *warden) configure(l launch) {
	if !w.launch.program.equal(l.program) {
		w.failures, w.next = 0, time.Time{} // The new one has not failed yet.
	}
	w.launch = l
}

// step looks at every process and does what is due.
func (w *warden) step(now time.Time, retired bool) {
	want := w.launch.replicas
	if w.feed.wanted != nil {
		if n := w.feed.wanted(); n > 0 {
			want = n
		}
	}
	if retired {
		want = 0
		for _, p := range w.procs {
			if p.phase == offered {
				p.phase, p.doomed = withdrawn, true
			}
		}
	}
	plan := planProcesses(want, w.views(now), w.launch.ready)
	for _, id := range plan.late {
		p := w.withdraw(id, true)
		w.say(ProcessLate, p, fmt.Sprintf("process %d is not up after %s: it is stopped", p.child.PID, w.launch.ready), nil)
		w.failed(now, fmt.Errorf("a process was not up after %s", w.launch.ready))
	}
	for _, id := range plan.replace {
		w.withdraw(id, true)
	}
	for _, id := range plan.withdraw {
		w.withdraw(id, false)
	}
	for _, id := range plan.offer {
		w.find(id).phase = offered
	}
	for _, id := range plan.stop {
		w.stop(w.find(id))
	}
	for range plan.start {
		if now.Before(w.next) {
			break
		}
		w.start(now)
	}
	w.report()
}

// views is what the plan is made from.
func (w *warden) views(now time.Time) []procView {
	views := make([]procView, 0, len(w.procs))
	for _, p := range w.procs {
		v := procView{id: p.id, phase: p.phase, doomed: p.doomed, current: p.program.equal(w.launch.program), age: now.Sub(p.began)}
		if w.feed.look != nil {
			seen := w.feed.look(p.address)
			v.listed, v.busy, v.up = seen.listed, seen.busy, seen.listed && seen.state == up
			v.held = p.phase == offered && seen.listed && seen.held
		}
		switch {
		case v.up:
			p.everUp, p.sickSince = true, time.Time{}
		case p.everUp && p.sickSince.IsZero():
			p.sickSince = now
		}
		if !p.sickSince.IsZero() {
			v.sickFor = now.Sub(p.sickSince)
		}
		if v.up && v.age >= settled && v.current {
			w.failures = 0
		}
		if v.up && v.current {
			w.problem = nil
		}
		v.everUp = p.everUp
		views = append(views, v)
	}
	return views
}

func (w *warden) find(id int) *proc {
	return w.procs[slices.IndexFunc(w.procs, func(p *proc) bool { return p.id == id })]
}

func (w *warden) withdraw(id int, doomed bool) *proc {
	p := w.find(id)
	p.phase, p.doomed = withdrawn, doomed
	return p
}

// stop asks a process to finish; exited hears of it.
func (w *warden) stop(p *proc) {
	p.phase = stopping
	p.grace = w.launch.grace
	w.work.Go(func() { p.child.Stop(p.grace) })
}

// start runs one more process.
func (w *warden) start(now time.Time) {
	port, err := w.port()
	if err != nil {
		w.failed(now, err)
		return
	}
	w.started++
	address := w.address(port)
	p := &proc{id: w.started, program: w.launch.program, address: address, began: now}
	p.child, err = process.Start(p.program.spec(port), func(l process.Line) {
		if l.Stream == process.Stderr && l.Text != "" {
			p.lastError = l.Text
		}
		if w.feed.output != nil {
			w.feed.output(Event{Kind: ReplicaOutput, Address: string(address), Stream: l.Stream, Why: l.Text})
		}
	})
	if err != nil {
		w.failed(now, err)
		return
	}
	w.procs = append(w.procs, p)
	w.work.Go(func() {
		<-p.child.Ended()
		w.ended <- p
	})
	w.say(ProcessStarted, p, fmt.Sprintf("process %d", p.child.PID), nil)
}

// exited takes note of a process that is gone.
func (w *warden) exited(p *proc, now time.Time) {
	w.procs = slices.DeleteFunc(w.procs, func(other *proc) bool { return other == p })
	if p.phase == stopping {
		why := fmt.Sprintf("process %d finished", p.child.PID)
		if p.child.Forced() {
			why = fmt.Sprintf("process %d did not finish within %s: killed", p.child.PID, p.grace)
		}
		w.say(ProcessStopped, p, why, nil)
		return
	}
	err := p.child.Err()
	if err == nil {
		err = errors.New("exit status 0")
	}
	if p.lastError != "" {
		err = fmt.Errorf("%w: %s", err, p.lastError)
	}
	w.say(ProcessExited, p, fmt.Sprintf("process %d ended by itself after %s", p.child.PID, now.Sub(p.began).Round(time.Millisecond)), err)
	if p.phase == withdrawn {
		return // It was to go anyway.
	}
	if p.everUp && now.Sub(p.began) >= settled {
		w.failures = 0
	}
	w.failed(now, fmt.Errorf("a process ended by itself: %w", err))
	w.report() // The pool is not to send anything there.
}

// failed puts the next start off, longer each time.
func (w *warden) failed(now time.Time, err error) {
	w.failures++
	w.next = now.Add(jitter(process.Backoff(w.failures)))
	w.problem = err
	w.feed.Failed(err)
}

// report tells the pool which processes it may use, if that has changed or it
// was told of a problem that is over.
func (w *warden) report() {
	set := []Address{}
	for _, p := range w.procs {
		if p.phase == offered {
			set = append(set, p.address)
		}
	}
	slices.Sort(set)
	if len(set) == 0 && !w.spoken {
		return // Nothing has been started yet: that is not to have nothing.
	}
	if w.spoken && slices.Equal(set, w.reported) && w.doubted == (w.problem != nil) {
		return
	}
	w.reported, w.doubted, w.spoken = set, w.problem != nil, true
	if w.feed.found != nil {
		w.feed.found(set, w.problem)
		return
	}
	w.feed.Found(set)
}

// stopAll ends every process, at once and in order.
func (w *warden) stopAll() {
	for _, p := range w.procs {
		if p.phase != stopping {
			w.stop(p)
		}
	}
	for len(w.procs) > 0 {
		w.exited(<-w.ended, time.Now())
	}
	w.work.Wait()
}

// port finds one that nobody listens on and that the pool does not know: what
// is known of another process there must not pass to the next.
func (w *warden) port() (int, error) {
	tries := 100
	if w.launch.first > 0 {
		tries = w.launch.last - w.launch.first + 1
	}
	for range tries {
		want := 0
		if w.launch.first > 0 {
			want = max(w.lastPort+1, w.launch.first)
			if want > w.launch.last {
				want = w.launch.first
			}
			w.lastPort = want
		}
		l, err := net.Listen("tcp", net.JoinHostPort(w.launch.host, strconv.Itoa(want)))
		if err != nil {
			if want == 0 {
				return 0, fmt.Errorf("process host %q: %w", w.launch.host, err)
			}
			continue
		}
		port := l.Addr().(*net.TCPAddr).Port
		_ = l.Close() // Nothing was sent over it.
		if !w.known(w.address(port)) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("process ports %d-%d: none is free", w.launch.first, w.launch.last)
}

func (w *warden) address(port int) Address {
	address, err := ParseAddress(net.JoinHostPort(w.launch.host, strconv.Itoa(port)))
	if err != nil {
		panic("lb: process host was not checked: " + err.Error())
	}
	return address
}

func (w *warden) known(address Address) bool {
	if slices.ContainsFunc(w.procs, func(p *proc) bool { return p.address == address }) {
		return true
	}
	return w.feed.look != nil && w.feed.look(address).listed
}

func (w *warden) say(kind Kind, p *proc, why string, err error) {
	if w.feed.say != nil {
		w.feed.say(Event{Kind: kind, Address: string(p.address), Why: why, Err: err})
	}
}
