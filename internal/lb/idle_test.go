package lb

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// TestAReplicaThatClosesIdleConnectionsCostsNoPOST: it closes them after 50 ms,
// and POSTs come 25 to 75 ms apart.
func TestAReplicaThatClosesIdleConnectionsCostsNoPOST(t *testing.T) {
	a := &app{}
	a.healthy.Store(true)
	a.version.Store("")
	a.answer(upper)
	a.Server = httptest.NewUnstartedServer(http.HandlerFunc(a.serve))
	a.Config.IdleTimeout = time.Second // our half of it has room for a machine that is busy
	a.Start()
	t.Cleanup(a.Server.Close)
	a.address = a.Listener.Addr().String()
	c := testConfig(a)
	c.Health.Interval = ms(60_000)
	p, _ := upPool(t, c, a)

	const workers, each = 16, 6
	send := func(pause func() time.Duration, times int) {
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for range times {
					timer := time.NewTimer(pause())
					<-timer.C
					if code, text, _, err := fetch(context.Background(), p, http.MethodPost, "order"); code != 200 || text != "ORDER" || err != nil {
						t.Errorf("POST: %d %q, %v", code, text, err)
					}
				}
			})
		}
		wg.Wait()
	}
	send(func() time.Duration { return 0 }, 1)
	r := p.members[Address(a.address)]
	eventually(t, "it is known how long connections stay", func() bool {
		return r.transport.Load().IdleConnTimeout <= 600*time.Millisecond
	})
	send(func() time.Duration {
		return 300*time.Millisecond + time.Duration(rand.Int64N(int64(time.Second)))
	}, each)
	if got := a.hits.Load(); got != workers*(each+1) {
		t.Errorf("%d POSTs arrived: want each of %d once", got, workers*(each+1))
	}
}

func TestHowLongAConnectionMayBeIdle(t *testing.T) {
	const configured = 4 * time.Second
	tests := map[string]struct {
		fields   []string
		silences []time.Duration
		want     time.Duration
	}{
		"nothing is known":                        {nil, nil, 4 * time.Second},
		"Node's five seconds: a second less":      {[]string{"timeout=5"}, nil, 4 * time.Second},
		"it says three":                           {[]string{"timeout=3, max=100"}, nil, 2 * time.Second},
		"half of a short time":                    {[]string{"max=7, Timeout=1"}, nil, 500 * time.Millisecond},
		"a minute: no longer than configured":     {[]string{"timeout=60"}, nil, 4 * time.Second},
		"what it says last counts":                {[]string{"timeout=2", "timeout=4"}, nil, 3 * time.Second},
		"nonsense":                                {[]string{"timeout=soon"}, nil, 4 * time.Second},
		"two closed alike: may be chance":         {nil, []time.Duration{2 * time.Second, 2 * time.Second}, 4 * time.Second},
		"three closed alike":                      {nil, []time.Duration{2 * time.Second, 2010 * time.Millisecond, 1990 * time.Millisecond}, time.Second},
		"three closed as a process ended":         {nil, []time.Duration{3 * time.Second, time.Second, 200 * time.Millisecond}, 4 * time.Second},
		"closed right after the answer, as it is": {nil, []time.Duration{1e6, 1e6, 1e6, 1e6}, 4 * time.Second},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var i idleness
			for _, field := range test.fields {
				i.hear(field)
			}
			for _, silence := range test.silences {
				i.see(silence)
			}
			if got := i.limit(configured); got != test.want {
				t.Errorf("%s: want %s", got, test.want)
			}
		})
	}
}

func TestAKeepAliveFieldShortensTheIdleTimeOut(t *testing.T) {
	a := newApp(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Keep-Alive", "timeout=2") })
	p, _ := upPool(t, testConfig(a), a)
	mustGet(t, p)
	eventually(t, "an idle time-out of 1 s", func() bool {
		return p.members[Address(a.address)].transport.Load().IdleConnTimeout == time.Second
	})
}

func FuzzKeepAlive(f *testing.F) {
	f.Add("timeout=5, max=100")
	f.Fuzz(func(t *testing.T, field string) {
		if open := keepAlive(field); open < 0 || (open > 0 && open < shortestIdle) || open > 65535*time.Second {
			t.Errorf("%q: %s", field, open)
		}
	})
}
