package lb

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A request that is written to a connection which the replica is about to close
// is lost, and nobody knows whether it was done. The only cure is to close idle
// connections first (RFC 9112, 9.3). How long a replica keeps them it says in
// Keep-Alive, or shows by closing some.

const (
	// idleMargin is how much earlier than the replica an idle connection is
	// closed, and at most half of its time.
	idleMargin = time.Second

	// shortestIdle is the least silence that tells something: after less a
	// replica closes because the answer says so, not because nothing comes.
	shortestIdle = 10 * time.Millisecond

	// closesAlike is how many connections must have been closed after the same
	// silence, a tenth more or less, to be no accident. A process that ends closes
	// connections too.
	closesAlike = 3
)

// idleness is how long a process leaves idle connections open.
type idleness struct {
	told  atomic.Int64 // as its Keep-Alive fields say; 0 when they do not
	shown atomic.Int64 // as it was seen to do; 0 when it was not
	word  atomic.Pointer[string]

	mu    sync.Mutex
	first time.Duration
	alike int
}

// limit is how long a connection may be idle, at most the configured time.
func (i *idleness) limit(configured time.Duration) time.Duration {
	for _, known := range []int64{i.told.Load(), i.shown.Load()} {
		if known > 0 {
			open := time.Duration(known)
			configured = min(configured, open-min(open/2, idleMargin))
		}
	}
	return configured
}

// hear takes note of the Keep-Alive field of an answer. It reports whether that
// is news.
func (i *idleness) hear(field string) bool {
	if last := i.word.Load(); last != nil && *last == field {
		return false
	}
	i.word.Store(&field)
	open := keepAlive(field)
	return i.told.Swap(int64(open)) != int64(open)
}

// keepAlive is the time-out that a Keep-Alive field names, such as
// "timeout=5, max=100" (RFC 2068, 19.7.1.1); 0 when it names none.
func keepAlive(field string) time.Duration {
	for part := range strings.SplitSeq(field, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if !strings.EqualFold(name, "timeout") {
			continue
		}
		seconds, err := strconv.ParseUint(strings.TrimSpace(value), 10, 16)
		if err == nil {
			return max(time.Duration(seconds)*time.Second, shortestIdle)
		}
	}
	return 0
}

// see takes note of a connection that the replica closed after a silence. It
// reports whether that is news.
func (i *idleness) see(silence time.Duration) bool {
	if silence < shortestIdle {
		return false
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.alike == 0 || max(silence, i.first)-min(silence, i.first) > i.first/10+shortestIdle/2 {
		i.first, i.alike = silence, 0
	}
	if i.alike++; i.alike < closesAlike {
		return false
	}
	known := i.shown.Load()
	if known != 0 && int64(i.first) >= known {
		return false
	}
	i.shown.Store(int64(i.first))
	return true
}

// Read tells the silence of the peer from its end.
func (c *wire) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	now := time.Now()
	switch {
	case n > 0:
		c.heard = now
	case err == io.EOF && !c.heard.IsZero():
		c.quiet(now.Sub(c.heard))
	}
	return n, err
}

// hearIdle notes what an answer says about idle connections.
func (p *Pool) hearIdle(r *replica, header http.Header) {
	if field := header["Keep-Alive"]; len(field) > 0 && r.idleness.Load().hear(field[0]) {
		p.wakeKeeper()
	}
}

// attendIdleLocked gives r a transport that closes idle connections in time,
// when it is known that the present one does not. Requests under way finish over
// the old one.
func (p *Pool) attendIdleLocked(r *replica) {
	wanted := r.idleness.Load().limit(p.settings.Transport.IdleTimeout.D())
	now := r.transport.Load()
	if r.is().leaving() || now.IdleConnTimeout == wanted {
		return
	}
	r.transport.Store(newCarrier(r, p.settings, p.wakeKeeper))
	now.CloseIdleConnections() // Those in use close when they fall idle.
}
