package transport

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"sync"
	"syscall"
	"time"
)

// conn is a connection to the server. The Transport's lock guards it while it is
// idle; after that it belongs to one exchange.
type conn struct {
	home *Transport
	net.Conn
	standing func() standing // of the idle connection

	used  bool      // an exchange has ended well on it
	since time.Time // when it fell idle
	seen  time.Time // when it was last seen to be open while idle
	sent  int       // bytes of this exchange's request
	broke error     // why not more of them were
	left  int64     // bytes that may still be read
	late  bool      // the last Read ended for want of time

	reader *bufio.Reader // during an exchange
}

const (
	bufferSize = 4 << 10 // as in net/http

	// maxHeader is how many bytes interim and final headers may have, as in
	// net/http.
	maxHeader = 10 << 20
)

var (
	readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, bufferSize) }}
	writers = sync.Pool{New: func() any { return bufio.NewWriterSize(nil, bufferSize) }}
)

var errHeaderTooLarge = fmt.Errorf("the answer's header has more than %d bytes", maxHeader)

// unanswered is the error of an exchange whose connection broke before a byte of
// the answer was there.
type unanswered struct{ err error }

func (e *unanswered) Error() string {
	return "the connection broke before the answer: " + e.err.Error()
}
func (e *unanswered) Unwrap() error { return e.err }

// lateError is that of an answer whose header did not come within the limit. It
// is a net.Error.
type lateError struct{}

func (lateError) Error() string   { return "no answer within the time for its header" }
func (lateError) Timeout() bool   { return true }
func (lateError) Temporary() bool { return true }

func newConn(t *Transport, made net.Conn) (*conn, error) {
	c := &conn{home: t, Conn: made}
	socket, ok := made.(syscall.Conn)
	if !ok {
		_ = made.Close()
		return nil, &DialError{fmt.Errorf("%T is no TCP connection", made)}
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		_ = made.Close()
		return nil, &DialError{err}
	}
	c.standing = lookAt(raw)
	return c, nil
}

// alive reports whether the idle connection may be used at now. If the server
// has closed it, that tells something about how long it leaves them open.
func (c *conn) alive(now time.Time) bool {
	if limit := c.home.o.IdleTimeout; limit > 0 && now.Sub(c.since) >= limit {
		return false
	}
	switch c.standing() {
	case open:
		c.seen = now
		return true
	case ended:
		if c.home.o.Quiet != nil {
			c.home.o.Quiet(c.seen.Sub(c.since))
		}
	}
	return false
}

func (c *conn) close() { _ = c.Conn.Close() } // Nothing more is wanted of it.

// Write counts what was sent.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.sent += n
	c.broke = err
	return n, err
}

// Read ends where a header has become too large.
func (c *conn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errHeaderTooLarge
	}
	if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.Conn.Read(p)
	c.left -= int64(n)
	c.late = errors.Is(err, os.ErrDeadlineExceeded)
	return n, err
}

// exchange sends r and reads the header of the answer. With an error, sent is how
// many bytes of r were written. The connection closes unless the answer is read to its end.
func (c *conn) exchange(r *http.Request, inform func(int, textproto.MIMEHeader) error) (_ *http.Response, sent int, _ error) {
	ctx := r.Context()
	// Closing ends a read and a write, whoever is in them.
	unwatch := context.AfterFunc(ctx, c.close)
	resp, err := c.ask(r, inform)
	if err == nil {
		c.answer(r, resp, unwatch)
		return resp, 0, nil // The connection may be another's by now.
	}
	sent = c.sent
	// A request that was none leaves the connection as it was.
	c.end(unwatch() && sent == 0 && c.broke == nil)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return nil, sent, err
}

// ask writes the request and reads headers until the final one is there.
func (c *conn) ask(r *http.Request, inform func(int, textproto.MIMEHeader) error) (*http.Response, error) {
	c.sent, c.broke = 0, nil
	w := writers.Get().(*bufio.Writer)
	w.Reset(c)
	err := r.Write(w)
	if err == nil {
		err = w.Flush()
	}
	w.Reset(nil)
	writers.Put(w)
	if c.broke != nil {
		return nil, &unanswered{c.broke}
	}
	if err != nil {
		return nil, err // It is no request.
	}

	limit := c.home.o.HeaderTimeout
	if limit > 0 {
		_ = c.SetReadDeadline(time.Now().Add(limit)) // It fails where the read does.
	}
	c.reader = readers.Get().(*bufio.Reader)
	c.reader.Reset(c)
	c.left = maxHeader
	if _, err := c.reader.Peek(1); err != nil {
		if c.late {
			return nil, lateError{}
		}
		return nil, &unanswered{err}
	}
	resp, err := c.readHeaders(r, inform)
	if err != nil {
		if c.late {
			err = lateError{}
		}
		return nil, err
	}
	if limit > 0 {
		_ = c.SetReadDeadline(time.Time{})
	}
	return resp, nil
}

func (c *conn) readHeaders(r *http.Request, inform func(int, textproto.MIMEHeader) error) (*http.Response, error) {
	for {
		resp, err := http.ReadResponse(c.reader, r)
		if err != nil {
			if c.left <= 0 {
				err = errHeaderTooLarge
			}
			return nil, err
		}
		if interim := resp.StatusCode >= 100 && resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols; !interim {
			return resp, nil
		}
		if inform == nil {
			continue // All headers together have the limit.
		}
		if err := inform(resp.StatusCode, textproto.MIMEHeader(resp.Header)); err != nil {
			return nil, err
		}
		c.left = maxHeader
	}
}

// answer gives the response the body that puts the connection back.
func (c *conn) answer(r *http.Request, resp *http.Response, unwatch func() bool) {
	c.left = 1<<63 - 1 // Bodies have no limit.
	keep := !resp.Close && !r.Close && resp.StatusCode >= 200
	switch {
	case resp.StatusCode == http.StatusSwitchingProtocols:
		resp.Body = &body{conn: c, ctx: r.Context(), src: http.NoBody, unwatch: unwatch}
	case r.Method == http.MethodHead || resp.ContentLength == 0:
		c.end(unwatch() && keep)
	default:
		resp.Body = &body{conn: c, ctx: r.Context(), src: resp.Body, unwatch: unwatch, keep: keep}
	}
}

// end is called once by the exchange that has the connection.
func (c *conn) end(well bool) {
	if c.reader != nil {
		well = well && c.reader.Buffered() == 0 // What comes unasked is no answer to the next request.
		c.reader.Reset(nil)
		readers.Put(c.reader)
		c.reader = nil
	}
	if well {
		c.home.put(c)
		return
	}
	c.close()
}
