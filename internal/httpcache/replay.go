package httpcache

import (
	"net/http"
	"slices"
	"time"

	"github.com/edgegw/edge/internal/cacherules"
)

// Replay says what a cache would have made of requests of the past, by the same
// decisions as a Handler's, at the time at which each came. It knows no bound on
// memory, no purge, and no two requests at a time. It is for one goroutine.
type Replay struct {
	handler Handler
	stored  map[string][]*entry // by key, oldest first
	answers map[string]pastAnswer
}

// Past is a request of the past, in the order of time, and how it was answered.
type Past struct {
	At      time.Time
	Request *http.Request
	// Verdict of the rules that are tried; nil for no rule.
	Verdict *cacherules.Verdict
	// Status, Header and Size of the body are those of the origin's answer, as
	// far as is known. A 304 to the visitor's own condition stands for the
	// answer that was seen last under the key.
	Status int
	Header http.Header
	Size   int64
}

// Outcome is what a cache would have made of a request.
type Outcome struct {
	Result
	// Asked: the origin was asked before the visitor had an answer, or for a
	// refresh in the background. Bytes of the body came from it.
	Asked bool
	Bytes int64
}

// pastAnswer is the origin's last whole answer under a key.
type pastAnswer struct {
	status int
	header http.Header
	size   int64
}

// NewReplay begins with an empty cache. seen is as in Handler.
func NewReplay(policy Policy, seen func(*http.Request) (scheme, target string)) *Replay {
	return &Replay{
		handler: Handler{Policy: policy.withDefaults(), Seen: seen},
		stored:  make(map[string][]*entry), answers: make(map[string]pastAnswer),
	}
}

// Play decides on the next request.
func (p *Replay) Play(past Past) Outcome {
	if past.Verdict == nil {
		past.Verdict = &unruled
	}
	if reason := bypassOf(past.Request, past.Verdict); reason != "" {
		return Outcome{Result: Result{Status: statusFor(reason), Reason: reason, Code: past.Status}, Asked: true, Bytes: past.Size}
	}
	key := string(p.handler.requestKey(nil, past.Request))
	past = p.whole(key, past)
	e := p.match(key, past.Request.Header)
	d := decide(past.Request, e, standsFirm, past.At)
	o := Outcome{Result: Result{Reason: d.reason, Code: past.Status}, Bytes: past.Size}
	switch d.action {
	case serve:
		o.Status, o.Bytes = StatusHit, 0
		return o
	case unavailable:
		o.Status, o.Bytes = StatusUnavailable, 0
		return o
	case pass:
		o.Status, o.Asked = statusFor(d.reason), true
		return o
	case serveAndRefresh:
		o.Status = StatusStale
	default:
		o.Status = StatusMiss
	}
	o.Asked = true
	if isFailure(past.Status) && o.Status == StatusMiss {
		if reason := standsIn(e, past.Status, past.At); reason != "" {
			o.Status, o.Reason = StatusStale, reason
			return o
		}
	}
	if d.validate && past.Status == http.StatusOK && unchanged(e, past.Header) {
		o.Bytes = 0
		if o.Status == StatusMiss {
			o.Status = StatusRevalidated
		}
	}
	why := p.keep(key, past)
	o.Stored = why == ""
	if o.Status == StatusMiss {
		o.Reason = why
	}
	return o
}

// match is the newest stored answer for such a request.
func (p *Replay) match(key string, request http.Header) *entry {
	for _, e := range slices.Backward(p.stored[key]) {
		if matches(e.vary(), request) {
			return e
		}
	}
	return nil
}

// whole is the answer that the cache would have got: it asks for all of it, and
// leaves the visitor's conditions out.
func (p *Replay) whole(key string, past Past) Past {
	if past.Status != http.StatusNotModified {
		if past.Request.Method == http.MethodGet && past.Status != http.StatusPartialContent {
			p.answers[key] = pastAnswer{past.Status, past.Header, past.Size}
		}
		return past
	}
	if last, known := p.answers[key]; known {
		past.Status, past.Header, past.Size = last.status, last.header, last.size
		return past
	}
	past.Status = http.StatusOK
	return past
}

// unchanged reports an answer that is the stored one still, so that a conditional
// request would have been answered by a 304 (RFC 9110, 13.1).
func unchanged(e *entry, header http.Header) bool {
	if tag := header.Get("Etag"); tag != "" || e.etag() != "" {
		return tag == e.etag()
	}
	modified, ok := fieldDate(header, "Last-Modified")
	return ok && modified.Equal(e.modified())
}

// keep stores the answer, or says why it is not stored.
func (p *Replay) keep(key string, past Past) Reason {
	facts := answerFacts{
		status: past.Status, header: past.Header, control: controlOf(past.Header), verdict: past.Verdict, policy: &p.handler.Policy,
		path: past.Request.URL.Path, date: dateOf(past.Header, past.At),
	}
	s := storable(past.Request.Header, facts, Source{Current: true})
	if s.reason != "" {
		return s.reason
	}
	e := &entry{received: past.At, common: &common{commonFacts: commonFacts{
		status: past.Status, freshness: s.freshness, authorized: s.authorized, rule: past.Verdict.Rule,
	}}}
	e.belong(variedBy(s.names, s.normalize, past.Request.Header), nil)
	e.describe(past.Header)
	e.pack(nil, key, linesOf(appendFields(nil, past.Header, nil, firstTag(past.Header))), "", placeOfKey(key))
	for i, one := range p.stored[key] {
		if matches(one.vary(), past.Request.Header) {
			p.stored[key][i] = e
			return ""
		}
	}
	p.stored[key] = append(p.stored[key], e)
	return ""
}
