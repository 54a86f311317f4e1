package purge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Commons is what the nodes of a fleet share besides generations: the journal,
// and who of them calls the targets. Package fleet has the implementation. Its
// calls end soon: an error means that nobody can be asked now.
//
// A hold is the right to carry an order out and to write down what became of it.
// One node at a time has it; it passes on when it is handed over, and when its
// node is gone.
type Commons interface {
	// Offer shares an order as this node's. The hold is empty when it is another
	// node's, or when an order of the same key is known that is not older than
	// since, which is an ID: then other is the text of that one.
	Offer(ctx context.Context, id, key, since string, text []byte) (hold string, other []byte, err error)
	// Keep writes a state down, unless the hold has passed to another node.
	// canceled: somebody wants the order to end.
	Keep(ctx context.Context, id, hold, key string, text []byte, final bool) (held, canceled bool, err error)
	// Hand gives an order to the caller; mine says that this node is. Held and
	// not mine: there is no caller yet.
	Hand(ctx context.Context, id, hold string, text []byte) (held, mine bool, err error)
	// Find gives the latest state of an order, nil for an unknown one, and the
	// hold on it, if that is this node's.
	Find(ctx context.Context, id string) (text []byte, hold string, err error)
	// List gives the latest states of the fleet's orders: up to limit of those that
	// were finished last, and all that are not.
	List(ctx context.Context, limit int) ([][]byte, error)
	// Name is this node's.
	Name() string
	// Claim gives the holds of this node; the caller gets those of nodes that
	// are gone.
	Claim(ctx context.Context) (map[string]string, error)
	// Cancel asks whoever has the hold to end the order; false when nobody has.
	Cancel(ctx context.Context, id string) (bool, error)
	// Withdraw takes back what Offer shared.
	Withdraw(ctx context.Context, id, hold, key string) error

	// Token is this node's as the caller, false while another is, as far as is
	// known.
	Token() (uint64, bool)
	// Calling asks whether this node is the caller, and the token the one that
	// counts. What is left of the target's limits goes along.
	Calling(ctx context.Context, token uint64, target string, left []byte) (bool, error)
	// Budget is what the last caller has left of a target's limits, and how long
	// ago at least; empty when nobody knows.
	Budget(ctx context.Context, target string) (left []byte, ago time.Duration, err error)
	// Lease is how long the others wait for a node that says nothing.
	Lease() time.Duration
}

// Limited is a Target whose limits go from one caller to the next.
type Limited interface {
	// Left is what is left of the limits.
	Left() []byte
	// Inherit lowers them to what was left some time ago.
	Inherit(left []byte, ago time.Duration)
}

const (
	// heedPoll is the pause between two looks at what another node does.
	heedPoll = 100 * time.Millisecond
	// claimPoll is how often the caller looks for work.
	claimPoll = 250 * time.Millisecond
)

// patience is how long an answer of the fleet is waited for before a node acts
// alone: who is gone has been noticed by then, and another caller found.
func patience(commons Commons) time.Duration { return 2 * commons.Lease() }

// insistFor repeats a question until it is answered, ctx is done, or time is up.
// It gives the last error then.
func insistFor(ctx context.Context, limit time.Duration, ask func() error) error {
	until := time.Now().Add(limit)
	for {
		err := ask()
		if err == nil || !time.Now().Before(until) {
			return err
		}
		if stop := sleep(ctx, heedPoll); stop != nil {
			return fmt.Errorf("%w: %w", stop, err)
		}
	}
}

// text is a record as nodes hand it to each other.
func (r Record) text() []byte {
	text, err := json.Marshal(r)
	if err != nil {
		panic("purge: marshal record: " + err.Error()) // plain values cannot fail
	}
	return text
}

func readRecord(text []byte) (Record, error) {
	var r Record
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("record of another node: %w", err)
	}
	if r.ID == "" {
		return r, errors.New("record of another node: it has no id")
	}
	return r, nil
}

// takenOver is a record as another node goes on with it. This node has to be
// purged too, unless the whole fleet has acknowledged the order.
func (r Record) takenOver() Record {
	if r.Did(StepFleet) {
		return r
	}
	var steps []Step
	for _, s := range r.Steps {
		if s.Name != StepNode {
			steps = append(steps, s)
		}
	}
	r.Steps = append([]Step{}, steps...)
	return r
}

