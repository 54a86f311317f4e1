package fleet

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/redis/rueidis"

	"github.com/edgegw/edge/internal/redisclient"
	"github.com/edgegw/edge/internal/unit"
)

// Config says where the nodes of a fleet meet. All nodes have the same.
type Config struct {
	// URL of the Redis, such as redis://redis.internal:6379/0.
	URL string `json:"url"`
	// Password of the Redis, "" for none.
	Password string `json:"password,omitempty"`
	// Name tells fleets apart that meet in the same Redis. Default edge.
	Name string `json:"name,omitempty"`
	// Node is how this node is called in status and logs. Default: the host's name.
	Node string `json:"node,omitempty"`
	// Lease is how long the others wait for a node that says nothing, and how
	// long, less a tenth, a node that hears nothing uses its cache. Default 10s.
	Lease unit.Duration `json:"lease,omitempty"`
	// Timeout is how long an answer of Redis may take. Default 1s, and never
	// more than a fifth of the lease.
	Timeout unit.Duration `json:"timeout,omitempty"`
	// Keep is how many orders the log holds, at least: a node that has missed
	// more gives up everything. Default 1000.
	Keep int `json:"keep,omitempty"`
}

const (
	shortestLease = time.Second
	longestLease  = 5 * time.Minute
	mostKept      = 100_000
)

var goodName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,100}$`)

func (c Config) withDefaults(host string) Config {
	if c.Name == "" {
		c.Name = "edge"
	}
	if c.Node == "" {
		c.Node = host
	}
	c.Lease = unit.Duration(c.Lease.Or(10 * time.Second))
	c.Timeout = unit.Duration(min(c.Timeout.Or(time.Second), c.Lease.D()/5))
	if c.Keep == 0 {
		c.Keep = 1000
	}
	return c
}

// Validate gives every mistake at once. None of them shows the password.
func (c Config) Validate() error {
	_, err := c.parse()
	return err
}

func (c Config) parse() (rueidis.ClientOption, error) {
	var errs []error
	options, err := redisclient.Parse(c.URL, c.Password)
	if err != nil {
		errs = append(errs, fmt.Errorf("fleet: %w", err))
	}
	if c.Name != "" && !goodName.MatchString(c.Name) {
		errs = append(errs, fmt.Errorf("fleet name %q: want letters, digits, hyphens, dots and underscores, such as edge", c.Name))
	}
	if c.Node != "" && !goodName.MatchString(c.Node) {
		errs = append(errs, fmt.Errorf("fleet node %q: want letters, digits, hyphens, dots and underscores, such as edge-1", c.Node))
	}
	if c.Lease != 0 && (c.Lease.D() < shortestLease || c.Lease.D() > longestLease) {
		errs = append(errs, fmt.Errorf("fleet lease %s: want %s to %s", c.Lease, unit.Duration(shortestLease), unit.Duration(longestLease)))
	}
	if c.Timeout < 0 {
		errs = append(errs, fmt.Errorf("fleet timeout %s: want more than 0", c.Timeout))
	}
	if c.Keep < 0 || c.Keep > mostKept {
		errs = append(errs, fmt.Errorf("fleet keep %d: want 1 to %d", c.Keep, mostKept))
	}
	return options, errors.Join(errs...)
}

// String never shows the password.
func (c Config) String() string { return fmt.Sprintf("fleet %s at %s", c.Name, c.URL) }

// GoString is String: %#v must not show the password either.
func (c Config) GoString() string { return c.String() }
