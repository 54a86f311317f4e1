package httpcache

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/edgegw/edge/internal/cacherules"
	"github.com/edgegw/edge/internal/disk"
)

// maxAttempts is how many fetches of others a request waits for, or finds of no
// use, before it asks the origin for itself alone.
const maxAttempts = 3

// unruled stands for the verdict of no rule.
var unruled cacherules.Verdict

// Serve answers r through w: from the store, from a fetch that it starts or
// shares, or by passing r on. The verdict may be nil. An error means that
// nothing was written, and is the origin's own; Serve panics with
// http.ErrAbortHandler when an answer was cut off after its header was sent. It
// may spell r's Accept-Language in another way.
func (h *Handler) Serve(w http.ResponseWriter, r *http.Request, v *cacherules.Verdict, o Origin) (Result, error) {
	if v == nil {
		v = &unruled
	}
	member := h.Store.census.join()
	spellLanguages(r.Header)
	reason := bypassOf(r, v)
	if reason == "" {
		var space [keySpace]byte
		key := h.requestKey(space[:0], r)
		hash := h.Store.hash(key)
		now := time.Now()
		e, known, stands := h.lookup(hash, key, r)
		d := decide(r, e, stands, now)
		if d.action == serve {
			defer member.leave()
			res, err := h.reply(w, r, reply{o: o, e: e, now: now, status: StatusHit})
			res.Generation = member.generation
			return res, err
		}
		x := &exchange{h: h, w: w, r: r, v: v, o: o, member: member, key: append([]byte(nil), key...), hash: hash}
		defer x.leave()
		return x.finish(x.run(e, known, d))
	}
	x := &exchange{h: h, w: w, r: r, v: v, o: o, member: member}
	defer x.leave()
	return x.finish(x.pass(reason))
}

// lookup finds the stored answer and asks the fence about it.
func (h *Handler) lookup(hash uint64, key []byte, r *http.Request) (e *entry, known bool, stands standing) {
	e, known = h.Store.find(hash, key, r.Header)
	if e == nil {
		return nil, known, standsFirm
	}
	stands = h.Store.standing(e)
	if stands == hardPurged { // as if it had never been
		return nil, false, standsFirm
	}
	return e, known, stands
}

// exchange is one request that is not a plain hit.
type exchange struct {
	h      *Handler
	w      http.ResponseWriter
	r      *http.Request
	v      *cacherules.Verdict
	o      Origin
	member *cohort
	left   bool
	key    []byte
	hash   uint64
	// alone: sharing has been tried, and the answers are for one request each.
	alone bool
}

// leave ends the exchange for those who drain; more than once does no harm.
func (x *exchange) leave() {
	if !x.left {
		x.left = true
		x.member.leave()
	}
}

// finish completes and counts the result.
func (x *exchange) finish(res Result, err error) (Result, error) {
	res.Generation = x.member.generation
	if err != nil && res.Status == "" {
		res.Status = StatusError
	}
	if res.Status != StatusHit { // reply has counted those
		x.h.Store.count(res.Status)
	}
	if res.Collapsed {
		x.h.Store.counters.collapsed.Add(1)
	}
	return res, err
}

// run acts on decisions until one of them answers the request.
func (x *exchange) run(e *entry, known bool, d decision) (Result, error) {
	rekeyed := []varied(nil)
	for range maxAttempts {
		reason := Reason("")
		if e == nil {
			e, known, d, reason = x.recall(known, d)
		}
		now := time.Now()
		switch d.action {
		case serve:
			if res, done := x.replyStored(reply{e: e, now: now, status: StatusHit, reason: reason}); done {
				return res, nil
			}
			e, known, d = nil, true, decide(x.r, nil, standsFirm, now)
		case serveAndRefresh:
			x.refresh(e, d)
			if res, done := x.replyStored(reply{e: e, now: now, status: StatusStale, reason: d.reason}); done {
				return res, nil
			}
			e, known, d = nil, true, decide(x.r, nil, standsFirm, now)
		case unavailable:
			if res, done := x.replyPart(); done {
				return res, nil
			}
			return x.unavailable(), nil
		case pass:
			if d.reason == ReasonRange {
				return x.passRange()
			}
			return x.pass(d.reason)
		}
		t, refused := x.join(d, e, rekeyed, now)
		if refused {
			return x.pass(ReasonRefused)
		}
		if t != nil {
			t.known = known
			res, done, err := x.await(t)
			if done {
				return res, err
			}
			rekeyed = t.rekey
		}
		var stands standing
		e, known, stands = x.h.lookup(x.hash, x.key, x.r)
		d = decide(x.r, e, stands, time.Now())
	}
	return x.pass(ReasonContended)
}

// ticket is a place in a fill: that of the leader or of a follower.
type ticket struct {
	f      *fill
	rd     *reader
	late   *latecomer    // instead of a reader
	file   *disk.Growing // that it reads
	leader bool
	known  bool     // there were answers for the key
	e      *entry   // the stored answer, which may help on errors
	rekey  []varied // how the answer varies, when that is news to a follower
}

// join gives a place in a fill, or none when the store has changed since the
// decision; or refuses one, since others' answers are not for this request.
func (x *exchange) join(d decision, e *entry, guess []varied, now time.Time) (t *ticket, refused bool) {
	d.alone = d.alone || x.alone
	sh := x.h.Store.shard(x.hash)
	sh.mu.Lock()
	if refused = e == nil && sh.isRefusedLocked(x.hash, now); refused && !d.alone {
		t = x.joinLocked(sh, nil, true) // what it is refused for is under way
	}
	sh.mu.Unlock()
	if refused {
		return t, t == nil
	}
	return x.ticket(d, e, guess), false
}

