package lb

import (
	"context"
	"net/http"
	"net/textproto"
	"time"
)

// Trace tells the caller of RoundTrip what happened to its request, and the
// pool what the caller knows of it. RoundTrip writes the fields above the line,
// which may be read once it has returned; the caller sets those below, before.
type Trace struct {
	Replica  string        // id of the replica that answered, or was tried last
	Address  string        // its address
	Version  string        // of the application: of this answer if it says so, else of the replica
	Attempts int           // replicas asked; 0 when the request was refused
	Waited   time.Duration // time in the queue
	Rescued  bool          // the answer is of another version than that of the replica asked first, which did not have it
	Refused  string        // why the pool itself answered 503; "" when a replica was asked

	Client string // the visitor's IP address; "" for that of the connection
	Shared bool   // the answer may be stored and given to others: nothing for one visitor is put into it

	// Absent, if set, says that replicas of other versions may have what was asked
	// for, and reports whether an answer means that its replica does not have it.
	Absent func(in *http.Request, answer *http.Response) bool

	// Inform, if set, is called with every interim answer (1xx, but 101), before
	// the final one is returned; possibly from another goroutine, and by a try
	// that is given up later still. An error ends the try.
	Inform func(status int, header textproto.MIMEHeader) error

	// Try, if set, is called before each try with its own copy of the header that
	// the replica gets, which it may change. It returns what is called once, when
	// the header of the replica's answer is there (status) or there is none (err).
	// The tries of a hedged request overlap: both are called from several
	// goroutines, and by a try that is given up later than RoundTrip returns.
	Try func(try Try, header http.Header) (ended func(status int, err error))
}

// Try is one try of a request.
type Try struct {
	Number  int    // 1 for the first
	Hedge   bool   // it runs beside another
	Replica string // id of the replica
	Address string // its address
	Version string // what the replica was last known to run
}

type traceKey struct{}

// WithTrace returns a context that asks RoundTrip to fill t.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// TraceFrom returns the trace in ctx, or nil.
func TraceFrom(ctx context.Context) *Trace {
	t, _ := ctx.Value(traceKey{}).(*Trace)
	return t
}

// trying tells whoever traces the request that out is about to go to the replica
// whose slot is held. The result is called when the try is over.
func (x *exchange) trying(out *http.Request) (ended func(*http.Response, error)) {
	if x.tries == nil {
		return func(*http.Response, error) {}
	}
	r := x.slot.replica
	out.Header = out.Header.Clone()
	tell := x.tries(Try{
		Number: x.attempts, Hedge: x.beside, Replica: r.id, Address: string(r.address), Version: r.identity.Load().version,
	}, out.Header)
	return func(resp *http.Response, err error) {
		if err != nil {
			tell(0, err)
			return
		}
		tell(resp.StatusCode, nil)
	}
}
