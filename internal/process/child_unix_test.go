//go:build unix

package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary be the child, and the parent that dies.
func TestMain(m *testing.M) {
	switch os.Getenv("PROCESS_TEST") {
	case "":
		os.Exit(m.Run())
	case "polite":
		asked := make(chan os.Signal, 1)
		signal.Notify(asked, syscall.SIGTERM)
		fmt.Println("ready")
		<-asked
		fmt.Print("goodbye")
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
		select {}
	case "failing":
		fmt.Fprintln(os.Stderr, "cannot bind")
		os.Exit(3)
	case "says":
		wd, _ := os.Getwd()
		fmt.Println("uid", os.Getuid(), "dir", wd, "secret", os.Getenv("PROCESS_SECRET"), "port", os.Getenv("PORT"), "passed", os.Getenv("PROCESS_PASSED"))
	case "family": // a child that has a child, which ignores being asked
		grandchild := exec.Command(os.Args[0])
		grandchild.Env = append(os.Environ(), "PROCESS_TEST=stubborn")
		if err := grandchild.Start(); err != nil {
			panic(err)
		}
		fmt.Println("grandchild", grandchild.Process.Pid)
		select {}
	case "parent": // starts a child and waits to be killed
		c, err := Start(Spec{Command: []string{os.Args[0]}, Env: []string{"PROCESS_TEST=stubborn"}}, nil)
		if err != nil {
			panic(err)
		}
		fmt.Println("child", c.PID)
		select {}
	}
}

// said keeps lines and lets tests wait for one.
type said struct {
	mu    sync.Mutex
	lines []Line
	more  chan struct{}
}

func newSaid() *said { return &said{more: make(chan struct{}, 1000)} }

func (s *said) add(l Line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, l)
	s.more <- struct{}{}
}

func (s *said) find(prefix string) (Line, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lines {
		if strings.HasPrefix(l.Text, prefix) {
			return l, true
		}
	}
	return Line{}, false
}

func (s *said) await(t *testing.T, prefix string) Line {
	t.Helper()
	over := time.After(time.Minute)
	for {
		if l, ok := s.find(prefix); ok {
			return l
		}
		select {
		case <-s.more:
		case <-over:
			t.Fatalf("never said %q; said %+v", prefix, s.lines)
		}
	}
}

func start(t *testing.T, kind string, change ...func(*Spec)) (*Child, *said) {
	t.Helper()
	s := Spec{Command: []string{os.Args[0]}, Env: []string{"PROCESS_TEST=" + kind}}
	for _, c := range change {
		c(&s)
	}
	out := newSaid()
	c, err := Start(s, out.add)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Stop(0) })
	return c, out
}

// gone waits until no process has the number. A zombie counts as gone: whom
// nobody waits for is left to the system's first process, which may be slow.
func gone(t *testing.T, pid int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 4000 {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return
		}
		if _, after, found := strings.Cut(string(stat), ") "); found && strings.HasPrefix(after, "Z") {
			return
		}
		<-tick.C
	}
	t.Errorf("process %d is still there", pid)
}

