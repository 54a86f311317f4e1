package lb

import (
	"context"

	"github.com/edgegw/edge/internal/named"
)

// Discoveries holds the ways to find replicas by their name in the
// configuration.
var Discoveries named.Registry[Discovery]

// Discovery finds replicas. Its constructor checks words and starts nothing.
type Discovery interface {
	// Run reports what it finds to the feed, from the calling goroutine, until
	// ctx ends; then it returns soon. It is called once per value at a time.
	Run(ctx context.Context, feed Feed)
}

// Feed takes what a discovery finds. Both functions return at once.
type Feed struct {
	// Found replaces the set of addresses. An empty set removes all: report it
	// only when it is certain.
	Found func([]Address)

	// Failed says that a lookup went wrong. The last good set stays.
	Failed func(error)
}
