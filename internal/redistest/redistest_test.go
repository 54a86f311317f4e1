package redistest

import (
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestAServerForgetsWhenItIsKilled(t *testing.T) {
	s := New(t, "--requirepass", "s3cret")
	if said := s.Say("SET", "a", "1"); said != "OK" {
		t.Fatal(said)
	}
	for _, sig := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
		if err := s.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	if said := s.Say("GET", "a"); said != "1" {
		t.Errorf("resumed, it says %q", said)
	}
	s.Kill()
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	if said := s.Say("GET", "a"); said != "" {
		t.Errorf("started again, it says %q", said)
	}
}

func TestNothingPassesALineThatIsCut(t *testing.T) {
	s := New(t)
	l, err := NewLine(filepath.Join(s.Dir, "line"), s.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", l.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ping := func(within time.Duration) string {
		t.Helper()
		if err := c.SetDeadline(time.Now().Add(within)); err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, 7)
		n, _ := c.Read(answer) // none before the deadline is an answer, too
		return string(answer[:n])
	}
	say := func() {
		t.Helper()
		if _, err := c.Write([]byte("PING\r\n")); err != nil {
			t.Fatal(err)
		}
	}
	say()
	if got := ping(time.Minute); got != "+PONG\r\n" {
		t.Errorf("open: %q", got)
	}
	l.Cut()
	l.Cut()
	say()
	if got := ping(100 * time.Millisecond); got != "" {
		t.Errorf("cut: %q", got)
	}
	l.Mend()
	l.Mend()
	if got := ping(time.Minute); got != "+PONG\r\n" {
		t.Errorf("mended: %q", got)
	}
}
