package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/edgegw/edge/internal/deploy"
	"github.com/edgegw/edge/internal/disk"
	"github.com/edgegw/edge/internal/httpcache"
	"github.com/edgegw/edge/internal/purge"
	"github.com/edgegw/edge/internal/sharedcache"
	"github.com/edgegw/edge/internal/unit"
)

// CacheSize bounds the store of responses.
type CacheSize struct {
	// Memory is the most that stored responses may take, with everything that
	// they cost. Default: 512MiB.
	Memory unit.Bytes `json:"memory,omitempty"`
	// MaxObject is the largest body that is stored; larger ones stream
	// through. Default: 32MiB.
	MaxObject unit.Bytes `json:"max_object,omitempty"`
	// Disk is the most that answers may take on disk, where a restart or a
	// crash finds them again. Default: nothing is written.
	Disk unit.Bytes `json:"disk,omitempty"`
	// DiskFolder is where. Default: the folder cache in the state folder.
	DiskFolder string `json:"disk_folder,omitempty"`
	// DiskMaxObject is the largest body that is stored on disk, where memory does
	// not take it. Default, and at most, an eighth of Disk, or 1 GiB if that is
	// less.
	DiskMaxObject unit.Bytes `json:"disk_max_object,omitempty"`
	// Vault says what is kept of past versions' assets. Default: an eighth of
	// Memory, of 10 versions.
	Vault Vault `json:"vault,omitzero"`
	// Shared says how much is kept in the fleet's Redis too, where all nodes find
	// it. Default: nothing.
	Shared *sharedcache.Config `json:"shared,omitempty"`
}

func (a *App) cacheOptions() httpcache.Options {
	return httpcache.Options{MaxBytes: int64(a.Cache.Memory), MaxObject: int64(a.Cache.MaxObject), Vault: a.Cache.Vault.options()}
}

// leastDisk is what a disk is of use from.
const leastDisk = 16 << 20

// check says what is wrong with the cache's words.
func (c *CacheSize) check() error {
	switch {
	case c.Disk == 0 && c.DiskFolder != "":
		return fmt.Errorf("cache disk_folder %q: want disk too, how much may be there", c.DiskFolder)
	case c.Disk == 0 && c.DiskMaxObject != 0:
		return fmt.Errorf("cache disk_max_object %s: want disk too, how much may be there", c.DiskMaxObject)
	case c.Disk != 0 && (c.Disk < leastDisk || c.Disk > disk.MaxBytes):
		return fmt.Errorf("cache disk %s: want %s to %s", c.Disk, unit.Bytes(leastDisk), unit.Bytes(disk.MaxBytes))
	case c.DiskMaxObject < 0 || c.DiskMaxObject > min(c.Disk/8, 1<<30):
		return fmt.Errorf("cache disk max_object %s: want %s at most: an eighth of the disk, and never more than 1GiB",
			c.DiskMaxObject, min(c.Disk/8, 1<<30))
	}
	return nil
}

// diskFolder is where answers are on disk; empty for nowhere.
func (a *App) diskFolder() string {
	switch {
	case a.Cache.Disk == 0:
		return ""
	case a.Cache.DiskFolder != "":
		return a.Cache.DiskFolder
	}
	return filepath.Join(a.StateDir, "cache")
}

// keepsDisk says why the disk of a running gateway cannot become what a
// configuration wants.
func keepsDisk(now, wanted string) error {
	switch {
	case now == wanted:
		return nil
	case now == "":
		return fmt.Errorf("cache disk: a running gateway cannot begin to use %q: restart it instead", wanted)
	case wanted == "":
		return fmt.Errorf("cache disk: a running gateway cannot give up %q: restart it instead", now)
	}
	return fmt.Errorf("cache disk: a running gateway cannot move its disk from %q to %q: restart it instead", now, wanted)
}

// diskID is the file in the state folder that names what the disk holds, since
// the last run. A run without the disk removes it: what was stored and purged
// meanwhile is not known there.
const diskID = "cache.id"

