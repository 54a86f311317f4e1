package handover

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// environment names the variable in which the new process finds what it was given.
const environment = "EDGE_HANDOVER"

// given says at which descriptors.
type given struct {
	Link    int            `json:"link"`
	Stderr  int            `json:"stderr"`
	Passage int            `json:"passage,omitempty"` // 0: the old one knows of none
	Sockets map[string]int `json:"sockets"`
}

// Child is the new process, as the old one sees it.
type Child struct {
	*Link

	// Passage is where connections go to it, if it says that it takes them.
	Passage *Passage
	// PID is its process id.
	PID int

	process *exec.Cmd
	pidfd   *int // tells of the end of a sibling; nil for a child
	ended   chan struct{}
	state   error // how it ended, once it has
	said    tail
}

// Order is what to start.
type Order struct {
	Binary string
	Args   []string
	// Sockets that listen, by address. They stay the caller's.
	Sockets map[string]*os.File
	// Fixed are files that must have the same number in the new process: those that
	// a service manager gave. They stay the caller's.
	Fixed map[int]*os.File
	// Sibling makes the process a child of this one's parent, a service manager: that
	// learns of the end of its own children only, and waits for no others.
	Sibling bool
	// Handlers answer what the new process asks.
	Handlers map[string]Handler
}

// Start starts the process. Its standard error goes where ours goes; what it says
// there last is remembered until it calls Adopted.
func Start(o Order) (*Child, error) {
	w, err := lay()
	if err != nil {
		return nil, err
	}
	defer w.closeTheirs()
	extra := make([]*os.File, 0, len(o.Fixed)+len(o.Sockets)+3)
	for fd := range o.Fixed {
		for len(extra) <= fd-3 {
			extra = append(extra, nil)
		}
	}
	for fd, file := range o.Fixed {
		extra[fd-3] = file
	}
	give := func(file *os.File) int {
		extra = append(extra, file)
		return len(extra) + 2
	}
	what := given{Link: give(w.theirLink), Stderr: give(os.Stderr), Passage: give(w.theirPassage), Sockets: make(map[string]int)}
	for address, file := range o.Sockets {
		what.Sockets[address] = give(file)
	}
	text, err := json.Marshal(what)
	if err != nil {
		return nil, errors.Join(err, w.closeOurs())
	}
	c := &Child{Passage: newPassage(w.passage), ended: make(chan struct{})}
	c.process = exec.Command(o.Binary, o.Args...)
	c.process.Stdin, c.process.Stdout, c.process.Stderr = os.Stdin, os.Stdout, w.theirStderr
	c.process.ExtraFiles = extra
	if o.Sibling {
		c.pidfd = besides(c.process)
	}
	for _, variable := range os.Environ() {
		// Whoever reads LISTEN_PID would take the sockets for another process's.
		if !strings.HasPrefix(variable, "LISTEN_PID=") && !strings.HasPrefix(variable, environment+"=") {
			c.process.Env = append(c.process.Env, variable)
		}
	}
	c.process.Env = append(c.process.Env, environment+"="+string(text))
	if err := c.process.Start(); err != nil {
		return nil, errors.Join(err, w.closeOurs())
	}
	c.PID = c.process.Process.Pid
	c.Link = NewLink(w.link, o.Handlers)
	go c.follow(w.stderr)
	return c, nil
}

// wires are what the two processes share, both ends of each.
type wires struct {
	link, passage                        net.Conn
	stderr                               *os.File // to read
	theirLink, theirPassage, theirStderr *os.File
}

func lay() (*wires, error) {
	w := new(wires)
	var err error
	if w.link, w.theirLink, err = pair(false); err != nil {
		return nil, err
	}
	if w.passage, w.theirPassage, err = pair(true); err == nil {
		w.stderr, w.theirStderr, err = os.Pipe()
	}
	if err != nil {
		w.closeTheirs()
		return nil, errors.Join(err, w.closeOurs())
	}
	return w, nil
}

// closeTheirs closes this process's copies. Those that were not made are nil, which
// Close refuses.
func (w *wires) closeTheirs() {
	for _, file := range []*os.File{w.theirLink, w.theirPassage, w.theirStderr} {
		_ = file.Close()
	}
}

