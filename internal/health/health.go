// Package health knows how the things are that a gateway needs. It asks them in
// the background, each at its own pace, so that who wants to know waits for none
// of them: not for one that is slow, nor for one that never answers.
package health

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Severity is what it means that something is down.
type Severity string

// Severities.
const (
	// Critical: this node should get no traffic.
	Critical Severity = "critical"
	// Degraded: visitors are served; something that they, or CI, rely on is worse.
	Degraded Severity = "degraded"
	// Notice: somebody should look at it by day.
	Notice Severity = "notice"
)

// Check asks one thing how it is.
type Check struct {
	Name     string
	Severity Severity
	// Every is the time between two questions, Patience how long an answer may
	// take, and First how long after the start the first question waits.
	Every, Patience, First time.Duration
	// Ask returns something worth knowing, and an error if the thing is down. It
	// should heed ctx; one that does not is not asked again before it returns.
	Ask func(ctx context.Context) (detail string, err error)
}

// State is how one thing is, as far as is known.
type State struct {
	Name     string
	Severity Severity
	OK       bool
	Detail   string
	Latency  time.Duration // of the last answer, or for how long there was none
	Checked  time.Time     // when it was asked last; zero before the first answer
	Since    time.Time     // when OK last changed
}

// History remembers when things changed. It outlives configurations; its zero
// value is ready, and safe for concurrent use.
type History struct {
	mu    sync.Mutex
	known map[string]turn
}

type turn struct {
	ok    bool
	since time.Time
}

// Note takes down how a thing is at now, and returns since when.
func (h *History) Note(name string, ok bool, now time.Time) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	last, known := h.known[name]
	if known && last.ok == ok {
		return last.since
	}
	if h.known == nil {
		h.known = make(map[string]turn)
	}
	h.known[name] = turn{ok, now}
	return now
}

// Watch asks a set of checks until it is closed.
type Watch struct {
	history *History
	changed func(State)
	cancel  context.CancelFunc
	loops   sync.WaitGroup

	mu     sync.Mutex
	states []State
}

// Start begins to ask. What was not asked yet counts as well. Whoever wants to
// know at once, else nil, is told of each thing that went down or came back.
func Start(history *History, changed func(State), checks ...Check) *Watch {
	ctx, cancel := context.WithCancel(context.Background())
	w := &Watch{history: history, changed: changed, cancel: cancel, states: make([]State, len(checks))}
	for i, c := range checks {
		w.states[i] = State{Name: c.Name, Severity: c.Severity, OK: true, Detail: "not asked yet"}
	}
	for i, c := range checks {
		w.loops.Go(func() { w.run(ctx, i, c) })
	}
	return w
}

// States are those known now, in the order of the checks.
func (w *Watch) States() []State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]State(nil), w.states...)
}

// Close ends the asking. A question that heeds nobody may still be out.
func (w *Watch) Close() {
	w.cancel()
	w.loops.Wait()
}

func (w *Watch) run(ctx context.Context, i int, c Check) {
	for wait := c.First; pause(ctx, wait); wait = c.Every {
		answered := w.ask(ctx, i, c)
		select {
		case <-answered: // never two questions at once
		case <-ctx.Done():
			return
		}
	}
}

// ask puts one question and notes the answer, or that there is none in time. The
// channel is closed when the question is over.
func (w *Watch) ask(ctx context.Context, i int, c Check) <-chan struct{} {
	type answer struct {
		detail string
		err    error
	}
	asking, cancel := context.WithTimeout(ctx, c.Patience)
	defer cancel()
	answers, over := make(chan answer, 1), make(chan struct{})
	began := time.Now()
	go func() {
		defer close(over)
		detail, err := c.Ask(asking)
		answers <- answer{detail, err}
	}()
	var a answer
	select {
	case a = <-answers:
	case <-asking.Done():
		a.err = fmt.Errorf("no answer within %s", c.Patience)
	}
	if ctx.Err() != nil {
		return over
	}
	now := time.Now()
	s := State{Name: c.Name, Severity: c.Severity, OK: a.err == nil, Detail: a.detail, Latency: now.Sub(began), Checked: now}
	if a.err != nil {
		s.Detail = a.err.Error()
	}
	s.Since = w.history.Note(c.Name, s.OK, now)
	w.mu.Lock()
	before := w.states[i].OK
	w.states[i] = s
	w.mu.Unlock()
	if before != s.OK && w.changed != nil {
		w.changed(s)
	}
	return over
}

func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