// openCache opens the disk, if there is to be one, and begins warm if nothing
// is in doubt, cold otherwise: then everything from before is purged.
func (g *gateway) openCache(a *App, journal *purge.FileJournal) {
	g.disk = a.diskFolder()
	id, found, err := g.openDisk(a)
	opened := g.disk != "" && err == nil
	if err != nil {
		// The gateway serves without it.
		a.logger.Error("cache disk", zap.String("event", "not-opened"), zap.Error(err))
		diskEvents.WithLabelValues("not-opened").Inc()
	}
	records, generation := journal.Load()
	unseen, whole := unseenOrders(records, generation, found.Generation)
	versions, known := readVersions(found.Notes)
	why := coldness(found, whole, known, journal.Damaged())
	warm := why == ""
	if warm {
		g.noted = found.Notes[noteOfFleet]
		for _, r := range unseen {
			g.store.Purge(purgeOf(r.Order, r.Generation))
		}
		g.holdVersions(a, versions)
	} else {
		// What is stored from now on is newer than every purge that was journaled.
		g.store.Purge(httpcache.Purge{Generation: g.purges.Generation(), Everything: true})
	}
	if !opened {
		return
	}
	now, err := g.store.UseDisk(warm)
	if err == nil && now != id {
		err = writeDurably(filepath.Join(a.StateDir, diskID), []byte(now))
	}
	if err != nil {
		err = errors.Join(err, g.forgetDisk(a.StateDir))
		a.logger.Error("cache disk", zap.String("event", "not-used"), zap.Error(err))
		diskEvents.WithLabelValues("not-used").Inc()
		return
	}
	stats := g.store.Stats().Disk
	a.logger.Info("cache disk opened", zap.Bool("warm", warm), zap.String("why", why), zap.String("folder", g.disk),
		zap.Int64("answers", stats.Recovered), zap.Duration("took", stats.OpenedIn.D()))
}

// coldness says why nothing that is on disk may be used; "" when all may.
func coldness(found httpcache.DiskFound, whole, known, damaged bool) string {
	switch {
	case found.Unsynced:
		return "the machine went down before the last run had ended: what it purged last may not have reached the disk"
	case !found.Warm:
		return "no record of purges (fence.log) of the last run, or a damaged one"
	case damaged:
		return "the purge journal has damaged lines"
	case !whole:
		return "the purge journal has a purge that the record of purges lacks"
	case !known:
		return "nothing says which versions were current"
	}
	return ""
}

// openDisk opens the folder and reads the fence of the last run.
func (g *gateway) openDisk(a *App) (id string, found httpcache.DiskFound, err error) {
	if g.disk == "" {
		return "", found, g.forgetDisk(a.StateDir)
	}
	text, err := os.ReadFile(filepath.Join(a.StateDir, diskID))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", found, errors.Join(err, g.forgetDisk(a.StateDir))
	}
	id = strings.TrimSpace(string(text))
	found, err = g.store.OpenDisk(httpcache.DiskOptions{
		Dir: g.disk, MaxBytes: int64(a.Cache.Disk), MaxObject: int64(a.Cache.DiskMaxObject),
		Boot: disk.Boot(), ID: id, Event: func(e disk.Event) { onDiskEvent(a, e) },
	})
	if err != nil {
		return "", httpcache.DiskFound{}, errors.Join(err, g.forgetDisk(a.StateDir))
	}
	return id, found, nil
}

