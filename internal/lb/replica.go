package lb

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// state is where a replica stands.
type state uint32

const (
	joining  state = iota // has not passed a check yet
	up                    // passes its checks
	sick                  // passed once, fails now
	draining              // removed: finishes what it has
	drained               // set aside by an operator, and finished
	gone                  // removed, and finished
)

func (s state) String() string {
	return [...]string{"joining", "up", "sick", "draining", "drained", "gone"}[s]
}

// leaving reports whether it takes no new requests, whatever happens.
func (s state) leaving() bool { return s >= draining }

// identity is which process answers at an address, as it says itself.
type identity struct {
	instance, version string
	since             int64 // what was asked before says nothing about it
}

// update returns what is known once seen has been heard too, and whether that
// is another process. A process may say less than it said before.
func (known identity) update(seen identity) (next identity, changed, other bool) {
	next = known
	if seen.instance != "" && seen.instance != known.instance {
		next.instance, changed = seen.instance, true
		other = other || known.instance != ""
	}
	if seen.version != "" && seen.version != known.version {
		next.version, changed = seen.version, true
		other = other || known.version != ""
	}
	return next, changed, other
}

// replica is one address of the pool. It lives from its first sighting until
// its drain ends, across reloads.
type replica struct {
	id      string
	address Address
	host    string
	port    string
	place   uint64 // names pool and address, for policies that hash

	state      atomic.Uint32
	checked    atomic.Bool // a check has come to an end, well or not
	inflight   atomic.Int64
	websockets atomic.Int64
	streams    atomic.Int64  // server-sent events
	slowFrom   atomic.Int64  // when slow start began; 0 when it is over
	share      atomic.Uint64 // float64: its weight among its peers; 0 as good as 1

	record    atomic.Pointer[record]
	identity  atomic.Pointer[identity]
	idleness  atomic.Pointer[idleness] // of the process
	transport atomic.Pointer[carrier]
	checker   atomic.Pointer[http.Transport] // of checks: a connection each
	places    atomic.Pointer[[]netip.AddrPort]
	placed    atomic.Int64 // when its name was resolved last

	dials   turns // of requests; checks have a connection each, at once
	wires   wires
	lasting lastings

	membership // guarded by Pool.mu
}

// membership is what only the pool looks at, under its lock.
type membership struct {
	sources   []string
	priority  uint16
	before    state // to go back to when it is found again while it drains
	why       string
	since     time.Time
	passes    int // checks in a row
	fails     int
	drainEnds time.Time
	parting   parting // of a drain
	held      bool    // drained by an operator: discovery does not bring it back
	stopCheck context.CancelFunc
	recheck   chan struct{}
	cutOff    int64 // when another process showed last; checks from before say nothing about it
	replaced  bool  // another process has shown, and has not passed its checks yet
}

func newReplica(pool string, address Address) *replica {
	sum := sha256.Sum256([]byte(pool + "\x00" + string(address)))
	r := &replica{id: hex.EncodeToString(sum[:6]), address: address, place: hashed(hashed(fnvStart, pool), string(address))}
	r.host, r.port = address.split()
	r.identity.Store(&identity{})
	r.idleness.Store(new(idleness))
	r.recheck = make(chan struct{}, 1)
	r.dials = make(turns, mostDials)
	if ip, err := netip.ParseAddrPort(string(address)); err == nil {
		r.places.Store(&[]netip.AddrPort{ip})
	}
	return r
}

func (r *replica) is() state { return state(r.state.Load()) }

// unproven reports whether no check of the process there has come to an end.
func (r *replica) unproven() bool { return r.is() == joining && !r.checked.Load() }

// own reports whether edge runs it.
func (r *replica) own() bool { return slices.Contains(r.sources, "process") }

// idle reports whether nothing of a visitor's is under way.
func (r *replica) idle() bool {
	return r.inflight.Load() == 0 && r.websockets.Load() == 0 && r.streams.Load() == 0
}

// weight is what its source says it may have of what its peers get, less in
// slow start.
func (r *replica) weight(now int64, window time.Duration) float64 {
	w := r.started(now, window)
	if share := load(&r.share); share > 0 {
		w *= share
	}
	return w
}

// started is the share of slow start: from a tenth to one, in a straight line.
func (r *replica) started(now int64, window time.Duration) float64 {
	from := r.slowFrom.Load()
	if from == 0 {
		return 1
	}
	if now-from >= int64(window) {
		r.slowFrom.CompareAndSwap(from, 0)
		return 1
	}
	return max(0.1, float64(now-from)/float64(window))
}

// cost is what one more request would cost at r now, in milliseconds.
func (r *replica) cost(now int64, median float64, slowStart time.Duration) float64 {
	load1 := float64(r.inflight.Load()+1) + float64(r.websockets.Load()+r.streams.Load())/10
	return r.record.Load().cost(now, median, load1) / r.weight(now, slowStart)
}

var errNotResolved = errors.New("its name is not resolved yet")

// dialer connects to the replica's addresses in turn. It never resolves a
// name: the check loop does, so that a slow resolver cannot hold a request up.
func (r *replica) dialer(timeout time.Duration) func(context.Context) (net.Conn, error) {
	d := net.Dialer{KeepAlive: 15 * time.Second}
	return func(ctx context.Context) (net.Conn, error) {
		places := r.places.Load()
		if places == nil {
			return nil, errNotResolved
		}
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		var errs []error
		for _, place := range *places {
			conn, err := d.DialContext(ctx, "tcp", place.String())
			if err == nil {
				return conn, nil
			}
			errs = append(errs, err)
		}
		return nil, errors.Join(errs...)
	}
}

// wires are the open connections to a replica.
type wires struct {
	mu  sync.Mutex
	set map[*wire]struct{}
}

// wire is a connection that is in its replica's set until it closes. It keeps
// what a TCP connection can do: sendfile, closing one direction.
type wire struct {
	*net.TCPConn
	home  *wires
	heard time.Time           // when the last bytes came, for the reader only
	quiet func(time.Duration) // called with the silence before the replica closed it
}

func (w *wires) add(conn *net.TCPConn, quiet func(time.Duration)) *wire {
	c := &wire{TCPConn: conn, home: w, quiet: quiet}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.set == nil {
		w.set = make(map[*wire]struct{})
	}
	w.set[c] = struct{}{}
	return c
}

func (c *wire) Close() error {
	c.home.mu.Lock()
	delete(c.home.set, c)
	c.home.mu.Unlock()
	return c.TCPConn.Close()
}

// closeAll closes every connection, whatever it is doing.
func (w *wires) closeAll() {
	w.mu.Lock()
	all := make([]*wire, 0, len(w.set))
	for c := range w.set {
		all = append(all, c)
	}
	w.mu.Unlock()
	for _, c := range all {
		_ = c.Close() // It is being abandoned.
	}
}
