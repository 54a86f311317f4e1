package caddymodule

import (
	"context"
	"errors"
	"maps"
	"net"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/edgegw/edge/internal/idleconn"
)

// Listener is the listener wrapper edge. With it a reload refuses no
// connection. Caddy opens a socket for each configuration and closes the old
// one, and the kernel resets what waits in the old one's queue. This wrapper
// has the kernel send all connections to the first socket of an address, which
// stays open, and hands each to the newest configuration. Those that a replaced
// configuration has, and that wait for a request without TLS, are handed to it as
// well: Caddy would close them, and lose a request that arrives in that moment.
//
//	servers {
//	    listener_wrappers {
//	        edge
//	        tls
//	    }
//	}
//
// Besides, the kernel ends a connection on which nothing that the server sends is
// taken for as long as the server's timeouts idle and write_idle, the longer of them:
// over HTTP/2 Go's server would wait for such a client for ever.
//
// It works on Linux, on TCP; elsewhere it changes nothing.
type Listener struct {
	server *caddyhttp.Server // nil for one that is not of HTTP
	begin  *beginning
}

// CaddyModule returns the Caddy module information.
func (Listener) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.listeners.edge", New: func() caddy.Module { return new(Listener) }}
}

// Provision remembers the server, whose timeouts get their defaults later, and asks to
// be told when all of the configuration has started.
func (l *Listener) Provision(ctx caddy.Context) (err error) {
	l.server, _ = ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if l.server != nil {
		l.server.RegisterConnState(followConn)
	}
	l.begin, err = newBeginning(ctx, l.server)
	return err
}

// UnmarshalCaddyfile reads the word edge, which takes nothing.
func (*Listener) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if d.NextArg() {
		return d.Errf("edge: spare argument %q: the listener wrapper takes none", d.Val())
	}
	return noBlock(d, "edge")
}

// WrapListener takes the listener of a configuration that starts.
func (l *Listener) WrapListener(listener net.Listener) net.Listener {
	tcp := tcpListener(listener)
	if tcp == nil {
		return listener
	}
	return l.keep(listener, tcp)
}

// idle is how long a connection may wait for a request; 0 for ever.
func (l *Listener) idle() time.Duration {
	if l.server == nil {
		return 0
	}
	return max(0, time.Duration(l.server.IdleTimeout))
}

// patience is how long what the server sends may wait for a client to take it; 0 for ever.
func (l *Listener) patience() time.Duration {
	if l.server == nil || l.server.IdleTimeout < 0 || l.server.WriteIdleTimeout < 0 {
		return 0
	}
	return time.Duration(max(l.server.IdleTimeout, l.server.WriteIdleTimeout))
}

// tcpListener finds the socket beneath Caddy's wrappers; nil when there is
// none that we know.
func tcpListener(l net.Listener) *net.TCPListener {
	for range 4 {
		if tcp, ok := l.(*net.TCPListener); ok {
			return tcp
		}
		v := reflect.Indirect(reflect.ValueOf(l))
		if v.Kind() != reflect.Struct {
			return nil
		}
		field := v.FieldByName("Listener")
		if !field.IsValid() || !field.CanInterface() {
			return nil
		}
		inner, ok := field.Interface().(net.Listener)
		if !ok {
			return nil
		}
		l = inner
	}
	return nil
}

// sockets are the addresses that are kept open, by address.
var sockets = struct {
	sync.Mutex

	open map[string]*socket
}{open: make(map[string]*socket)}

// socket is an address that configurations share. Its goroutine accepts until
// the last configuration closes it.
type socket struct {
	address string
	active  net.Listener // the kernel sends every connection here
	tcp     *net.TCPListener
	leaving atomic.Bool    // what waits is taken, and then no more
	spares  []net.Listener // of later configurations; nothing arrives there
	faces   []*face        // of the configurations that listen, the newest last
	begin   *beginning     // of the configuration that opened it
	closing chan struct{}  // closed when the last configuration has closed it
	done    chan struct{}  // closed when the goroutine has ended
}

// face is the address as one configuration sees it.
type face struct {
	s      *socket
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	group  idleconn.Group
	// accepted is when the last connection was handed out.
	accepted atomic.Pointer[time.Time]
}

// lastCall takes in the connections that wait at the sockets, closes them, so
// that later ones are refused, or wait where systemd holds the socket, and gives
// what was taken in its time. After it Caddy may shut its servers down.
func lastCall(ctx context.Context) {
	faces := everyFace()
	for _, s := range acceptUntil(time.Now().Add(lastAccept)) {
		_ = s.active.Close() // As whoever closes the last face will find.
	}
	awaitFirstRequests(ctx, faces)
	awaitHeaders(ctx, faces)
}

// stopAccepting leaves what arrives to the successor, who has the same sockets.
func stopAccepting() { acceptUntil(time.Unix(1, 0)) }

// acceptUntil ends the accepting at that moment, and gives the sockets when it has
// ended.
func acceptUntil(end time.Time) []*socket {
	sockets.Lock()
	all := slices.Collect(maps.Values(sockets.open))
	sockets.Unlock()
	for _, s := range all {
		s.leaving.Store(true)
		_ = s.tcp.SetDeadline(end) // closed already: so much the better
	}
	for _, s := range all {
		<-s.done
	}
	return all
}

