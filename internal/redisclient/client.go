package redisclient

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"sync"

	"github.com/redis/rueidis"
)

// Client is a client of one Redis, which connects when it is first asked for
// something, and again when a connection has ended. It is safe for concurrent use.
type Client struct {
	rueidis.Client

	mu    sync.Mutex
	open  bool // New has returned, and nobody has called Close
	conns map[*conn]struct{}
}

// New gives a client, without a word to Redis.
func New(o rueidis.ClientOption) *Client {
	c := &Client{conns: make(map[*conn]struct{})}
	dial := o.DialCtxFn
	if dial == nil {
		dial = overTCP
	}
	// The module connects at once, and gives a client all the same when that fails.
	o.DialCtxFn = func(ctx context.Context, address string, d *net.Dialer, t *tls.Config) (net.Conn, error) {
		if !c.isOpen() {
			return nil, rueidis.ErrClosing
		}
		to, err := dial(ctx, address, d, t)
		if err != nil {
			return nil, err
		}
		return c.keep(to)
	}
	client, err := rueidis.NewClient(o)
	if client == nil {
		panic(err) // Parse gives no such options
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Client, c.open = client, true
	return c
}

func (c *Client) isOpen() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

func overTCP(ctx context.Context, address string, d *net.Dialer, t *tls.Config) (net.Conn, error) {
	if t != nil {
		return (&tls.Dialer{NetDialer: d, Config: t}).DialContext(ctx, "tcp", address)
	}
	return d.DialContext(ctx, "tcp", address)
}

// conn is a connection that the client knows.
type conn struct {
	net.Conn
	client *Client
}

// keep notes a connection. One that was made while Close was called is ended at once:
// the module would keep it.
func (c *Client) keep(to net.Conn) (net.Conn, error) {
	one := &conn{to, c}
	c.mu.Lock()
	open := c.open
	if open {
		c.conns[one] = struct{}{}
	}
	c.mu.Unlock()
	if !open {
		_ = to.Close() // nobody has used it
		return nil, rueidis.ErrClosing
	}
	return one, nil
}

// Close ends the connection.
func (c *conn) Close() error {
	c.client.mu.Lock()
	delete(c.client.conns, c)
	c.client.mu.Unlock()
	return c.Conn.Close()
}

// Judge gives an error of a command back. If it says that the server takes no writes,
// since it is no master any more, the next command connects anew: the name may lead to
// the new master by then.
func (c *Client) Judge(err error) error {
	if said, ok := rueidis.IsRedisErr(err); ok && strings.HasPrefix(said.Error(), "READONLY") {
		c.drop()
	}
	return err
}

// drop ends all connections, which their readers notice.
func (c *Client) drop() {
	c.mu.Lock()
	conns := c.conns
	c.conns = make(map[*conn]struct{})
	c.mu.Unlock()
	for one := range conns {
		_ = one.Conn.Close() // whoever waits for an answer is told
	}
}

// Close ends all connections, and what waits for them. Later commands fail. It waits
// for no answer: the module alone would, for a second, and would leave a connection
// open that is being made meanwhile.
func (c *Client) Close() {
	c.mu.Lock()
	c.open = false
	c.mu.Unlock()
	c.drop()
	c.Client.Close()
}