func (w *wires) closeOurs() error {
	var errs []error
	for _, end := range []net.Conn{w.link, w.passage} {
		if end != nil {
			errs = append(errs, end.Close())
		}
	}
	if w.stderr != nil {
		errs = append(errs, w.stderr.Close())
	}
	return errors.Join(errs...)
}

// follow passes on what the process says, and waits for its end.
func (c *Child) follow(said *os.File) {
	var reading sync.WaitGroup
	reading.Go(func() {
		_, _ = io.Copy(io.MultiWriter(os.Stderr, &c.said), said) // to its end, or to ours
		_ = said.Close()
	})
	err := c.wait()
	// Its children may have the pipe still.
	_ = said.SetReadDeadline(time.Now().Add(time.Second))
	reading.Wait()
	c.state = err
	close(c.ended)
}

// wait waits for the process's end. How a sibling ended is its parent's to know.
func (c *Child) wait() error {
	if c.pidfd == nil {
		return c.process.Wait()
	}
	return errors.Join(awaitEnd(*c.pidfd), c.process.Process.Release())
}

// Ended is closed when the process has ended. It can be that long after its link
// has.
func (c *Child) Ended() <-chan struct{} { return c.ended }

// Why says how the process ended, and what it said last.
func (c *Child) Why() string {
	select {
	case <-c.ended:
	default:
		return "it still runs"
	}
	why := "it ended"
	if c.state != nil {
		why = "it ended: " + c.state.Error()
	}
	if said := c.said.lastLines(); said != "" {
		why += ": " + said
	}
	return why
}

// End kills the process and waits for its end. The link ends with it.
func (c *Child) End() {
	_ = c.process.Process.Kill() // it may have ended
	<-c.ended
	_ = c.Passage.Close() // nobody receives
}

// tail keeps the last of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const (
	tailBytes = 4096
	tailLines = 5
)

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-tailBytes):]
	return len(p), nil
}

func (t *tail) lastLines() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(string(t.text)), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}

// Inheritance is what a process was started with by one that it is to replace.
type Inheritance struct {
	// Conn is for NewLink.
	Conn net.Conn
	// Sockets listen already, by address.
	Sockets map[string]net.Listener
	// Passage is where connections come from; nil if the other process has none.
	Passage *Passage
	// PID is the other process's id.
	PID int

	pidfd  int // of the other process; negative where the kernel has none
	stderr int
}

// Inherit gives what this process was started with, nil if it is nobody's
// successor. Call it once, before anything starts other processes.
func Inherit() (*Inheritance, error) {
	text, found := os.LookupEnv(environment)
	if !found {
		return nil, nil
	}
	if err := os.Unsetenv(environment); err != nil {
		return nil, err
	}
	var what given
	if err := json.Unmarshal([]byte(text), &what); err != nil {
		return nil, fmt.Errorf("%s: %w", environment, err)
	}
	keepFromChildren(what.Stderr)
	i := &Inheritance{Sockets: make(map[string]net.Listener), stderr: what.Stderr}
	file := os.NewFile(uintptr(what.Link), "handover")
	conn, err := net.FileConn(file)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", environment, err)
	}
	i.Conn = conn
	if i.PID, err = maker(conn); err != nil {
		return nil, fmt.Errorf("%s: %w", environment, err)
	}
	i.pidfd = watch(i.PID)
	if what.Passage > 0 {
		if i.Passage, err = openPassage(what.Passage); err != nil {
			return nil, fmt.Errorf("%s: %w", environment, err)
		}
	}
	for address, fd := range what.Sockets {
		file := os.NewFile(uintptr(fd), address)
		listener, err := net.FileListener(file)
		if err = errors.Join(err, file.Close()); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", environment, address, err)
		}
		i.Sockets[address] = listener
	}
	return i, nil
}

// Ended reports that the process that started this one has ended: by then the kernel
// has closed its sockets.
func (i *Inheritance) Ended() bool {
	if i.pidfd < 0 { // then it is the parent
		return os.Getppid() != i.PID
	}
	return hasEnded(i.pidfd)
}

// Adopted makes the process's standard error its own: until then it goes through
// the one that started it, which will end.
func (i *Inheritance) Adopted() error {
	if err := becomeStderr(i.stderr); err != nil {
		return fmt.Errorf("standard error: %w", err)
	}
	return nil
}
