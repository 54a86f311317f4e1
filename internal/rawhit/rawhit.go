// Package rawhit answers requests that the full chain of handlers has answered
// from the cache before, where they come in: on the connection, before net/http
// has read them. It is for HTTP/1.1, with TLS and without, and for HTTP/2 over
// TLS; how that goes is told at [h2conn].
//
// It holds no answers and decides nothing about them: a [Hit] names one, and
// says each time whether it still may be given. A request is compared byte by
// byte with one that net/http has parsed and the chain has answered, less
// well-formed fields that the answer cannot depend on; what differs in any
// other way goes to net/http, as it came.
//
// Whoever listens wraps the listener with [Table.Listener] and has net/http
// call [Table.ConnContext] and [Table.ConnState]. The handler that answers from
// a cache calls [Learn] before it writes.
package rawhit

import (
	"context"
	"encoding/hex"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"time"
)

// Answer is a stored answer.
type Answer interface {
	// Begin reports whether the answer still is the one for the request that
	// it was learned from, whole and fresh, and its age. If so, the reply
	// counts as an exchange in flight until that ends.
	Begin(now time.Time) (Reply, bool)
}

// Reply is one use of an Answer.
type Reply struct {
	// Age of the answer and time to live that are left, in whole seconds.
	Age, TTL int64
	// Body in pieces; nobody changes their bytes.
	Body [][]byte
	// Exchange ends when the reply has been written.
	Exchange interface{ End() }
}

// Hit is what the chain says about an answer that it is about to write.
type Hit struct {
	// Answer, and how it goes out now.
	Answer   Answer
	Age, TTL int64
	Body     [][]byte
	// Date is the answer's field of that name.
	Date string
	// Trusted: the client is a proxy whose word counts.
	Trusted bool
	// Varies reports that the choice of an answer depends on a request field.
	Varies func(name string) bool
	// Count is told of each reply that this package writes, just before, and of
	// the time since its request was read.
	Count func(took time.Duration)
	// Log is given a record of each reply, one after another; nil if nobody
	// keeps any.
	Log func(Record)
	// Keep reports whether Log is given the record of a reply that went well and
	// took this long; nil for all.
	Keep func(now time.Time, took time.Duration) bool
}

// Supported reports that this build's net/http reads connections in the way
// that this package relies on: see [conn.Read]. It was checked for Go 1.26.
func Supported() bool { return supports(runtime.Version()) }

func supports(version string) bool {
	rest, ok := strings.CutPrefix(version, "go1.26")
	return ok && (rest == "" || rest[0] < '0' || rest[0] > '9')
}

type connKey struct{}

// ConnContext makes the connection known to the handlers of its requests.
func (t *Table) ConnContext(ctx context.Context, nc net.Conn) context.Context {
	// At the first connection, whatever it speaks: once one is served, net/http
	// reads what this writes.
	if server, ok := ctx.Value(http.ServerContextKey).(*http.Server); ok && t.frames {
		t.once.Do(func() { t.interpose(server) })
	}
	if c := t.connOf(nc); c != nil {
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

// connOf finds the table's own connection in what net/http has; nil if it is
// another.
func (t *Table) connOf(nc net.Conn) *conn {
	if t.unwrap != nil {
		nc = t.unwrap(nc)
	}
	own, ok := nc.(interface{ hits() *conn })
	if !ok || own.hits().table != t {
		return nil
	}
	return own.hits()
}

// Beneath is the connection that one of a table's was made of; nil for others.
func Beneath(nc net.Conn) net.Conn {
	switch own := nc.(type) {
	case interface{ hits() *conn }:
		return own.hits().Conn
	case *h2conn:
		return own.Conn
	default:
		return nil
	}
}

// ConnState follows what net/http does with a connection.
func (t *Table) ConnState(nc net.Conn, state http.ConnState) {
	if state != http.StateIdle && state != http.StateHijacked {
		return
	}
	c := t.connOf(nc)
	if c == nil {
		return
	}
	switch state {
	case http.StateIdle:
		c.becomesIdle()
	case http.StateHijacked:
		c.off = true
	}
}

// Learn has the connection of a request watch how net/http writes the answer,
// and give the same answer to the same request from then on. It is called on
// the goroutine that serves the request, before the header is written. hit is
// called only if there is something to learn.
func Learn(r *http.Request, hit func() (Hit, bool)) {
	if r.Method != http.MethodGet {
		return
	}
	switch c := r.Context().Value(connKey{}).(type) {
	case *conn:
		if r.ProtoMajor == 1 && r.ProtoMinor == 1 && !c.off && (r.TLS != nil) == (c.tls != nil) && !c.table.draining.Load() {
			c.learn(r, hit)
		}
	case *stream:
		c.learn(r, hit)
	}
}

// Chosen reports, once, that the request was picked from among those that would
// have been answered on the connection. It is called on the goroutine that serves
// the request.
func Chosen(r *http.Request) bool {
	var chosen *bool
	switch c := r.Context().Value(connKey{}).(type) {
	case *conn:
		chosen = &c.chosen
	case *stream:
		chosen = &c.chosen
	default:
		return false
	}
	was := *chosen
	*chosen = false
	return was
}

// requestIDSize is the length of the ids that [NewID] makes.
const requestIDSize = 32

// NewID makes an id for a request.
func NewID() string {
	var text [requestIDSize]byte
	putID(text[:])
	return string(text[:])
}

func putID(to []byte) {
	var raw [requestIDSize / 2]byte
	high, low := rand.Uint64(), rand.Uint64()
	for i := range 8 {
		raw[i], raw[8+i] = byte(high>>(8*i)), byte(low>>(8*i))
	}
	hex.Encode(to, raw[:])
}
