package lb

import (
	"context"
	"net/http"
	"net/http/httptrace"
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
	Refused  string        // why the pool itself answered 503; "" when a replica was asked

	Client string // the visitor's IP address; "" for that of the connection
	Shared bool   // the answer may be stored and given to others: nothing for one visitor is put into it

	// Inform, if set, is called with every interim answer (1xx, but 101), before
	// the final one is returned; possibly from another goroutine, and by a try
	// that is given up later still. An error ends the try.
	Inform func(status int, header textproto.MIMEHeader) error
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

// informed is out with interim answers told to whoever traces the request.
func (x *exchange) informed(out *http.Request) *http.Request {
	if x.trace == nil || x.trace.Inform == nil {
		return out
	}
	return out.WithContext(httptrace.WithClientTrace(out.Context(), &httptrace.ClientTrace{Got1xxResponse: x.trace.Inform}))
}
