package lb

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/named"
)

func TestAReloadKeepsWhatIsKnown(t *testing.T) {
	a := newApp(t, status(500))
	p, _ := upPool(t, testConfig(a), a)
	for range 7 {
		mustGet(t, p)
	}
	before, _ := replicaOf(p, a.address)
	c := testConfig(a)
	c.Policy.Name = "least_conn"
	c.Drain = ms(1000)
	if err := p.Configure(c); err != nil {
		t.Fatal(err)
	}
	after, _ := replicaOf(p, a.address)
	if after.Failures != 7 || after.Since != before.Since || after.EWMA != before.EWMA || after.State != "up" {
		t.Errorf("%+v\nbecame %+v", before, after)
	}
	if got := p.Status().Policy; got != "least_conn" {
		t.Errorf("policy %s: want least_conn", got)
	}
}

func TestABadConfigurationChangesNothing(t *testing.T) {
	a := newApp(t, say("hello"))
	p, _ := upPool(t, testConfig(a), a)
	if err := p.Configure(Config{Policy: named.Spec{Name: "best"}}); err == nil {
		t.Fatal("accepted")
	}
	if code, text, _ := mustGet(t, p); code != 200 || text != "hello" {
		t.Errorf("%d %q: want it to go on", code, text)
	}
}

// silent is a discovery that reports when a test tells it to.
type silent struct{ feeds chan Feed }

func (s silent) Run(ctx context.Context, feed Feed) {
	s.feeds <- feed
	<-ctx.Done()
}

var silentFeeds = make(chan Feed, 1)

func init() {
	Discoveries.Register("silent", func(s named.Spec) (Discovery, error) {
		return silent{silentFeeds}, errors.Join(s.Want(1, 1, "a word")...)
	}, named.Spec{Args: []string{"word"}})
}

func TestANewDiscoveryTakesOverOnlyOnceItHasReported(t *testing.T) {
	old, next := newApp(t, say("old")), newApp(t, say("new"))
	p, seen := upPool(t, testConfig(old), old)
	for len(silentFeeds) > 0 {
		<-silentFeeds // of the contract tests
	}
	c := testConfig()
	c.Discover = []named.Spec{{Name: "silent", Args: []string{"word"}}}
	if err := p.Configure(c); err != nil {
		t.Fatal(err)
	}
	feed := <-silentFeeds
	feed.Failed(errors.New("no answer"))
	feed.Failed(errors.New("no answer"))
	if code, text, _ := mustGet(t, p); code != 200 || text != "old" {
		t.Errorf("%d %q: want the old replica until the new discovery has reported", code, text)
	}
	feed.Found([]Address{Address(next.address)})
	seen.await(t, DiscoveryRecovered, "")
	seen.await(t, ReplicaGone, old.address)
	seen.await(t, ReplicaUp, next.address)
	if n := seen.count(DiscoveryFailed); n != 1 {
		t.Errorf("%d events of one failure: want 1", n)
	}
	if _, text, _ := mustGet(t, p); text != "new" {
		t.Errorf("%q: want new", text)
	}
}

// TestOverloadShedsAndKeepsWorking: at three times what the replica takes,
// every slot stays busy, and who is refused is told so in time.
func TestOverloadShedsAndKeepsWorking(t *testing.T) {
	var now, most atomic.Int64
	a := newApp(t, func(w http.ResponseWriter, _ *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-time.After(5 * time.Millisecond)
		w.WriteHeader(204)
	})
	c := testConfig(a)
	c.Queue = Queue{MaxInflight: 4, Wait: ms(20), Length: 8}
	p, _ := upPool(t, c, a)
	var served, shed atomic.Int64
	var wg sync.WaitGroup
	for range 24 {
		wg.Go(func() {
			for range 20 {
				code, _, trace, err := fetch(context.Background(), p, "GET", "")
				switch {
				case err == nil && code == 204:
					served.Add(1)
				case err == nil && code == 503 && trace.Refused != "":
					shed.Add(1)
				default:
					t.Errorf("%d %+v %v", code, trace, err)
				}
			}
		})
	}
	wg.Wait()
	if m := most.Load(); m > 4 {
		t.Errorf("%d at a time: want at most 4", m)
	}
	if served.Load() < 20 || shed.Load() == 0 || p.Status().Refused != shed.Load() {
		t.Errorf("%d served, %d shed, %d counted", served.Load(), shed.Load(), p.Status().Refused)
	}
	if p.Status().Queued != 0 {
		t.Error("somebody still waits")
	}
	noneInFlight(t, p)
}

