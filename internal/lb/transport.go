package lb

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// dialError marks that no connection was made, so that nothing was sent.
type dialError struct{ err error }

func (e *dialError) Error() string { return "dial: " + e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// newTransport builds the transport of one replica. Each has its own, so that
// it can be drained and closed without touching the others'. When more is known
// about how long the replica leaves connections open, news is called.
func newTransport(r *replica, s *settings, news func()) *http.Transport {
	dial := r.dialer(s.Transport.DialTimeout.D())
	idle := r.idleness.Load()
	quiet := func(silence time.Duration) {
		if idle.see(silence) {
			news()
		}
	}
	plain := func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := dial(ctx)
		if err != nil {
			return nil, &dialError{err}
		}
		return r.wires.add(conn.(*net.TCPConn), quiet), nil
	}
	t := &http.Transport{
		DialContext:           r.dials.take(s.Transport.DialTimeout.D(), plain),
		DisableCompression:    true, // The body passes as the replica wrote it.
		MaxIdleConnsPerHost:   s.Transport.MaxIdle,
		IdleConnTimeout:       idle.limit(s.Transport.IdleTimeout.D()),
		ResponseHeaderTimeout: s.Transport.HeaderTimeout.D(),
		ExpectContinueTimeout: time.Second,
	}
	if s.tls != nil {
		t.DialTLSContext = r.dials.take(s.Transport.DialTimeout.D(), secured(plain, r, s))
	}
	return t
}

// newChecker builds the transport of a replica's checks: a new connection each
// time, since accepting one is part of being healthy.
func newChecker(r *replica, s *settings) *http.Transport {
	dial := r.dialer(s.Health.Timeout.D())
	plain := func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }
	t := &http.Transport{DialContext: plain, DisableCompression: true, DisableKeepAlives: true}
	if s.tls != nil {
		t.DialTLSContext = secured(plain, r, s)
	}
	return t
}

type dialContext = func(ctx context.Context, network, address string) (net.Conn, error)

// secured adds the TLS handshake to a dial, within the same time-out.
func secured(plain dialContext, r *replica, s *settings) dialContext {
	config := s.tls.Clone()
	if config.ServerName == "" {
		config.ServerName = r.host
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, s.Transport.DialTimeout.D())
		defer cancel()
		conn, err := plain(ctx, network, address)
		if err != nil {
			return nil, err
		}
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close() // The handshake's error is the one to tell.
			return nil, &dialError{err}
		}
		return secure, nil
	}
}
