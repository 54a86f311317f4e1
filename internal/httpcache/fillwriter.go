package httpcache

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/cacherules"
)

// fillWriter is the http.ResponseWriter that the origin answers through.
type fillWriter struct {
	f       *fill
	header  http.Header
	decided bool
	// discard: the body is of no use.
	discard bool
	// err keeps the body from being written.
	err error
}

func (w *fillWriter) Header() http.Header { return w.header }

func (w *fillWriter) WriteHeader(status int) {
	if w.decided {
		return
	}
	if status >= 100 && status < 200 {
		w.relay(status)
		return
	}
	w.decided = true
	w.f.decideHeader(status, w.header)
	w.discard = w.f.outcome != answered
	close(w.f.ready)
	w.err = w.f.writeBefore()
}

// relay passes a 1xx on to the leader; it is never stored. 101 cannot come: an
// upgrade never becomes a fill.
func (w *fillWriter) relay(status int) {
	select {
	case w.f.interim <- interim{status: status, header: w.header.Clone()}:
	default:
	}
}

func (w *fillWriter) Write(p []byte) (int, error) {
	if !w.decided {
		w.WriteHeader(http.StatusOK)
	}
	if w.discard {
		return len(p), nil
	}
	if !bodyAllowed(w.f.head.status) {
		return 0, http.ErrBodyNotAllowed
	}
	if w.err == nil {
		w.err = w.f.overflows(len(p))
	}
	if w.err == nil {
		w.f.spillOver(p)
		w.err = w.f.buffer.write(w.f.ctx, p)
	}
	if w.err != nil {
		if errors.Is(w.err, errNobody) {
			w.f.cancel(errNobody)
		}
		return 0, w.err
	}
	return len(p), nil
}

// FlushError is for http.ResponseController.
func (w *fillWriter) FlushError() error {
	if !w.decided {
		w.WriteHeader(http.StatusOK)
	}
	w.f.buffer.flush()
	return nil
}

// Flush is for handlers that ask for an http.Flusher.
func (w *fillWriter) Flush() { _ = w.FlushError() } // it cannot fail

// trailer collects what was announced in Trailer, or set by http.TrailerPrefix.
func (w *fillWriter) trailer() http.Header {
	out := make(http.Header)
	for _, line := range w.f.head.fields().values("Trailer") {
		for name := range strings.SplitSeq(line, ",") {
			name = http.CanonicalHeaderKey(strings.TrimSpace(name))
			if values := w.header[name]; len(values) > 0 {
				out[name] = slices.Clone(values)
			}
		}
	}
	for name, values := range w.header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			out[name] = slices.Clone(values)
		}
	}
	return out
}

// decideHeader decides what the answer is good for. It runs before ready is
// closed. A fault on the way is ours: the answer goes through unstored.
func (f *fill) decideHeader(status int, header http.Header) {
	defer func() {
		if p := recover(); p != nil {
			f.fault(fmt.Errorf("deciding panicked: %v", p))
			if f.completes != nil {
				f.giveUpParts() // what comes is not the whole
				return
			}
			f.outcome, f.reason, f.shared = answered, ReasonFault, false
			f.head = &entry{common: &common{commonFacts: commonFacts{status: status}}}
			out := withoutHopByHop(header)
			cacherules.ForbidCDN(out)
			f.head.describe(out)
			f.head.pack(nil, "", linesOf(appendFields(nil, out, out, firstTag(out))), "", place{})
			f.buffer.stopKeeping()
		}
	}()
	received := time.Now()
	source := f.origin.Source(f.request)
	if f.validating && status == http.StatusNotModified {
		f.decideConfirmed(header, source, received)
		return
	}
	if isFailure(status) && standsIn(f.stale, status, received) != "" {
		f.outcome, f.failure = failed, status
		f.err = fmt.Errorf("origin answered %d", status)
		f.report(f.err)
		return
	}
	if f.completes != nil && f.decideRest(status, header, source, received) {
		return
	}
	f.decideAnswer(status, header, source, received)
}