func numberIn(t *testing.T, l Line) int {
	t.Helper()
	n, err := strconv.Atoi(l.Text[strings.LastIndexByte(l.Text, ' ')+1:])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestAPoliteChildFinishesWhenAsked(t *testing.T) {
	c, out := start(t, "polite")
	out.await(t, "ready")
	if c.Stop(20 * time.Second) {
		t.Error("was ended by force")
	}
	if err := c.Err(); err != nil {
		t.Errorf("ended with %v: want none", err)
	}
	// A last line without an end is a line.
	if l, ok := out.find("goodbye"); !ok || l.Stream != Stdout {
		t.Errorf("said %+v: want goodbye on stdout", out.lines)
	}
	gone(t, c.PID)
	if c.Stop(time.Hour) {
		t.Error("a second stop used force")
	}
}

func TestAStubbornChildIsEndedByForce(t *testing.T) {
	c, out := start(t, "stubborn")
	out.await(t, "ready")
	if !c.Stop(10 * time.Millisecond) {
		t.Error("finished by itself: want force")
	}
	gone(t, c.PID)
}

func TestAFailingChildSaysHow(t *testing.T) {
	c, out := start(t, "failing")
	<-c.Ended()
	var exit *exec.ExitError
	if !errors.As(c.Err(), &exit) || exit.ExitCode() != 3 {
		t.Errorf("ended with %v: want exit status 3", c.Err())
	}
	if l, ok := out.find("cannot bind"); !ok || l.Stream != Stderr {
		t.Errorf("said %+v: want it on stderr", out.lines)
	}
}

func TestWhomAChildStartedGoesWithIt(t *testing.T) {
	for name, end := range map[string]func(*Child){
		"when it is stopped": func(c *Child) { c.Stop(10 * time.Millisecond) },
		"when it crashes":    func(c *Child) { _ = syscall.Kill(c.PID, syscall.SIGKILL) },
	} {
		t.Run(name, func(t *testing.T) {
			c, out := start(t, "family")
			grandchild := numberIn(t, out.await(t, "grandchild"))
			end(c)
			<-c.Ended()
			gone(t, grandchild)
		})
	}
}

func TestAChildDiesWithItsParent(t *testing.T) {
	parent, out := start(t, "parent")
	child := numberIn(t, out.await(t, "child"))
	if err := syscall.Kill(parent.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-parent.Ended()
	gone(t, child)
}

func TestAChildGetsWhatItIsGivenAndNoMore(t *testing.T) {
	t.Setenv("PROCESS_SECRET", "of the gateway")
	t.Setenv("PROCESS_PASSED", "on")
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c, out := start(t, "says", func(s *Spec) {
		s.Dir = dir
		s.Env = append(s.Env, "PORT=4711", "PROCESS_PASSED")
	})
	<-c.Ended()
	want := fmt.Sprintf("uid %d dir %s secret  port 4711 passed on", os.Getuid(), dir)
	if l := out.await(t, "uid"); l.Text != want {
		t.Errorf("%q: want %q", l.Text, want)
	}
	c, out = start(t, "says", func(s *Spec) { s.Env = append(s.Env, "*") })
	<-c.Ended()
	if l := out.await(t, "uid"); !strings.Contains(l.Text, "secret of the gateway") {
		t.Errorf("%q: want everything passed on", l.Text)
	}
}

func TestAnotherUser(t *testing.T) {
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	out := newSaid()
	// A program that every user may run.
	c, err := Start(Spec{Command: []string{"id", "-u"}, User: "nobody", Dir: "/"}, out.add)
	if os.Getuid() != 0 {
		if err == nil || !strings.Contains(err.Error(), "not permitted") {
			t.Errorf("without root: %v: want a refusal", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	<-c.Ended()
	if l := out.await(t, ""); l.Text != nobody.Uid {
		t.Errorf("ran as %s: want %s", l.Text, nobody.Uid)
	}
}

func TestWhatCannotBeStarted(t *testing.T) {
	for name, c := range map[string]struct {
		spec Spec
		want string
	}{
		"no such program": {Spec{Command: []string{"/no/such/program"}}, "start /no/such/program: "},
		"no such folder":  {Spec{Command: []string{os.Args[0]}, Dir: "/no/such/folder"}, `dir "/no/such/folder": want a folder`},
		"no such user":    {Spec{Command: []string{os.Args[0]}, User: "no-such-user"}, `user "no-such-user": want the name or number`},
		"nothing":         {Spec{}, "no command"},
	} {
		if _, err := Start(c.spec, nil); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v: want %q in it", name, err, c.want)
		}
	}
}

func TestBackoffDoublesUpToABound(t *testing.T) {
	for failures, want := range map[int]time.Duration{
		-1: 0, 0: 0, 1: 250 * time.Millisecond, 2: 500 * time.Millisecond, 5: 4 * time.Second, 8: 30 * time.Second, 1e6: 30 * time.Second,
	} {
		if got := Backoff(failures); got != want {
			t.Errorf("after %d failures: %s: want %s", failures, got, want)
		}
	}
}

func TestLongLinesAreCut(t *testing.T) {
	out := newSaid()
	l := &lines{stream: Stdout, pass: out.add}
	for _, part := range []string{"a\r\n", "b", "c\n\n", strings.Repeat("x", maxLine) + "\n", strings.Repeat("y", 2*maxLine+1)} {
		if n, err := l.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	l.flush()
	var lengths []int
	for _, line := range out.lines {
		lengths = append(lengths, len(line.Text))
	}
	if want := fmt.Sprint([]int{1, 2, 0, maxLine, maxLine, maxLine, 1}); fmt.Sprint(lengths) != want {
		t.Errorf("lines of %v: want %s", lengths, want)
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("one\ntwo\r\nthree"), uint8(4))
	f.Add([]byte("\xff\xfe\n"), uint8(1))
	f.Fuzz(func(t *testing.T, text []byte, step uint8) {
		var got []string
		l := &lines{pass: func(line Line) { got = append(got, line.Text) }}
		for rest := text; len(rest) > 0; {
			n := min(len(rest), int(step)+1)
			_, _ = l.Write(rest[:n])
			rest = rest[n:]
		}
		l.flush()
		whole := ""
		for _, line := range got {
			if strings.Contains(line, "\n") || len(line) > 3*maxLine {
				t.Fatalf("line %q", line)
			}
			whole += line
		}
		want := strings.ToValidUTF8(strings.NewReplacer("\r\n", "", "\n", "").Replace(string(text)), "\ufffd")
		if len(text) < maxLine && strings.ReplaceAll(whole, "\r", "") != strings.ReplaceAll(want, "\r", "") && strings.ToValidUTF8(string(text), "") == string(text) {
			t.Fatalf("%q became %q", text, whole)
		}
	})
}
