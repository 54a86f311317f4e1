package lb

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/named"
	"github.com/edgegw/edge/internal/unit"
)

// childEnv says how the test binary, as a child of a pool, behaves.
const childEnv = "LB_TEST_CHILD"

// runChild serves on the port that it is given until it is asked to finish.
func runChild(kind string) {
	if kind == "broken" {
		fmt.Fprintln(os.Stderr, "cannot read its settings")
		os.Exit(7)
	}
	version := kind
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if kind == "unready" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("/crash", func(http.ResponseWriter, *http.Request) { os.Exit(9) })
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "%s %d", version, os.Getpid())
	})
	if port := os.Args[len(os.Args)-1]; port != os.Getenv("PORT") {
		panic("the command says port " + port + ", the variable " + os.Getenv("PORT"))
	}
	server := &http.Server{Addr: "127.0.0.1:" + os.Getenv("PORT"), Handler: mux}
	asked, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		<-asked.Done()
		_ = server.Shutdown(context.Background())
	}()
	fmt.Println("listening as", version)
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		panic(err)
	}
}

// childrenOf is a discovery of processes of one kind.
func childrenOf(kind string, replicas int, options ...string) named.Spec {
	s := named.Spec{Name: "process", Args: []string{os.Args[0], "-port", "{port}"}, Options: map[string][]string{
		"env": {childEnv + "=" + kind}, "replicas": {fmt.Sprint(replicas)},
	}}
	for i := 0; i+1 < len(options); i += 2 {
		s.Options[options[i]] = []string{options[i+1]}
	}
	return s
}

func childConfig(spec named.Spec) Config {
	c := testConfig()
	c.Discover = []named.Spec{spec}
	c.Drain = unit.Duration(5 * time.Second)
	return c
}

func upCount(p *Pool) (n int) {
	for _, r := range p.Status().Replicas {
		if r.State == "up" {
			n++
		}
	}
	return n
}

// answers lists who answers, as the children say: kind and process.
func answers(t *testing.T, p *Pool) []string {
	t.Helper()
	who := make(map[string]bool)
	for range 40 {
		code, text, trace := mustGet(t, p)
		if code != http.StatusOK {
			t.Fatalf("GET: %d %q %+v", code, text, trace)
		}
		who[text] = true
	}
	var list []string
	for text := range sorted(who) {
		list = append(list, text)
	}
	return list
}

func pidsOf(t *testing.T, list []string) (pids []int) {
	t.Helper()
	for _, text := range list {
		var kind string
		var pid int
		if _, err := fmt.Sscan(text, &kind, &pid); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		pids = append(pids, pid)
	}
	return pids
}

func signalTo(pid int, signal os.Signal) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return p.Signal(signal)
}

func alive(pid int) bool { return signalTo(pid, syscall.Signal(0)) == nil }

// crowd sends GETs from several goroutines until it is told to stop, and then
// says how many failed of how many.
func crowd(t *testing.T, p *Pool) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var sent, failed atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for ctx.Err() == nil {
				code, text, trace, err := fetch(context.Background(), p, http.MethodGet, "")
				sent.Add(1)
				if err != nil || code != http.StatusOK {
					failed.Add(1)
					t.Errorf("GET: %d %q %+v %v", code, text, trace, err)
				}
			}
		})
	}
	return func() {
		cancel()
		all.Wait()
		t.Logf("%d of %d GETs failed", failed.Load(), sent.Load())
	}
}

func TestAPoolRunsItsReplicas(t *testing.T) {
	p, seen := newTestPool(t, childConfig(childrenOf("one", 2)))
	eventually(t, "two are up", func() bool { return upCount(p) == 2 })
	pids := pidsOf(t, answers(t, p))
	if len(pids) != 2 {
		t.Fatalf("%v answer: want two processes", pids)
	}
	if e := seen.await(t, ReplicaOutput, ""); e.Stream != "stdout" || e.Why != "listening as one" || e.Pool != "app" {
		t.Errorf("%+v: want the line that a replica wrote", e)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d is there after the pool was closed", pid)
		}
	}
	if n := seen.count(ProcessStopped); n != 2 {
		t.Errorf("%d processes were stopped: want 2", n)
	}
}