// ticket joins a fill that will do, or starts one. Nil means that the store
// has changed since the decision.
func (x *exchange) ticket(d decision, e *entry, guess []varied) *ticket {
	s := x.h.Store
	sh := s.shard(x.hash)
	var fresh *fill // prepared without the lock: Detach is foreign code
	for {
		sh.mu.Lock()
		// The key may have become known as uncacheable since it was looked up.
		// Without this look, some of a crowd would wait for each other again.
		if e == nil && sh.isRefusedLocked(x.hash, time.Now()) {
			sh.mu.Unlock()
			if fresh != nil {
				fresh.cancel(nil)
			}
			return nil
		}
		if !d.alone {
			if t := x.joinLocked(sh, e, false); t != nil {
				sh.mu.Unlock()
				if fresh != nil {
					fresh.cancel(nil)
				}
				return t
			}
		}
		if found, variedAs := s.foundLocked(sh, x); found != e && found != nil {
			sh.mu.Unlock()
			if fresh != nil {
				fresh.cancel(nil)
			}
			return nil
		} else if guess == nil {
			guess = variedAs
		}
		if fresh != nil {
			fresh.guess = guess
			t := &ticket{f: fresh, rd: fresh.buffer.attach(), leader: true, e: e}
			fresh.startLocked(sh)
			sh.mu.Unlock()
			return t
		}
		sh.mu.Unlock()
		fresh = x.newFill(d, e, nil)
	}
}

// foundLocked is the stored answer for the request, and how answers for the
// key vary.
func (s *Store) foundLocked(sh *shard, x *exchange) (*entry, []varied) {
	newest := sh.newest(x.hash, x.key)
	if newest == nil {
		return nil, nil
	}
	return sh.match(x.hash, x.key, x.r.Header), variedAs(newest.vary(), x.r.Header)
}

// joinLocked takes a place in a fill in flight whose answer the request may have:
// in any, or only in one that is written to disk.
func (x *exchange) joinLocked(sh *shard, e *entry, spilled bool) *ticket {
	for _, f := range sh.fills[x.hash] {
		if spilled && f.spill.Load() == nil || !x.mayJoin(f) {
			continue
		}
		if rd := f.buffer.attach(); rd != nil {
			return &ticket{f: f, rd: rd, e: e}
		}
		if late := f.attachLate(); late != nil {
			return &ticket{f: f, late: late, e: e}
		}
	}
	return nil
}

// joinableLocked reports that there is such a fill.
func (x *exchange) joinableLocked(sh *shard) bool {
	return slices.ContainsFunc(sh.fills[x.hash], x.mayJoin)
}

func (x *exchange) mayJoin(f *fill) bool {
	if f.alone || f.doomed.Load() || f.key != string(x.key) || !f.suits(x.r.Header) {
		return false
	}
	// A request that began after a purge must not get an answer from before
	// it, and soft purges count here too: it would pass for fresh.
	if !x.h.Store.trusted() {
		return false
	}
	if !f.isReady() || f.head == nil {
		return x.h.Store.fence.mayStand(f.place, f.started)
	}
	stands, _ := x.h.Store.fence.judge(f.head.provenance(), f.began)
	return stands == standsFirm
}

// isReady reports that the fill's header is decided on.
func (f *fill) isReady() bool {
	select {
	case <-f.ready:
		return true
	default:
		return false
	}
}

// suits reports that the answer will, or may, be for such a request. One that takes
// longer to come than it stays fresh is for those who asked before it was stale.
func (f *fill) suits(request http.Header) bool {
	if !f.isReady() {
		return matches(f.guess, request)
	}
	return f.shared && f.head != nil && matches(f.head.vary(), request) && f.head.ttl(time.Now()) > 0
}

// startLocked makes the fill known and runs it. Its generation is loaded
// before the origin is asked, so that it stands for all that was purged until
// then.
func (f *fill) startLocked(sh *shard) {
	f.began = f.h.Store.Generation()
	f.started = f.began
	f.groupsBegan = f.h.Store.fence.groups.sequence.Load()
	f.stampParts()
	sh.fills[f.hash] = append(sh.fills[f.hash], f)
	go f.run()
}

// leave makes the fill unknown.
func (f *fill) leave() {
	sh := f.h.Store.shard(f.hash)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	kept := make([]*fill, 0, len(sh.fills[f.hash]))
	for _, other := range sh.fills[f.hash] {
		if other != f {
			kept = append(kept, other)
		}
	}
	if len(kept) == 0 {
		delete(sh.fills, f.hash)
		return
	}
	sh.fills[f.hash] = kept
}

// unavailable answers 504 (RFC 9111, 5.2.1.7).
func (x *exchange) unavailable() Result {
	x.w.Header()["Cache-Status"] = []string{cacheStatus(x.h.name(), statusLine{forward: fwdRequest, reason: ReasonOnlyIfCached})}
	x.w.Header()["Cache-Control"] = []string{"no-store"}
	http.Error(x.w, "not in the cache", http.StatusGatewayTimeout)
	return Result{Status: StatusUnavailable, Reason: ReasonOnlyIfCached, Code: http.StatusGatewayTimeout}
}

// gone is the error for a request whose client has left.
func (x *exchange) gone() error {
	return fmt.Errorf("client left: %w", x.r.Context().Err())
}
