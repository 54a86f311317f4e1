package redisclient

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/edgegw/edge/internal/redistest"
)

// patience is how long a busy machine may take.
const patience = time.Minute

func newClient(t *testing.T, address string) *Client {
	t.Helper()
	o, err := Parse(address, "")
	if err != nil {
		t.Fatal(err)
	}
	c := New(o)
	t.Cleanup(c.Close)
	return c
}

func ping(t *testing.T, c *Client) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return c.Do(ctx, c.B().Ping().Build()).Error()
}

// connections is how many the server has ever had, but for that of the question.
func connections(t *testing.T, s *redistest.Server) int {
	t.Helper()
	_, after, _ := strings.Cut(s.Say("INFO", "stats"), "total_connections_received:")
	n, err := strconv.Atoi(strings.Fields(after)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A client says nothing until it is asked, finds a server that comes later, and the
// next run of one that has ended.
func TestAClientFindsItsServer(t *testing.T) {
	s := redistest.New(t)
	before := connections(t, s)
	c := newClient(t, "unix://"+s.Socket)
	if n := connections(t, s) - before; n != 1 {
		t.Errorf("%d connections, with redis-cli's: want none of a client that nobody has asked", n)
	}
	s.Kill()
	if err := ping(t, c); err == nil {
		t.Fatal("a server that is gone answers")
	}
	for range 2 {
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		if err := ping(t, c); err != nil {
			t.Fatal(err)
		}
		s.Kill()
		for began := time.Now(); ping(t, c) == nil; runtime.Gosched() {
			if time.Since(began) > patience {
				t.Fatal("a server that is gone answers")
			}
		}
	}
}

// A server that stands still holds nobody up for longer than they want to wait, those
// who wait for news as little, and is used again when it goes on.
func TestAServerThatStandsStill(t *testing.T) {
	s := redistest.New(t)
	c := newClient(t, "unix://"+s.Socket)
	if err := ping(t, c); err != nil {
		t.Fatal(err)
	}
	if err := s.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for _, command := range []rueidis.Completed{
		c.B().Ping().Build(), c.B().Xread().Block(60_000).Streams().Key("log").Id("$").Build(), c.B().Set().Key("a").Value("1").Build(),
	} {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if err := c.Do(ctx, command).Error(); err == nil {
				t.Error("a server that stands still answers")
			}
		})
	}
	all.Wait() // or the test's own time is over
	if err := s.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); ping(t, c) != nil; runtime.Gosched() {
		if time.Since(began) > patience {
			t.Fatal("a server that goes on is not used again")
		}
	}
}

// Who waits for news keeps nobody waiting who asks for something else.
func TestWaitingForNewsIsApart(t *testing.T) {
	s := redistest.New(t)
	c := newClient(t, "unix://"+s.Socket)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	waiting := make(chan error, 1)
	go func() {
		waiting <- c.Do(ctx, c.B().Xread().Block(0).Streams().Key("log").Id("0-0").Build()).Error()
	}()
	for !strings.Contains(s.Say("CLIENT", "LIST"), "cmd=xread") {
		runtime.Gosched()
	}
	if err := ping(t, c); err != nil {
		t.Fatal(err)
	}
	s.Say("XADD", "log", "1-0", "a", "b")
	if err := <-waiting; err != nil {
		t.Error(err)
	}
}

// A value that is long on its way keeps nobody waiting who asks for another, where
// commands are apart.
func TestCommandsThatAreApart(t *testing.T) {
	s := redistest.New(t)
	o, err := Parse("unix://"+s.Socket, "")
	if err != nil {
		t.Fatal(err)
	}
	c := New(Apart(o, 4))
	t.Cleanup(c.Close)
	s.Say("CLIENT", "PAUSE", "600000", "WRITE") // reads go on
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	writing := make(chan error, 1)
	go func() { writing <- c.Do(ctx, c.B().Set().Key("a").Value("1").Build()).Error() }()
	for !strings.Contains(s.Say("CLIENT", "LIST"), "cmd=set") {
		runtime.Gosched()
	}
	reading, over := context.WithTimeout(t.Context(), patience)
	defer over()
	if err := c.Do(reading, c.B().Get().Key("b").Build()).Error(); !rueidis.IsRedisNil(err) {
		t.Errorf("%v: want that there is nothing", err)
	}
	select {
	case err := <-writing:
		t.Errorf("the write is over before the read: %v", err)
	default:
	}
	leave()
	if err := <-writing; err == nil {
		t.Error("a write that was paused is done")
	}
}

// A server that has become another's replica takes no writes. The name may lead to the
// new master by now, so the connection is given up.
func TestAMasterThatIsNoneIsLeft(t *testing.T) {
	s := redistest.New(t)
	c := newClient(t, "unix://"+s.Socket)
	write := func() error {
		return c.Judge(c.Do(t.Context(), c.B().Set().Key("a").Value("1").Build()).Error())
	}
	if err := write(); err != nil {
		t.Fatal(err)
	}
	before := connections(t, s)
	s.Say("REPLICAOF", "127.0.0.1", "1")
	for range 3 {
		if err := write(); err == nil {
			t.Fatal("a replica takes a write")
		}
	}
	s.Say("REPLICAOF", "NO", "ONE")
	for began := time.Now(); write() != nil; runtime.Gosched() {
		if time.Since(began) > patience {
			t.Fatal("it is a master again, and is not used")
		}
	}
	if n := connections(t, s) - before - 3; n < 1 {
		t.Errorf("%d new connections: want one after each refusal", n)
	}
	if err := c.Judge(errors.New("another")); err == nil || err.Error() != "another" {
		t.Errorf("%v: want the error as it was", err)
	}
}