// forgetDisk makes the next start a cold one: what is on disk counts no more.
func (g *gateway) forgetDisk(stateDir string) error {
	if err := os.Remove(filepath.Join(stateDir, diskID)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncFolder(stateDir)
}

// writeDurably replaces a file in one step.
func writeDurably(path string, text []byte) error {
	file, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// unseenOrders are the journaled orders that the fence on disk has not seen,
// and still must, before anything is served: those that a crash stopped between
// being accepted, or numbered, and reaching this node. It reports false when
// the fence lacks what it should have seen: then nothing on disk can be trusted.
//
// An order that waits for its gate has promised nothing yet.
func unseenOrders(records []purge.Record, journaled, fenced uint64) (unseen []purge.Record, whole bool) {
	highest := fenced
	for _, r := range records {
		switch reached := r.Did(purge.StepNode); {
		case reached && r.Generation > fenced:
			return nil, false
		case reached:
			continue
		case !r.State.Final() && (r.Expect == "" || r.Did(purge.StepGate)):
			unseen = append(unseen, r)
		}
		highest = max(highest, r.Generation)
	}
	return unseen, journaled <= highest
}

// poolNote is the name of the note about a pool's versions.
const poolNote = "pool "

// readVersions reads the notes about pools. It reports false when one of them
// is of another format.
func readVersions(notes map[string][]byte) (versions map[string]deploy.Snapshot, ok bool) {
	versions = make(map[string]deploy.Snapshot)
	for name, note := range notes {
		pool, ours := strings.CutPrefix(name, poolNote)
		if !ours || len(note) == 0 {
			continue
		}
		var s deploy.Snapshot
		if err := json.Unmarshal(note, &s); err != nil {
			return nil, false
		}
		if err := new(deploy.Tracker).Restore(s); err != nil {
			return nil, false
		}
		versions[pool] = s
	}
	return versions, true
}

// holdVersions makes the pools remember which version was current when the last
// run ended. Its answers on disk are held back until a replica is seen that
// runs it, and purged when all are seen to run another: it may have been retired
// meanwhile. Those of pools that are gone, or do not tell versions any more, are
// purged at once: nobody would.
func (g *gateway) holdVersions(a *App, versions map[string]deploy.Snapshot) {
	for name, s := range versions {
		p := a.pools[name]
		if p != nil && a.Pools[name].Health.VersionHeader != "" {
			p.hold(s)
			g.store.Hold(s.Current)
			continue
		}
		if s.Current != "" {
			g.store.Purge(httpcache.Purge{Versions: []string{s.Current}})
		}
	}
}

// hold begins with the versions of the last run, and holds back what is on disk
// of the one that was current.
func (p *pool) hold(s deploy.Snapshot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.versions.Restore(s) // readVersions has tried it
	p.held, p.restored = s.Current, time.Now()
}

// holds reports that answers of a version are held back.
func (p *pool) holds() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held != ""
}

// settleLocked ends the holding back once it is known what became of the
// version, and notes what a restart must know. It comes after the purge of
// retired versions was journaled: a crash in between leads to the same change.
func (p *pool) settleLocked(store *httpcache.Store, change deploy.Change, seen []deploy.Replica) {
	p.unnoted = p.unnoted || change.Kind != deploy.Unchanged
	if p.held == "" {
		return
	}
	lives := slices.ContainsFunc(seen, func(r deploy.Replica) bool { return r.Version == p.held })
	retired := !lives && change.Current != "" && change.Current != p.held
	if retired {
		// The order that follows is carried out in its own time; this must not wait.
		store.Purge(httpcache.Purge{Versions: []string{p.held}})
	}
	if retired || lives {
		store.Release(p.held)
		p.held = ""
	}
}

// noteLocked keeps the pool's versions for what the next run finds on disk.
func (p *pool) noteLocked(store *httpcache.Store) error {
	if !p.unnoted {
		return nil
	}
	text, err := json.Marshal(p.versions.Snapshot())
	if err == nil {
		err = store.Note(poolNote+p.name, text)
	}
	p.unnoted = err != nil
	return err
}

// onDiskEvent counts and logs what a person may have to act on.
func onDiskEvent(a *App, e disk.Event) {
	diskEvents.WithLabelValues(string(e.Kind)).Inc()
	log := a.logger
	if now := live.Load(); now != nil {
		log = now.logger
	}
	fields := []zap.Field{zap.String("event", string(e.Kind))}
	if e.Detail != "" {
		fields = append(fields, zap.String("detail", e.Detail))
	}
	if e.Err != nil {
		fields = append(fields, zap.Error(e.Err))
	}
	if e.Kind == disk.EventRecovered {
		log.Info("cache disk", fields...)
		return
	}
	log.Warn("cache disk", fields...)
}
