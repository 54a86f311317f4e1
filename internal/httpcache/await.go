package httpcache

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"time"
)

// await waits for the fill's header and answers the request with what comes.
// done is false when the answer was not for this request, which then asks anew.
func (x *exchange) await(t *ticket) (res Result, done bool, err error) {
	defer t.detach()
	for ready := false; !ready; {
		var early chan interim
		if t.leader {
			early = t.f.interim
		}
		select {
		case one := <-early:
			x.relay(one)
		case <-t.f.ready:
			ready = true
		case <-x.r.Context().Done():
			return Result{Status: StatusError, Reason: ReasonClientLeft}, true, x.gone()
		}
	}
	x.relayRest(t)
	switch t.f.outcome {
	case failed:
		res, err = x.fallBack(t)
		return res, true, err
	case futile:
		return Result{}, false, nil
	}
	if !t.leader {
		if res, done, decided, err := x.mayFollow(t); decided {
			return res, done, err
		}
	}
	if t.f.outcome == confirmed {
		res, err = x.replyConfirmed(t)
		return res, true, err
	}
	if t.late != nil {
		return x.replyLate(t)
	}
	res, err = x.stream(t)
	return res, true, err
}

// detach gives the place up.
func (t *ticket) detach() {
	if t.late != nil {
		t.late.detach()
		return
	}
	t.rd.detach()
}

// mayFollow decides whether a follower may have the answer. If not it asks the
// origin itself, at once when waiting for others would be in vain again.
func (x *exchange) mayFollow(t *ticket) (res Result, done, decided bool, err error) {
	f := t.f
	if !f.shared {
		if f.reason == "" {
			// It is stored, but has to be confirmed for each request.
			x.alone = true
			return Result{}, false, true, nil
		}
		res, err = x.pass(f.reason)
		return res, true, true, err
	}
	if !matches(f.head.vary(), x.r.Header) {
		t.rekey = variedAs(f.head.vary(), x.r.Header)
		return Result{}, false, true, nil
	}
	if stands, _ := x.h.Store.fence.judge(f.head.provenance(), f.began); stands != standsFirm {
		return Result{}, false, true, nil
	}
	return Result{}, false, false, nil
}

// relay passes a 1xx response on to the client.
func (x *exchange) relay(one interim) {
	h := x.w.Header()
	before := maps.Clone(h)
	maps.Copy(h, one.header)
	x.w.WriteHeader(one.status)
	clear(h)
	maps.Copy(h, before)
}

// relayRest passes on what came before the header but was not taken up yet.
func (x *exchange) relayRest(t *ticket) {
	for t.leader {
		select {
		case one := <-t.f.interim:
			x.relay(one)
		default:
			return
		}
	}
}

// fallBack is for a fetch that failed: a stale answer if it may stand in, else
// the error.
func (x *exchange) fallBack(t *ticket) (Result, error) {
	now := time.Now()
	e := t.e
	if e == nil {
		e = t.f.stale
	}
	if reason := standsIn(e, t.f.failure, now); reason != "" && matches(e.vary(), x.r.Header) &&
		!e.invalidated() && x.h.Store.standing(e) < hardPurged {
		if res, done := x.replyStored(reply{
			e: e, now: now, status: StatusStale, reason: reason,
			forward: fwdStale, forwardStatus: t.f.failure, collapsed: !t.leader,
		}); done {
			return res, nil
		}
	}
	if t.f.failure != 0 {
		// The failure was held back in favour of a stale answer, which a purge
		// has taken since: let the origin speak for itself.
		return x.pass(ReasonContended)
	}
	if errors.Is(t.f.err, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler)
	}
	return Result{Status: StatusError, Reason: ReasonOriginFailed, Collapsed: !t.leader}, t.f.err
}

// replyConfirmed answers with the stored answer that the origin confirmed.
func (x *exchange) replyConfirmed(t *ticket) (Result, error) {
	rp := reply{
		e: t.f.head, now: time.Now(), status: StatusRevalidated, reason: t.f.reason,
		forward: fwdStale, forwardStatus: http.StatusNotModified,
		stored: t.f.late == "" && t.f.reason == "", collapsed: !t.leader,
	}
	if rp.reason == "" {
		rp.reason = t.f.late
	}
	if t.leader {
		rp.cookies = t.f.cookies
	}
	if res, done := x.replyStored(rp); done {
		return res, nil
	}
	return x.pass(ReasonContended)
}

// stream answers from the fill's buffer, as it grows.
func (x *exchange) stream(t *ticket) (Result, error) {
	f := t.f
	rp := reply{
		o: x.o, e: f.head, now: time.Now(), status: StatusMiss, reason: f.reason, firstHand: true,
		forward: fwdURIMiss, stored: f.reason == "", collapsed: !t.leader,
	}
	switch {
	case t.e != nil:
		rp.forward = fwdStale
	case t.known:
		rp.forward = fwdVaryMiss
	case f.completes != nil && f.completes.begun:
		rp.forward, rp.forwardStatus = fwdPartial, http.StatusPartialContent
	}
	if f.spill.Load() != nil {
		rp.reason = ReasonToDisk
	}
	if stands, _ := x.h.Store.fence.judge(f.head.provenance(), f.began); stands != standsFirm {
		rp.noCDN, rp.stored, rp.reason = true, false, x.h.Store.fence.reasonAgainst(f.head.provenance())
	}
	if f.head.unstorable {
		x.leave()
	}
	x.h.represent(x.r, &rp)
	res, bodyless := x.h.replyHead(x.w, x.r, rp)
	if bodyless && bodyAllowed(f.head.status) {
		return res, nil // a 304: the fill goes on without us
	}
	switch {
	case bodyless:
	case t.late != nil:
		x.copyLate(t)
	default:
		x.copyBody(t)
	}
	select {
	case <-f.done:
		x.settleResult(&res, f)
	case <-x.r.Context().Done():
	}
	return res, nil
}

// settleResult says whether the answer was stored in the end.
func (x *exchange) settleResult(res *Result, f *fill) {
	res.Stored = f.stored
	if f.late != "" {
		res.Reason = f.late
	}
}

// copyBody writes the body as it comes, and flushes whenever it has caught up
// with the origin. An answer that is cut off must not look complete.
func (x *exchange) copyBody(t *ticket) {
	flusher := http.NewResponseController(x.w)
	dirty, written, length := false, int64(0), t.f.head.length()
	for {
		p, flush, news, err := t.rd.take()
		switch {
		case len(p) > 0:
			if _, err := x.w.Write(p); err != nil {
				return // the client is gone; the fill goes on
			}
			written += int64(len(p))
			dirty = written != length // the end flushes by itself
			continue
		case errors.Is(err, io.EOF):
			x.sendTrailer(t.f)
			return
		case err != nil:
			panic(http.ErrAbortHandler)
		}
		if flush || dirty {
			_ = flusher.Flush() // a writer that cannot flush sends it later
			dirty = false
		}
		select {
		case <-news:
		case <-x.r.Context().Done():
			return
		}
	}
}
