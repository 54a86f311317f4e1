package caddymodule

import (
	"net"
	"sync"
	"testing"
)

// redisLine is a node's way to Redis, which can be cut: then nothing that is sent
// arrives, and nobody is told.
type redisLine struct {
	listener net.Listener
	to       string

	mu      sync.Mutex
	open    chan struct{} // closed while bytes pass
	carried sync.WaitGroup
	conns   []net.Conn
}

func newRedisLine(t *testing.T, socket, to string) *redisLine {
	t.Helper()
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	l := &redisLine{listener: listener, to: to, open: make(chan struct{})}
	close(l.open)
	l.carried.Go(l.accept)
	t.Cleanup(func() {
		l.mend()
		_ = listener.Close() // its only user has ended
		l.mu.Lock()
		for _, c := range l.conns {
			_ = c.Close() // likewise
		}
		l.mu.Unlock()
		l.carried.Wait()
	})
	return l
}

func (l *redisLine) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("unix", l.to)
		if err != nil {
			_ = near.Close() // as if nobody had listened
			continue
		}
		l.mu.Lock()
		l.conns = append(l.conns, near, far)
		l.mu.Unlock()
		l.carried.Go(func() { l.carry(near, far) })
		l.carried.Go(func() { l.carry(far, near) })
	}
}

// carry passes bytes on, while the line is not cut.
func (l *redisLine) carry(from, to net.Conn) {
	defer to.Close()
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

func (l *redisLine) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = make(chan struct{})
}

func (l *redisLine) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.open:
	default:
		close(l.open)
	}
}
