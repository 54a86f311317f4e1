package lb

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

var (
	errDetached = errors.New("the request goes on elsewhere")
	errBodyGone = errors.New("more of the request's body was sent than is kept for another try")
)

// payload is a request's body. Tries read it one after another, each through a
// reader of its own. What is read is kept while it is no more than limit, so
// that a later try can begin anew; beyond, the request cannot be sent again.
type payload struct {
	src    io.ReadCloser
	limit  int64
	broken atomic.Bool // the client's side failed

	// turn holds a token while somebody reads src. A try that was left may be
	// waiting for the client there: what it then gets is kept for the one that took
	// over.
	turn chan struct{}

	mu     sync.Mutex
	kept   []byte
	size   int64 // of the body, as far as it is known
	gone   bool  // more was read than is kept
	ended  error // what src ended with
	reader *guard
	final  bool // there will be no other try
	closed bool
}

// guard is the reader of one try.
type guard struct {
	of   *payload
	at   int  // how much of what is kept it has read
	done bool // the transport is done with it
}

// newPayload keeps up to limit of the body of in. A body that is known to be
// longer is not kept at all.
func newPayload(src io.ReadCloser, in *http.Request, limit int64) *payload {
	if in.ContentLength > limit {
		limit = 0
	}
	p := &payload{src: src, limit: limit, size: max(0, in.ContentLength), turn: make(chan struct{}, 1)}
	p.reader = &guard{of: p}
	return p
}

// again is a reader from the start for another try. The one before gets
// nothing more. False when too much was read to begin anew.
func (p *payload) again() (*guard, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return nil, false
	}
	p.reader = &guard{of: p}
	return p.reader, true
}

// whole reports whether the body can be read from its start.
func (p *payload) whole() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.gone
}

// settle says that there will be no other try: what Close kept open closes.
func (p *payload) settle() {
	p.mu.Lock()
	p.final = true
	shut := p.shutLocked()
	p.mu.Unlock()
	if shut {
		_ = p.src.Close() // Nobody is left to tell.
	}
}

// shutLocked reports whether the source is to be closed now: its last reader
// is done. It says so once.
func (p *payload) shutLocked() bool {
	if p.closed || !p.reader.done || !(p.final || p.gone) {
		return false
	}
	p.closed = true
	return true
}

func (g *guard) Read(b []byte) (int, error) {
	p := g.of
	if n, err, ok := g.readKept(b); ok {
		return n, err
	}
	p.turn <- struct{}{}
	defer func() { <-p.turn }()
	if n, err, ok := g.readKept(b); ok {
		return n, err // Another had its turn meanwhile.
	}
	n, err := p.src.Read(b)
	return g.took(b[:n], err)
}

// readKept reads what an earlier try has read. False when there is no more of
// it, and the source must be asked.
func (g *guard) readKept(b []byte) (int, error, bool) {
	p := g.of
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.reader != g:
		return 0, errDetached, true
	case g.at < len(p.kept) && !p.gone:
		n := copy(b, p.kept[g.at:])
		g.at += n
		return n, nil, true
	case p.ended != nil:
		return 0, p.ended, true
	}
	return 0, nil, false
}

// took takes note of what came from the source.
func (g *guard) took(b []byte, err error) (int, error) {
	p := g.of
	if err != nil && err != io.EOF {
		p.broken.Store(true)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.ended = err
	}
	detached := p.reader != g
	switch {
	case len(b) == 0 || p.gone:
	case detached || int64(len(p.kept)+len(b)) <= p.limit:
		p.keepLocked(b)
	default:
		p.gone, p.kept = true, nil
	}
	if detached {
		return 0, errDetached
	}
	g.at += len(b)
	return len(b), err
}

func (p *payload) keepLocked(b []byte) {
	if p.kept == nil {
		p.kept = make([]byte, 0, max(int64(len(b)), min(p.size, p.limit)))
	}
	p.kept = append(p.kept, b...)
}

// Close is the transport's. A body that another try may read stays open until
// settle.
func (g *guard) Close() error {
	p := g.of
	p.mu.Lock()
	g.done = true
	shut := p.shutLocked()
	p.mu.Unlock()
	if shut {
		return p.src.Close()
	}
	return nil
}

// keeps is how much of a request's body is kept for another try.
func (v *view) keeps() int64 {
	if v == nil {
		return 0
	}
	return int64(v.settings.Retry.Body)
}

// rearm gets the body ready for another try.
func (x *exchange) rearm() bool {
	if x.payload == nil {
		return true
	}
	_, err := x.freshBody()
	return err == nil
}

// freshBody is the body from its start. The try that had it gets no more.
func (x *exchange) freshBody() (io.ReadCloser, error) {
	if g, ok := x.payload.again(); ok {
		x.guard = g
		return g, nil
	}
	if x.in.GetBody == nil {
		return nil, errBodyGone
	}
	body, err := x.in.GetBody()
	if err != nil {
		return nil, err
	}
	x.payload.settle()
	x.payload = newPayload(body, x.in, x.view.keeps())
	x.guard = x.payload.reader
	return x.guard, nil
}

// fit gives the request to a replica the body of this try, and keeps net/http
// from repeating what it must not: by itself it sends a request with an
// Idempotency-Key again when a connection breaks, whether or not the
// application knows the field. Where it can get the body anew, it repeats what
// it has not written a byte of.
func (x *exchange) fit(out *http.Request) {
	unsafeKey := namedByKey(x.in) && !idempotent(x.in.Method) && !x.view.settings.Retry.IdempotencyKey
	switch {
	case x.payload == nil && unsafeKey:
		out.Body = nothing{}
	case x.payload == nil:
	case unsafeKey:
		out.Body, out.GetBody = x.guard, nil
	default:
		out.Body, out.GetBody = x.guard, x.freshBody
	}
}

// namedByKey reports whether net/http takes the request to be idempotent by a
// header field.
func namedByKey(r *http.Request) bool {
	return keyed(r.Header) || len(r.Header["X-Idempotency-Key"]) > 0
}

// nothing is a body of no bytes that net/http does not know to be one.
type nothing struct{}

func (nothing) Read([]byte) (int, error) { return 0, io.EOF }
func (nothing) Close() error             { return nil }
