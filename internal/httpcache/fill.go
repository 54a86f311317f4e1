package httpcache

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/edgegw/edge/internal/cacherules"
)

// ErrOriginPanic is what requests get whose origin handler panicked before it
// answered.
var ErrOriginPanic = errors.New("origin handler panicked")

// errGoexit is for an origin handler that ended its goroutine: fetches have one
// of their own, so nobody else would notice.
var errGoexit = fmt.Errorf("%w: runtime.Goexit", ErrOriginPanic)

// errClosed ends the fetches of a store that is closed.
var errClosed = errors.New("cache is closed")

// outcome is what a fill turned out to be, known once ready is closed.
type outcome uint8

const (
	// answered: an answer to stream from the buffer, see head.
	answered outcome = iota
	// confirmed: the origin confirmed the stored answer, see head.
	confirmed
	// failed: no answer, see err, or a failure that a stale answer may cover.
	failed
	// futile: the answer helps nobody; whoever waited asks anew.
	futile
)

// interim is a 1xx response on its way to the leader.
type interim struct {
	status int
	header http.Header
}

// fill is one fetch that may become an entry. It runs on a goroutine of its
// own, at the origin's speed; the leader, who started it, and followers stream
// from its buffer. The writer goroutine owns everything below until it closes
// ready, or done, which publishes it.
type fill struct {
	h       *Handler
	origin  Origin
	request *http.Request // detached; what Fetch gets
	asked   http.Header   // the leader's request header as it came
	verdict *cacherules.Verdict

	key   string
	hash  uint64
	place place
	// guess is how the answer is expected to vary, before it says so.
	guess []varied
	// stale is the stored answer that the fill replaces; validating means that
	// the request is conditional on it.
	stale      *entry
	validating bool
	// completes says which parts the fill completes; nil for none.
	completes *completion
	// alone: nobody may join. background: nobody waits.
	alone, background bool
	// overridden: the CDN's key may not say all that ours and Vary do.
	overridden bool
	// began is the generation at which the oldest of what it brings did; started
	// that at which the origin was asked. They differ when it completes parts.
	began, started uint64
	// groupsBegan is the number of group invalidations until then.
	groupsBegan uint64
	uriOrigin   string
	requested   time.Time

	ctx    context.Context
	cancel context.CancelCauseFunc
	buffer buffer
	// interim holds 1xx responses for the leader; too many are dropped.
	interim chan interim
	// ready closes when the final header is decided on, or there is none; done
	// when the fill has ended and is stored, if it is.
	ready, done chan struct{}
	// doomed by an invalidation: not to be stored or joined.
	doomed atomic.Bool

	// Fixed when ready closes.
	outcome outcome
	err     error
	failure int    // the status that a stale answer is to cover, with failed
	head    *entry // with answered and confirmed
	reason  Reason // why it is not to be stored; empty when it is
	// cookies of a 304 go to the leader alone.
	cookies []string
	// shared: followers may have it.
	shared bool
	// spill writes a body to disk that is too large for memory; nil for others.
	spill atomic.Pointer[spill]

	// Fixed when the buffer closes.
	trailer http.Header

	// Fixed when done closes.
	stored bool
	late   Reason // why it was not stored in the end
}

// maxInterim is how many 1xx responses wait for a leader that is slow.
const maxInterim = 8

// newFill prepares a fetch for the exchange. It does not start it.
func (x *exchange) newFill(d decision, e *entry, guess []varied) *fill {
	base := context.WithoutCancel(x.r.Context())
	ctx, cancel := context.WithCancelCause(base)
	f := &fill{
		h: x.h, origin: x.o, verdict: x.v, asked: x.r.Header.Clone(),
		key: string(x.key), hash: x.hash, place: x.h.placeOfRequest(x.r), guess: guess, uriOrigin: x.h.originOf(x.r),
		stale: e, alone: d.alone, ctx: ctx, cancel: cancel, requested: time.Now(),
		interim: make(chan interim, maxInterim),
		ready:   make(chan struct{}), done: make(chan struct{}),
	}
	f.overridden = x.overridden()
	f.validating = d.validate
	if f.validating {
		f.request = x.request(ctx, e)
	} else {
		f.request = x.request(ctx, nil)
	}
	f.buffer.limit = x.h.Store.maxObject.Load()
	f.buffer.reserve = func(n int64) bool { return x.h.reserve(f.hash, n) }
	f.buffer.release = x.h.Store.release
	f.buffer.idle = f.unread
	if e == nil {
		f.complete(x.h.Store.part(x))
	}
	return f
}

// request is one for the whole answer or, given a stale one, for the news since.
func (x *exchange) request(ctx context.Context, stale *entry) *http.Request {
	r := x.o.Detach(ctx, x.r)
	r.Method = http.MethodGet
	r.Header = r.Header.Clone()
	scheme, _ := x.h.seen(x.r)
	r.Host = canonicalHost(x.r.Host, scheme)
	askWhole(r.Header, stale)
	return r
}

// run fetches. Whatever happens, waiters are released and the store is left as
// it should be.
func (f *fill) run() {
	w := &fillWriter{f: f, header: make(http.Header)}
	err := errGoexit // unless fetch returns
	defer func() { f.end(w, err) }()
	err = f.fetch(w)
}

// end ends the fill, whatever came of its fetch.
func (f *fill) end(w *fillWriter, err error) {
	f.settle(w, err)
	f.explain()
	if f.background {
		f.h.Store.refreshes.Add(-1)
		if !f.stored {
			f.stale.pause(time.Now())
		}
	}
	if spill := f.spill.Load(); spill != nil {
		close(spill.queue) // it leaves when it has ended
	} else {
		f.leave()
	}
	f.cancel(nil)
	close(f.done)
}

