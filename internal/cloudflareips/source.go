package cloudflareips

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// DefaultInterval is how often Cloudflare is asked.
	DefaultInterval = 24 * time.Hour

	fileName   = "cloudflare-ips.json"
	firstPause = time.Minute
	longPause  = time.Hour
)

// Event tells of one attempt to learn the list, or of a file that is not good.
type Event struct {
	Ranges  int       // of the list in force
	Changed bool      // it is another one than before
	Fetched time.Time // when the list in force was learned; zero for the built-in one
	Err     error     // what failed; the list before stays in force
}

// Config says where the list comes from.
type Config struct {
	Interval time.Duration // 0: DefaultInterval; negative: Cloudflare is not asked
	Folder   string        // where the list is kept for the next start; empty for nowhere
	Ask      func(context.Context) ([]string, error)
}

// List is a list of ranges. It is never changed, only replaced.
type List struct {
	Prefixes []netip.Prefix
	Fetched  time.Time // zero for the built-in one
}

// Source holds the list in force. All methods may be called concurrently.
type Source struct {
	event func(Event)
	list  atomic.Pointer[List]

	mu   sync.Mutex
	stop context.CancelFunc
	work sync.WaitGroup
}

// NewSource holds the built-in list and asks nobody: Configure does. The event
// function may be nil.
func NewSource(event func(Event)) *Source {
	s := &Source{event: event}
	s.list.Store(&List{Prefixes: builtin})
	return s
}

// List is the list in force. It takes no lock.
func (s *Source) List() *List { return s.list.Load() }

// Configure takes the kept list, if it is newer than the one in force, and from
// now on asks as c says.
func (s *Source) Configure(c Config) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked()
	if c.Folder != "" {
		s.recall(filepath.Join(c.Folder, fileName))
	}
	if c.Interval < 0 {
		return
	}
	if c.Interval == 0 {
		c.Interval = DefaultInterval
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.work.Go(func() { s.follow(ctx, c) })
}

// Close ends asking. The list stays.
func (s *Source) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked()
	return nil
}

func (s *Source) endLocked() {
	if s.stop != nil {
		s.stop()
		s.work.Wait()
		s.stop = nil
	}
}

// pause is how long to wait before the next attempt: what is left of the
// interval after a success, a minute after the first failure and twice as long
// after each further one, up to an hour; all of it spread by a tenth.
func pause(interval time.Duration, age time.Duration, failures int, spread float64) time.Duration {
	wait := max(0, interval-age)
	if failures > 0 {
		wait = min(longPause, firstPause<<min(failures-1, 10))
	}
	return wait + time.Duration(float64(wait)*spread/10)
}

func (s *Source) follow(ctx context.Context, c Config) {
	for failures := 0; ; {
		age := c.Interval // the built-in list is as old as can be
		if fetched := s.List().Fetched; !fetched.IsZero() {
			age = time.Since(fetched)
		}
		select {
		case <-time.After(pause(c.Interval, age, failures, rand.Float64())):
		case <-ctx.Done():
			return
		}
		if err := s.ask(ctx, c); err != nil && ctx.Err() == nil {
			failures++
			s.tell(Event{Err: err})
		} else {
			failures = 0
		}
	}
}

func (s *Source) ask(ctx context.Context, c Config) error {
	ranges, err := c.Ask(ctx)
	if err != nil {
		return err
	}
	prefixes, err := Check(ranges)
	if err != nil {
		return fmt.Errorf("the list is refused: %w", err)
	}
	before := s.List()
	now := &List{Prefixes: prefixes, Fetched: time.Now()}
	s.list.Store(now)
	s.tell(Event{Changed: !same(before.Prefixes, prefixes)})
	if c.Folder == "" {
		return nil
	}
	if err := keep(filepath.Join(c.Folder, fileName), kept{now.Fetched, ranges}); err != nil {
		s.tell(Event{Err: fmt.Errorf("the list is in force, and not kept for the next start: %w", err)})
	}
	return nil
}

// same compares lists whatever their order.
func same(a, b []netip.Prefix) bool {
	in := make(map[netip.Prefix]bool, len(a))
	for _, p := range a {
		in[p] = true
	}
	for _, p := range b {
		if !in[p] {
			return false
		}
	}
	return len(a) == len(b)
}

func (s *Source) tell(e Event) {
	if s.event == nil {
		return
	}
	list := s.List()
	e.Ranges, e.Fetched = len(list.Prefixes), list.Fetched
	s.event(e)
}

// kept is the file.
type kept struct {
	Fetched time.Time `json:"fetched"`
	Ranges  []string  `json:"ranges"`
}

func keep(path string, k kept) error {
	text, err := json.Marshal(k)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// recall takes the kept list. One that is broken, or from the future, is told of
// and left: the next good answer replaces it.
func (s *Source) recall(path string) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var k kept
	var prefixes []netip.Prefix
	if err == nil {
		err = json.Unmarshal(text, &k)
	}
	if err == nil {
		prefixes, err = Check(k.Ranges)
	}
	if err == nil && k.Fetched.After(time.Now()) {
		err = fmt.Errorf("fetched at %s: want a time that is past", k.Fetched.Format(time.RFC3339))
	}
	if err != nil {
		s.tell(Event{Err: fmt.Errorf("%s: not used: %w", path, err)})
		return
	}
	if k.Fetched.After(s.List().Fetched) {
		s.list.Store(&List{Prefixes: prefixes, Fetched: k.Fetched})
	}
}
