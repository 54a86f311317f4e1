package lb

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/autoscale"
	"github.com/edgegw/edge/internal/named"
)

// platform runs replicas for a pool: it takes orders as a webhook, starts
// servers, ends those that it is told to end and no others, and lists what runs
// in a file that the pool reads.
type platform struct {
	t    *testing.T
	file string

	mu     sync.Mutex
	apps   map[string]*app
	active map[string]*atomic.Int64
	orders []int
	ids    map[string]bool
	faults atomic.Int64   // calls that are to fail
	failed atomic.Int64   // that did
	later  atomic.Bool    // those ask to come again in an hour
	tried  map[string]int // ids of failed calls, and what they asked for
}

func newPlatform(t *testing.T) (*platform, string) {
	t.Helper()
	f := &platform{t: t, file: filepath.Join(t.TempDir(), "replicas"), apps: make(map[string]*app), active: make(map[string]*atomic.Int64), ids: make(map[string]bool), tried: make(map[string]int)}
	f.startLocked()
	f.listLocked()
	server := httptest.NewServer(http.HandlerFunc(f.order))
	t.Cleanup(server.Close)
	return f, server.URL
}

func (f *platform) startLocked() {
	busy := new(atomic.Int64)
	a := newApp(f.t, func(w http.ResponseWriter, r *http.Request) {
		busy.Add(1)
		defer busy.Add(-1)
		select { // work
		case <-time.After(15 * time.Millisecond):
		case <-r.Context().Done():
		}
		fmt.Fprint(w, "done")
	})
	f.apps[a.address], f.active[a.address] = a, busy
}

func (f *platform) listLocked() {
	var text strings.Builder
	for address := range sorted(f.apps) {
		text.WriteString(address + "\n")
	}
	if err := os.WriteFile(f.file+".new", []byte(text.String()), 0o600); err != nil {
		f.t.Error(err)
	}
	if err := os.Rename(f.file+".new", f.file); err != nil {
		f.t.Error(err)
	}
}

