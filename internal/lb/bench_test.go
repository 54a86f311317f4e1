package lb

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/edgegw/edge/internal/named"
)

// rotation is a pool of n replicas that are up, without anything running.
func rotation(tb testing.TB, n int, policy string) *Pool {
	tb.Helper()
	p := NewPool("app", nil)
	s, err := compile(Config{Policy: named.Spec{Name: policy}})
	if err != nil {
		tb.Fatal(err)
	}
	p.settings = s
	for _, address := range addresses(n) {
		r := newReplica("app", address)
		r.record.Store(p.newRecord(r))
		r.state.Store(uint32(up))
		store(&r.record.Load().latency, 20)
		r.record.Load().latencyAt.Store(p.now())
		p.refit(r, nil)
		p.members[r.address] = r
	}
	p.publishLocked()
	return p
}

// addresses are n different ones: 10.0.0.1:3000 and so on.
func addresses(n int) []Address {
	list := make([]Address, n)
	for i := range list {
		list[i] = Address(fmt.Sprintf("10.0.0.%d:3000", i+1))
	}
	return list
}

// BenchmarkAcquire is a pick and the slot's return: at most 1 µs and nothing
// allocated at ten replicas.
func BenchmarkAcquire(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := rotation(b, n, "least_time")
			x := &exchange{pool: p, in: httptest.NewRequest(http.MethodGet, "/", nil)}
			b.ReportAllocs()
			for b.Loop() {
				s, ok := x.take()
				if !ok {
					b.Fatal("no replica")
				}
				p.unclaim(s.replica)
			}
		})
	}
}

func TestAPickAllocatesNothing(t *testing.T) {
	for _, n := range []int{1, 10, 100} {
		p := rotation(t, n, "least_time")
		x := &exchange{pool: p, in: get(t)}
		allocated := testing.AllocsPerRun(1000, func() {
			s, ok := x.take()
			if !ok {
				t.Fatal("no replica")
			}
			p.unclaim(s.replica)
		})
		if allocated != 0 {
			t.Errorf("%v allocations at %d replicas: want none", allocated, n)
		}
	}
}

// BenchmarkRoundTrip compares a pool of three with a bare transport.
func BenchmarkRoundTrip(b *testing.B) {
	serve := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1024)) })
	var args []string
	for range 3 {
		server := httptest.NewServer(serve)
		defer server.Close()
		args = append(args, server.Listener.Addr().String())
	}
	seen := newEvents()
	p := NewPool("app", seen.add)
	defer p.Close()
	if err := p.Configure(Config{Discover: []named.Spec{{Name: "static", Args: args}}}); err != nil {
		b.Fatal(err)
	}
	for _, address := range args {
		seen.await(b, ReplicaUp, address)
	}
	bare := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 256}
	defer bare.CloseIdleConnections()
	for name, rt := range sorted(map[string]http.RoundTripper{"bare": bare, "pool": p}) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					req, _ := http.NewRequest(http.MethodGet, "http://"+args[0]+"/", nil)
					resp, err := rt.RoundTrip(req)
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			})
		})
	}
}
