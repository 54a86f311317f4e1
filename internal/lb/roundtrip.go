package lb

import (
	"context"
	"errors"
	"io"
	"math"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/transport"
)

// lonelyPause is how long a request waits before it tries a replica again that
// refused its connection, when there is no other.
const lonelyPause = 100 * time.Millisecond

// closedIdle is net/http's error for a connection that the replica had closed
// before the request was handed to it. The transport asks another connection by
// itself when the method is idempotent; we know more: nothing was sent.
const closedIdle = "http: server closed idle connection"

// maxStale is how often one try may meet such a connection.
const maxStale = 10

// outlet is the request as it goes to a replica. A try that follows another
// gets a new one: a transport may still look at the old.
type outlet struct {
	request http.Request
	url     url.URL
}

// RoundTrip sends the request to a replica, and to another when that is safe
// and within the budget. URL.Host and URL.Scheme are ignored; Host is kept. The
// request is not changed. When no replica may take it, the answer is a 503 of
// the pool's own with Retry-After, not an error; an error means that the
// replicas that were tried gave no answer.
func (p *Pool) RoundTrip(in *http.Request) (*http.Response, error) {
	return p.Send(in, TraceFrom(in.Context()))
}

// Send is RoundTrip with the trace, which may be nil, handed over as it is: a
// context for it costs a copy of the request.
func (p *Pool) Send(in *http.Request, trace *Trace) (*http.Response, error) {
	if in.URL == nil {
		return nil, errors.Join(errors.New("request without URL"), closeBody(in))
	}
	v := p.view.Load()
	x := &exchange{pool: p, view: v, in: in, trace: trace}
	if trace != nil {
		x.tries = trace.Try
	}
	if !bodyless(in) {
		x.payload = newPayload(in.Body, in, v.keeps())
		x.guard = x.payload.reader
	}
	defer x.leave() // Also on a panic: a slot that is never given back is lost for ever.
	if v == nil {
		return x.refuse("not configured"), nil
	}
	p.budget.request(p.now())
	switch why := x.acquire(); why {
	case "":
	case clientGone:
		return nil, context.Cause(in.Context())
	default:
		return x.refuse(why), nil
	}
	for {
		resp, err := x.try()
		o := x.outcomeOf(resp, err)
		next, again := x.another(o)
		if !again {
			return x.rescued(x.deliver(resp, err, o))
		}
		if resp != nil {
			_ = resp.Body.Close() // Its connection goes with it: reading it to the end might take long.
		}
		x.settle(o)
		x.release()
		x.hold(next)
		p.retries.Add(1)
	}
}

func closeBody(r *http.Request) error {
	if r.Body == nil {
		return nil
	}
	return r.Body.Close()
}

// leave gives back what is still held, when RoundTrip ends without an answer
// to pass on.
func (x *exchange) leave() {
	x.settle(neutral)
	if x.next.replica != nil {
		x.pool.giveBack(&x.next)
	}
	if x.payload != nil {
		x.payload.settle()
		if x.attempts == 0 {
			_ = x.guard.Close() // RoundTrip closes the body, whatever happens.
		}
	}
}

// send makes one try with the slot held.
func (x *exchange) send() (*http.Response, error) {
	r := x.slot.replica
	x.tried[x.attempts] = r
	x.attempts++
	x.name(r)
	carrier := r.transport.Load()
	out := x.outgoing(&x.outlet)
	ended := x.trying(out)
	resp, err := carrier.carry(out, x.trace)
	for stale := 0; err != nil && stale < maxStale && neverSent(err) && x.rearm(); stale++ {
		header := out.Header
		out = x.outgoing(new(outlet))
		out.Header = header
		resp, err = carrier.carry(out, x.trace)
	}
	ended(resp, err)
	return resp, err
}

// name tells the trace who is asked.
func (x *exchange) name(r *replica) {
	if t := x.trace; t != nil {
		t.Attempts = x.attempts
		t.Replica, t.Address, t.Version = r.id, string(r.address), r.identity.Load().version
	}
}

// outgoing is the request as it goes to the replica whose slot is held. A try
// that follows another needs an outlet of its own.
func (x *exchange) outgoing(out *outlet) *http.Request {
	if x.attempts > 1 {
		out = new(outlet)
	}
	out.request, out.url = *x.in, *x.in.URL
	if x.ctx != nil {
		out.request = *x.in.WithContext(x.ctx)
	}
	out.request.URL = &out.url
	out.url.Scheme, out.url.Host = "http", string(x.slot.replica.address)
	if x.view.settings.tls != nil {
		out.url.Scheme = "https"
	}
	x.fit(&out.request)
	return x.upgrading(&out.request)
}

// neverSent reports whether the connection turned out to have been closed by
// the replica before any of the request was written to it.
func neverSent(err error) bool { return err.Error() == closedIdle }