// offer shares an accepted order, before it is journaled here. other is the
// earlier order of the same key.
func (c *Coordinator) offer(ctx context.Context, commons Commons, r Record) (hold string, other *Record, err error) {
	since := idAt(r.Created.Add(-keyLifetime))
	hold, text, err := commons.Offer(ctx, r.ID, r.IdempotencyKey, since, r.text())
	if err != nil || len(text) == 0 {
		// Nobody can be asked: it is this node's alone, until somebody can.
		return hold, nil, nil
	}
	first, err := readRecord(text)
	if err != nil {
		return "", nil, err
	}
	if bodyHash(first.Order) != bodyHash(r.Order) {
		return "", nil, ErrConflict
	}
	return "", &first, nil
}

// claim takes up what this node has to carry out, again and again.
func (c *Coordinator) claim(commons Commons) {
	for {
		pace := commons.Lease() / 4
		if _, calling := commons.Token(); calling {
			pace = min(pace, claimPoll)
		}
		if sleep(c.ctx, pace) != nil {
			return
		}
		holds, err := commons.Claim(c.ctx)
		if err != nil {
			continue // the membership reports it
		}
		for id, hold := range holds {
			c.claimed(commons, id, hold)
		}
	}
}

// claimed starts an order that nobody carries out here.
func (c *Coordinator) claimed(commons Commons, id, hold string) {
	c.mu.Lock()
	_, running := c.cancels[id]
	refused, offering := c.offering[id]
	c.mu.Unlock()
	switch {
	case refused:
		c.withdraw(commons, id, hold, "")
		return
	case running, offering:
		return
	}
	if r, ok := c.Get(id); ok && r.State.Final() {
		// It was finished while nobody could be told. What fails is done again.
		_, _, _ = commons.Keep(c.ctx, id, hold, r.IdempotencyKey, r.text(), true)
		return
	}
	text, hold, err := commons.Find(c.ctx, id)
	if err != nil || hold == "" {
		return
	}
	r, err := readRecord(text)
	if err != nil {
		c.report.send(Event{Kind: JournalFault, Err: err})
		return
	}
	r = r.takenOver()
	c.ledger.adopt(r)
	if c.start(r, hold) == nil {
		c.report.send(Event{Kind: OrderTaken, Record: r})
	}
}

// withdraw takes back an order that was refused after it was shared. Until that
// succeeds it is not carried out here.
func (c *Coordinator) withdraw(commons Commons, id, hold, key string) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(c.ctx), commons.Lease())
	defer stop()
	err := commons.Withdraw(ctx, id, hold, key)
	c.mu.Lock()
	defer c.mu.Unlock()
	if delete(c.offering, id); err != nil {
		c.offering[id] = true
	}
}

// elsewhere gives the record of an order that this node does not know.
func (c *Coordinator) elsewhere(ctx context.Context, id string) (Record, bool) {
	commons := c.parts.Load().Commons
	if commons == nil {
		return Record{}, false
	}
	text, _, err := commons.Find(ctx, id)
	if err != nil || text == nil {
		return Record{}, false
	}
	r, err := readRecord(text)
	return r, err == nil
}

// everywhere adds the orders of other nodes to this node's, the newest first.
func (c *Coordinator) everywhere(ctx context.Context, own []Record, limit int) []Record {
	commons := c.parts.Load().Commons
	if commons == nil {
		return own
	}
	texts, err := commons.List(ctx, limit)
	if err != nil {
		return own // the membership reports it
	}
	all := slices.Clone(own)
	for _, text := range texts {
		r, err := readRecord(text)
		if err != nil {
			continue // of a version that this one does not understand
		}
		i := slices.IndexFunc(all, func(known Record) bool { return known.ID == r.ID })
		switch {
		case i < 0:
			all = append(all, r)
		case r.State.Final() && !all[i].State.Final():
			all[i] = r
		}
	}
	// IDs begin with the time, by the clock of the node that was asked.
	slices.SortFunc(all, func(a, b Record) int { return strings.Compare(b.ID, a.ID) })
	return all[:min(limit, len(all))]
}

// waitElsewhere is elsewhere when the record is final, or ctx is done.
func (c *Coordinator) waitElsewhere(ctx context.Context, id string) (Record, bool) {
	r, known := c.elsewhere(ctx, id)
	for known && !r.State.Final() && sleep(ctx, heedPoll) == nil {
		if later, ok := c.elsewhere(ctx, id); ok {
			r = later
		}
	}
	return r, known
}

// cancelElsewhere cancels an order that this node does not know.
func (c *Coordinator) cancelElsewhere(id string) error {
	if _, known := c.elsewhere(c.ctx, id); !known {
		return ErrUnknown
	}
	asked, err := c.parts.Load().Commons.Cancel(c.ctx, id)
	if err == nil && !asked {
		return ErrFinished
	}
	return err
}
