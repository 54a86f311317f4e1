package lb

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"time"

	"github.com/edgegw/edge/internal/transport"
)

// dialError marks that no connection was made, so that nothing was sent.
type dialError = transport.DialError

// carrier brings requests to one replica: plain ones without a body over
// connections of their own, which nobody reads while they are idle; the others,
// and all over TLS, by net/http.
type carrier struct {
	*http.Transport
	plain *transport.Transport // nil over TLS
}

// carry sends out, with interim answers told to whoever traces the request.
func (c *carrier) carry(out *http.Request, trace *Trace) (*http.Response, error) {
	var inform func(int, textproto.MIMEHeader) error
	if trace != nil {
		inform = trace.Inform
	}
	if c.plain != nil && transport.Takes(out) {
		return c.plain.RoundTrip(out, inform)
	}
	if inform != nil {
		out = out.WithContext(httptrace.WithClientTrace(out.Context(), &httptrace.ClientTrace{Got1xxResponse: inform}))
	}
	return c.RoundTrip(out)
}

// CloseIdleConnections closes those of both kinds; those in use close when they
// fall idle.
func (c *carrier) CloseIdleConnections() {
	c.Transport.CloseIdleConnections()
	if c.plain != nil {
		c.plain.CloseIdleConnections()
	}
}

// newCarrier builds the carrier of one replica. Each has its own, so that
// it can be drained and closed without touching the others'. When more is known
// about how long the replica leaves connections open, news is called.
func newCarrier(r *replica, s *settings, news func()) *carrier {
	dial := r.dialer(s.Transport.DialTimeout.D())
	idle := r.idleness.Load()
	quiet := func(silence time.Duration) {
		if idle.see(silence) {
			news()
		}
	}
	wired := func(ctx context.Context, quiet func(time.Duration)) (net.Conn, error) {
		conn, err := dial(ctx)
		if err != nil {
			return nil, &dialError{Err: err}
		}
		return r.wires.add(conn.(*net.TCPConn), quiet), nil
	}
	plain := func(ctx context.Context, _, _ string) (net.Conn, error) { return wired(ctx, quiet) }
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
		return &carrier{Transport: t}
	}
	return &carrier{Transport: t, plain: transport.New(transport.Options{
		// Its end shows when it is looked at, not when it is read.
		Dial:          func(ctx context.Context) (net.Conn, error) { return wired(ctx, func(time.Duration) {}) },
		Turns:         r.dials,
		TurnWait:      s.Transport.DialTimeout.D(),
		MaxIdle:       s.Transport.MaxIdle,
		IdleTimeout:   t.IdleConnTimeout,
		HeaderTimeout: t.ResponseHeaderTimeout,
		Quiet:         quiet,
	})}
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
			return nil, &dialError{Err: err}
		}
		return secure, nil
	}
}