func TestAReplicaThatCrashesIsStartedAgain(t *testing.T) {
	p, seen := newTestPool(t, childConfig(childrenOf("one", 2)))
	eventually(t, "two are up", func() bool { return upCount(p) == 2 })
	before := pidsOf(t, answers(t, p))
	stop := crowd(t, p)
	if err := signalTo(before[0], os.Kill); err != nil {
		t.Fatal(err)
	}
	if e := seen.await(t, ProcessExited, ""); e.Err == nil || !strings.Contains(e.Err.Error(), "killed") {
		t.Errorf("%+v: want how it ended", e)
	}
	eventually(t, "two are up again", func() bool { return upCount(p) == 2 && len(p.Status().Replicas) == 2 })
	stop()
	after := pidsOf(t, answers(t, p))
	if slices.Contains(after, before[0]) || !slices.Contains(after, before[1]) || len(after) != 2 {
		t.Errorf("processes %v became %v: want the first replaced, and it alone", before, after)
	}
	eventually(t, "no problem is left", func() bool { return p.Status().Sources[0].Problem == "" })
}

func TestTheOnlyReplicaCrashesAndVisitorsWaitForTheNext(t *testing.T) {
	c := childConfig(childrenOf("one", 1))
	c.Queue.Wait = ms(10_000)
	c.Retry.Budget = 1 // of requests that have hardly begun to come
	p, seen := newTestPool(t, c)
	for range 3 {
		eventually(t, "one is up", func() bool { return upCount(p) == 1 && len(p.Status().Replicas) == 1 })
		pid := pidsOf(t, answers(t, p))[0]
		stop := crowd(t, p)
		if err := signalTo(pid, os.Kill); err != nil {
			t.Fatal(err)
		}
		seen.await(t, ProcessExited, "")
		eventually(t, "another answers", func() bool { return pidsOf(t, answers(t, p))[0] != pid })
		stop()
		seen.forget()
	}
	noneInFlight(t, p)
}

func TestOtherWordsReplaceProcessesOneByOne(t *testing.T) {
	p, _ := newTestPool(t, childConfig(childrenOf("one", 3)))
	eventually(t, "three are up", func() bool { return upCount(p) == 3 })
	before := pidsOf(t, answers(t, p))
	stop := crowd(t, p)

	// What is not the program changes nothing.
	if err := p.Configure(childConfig(childrenOf("one", 3, "grace", "7s"))); err != nil {
		t.Fatal(err)
	}
	if err := p.Configure(childConfig(childrenOf("two", 3))); err != nil {
		t.Fatal(err)
	}
	most, least := 0, 3
	eventually(t, "three new ones serve", func() bool {
		up, fresh := 0, 0
		for _, r := range p.Status().Replicas {
			if r.State == "up" {
				up++
			}
		}
		most, least = max(most, up), min(least, up)
		for _, text := range answers(t, p) {
			if strings.HasPrefix(text, "two ") {
				fresh++
			} else {
				return false
			}
		}
		return fresh == 3
	})
	stop()
	if most > 4 || least < 3 {
		t.Errorf("%d to %d were up at a time: want 3 or 4", least, most)
	}
	eventually(t, "the old ones are gone", func() bool { return !slices.ContainsFunc(before, alive) })
}

func TestAReloadWithTheSameWordsRestartsNobody(t *testing.T) {
	p, seen := newTestPool(t, childConfig(childrenOf("one", 2)))
	eventually(t, "two are up", func() bool { return upCount(p) == 2 })
	before := answers(t, p)
	for n := range 5 {
		c := childConfig(childrenOf("one", 2, "grace", fmt.Sprintf("%ds", n+1), "ready", "30s"))
		c.Health.Interval = ms(21 + n)
		if err := p.Configure(c); err != nil {
			t.Fatal(err)
		}
		if after := answers(t, p); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Fatalf("%v became %v", before, after)
		}
	}
	if n := seen.count(ProcessStarted); n != 2 {
		t.Errorf("%d processes were started: want 2", n)
	}
	// More, and fewer, leave those that stay alone.
	if err := p.Configure(childConfig(childrenOf("one", 3))); err != nil {
		t.Fatal(err)
	}
	eventually(t, "three are up", func() bool { return upCount(p) == 3 })
	if err := p.Configure(childConfig(childrenOf("one", 2))); err != nil {
		t.Fatal(err)
	}
	eventually(t, "two are left", func() bool { return len(p.Status().Replicas) == 2 })
	if after := answers(t, p); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("%v became %v", before, after)
	}
}

