package caddymodule

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// workerEnv makes the test binary a replica that takes its time for each
// request, so that few visitors keep it busy without keeping the machine so.
const workerEnv = "EDGE_TEST_WORKER_VERSION"

// runWorker serves at $PORT until it is asked to finish, and then finishes what
// it has.
func runWorker(version string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		work := time.NewTimer(25 * time.Millisecond)
		defer work.Stop()
		<-work.C
		fmt.Fprintf(w, "%s %d", version, os.Getpid())
	})
	server := &http.Server{Addr: "127.0.0.1:" + os.Getenv("PORT"), Handler: mux}
	go func() {
		<-ctx.Done()
		_ = server.Shutdown(context.Background()) // The process ends with it.
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	return nil
}

func workerPool(t *testing.T, version string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`pool app {
	discover process %s {
		env %s=%s
	}
	health /healthz {
		interval 200ms
	}
	slow_start 1ms
	drain 10s
	autoscale {
		max 4
		target 3
		window 1s
		down 2s
		driver process
	}
}`, self, workerEnv, version)
}

// visiting keeps so many requests under way, until stop is called, which says
// how many were sent. Every failure is the test's.
func (e *edge) visiting(n int, method string) (stop func() int64) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	var sent atomic.Int64
	for range n {
		all.Go(func() {
			for ctx.Err() == nil {
				sent.Add(1)
				r, err := e.try(method, "/work", strings.NewReader("")) // http.NewRequest makes this no body
				if err != nil || r.StatusCode != http.StatusOK {
					e.t.Errorf("%s: %v %v %s", method, r.Response, err, r.Text)
				}
			}
		})
	}
	return func() int64 {
		cancel()
		all.Wait()
		return sent.Load()
	}
}

// workers lists who answers: processes by version.
func (e *edge) workers() map[string]map[int]bool {
	who := make(map[string]map[int]bool)
	for range 40 {
		var version string
		var pid int
		r := e.get("/work")
		if _, err := fmt.Sscan(r.Text, &version, &pid); err != nil {
			e.t.Errorf("%d %q: %v", r.StatusCode, r.Text, err)
			continue
		}
		if who[version] == nil {
			who[version] = make(map[int]bool)
		}
		who[version][pid] = true
	}
	return who
}

func TestTheLoadDecidesHowManyProcessesRun(t *testing.T) {
	e := startEdge(t, workerPool(t, "v1"), "edge_proxy app")
	eventually(t, "one is up", func() bool { return e.replicasUp() == 1 })
	pids := make(map[int]bool)
	remember := func() {
		for _, of := range e.workers() {
			for pid := range of {
				pids[pid] = true
			}
		}
	}
	few, posting := e.visiting(1, http.MethodGet), e.visiting(1, http.MethodPost)
	many := e.visiting(10, http.MethodGet)
	eventually(t, "twelve at a time get four processes", func() bool { return e.replicasUp() == 4 })
	sent := posting()
	remember()

	// One crashes: what was under way there is asked of another.
	victim := 0
	for pid := range e.workers()["v1"] {
		victim = pid
	}
	if err := signalTo(victim, os.Kill); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another is up in its place", func() bool {
		return e.replicasUp() == 4 && !e.workers()["v1"][victim]
	})
	remember()

	// Another command: all are replaced, under load.
	if err := e.load(workerPool(t, "v2"), "edge_proxy app"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "four of the new command serve, and nobody else", func() bool {
		who := e.workers()
		return len(who) == 1 && len(who["v2"]) == 4
	})
	remember()

	posting = e.visiting(1, http.MethodPost)
	sent += many()
	eventually(t, "one is left", func() bool {
		s := e.poolStatus()
		return len(s.Replicas) == 1 && s.Replicas[0].State == "up" && s.Scaling.Driver != nil && s.Scaling.Driver.Told == 1
	})
	sent += few() + posting()
	eventually(t, "the process of every other has ended", func() bool {
		running := 0
		for pid := range pids {
			if signalTo(pid, syscall.Signal(0)) == nil {
				running++
			}
		}
		return running == 1
	})
	if len(pids) < 6 {
		t.Errorf("%d processes were seen: want those of both commands", len(pids))
	}
	if status := e.poolStatus(); status.Desired != 1 || status.Refused != 0 {
		t.Errorf("%d desired, %d refused: want 1 and none", status.Desired, status.Refused)
	}
	text := scrapeText(t, e.metricsURL())
	for _, line := range []string{`edge_pool_driver_replicas{driver="process",pool="app"} 1`, `edge_pool_driver_failures{driver="process",pool="app"} 0`} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("the metrics lack %s", line)
		}
	}
	t.Logf("%d requests, %d processes", sent, len(pids))
}
