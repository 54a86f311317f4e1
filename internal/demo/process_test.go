package demo

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// process runs this test binary in one of TestMain's parts and gives the first
// line that it prints.
func process(t *testing.T, args ...string) (*child, string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	out := newFirstLine()
	command := exec.Command(program, args...)
	command.Stdout = out
	c, err := spawn("the process", command)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case line := <-out.line:
		return c, line
	case <-c.ended:
		return c, ""
	}
}

func TestAProcessEndsWhenAsked(t *testing.T) {
	c, address := process(t, "sample", "--version", "v1")
	if !strings.HasPrefix(address, "127.0.0.1:") || !c.alive() || c.pid <= 0 {
		t.Errorf("address %q, alive %t, pid %d", address, c.alive(), c.pid)
	}
	if err := c.end(finishing); err != nil || c.alive() {
		t.Errorf("%v, alive %t: want it gone without complaint", err, c.alive())
	}
	if err := c.end(finishing); err != nil {
		t.Errorf("ended twice: %v", err)
	}
}

func TestAProcessThatDoesNotEndIsKilled(t *testing.T) {
	c, line := process(t, "stubborn")
	if line != "ready" {
		t.Fatalf("said %q", line)
	}
	err := c.end(time.Millisecond)
	if err == nil || err.Error() != "the process did not finish within 1ms: killed" || c.alive() {
		t.Errorf("%v, alive %t", err, c.alive())
	}
}

func TestHowAProcessEndedIsKnown(t *testing.T) {
	c, _ := process(t, "run") // fails at once
	<-c.ended
	exit := new(exec.ExitError)
	if err := c.how(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("%v: want exit status 1", err)
	}
	if _, err := spawn("nothing", exec.Command("/nowhere/edge")); err == nil || !strings.HasPrefix(err.Error(), "start nothing: ") {
		t.Errorf("no such program: %v", err)
	}
}

func TestTheFirstLineIsPassedOn(t *testing.T) {
	f := newFirstLine()
	for _, part := range []string{"127.0.0.", "1:4000", "\nmore", "\nand more\n"} {
		if n, err := f.Write([]byte(part)); n != len(part) || err != nil {
			t.Errorf("%q: %d, %v", part, n, err)
		}
	}
	if got := <-f.line; got != "127.0.0.1:4000" {
		t.Errorf("got %q", got)
	}
	endless := newFirstLine()
	if _, err := io.Copy(endless, strings.NewReader(strings.Repeat("x", 5000))); err == nil {
		t.Error("a line without end was accepted")
	}
}

func TestTheTailOfALog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if got := tail(path, 10); got != "" {
		t.Errorf("of no file: %q", got)
	}
	if err := os.WriteFile(path, []byte("first line\nlast line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := tail(path, 10); got != "last line" {
		t.Errorf("the last ten bytes: %q: want the last line", got)
	}
	if got := tail(path, 100); got != "first line\nlast line" {
		t.Errorf("a short file: %q: want all of it", got)
	}
}