// Clients that come and go, as configurations do, leave nothing behind: with a server,
// without one, and with one that stands still.
func TestAClosedClientLeavesNothing(t *testing.T) {
	s := redistest.New(t)
	still := redistest.New(t)
	if err := still.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	for i := range 30 {
		socket := []string{s.Socket, "/nowhere", still.Socket}[i%3]
		o, err := Parse("unix://"+socket, "")
		if err != nil {
			t.Fatal(err)
		}
		c := New(Within(o, 100*time.Millisecond))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		news := make(chan error, 1)
		go func() {
			news <- c.Receive(ctx, c.B().Subscribe().Channel("news").Build(), func(rueidis.PubSubMessage) {})
		}()
		_ = c.Do(ctx, c.B().Ping().Build()).Error()
		<-news
		cancel()
		c.Close()
	}
	nothingIsLeft(t, before)
	for began := time.Now(); strings.Contains(s.Say("CLIENT", "LIST"), "name=edge"); runtime.Gosched() {
		if time.Since(began) > patience {
			t.Fatal("connections are left")
		}
	}
}

// A client that is closed waits for nobody, and leaves nothing: in the middle of the
// first words to a server that stands still, and of a command to one that does so later.
func TestAClientIsClosedWhileItsServerStandsStill(t *testing.T) {
	for name, known := range map[string]bool{"while it connects": false, "while it waits for an answer": true} {
		t.Run(name, func(t *testing.T) {
			s := redistest.New(t)
			before := runtime.NumGoroutine()
			o, err := Parse("unix://"+s.Socket, "")
			if err != nil {
				t.Fatal(err)
			}
			c := New(Within(o, time.Hour))
			if known {
				if err := ping(t, c); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Signal(syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			waiting := make(chan error, 1)
			go func() { waiting <- c.Do(t.Context(), c.B().Ping().Build()).Error() }()
			for began := time.Now(); c.connected() == 0; runtime.Gosched() {
				if time.Since(began) > patience {
					t.Fatal("no connection is made")
				}
			}
			c.Close()
			select {
			case err := <-waiting:
				if err == nil {
					t.Error("a server that stands still answers")
				}
			case <-time.After(patience):
				t.Fatal("who waits is not told that the client is closed")
			}
			if err := c.Do(t.Context(), c.B().Ping().Build()).Error(); err == nil {
				t.Error("a client that is closed answers")
			}
			nothingIsLeft(t, before)
		})
	}
}

// At whatever moment of a connection's making it is closed, nothing is left.
func TestAClientIsClosedWhileItConnects(t *testing.T) {
	s := redistest.New(t)
	o, err := Parse("unix://"+s.Socket, "")
	if err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	for i := range 300 {
		c := New(o)
		var all sync.WaitGroup
		all.Go(func() { _ = c.Do(t.Context(), c.B().Ping().Build()).Error() }) // it may come too late
		for range i {
			runtime.Gosched()
		}
		c.Close()
		all.Wait()
	}
	nothingIsLeft(t, before)
}

// connected is how many connections there are.
func (c *Client) connected() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.conns)
}

func nothingIsLeft(t *testing.T, before int) {
	t.Helper()
	for began := time.Now(); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Since(began) > patience {
			buffer := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buffer[:runtime.Stack(buffer, true)])
		}
	}
}

// A connection over which nothing comes any more is given up, though whoever asked has
// long stopped waiting: all later commands would wait for it too.
func TestASilentConnectionIsLeft(t *testing.T) {
	s := redistest.New(t)
	o, err := Parse("unix://"+s.Socket, "")
	if err != nil {
		t.Fatal(err)
	}
	if got := Within(o, time.Minute).Dialer.KeepAlive; got != time.Minute {
		t.Errorf("it is asked after %s whether it is there: want the time-out", got)
	}
	c := New(Within(o, 100*time.Millisecond))
	defer c.Close()
	if err := ping(t, c); err != nil {
		t.Fatal(err)
	}
	if err := s.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); c.connected() > 0; runtime.Gosched() {
		if time.Since(began) > patience {
			t.Fatal("a connection over which nothing comes is kept")
		}
	}
}

// Many at once share one connection, and each gets its own answer.
func TestManyAtOnceShareAConnection(t *testing.T) {
	s := redistest.New(t)
	c := newClient(t, "unix://"+s.Socket)
	var all sync.WaitGroup
	for i := range 1000 {
		all.Go(func() {
			want := fmt.Sprint("value ", i)
			if got, err := c.Do(t.Context(), c.B().Echo().Message(want).Build()).ToString(); err != nil || got != want {
				t.Errorf("%q, %v: want %q", got, err, want)
			}
		})
	}
	all.Wait()
	if n := strings.Count(s.Say("CLIENT", "LIST"), "name=edge"); n != 1 {
		t.Errorf("%d connections: want one", n)
	}
}
