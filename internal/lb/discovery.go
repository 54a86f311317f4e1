package lb

import (
	"context"
	"fmt"

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

	// ranks goes before a set: how its addresses are to be used. A pool gives it;
	// elsewhere it may be nil.
	ranks func(map[Address]rank)

	// What a discovery needs that runs the replicas itself. A pool gives them
	// all; elsewhere they may be nil.
	found  func(set []Address, problem error) // Found, with what is wrong all the same
	look   func(Address) sight                // what the pool makes of an address
	wanted func() int                         // how many an autoscaler asks for; 0 for none that does
	say    func(Event)
	output func(Event) // may be dropped
}

// sight is what a pool makes of an address.
type sight struct {
	listed bool // it is a member, be it one that leaves
	state  state
	held   bool // an operator drains it, or has
	busy   int64
}

// Lasting is a discovery that is more than what it finds: it goes on when its
// words change, and ends in its own time.
type Lasting interface {
	Discovery

	// Succeed takes over the words of next, a value that is not run. False when
	// that cannot be: next is run instead, and Retire is called.
	Succeed(next Discovery) bool

	// Retire says that what it finds is no longer wanted. Run returns by itself
	// when all is in order.
	Retire()
}

// oneWord reads an option of one word, if it is given.
func oneWord(s named.Spec, option string, to *string) error {
	words, given := s.Options[option]
	switch {
	case !given:
		return nil
	case len(words) != 1 || words[0] == "":
		return fmt.Errorf("%s %s: got %d words: want one", s.Name, option, len(words))
	}
	*to = words[0]
	return nil
}
