// Package report tells an error tracker that speaks Sentry's protocol what went
// wrong. Nobody waits for it: what cannot be sent now waits in a bounded queue,
// and what finds no room there is dropped and counted. A flood of the same
// trouble is thinned out, never its first report. What could tell who a visitor
// is, or hold a secret, is taken out before anything is queued.
package report

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/getsentry/sentry-go"
)

// Config says where reports go, and what they say about the sender.
type Config struct {
	// DSN names the tracker and the project: https://KEY@HOST/PROJECT. Required.
	DSN string `json:"dsn"`
	// Environment such as production or staging. Default: production.
	Environment string `json:"environment,omitempty"`
	// Release that reports are filed under. Default: the gateway's own version.
	Release string `json:"release,omitempty"`
}

// Validate reports every mistake. It shows no key.
func (c Config) Validate() error {
	var errs []error
	if _, err := sentry.NewDsn(c.DSN); err != nil {
		errs = append(errs, errors.New("sentry dsn: want an address such as https://KEY@sentry.example.com/42, as the project's settings show it"))
	}
	if strings.ContainsAny(c.Environment, "\n\r/ ") || len(c.Environment) > 64 || c.Environment == "None" {
		errs = append(errs, fmt.Errorf("sentry environment %q: want at most 64 characters, no space and no slash", c.Environment))
	}
	if strings.ContainsAny(c.Release, "\n\r\t/\\") || len(c.Release) > 200 {
		errs = append(errs, fmt.Errorf("sentry release %q: want at most 200 characters, no slash", c.Release))
	}
	return errors.Join(errs...)
}

// Kind is a kind of trouble.
type Kind string

// Kinds of trouble.
const (
	Panic         Kind = "panic"         // code of ours, or of another handler
	Answer        Kind = "answer"        // a visitor got a 5xx, or half an answer
	Purge         Kind = "purge"         // did not reach all copies
	Configuration Kind = "configuration" // was refused; the one before stays in force
	Fault         Kind = "fault"         // something of ours failed; visitors were served
)

// Kinds are all of them.
func Kinds() []Kind { return []Kind{Panic, Answer, Purge, Configuration, Fault} }

// Trouble is one thing that went wrong.
type Trouble struct {
	Kind Kind
	// Title is a constant text.
	Title string
	// Like are the facts that make two troubles of a kind the same, from
	// configuration, codes and places in source, never from visitors.
	Like []string
	// Text is what an error or a panic says.
	Text string
	// Stack is where, for panics: see Here.
	Stack *sentry.Stacktrace
	// Method, Host and Path are the request's. The path is that without query.
	Method, Host, Path string
	// Facts are short texts by name, from configuration, codes and replicas.
	Facts map[string]string
}

// Here is the stack of the caller. In a deferred function that has recovered a
// panic, it is that of the panic.
func Here() *sentry.Stacktrace { return sentry.NewStacktrace() }

// Site is the place in source that a stack ends at, such as "package.function:12",
// not counting the runtime and the skipped functions above it.
func Site(stack *sentry.Stacktrace, skip ...string) string {
	if stack == nil {
		return ""
	}
next:
	for i := len(stack.Frames) - 1; i >= 0; i-- { // the last one is the innermost
		frame := stack.Frames[i]
		for _, s := range skip {
			if strings.Contains(frame.Function, s) {
				continue next
			}
		}
		return fmt.Sprintf("%s.%s:%d", frame.Module, frame.Function, frame.Lineno)
	}
	return ""
}

// Outcome is what became of a report.
type Outcome string

// Outcomes. All but the first are drops.
const (
	Captured    Outcome = "captured"    // the tracker has taken it
	Flood       Outcome = "flood"       // one more of the same
	Full        Outcome = "queue-full"  // no room in the queue
	Limited     Outcome = "limited"     // the tracker has asked for fewer
	Refused     Outcome = "refused"     // the tracker will never take it
	Unreachable Outcome = "unreachable" // no answer, or a fault of the tracker
)

// Drops are the outcomes that are drops.
func Drops() []Outcome { return []Outcome{Flood, Full, Limited, Refused, Unreachable} }

// again tells what another attempt may better.
func (o Outcome) again() bool { return o == Limited || o == Unreachable }

// Event says what became of one report. Each report has exactly one, once its
// fate is known.
type Event struct {
	Kind    Kind
	Outcome Outcome
	Err     error // of the last attempt, if it failed
}

