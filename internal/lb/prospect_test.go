package lb

import (
	"net/http"
	"testing"
	"testing/synctest"
)

// What is foreseen is what comes, and foreseeing moves nobody's turn.
func TestTheProspectIsTheNextPick(t *testing.T) {
	for _, name := range []string{"round_robin", "least_conn", "least_time"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, 4, policyConfig(name))
				for i, r := range w.pool.view.Load().members {
					r.inflight.Store(int64(10 + i)) // no ties, which are drawn
				}
				for range 20 {
					foreseen := w.pool.Prospect(w.request())
					for range 3 {
						if again := w.pool.Prospect(w.request()); again.Replica != foreseen.Replica {
							t.Fatalf("foreseen %+v, then %+v: nothing happened between the two", foreseen, again)
						}
					}
					x := exchange{pool: w.pool, view: w.pool.view.Load(), in: w.request()}
					taken, ok := x.take()
					if !ok || taken.replica.id != foreseen.Replica || string(taken.replica.address) != foreseen.Address {
						t.Fatalf("foreseen %+v, and %v got it", foreseen, taken.replica)
					}
					w.pool.unclaim(taken.replica)
				}
			})
		})
	}
}

func TestTheProspectOfAPoolWithoutHelp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 2, policyConfig("p2c"))
		want := func(replica bool, why string) {
			t.Helper()
			if got := w.pool.Prospect(w.request()); (got.Replica != "") != replica || got.Why != why {
				t.Errorf("%+v: want a replica: %t, because %q", got, replica, why)
			}
		}
		members := w.pool.view.Load().members
		want(true, "p2c: one of 2 that may have it")
		members[0].state.Store(uint32(sick))
		want(true, "p2c: one of 1 that may have it")
		members[1].inflight.Store(1e6)
		want(false, "every replica that takes requests is full: it would wait for one")
		members[1].inflight.Store(0)
		members[1].state.Store(uint32(sick))
		want(true, "nobody is in good standing, so all are tried; p2c: one of 2 that may have it")
		for _, r := range members {
			r.state.Store(uint32(draining))
		}
		want(false, "no replica takes requests: it would wait for one")
	})
	closed := NewPool("app", nil)
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodGet, "http://pool/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := closed.Prospect(r); got.Replica != "" || got.Why == "" {
		t.Errorf("of a closed pool: %+v", got)
	}
}