// fetch calls the origin and turns panics into errors.
func (f *fill) fetch(w *fillWriter) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicError(p)
		}
	}()
	if err := f.origin.Fetch(w, f.request); err != nil {
		return err
	}
	if !w.decided {
		w.WriteHeader(http.StatusOK) // as net/http does for a silent handler
	}
	return nil
}

func panicError(p any) error {
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		return http.ErrAbortHandler
	}
	return fmt.Errorf("%w: %v", ErrOriginPanic, p)
}

// settle ends the fill: it closes the body, stores it, or reports the failure.
func (f *fill) settle(w *fillWriter, err error) {
	if !w.decided {
		f.outcome, f.err = failed, err
		f.buffer.close(err)
		f.report(err)
		close(f.ready)
		return
	}
	if err == nil && f.outcome == answered {
		err = f.writeAfter()
	}
	if err == nil && f.outcome == answered && f.head.length() >= 0 && bodyAllowed(f.head.status) &&
		f.buffer.written() != f.head.length() {
		err = fmt.Errorf("body of %d bytes: the origin declared %d", f.buffer.written(), f.head.length())
	}
	if f.outcome == answered && err == nil {
		f.trailer = w.trailer()
	}
	f.buffer.close(err)
	if err != nil && !errors.Is(context.Cause(f.ctx), errNobody) {
		f.report(err)
	}
	if f.outcome == answered {
		f.late = f.keep(err)
	}
	f.h.Store.release(f.buffer.surrender())
}

// keep stores a complete answer, and says why not. A fault on the way is ours,
// not the visitors': they have their answer.
func (f *fill) keep(err error) (late Reason) {
	defer func() {
		if p := recover(); p != nil {
			f.fault(fmt.Errorf("storing panicked: %v", p))
			late = ReasonFault
		}
	}()
	whole, kept := f.buffer.whole()
	switch {
	case f.reason != "":
		return f.reason
	case err != nil:
		return f.cutShort(ReasonCutOff) // reported already
	case f.spill.Load() != nil:
		f.keepTrailer()
		return f.spillWhole()
	case !kept:
		f.h.Store.refuse(f.hash, ReasonTooLarge, time.Now())
		return ReasonTooLarge
	}
	f.keepTrailer()
	f.head.seal(whole.packed())
	return f.store(f.head)
}

// keepTrailer gives the answer its trailer, unless that came with the rest of
// stored parts only.
func (f *fill) keepTrailer() {
	if f.completes == nil || !f.completes.begun {
		f.head.keepTrailer(keptTrailer(f.trailer))
	}
}

// store puts an entry in, unless something came between.
func (f *fill) store(e *entry) Reason {
	s := f.h.Store
	if f.doomed.Load() {
		return ReasonInvalidated
	}
	stands, _ := s.fence.judge(e.provenance(), e.began)
	if stands == hardPurged {
		return f.barred(e.provenance())
	}
	if file := e.body().file; file != nil {
		return f.storeFiled(e, file.contents, nil)
	}
	// The buffer's reservation becomes the entry's, so that both are never
	// counted and nothing is evicted to make room twice.
	f.h.Store.release(f.buffer.surrender())
	if !f.h.reserve(f.hash, e.claim()) {
		return ReasonNoRoom
	}
	if !s.insert(e) {
		s.release(e.claim())
		return ReasonOutdated
	}
	if f.doomed.Load() { // invalidated between the check and the insertion
		s.remove(e)
		return ReasonInvalidated
	}
	s.accept(f.hash)
	f.stored = true
	f.event(EventStored, "", nil)
	return ""
}

// barred counts and tells why the fence keeps an answer out.
func (f *fill) barred(p provenance) Reason {
	reason := f.h.Store.fence.reasonAgainst(p)
	if reason == ReasonFenced {
		f.h.Store.counters.fenced.Add(1)
		f.event(EventFenced, ReasonFenced, nil)
	}
	return reason
}

// Close ends the fetches and encodings in flight, waits for their goroutines,
// and writes what waits for the disk. Nothing may be served from the store any
// more.
func (s *Store) Close() {
	var all []*fill
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for _, fills := range sh.fills {
			all = append(all, fills...)
		}
		sh.mu.Unlock()
	}
	for _, f := range all {
		f.cancel(errClosed)
	}
	for _, f := range all {
		<-f.done
	}
	s.encoder.close()
	if t := s.tier.Load(); t != nil {
		t.close()
	}
}

// unread is called when the last reader has left. An answer that nobody else
// may have ends at once: the origin may have nothing to say for hours, and
// would notice nothing until it does.
func (f *fill) unread() {
	if f.buffer.isHopeless() {
		f.cancel(errNobody)
		return
	}
	f.abandonLater()
}

// abandoned reports that nobody reads what comes.
func (f *fill) abandoned() bool {
	sp := f.spill.Load()
	return f.buffer.abandoned() && (sp == nil || !sp.followed())
}

// abandonLater ends the fetch some time after its last reader has left, unless
// another comes.
func (f *fill) abandonLater() {
	timer := time.AfterFunc(f.h.policy().Abandon.D(), func() {
		if f.abandoned() {
			f.cancel(errNobody)
		}
	})
	// A timer that has nothing left to end would keep the body in memory.
	context.AfterFunc(f.ctx, func() { timer.Stop() })
}
