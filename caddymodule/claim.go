package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/edgegw/edge/internal/backup"
)

// claimEarly claims the state folder before Caddy opens any listener, in a process
// that is to serve: on Linux two processes may listen at one port, and a second one
// that waits, or is refused, must not have taken visitors from the first. A process
// that only checks a configuration claims nothing, and a successor does later.
func (g *gateway) claimEarly(a *App) error {
	if len(os.Args) < 2 || os.Args[1] != "run" || waitsForCharge() {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.claim(a)
}

// claim makes the state folder this process's, until the gateway ends or another
// process is handed it.
func (g *gateway) claim(a *App) error {
	if g.held != nil {
		return nil
	}
	if err := os.MkdirAll(a.StateDir, 0o700); err != nil {
		return fmt.Errorf("state_dir %q: want a folder that can be written: %w", a.StateDir, err)
	}
	held, err := g.holdState(a.StateDir)
	if err != nil {
		return err
	}
	owned, err := ownState(a)
	if err != nil {
		return errors.Join(err, held.Close())
	}
	g.held, g.owned = held, owned
	return nil
}

// holdState keeps restores out of the state folder, and refuses one that was left
// half done.
func (g *gateway) holdState(stateDir string) (held io.Closer, err error) {
	held, err = backup.Share(stateDir)
	if errors.Is(err, backup.ErrLocked) {
		return nil, fmt.Errorf("state_dir %q: edge restore is at work: wait until it has ended", stateDir)
	}
	if err != nil {
		return nil, fmt.Errorf("state_dir %q: want a folder that can be written: %w", stateDir, err)
	}
	g.restored, err = readRestored(stateDir)
	if err == nil && g.restored != nil && !g.restored.Finished {
		err = fmt.Errorf("the restore of %s was cut off: run edge restore --force again", g.restored.Backup)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("state_dir %q: %w", stateDir, err), held.Close())
	}
	return held, nil
}

// ownPatience is for how long a start waits for the state folder: a predecessor that
// was told to stop, and has not ended yet, has it until then.
const ownPatience = 10 * time.Second

// ownState makes this process the one that writes into the state folder.
func ownState(a *App) (io.Closer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), ownPatience)
	defer cancel()
	for told := false; ; told = true {
		owned, err := backup.Own(a.StateDir)
		if !errors.Is(err, backup.ErrLocked) {
			return owned, err
		}
		if !told {
			a.logger.Warn("another edge writes into state_dir: waiting for its end",
				zap.String("state_dir", a.StateDir), zap.Duration("at_most", ownPatience))
		}
		select {
		case <-time.After(ownPatience / 100):
		case <-ctx.Done():
			return nil, fmt.Errorf("state_dir %q: another edge runs there: end it first, let it hand over (edge handover), or give this one a folder of its own", a.StateDir)
		}
	}
}
