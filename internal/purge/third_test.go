package purge

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgegw/edge/internal/purge/standin"
)

// unreliable is a stand-in that fails a third of the requests, in all ways that
// are worth another try.
type unreliable struct {
	server *standin.Server

	mu      sync.Mutex
	dice    *rand.Rand
	asked   int
	failed  int
	refused int // for its limits, though nothing was to fail
}

var passing = []standin.Fault{standin.TooManyRequests, standin.LimitUnder400, standin.SuccessFalse, standin.SilentFalse,
	standin.ServerError, standin.BadGateway, standin.Garbage, standin.Hang, standin.ResetAfter}

func (u *unreliable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := u.next()
	if fault == standin.Hang {
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
	// The lock keeps another request from taking this one's fault.
	u.mu.Lock()
	defer u.mu.Unlock()
	if fault != "" {
		u.server.Fail(1, fault)
		u.server.ServeHTTP(w, r)
		return
	}
	got := httptest.NewRecorder()
	u.server.ServeHTTP(got, r)
	if got.Code == http.StatusTooManyRequests {
		u.refused++
	}
	for name, values := range got.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(got.Code)
	_, _ = w.Write(got.Body.Bytes()) // into a recorder
}

// next is the fault of the next request; "" for none.
func (u *unreliable) next() standin.Fault {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.asked++
	if u.dice.IntN(3) > 0 {
		return ""
	}
	u.failed++
	return passing[u.dice.IntN(len(passing))]
}

// A third of Cloudflare's answers fail: every purge is done all the same, and
// the plan's limits are kept.
func TestPurgesCompleteThoughAThirdOfTheAnswersFail(t *testing.T) {
	for plan, deadline := range map[string]time.Duration{"free": time.Hour, "pro": 10 * time.Minute, "business": 10 * time.Minute, "enterprise": 10 * time.Minute} {
		for seed := range uint64(3) {
			t.Run(fmt.Sprint(plan, " ", seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s, config := newStandIn(t, plan, nil)
					u := &unreliable{server: s, dice: rand.New(rand.NewPCG(seed, 7))}
					w := newWorld()
					j, err := OpenJournal(t.TempDir(), nil)
					if err != nil {
						t.Fatal(err)
					}
					c := NewCoordinator(j, Parts{Node: w, Fleet: w, Targets: []Target{newTarget(t, u, config)}}, w.hear)
					const orders = 20
					var ids []string
					for i := range orders {
						o := tagged(fmt.Sprint("page-", i))
						o.Deadline = time.Now().Add(deadline)
						r, err := c.Submit(t.Context(), o)
						if err != nil {
							t.Fatal(err)
						}
						ids = append(ids, r.ID)
					}
					for _, id := range ids {
						if r, ok := c.Wait(t.Context(), id); !ok || r.State != Done || r.Exit != ExitDone {
							t.Errorf("%s, exit %d, %+v: want done", r.State, r.Exit, r.Targets)
						}
					}
					if err := c.Close(); err != nil {
						t.Error(err)
					}
					if len(s.Calls()) < 2*orders || u.failed < 10 || u.refused > 0 {
						t.Errorf("%d accepted, %d of %d failed, %d refused for the plan's limits: want two for each order, some, and none", len(s.Calls()), u.failed, u.asked, u.refused)
					}
				})
			})
		}
	}
}
