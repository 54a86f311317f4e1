package lb

import (
	"context"
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