// everyFace is all that this process has, replaced configurations' too.
func everyFace() (all []*face) {
	sockets.Lock()
	defer sockets.Unlock()
	for _, s := range sockets.open {
		all = append(all, s.faces...)
	}
	return all
}

// lastAccept is how long connections are taken in that wait.
const lastAccept = 20 * time.Millisecond

// subscribe asks for the events; Caddy permits it during provisioning only.
func (a *App) subscribe(ctx caddy.Context) error {
	app, err := ctx.App("events")
	if err != nil {
		return err
	}
	events := app.(*caddyevents.App)
	return errors.Join(events.On("started", giveWay{}), events.On("started", succeed{a}), events.On("stopping", farewell{a}))
}

// keep makes l a face of its address: of the socket that is open already, or
// of it itself, if it is the first. Later connections have the patience of the latest.
func (l *Listener) keep(listener net.Listener, tcp *net.TCPListener) net.Listener {
	sockets.Lock()
	defer sockets.Unlock()
	address := listener.Addr().String()
	s := sockets.open[address]
	if s == nil {
		s = &socket{address: address, active: listener, tcp: tcp, begin: l.begin, closing: make(chan struct{}), done: make(chan struct{})}
		if inherited := inheritedSocket(address); inherited != nil && !unshared(tcp) {
			// The first socket is the predecessor's, and ours too.
			s.active, s.tcp, s.spares = inherited, inherited, []net.Listener{listener}
		} else if err := steerToFirst(tcp); err != nil && !unshared(tcp) {
			// One that systemd holds for us is alone: its copies share what waits.
			return listener
		}
		sockets.open[address] = s
		go s.accept()
	} else {
		s.spares = append(s.spares, listener)
	}
	if err := endStalled(s.tcp, l.patience()); err != nil {
		logger().Warn("clients that take nothing are not ended over HTTP/2", zap.String("address", address), zap.Error(err))
	}
	f := &face{s: s, conns: make(chan net.Conn), closed: make(chan struct{}), group: idleconn.Group{Idle: l.idle()}}
	s.faces = append(s.faces, f)
	return f
}

// accept hands every connection to the newest face that is open.
func (s *socket) accept() {
	defer close(s.done)
	for _, first := range []<-chan struct{}{s.begin.started, inCharge()} {
		select {
		case <-first:
		case <-s.closing:
			return
		}
	}
	s.begin.awaitCertificates(s.closing)
	for pause := time.Duration(0); ; {
		conn, err := s.active.Accept()
		if errors.Is(err, net.ErrClosed) || err != nil && s.leaving.Load() {
			return
		}
		if err != nil { // too many open files, say: try again, less and less often
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			<-time.After(pause)
			continue
		}
		pause = 0
		s.hand(conn)
	}
}

func (s *socket) hand(conn net.Conn) {
	for {
		f := s.newest()
		if f == nil {
			_ = conn.Close() // nobody is left to be told
			return
		}
		select {
		case f.conns <- conn:
			return
		case <-f.closed:
		}
	}
}

func (s *socket) newest() *face {
	sockets.Lock()
	defer sockets.Unlock()
	if len(s.faces) == 0 {
		return nil
	}
	return s.faces[len(s.faces)-1]
}

// Accept waits for the next connection.
func (f *face) Accept() (net.Conn, error) {
	select {
	case conn := <-f.conns:
		now := time.Now()
		f.accepted.Store(&now)
		return f.group.Add(conn), nil
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

// Addr is the address.
func (f *face) Addr() net.Addr { return f.s.active.Addr() }

// Close ends the face. A socket that nothing arrives at is closed in its stead,
// so that Caddy's count of users stays right; the last face closes the one that
// was kept.
func (f *face) Close() error {
	err := net.ErrClosed
	f.once.Do(func() { err = f.s.drop(f) })
	return err
}

func (s *socket) drop(f *face) error {
	sockets.Lock()
	close(f.closed)
	for i, other := range s.faces {
		if other == f {
			s.faces = append(s.faces[:i:i], s.faces[i+1:]...)
			break
		}
	}
	if len(s.faces) > 0 {
		last := len(s.spares) - 1
		spare := s.spares[last]
		s.spares = s.spares[:last]
		sockets.Unlock()
		return spare.Close()
	}
	delete(sockets.open, s.address)
	sockets.Unlock()
	close(s.closing)
	var errs []error
	for _, spare := range s.spares { // one, if the first socket was inherited
		errs = append(errs, spare.Close())
	}
	err := s.active.Close()
	<-s.done
	if s.leaving.Load() {
		err = nil // It is closed already.
	}
	return errors.Join(append(errs, err)...)
}

var (
	_ caddy.Provisioner     = (*Listener)(nil)
	_ caddy.ListenerWrapper = (*Listener)(nil)
	_ caddyfile.Unmarshaler = (*Listener)(nil)
)
