package lb

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/named"
	"github.com/edgegw/edge/internal/redistest"
)

// redisServer is a real redis-server, which forgets everything when it is
// restarted.
type redisServer struct{ *redistest.Server }

func newRedisServer(t *testing.T) redisServer {
	t.Helper()
	return redisServer{redistest.New(t, "--requirepass", "s3cret")}
}

// cli runs redis-cli, as the recipe in the documentation does.
func (s redisServer) cli(t *testing.T, args ...string) string {
	t.Helper()
	said := s.Say(args...)
	if strings.HasPrefix(said, "ERR") || strings.HasPrefix(said, "Could not") {
		t.Fatalf("redis-cli %v: %s", args, said)
	}
	return said
}

func (s redisServer) announce(t *testing.T, address, value string) {
	t.Helper()
	s.cli(t, "SET", "edge:replica:app:"+address, value, "EX", "60")
	s.cli(t, "SADD", "edge:replicas:app", address)
	s.cli(t, "PUBLISH", "edge:replicas:app", address)
}

// discover is slow by itself, so that what is quick was announced.
func (s redisServer) discover(interval string) []named.Spec {
	return []named.Spec{{Name: "redis", Args: []string{"unix://" + s.Socket, "app"}, Options: map[string][]string{
		"password": {"s3cret"}, "interval": {interval},
	}}}
}

func TestReplicasAnnounceThemselvesInRedis(t *testing.T) {
	s := newRedisServer(t)
	a, b := newApp(t, say("a")), newApp(t, say("b"))
	s.announce(t, a.address, fmt.Sprintf(`{"address":%q,"instance":"i1","version":"v1","weight":1}`, a.address))
	c := testConfig()
	c.Discover = s.discover("1h")
	p, seen := upPool(t, c, a)
	eventually(t, "edge listens for messages", func() bool {
		return strings.HasSuffix(s.cli(t, "PUBSUB", "NUMSUB", "edge:replicas:app"), "1")
	})
	s.announce(t, b.address, `{"weight":0.5}`)
	seen.await(t, ReplicaUp, b.address)
	eventually(t, "half the weight", func() bool { r, _ := replicaOf(p, b.address); return r.Weight == 0.5 })

	s.announce(t, "nonsense", `{}`)
	failed := seen.await(t, DiscoveryFailed, "")
	if want := `edge:replica:app:nonsense: address "nonsense": want host:port`; !strings.Contains(failed.Err.Error(), want) {
		t.Errorf("%v: want %s", failed.Err, want)
	}
	s.cli(t, "SREM", "edge:replicas:app", "nonsense")
	s.cli(t, "DEL", "edge:replica:app:"+b.address)
	s.cli(t, "PUBLISH", "edge:replicas:app", "left")
	seen.await(t, ReplicaDraining, b.address)
	eventually(t, "the index is tidy", func() bool { return s.cli(t, "SMEMBERS", "edge:replicas:app") == a.address })
	if _, text, _ := mustGet(t, p); text != "a" {
		t.Errorf("answered %q", text)
	}
}

func TestALeaseThatIsNotRenewedEnds(t *testing.T) {
	s := newRedisServer(t)
	a, b := newApp(t, say("a")), newApp(t, say("b"))
	s.announce(t, a.address, `{}`)
	s.announce(t, b.address, `{}`)
	c := testConfig()
	c.Discover = s.discover("20ms")
	_, seen := upPool(t, c, a, b)
	s.cli(t, "PEXPIRE", "edge:replica:app:"+b.address, "1")
	seen.await(t, ReplicaDraining, b.address)
}

func TestRedisThatHangsOrDiesOrForgetsTakesNoReplicaAway(t *testing.T) {
	s := newRedisServer(t)
	a, b := newApp(t, say("hello")), newApp(t, say("hello"))
	s.announce(t, a.address, `{}`)
	s.announce(t, b.address, `{}`)
	c := testConfig()
	c.Discover = s.discover("20ms")
	p, seen := upPool(t, c, a, b)
	serves := func(what string) {
		t.Helper()
		if took := usual(50, func() {
			if code, _, _ := mustGet(t, p); code != 200 {
				t.Errorf("%s: %d", what, code)
			}
		}); took > time.Second {
			t.Errorf("%s: a request took %s", what, took)
		}
		if seen.count(ReplicaDraining) != 0 {
			t.Errorf("%s: a replica was taken away", what)
		}
	}
	if err := s.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	serves("while it hangs")
	seen.await(t, DiscoveryFailed, "")
	serves("after it was found to hang")
	s.Kill()
	serves("while it is dead")
	seen.forget()
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	s.announce(t, a.address, `{}`)
	seen.await(t, DiscoveryRecovered, "")
	serves("back, and b not yet")
}

func TestLedger(t *testing.T) {
	one, both := []announced{{address: "a:1"}}, []announced{{address: "a:1"}, {address: "b:1"}}
	began := time.Now()
	tests := map[string]struct {
		next   reading
		failed bool
		after  map[int]int // replicas that are left, by seconds
	}{
		"one leaves":                         {next: reading{"run1", one, nil}, after: map[int]int{0: 1}},
		"one is missing after a failure":     {next: reading{"run1", one, nil}, failed: true, after: map[int]int{0: 2, 29: 2, 30: 1}},
		"one is missing after a restart":     {next: reading{"run2", one, nil}, after: map[int]int{0: 2, 29: 2, 30: 1}},
		"all are gone at once":               {next: reading{"run1", nil, nil}, after: map[int]int{0: 2, 29: 2, 30: 0}},
		"a server that does not say its run": {next: reading{"", one, nil}, after: map[int]int{0: 1}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l := ledger{keep: 30 * time.Second}
			l.settle(reading{"run1", both, nil}, began)
			l.failed = test.failed
			for second, want := range sorted(test.after) {
				if got := l.settle(test.next, began.Add(time.Duration(second)*time.Second)); len(got) != want {
					t.Errorf("after %d s: %v: want %d", second, got, want)
				}
			}
		})
	}
}

func TestRedisWords(t *testing.T) {
	_, err := newRedis(named.Spec{Name: "redis", Args: []string{"redis://edge:hunter2@h", "a b"}, Options: map[string][]string{"password": {}, "keep": {"soon"}}})
	for _, want := range []string{"holds a password", `redis pool "a b"`, "redis password: want one word", "redis keep"} {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v: want %s, and no secret", err, want)
		}
	}
}

func FuzzReadLease(f *testing.F) {
	f.Add("10.0.0.7:3000", `{"address":"10.0.0.7:3000","instance":"i","version":"v","weight":0.5}`)
	f.Add("h:1", `{"weight":-1}`)
	f.Add("h:1", `[]`)
	f.Fuzz(func(t *testing.T, member, text string) {
		a, err := readLease(member, text)
		if err != nil {
			return
		}
		if back, err := ParseAddress(string(a.address)); err != nil || back != a.address || !(a.weight >= 0 && a.weight <= 65535) {
			t.Errorf("%+v, %v", a, errors.Join(err))
		}
	})
}
