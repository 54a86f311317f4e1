package rawhit

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/edgegw/edge/internal/idleconn"
)

// listener hands out connections that answer what the table knows.
//
// net/http takes HTTP/2 only on a *tls.Conn, and HTTP/1.1 can be answered here
// only on a connection of our own: which of the two a client wants is known
// when its handshake is over. So handshakes are made before Accept returns,
// each on a goroutine of its own, as net/http makes them, and with its
// deadline. One that fails is handed out as it is: net/http then finds the same
// error, and does with it what it always does.
type listener struct {
	net.Listener
	table *Table

	// secure: connections of TLS arrive, and Accept waits for ready.
	secure atomic.Bool
	once   sync.Once
	ready  chan accepted
	ctx    context.Context // of handshakes: done when the listener is closed
	cancel context.CancelFunc
}

type accepted struct {
	net.Conn
	err error
}

// Listener wraps the one that net/http accepts from. Connections other than
// those of TCP and TLS are left as they are.
func (t *Table) Listener(l net.Listener) net.Listener {
	ctx, cancel := context.WithCancel(context.Background())
	return &listener{Listener: l, table: t, ready: make(chan accepted), ctx: ctx, cancel: cancel}
}

func (l *listener) Accept() (net.Conn, error) {
	if !l.secure.Load() {
		nc, err := l.Listener.Accept()
		tc, ok := nc.(*tls.Conn)
		if err != nil || !ok {
			return l.table.plain(nc), err
		}
		l.begin(tc)
		l.once.Do(func() {
			l.secure.Store(true)
			go l.acceptAll()
		})
	}
	select {
	case next := <-l.ready:
		return next.Conn, next.err
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close ends the handshakes as well. Their goroutines end soon; [Table.Wait]
// waits for them.
func (l *listener) Close() error {
	l.cancel()
	return l.Listener.Close()
}

// acceptAll accepts until the listener is closed.
func (l *listener) acceptAll() {
	for {
		nc, err := l.Listener.Accept()
		if tc, ok := nc.(*tls.Conn); ok && err == nil {
			l.begin(tc)
			continue
		}
		select {
		case l.ready <- accepted{nc, err}: // net/http waits before it asks again
		case <-l.ctx.Done():
			return
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
	}
}

func (l *listener) begin(tc *tls.Conn) {
	l.table.running.Add(1)
	go func() {
		defer l.table.running.Add(-1)
		select {
		case l.ready <- accepted{Conn: l.table.shake(l.ctx, tc)}:
		case <-l.ctx.Done():
			_ = tc.Close() // nobody is there to be told
		}
	}()
}

// shake makes the handshake, and returns the connection for net/http.
func (t *Table) shake(ctx context.Context, tc *tls.Conn) (nc net.Conn) {
	defer func() {
		if reason := recover(); reason != nil {
			nc = &broken{tc, fmt.Sprintf("%v\n%s", reason, debug.Stack())}
		}
	}()
	limit := t.handshake()
	if limit > 0 {
		// If it fails the connection is broken, which the handshake tells.
		_ = tc.SetDeadline(time.Now().Add(limit))
	}
	if tc.HandshakeContext(ctx) != nil {
		return tc // which keeps the error
	}
	if limit > 0 {
		_ = tc.SetDeadline(time.Time{}) // likewise
	}
	return t.secure(tc)
}

// maxServerName is the longest name that a client can ask for (RFC 1035, 3.1).
const maxServerName = 255

// secure makes a connection of HTTP/1.1 our own. What a client with a
// certificate gets may be for it alone.
func (t *Table) secure(tc *tls.Conn) net.Conn {
	state := tc.ConnectionState()
	switch state.NegotiatedProtocol {
	case "", "http/1.1":
	default:
		return tc
	}
	if len(state.PeerCertificates) > 0 || len(state.ServerName) > maxServerName {
		return tc
	}
	return &secureConn{conn{Conn: tc, table: t, tls: &state}}
}

func (t *Table) plain(nc net.Conn) net.Conn {
	switch own := nc.(type) {
	case *net.TCPConn:
		return &plainConn{conn{Conn: nc, table: t}}
	case *idleconn.Conn:
		return &plainConn{conn{Conn: nc, moves: own, table: t}}
	default:
		return nc
	}
}

// plainConn is one without TLS.
type plainConn struct{ conn }

func (c *plainConn) hits() *conn { return &c.conn }

// wire is where the kernel takes what is in several pieces.
func (c *conn) wire() net.Conn {
	if c.moves != nil {
		return c.moves.TCPConn
	}
	return c.Conn
}

func (c *plainConn) tcp() *net.TCPConn { return c.wire().(*net.TCPConn) }

// ReadFrom lets net/http hand files to the kernel.
func (c *plainConn) ReadFrom(r io.Reader) (int64, error) {
	c.capture = nil // these bytes are not seen
	return c.tcp().ReadFrom(r)
}

// CloseWrite ends one direction.
func (c *plainConn) CloseWrite() error { return c.tcp().CloseWrite() }

// SyscallConn gives access to the socket.
func (c *plainConn) SyscallConn() (syscall.RawConn, error) { return c.tcp().SyscallConn() }

// secureConn is one with TLS.
type secureConn struct{ conn }

func (c *secureConn) hits() *conn { return &c.conn }

// ConnectionState is what net/http and Caddy ask for.
func (c *secureConn) ConnectionState() tls.ConnectionState { return *c.tls }

// CloseWrite ends one direction.
func (c *secureConn) CloseWrite() error { return c.Conn.(*tls.Conn).CloseWrite() }

// broken is a connection in whose handshake something panicked: it panics
// again where net/http logs that.
type broken struct {
	*tls.Conn
	reason string
}

func (b *broken) Read([]byte) (int, error) { panic(b.reason) }
