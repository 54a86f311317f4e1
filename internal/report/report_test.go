package report

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// played is a tracker whose answers a test gives.
type played struct {
	mu     sync.Mutex
	took   []string
	counts []int
	answer func(n int) Outcome // to the nth attempt, from 0
	calls  int
	hang   bool
}

func (p *played) send(ctx context.Context, t *Trouble, _ time.Time, suppressed int) (Outcome, error) {
	p.mu.Lock()
	n, hang := p.calls, p.hang
	p.calls++
	p.mu.Unlock()
	if hang {
		select {
		case <-ctx.Done():
			return Unreachable, ctx.Err()
		case <-time.After(attempt):
			return Unreachable, errors.New("time-out")
		}
	}
	outcome := Captured
	if p.answer != nil {
		outcome = p.answer(n)
	}
	if outcome != Captured {
		return outcome, errors.New("no")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.took, p.counts = append(p.took, string(t.Kind)+" "+t.Title), append(p.counts, suppressed)
	return Captured, nil
}

func (*played) close() {}

// tally counts events.
type tally struct {
	mu sync.Mutex
	of map[Outcome]int
}

func (c *tally) event(e Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = make(map[Outcome]int)
	}
	c.of[e.Outcome]++
}

func (c *tally) sum() (n int) {
	for _, k := range c.of {
		n += k
	}
	return n
}

func TestAFloodFromManySidesLosesNoFirstReportAndEachHasOneFate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c tally
		p := &played{hang: true}
		r := start(p, c.event)
		// The tracker hangs while 8 sides report 100 likes, 50 times each.
		var sides sync.WaitGroup
		for range 8 {
			sides.Go(func() {
				for range 50 {
					for like := range 100 {
						r.Report(Trouble{Kind: Answer, Title: fmt.Sprint(like)})
					}
				}
			})
		}
		sides.Wait()
		r.Report(Trouble{Kind: Panic, Title: "first"})
		p.mu.Lock()
		p.hang = false
		p.mu.Unlock()
		time.Sleep(time.Hour)
		r.Close()
		got := make(map[string]bool)
		for _, title := range p.took {
			got[title] = true
		}
		if len(got) != 101 {
			t.Errorf("%d likes arrived: want 101", len(got))
		}
		if c.of[Captured] != len(p.took) || c.sum() != 8*50*100+1 {
			t.Errorf("%v for %d reports, of which the tracker took %d", c.of, 8*50*100+1, len(p.took))
		}
		if c.of[Flood] == 0 || c.of[Unreachable] != 0 {
			t.Errorf("%v: want a flood, and none unreachable: they are tried again", c.of)
		}
	})
}

func TestReportersNeverWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c tally
		r := start(&played{hang: true}, c.event)
		synctest.Wait()
		began := time.Now()
		for like := range 10_000 {
			r.Report(Trouble{Kind: Answer, Title: fmt.Sprint(like)})
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("reporting took %v of a hanging tracker's time", took)
		}
		r.Close()
		if took := time.Since(began); took > farewell {
			t.Errorf("closing took %v: want at most %v", took, farewell)
		}
		if c.sum() != 10_000 || c.of[Captured] != 0 {
			t.Errorf("%v: want 10000 drops", c.of)
		}
		r.Report(Trouble{Kind: Answer})
		r.Close()
		if c.sum() != 10_001 {
			t.Error("a report after the end is not counted")
		}
	})
}

func TestWhatFailsIsTriedAgainAndWhatIsRefusedIsNot(t *testing.T) {
	cases := map[string]struct {
		answer func(n int) Outcome
		calls  int
		want   Outcome
	}{
		"down for three attempts": {func(n int) Outcome {
			if n < 3 {
				return Unreachable
			}
			return Captured
		}, 4, Captured},
		"asked for fewer, then not": {func(n int) Outcome {
			if n == 0 {
				return Limited
			}
			return Captured
		}, 2, Captured},
		"refused": {func(int) Outcome { return Refused }, 1, Refused},
		// 1+2+4+8+16+32 s, then once a minute until 15 minutes are over: 63 s and 14 minutes.
		"down for good": {func(int) Outcome { return Unreachable }, 7 + 14, Unreachable},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var counts tally
				p := &played{answer: c.answer}
				r := start(p, counts.event)
				r.Report(Trouble{Kind: Purge, Title: "x"})
				time.Sleep(time.Hour)
				r.Close()
				if p.calls != c.calls || counts.of[c.want] != 1 || counts.sum() != 1 {
					t.Errorf("%d attempts, %v: want %d and one %s", p.calls, counts.of, c.calls, c.want)
				}
			})
		})
	}
}

func TestAReportTellsHowManyWereSuppressedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(played)
		r := start(p, nil)
		for range 105 {
			r.Report(Trouble{Kind: Answer, Title: "x"})
		}
		time.Sleep(refill)
		r.Report(Trouble{Kind: Answer, Title: "x"})
		time.Sleep(time.Second)
		r.Close()
		if want := []int{0, 0, 0, 0, 0, 100}; fmt.Sprint(p.counts) != fmt.Sprint(want) {
			t.Errorf("suppressed before each: %v: want %v", p.counts, want)
		}
	})
}

func TestANilReporterTakesNothing(t *testing.T) {
	var r *Reporter
	r.Report(Trouble{Kind: Panic})
}
