package purge

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/named"
)

// Target is a place outside the fleet that may hold copies: a CDN.
// Implementations are safe for concurrent use.
type Target interface {
	// Name is the name under which the target stands in records; it is unique
	// within a configuration.
	Name() string
	// Purge removes what the order names, retrying by the target's own rules
	// until the order's deadline or until ctx is done. It returns nil only
	// when the whole order was accepted; other errors are a *TargetError, or
	// ctx's, or that of may, which is asked before each call unless it is nil.
	// Orders may be repeated. progress, which may be nil, is called from the same
	// goroutine with what this call has done so far.
	Purge(ctx context.Context, o Order, may func(context.Context) error, progress func(Result)) (Result, error)
}

// Planner is a Target that can say beforehand what an order will cost it.
type Planner interface {
	// Plan counts the calls and items that so many passes send, and their cost;
	// RateLimited is the time they must wait for the target's limits, were it
	// idle now.
	Plan(o Order, passes int) Result
}

// Cost is what an order draws on a target's limits.
type Cost struct {
	// Plan is the one that has these limits.
	Plan string `json:"plan"`
	// Tokens is what calls by tag, prefix or host, and those for everything,
	// draw: one each. Bucket is how many of them edge spends at once.
	Tokens int `json:"tokens"`
	Bucket int `json:"bucket"`
	// URLs have a limit of their own.
	URLs int `json:"urls,omitempty"`
}

// String reads "2 tokens of the 20 that plan free has at once, 350 URLs".
func (c Cost) String() string {
	text := fmt.Sprintf("%d tokens of the %d that plan %s has at once", c.Tokens, c.Bucket, c.Plan)
	if c.URLs > 0 {
		text += fmt.Sprintf(", %d URLs", c.URLs)
	}
	return text
}

// Result is what one call of a target's Purge has done so far.
type Result struct {
	Batches, Items, Attempts int
	RateLimited              time.Duration
	Note                     string
	// Cost is only planned: nil after a call.
	Cost *Cost
	// Last is the last attempt's error, nil when it succeeded.
	Last *TargetError
	// Wait is how long the target waits before the next attempt.
	Wait time.Duration
}

// Purgers holds the CDNs that an operator can name.
var Purgers named.Registry[Target]

// Error reads "429, code 1134: rate limit reached".
func (e *TargetError) Error() string {
	var parts []string
	if e.HTTP != 0 {
		parts = append(parts, fmt.Sprint(e.HTTP))
	}
	if e.Code != 0 {
		parts = append(parts, fmt.Sprintf("code %d", e.Code))
	}
	if len(parts) == 0 {
		return e.Message
	}
	return strings.Join(parts, ", ") + ": " + e.Message
}
