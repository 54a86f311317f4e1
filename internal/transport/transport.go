// Package transport sends plain HTTP/1.1 requests to one server over kept
// connections, in the goroutine of whoever asks.
//
// net/http has two goroutines for each connection, which read and write it, and
// every exchange goes through both: four times one goroutine wakes another. A
// request without a body needs neither, since nothing is read while it is
// written. What goes over the wire is net/http's own: Request.Write makes the
// request, ReadResponse takes the answer apart.
package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"
)

// Options are what a Transport is made of. The zero value of each but Dial
// stands for no limit.
type Options struct {
	// Dial makes a TCP connection. What it returns is a *DialError or wraps one.
	Dial func(context.Context) (net.Conn, error)

	// Turns has room for as many dials as there may be at a time, and may be
	// shared. Who waits for a turn, at most for TurnWait, takes a connection that
	// becomes free meanwhile.
	Turns    chan struct{}
	TurnWait time.Duration

	MaxIdle       int           // idle connections that are kept; more are closed
	IdleTimeout   time.Duration // how long one may be idle
	HeaderTimeout time.Duration // from the request's last byte to the end of the answer's header

	// Quiet, if set, is told how long the server was silent, at least, before it
	// closed a connection that was idle.
	Quiet func(time.Duration)
}

// DialError marks that no connection was made, so that nothing was sent.
type DialError struct{ Err error }

func (e *DialError) Error() string { return "dial: " + e.Err.Error() }
func (e *DialError) Unwrap() error { return e.Err }

// ErrNoTurn is in the DialError of who waited too long for a turn to dial.
var ErrNoTurn = errors.New("too many connections to it are being made")

// Transport keeps connections to one server. It may be used by many goroutines
// at once.
type Transport struct {
	o Options

	mu      sync.Mutex
	idle    []*conn        // the last one was used last
	waiting []chan<- *conn // who waits for a turn or for a connection, in order
	sweeper *time.Timer    // runs while there are idle connections; nil before the first
	leaving bool           // what falls idle is closed, until a request comes
}

// New returns a Transport without connections.
func New(o Options) *Transport { return &Transport{o: o} }

// Takes reports whether RoundTrip may be given r: it has no body, asks for no
// other protocol, and nobody traces it by net/http/httptrace.
func Takes(r *http.Request) bool {
	return supported && (r.Body == nil || r.Body == http.NoBody) && r.ContentLength == 0 &&
		r.Method != http.MethodConnect && len(r.Trailer) == 0 && r.Header["Upgrade"] == nil &&
		httptrace.ContextClientTrace(r.Context()) == nil
}

// RoundTrip sends r, which Takes must have taken, and returns the answer as soon
// as its header is there. As with net/http, the body has to be read to its end
// for the connection to be used again, and to be closed. inform, if not nil, is
// called with every interim answer (1xx); its error ends the exchange.
//
// A connection that the server has closed, or on which it has said something
// unasked, is not used. If one breaks all the same before a byte of the answer
// is there, a request that only reads (RFC 9110, 9.2.1) is sent again over
// another, as net/http does; so is any of which not a byte was written.
func (t *Transport) RoundTrip(r *http.Request, inform func(status int, header textproto.MIMEHeader) error) (*http.Response, error) {
	if err := check(r); err != nil {
		return nil, err
	}
	ctx := r.Context()
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		c, err := t.take(ctx)
		if err != nil {
			return nil, err
		}
		old := c.used
		resp, sent, err := c.exchange(r, inform)
		if err == nil {
			return resp, nil
		}
		broke := new(unanswered)
		if !old || ctx.Err() != nil || !errors.As(err, &broke) || (sent > 0 && !Safe(r.Method)) {
			return nil, err
		}
	}
}

// Safe reports whether a method only reads (RFC 9110, 9.2.1), so that a request may
// arrive twice, and its answer be thrown away for another.
func Safe(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

// check refuses what would not be a request, or two, on the wire. Request.Write
// checks the rest.
func check(r *http.Request) error {
	if r.Host == "" && r.URL.Host == "" {
		return errors.New("no host in the request")
	}
	for name, values := range r.Header {
		if !httpguts.ValidHeaderFieldName(name) {
			return fmt.Errorf("invalid header field name %q", name)
		}
		for _, value := range values {
			if !httpguts.ValidHeaderFieldValue(value) {
				return fmt.Errorf("invalid value of header field %q", name) // The value may be a secret.
			}
		}
	}
	if r.Method != "" && !httpguts.ValidHeaderFieldName(r.Method) { // Both are tokens.
		return fmt.Errorf("invalid method %q", r.Method)
	}
	return nil
}
