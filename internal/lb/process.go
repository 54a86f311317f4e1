package lb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/edgegw/edge/internal/named"
	"github.com/edgegw/edge/internal/process"
)

func init() {
	Discoveries.Register("process", newProcesses, named.Spec{Args: []string{"/srv/app/server", "--port", "{port}"}})
}

// portWord stands in a command, and in the value of a variable, for the port
// that a replica shall listen on. It is in the variable PORT too.
const portWord = "{port}"

// program is what processes run. Those that differ in it are replaced.
type program struct {
	command []string
	env     []string
	dir     string
	user    string
	host    string
}

// launch is a program, and how it is run.
type launch struct {
	program
	replicas    int // where no autoscaler drives them
	first, last int // ports; 0 for any
	ready       time.Duration
	grace       time.Duration
}

// processes is a discovery that starts and stops the replicas itself. It goes
// on when its words change.
type processes struct {
	changed chan struct{}

	mu      sync.Mutex
	launch  launch
	retired bool
}

// newProcesses reads
//
//	process COMMAND ARG... {
//	    env NAME=value…
//	    dir FOLDER
//	    user NAME
//	    replicas 1
//	    host 127.0.0.1
//	    ports 4000-4099
//	    ready 60s
//	    grace 10s
//	}
func newProcesses(s named.Spec) (Discovery, error) {
	errs := s.Want(1, 1000, "a command and its arguments", "env", "dir", "user", "replicas", "host", "ports", "ready", "grace")
	l := launch{
		program:  program{command: s.Args, env: s.Options["env"], host: "127.0.0.1"},
		replicas: 1, ready: time.Minute, grace: 10 * time.Second,
	}
	for _, pair := range l.env {
		if name, _, _ := strings.Cut(pair, "="); name == "" || strings.ContainsAny(name, " \t\"'$") {
			errs = append(errs, fmt.Errorf("process env %q: want NAME=value, NAME to pass a variable on, or * for all", pair))
		}
	}
	for word, read := range map[string]func(string) error{
		"dir":      func(text string) error { l.dir = text; return nil },
		"user":     func(text string) error { l.user = text; return nil },
		"replicas": func(text string) (err error) { l.replicas, err = wholeNumber(text, 1, 1000); return err },
		"host": func(text string) (err error) {
			l.host = text
			_, err = ParseAddress(net.JoinHostPort(text, "1"))
			return err
		},
		"ports": l.readPorts,
	} {
		words, given := s.Options[word]
		if !given {
			continue
		}
		if len(words) != 1 {
			errs = append(errs, fmt.Errorf("process %s: got %d words: want one", word, len(words)))
			continue
		}
		if err := read(words[0]); err != nil {
			errs = append(errs, fmt.Errorf("process %s %q: %w", word, words[0], err))
		}
	}
	for word, to := range map[string]*time.Duration{"ready": &l.ready, "grace": &l.grace} {
		words, given := s.Options[word]
		if !given {
			continue
		}
		var err error
		if *to, err = oneDuration("process "+word, words); err != nil {
			errs = append(errs, err)
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return &processes{launch: l, changed: make(chan struct{}, 1)}, errors.Join(errs...)
}

// wholeNumber reads a number within bounds.
func wholeNumber(text string, low, high int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("want a whole number from %d to %d", low, high)
	}
	return n, nil
}

// readPorts reads "4000-4099".
func (l *launch) readPorts(text string) error {
	low, high, found := strings.Cut(text, "-")
	first, err1 := strconv.ParseUint(low, 10, 16)
	last, err2 := strconv.ParseUint(high, 10, 16)
	if !found || err1 != nil || err2 != nil || first == 0 || first > last {
		return errors.New("want a range such as 4000-4099")
	}
	l.first, l.last = int(first), int(last)
	return nil
}

// Run starts processes and keeps them, until they are retired and gone, or ctx
// ends: then it stops them all.
func (d *processes) Run(ctx context.Context, feed Feed) {
	w := &warden{feed: feed, ended: make(chan *proc)}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		d.mu.Lock()
		l, retired := d.launch, d.retired
		d.mu.Unlock()
		w.configure(l)
		w.step(time.Now(), retired)
		if retired && len(w.procs) == 0 {
			w.work.Wait()
			return
		}
		select {
		case <-tick.C:
		case p := <-w.ended:
			w.exited(p, time.Now())
		case <-d.changed:
		case <-ctx.Done():
			w.stopAll()
			return
		}
	}
}

// Succeed takes over the words of next, which is not run. Processes stay, or
// are replaced one by one if the program is another.
func (d *processes) Succeed(next Discovery) bool {
	n, ok := next.(*processes)
	if !ok {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.retired {
		return false
	}
	d.launch = n.launch
	d.poke()
	return true
}

// Retire lets processes go when the pool has no more use for them.
func (d *processes) Retire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.retired = true
	d.poke()
}

func (d *processes) poke() {
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// spec is how to run the program on a port.
func (p program) spec(port int) process.Spec {
	fill := func(texts []string) []string {
		filled := make([]string, len(texts))
		for i, text := range texts {
			filled[i] = strings.ReplaceAll(text, portWord, strconv.Itoa(port))
		}
		return filled
	}
	return process.Spec{
		Command: fill(p.command), Dir: p.dir, User: p.user,
		Env: append([]string{"PORT=" + strconv.Itoa(port)}, fill(p.env)...),
	}
}

func (p program) equal(other program) bool { return reflect.DeepEqual(p, other) }
