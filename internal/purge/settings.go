package purge

import (
	"fmt"
	"time"

	"github.com/edgegw/edge/internal/unit"
)

// Settings are the times and bounds of orders. The zero value is the default.
type Settings struct {
	// Deadline is how long after its acceptance an order is retried, unless it
	// says otherwise. Default 1h: an outage of a CDN must not leave old pages
	// behind. Orders may ask for up to 24h.
	Deadline unit.Duration `json:"deadline,omitempty"`
	// DrainCap is how long to wait for exchanges that began before the purge.
	// Default 10s.
	DrainCap unit.Duration `json:"drain_cap,omitempty"`
	// Settle is the pause between the two passes at the CDN: what travelled
	// between its tiers during the first is removed by the second. A third of
	// it passes after the second, until that is carried out. Default 3s.
	Settle unit.Duration `json:"settle,omitempty"`
	// SettleEverything is the same pause for everything. Default 30s.
	SettleEverything unit.Duration `json:"settle_everything,omitempty"`
	// GateFor is how long replicas may take to report the expected version.
	// Default 2m.
	GateFor unit.Duration `json:"gate_for,omitempty"`
	// VerifyFor is how long URLs may take to show the new state. Default 1m.
	VerifyFor unit.Duration `json:"verify_for,omitempty"`
	// WarmFor is how long fetching may take after a purge. Default 1m.
	WarmFor unit.Duration `json:"warm_for,omitempty"`
	// MaxPending bounds the orders that are not finished. Default 1000.
	MaxPending int `json:"max_pending,omitempty"`
}

const (
	maxDeadline = 24 * time.Hour
	// Polling the gate, the drain and the verification.
	gatePoll   = 500 * time.Millisecond
	drainPoll  = 25 * time.Millisecond
	verifyPoll = 2 * time.Second

	maxKey    = 255 // bytes of an idempotency key
	maxRemark = 500 // bytes of a reason, an actor
	maxVerify = 100 // URLs
)

func (s Settings) withDefaults() Settings {
	s.Deadline = unit.Duration(min(s.Deadline.Or(time.Hour), maxDeadline))
	s.DrainCap = unit.Duration(s.DrainCap.Or(10 * time.Second))
	s.Settle = unit.Duration(s.Settle.Or(3 * time.Second))
	s.SettleEverything = unit.Duration(s.SettleEverything.Or(30 * time.Second))
	s.GateFor = unit.Duration(s.GateFor.Or(2 * time.Minute))
	s.VerifyFor = unit.Duration(s.VerifyFor.Or(time.Minute))
	s.WarmFor = unit.Duration(s.WarmFor.Or(time.Minute))
	if s.MaxPending <= 0 {
		s.MaxPending = 1000
	}
	return s
}

// Validate reports an order's time that its own pauses use up: it would be
// partial each time, with nothing wrong at the CDN.
func (s Settings) Validate() error {
	d := s.withDefaults()
	pauses := d.DrainCap.D() + max(d.Settle.D(), d.SettleEverything.D())
	if d.Deadline.D() <= pauses {
		return fmt.Errorf("purge deadline %s: want more than %s, which drain_cap and the longer settle may take", d.Deadline, unit.Duration(pauses))
	}
	return nil
}

func (s Settings) settle(o Order) time.Duration {
	if o.Everything {
		return s.SettleEverything.D()
	}
	return s.Settle.D()
}

// spread is how long a CDN takes, after it has accepted a purge, to carry it out
// everywhere. Cloudflare says half of them take less than 150 ms.
func (s Settings) spread(o Order) time.Duration { return s.settle(o) / 3 }

// normalize gives the order as it is journaled, or every mistake in it.
func (o Order) normalize(now time.Time) (Order, error) {
	var m mistakes
	selectors, err := o.Selectors.Normalize()
	if err != nil {
		m.add(err)
	}
	o.Selectors = selectors
	o.Verify = m.clean("verify", o.Verify, cleanURL)
	if len(o.Verify) > maxVerify {
		m.add(&Mistake{"verify", fmt.Sprint(len(o.Verify)), fmt.Sprintf("at most %d URLs", maxVerify)})
	}
	o.Warm, o.Hottest = m.warm(o.Warm), 0
	if o.Expect != "" {
		version, want := cleanVersion(o.Expect)
		if want != "" {
			m.add(&Mistake{"expect", o.Expect, want})
		}
		o.Expect = version
	}
	if !o.Deadline.IsZero() && !o.Deadline.After(now) {
		m.add(&Mistake{"deadline", o.Deadline.Format(time.RFC3339), "a time to come"})
	}
	for _, f := range []struct {
		name, value string
		limit       int
	}{{"idempotency_key", o.IdempotencyKey, maxKey}, {"reason", o.Reason, maxRemark}, {"actor", o.Actor, maxRemark}} {
		if len(f.value) > f.limit {
			m.add(&Mistake{f.name, f.value, fmt.Sprintf("at most %d bytes", f.limit)})
		}
	}
	return o, m.join()
}

// due gives the order its times.
func (o Order) due(now time.Time, s Settings) Order {
	o.Created = now
	latest := now.Add(maxDeadline)
	switch {
	case o.Deadline.IsZero():
		o.Deadline = now.Add(s.Deadline.D())
	case o.Deadline.After(latest):
		o.Deadline = latest
	}
	return o
}
