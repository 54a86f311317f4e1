package process

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// shell starts a shell script that can write to a pipe which stays open as long
// as a process of its tree lives.
func shell(t *testing.T, script string) (p *Process, life *bufio.Reader) {
	t.Helper()
	dir := t.TempDir()
	fifo := filepath.Join(dir, "life")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := Start(Command{Name: "script", Path: "/bin/sh", Args: []string{"-c", "exec 3>life; " + script}, Dir: dir, CPU: firstCPU(t)})
	if err != nil {
		t.Fatal(err)
	}
	// Opening waits for the child to open its end.
	f, err := os.Open(fifo)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return p, bufio.NewReader(f)
}

func firstCPU(t *testing.T) int {
	t.Helper()
	cpus, err := Allowed()
	if err != nil {
		t.Fatal(err)
	}
	return cpus[0]
}

func TestStopEndsTheWholeTree(t *testing.T) {
	// The grandchild ignores SIGTERM, so only the group's end can reach it.
	p, life := shell(t, `sh -c 'trap "" TERM; echo up >&3; tail -f /dev/null & wait; wait' & wait`)
	if line, err := life.ReadString('\n'); line != "up\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	if err := p.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if rest, err := io.ReadAll(life); err != nil || len(rest) != 0 {
		t.Errorf("got %q, %v; want the end of the pipe, as nobody holds it", rest, err)
	}
}

func TestPinnedChildKeepsItsProcessID(t *testing.T) {
	p, life := shell(t, `echo $$ >&3; exec tail -f /dev/null`)
	line, err := life.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile("/proc/" + strings.TrimSpace(line) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	if want := "Cpus_allowed_list:\t" + strconv.Itoa(firstCPU(t)) + "\n"; !strings.Contains(string(status), want) {
		t.Errorf("want %q in\n%s", want, status)
	}
	if got := strconv.Itoa(p.PID()); got != strings.TrimSpace(line) {
		t.Errorf("PID %s, but the child says it is %s", got, line)
	}
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
}

func TestFailureShowsTheLastOutput(t *testing.T) {
	p, _ := shell(t, `echo no such directive; exit 3`)
	err := p.Failure()
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no such directive") {
		t.Errorf("got %v: want the status and what the child said", err)
	}
	if err := p.Stop(); err == nil {
		t.Error("stop: want an error, since the process had ended before it was asked to")
	}
}

func TestStartNamesWhatIsMissing(t *testing.T) {
	_, err := Start(Command{Name: "nginx", Dir: filepath.Join(t.TempDir(), "gone")})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "nginx") {
		t.Errorf("got %v", err)
	}
}
