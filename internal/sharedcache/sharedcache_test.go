package sharedcache

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/redistest"
	"github.com/edgegw/edge/internal/unit"
)

// server is a real redis-server.
type server struct {
	*redistest.Server
	t *testing.T
}

func newServer(t *testing.T) *server {
	t.Helper()
	return &server{redistest.New(t), t}
}

func (s *server) again() {
	s.t.Helper()
	if err := s.Start(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) signal(sig syscall.Signal) {
	if err := s.Signal(sig); err != nil {
		s.t.Error(err)
	}
}

func (s *server) eventually(what string, holds func() bool) {
	s.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for until := time.Now().Add(time.Minute); time.Now().Before(until); <-tick.C {
		if holds() {
			return
		}
	}
	s.t.Fatalf("not within a minute: %s", what)
}

// cache has a time-out that a busy machine keeps.
func (s *server) cache(c Config) *Cache {
	s.t.Helper()
	if c.Size == 0 {
		c.Size = 16 << 20
	}
	c.Timeout = unit.Duration(longestLook)
	cache, err := Open(c, "unix://"+s.Socket, "", "edge:cache:{edge}:")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(cache.Close)
	return cache
}

func constant(text string) func() []byte { return func() []byte { return []byte(text) } }

// get looks until there is something.
func (s *server) get(c *Cache, key string) (text string, ago time.Duration) {
	s.t.Helper()
	s.eventually(key+" is there", func() bool {
		value, since, found := c.Get(key)
		text, ago = string(value), since
		return found
	})
	return text, ago
}

func TestOneNodePutsAndAnotherGets(t *testing.T) {
	began := time.Now() // before the server: its clock has milliseconds, which may round up
	s := newServer(t)
	a, b := s.cache(Config{}), s.cache(Config{MaxObject: 100})
	if _, _, found := b.Get("nothing"); found {
		t.Error("found what nobody has put")
	}
	a.Put("key", 5, time.Hour, constant("hello"))
	if text, ago := s.get(b, "key"); text != "hello" || ago < 0 || ago > time.Since(began) {
		t.Errorf("%q of %s ago: want hello", text, ago)
	}
	// How old it is goes by Redis' clock alone.
	s.eventually("it grows older", func() bool { _, ago := s.get(b, "key"); return ago > 50*time.Millisecond })
	if left, err := strconv.Atoi(s.Say("PTTL", "edge:cache:{edge}:key")); err != nil || left <= 0 || time.Duration(left)*time.Millisecond > a.Config().Keep.D() {
		t.Errorf("PTTL %d: want an end, after %s at most", left, a.Config().Keep)
	}

	b.Drop("key")
	s.eventually("it is dropped", func() bool { _, _, found := a.Get("key"); return !found })
	a.Put("key", 5, time.Hour, constant("hello"))
	s.get(b, "key")

	encoded := false
	b.Put("large", 101, time.Hour, func() []byte { encoded = true; return nil })
	b.Put("short", 1, time.Millisecond, func() []byte { encoded = true; return nil })
	b.Put("nothing to store", 1, time.Hour, func() []byte { return nil })
	b.Put("last", 1, time.Hour, constant("x"))
	s.get(a, "last")
	if n := s.Say("DBSIZE"); n != "2" || encoded {
		t.Errorf("%s keys, encoded %v: want two", n, encoded)
	}
	s.Say("SET", "edge:cache:{edge}:foreign", "\x02zz")
	s.Say("SET", "edge:cache:{edge}:ended", "\x02zz", "EX", "100")
	for _, key := range []string{"foreign", "ended"} {
		if _, _, found := a.Get(key); found {
			t.Errorf("%s: found what no cache has put", key)
		}
	}
}

func TestNodesHaveTheirSizeAndNoMore(t *testing.T) {
	s := newServer(t)
	c := s.cache(Config{Size: leastSize})
	value := bytes.Repeat([]byte("x"), 200<<10)
	for i := range 10 {
		c.Put(fmt.Sprint(i), int64(len(value)), time.Hour, func() []byte { return value })
	}
	s.eventually("all are put or refused", func() bool { st := c.Stats(); return st.Puts+st.Refused == 10 })
	if st := c.Stats(); st.Puts != 5 || st.Bytes > st.Size || s.Say("DBSIZE") != "5" {
		t.Errorf("%+v: want five of 200 KiB in 1 MiB", st)
	}
}

// Whatever Redis does, a look ends in time, and after some failures Redis is left
// alone, until it is tried again.
func TestASlowRedisKeepsNobody(t *testing.T) {
	s := newServer(t)
	c := s.cache(Config{})
	c.Put("k", 1, time.Hour, constant("v"))
	s.get(c, "k")
	s.signal(syscall.SIGSTOP)
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			if _, _, found := c.Get("k"); found {
				t.Error("a Redis that is stopped answers")
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(30 * time.Second): // a hundredth of it on a machine that is idle
		t.Fatal("looks do not end while Redis is stopped")
	}
	s.eventually("it is given a rest", func() bool { c.Get("k"); return c.Stats().Resting })
	before := c.Stats().Failed
	for range 100 {
		c.Get("k")
	}
	if st := c.Stats(); st.Failed > before+looksAtOnce || st.Skipped == 0 {
		t.Errorf("%+v: want that it is not asked", st)
	}
	s.signal(syscall.SIGCONT)
	s.get(c, "k")
	s.Kill()
	s.eventually("a dead one is given a rest too", func() bool { c.Get("k"); return c.Stats().Resting })
	s.again()
	c.Put("k", 1, time.Hour, constant("again"))
	s.eventually("and used again", func() bool {
		c.Put("k", 1, time.Hour, constant("again"))
		value, _, _ := c.Get("k")
		return string(value) == "again"
	})
}

func TestBudgetCountsWhatIsThere(t *testing.T) {
	now := time.Now()
	b := budget{size: 100}
	for _, step := range []struct {
		key   string
		bytes int64
		ttl   time.Duration
		after time.Duration
		want  bool
		used  int64
	}{
		{"a", 60, 10 * time.Second, 0, true, 60},
		{"b", 41, time.Second, 0, false, 60},
		{"b", 40, time.Second, 0, true, 100},
		{"a", 70, 10 * time.Second, 0, false, 100},
		{"a", 50, 20 * time.Second, 0, true, 90},
		{"c", 50, time.Second, 999 * time.Millisecond, false, 90},
		{"c", 50, time.Second, time.Second, true, 100},
		{"d", 50, time.Second, 2 * time.Second, true, 100},
		{"e", 1, time.Second, 20 * time.Second, true, 1},
	} {
		at := now.Add(step.after)
		if got := b.take(step.key, step.bytes, step.ttl, at); got != step.want || b.used(at) != step.used {
			t.Errorf("%+v: %v, %d used", step, got, b.used(at))
		}
	}
}

func TestMistakesAreNamed(t *testing.T) {
	for want, c := range map[string]Config{
		"shared 1KiB: want 1MiB":    {Size: 1 << 10},
		"max_object 9MiB: want":     {Size: 1 << 20, MaxObject: 9 << 20},
		"keep 25h: want at most":    {Size: 1 << 20, Keep: unit.Duration(25 * time.Hour)},
		"timeout 1s: want at most":  {Size: 1 << 20, Timeout: unit.Duration(time.Second)},
		"timeout -1s: want at most": {Size: 1 << 20, Timeout: unit.Duration(-time.Second)},
	} {
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v: want %q", c, err, want)
		}
	}
	if err := (Config{Size: 1 << 20}).Validate(); err != nil {
		t.Error(err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte("x"), int64(1000))
	f.Fuzz(func(t *testing.T, value []byte, ms int64) {
		ttl := time.Duration(ms%longestKeep.Milliseconds()) * time.Millisecond
		if ttl < 0 {
			ttl = -ttl
		}
		got, back, ok := open(seal(value, ttl))
		if !ok || back != ttl || !bytes.Equal(got, value) {
			t.Errorf("%q of %s became %q of %s, %v", value, ttl, got, back, ok)
		}
		open(value) // whatever stands there
	})
}