func TestAProgramThatDoesNotRunLeavesTheOldOne(t *testing.T) {
	p, seen := newTestPool(t, childConfig(childrenOf("one", 2)))
	eventually(t, "two are up", func() bool { return upCount(p) == 2 })
	before := answers(t, p)
	if err := p.Configure(childConfig(childrenOf("broken", 2))); err != nil {
		t.Fatal(err)
	}
	eventually(t, "two starts came to nothing", func() bool { return seen.count(ProcessExited) >= 2 })
	if after := answers(t, p); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("%v became %v", before, after)
	}
	if problem := p.Status().Sources[0].Problem; !strings.Contains(problem, "exit status 7: cannot read its settings") {
		t.Errorf("problem %q: want how it ended, and what it said", problem)
	}
	if seen.count(DiscoveryFailed) != 1 || seen.count(DiscoveryRecovered) != 0 {
		t.Errorf("%d times failed, %d recovered: want one, and no recovery", seen.count(DiscoveryFailed), seen.count(DiscoveryRecovered))
	}
	if err := p.Configure(childConfig(childrenOf("one", 2))); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no problem is left", func() bool { return p.Status().Sources[0].Problem == "" })
	if after := answers(t, p); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("%v became %v", before, after)
	}
}

func TestAProcessThatIsNotUpInTimeIsStopped(t *testing.T) {
	p, seen := newTestPool(t, childConfig(childrenOf("unready", 1, "ready", "300ms")))
	seen.await(t, ProcessLate, "")
	seen.await(t, ProcessStopped, "")
	eventually(t, "another is tried", func() bool { return seen.count(ProcessStarted) >= 2 })
	if problem := p.Status().Sources[0].Problem; problem != "a process was not up after 300ms" {
		t.Errorf("problem %q", problem)
	}
}

func TestAProcessThatAnOperatorDrainsIsReplaced(t *testing.T) {
	p, seen := newTestPool(t, childConfig(childrenOf("one", 2)))
	eventually(t, "two are up", func() bool { return upCount(p) == 2 })
	before := pidsOf(t, answers(t, p))
	stop := crowd(t, p)
	victim := p.Status().Replicas[0]
	if _, err := p.SetAside(Selection{Replica: victim.ID}, true); err != nil {
		t.Fatal(err)
	}
	seen.await(t, ProcessStopped, victim.Address)
	eventually(t, "two are up again", func() bool { return upCount(p) == 2 && len(p.Status().Replicas) == 2 })
	stop()
	after := pidsOf(t, answers(t, p))
	kept := 0
	for _, pid := range after {
		if slices.Contains(before, pid) {
			kept++
		}
	}
	if kept != 1 || len(after) != 2 {
		t.Errorf("processes %v became %v: want one replaced", before, after)
	}
}

func TestProcessesGiveWayToAnotherDiscovery(t *testing.T) {
	p, seen := newTestPool(t, childConfig(childrenOf("one", 2)))
	eventually(t, "two are up", func() bool { return upCount(p) == 2 })
	pids := pidsOf(t, answers(t, p))
	stop := crowd(t, p)
	other := newApp(t, say("other"))
	c := testConfig(other)
	if err := p.Configure(c); err != nil {
		t.Fatal(err)
	}
	eventually(t, "both are stopped", func() bool { return seen.count(ProcessStopped) == 2 })
	stop()
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d is still there", pid)
		}
	}
	if got := answers(t, p); fmt.Sprint(got) != "[other]" {
		t.Errorf("%v answer: want the other discovery's", got)
	}
}
