package lb

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const replicaEnv = "LB_TEST_REPLICA"

// runReplica is a replica as a process of its own: it says where it listens
// and serves until it is killed.
func runReplica() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	began := time.Now()
	panic(http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch os.Getenv(replicaEnv) {
		case failsAlways:
			status(http.StatusServiceUnavailable)(w, r)
			return
		case failsByTurns:
			if time.Since(began)/(200*time.Millisecond)%2 == 0 {
				status(http.StatusServiceUnavailable)(w, r)
				return
			}
		}
		<-time.After(5 * time.Millisecond) // an application that does something
		say("hello")(w, r)
	})))
}

// How a replica behaves.
const (
	works        = "works"
	failsAlways  = "fails always"
	failsByTurns = "fails for a fifth of a second, then works as long"
)

// startReplica runs this test binary as a replica.
func startReplica(t *testing.T, how string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), replicaEnv+"="+how)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return cmd, strings.TrimSpace(line)
}

func TestKillingOneOfThreeUnderLoadFailsNoGET(t *testing.T) {
	var addresses []string
	var victim *exec.Cmd
	for range 3 {
		cmd, address := startReplica(t, works)
		victim, addresses = cmd, append(addresses, address)
	}
	c := testConfig()
	c.Discover = listing(&app{address: addresses[0]}, &app{address: addresses[1]}, &app{address: addresses[2]})
	c.Health.Path = ""
	c.Policy.Name = "least_time"
	p, seen := newTestPool(t, c)
	for _, address := range addresses {
		seen.await(t, ReplicaUp, address)
	}

	const workers, each = 16, 250
	var done, failed atomic.Int64
	var kill sync.Once
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				code, text, trace, err := fetch(context.Background(), p, http.MethodGet, "")
				if err != nil || code != http.StatusOK || text != "hello" {
					failed.Add(1)
					t.Errorf("GET: %d %q %+v %v", code, text, trace, err)
				}
				if done.Add(1) == workers*each/4 {
					kill.Do(func() { _ = victim.Process.Kill() })
				}
			}
		})
	}
	wg.Wait()
	seen.await(t, ReplicaSick, addresses[2])
	noneInFlight(t, p)
}

// TestAProcessThatFailsFastReachesNoVisitorOfASafeRequest: its 503 comes at
// once, while the others work for 5 ms. To policies that count requests it
// looks idle. Its checks pass: it accepts connections.
func TestAProcessThatFailsFastReachesNoVisitorOfASafeRequest(t *testing.T) {
	for _, how := range []string{failsAlways, failsByTurns} {
		for _, policy := range []string{"least_time", "least_conn"} {
			t.Run(policy+", one "+how, func(t *testing.T) {
				_, bad := startReplica(t, how)
				all := []*app{{address: bad}}
				for range 4 {
					_, address := startReplica(t, works)
					all = append(all, &app{address: address})
				}
				c := testConfig(all...)
				c.Health.Path = ""
				c.Policy.Name = policy
				p, seen := newTestPool(t, c)
				for _, a := range all {
					seen.await(t, ReplicaUp, a.address)
				}
				const workers, each = 16, 250
				var wg sync.WaitGroup
				for range workers {
					wg.Go(func() {
						for range each {
							code, text, trace, err := fetch(context.Background(), p, http.MethodGet, "")
							if err != nil || code != http.StatusOK || text != "hello" {
								t.Errorf("GET: %d %q %+v %v", code, text, trace, err)
							}
						}
					})
				}
				wg.Wait()
				r, _ := replicaOf(p, bad)
				if share := float64(r.Requests) / (workers * each); share > 0.05 {
					t.Errorf("it drew %.1f %% of the requests: want next to none of its fifth", 100*share)
				}
				noneInFlight(t, p)
			})
		}
	}
}