func (f *platform) order(w http.ResponseWriter, r *http.Request) {
	var m struct {
		Data struct {
			Replicas int
			Remove   []autoscale.Victim
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		f.t.Error(err)
	}
	if f.faults.Add(-1) >= 0 {
		f.failed.Add(1)
		f.mu.Lock()
		defer f.mu.Unlock()
		f.tried[r.Header.Get("Webhook-Id")] = m.Data.Replicas
		if f.later.Load() {
			w.Header().Set("Retry-After", "3600")
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if id := r.Header.Get("Webhook-Id"); f.ids[id] {
		return // done already
	} else {
		f.ids[id] = true
	}
	f.orders = append(f.orders, m.Data.Replicas)
	for _, victim := range m.Data.Remove {
		if n := f.active[victim.Address].Load(); n != 0 {
			f.t.Errorf("%s is to be ended with %d requests under way", victim.Address, n)
		}
		f.apps[victim.Address].CloseClientConnections()
		delete(f.apps, victim.Address)
	}
	if len(f.apps) > m.Data.Replicas {
		f.t.Errorf("%d replicas are wanted, of %d, and %d are named to end", m.Data.Replicas, len(f.apps), len(m.Data.Remove))
	}
	for len(f.apps) < m.Data.Replicas {
		f.startLocked()
	}
	f.listLocked()
}

func (f *platform) running() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.apps)
}

// drivenConfig follows the platform's file, and lets it be driven.
func drivenConfig(f *platform, url string) Config {
	c := testConfig()
	c.Discover = []named.Spec{{Name: "file", Args: []string{f.file}, Options: map[string][]string{"interval": {"20ms"}}}}
	c.Drain = ms(5000)
	c.Autoscale = autoscale.Config{
		Max: 5, Target: 4, Window: ms(1000), Down: ms(1000),
		Driver: named.Spec{Name: "webhook", Args: []string{url}, Options: map[string][]string{"secret": {"0123456789abcdef01234567"}, "pause": {"0s"}}},
	}
	return c
}

// visitors keep so many requests under way until they are told to stop.
func visitors(t *testing.T, p *Pool, n int) (stop func() (sent int64)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	var sent atomic.Int64
	for range n {
		all.Go(func() {
			for ctx.Err() == nil {
				code, text, trace, err := fetch(context.Background(), p, http.MethodGet, "")
				sent.Add(1)
				if err != nil || code != http.StatusOK {
					t.Errorf("GET: %d %q %+v %v", code, text, trace, err)
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

func TestAWebhookFollowsTheLoadAndNobodyIsCutOff(t *testing.T) {
	f, url := newPlatform(t)
	p, seen := newTestPool(t, drivenConfig(f, url))
	eventually(t, "the first is up", func() bool { return upCount(p) == 1 })
	few := visitors(t, p, 1)
	many := visitors(t, p, 15) // sixteen at a time, four each
	eventually(t, "four run", func() bool { return f.running() == 4 && upCount(p) == 4 })
	sent := many()
	eventually(t, "one is left", func() bool { return f.running() == 1 && len(p.Status().Replicas) == 1 })
	sent += few()
	if seen.count(ScaleAsked) < 2 {
		t.Errorf("%d orders were told of: want two at least", seen.count(ScaleAsked))
	}
	eventually(t, "one was told, without a problem", func() bool {
		d := p.Status().Scaling.Driver
		return d != nil && d.Told == 1 && d.Problem == "" && len(d.Draining) == 0
	})
	t.Logf("%d GETs, orders %v", sent, f.orders)
}

func TestAFailingDriverTouchesNobodyAndIsAskedAgain(t *testing.T) {
	f, url := newPlatform(t)
	f.faults.Store(1 << 30)
	p, seen := newTestPool(t, drivenConfig(f, url))
	eventually(t, "the first is up", func() bool { return upCount(p) == 1 })
	stop := visitors(t, p, 10)
	seen.await(t, ScaleFailed, "")
	eventually(t, "the problem shows", func() bool {
		d := p.Status().Scaling.Driver
		return d != nil && d.Problem == "webhook: status 503 Service Unavailable" && d.Failures > 0 && d.NextTry.After(time.Now())
	})
	f.faults.Store(0)
	eventually(t, "three run", func() bool { return f.running() == 3 })
	eventually(t, "the problem is over", func() bool { d := p.Status().Scaling.Driver; return d.Problem == "" && d.Failures == 0 })
	stop()
	if n := f.failed.Load(); n > 6 {
		t.Errorf("%d calls within seconds: want longer and longer pauses", n)
	}
}

func TestAnOrderThatIsTriedAgainIsTheSame(t *testing.T) {
	f, url := newPlatform(t)
	f.faults.Store(3)
	p, _ := newTestPool(t, drivenConfig(f, url))
	eventually(t, "the first is up", func() bool { return upCount(p) == 1 })
	stop := visitors(t, p, 10)
	eventually(t, "three run", func() bool { return f.running() == 3 })
	stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	numbers := make(map[int]bool)
	for _, n := range f.tried {
		numbers[n] = true
	}
	if len(f.tried) != len(numbers) || f.failed.Load() != 3 {
		t.Errorf("%d calls failed, as the orders %v: want an id for each number", f.failed.Load(), f.tried)
	}
}

func TestADriverThatAsksForPatienceGetsIt(t *testing.T) {
	f, url := newPlatform(t)
	f.faults.Store(1 << 30)
	f.later.Store(true)
	p, _ := newTestPool(t, drivenConfig(f, url))
	eventually(t, "the first is up", func() bool { return upCount(p) == 1 })
	stop := visitors(t, p, 10)
	eventually(t, "the next try is in an hour", func() bool {
		d := p.Status().Scaling.Driver
		return d != nil && d.NextTry.After(time.Now().Add(50*time.Minute))
	})
	stop()
}

func TestWhoDrainsIsTakenBackWhenTheLoadIs(t *testing.T) {
	f, url := newPlatform(t)
	c := drivenConfig(f, url)
	p, _ := newTestPool(t, c)
	few := visitors(t, p, 15)
	eventually(t, "four run", func() bool { return f.running() == 4 && upCount(p) == 4 })
	f.faults.Store(1 << 30) // nobody listens to orders now
	few()
	eventually(t, "three drain", func() bool {
		d := p.Status().Scaling.Driver
		return d != nil && len(d.Draining) == 3 && upCount(p) == 1
	})
	// Discovery goes on naming them, and reports anew: they stay aside.
	other, err := p.Register(newApp(t, say("another")).address, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other is up", func() bool { return upCount(p) == 2 })
	again := visitors(t, p, 15)
	eventually(t, "they are taken back", func() bool { return upCount(p) == 5 && len(p.Status().Scaling.Driver.Draining) == 0 })
	again()
	if err := p.Deregister(other); err != nil {
		t.Fatal(err)
	}
	// Another driver, or none, leaves nobody set aside.
	eventually(t, "three drain again", func() bool { return len(p.Status().Scaling.Driver.Draining) == 3 && upCount(p) == 1 })
	c.Autoscale.Driver = named.Spec{}
	if err := p.Configure(c); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all are up", func() bool { return upCount(p) == 4 })
	if d := p.Status().Scaling.Driver; d != nil {
		t.Errorf("%+v without a driver", d)
	}
}

func TestAGatewayThatStartsAsksForNothingItHasNotSeen(t *testing.T) {
	f, url := newPlatform(t)
	f.mu.Lock()
	for range 4 {
		f.startLocked()
	}
	f.listLocked()
	f.mu.Unlock()
	c := drivenConfig(f, url)
	c.Autoscale.Down = ms(60_000)
	p, _ := newTestPool(t, c)
	eventually(t, "five are up", func() bool { return upCount(p) == 5 })
	eventually(t, "five is what there is", func() bool { d := p.Status().Scaling.Driver; return d != nil && d.Told == 5 })
	stop := visitors(t, p, 1)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 200 {
		<-tick.C
	}
	stop()
	f.mu.Lock()
	defer f.mu.Unlock()
	if slices.Min(append(f.orders, 5)) < 5 {
		t.Errorf("orders %v: want none for fewer than the five that run", f.orders)
	}
}

// The pool measures and steers in two goroutines, of which the first may be late.
func TestANumberFromBeforeTheReplicasWereSeenDrainsNobody(t *testing.T) {
	f, url := newPlatform(t)
	f.mu.Lock()
	for range 4 {
		f.startLocked()
	}
	f.listLocked()
	f.mu.Unlock()
	c := drivenConfig(f, url)
	c.Autoscale.Down, c.Autoscale.Driver = ms(60_000), named.Spec{}
	p, _ := newTestPool(t, c)
	eventually(t, "five are up", func() bool { return upCount(p) == 5 })
	driver, err := autoscale.Drivers.New(drivenConfig(f, url).Autoscale.Driver)
	if err != nil {
		t.Fatal(err)
	}
	p.scaling.mu.Lock()
	p.scaling.past, p.scaling.last = autoscale.Past{}, autoscale.Decision{Desired: 1}
	p.scaling.mu.Unlock()
	l := &pilot{pool: p, driver: driver, name: "webhook"}
	for range 3 {
		l.step(t.Context(), time.Now())
	}
	if l.told != 5 || len(l.victims) != 0 || f.running() != 5 {
		t.Errorf("told %d, draining %v, %d run: want all five left alone", l.told, l.victims, f.running())
	}
}

func TestTheDriverIsWhoRunsTheReplicas(t *testing.T) {
	other := Config{Discover: []named.Spec{childrenOf("one", 1)}, Autoscale: autoscale.Config{Driver: autoscale.Drivers.Example("webhook")}}
	other.Autoscale.Driver.Name = "webhook"
	none := Config{Autoscale: autoscale.Config{Driver: named.Spec{Name: "process"}}}
	unknown := Config{Autoscale: autoscale.Config{Driver: named.Spec{Name: "nomad"}}}
	for want, c := range map[string]Config{
		"autoscale driver webhook: the pool runs its replicas itself: want driver process":           other,
		"autoscale driver process: the pool does not run its replicas itself: want discover process": none,
		`autoscale driver: unknown name "nomad": want one of process, railway, webhook`:              unknown,
	} {
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q", err, want)
		}
	}
}
