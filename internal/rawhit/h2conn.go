package rawhit

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
)

// h2conn is a connection of HTTP/2 as the standard server sees it. It stands
// between the server and TLS, and answers streams that the server never hears
// of. Why so, and not a server of our own: the standard one keeps every limit,
// state and time-out of the protocol for whatever it is handed, and this one
// has neither streams that are open nor windows that fill up, for it answers
// only what it can write at once and as a whole:
//
//   - A stream is answered if its header came in one frame that ends both the
//     header and the stream, and is one that was learned. All else is passed on.
//   - Header blocks cannot be passed on as they are, since their meaning depends
//     on those that were answered here. So all are decoded, and encoded again
//     for the server, frame by frame. What has a mistake is passed on with one
//     of the same kind, so that the server finds it.
//   - Answers use nothing of the table that the server's encoder and the client
//     share. Without the table's full size they could need an announcement that
//     is the server's: then nothing is answered.
//   - The window of the connection is shared out: of what the client grants
//     beyond the first 64 KiB, up to half is kept from the server, and only that
//     is used here. An answer that does not fit into it, or into the window of a
//     new stream, is the server's.
//   - What the client's settings say counts when the server has acknowledged
//     them all.
//   - The server must hear of streams now and then, or it takes the connection
//     for idle.
//
// Read is called by one goroutine of the server's, Write by others, one at a
// time.
type h2conn struct {
	net.Conn // of TLS
	table    *Table
	tls      *tls.ConnectionState
	in       incoming

	trust atomic.Int32 // of the client, once an answer has told

	// mu orders what is written. A batch of answers holds it from the first
	// to when they are written.
	mu sync.Mutex

	out   outgoing
	watch *watched // the stream that may be learned from

	state   atomic.Int32
	closing atomic.Bool
}

// What is known of a client.
const (
	unknown int32 = iota
	visitor
	trustedProxy
)

// watched is a stream that the server answers.
type watched struct {
	id      uint32
	key     []byte // without what is known of the connection
	capture *capture
}

// streamField names the request field in which a stream's number goes through
// the server. Nobody outside of this process can know it, and no handler sees
// it.
var streamField = http.CanonicalHeaderKey("edge-stream-" + NewID())

var streamFieldLower = lower(streamField)

// chosenMark goes after the number of a stream that was picked: see [Chosen].
const chosenMark = "+"

// preface is what a client of HTTP/2 sends first (RFC 9113, 3.4).
const preface = http2.ClientPreface

// prefaceTimeout is net/http's.
const prefaceTimeout = 10 * time.Second

// The names under which net/http keeps the servers of HTTP/2.
const (
	secureProtocol = "h2"
	plainProtocol  = "unencrypted_http2"
)

// interpose puts h2conns between a server and its HTTP/2 connections. It is
// called before the first of them is served.
func (t *Table) interpose(server *http.Server) {
	direct, plain := server.TLSNextProto[secureProtocol], server.TLSNextProto[plainProtocol]
	if direct == nil || plain == nil {
		return
	}
	server.TLSNextProto[secureProtocol] = func(server *http.Server, tc *tls.Conn, h http.Handler) {
		state := tc.ConnectionState()
		if len(state.PeerCertificates) > 0 || len(state.ServerName) > maxServerName || t.draining.Load() {
			direct(server, tc, h)
			return
		}
		if !sawPreface(tc) {
			return // and net/http closes the connection
		}
		c := newH2conn(t, tc, &state, server.MaxHeaderBytes)
		plain(server, tls.Client(handedOver{c}, nil), h2handler{h, c})
		// net/http closes the connection when this returns.
		c.mu.Lock()
		defer c.mu.Unlock()
		c.out.over = true
	}
}

// handedOver is how net/http gives a connection that is not a *tls.Conn to its
// server of HTTP/2.
type handedOver struct{ *h2conn }

// UnencryptedNetConn is what the server looks for.
func (h handedOver) UnencryptedNetConn() net.Conn { return h.h2conn }

func sawPreface(nc net.Conn) bool {
	// A connection on which a deadline cannot be set is broken, which reading
	// tells.
	_ = nc.SetReadDeadline(time.Now().Add(prefaceTimeout))
	var got [len(preface)]byte
	if _, err := io.ReadFull(nc, got[:]); err != nil || string(got[:]) != preface {
		return false
	}
	_ = nc.SetReadDeadline(time.Time{})
	return true
}

func newH2conn(t *Table, tc net.Conn, state *tls.ConnectionState, maxHeader int) *h2conn {
	if maxHeader <= 0 {
		maxHeader = http.DefaultMaxHeaderBytes
	}
	c := &h2conn{Conn: tc, table: t, tls: state}
	c.in.init(maxHeader + 320) // as the server counts
	c.out.init()
	return c
}

// ConnectionState is what the server asks for.
func (c *h2conn) ConnectionState() tls.ConnectionState { return *c.tls }

// Close lets a batch end that is being written.
func (c *h2conn) Close() error {
	c.closing.Store(true)
	for {
		switch now := c.state.Load(); {
		case now == replying:
			return nil // flush closes it
		case now == closed, c.state.CompareAndSwap(now, closed):
			return c.Conn.Close()
		}
	}
}

// Write is what the server writes.
func (c *h2conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.see(p)
	return c.Conn.Write(p)
}

// h2handler has the chain of handlers know the stream.
type h2handler struct {
	http.Handler
	c *h2conn
}

// BaseContext is net/http's for requests of the connection.
func (h h2handler) BaseContext() context.Context {
	if own, ok := h.Handler.(interface{ BaseContext() context.Context }); ok {
		return own.BaseContext()
	}
	return context.Background()
}

func (h h2handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if number, ok := r.Header[streamField]; ok {
		delete(r.Header, streamField)
		text, chosen := strings.CutSuffix(number[0], chosenMark)
		if id, err := strconv.ParseUint(text, 10, 31); err == nil {
			r = r.WithContext(context.WithValue(r.Context(), connKey{}, &stream{h.c, uint32(id), chosen}))
		}
	}
	h.Handler.ServeHTTP(w, r)
}

// stream is one that is watched, as handlers know it.
type stream struct {
	c      *h2conn
	id     uint32
	chosen bool // it was picked from among those that are answered here
}

func (s *stream) learn(r *http.Request, hit func() (Hit, bool)) {
	if r.ProtoMajor != 2 || r.TLS == nil || !repeatable(r) || s.c.table.draining.Load() {
		return
	}
	h, ok := hit()
	if !ok {
		return
	}
	s.c.learn(s.id, &h)
}

func (c *h2conn) learn(id uint32, h *Hit) {
	trust := visitor
	if h.Trusted {
		trust = trustedProxy
	}
	c.trust.CompareAndSwap(unknown, trust)
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.watch
	if w == nil || w.id != id || c.trust.Load() != trust || size(h.Body) > maxBody || c.table.fields.variesBy(h.Varies) {
		return
	}
	key := append(c.prefix(nil), w.key...)
	if c.table.wants(key) {
		w.capture = newCapture(key, *h)
		w.capture.frames = true
	}
}

// prefix begins a key. Those of HTTP/1.1 begin in another way.
func (c *h2conn) prefix(key []byte) []byte {
	name := c.tls.ServerName
	return append(append(key, '2', byte(c.trust.Load()), byte(len(name))), name...)
}
