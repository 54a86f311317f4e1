package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// together is how many connections are dealt with at a time.
const together = 64

// crowd is clients with a kept connection each.
type crowd struct {
	address string
	secure  *tls.Config // nil for plain connections
	conns   []net.Conn
}

// each does something with every connection, so many at a time, and stops at
// the first errors.
func (c *crowd) each(ctx context.Context, together int, do func(i int) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	turns := make(chan struct{}, together)
	var group sync.WaitGroup
	for i := range c.conns {
		select {
		case turns <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		group.Go(func() {
			defer func() { <-turns }()
			if err := do(i); err != nil {
				stop(fmt.Errorf("connection %d of %d: %w", i+1, len(c.conns), err))
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// come opens n connections.
func (c *crowd) come(ctx context.Context, n int) error {
	c.conns = make([]net.Conn, n)
	return c.each(ctx, together, func(i int) error {
		d := net.Dialer{Timeout: 10 * time.Second}
		conn, err := d.DialContext(ctx, "tcp", c.address)
		if err != nil {
			return err
		}
		c.conns[i] = conn
		if c.secure == nil {
			return nil
		}
		secured := tls.Client(conn, c.secure)
		c.conns[i] = secured
		return secured.HandshakeContext(ctx)
	})
}

// send asks for a path over the connections from first to before last.
func (c *crowd) send(first, last int, path string) error {
	for i := first; i < last; i++ {
		if err := c.write(i, path); err != nil {
			return err
		}
	}
	return nil
}

func (c *crowd) write(i int, path string) error {
	_, err := fmt.Fprintf(c.conns[i], "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: crowd\r\n\r\n", path, c.address)
	return err
}

// readers are lent to connections for one answer.
var readers = sync.Pool{New: func() any { return bufio.NewReader(nil) }}

// read wants the whole answer to what was asked over connection i.
func (c *crowd) read(i int, within time.Duration) error {
	if err := c.conns[i].SetReadDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	r := readers.Get().(*bufio.Reader)
	defer readers.Put(r)
	r.Reset(c.conns[i])
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("status %d: %.100s", resp.StatusCode, body)
	case len(body) == 0:
		return errors.New("an empty answer")
	case resp.Close:
		return errors.New("the connection is not kept")
	case r.Buffered() > 0:
		return fmt.Errorf("%d bytes after the answer", r.Buffered())
	}
	return nil
}

// ask makes a request over every connection.
func (c *crowd) ask(ctx context.Context, path string) error {
	return c.each(ctx, together, func(i int) error {
		if err := c.write(i, path); err != nil {
			return err
		}
		return c.read(i, 20*time.Second)
	})
}

// readAll wants an answer over every connection.
func (c *crowd) readAll(ctx context.Context, within time.Duration) error {
	return c.each(ctx, len(c.conns), func(i int) error { return c.read(i, within) })
}

func (c *crowd) leave() {
	for _, conn := range c.conns {
		if conn != nil {
			_ = conn.Close() // Nobody is left to tell.
		}
	}
	c.conns = nil
}
