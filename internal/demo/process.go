package demo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// child is a process that the demo started. It is ended by its process id and
// nothing else. Its methods are safe for concurrent use.
type child struct {
	name  string
	pid   int
	ended chan struct{} // closed when the process has exited

	process *os.Process
	err     error // how it exited; set before ended is closed
}

// spawn starts a program. The child dies with us where the system can see to
// that; elsewhere end must be called.
func spawn(name string, command *exec.Cmd) (*child, error) {
	command.SysProcAttr = childAttributes()
	command.WaitDelay = time.Second // for output that a grandchild holds open
	c := &child{name: name, ended: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// Linux ties a child's parent-death signal to the thread that started
		// it: keep that thread for as long as the child lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		c.process = command.Process
		started <- err
		if err == nil {
			c.err = command.Wait()
			close(c.ended)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	c.pid = c.process.Pid
	return c, nil
}

// alive reports whether the process still runs.
func (c *child) alive() bool {
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

// end asks the process to finish, ends it by force after the grace, and
// returns when it is gone: nil if it finished by itself without complaint.
func (c *child) end(grace time.Duration) error {
	if err := c.process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		grace = 0 // a system without this signal
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-c.ended:
		return c.how()
	case <-timer.C:
	}
	// An error means that it exited just now.
	_ = c.process.Kill()
	<-c.ended
	return fmt.Errorf("%s did not finish within %s: killed", c.name, grace)
}

// how says in what way an ended process ended.
func (c *child) how() error {
	if c.err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", c.name, c.err)
}

// firstLine is a writer that passes on the first line it gets and drops the
// rest.
type firstLine struct {
	line chan string // gets one line

	mu   sync.Mutex
	text bytes.Buffer
	done bool
}

func newFirstLine() *firstLine { return &firstLine{line: make(chan string, 1)} }

func (f *firstLine) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.done {
		return len(p), nil
	}
	f.text.Write(p)
	if line, err := f.text.ReadString('\n'); err == nil {
		f.done = true
		f.line <- line[:len(line)-1]
		return len(p), nil
	} else {
		f.text.WriteString(line) // not whole yet
	}
	if f.text.Len() > 4096 {
		return 0, errors.New("first line is too long")
	}
	return len(p), nil
}

// tail is the last of a log, for an error message.
func tail(path string, most int64) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > most {
		_, _ = f.Seek(-most, io.SeekEnd) // a longer tail does no harm
	}
	text, _ := io.ReadAll(f) // what can be read is enough
	return string(bytes.TrimSpace(text))
}
