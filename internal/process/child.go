// Package process runs programs as children of this one: each in a process
// group of its own, its output line by line, ended in order, and never left
// behind.
package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Spec is what to run.
type Spec struct {
	// Command is a program, found through PATH, and its arguments.
	Command []string
	// Env is added to Inherited, NAME=value each; a bare NAME is passed on as
	// this process has it, and * passes on everything.
	Env []string
	// Dir is the working directory; empty for this process' own.
	Dir string
	// User runs the program as another user, by name or number. That wants
	// root. Empty for the user of this process.
	User string
}

// Inherited names the variables that every child gets. The others may hold
// this process' secrets.
var Inherited = []string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"}

// outputAfterEnd is how long output is still awaited from whoever else holds
// the pipe once the child has ended.
const outputAfterEnd = time.Second

// Child is a process that was started. Its methods may be called concurrently.
type Child struct {
	// PID is its process id, and that of its group.
	PID int

	ended  chan struct{}
	err    error // how it ended; set before ended is closed
	forced atomic.Bool
}

// Start runs a program. What it writes is passed on line by line, from
// goroutines that end with the child, stdout and stderr each in order; output
// must not wait for the child. The child is killed when this process dies
// (Linux).
func Start(s Spec, output func(Line)) (*Child, error) {
	if len(s.Command) == 0 {
		return nil, errors.New("no command")
	}
	if info, err := os.Stat(s.Dir); s.Dir != "" && (err != nil || !info.IsDir()) {
		return nil, fmt.Errorf("dir %q: want a folder that is there", s.Dir)
	}
	attributes, err := attributesFor(s.User)
	if err != nil {
		return nil, err
	}
	command := exec.Command(s.Command[0], s.Command[1:]...)
	command.Env, command.Dir, command.SysProcAttr = environment(s.Env), s.Dir, attributes
	command.WaitDelay = outputAfterEnd
	out, errs := &lines{stream: Stdout, pass: output}, &lines{stream: Stderr, pass: output}
	command.Stdout, command.Stderr = out, errs

	c := &Child{ended: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// Linux sends the parent-death signal when the thread ends that started
		// the child: keep it for as long as the child lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		if err == nil {
			c.PID = command.Process.Pid
		}
		started <- err
		if err != nil {
			return
		}
		awaitEnd(c.PID)
		// Whom it started goes with it. Its number is not free yet.
		_ = signalGroup(c.PID, syscall.SIGKILL) // Most groups are empty by now.
		c.err = command.Wait()
		if errors.Is(c.err, exec.ErrWaitDelay) {
			c.err = nil // Somebody outside of the group holds the pipe: no matter.
		}
		out.flush()
		errs.flush()
		close(c.ended)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Command[0], err)
	}
	return c, nil
}

// Ended is closed when the process has exited, its group is gone, and all of
// its output has been passed on.
func (c *Child) Ended() <-chan struct{} { return c.ended }

// Err says how the process ended: nil for an exit with status 0. It may be
// called once Ended is closed.
func (c *Child) Err() error { return c.err }

// Stop asks the process group to finish (SIGTERM), ends it by force after the
// grace (SIGKILL), and returns when it is gone: true if force was needed.
func (c *Child) Stop(grace time.Duration) (forced bool) {
	select {
	case <-c.ended:
		return false
	default:
	}
	if err := signalGroup(c.PID, syscall.SIGTERM); err != nil {
		grace = 0 // gone, or a system without this signal
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-c.ended:
		return false
	case <-timer.C:
	}
	c.forced.Store(true)
	_ = signalGroup(c.PID, syscall.SIGKILL) // An error means that it exited just now.
	<-c.ended
	return true
}

// Forced reports whether Stop had to end it by force.
func (c *Child) Forced() bool { return c.forced.Load() }

// environment is what a child gets.
func environment(given []string) []string {
	var env []string
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		if slices.Contains(Inherited, name) || slices.Contains(given, name) || slices.Contains(given, "*") {
			env = append(env, pair)
		}
	}
	for _, pair := range given {
		if strings.Contains(pair, "=") {
			env = append(env, pair) // The last of a name counts.
		}
	}
	return env
}
