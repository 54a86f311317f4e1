package lb

import (
	"context"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// pipes is a network without sockets, for synctest: time stands still while its
// connections wait.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once

	mu  sync.Mutex
	far []net.Conn // the replica's ends
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.accepted:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.accepted <- far:
	case <-p.closed:
		return nil, &dialError{Err: net.ErrClosed}
	case <-ctx.Done():
		return nil, &dialError{Err: ctx.Err()}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.far = append(p.far, far)
	return near, nil
}

// hangUp closes every connection from the replica's side.
func (p *pipes) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.far {
		_ = conn.Close()
	}
	p.far = nil
}

// pipe makes v a replica that answers HTTP over pipes, until the test ends.
func (w *world) pipe(t *testing.T, v *virtual, handler http.HandlerFunc) *pipes {
	t.Helper()
	p := &pipes{accepted: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: handler}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(p)
	}()
	transport := &http.Transport{DialContext: p.dial, DisableCompression: true, MaxIdleConnsPerHost: 256, IdleConnTimeout: 4 * time.Second}
	v.transport.Store(&carrier{Transport: transport})
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = server.Close()
		_ = p.Close()
		<-done
	})
	return p
}