// outcomeOf says what a try came to, as far as the headers tell.
func (x *exchange) outcomeOf(resp *http.Response, err error) outcome {
	if err == nil {
		switch status := resp.StatusCode; {
		case status == http.StatusBadGateway, status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout:
			return gateway
		case status >= 500:
			return faulty
		case status == http.StatusTooManyRequests:
			return busy
		}
		return good
	}
	var dial *dialError
	switch {
	case x.next.replica != nil:
		return late // It was left for another.
	case errors.Is(x.in.Context().Err(), context.Canceled):
		return neutral
	case errors.As(err, &dial):
		return refused
	case x.payload != nil && x.payload.broken.Load():
		return neutral
	case x.in.Context().Err() != nil, isTimeout(err):
		return late
	}
	return reset
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// another takes a slot of another replica, when the try that came to o may and
// should be repeated.
func (x *exchange) another(o outcome) (slot, bool) {
	if next := x.next; next.replica != nil {
		x.next = slot{}
		if x.in.Context().Err() == nil && x.rearm() {
			return next, true
		}
		x.pool.giveBack(&next)
		return slot{}, false
	}
	s := x.view.settings
	if o < gateway || x.attempts > s.Retry.Attempts || x.in.Context().Err() != nil || !x.repeatable(o) {
		return slot{}, false
	}
	next, ok := x.take()
	if !ok && o == refused && x.attempts == 1 && !x.pool.inDoubt() && wait(x.in.Context(), lonelyPause) {
		next, ok = x.claim(x.slot.replica)
	}
	if !ok && x.orphaned(o) {
		ok = x.pool.queue.wait(x.in.Context(), s.Queue.Wait.D(), s.Queue.Length, func() bool {
			next, ok = x.take()
			return ok
		}) == ""
	}
	if !ok {
		return slot{}, false
	}
	if x.pool.budget.retry(x.pool.now(), float64(s.Retry.Budget)) && x.rearm() {
		return next, true
	}
	x.pool.giveBack(&next)
	return slot{}, false
}

// orphaned reports whether the replica has died, and the pool starts another
// one: that is worth waiting for, as a request that comes now waits too.
func (x *exchange) orphaned(o outcome) bool {
	if !x.view.settings.runs || (o != refused && o != reset) {
		return false
	}
	r := x.slot.replica
	// The end of a process is noticed within milliseconds.
	return r.is().leaving() || wait(x.in.Context(), lonelyPause) && r.is().leaving()
}

// giveBack returns a slot of which no use was made.
func (p *Pool) giveBack(s *slot) {
	p.conclude(s, neutral)
	s.record.requests.Add(-1)
	p.unclaim(s.replica)
	*s = slot{}
}

// repeatable reports whether the request may be sent again after o.
func (x *exchange) repeatable(o outcome) bool {
	if x.payload != nil && x.in.GetBody == nil && !x.payload.whole() {
		return false
	}
	byKey := x.view.settings.Retry.IdempotencyKey && keyed(x.in.Header)
	switch o {
	case refused:
		return true
	case reset, late:
		return idempotent(x.in.Method) || byKey
	case gateway:
		return transport.Safe(x.in.Method) || byKey
	}
	return false
}

// deliver passes on what the last try came to.
func (x *exchange) deliver(resp *http.Response, err error, o outcome) (*http.Response, error) {
	if err != nil {
		x.settle(o)
		x.release()
		return nil, err
	}
	x.readVersion(resp)
	x.pool.hearIdle(x.slot.replica, resp.Header)
	x.mark(resp)
	x.learn(o)
	x.held = false
	r := x.slot.replica
	if resp.StatusCode == http.StatusSwitchingProtocols {
		x.pool.conclude(&x.slot, o)
		x.upgrade(resp)
		return resp, nil
	}
	count := &r.inflight
	stream := isStream(resp)
	if stream {
		// It may last for hours: that is not work in progress.
		r.streams.Add(1)
		x.pool.unclaim(r)
		count = &r.streams
	}
	// A probe is judged by its headers, so that no client can hold it open.
	early := stream || o != good || x.slot.probe != nil
	if early {
		x.pool.conclude(&x.slot, o)
	}
	if resp.Body == http.NoBody || resp.ContentLength == 0 {
		if !early {
			x.pool.conclude(&x.slot, o)
		}
		x.pool.give(r, count)
		x.release()
		return resp, nil
	}
	x.body = answerBody{x: x, src: resp.Body, count: count, judge: !early}
	if !stream { // An event stream may say nothing for as long as nothing happens.
		x.body.patience = x.view.settings.Transport.BodyTimeout.D()
	}
	resp.Body = &x.body
	if stream {
		resp.Body = newEventStream(&x.body, resp.Header)
	}
	return resp, nil
}

// readVersion notes which version answered. An answer with another identity
// than the one known comes from another process at the address.
func (x *exchange) readVersion(resp *http.Response) {
	h := &x.view.settings.Health
	if h.VersionHeader == "" && h.InstanceHeader == "" {
		return
	}
	seen := identityOf(resp.Header, h)
	r := x.slot.replica
	known := r.identity.Load()
	if _, changed, _ := known.update(seen); changed && x.slot.began > known.since {
		x.pool.identify(r, seen, x.slot.began)
	}
	if x.trace != nil && seen.version != "" {
		x.trace.Version = seen.version
	}
}

// isStream tells server-sent events from other answers.
func isStream(resp *http.Response) bool {
	if resp.ContentLength >= 0 {
		return false
	}
	kind := resp.Header.Get("Content-Type")
	if !strings.HasPrefix(kind, "text/event-stream") {
		return false
	}
	media, _, err := mime.ParseMediaType(kind)
	return err == nil && media == "text/event-stream"
}

const refusal = "No replica of this application can take the request now.\n"

// refuse is the pool's own 503 (RFC 9110, 15.6.4).
func (x *exchange) refuse(why string) *http.Response {
	x.pool.refused.Add(1)
	if x.trace != nil {
		x.trace.Refused = why
	}
	seconds := 1
	if x.view != nil {
		seconds = max(1, int(math.Ceil(x.view.settings.Queue.Wait.D().Seconds())))
	}
	return &http.Response{
		Status: "503 Service Unavailable", StatusCode: http.StatusServiceUnavailable,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{
			"Content-Type":  {"text/plain; charset=utf-8"},
			"Cache-Control": {"no-store"},
			"Retry-After":   {strconv.Itoa(seconds)},
		},
		Body:          io.NopCloser(strings.NewReader(refusal)),
		ContentLength: int64(len(refusal)),
		Request:       x.in,
	}
}
