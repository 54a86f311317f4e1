package purge

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgegw/edge/internal/purge/standin"
)

// Whatever Cloudflare does, the exit code, the journal and the retries are
// right, for faults that pass and for faults that stay until the deadline.
func TestWhateverCloudflareDoes(t *testing.T) {
	cases := map[string]struct {
		fault   standin.Fault
		retried bool
		exit    int // when it stays
	}{
		"429":                           {standin.TooManyRequests, true, ExitRateLimited},
		"code 1134":                     {standin.LimitUnder400, true, ExitRateLimited},
		"200 with success:false":        {standin.SuccessFalse, true, ExitRateLimited},
		"success:false without reason":  {standin.SilentFalse, true, ExitPartial},
		"500":                           {standin.ServerError, true, ExitPartial},
		"502 with a page":               {standin.BadGateway, true, ExitPartial},
		"garbage":                       {standin.Garbage, true, ExitPartial},
		"hanging":                       {standin.Hang, true, ExitPartial},
		"resetting after it applied it": {standin.ResetAfter, true, ExitPartial},
		"400 with strings":              {standin.StringErrors, false, ExitPartial},
		"redirecting":                   {standin.Redirect, false, ExitPartial},
	}
	for name, c := range cases {
		for _, n := range []int{2, 1 << 20} {
			t.Run(fmt.Sprintf("%s, %d times", name, n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s, config := newStandIn(t, "pro", nil)
					s.Fail(n, c.fault)
					w := newWorld()
					dir := t.TempDir()
					j, err := OpenJournal(dir, nil)
					if err != nil {
						t.Fatal(err)
					}
					coordinator := NewCoordinator(j, Parts{Node: w, Fleet: w, Targets: []Target{newTarget(t, s, config)}}, w.hear)
					o := tagged("a")
					o.Deadline = time.Now().Add(5 * time.Minute)
					r := carryOut(t, coordinator, o)
					if err := coordinator.Close(); err != nil {
						t.Fatal(err)
					}
					state, exit := Done, ExitDone
					if n > 2 || !c.retried {
						state, exit = Partial, c.exit
					}
					if r.State != state || r.Exit != exit {
						t.Errorf("%s, exit %d, %+v: want %s, exit %d", r.State, r.Exit, r.Targets, state, exit)
					}
					if retried := w.heard(TargetRetry) > 0; retried != c.retried || r.Finished.After(r.Deadline) {
						t.Errorf("retried: %t, finished %s after acceptance: want %t, 5m at most", retried, r.Finished.Sub(r.Created), c.retried)
					}
					again, events := openJournal(t, dir)
					if len(events) != 0 || len(again.records) != 1 || again.records[0].State != state || again.records[0].Exit != exit {
						t.Errorf("journaled %+v: want %s, exit %d", again.records, state, exit)
					}
				})
			})
		}
	}
}
