// Package redisclient sets up clients of Redis the way edge wants them: connected
// when they are first asked for something, and with short time-outs, because nobody
// shall wait for Redis.
package redisclient

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

const (
	// Timeout is for connecting and for the answer to a command. Redis answers in a
	// millisecond; one that takes a thousand times as long is down.
	Timeout = 2 * time.Second

	// buffer is what each connection has for what it reads, and as much for what it
	// writes. The module's own are half a megabyte, for thousands of commands at once.
	buffer = 32 << 10

	// ring is how many commands may be under way on a connection, as a power of two:
	// more than ever are. The module's own is 10.
	ring = 8

	// blocking is how many commands may wait at Redis, each on a connection of its own.
	blocking = 4
)

const usage = "want redis://HOST:6379/0, rediss://HOST:6379/0 for TLS, or unix:///PATH"

// schemes and words are what a URL may have.
var (
	schemes = []string{"redis", "rediss", "unix"}
	words   = []string{"db", "protocol", "skip_verify"}
)

// Parse reads a URL of Redis, which may hold a user name and must hold no
// password: URLs end up in logs. The password comes apart, "" for none. After a
// question mark there may be db=N, protocol=2 (for what speaks no RESP3) and
// skip_verify=true (for TLS whose certificate nobody checks). Errors hold neither.
func Parse(raw, password string) (rueidis.ClientOption, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return rueidis.ClientOption{}, errors.New("redis URL: not a URL: " + usage)
	}
	shown := url.URL{Scheme: u.Scheme, User: u.User, Host: u.Host, Path: u.Path} // who knows what stands after it
	wrong := func(format string, args ...any) (rueidis.ClientOption, error) {
		return rueidis.ClientOption{}, fmt.Errorf("redis URL %q: "+format, append([]any{shown.Redacted()}, args...)...)
	}
	if _, given := u.User.Password(); given {
		return wrong("holds a password, which logs would show: write it apart, as password {env.REDIS_PASSWORD}")
	}
	if !slices.Contains(schemes, u.Scheme) || u.Host == "" && u.Scheme != "unix" || u.Path == "" && u.Scheme == "unix" {
		return wrong(usage)
	}
	for word := range u.Query() {
		if !slices.Contains(words, word) {
			return wrong("%s is not known: want %s", word, strings.Join(words, ", "))
		}
	}
	if u.Scheme != "unix" {
		u.Path = strings.TrimSuffix(u.Path, "/")
	}
	o, err := rueidis.ParseURL(u.String())
	if err != nil {
		return wrong("%s: %s", strings.TrimPrefix(err.Error(), "redis: "), usage)
	}
	o.Password = password
	o.ClientName = "edge"
	o.ClientSetInfo = rueidis.DisableClientSetInfo
	o.ForceSingleClient, o.DisableCache = true, true
	// Whether to ask again is the caller's to say, who knows what has come of it then.
	o.DisableRetry = true
	// One connection for all that wait for nothing, which notices at once when it ends.
	o.AlwaysPipelining, o.PipelineMultiplex, o.RingScaleEachConn = true, -1, ring
	o.BlockingPoolSize = blocking
	o.ReadBufferEachConn, o.WriteBufferEachConn = buffer, buffer
	return Within(o, Timeout), nil
}

// Within is another time-out: for connecting, for answers, and for silence, after
// which Redis is asked whether it is still there. A connection that leads nowhere any
// more is given up after three of them at most: all commands share it.
func Within(o rueidis.ClientOption, timeout time.Duration) rueidis.ClientOption {
	o.Dialer.Timeout, o.ConnWriteTimeout, o.Dialer.KeepAlive = timeout, timeout, timeout
	return o
}

// Apart gives each command that is under way a connection of its own, of so many at
// most, so that a large value holds up nobody else's.
func Apart(o rueidis.ClientOption, connections int) rueidis.ClientOption {
	o.DisableAutoPipelining, o.BlockingPoolSize = true, connections
	return o
}

// Ping finds out whether Redis answers.
func Ping(ctx context.Context, o rueidis.ClientOption) error {
	client := New(o)
	defer client.Close()
	return client.Do(ctx, client.B().Ping().Build()).Error()
}
