// Package redisclient sets up clients of Redis the way edge wants them: short
// time-outs, because nobody shall wait for Redis, and nothing of its own on
// standard error.
package redisclient

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

func init() { redis.SetLogger(silent{}) }

// silent drops what the module would write: callers get every error themselves.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// timeout is for connecting, for a command and for its answer. Redis answers in
// a millisecond; one that takes a thousand times as long is down.
const timeout = 2 * time.Second

const usage = "want redis://HOST:6379/0, rediss://HOST:6379/0 for TLS, or unix:///PATH"

// Parse reads a URL of Redis, which may hold a user name and must hold no
// password: URLs end up in logs. The password comes apart, "" for none. Errors
// hold neither.
func Parse(raw, password string) (*redis.Options, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("redis URL: not a URL: " + usage)
	}
	if _, given := u.User.Password(); given {
		return nil, fmt.Errorf("redis URL %q: holds a password, which logs would show: write it apart, as password {env.REDIS_PASSWORD}", u.Redacted())
	}
	if u.Host == "" && u.Scheme != "unix" || u.Path == "" && u.Scheme == "unix" {
		return nil, fmt.Errorf("redis URL %q: %s", u.Redacted(), usage)
	}
	o, err := redis.ParseURL(raw)
	if err != nil {
		return nil, fmt.Errorf("redis URL %q: %s: %s", u.Redacted(), strings.TrimPrefix(err.Error(), "redis: "), usage)
	}
	o.Password = password
	o.ClientName = "edge"
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout = timeout, timeout, timeout
	o.ContextTimeoutEnabled = true
	o.DialerRetries, o.MaxRetries = 1, 1
	o.PoolSize = 4
	// Off: announcements of Redis Cloud's maintenance, and the module's name.
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	o.DisableIdentity = true
	return o, nil
}
