package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"go.uber.org/zap"

	"github.com/edgegw/edge/internal/fleet"
	"github.com/edgegw/edge/internal/lb"
)

// asideName is the file in the state folder with the replicas that were drained by
// hand, by pool: they stay so when the process is restarted.
const asideName = "aside.json"

// asides are these replicas. What is written is what the pools say, so that one
// that is gone is forgotten.
type asides struct {
	path  string
	write func(path string, text []byte) error
	left  map[string][]string // by the last process, for pools that have not begun

	mu    sync.Mutex
	saved map[string][]string
	// known are those of which this process has heard, by pool and address: from
	// somebody who drained them here, or from the fleet.
	known map[string]bool
}

func openAsides(stateDir string, write func(path string, text []byte) error) (*asides, error) {
	s := &asides{path: filepath.Join(stateDir, asideName), write: write, known: make(map[string]bool), saved: make(map[string][]string)}
	text, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("state_dir %q: want to read %s: %w", stateDir, asideName, err)
	}
	if err := json.Unmarshal(text, &s.left); err != nil {
		logger().Warn("drained replicas of the last run are not known", zap.String("file", s.path), zap.Error(err))
		s.left = nil
	}
	if s.left != nil {
		s.saved = maps.Clone(s.left)
	}
	return s, nil
}

// begin sets those of the last run aside again, before a pool finds anybody.
func (s *asides) begin(p *pool) {
	s.mu.Lock()
	left := s.left[p.name]
	delete(s.left, p.name)
	s.mu.Unlock()
	if len(left) > 0 {
		p.KeepAside(left)
	}
}

// keep writes down who is set aside now, if that is news.
func (s *asides) keep(pools map[string]*pool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := maps.Clone(s.left)
	if now == nil {
		now = make(map[string][]string)
	}
	for name, p := range pools {
		if list := p.Aside(); len(list) > 0 {
			now[name] = list
		}
	}
	if maps.EqualFunc(now, s.saved, slices.Equal) {
		return
	}
	text, err := json.Marshal(now)
	if err == nil {
		err = s.write(s.path, text)
	}
	if err != nil {
		logger().Warn("drained replicas may not be so after a restart", zap.String("file", s.path), zap.Error(err))
		return // tried again with the next change
	}
	s.saved = now
}

// knows notes whether this process has heard that a replica is set aside.
func (s *asides) knows(pool, address string, aside bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if key := pool + " " + address; aside {
		s.known[key] = true
	} else {
		delete(s.known, key)
	}
}

func (s *asides) heardOf(pool, address string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[pool+" "+address]
}

// follow does to the replicas that have not registered what was done to them at
// other nodes. before is what it has followed already.
func (s *asides) follow(a *App, found []fleet.Replica, before map[string]fleet.Replica) {
	told := make(map[string]fleet.Replica, len(found))
	ahead := make(map[string][]string)
	for _, r := range found {
		key := r.Pool + " " + r.Address
		told[key] = r
		p := a.pools[r.Pool]
		switch {
		case p == nil || !r.Found:
		case r.Aside:
			s.knows(r.Pool, r.Address, true)
			ahead[r.Pool] = append(ahead[r.Pool], r.Address)
		case before[key].Mark != r.Mark:
			s.knows(r.Pool, r.Address, false)
			// It need not be there, nor set aside.
			_, _ = p.TakeBack(lb.Selection{Replica: r.Address})
		}
	}
	for name, p := range a.pools {
		p.KeepAside(ahead[name])
		for _, address := range p.Aside() {
			s.confirm(a, p, address, told)
		}
	}
	s.keep(a.pools)
}

// confirm tells the fleet of a replica that is set aside here. One of which only
// the last process knew was taken back meanwhile, if the fleet does not know it.
func (s *asides) confirm(a *App, p *pool, address string, told map[string]fleet.Replica) {
	r, known := told[p.name+" "+address]
	switch {
	case known && !r.Found:
	case known || s.heardOf(p.name, address):
		// The next renewal tells what is wrong.
		_ = a.gateway.member.Hold(context.Background(), p.name, address)
	default:
		_, _ = p.TakeBack(lb.Selection{Replica: address})
	}
}
