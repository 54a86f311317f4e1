package lb

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// errParted ends the reading of a connection that was asked to end, and that the
// client has been told of.
var errParted = errors.New("the connection was ended by the gateway")

// upgrading is out with the connection that it goes over remembered, if it asks
// for another protocol: it can be woken while it is read.
func (x *exchange) upgrading(out *http.Request) *http.Request {
	if out.Header["Upgrade"] == nil {
		return out
	}
	return out.WithContext(httptrace.WithClientTrace(out.Context(), &httptrace.ClientTrace{
		GotConn: func(got httptrace.GotConnInfo) { x.conn = got.Conn },
	}))
}

// upgrade hands the connection over. It counts as a WebSocket from now on.
func (x *exchange) upgrade(resp *http.Response) {
	r := x.slot.replica
	both, ok := resp.Body.(io.ReadWriteCloser)
	if !ok {
		x.pool.unclaim(r)
		return
	}
	t := &tunnel{pool: x.pool, replica: r, both: both, over: make(chan struct{})}
	if strings.EqualFold(resp.Header.Get("Upgrade"), "websocket") {
		t.conn = x.conn
	}
	r.websockets.Add(1)
	r.lasting.add(t)
	x.pool.unclaim(r)
	resp.Body = t
}

// tunnel is the body of a 101 answer: both directions of the connection. One
// goroutine reads what the replica sends, another writes to it.
//
// A WebSocket that is asked to end says so to the client between two frames of
// the replica's, waits for the client's Close frame, which passes on to the
// replica, and then ends on both sides (RFC 6455, 7.1.1). Other protocols just
// end.
type tunnel struct {
	pool    *Pool
	replica *replica
	both    io.ReadWriteCloser
	conn    net.Conn // beneath it; nil when it is no WebSocket

	asked   atomic.Bool
	patient atomic.Pointer[time.Timer] // until it is closed without an answer

	// The reader's.
	down   frames
	woken  bool
	saying []byte // the rest of the Close frame
	said   bool   // it has begun

	up      frames // the writer's
	answer  sync.Once
	over    chan struct{} // closed when the client's Close has passed, or everything is over
	closing atomic.Bool
}

// Read passes on what the replica sends, and a Close frame when it is time.
func (t *tunnel) Read(p []byte) (int, error) {
	for {
		if t.asked.Load() && !t.said && t.down.between() {
			t.saying, t.said = serviceRestart, true
		}
		if t.said {
			return t.say(p)
		}
		n, err := t.both.Read(p)
		t.down.pass(p[:n])
		if n > 0 && isTimeout(err) {
			err = nil // It comes again.
		}
		if n > 0 || !t.wakes(err) {
			return n, err
		}
	}
}

// say passes on the Close frame, and waits for the client's.
func (t *tunnel) say(p []byte) (int, error) {
	if len(t.saying) > 0 {
		n := copy(p, t.saying)
		t.saying = t.saying[n:]
		return n, nil
	}
	<-t.over
	return 0, errParted
}

// wakes reports whether err only means that the connection was asked to end.
// In the middle of a frame the reader goes on.
func (t *tunnel) wakes(err error) bool {
	if !isTimeout(err) || t.woken || !t.asked.Load() {
		return false
	}
	t.woken = true
	if t.down.broken {
		return false
	}
	return t.conn.SetReadDeadline(time.Time{}) == nil
}

// Write passes on what the client sends.
func (t *tunnel) Write(p []byte) (int, error) {
	n, err := t.both.Write(p)
	if t.up.pass(p[:n]); t.up.closed {
		t.finished()
	}
	return n, err
}

func (t *tunnel) finished() { t.answer.Do(func() { close(t.over) }) }

// part wakes the reader. Numbered, beside it:
//
//	part:   1 asked, 2 the deadline
//	reader: a sees asked, b reads
//
// 1, a: it says its Close frame, or reads on in the middle of a frame, until 2
// wakes it once for nothing. a, 1, 2, b: 2 wakes it.
func (t *tunnel) part() {
	t.asked.Store(true)
	if t.conn == nil {
		_ = t.Close() // There is no good order known.
		return
	}
	t.patient.Store(time.AfterFunc(answerWithin, func() {
		_ = t.Close() // It has had its time.
	}))
	if t.closing.Load() {
		t.patient.Load().Stop()
	}
	_ = t.conn.SetReadDeadline(time.Unix(1, 0)) // One that is closed needs no waking.
}

// Close ends both directions.
func (t *tunnel) Close() error {
	if t.closing.CompareAndSwap(false, true) {
		if timer := t.patient.Load(); timer != nil {
			timer.Stop()
		}
		t.replica.lasting.remove(t)
		t.pool.give(t.replica, &t.replica.websockets)
	}
	t.finished()
	return t.both.Close()
}

// CloseWrite closes one direction, where the connection can.
func (t *tunnel) CloseWrite() error {
	if half, ok := t.both.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
