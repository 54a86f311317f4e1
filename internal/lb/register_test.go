package lb

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestALeaseEndsUnlessItIsRenewed(t *testing.T) {
	address := deadAddress(t)
	synctest.Test(t, func(t *testing.T) {
		seen := newEvents()
		p := NewPool("app", seen.add)
		if err := p.Configure(Config{}); err != nil {
			t.Fatal(err)
		}
		id, err := p.Register(address, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		ends := time.Now().Add(10 * time.Second)
		if r, ok := replicaOf(p, address); !ok || r.ID != id || r.LeaseEnds == nil || !r.LeaseEnds.Equal(ends) {
			t.Fatalf("%+v: want id %s, a lease until %s", r, id, ends)
		}
		time.Sleep(8 * time.Second)
		again, err := p.Register(address, 10*time.Second)
		if err != nil || again != id {
			t.Fatalf("renewed as %s, %v: want %s", again, err, id)
		}
		time.Sleep(9 * time.Second)
		if _, ok := replicaOf(p, address); !ok {
			t.Fatal("gone 9 s after a renewal for 10 s")
		}
		time.Sleep(time.Second + time.Millisecond)
		synctest.Wait()
		if _, ok := replicaOf(p, address); ok {
			t.Error("still there after its lease")
		}
		for _, kind := range []Kind{RegistrationExpired, ReplicaDraining, ReplicaGone} {
			if seen.count(kind) != 1 {
				t.Errorf("%d events %s: want 1", seen.count(kind), kind)
			}
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRegisteringMakesAReplicaServe(t *testing.T) {
	a := newApp(t, say("hello"))
	p, seen := newTestPool(t, testConfig())
	id, err := p.Register(a.address, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	seen.await(t, ReplicaUp, a.address)
	if code, text, trace := mustGet(t, p); code != 200 || text != "hello" || trace.Replica != id {
		t.Errorf("%d %q %+v", code, text, trace)
	}
	if r, _ := replicaOf(p, a.address); len(r.Source) != 1 || r.Source[0] != "registered" {
		t.Errorf("source %v: want registered", r.Source)
	}
	if err := p.Deregister(id); err != nil {
		t.Fatal(err)
	}
	seen.await(t, ReplicaGone, a.address)
	if err := p.Deregister(id); !errors.Is(err, ErrUnknownReplica) {
		t.Errorf("a second time: %v: want ErrUnknownReplica", err)
	}
}

func TestARegistrationBeforeTheConfigurationCounts(t *testing.T) {
	a := newApp(t, say("hello"))
	seen := newEvents()
	p := NewPool("app", seen.add)
	t.Cleanup(func() { _ = p.Close() })
	if _, err := p.Register(a.address, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := p.Configure(testConfig()); err != nil {
		t.Fatal(err)
	}
	seen.await(t, ReplicaUp, a.address)
}

func TestAReplicaThatIsDiscoveredToo(t *testing.T) {
	a := newApp(t, say("hello"))
	p, _ := upPool(t, testConfig(a), a)
	r, _ := replicaOf(p, a.address)
	if err := p.Deregister(r.ID); !errors.Is(err, ErrUnknownReplica) {
		t.Errorf("%v for one that did not register: want ErrUnknownReplica", err)
	}
	if _, err := p.Register(a.address, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := p.Deregister(r.ID); err != nil {
		t.Fatal(err)
	}
	if r, _ := replicaOf(p, a.address); r.State != "up" {
		t.Errorf("%s: want it up, since the discovery names it still", r.State)
	}
}

func TestWhatRegisterRefuses(t *testing.T) {
	p, _ := newTestPool(t, Config{})
	for address, lease := range map[string]time.Duration{
		"10.0.0.1": time.Minute, "10.0.0.1:80": time.Millisecond, "10.0.0.2:80": 25 * time.Hour,
	} {
		if id, err := p.Register(address, lease); err == nil {
			t.Errorf("%s for %s: registered as %s", address, lease, id)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Register("10.0.0.1:80", time.Minute); !errors.Is(err, ErrClosed) {
		t.Errorf("%v: want ErrClosed", err)
	}
	if err := p.Configure(Config{}); !errors.Is(err, ErrClosed) {
		t.Errorf("%v: want ErrClosed", err)
	}
}
