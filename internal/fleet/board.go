package fleet

import (
	"context"
	"errors"
	"time"
)

// View is what the members share, at one moment.
type View struct {
	// Incarnation names the life of what Redis holds: another one begins when
	// that was lost, or may be older than what members have seen.
	Incarnation string
	// Settled: every grant from before this incarnation has ended.
	Settled bool
	// Generation is the highest that was given out.
	Generation uint64
	// Position is that of the newest order in the log; orders count from one.
	Position uint64
	Members  []Seen
	// Token is the highest that was given out, and Caller the ID of the member
	// that has it, "" while nobody does.
	Token  uint64
	Caller string
}

// Seen is a member, as the others see it.
type Seen struct {
	ID   string
	Name string
	// Beat changes with each renewal.
	Beat string
	// Applied is the position up to which it has applied every order. Drained
	// is the one up to which no exchange from before is under way any more.
	Applied, Drained uint64
}

// entry is an order in the log.
type entry struct {
	position, generation uint64
	from                 string // ID of the member that announced it
	order                []byte
}

// ticket is a membership: a new one each time a node joins.
type ticket struct {
	incarnation, id string
	term            uint64
}

// Errors of a board that members branch on.
var (
	// errGone: the member was taken off, or what Redis knew was lost.
	errGone = errors.New("not a member any more")
	// errChanged: the log is another one by now.
	errChanged = errors.New("redis has lost what it knew: the fleet gathers anew")
	// errLease: the other members have another lease.
	errLease = errors.New("lease")
)

// board is what the members share. Each call but read is atomic, and notices
// when what was shared was lost. The floor is the highest generation that the
// caller has ever seen.
type board interface {
	join(ctx context.Context, id, name string, lease time.Duration, floor uint64) (ticket, View, error)
	renew(ctx context.Context, t ticket, applied, drained, floor uint64) (View, error)
	look(ctx context.Context, floor uint64) (View, error)
	// next raises the generation, unless the incarnation has not settled.
	next(ctx context.Context, floor uint64) (generation uint64, settled bool, err error)
	// announce appends an order to the log.
	announce(ctx context.Context, e entry, floor uint64) (place, error)
	// read gives some of the orders after a position, and waits for one.
	read(ctx context.Context, after uint64, wait time.Duration) ([]entry, error)
	// evict takes a member off, unless it has renewed since.
	evict(ctx context.Context, incarnation string, m Seen) (bool, error)
	settle(ctx context.Context, incarnation string) error
	leave(ctx context.Context, t ticket) error
	// lead makes a member the caller, with a token above every earlier one,
	// unless there is one, or the incarnation has not settled.
	lead(ctx context.Context, t ticket, floor uint64) (View, error)
	// calling reports that a member is the caller, and that this token of it is
	// the one that counts. What is left of a target's limits goes along.
	calling(ctx context.Context, id string, token uint64, target string, left []byte) (bool, error)
}
