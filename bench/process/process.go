// Package process runs children that are pinned to a CPU and that end with
// whoever started them.
package process

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Command is a server to start.
type Command struct {
	// Name says in errors what this is; its output goes to output.log in Dir.
	Name string
	Path string
	Args []string
	// Env is the whole environment.
	Env []string
	// Dir is the working directory.
	Dir string
	// CPU that the process and all its children are pinned to; or AnyCPU.
	CPU int
	// Grace is how long it may take to end after SIGTERM. Default 5s.
	Grace time.Duration
}

// AnyCPU leaves a process to the scheduler.
const AnyCPU = -1

// Process is a child that runs, or has run. Its methods may be called
// concurrently.
type Process struct {
	command Command
	cmd     *exec.Cmd
	log     string
	exited  chan struct{}
	err     error // how it ended; read after exited is closed
}

// Start starts the command. Whoever starts a process stops it.
func Start(c Command) (*Process, error) {
	p := &Process{command: c, log: filepath.Join(c.Dir, "output.log"), exited: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	defer log.Close() // the child has its own copy
	name, args := c.Path, c.Args
	if c.CPU != AnyCPU {
		name, args = Pin(c.CPU, c.Path, c.Args...)
	}
	p.cmd = exec.Command(name, args...)
	p.cmd.Dir, p.cmd.Env = c.Dir, c.Env
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{
		// A group of its own: the terminal's interrupt reaches us alone, and
		// what the child has forked can be ended with it.
		Setpgid: true,
		// Should we be killed, the kernel asks the child to end.
		Pdeathsig: syscall.SIGTERM,
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// Pin is the command line that runs a program on one CPU. The program takes
// over the process of taskset, and with it the process id.
func Pin(cpu int, path string, args ...string) (name string, pinned []string) {
	return "taskset", append([]string{"-c", strconv.Itoa(cpu), path}, args...)
}

// PID is the process id of the root of the child's process tree.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Stop ends the process and everything in its group, and waits for it. It is
// an error if the process had ended before, or did not end when asked to.
func (p *Process) Stop() error {
	select {
	case <-p.exited:
		p.killGroup()
		return fmt.Errorf("%s ended early: %w", p.command.Name, p.Failure())
	default:
	}
	// The process may end right now; its id stays ours until Wait has returned,
	// and os.Process refuses to signal it after that.
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	grace := cmp.Or(p.command.Grace, 5*time.Second)
	deadline := time.NewTimer(grace)
	defer deadline.Stop()
	var err error
	select {
	case <-p.exited:
	case <-deadline.C:
		err = fmt.Errorf("stop %s: still running %v after SIGTERM: killed", p.command.Name, grace)
		_ = p.cmd.Process.Kill() // as above
		<-p.exited
	}
	p.killGroup()
	return err
}

// Kill ends the process, as kill -9 does, and waits for it.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // It may have ended by itself.
	<-p.exited
	p.killGroup()
}

// Output is what the process has written so far.
func (p *Process) Output() ([]byte, error) { return os.ReadFile(p.log) }

// killGroup ends what the child left behind. Usually there is nothing.
func (p *Process) killGroup() {
	// The group's id is the child's. It cannot be taken by others while a
	// member is left, and with no member this fails with ESRCH, as it should.
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
}

// Failure says how an ended process ended, with the last of its output. It
// waits for the end.
func (p *Process) Failure() error {
	<-p.exited
	err := p.err
	if err == nil {
		err = errors.New("exit status 0")
	}
	return fmt.Errorf("%w\n%s", err, p.tail())
}

// tail is the last KiB of the output.
func (p *Process) tail() []byte {
	const most = 1 << 10
	out, err := p.Output()
	if err != nil {
		return []byte(err.Error())
	}
	return bytes.TrimSpace(out[max(0, len(out)-most):])
}
