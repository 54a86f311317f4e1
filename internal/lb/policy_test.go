package lb

import (
	"testing"
	"time"
)

// shares is how often each of n candidates is picked, of 100 picks each.
func shares(p Policy, view row) []int {
	hits := make([]int, view.Len())
	for range 100 * view.Len() {
		hits[p.Pick(view)]++
	}
	return hits
}

func mustPolicy(t *testing.T, name string) Policy {
	t.Helper()
	p, err := Policies.New(Policies.Example(name))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRoundRobinSharesEvenlyAroundOneThatIsDown(t *testing.T) {
	up := allUp(4)
	up[1] = false
	hits := make([]int, 4)
	p := mustPolicy(t, "round_robin")
	for range 300 {
		hits[p.Pick(row{up: up})]++
	}
	for i, want := range []int{100, 0, 100, 100} {
		if hits[i] != want {
			t.Errorf("%v: want 100 each but for the one that is down", hits)
			break
		}
	}
}

// Among equals every policy shares evenly. 100 picks for each of n: the
// standard deviation of a share is 10, so 45 to 155 holds in all but one of
// 10^6 runs even of 100 shares.
func TestEveryPolicySharesEvenlyAmongEquals(t *testing.T) {
	t.Parallel()
	eachPolicy(t, func(t *testing.T, p Policy) {
		for _, n := range []int{10, 100} {
			for i, hits := range shares(p, row{up: allUp(n)}) {
				if hits < 45 || hits > 155 {
					t.Errorf("candidate %d of %d got %d: want about 100", i, n, hits)
				}
			}
		}
	})
}

func TestLeastTimeTakesTheCheapest(t *testing.T) {
	view := row{up: allUp(5), cost: []float64{9, 8, 1, 7, 3}}
	if hits := shares(mustPolicy(t, "least_time"), view); hits[2] != 500 {
		t.Errorf("%v: want all at the cheapest", hits)
	}
	view.up[2] = false
	if hits := shares(leastTime{}, row{up: view.up, cost: view.cost}); hits[4] != 500 {
		t.Errorf("%v: want all at the cheapest that is up", hits)
	}
}

// Of 100 candidates one is ten times as dear: the best of three draws takes it
// only when all three are it, one in a million.
func TestLeastTimeAvoidsTheDearestOfMany(t *testing.T) {
	view := row{up: allUp(100), cost: make([]float64, 100)}
	for i := range view.cost {
		view.cost[i] = 1
	}
	view.cost[50] = 10
	if hits := shares(leastTime{}, view); hits[50] > 5 {
		t.Errorf("the dearest of 100 got %d of 10000", hits[50])
	}
}

func TestLeastConnTakesTheIdlest(t *testing.T) {
	view := row{up: allUp(4), load: []int{3, 0, 2, 5}}
	if hits := shares(mustPolicy(t, "least_conn"), view); hits[1] != 400 {
		t.Errorf("%v: want all at the idlest", hits)
	}
}

// Two draws of four are never the same replica, so the busiest is never taken;
// and the idlest whenever it is drawn: in half of all picks. 400 picks: 200
// expected, deviation 10.
func TestP2CTakesTheBetterOfTwo(t *testing.T) {
	view := row{up: allUp(4), load: []int{9, 2, 2, 1}}
	if hits := shares(mustPolicy(t, "p2c"), view); hits[0] != 0 || hits[3] < 150 || hits[3] > 250 {
		t.Errorf("%v: want none at the busiest and about 200 at the idlest", hits)
	}
	view.up = []bool{true, false, false, false}
	if hits := shares(mustPolicy(t, "p2c"), view); hits[0] != 400 {
		t.Errorf("%v: want all at the only one", hits)
	}
}

// Of 100 with one idle replica two draws find it with 2 %: 10000 picks, 200
// expected, deviation 14. Three draws, as above 32 replicas: 3 %, 300 and 17.
func TestDrawsAmongMany(t *testing.T) {
	view := row{up: allUp(100), load: make([]int, 100), cost: make([]float64, 100)}
	for i := range 100 {
		view.load[i], view.cost[i] = 5, 5
	}
	view.load[50], view.cost[50] = 0, 0
	for name, want := range map[string]int{"p2c": 200, "least_conn": 300, "least_time": 300} {
		if hits := shares(mustPolicy(t, name), view); hits[50] < want-90 || hits[50] > want+90 {
			t.Errorf("%s: the idlest of 100 got %d of 10000: want about %d", name, hits[50], want)
		}
	}
}

// Up to 32 replicas all are compared, so the idlest is always found.
func TestAFullScanFindsTheIdlest(t *testing.T) {
	view := row{up: allUp(fullScan), load: make([]int, fullScan), cost: make([]float64, fullScan)}
	for i := range fullScan {
		view.load[i], view.cost[i] = 5, 5
	}
	view.load[7], view.cost[7] = 0, 0
	for _, name := range []string{"least_conn", "least_time"} {
		if hits := shares(mustPolicy(t, name), view); hits[7] != 100*fullScan {
			t.Errorf("%s: the idlest of 32 got %d of %d: want all", name, hits[7], 100*fullScan)
		}
	}
}

func TestSlowStartRisesInAStraightLineFromATenth(t *testing.T) {
	r := newReplica("app", "10.0.0.1:80")
	r.slowFrom.Store(1)
	for seconds, want := range map[int]float64{0: 0.1, 1: 0.1, 2: 0.2, 5: 0.5, 9: 0.9} {
		if got := r.weight(1+int64(seconds)*int64(time.Second), 10*time.Second); !near(got, want) {
			t.Errorf("after %d s: %g: want %g", seconds, got, want)
		}
	}
	if got := r.weight(1+int64(10*time.Second), 10*time.Second); got != 1 || r.slowFrom.Load() != 0 {
		t.Errorf("after 10 s: %g, want 1 and over", got)
	}
}

// A new replica in a pool with a history gets less than its share for a start
// under every load that ten requests in flight make.
func TestANewReplicaDrawsNoHerd(t *testing.T) {
	p := rotation(t, 10, "least_time")
	fresh := p.members["10.0.0.1:3000"]
	fresh.record.Store(p.newRecord(fresh))
	fresh.slowFrom.Store(p.now())
	store(&p.median, 20)
	x := &exchange{pool: p, in: get(t)}
	for range 90 {
		if _, ok := x.take(); !ok {
			t.Fatal("no replica")
		}
	}
	// Cost 2·20·(n+1)/0.1 against 20·(m+1): it takes its first request when the
	// others have 20 each.
	if n := fresh.inflight.Load(); n > 1 {
		t.Errorf("the new replica has %d of 90 in flight: want at most 1", n)
	}
}
