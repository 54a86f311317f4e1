package lb

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgegw/edge/internal/named"
)

// row is candidates as a test wrote them.
type row struct {
	up     []bool
	load   []int
	cost   []float64
	weight []float64

	request *http.Request
}

func (r row) Len() int      { return len(r.up) }
func (r row) Up(i int) bool { return r.up[i] }
func (r row) Load(i int) int {
	if r.load == nil {
		return 0
	}
	return r.load[i]
}

func (r row) Cost(i int) float64 {
	if r.cost == nil {
		return 1
	}
	return r.cost[i]
}

func (r row) Weight(i int) float64 {
	if r.weight == nil {
		return 1
	}
	return r.weight[i]
}

func (r row) Standing(i int) bool { return r.up[i] }
func (row) Place(i int) uint64    { return hashed(fnvStart, fmt.Sprint("10.0.0.", i)) }
func (r row) Process(i int) uint64 {
	return r.Place(i) + 1
}
func (row) Client() string { return fmt.Sprint(rand.Uint32()) }
func (row) Shared() bool   { return false }

// Request is another visitor's each time: shares are over many of them.
func (r row) Request() *http.Request {
	if r.request != nil {
		return r.request
	}
	return &http.Request{URL: &url.URL{Path: "/"}, Header: http.Header{"X-Tenant": {fmt.Sprint(rand.Uint64())}}}
}

func allUp(n int) []bool {
	up := make([]bool, n)
	for i := range up {
		up[i] = true
	}
	return up
}

func eachPolicy(t *testing.T, test func(t *testing.T, p Policy)) {
	t.Helper()
	for _, name := range Policies.Names() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := Policies.New(Policies.Example(name))
			if err != nil {
				t.Fatal(err)
			}
			test(t, p)
		})
	}
}

func TestEveryPolicyPicksOnlyWhoIsUp(t *testing.T) {
	t.Parallel()
	eachPolicy(t, func(t *testing.T, p Policy) {
		for _, n := range []int{0, 1, 4, 32, 33, 100} {
			for mask := range 16 {
				up := make([]bool, n)
				any := false
				for i := range up {
					up[i] = mask&(1<<(i%4)) != 0
					any = any || up[i]
				}
				for range 20 {
					got := p.Pick(row{up: up})
					if any != (got >= 0) || (got >= 0 && !up[got]) {
						t.Fatalf("%d candidates, mask %04b: picked %d", n, mask, got)
					}
				}
			}
		}
	})
}

func TestEveryPolicyFindsTheOneWhoIsUpThoughPicksOverlap(t *testing.T) {
	eachPolicy(t, func(t *testing.T, p Policy) {
		for _, n := range []int{4, 100} {
			up := make([]bool, n)
			up[n/2] = true
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for range 500 {
						if got := p.Pick(row{up: up}); got != n/2 {
							t.Errorf("%d candidates: picked %d: want %d", n, got, n/2)
							return
						}
					}
				})
			}
			wg.Wait()
		}
	})
}

func TestEveryPolicyRefusesWordsItDoesNotKnow(t *testing.T) {
	for _, name := range Policies.Names() {
		spec := Policies.Example(name)
		spec.Args = append(spec.Args, "nonsense")
		if _, err := Policies.New(spec); err == nil {
			t.Errorf("%s takes %q", name, spec)
		}
	}
}

func TestEveryPolicySparesAReplicaInSlowStart(t *testing.T) {
	t.Parallel()
	eachPolicy(t, func(t *testing.T, p Policy) {
		for _, n := range []int{4, 100} {
			picks, hits := 200*n, 0
			view := row{up: allUp(n), weight: make([]float64, n), cost: make([]float64, n)}
			for i := range n {
				view.weight[i], view.cost[i] = 1, 1
			}
			view.weight[0], view.cost[0] = 0.1, 10
			for range picks {
				if p.Pick(view) == 0 {
					hits++
				}
			}
			// Its full part is 200, a tenth of it 20; half is the limit.
			if hits > 100 {
				t.Errorf("one of %d in slow start got %d of %d", n, hits, picks)
			}
		}
	})
}

// TestEveryDiscoveryEndsWithItsContext runs under a clock that stands still
// while anything is at work, so an end that takes time would show.
func TestEveryDiscoveryEndsWithItsContext(t *testing.T) {
	for _, name := range Discoveries.Names() {
		t.Run(name, func(t *testing.T) {
			d, err := Discoveries.New(Discoveries.Example(name))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				d.Run(ctx, Feed{Found: func([]Address) {}, Failed: func(error) {}})
			}()
			cancel()
			select {
			case <-done:
			case <-time.After(time.Minute):
				t.Error("Run goes on after its context has ended")
			}
		})
	}
}

func TestEveryDiscoveryRefusesWordsItDoesNotKnow(t *testing.T) {
	for _, name := range Discoveries.Names() {
		for what, change := range map[string]func(*named.Spec){
			"no argument":       func(s *named.Spec) { s.Args = nil },
			"an unknown option": func(s *named.Spec) { s.Options = map[string][]string{"nonsense": {"1"}} },
		} {
			spec := Discoveries.Example(name)
			change(&spec)
			if _, err := Discoveries.New(spec); err == nil {
				t.Errorf("%s takes %s", name, what)
			}
		}
	}
}

func TestStaticReportsItsListOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := must(newStatic(named.Spec{Name: "static", Args: []string{"A.test:1", "[::1]:2"}}))
		ctx, cancel := context.WithCancel(t.Context())
		var reports []string
		go d.Run(ctx, Feed{Found: func(set []Address) { reports = append(reports, fmt.Sprint(set)) }})
		time.Sleep(time.Hour)
		cancel()
		synctest.Wait()
		if want := "[a.test:1 [::1]:2]"; len(reports) != 1 || reports[0] != want {
			t.Errorf("reports %v: want one of %s", reports, want)
		}
	})
}
