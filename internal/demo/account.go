package demo

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	// redrawEvery and lineEvery are the pace of the account on a terminal and
	// elsewhere.
	redrawEvery = 500 * time.Millisecond
	lineEvery   = 5 * time.Second
	// width is what a redrawn line may take: a line that wraps would break the
	// redrawing.
	width = 79
	// notesShown is how many of the last notes stand in the redrawn part.
	notesShown = 8
)

// account tells live what happens: redrawn in place on a terminal, line by
// line elsewhere. It is safe for concurrent use.
type account struct {
	terminal bool
	began    time.Time

	mu    sync.Mutex
	w     io.Writer
	notes []string
	drawn int // lines to go back; 0 when nothing is drawn in place
}

func newAccount(w io.Writer) *account {
	return &account{w: w, terminal: isTerminal(w), began: time.Now()}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// every is how often show should be called.
func (a *account) every() time.Duration {
	if a.terminal {
		return redrawEvery
	}
	return lineEvery
}

// note tells of something that happened once.
func (a *account) note(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	line := fmt.Sprintf("%6s  %s", clock(time.Since(a.began)), fmt.Sprintf(format, args...))
	if a.drawn == 0 {
		fmt.Fprintln(a.w, line)
		return
	}
	a.notes = append(a.notes, line)
	a.notes = a.notes[max(0, len(a.notes)-notesShown):]
}

// scene is what there is to see at one moment.
type scene struct {
	counts   counts
	replicas []running
	status   gatewayStatus
}

// show tells how things stand.
func (a *account) show(s scene) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := clock(time.Since(a.began))
	if !a.terminal {
		fmt.Fprintf(a.w, "%6s  %s\n", now, s.line())
		return
	}
	lines := append(s.block(now), a.notes...)
	var b strings.Builder
	if a.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", a.drawn) // up
	}
	for _, line := range lines {
		fmt.Fprintf(&b, "\x1b[2K%s\n", shorten(line)) // clear, then write
	}
	b.WriteString("\x1b[J") // clear what a longer drawing left below
	a.drawn = len(lines)
	io.WriteString(a.w, b.String())
}

// say lets what is drawn stand and has text written below it; nothing is drawn
// meanwhile.
func (a *account) say(write func() error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drawn, a.notes = 0, nil
	return write()
}

// line is the scene in one line.
func (s scene) line() string {
	versions := make(map[string]int)
	for _, r := range s.replicas {
		if r.alive {
			versions[r.version]++
		}
	}
	return fmt.Sprintf("%d requests, %d failures, hit ratio %.1f %%, %d old pages after the purge, replicas: %d of %s, %d of %s%s",
		s.counts.requests, s.counts.failures, 100*s.counts.hitRatio(), s.counts.outdated,
		versions[before], before, versions[after], after, s.purge())
}

// block is the scene in lines, one for each replica.
func (s scene) block(now string) []string {
	c := s.counts
	lines := []string{
		fmt.Sprintf("edge demo %s", now),
		fmt.Sprintf("requests %d   failures %d   p50 %g ms   p99 %g ms", c.requests, c.failures,
			milliseconds(c.latency.quantile(0.5)), milliseconds(c.latency.quantile(0.99))),
		fmt.Sprintf("hit ratio %.1f %%   stale as allowed %d   old pages after the purge %d", 100*c.hitRatio(), c.stale, c.outdated),
		fmt.Sprintf("pages %d of %s, %d of %s   events %d   echoes %d", c.pages[before], before, c.pages[after], after, c.events, c.echoes),
	}
	for _, r := range s.replicas {
		state, inFlight := "starting", 0
		if seen, ok := s.status.find(r.id); ok {
			state, inFlight = seen.State, seen.InFlight
			if state != "up" && seen.Why != "" {
				state += ": " + seen.Why
			}
		}
		if !r.alive {
			state = "ended"
		}
		lines = append(lines, fmt.Sprintf("  %-4s %-4s %-21s process %-7d %3d in flight  %s", r.name, r.version, r.address, r.pid, inFlight, state))
	}
	if purge := s.purge(); purge != "" {
		lines = append(lines, "purge"+strings.TrimPrefix(purge, ", purge"))
	}
	return append(lines, "")
}

// purge is the newest purge and its steps; "" before there is one.
func (s scene) purge() string {
	if len(s.status.Purges.Last) == 0 {
		return ""
	}
	last := s.status.Purges.Last[0]
	names := make([]string, 0, len(last.Steps))
	for _, step := range last.Steps {
		names = append(names, step.Name)
	}
	return fmt.Sprintf(", purge %s: %s", last.State, strings.Join(names, " "))
}

func shorten(line string) string {
	runes := []rune(line)
	if len(runes) > width {
		return string(runes[:width-1]) + "…"
	}
	return line
}

// clock is minutes and seconds.
func clock(d time.Duration) string {
	return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
}
