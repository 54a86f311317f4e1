package caddymodule

import (
	"errors"
	"fmt"

	"github.com/edgegw/edge/internal/purge"
)

// yield lets go of what only one process may have: the journal, the history of
// deploys, the drained replicas' file, the disk, backups. What is stored stays, and
// is served from memory.
func (g *gateway) yield(a *App) error {
	g.writing.Lock()
	g.away = true
	g.writing.Unlock()
	for _, p := range a.pools {
		p.settle()
	}
	g.mu.Lock()
	purges := g.purges
	g.purges = nil
	g.mu.Unlock()
	g.backups.Close()
	err := purges.Close()
	g.store.LeaveDisk()
	g.mu.Lock()
	defer g.mu.Unlock()
	err = errors.Join(err, g.owned.Close())
	g.owned = nil
	return err
}

// resume takes up again what yield has let go of, and no successor has changed.
func (g *gateway) resume(a *App) error {
	owned, err := ownState(a)
	if err != nil {
		return err
	}
	journal, err := purge.OpenJournal(a.StateDir, onPurgeEvent)
	if err != nil {
		return errors.Join(err, owned.Close())
	}
	g.writing.Lock()
	g.away = false
	g.writing.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.owned = owned
	g.purges = purge.NewCoordinator(journal, g.parts(a), onPurgeEvent)
	g.openCache(a, journal)
	g.purges.Resume()
	g.backups.Configure(a.backupPlan())
	for _, p := range a.pools {
		p.poke()
	}
	return nil
}

// atHome reports that this process has the state.
func (g *gateway) atHome() bool {
	g.writing.Lock()
	defer g.writing.Unlock()
	return !g.away
}

// write replaces a file of the state folder, unless that is another process's by
// now.
func (g *gateway) write(path string, text []byte) error {
	g.writing.Lock()
	defer g.writing.Unlock()
	if g.away {
		return fmt.Errorf("%s: %w", path, errHandedOver)
	}
	return writeDurably(path, text)
}
