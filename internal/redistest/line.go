package redistest

import (
	"net"
	"sync"
)

// Line is somebody's way to a server, which can be cut: then nothing that is
// sent arrives, and nobody is told. It is safe for concurrent use.
type Line struct {
	// Socket is where it begins.
	Socket   string
	listener net.Listener
	to       string
	carried  sync.WaitGroup

	mu    sync.Mutex
	open  chan struct{} // closed while bytes pass
	conns map[net.Conn]bool
	ended bool
}

// NewLine leads from a socket, which it makes, to another. Whoever made it closes
// it.
func NewLine(socket, to string) (*Line, error) {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	l := &Line{Socket: socket, listener: listener, to: to, open: make(chan struct{}), conns: make(map[net.Conn]bool)}
	close(l.open)
	l.carried.Go(l.accept)
	return l, nil
}

// Cut has nothing pass until Mend.
func (l *Line) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = make(chan struct{})
}

// Mend has everything pass, what was held up first.
func (l *Line) Mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.open:
	default:
		close(l.open)
	}
}

// Close ends it, and every connection over it.
func (l *Line) Close() {
	l.Mend()
	_ = l.listener.Close() // nobody comes any more
	l.mu.Lock()
	l.ended = true
	for c := range l.conns {
		_ = c.Close() // likewise
	}
	l.mu.Unlock()
	l.carried.Wait()
}

func (l *Line) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("unix", l.to)
		if err != nil || !l.holds(near, far) {
			_ = near.Close() // as if nobody had listened
			continue
		}
		l.carried.Go(func() { l.carry(near, far) })
		l.carried.Go(func() { l.carry(far, near) })
	}
}

// holds notes connections, to be closed at the end.
func (l *Line) holds(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range conns {
		if l.ended {
			_ = c.Close() // nobody uses it
			continue
		}
		l.conns[c] = true
	}
	return !l.ended
}

// carry passes bytes on, while the line is not cut.
func (l *Line) carry(from, to net.Conn) {
	defer func() {
		_ = to.Close() // the other direction may have done so
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.conns, to)
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		l.mu.Lock()
		open := l.open
		l.mu.Unlock()
		<-open
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}
