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
	panic(http.Serve(l, say("hello")))
}

// startReplica runs this test binary as a replica.
func startReplica(t *testing.T) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), replicaEnv+"=1")
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
		cmd, address := startReplica(t)
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