// decideAnswer is for an answer that stands by itself.
func (f *fill) decideAnswer(status int, header http.Header, source Source, received time.Time) {
	f.outcome = answered
	clean := withoutHopByHop(header)
	d := f.draft(status, clean, source, received)
	f.reason = d.storability.reason
	f.head = newEntry(d)
	if f.reason == "" && f.head.length() > f.buffer.limit && !f.beginSpill() {
		f.reason = ReasonTooLarge
	}
	if f.reason == "" {
		f.shared = !f.head.mustAsk && f.head.ttl(received) > 0
		if f.spill.Load() == nil && f.head.length() > 0 && !f.buffer.grow(min(f.head.length(), maxChunk)) {
			f.reason = ReasonNoRoom
		}
	}
	if f.reason == "" {
		return
	}
	f.shared = false
	// First this: whoever comes when the buffer has closed its door must find
	// out why, or the rest of a crowd would wait for a second fetch.
	if remembered(f.reason) {
		f.h.Store.refuse(f.hash, f.reason, received)
	}
	f.buffer.stopKeeping()
	if f.buffer.isHopeless() { // whoever asked left before the header came
		f.cancel(errNobody)
	}
	f.retire(status)
}

// remembered reports that the next answer for the key will fare alike, so that
// requests should not queue for it. What depends on the one request does not
// count.
func remembered(reason Reason) bool {
	switch reason {
	case ReasonAuthorization, ReasonRequestError, ReasonNoRoom, ReasonFault:
		return false
	}
	return true
}

// retire drops the stored answer that this one outdates though it cannot take
// its place. A failure or another version's answer outdates nothing.
func (f *fill) retire(status int) {
	if f.stale == nil || status >= http.StatusInternalServerError {
		return
	}
	switch f.reason {
	case ReasonRollout, ReasonAuthorization, ReasonRequestError, ReasonNoRoom, ReasonSetCookie:
		return
	}
	f.h.Store.remove(f.stale)
}

// decideConfirmed is for a 304 that answers our own question.
func (f *fill) decideConfirmed(header http.Header, source Source, received time.Time) {
	if !confirms(header, f.stale) {
		f.h.Store.remove(f.stale)
		f.outcome = futile
		return
	}
	// A 304 must not bring back what a hard purge removed meanwhile, although
	// it was asked after the purge: the order was that no copy is served again.
	if stands, _ := f.h.Store.fence.judge(f.stale.provenance(), f.stale.began); stands == hardPurged {
		f.barred(f.stale.provenance())
		f.h.Store.remove(f.stale)
		f.outcome = futile
		return
	}
	f.outcome = confirmed
	f.cookies = slices.Clone(header["Set-Cookie"])
	if source.Version == "" {
		source.Version = f.stale.madeBy
	}
	d := f.draft(f.stale.status, update304(f.stale.fields().origin(), header), source, received)
	e := newEntry(d)
	e.sealAs(f.stale)
	e.inherit(f.stale)
	f.head, f.reason = e, d.storability.reason
	switch f.reason {
	case "":
		f.shared = !e.mustAsk && e.ttl(received) > 0
		f.late = f.store(e)
	case ReasonRollout:
		// Another version says that its answer is the same: serve it, and let
		// the current version's copy be.
	default:
		f.h.Store.remove(f.stale)
	}
}

func (f *fill) draft(status int, clean http.Header, source Source, received time.Time) draft {
	facts := answerFacts{
		status: status, header: clean, control: controlOf(clean),
		verdict: f.verdict, policy: &f.h.Policy, path: f.place.pathName(), date: dateOf(clean, received),
	}
	negotiated := wasNegotiated(f.asked, clean) && !f.verdict.TrustVary
	asked := &http.Request{Method: http.MethodGet, URL: f.request.URL, Host: f.request.Host, Header: f.asked}
	d := draft{
		key: f.key, hash: f.hash, place: f.place, status: status, header: clean, request: asked,
		verdict: f.verdict, source: source, storability: storable(f.asked, facts, source),
		date: facts.date, requested: f.requested, received: received, began: f.began,
		groups:    membershipOf(f.uriOrigin, clean, f.groupsBegan),
		forbidCDN: f.overridden || negotiated || !source.Current && !f.verdict.Fingerprinted,
	}
	if d.storability.reason == "" {
		d.encoding, d.others = &f.h.Policy.Encode, &f.h.Store.commons
	}
	return d
}

// report counts and tells a failure.
func (f *fill) report(err error) {
	if f.background {
		f.h.Store.counters.refreshErrors.Add(1)
		f.event(EventRefreshFailed, "", err)
		return
	}
	f.h.Store.counters.fillErrors.Add(1)
	f.event(EventFillFailed, "", err)
}

func (f *fill) fault(err error) { f.h.fault(f.place.hostName(), f.request.URL.Path, err) }

func (f *fill) event(kind EventKind, reason Reason, err error) {
	f.h.emit(Event{Kind: kind, Host: f.place.hostName(), Path: f.request.URL.Path, Reason: reason, Count: 1, Err: err})
}