func TestAnOpenBreakerKeepsRequestsAwayAndAProbeIsHidden(t *testing.T) {
	p, bad, _ := failingFirst(t, status(503))
	third := newApp(t, say("good"))
	fourth := newApp(t, say("good"))
	c := p.settings.Config
	c.Discover[0].Args = append(c.Discover[0].Args, third.address, fourth.address)
	c.Discover = []named.Spec{{Name: "static", Args: c.Discover[0].Args}}
	c.Breaker.Open, c.Eject.Off = ms(100), true
	if err := p.Configure(c); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all up", func() bool {
		return len(slices.DeleteFunc(p.Versions(), func(v ReplicaVersion) bool { return v.Fresh })) == 4
	})
	for p.opened.Load() == 0 && bad.hits.Load() < 100 {
		if code, _, _ := mustGet(t, p); code != 200 {
			t.Fatalf("status %d: want that another replica answers", code)
		}
	}
	if got := bad.hits.Load(); got != 5 {
		t.Errorf("opened after %d failures: want 5", got)
	}
	for range 20 {
		if code, _, _ := mustGet(t, p); code != 200 {
			t.Fatalf("status %d beside an open breaker", code)
		}
	}
	bad.answer(say("good"))
	eventually(t, "closed by a probe", func() bool {
		code, _, _ := mustGet(t, p)
		return code == 200 && p.opened.Load() == 0
	})
}

func TestWhenAllBreakersAreOpenReplicasAreAskedAllTheSame(t *testing.T) {
	a := newApp(t, status(503))
	p, seen := upPool(t, testConfig(a), a)
	for range 5 {
		mustGet(t, p)
	}
	seen.await(t, BreakerOpened, a.address)
	a.answer(say("fine"))
	if code, text, _ := mustGet(t, p); code != 200 || text != "fine" {
		t.Errorf("%d %q: want the only replica's answer", code, text)
	}
}

func TestStatusIsJSONWithWhatAnAutoscalerNeeds(t *testing.T) {
	hold := newHeld()
	a := newApp(t, hold.serve)
	c := testConfig(a)
	c.Queue.MaxInflight = 2
	c.Autoscale.Window = ms(1000)
	p, _ := upPool(t, c, a)
	results := []<-chan result{background(p), background(p), background(p)}
	<-hold.entered
	<-hold.entered
	eventually(t, "one queued", func() bool { return p.Status().Queued == 1 })
	// Three requests at 0.7 · 2 per replica: 2.1, so three.
	eventually(t, "three replicas are desired", func() bool { return p.Status().Desired == 3 })
	st := p.Status()
	if st.InFlight != 2 || st.Scaling.Target != 1.4 || st.Scaling.Min != 1 || st.Scaling.Max != 10 {
		t.Errorf("%d in flight, %+v: want 2, and 1 to 10 replicas at 1.4 each", st.InFlight, st.Scaling)
	}
	text := string(must(json.Marshal(st)))
	for _, field := range []string{`"name":"app"`, `"in_flight":2`, `"queued":1`, `"breaker":"closed"`, `"state":"up"`, `"source":["static"]`, `"ewma_ms"`, `"weight":1`, `"desired":3`, `"desired_replicas":3`} {
		if !strings.Contains(text, field) {
			t.Errorf("%s lacks %s", text, field)
		}
	}
	close(hold.free)
	for _, r := range results {
		if got := <-r; got.code != 200 {
			t.Errorf("%+v: want 200", got)
		}
	}
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	a := newApp(t, say("hello"))
	p, _ := upPool(t, testConfig(a), a)
	mustGet(t, p)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	a.Server.Close()
	eventually(t, "as many goroutines as before", func() bool { return runtime.NumGoroutine() <= before })
	resp, err := p.RoundTrip(get(t))
	if err != nil || resp.StatusCode != 503 {
		t.Errorf("%v, %v: want 503 from a closed pool", resp, err)
	}
}
