package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/edgegw/edge/internal/purge"
)

// restoredFile is the file in the state folder by which edge restore tells the next
// start what it has done.
const restoredFile = "restore.json"

// restored is what it says.
type restored struct {
	Backup   string    `json:"backup"`
	Created  time.Time `json:"created"` // of the backup
	At       time.Time `json:"at"`
	Finished bool      `json:"finished"`
	// Purge says who purges everything at the start, since purges that came after
	// the backup are not known: auto, always or never.
	Purge string `json:"purge"`
}

// How a restored gateway makes up for the purges that its backup does not know.
const (
	purgeAuto   = "auto" // unless a fleet remembers
	purgeAlways = "always"
	purgeNever  = "never"
)

func readRestored(stateDir string) (*restored, error) {
	text, err := os.ReadFile(filepath.Join(stateDir, restoredFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := new(restored)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s: %w", restoredFile, err)
	}
	return r, nil
}

func (r restored) write(stateDir string) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return writeDurably(filepath.Join(stateDir, restoredFile), text)
}

// makeUp orders, after a restore, what the backup cannot know to have been ordered:
// the purges that were accepted after it. One of everything has all of them in it. A
// fleet has them in its Redis.
func (g *gateway) makeUp(a *App) {
	r := g.restored
	if r == nil {
		return
	}
	log := a.logger.With(zap.String("backup", r.Backup), zap.Time("created", r.Created))
	if r.Purge == purgeAlways || r.Purge == purgeAuto && a.Fleet == nil {
		record, err := g.purges.Submit(context.Background(), purge.Order{
			Selectors:      purge.Selectors{Everything: true},
			IdempotencyKey: "restore " + r.Backup + " " + r.At.UTC().Format(time.RFC3339Nano),
			Reason:         "restored from " + r.Backup + ": purges after it are not known", Actor: "edge restore",
		})
		if err != nil {
			// Left in the state folder: the next start tries again.
			log.Error("restored, and everything is still to be purged: run edge purge --everything", zap.Error(err))
			return
		}
		log = log.With(zap.String("purge", record.ID))
	}
	g.restored = nil
	if err := os.Remove(filepath.Join(g.dir, restoredFile)); err != nil {
		log.Warn("restored, and everything will be purged at the next start again", zap.Error(err))
		return
	}
	log.Info("restored")
}
