package fleet

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Replica is a replica of a pool that has registered at a member.
type Replica struct {
	Pool, Address string
	// Lease is how long it stays without another registration.
	Lease time.Duration
	// Mine: it has last registered, or was set aside, at this node.
	Mine bool
	// Aside: it was drained by hand.
	Aside bool
	// Found: it has not registered, each node finds it for itself. It is known for
	// being set aside, or, if it is not Aside, for having been taken back.
	Found bool
	// Gone: it was deregistered, which is told for its lease to who was away. Of
	// Mine it says that this node did that.
	Gone bool
	// Mark changes with each of these.
	Mark string
}

// Host is a Node that wants to know of the replicas that register elsewhere.
type Host interface {
	// Roster tells of all that are registered, and of those that lately were, time
	// and again. Who is not in it is not gone: Redis may have lost it. Redis was
	// asked at the time given, or later: what the node has told since, the roster
	// may lack.
	Roster(found []Replica, asked time.Time)
	// Dismiss tells of one that was deregistered.
	Dismiss(pool, address string)
}

// roster is what was seen of each replica, and since when.
type roster map[string]sighting

// overdue takes note of what is registered, and gives those whose lease ended a
// grace ago.
func (w roster) overdue(found []Replica, grace time.Duration, now time.Time) (ended []Replica) {
	present := make(map[string]bool, len(found))
	for _, r := range found {
		key := r.key()
		present[key] = true
		last, known := w[key]
		switch {
		case !known || last.beat != r.Mark:
			w[key] = sighting{beat: r.Mark, since: now}
		case now.Sub(last.since) >= r.Lease+grace:
			ended = append(ended, r)
		}
	}
	for key := range w {
		if !present[key] {
			delete(w, key)
		}
	}
	return ended
}

func (r Replica) key() string { return r.Pool + " " + r.Address }

// readReplica reads what the scripts note of one.
func readReplica(key, mark, self string) (Replica, error) {
	pool, address, ok := strings.Cut(key, " ")
	parts := strings.Split(mark, ":")
	if !ok || len(parts) != 4 {
		return Replica{}, fmt.Errorf("fleet roster: %q is not of this format", key)
	}
	lease, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil || lease <= 0 || lease > longestRegistration.Milliseconds() {
		return Replica{}, fmt.Errorf("fleet roster: %q has no lease", key)
	}
	return Replica{
		Pool: pool, Address: address, Lease: time.Duration(lease) * time.Millisecond,
		Mine: parts[2] == self, Aside: parts[3] == "1" || parts[3] == "2", Found: parts[3] == "2" || parts[3] == "3",
		Gone: parts[3] == "4", Mark: mark,
	}, nil
}

// longestRegistration is far above what pools allow.
const longestRegistration = 1000 * time.Hour

const (
	newsOfRoster  = "!roster"
	newsOfDismiss = "!dismiss "
)

// isNews reports that an entry of the log is no order.
func isNews(order []byte) bool { return len(order) > 0 && order[0] == '!' }

// hear takes in an entry of the log that is no order. One of a later version says
// nothing to this one.
func (m *Member) hear(news, from string) {
	if gone, ok := strings.CutPrefix(news, newsOfDismiss); ok {
		pool, address, _ := strings.Cut(gone, " ")
		if host, ok := m.node.(Host); ok && from != m.id {
			host.Dismiss(pool, address)
		}
	}
	m.called = m.called || news == newsOfRoster
}

// muster tells the node who is registered, and forgets whose lease has ended.
func (m *Member) muster(ctx context.Context, now time.Time) {
	host, ok := m.node.(Host)
	if !ok {
		return
	}
	found, err := m.shelf.roster(ctx, m.id)
	if err != nil {
		return // the next renewal tells what is wrong
	}
	m.called = false
	ended := m.roster.overdue(found, m.lease, now)
	for _, r := range ended {
		// Who has renewed meanwhile stays.
		_ = m.shelf.run(ctx, "expire", 0, r.key(), r.Mark).Error()
	}
	host.Roster(slices.DeleteFunc(found, func(r Replica) bool { return slices.Contains(ended, r) }), now)
}

// Enroll tells the other members of a replica that has registered here, or has
// renewed its lease.
func (m *Member) Enroll(ctx context.Context, pool, address string, lease time.Duration) error {
	return m.shelf.run(ctx, "enroll", 0, m.id, pool+" "+address, lease.Milliseconds(), m.shelf.keep).Error()
}

const (
	// asideFor is how long one that has not registered stays set aside after the
	// last node has lost sight of it.
	asideFor = time.Minute
	// backFor is how long it is told that one was taken back: a node that was away
	// for longer may set it aside anew.
	backFor = 24 * time.Hour
	// goneFor is how long it is told that one was deregistered of which Redis did
	// not know.
	goneFor = 10 * time.Minute
)

// SetAside tells them that one was drained here by hand, or taken back.
func (m *Member) SetAside(ctx context.Context, pool, address string, aside bool) error {
	flag, lease := "0", backFor
	if aside {
		flag, lease = "1", asideFor
	}
	return m.shelf.run(ctx, "aside", 0, m.id, pool+" "+address, flag, m.shelf.keep, lease.Milliseconds()).Error()
}

// Hold tells them that one that has not registered, and was set aside, is still
// there: Redis may have forgotten it, or nobody else may see it.
func (m *Member) Hold(ctx context.Context, pool, address string) error {
	return m.shelf.run(ctx, "hold", 0, m.id, pool+" "+address, asideFor.Milliseconds()).Error()
}

// Dismiss tells them that one was deregistered here, those that are away when they
// are back.
func (m *Member) Dismiss(ctx context.Context, pool, address string) error {
	return m.shelf.run(ctx, "dismiss", 0, m.id, pool+" "+address, m.shelf.keep, goneFor.Milliseconds()).Error()
}

// roster gives who is registered; what cannot be read is left out.
func (b *redisBoard) roster(ctx context.Context, self string) ([]Replica, error) {
	r := newReply(b.run(ctx, "roster", 0))
	var found []Replica
	for r.err == nil && r.at < len(r.list) {
		key, mark := r.text(), r.text()
		if one, err := readReplica(key, mark, self); r.err == nil && err == nil {
			found = append(found, one)
		}
	}
	slices.SortFunc(found, func(a, c Replica) int { return strings.Compare(a.key(), c.key()) })
	return found, r.err
}