const (
	firsts    = 256              // reports that wait and are the first of their like
	others    = 64               // and others
	patience  = 15 * time.Minute // for which a report is tried again
	firstWait = time.Second
	maxWait   = time.Minute
	farewell  = 2 * time.Second // that Close gives what still waits
)

// sender makes one attempt.
type sender interface {
	send(ctx context.Context, t *Trouble, at time.Time, suppressed int) (Outcome, error)
	close()
}

// Reporter sends reports, one after the other, from a goroutine of its own.
type Reporter struct {
	sender sender
	event  func(Event)
	first  chan *queued
	rest   chan *queued
	closed chan struct{}
	done   chan struct{}
	ctx    context.Context
	cancel context.CancelFunc
	once   sync.Once

	mu    sync.Mutex
	flood flood
	gone  bool
}

type queued struct {
	trouble    Trouble
	like       string
	at         time.Time
	suppressed int
}

// New begins to send. event may be nil; it is called without a lock held.
func New(c Config, event func(Event)) (*Reporter, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	s, err := newTracker(c)
	if err != nil {
		return nil, err
	}
	return start(s, event), nil
}

func start(s sender, event func(Event)) *Reporter {
	if event == nil {
		event = func(Event) {}
	}
	r := &Reporter{
		sender: s, event: event,
		first: make(chan *queued, firsts), rest: make(chan *queued, others),
		closed: make(chan struct{}), done: make(chan struct{}),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	go r.run()
	return r
}

// Report takes note of a trouble. It never waits, and may be called by anybody.
// A nil Reporter takes none.
func (r *Reporter) Report(t Trouble) {
	if r == nil {
		return
	}
	q := &queued{like: t.likeness(), at: time.Now()}
	queue, dropped := r.admit(q, t.Kind)
	if dropped == "" {
		t.clean() // it costs too much to do it for a flood
		q.trouble = t
		dropped = r.enqueue(queue, q)
	}
	if dropped != "" {
		r.event(Event{Kind: t.Kind, Outcome: dropped})
	}
}

// admit says in which queue a report belongs, or why it is dropped.
func (r *Reporter) admit(q *queued, kind Kind) (chan *queued, Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pass, first := r.flood.pass(q.at, kind, q.like)
	if !pass {
		return nil, Flood
	}
	q.suppressed = r.flood.taken(q.like)
	if first {
		return r.first, ""
	}
	return r.rest, ""
}

// enqueue returns why a report was dropped, or "".
func (r *Reporter) enqueue(queue chan *queued, q *queued) Outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone {
		return Full
	}
	select {
	case queue <- q:
		return ""
	default:
		if queue == r.first {
			r.flood.forget(q.like) // the next one is the first again
		}
		return Full
	}
}

// Close gives what still waits two seconds, drops the rest, and returns when
// nothing runs any more.
func (r *Reporter) Close() {
	r.once.Do(func() {
		r.mu.Lock()
		r.gone = true
		r.mu.Unlock()
		close(r.closed)
		time.AfterFunc(farewell, r.cancel)
	})
	<-r.done
	r.cancel()
}

func (r *Reporter) run() {
	defer close(r.done)
	defer r.sender.close()
	for {
		q, ok := r.next()
		if !ok {
			return
		}
		r.deliver(q)
	}
}

// next waits for a report; one that is the first of its like comes first. Once
// the reporter is closed and nothing waits it reports false.
func (r *Reporter) next() (*queued, bool) {
	select {
	case q := <-r.first:
		return q, true
	default:
	}
	select {
	case q := <-r.first:
		return q, true
	case q := <-r.rest:
		return q, true
	case <-r.closed:
	}
	select {
	case q := <-r.first:
		return q, true
	case q := <-r.rest:
		return q, true
	default:
		return nil, false
	}
}

// deliver tries until the report is taken, refused for good, or too old. The
// others wait behind it: what keeps one away keeps them all away.
func (r *Reporter) deliver(q *queued) {
	for wait := firstWait; ; wait = min(2*wait, maxWait) {
		outcome, err := r.sender.send(r.ctx, &q.trouble, q.at, q.suppressed)
		if !outcome.again() || time.Since(q.at) > patience || !r.pause(wait) {
			if outcome != Captured {
				r.mu.Lock()
				r.flood.forget(q.like)
				r.mu.Unlock()
			}
			r.event(Event{Kind: q.trouble.Kind, Outcome: outcome, Err: err})
			return
		}
	}
}

// pause reports false if the reporter was closed meanwhile.
func (r *Reporter) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.closed:
		return false
	}
}
