package redisclient

import (
	"context"
	"crypto/tls"
	"errors"
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
	asked bool // Open has returned
	conns map[*conn]struct{}
}

// errEarly: nobody has asked for anything yet.
var errEarly = errors.New("redis: not connected yet")

// New gives a client, without a word to Redis.
func New(o rueidis.ClientOption) *Client {
	c := &Client{conns: make(map[*conn]struct{})}
	dial := o.DialCtxFn
	if dial == nil {
		dial = overTCP
	}
	// The module connects at once, and gives a client all the same when that fails.
	o.DialCtxFn = func(ctx context.Context, address string, d *net.Dialer, t *tls.Config) (net.Conn, error) {
		c.mu.Lock()
		asked := c.asked
		c.mu.Unlock()
		if !asked {
			return nil, errEarly
		}
		to, err := dial(ctx, address, d, t)
		if err != nil {
			return nil, err
		}
		return c.keep(to), nil
	}
	client, err := rueidis.NewClient(o)
	if client == nil {
		panic(err) // Parse gives no such options
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Client, c.asked = client, true
	return c
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

func (c *Client) keep(to net.Conn) *conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := &conn{to, c}
	c.conns[one] = struct{}{}
	return one
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
		c.mu.Lock()
		defer c.mu.Unlock()
		for one := range c.conns {
			_ = one.Conn.Close() // its reader ends it
		}
	}
	return err
}
