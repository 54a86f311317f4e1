package autoscale

import (
	"context"
	"fmt"
	"time"

	"github.com/edgegw/edge/internal/named"
	"github.com/edgegw/edge/internal/unit"
)

// Drivers holds the ways to make the number of replicas so, by their name in
// the configuration.
var Drivers named.Registry[Driver]

// Driver asks whoever runs the replicas for a number of them. Its constructor
// checks words and starts nothing.
type Driver interface {
	// Scale asks for o.Replicas and returns nil when that was accepted; it need
	// not be so yet. It is called by one goroutine at a time, gives up when ctx
	// ends, and tries once: what fails is tried again later, with the same
	// order. Its errors hold no secret.
	Scale(ctx context.Context, o Order) error

	// Lowers says what must have happened before fewer may be asked for.
	Lowers() Lowering

	// Pause is the shortest time between two orders that differ.
	Pause() time.Duration
}

// Lowering is what must have happened before fewer replicas may be asked for.
type Lowering int

// The ways to ask for fewer.
const (
	// LowersItself: the driver drains whom it ends.
	LowersItself Lowering = iota
	// LowersNamed: replicas are drained first, and the order names them. Whoever
	// gets it ends these and no others.
	LowersNamed
	// LowersBlindly: somebody else picks who ends, and the operator vouches that
	// it finishes what it has.
	LowersBlindly
	// LowersNever: somebody else picks, and nobody vouches.
	LowersNever
)

// Order is a number of replicas that a pool shall have.
type Order struct {
	// ID is the same for the same order, tried again.
	ID       string
	Pool     string
	Replicas int
	Before   int // how many there were to be before; 0 when that is not known
	Why      Why
	Remove   []Victim // drained: these may end now
	At       time.Time

	// Local runs the number on this machine; nil where the pool does not.
	Local func(replicas int)
}

// Victim is a replica that has been drained.
type Victim struct {
	ID       string `json:"id"`
	Address  string `json:"address"`
	Instance string `json:"instance,omitempty"`
}

// Later is an error that says when another try makes sense.
type Later struct {
	After time.Duration
	Err   error
}

func (l *Later) Error() string { return l.Err.Error() }

func (l *Later) Unwrap() error { return l.Err }

// option reads the one word of an option, or gives the fallback.
func option(s named.Spec, word, fallback string, errs *[]error) string {
	words, given := s.Options[word]
	if !given {
		return fallback
	}
	if len(words) != 1 || words[0] == "" {
		*errs = append(*errs, fmt.Errorf("%s %s: got %d words: want one", s.Name, word, len(words)))
		return fallback
	}
	return words[0]
}

// pauseOption reads a duration that may be zero.
func pauseOption(s named.Spec, word string, fallback time.Duration, errs *[]error) time.Duration {
	text := option(s, word, "", errs)
	if text == "" {
		return fallback
	}
	d, err := unit.ParseDuration(text)
	if err != nil {
		*errs = append(*errs, fmt.Errorf("%s %s: %w", s.Name, word, err))
		return fallback
	}
	return d.D()
}
