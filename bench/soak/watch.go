package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/edgegw/edge/bench/measure"
	"github.com/edgegw/edge/bench/process"
)

const (
	// rows of the table.
	rows = 30
	// purgeEvery is how often a tag is purged meanwhile.
	purgeEvery = 5 * time.Second
	// patience is by how much longer than wanted the requests may take: others
	// may work on the machine.
	patience = 2
)

// series is what was seen of one process.
type series struct {
	rows []row
	// highest resident set of all samples, idle that before the first request.
	highest, idle int64
	samples       int
	requests      int64
	distinct      int64
	took          time.Duration
	cpu           time.Duration
	purges        int
}

// row is a stretch of time: the resident set's mean and maximum in it, and what
// there was at its end.
type row struct {
	until            time.Duration
	mean, max        int64
	requests         int64
	distinct         int64
	cache            cache
	sum, samplesHere int64
}

// play asks and watches at the same time.
func play(ctx context.Context, o options, c *client, server *process.Process) (series, error) {
	ctx, cancel := context.WithTimeout(ctx, patience*o.duration)
	defer cancel()
	w := &watcher{o: o, client: c, server: server, proc: measure.Procfs{FS: os.DirFS("/proc")}, load: &load{}}
	var err error
	if w.idle, err = w.proc.Resident(server.PID()); err != nil {
		return series{}, err
	}
	asked := make(chan error, 1)
	began := time.Now()
	go func() { asked <- w.load.ask(ctx, o, c) }()
	watched := w.watch(ctx, began, asked)
	w.took, w.requests, w.distinct = time.Since(began), w.load.answered.Load(), w.load.distinct.Load()
	if watched != nil {
		return series{}, watched
	}
	w.cpu, err = w.proc.TreeCPU(server.PID())
	return w.series, err
}

// watcher takes samples while the load runs.
type watcher struct {
	series
	o      options
	client *client
	server *process.Process
	proc   measure.Procfs
	load   *load
}

// watch samples every second until all has been asked for; asked is its end. It
// does not return before.
func (w *watcher) watch(ctx context.Context, began time.Time, asked <-chan error) error {
	second, purge := time.NewTicker(time.Second), time.NewTicker(purgeEvery)
	defer second.Stop()
	defer purge.Stop()
	stretch := w.o.duration / rows
	now := row{until: stretch}
	var wrong error
	for {
		select {
		case err := <-asked:
			return errors.Join(wrong, err, w.end(ctx, &now, time.Since(began)))
		case <-purge.C:
			w.purges++
			wrong = errors.Join(wrong, w.client.purge(ctx, w.purges))
		case <-second.C:
			wrong = errors.Join(wrong, w.sample(&now))
			if time.Since(began) >= now.until {
				wrong = errors.Join(wrong, w.end(ctx, &now, time.Since(began)))
				now = row{until: now.until + stretch}
			}
		}
	}
}

// sample reads the resident set.
func (w *watcher) sample(now *row) error {
	resident, err := w.proc.Resident(w.server.PID())
	if err != nil {
		return err
	}
	w.samples++
	w.highest = max(w.highest, resident)
	now.sum, now.samplesHere = now.sum+resident, now.samplesHere+1
	now.max = max(now.max, resident)
	return nil
}

// end completes a row, unless it is empty.
func (w *watcher) end(ctx context.Context, now *row, until time.Duration) (err error) {
	if now.samplesHere == 0 {
		return nil
	}
	now.until = until
	now.mean = now.sum / now.samplesHere
	now.requests, now.distinct = w.load.answered.Load(), w.load.distinct.Load()
	if now.cache, err = w.client.status(ctx); err != nil {
		return err
	}
	w.rows = append(w.rows, *now)
	log.Print(now.text(w.o))
	return nil
}

// verdict is an error if the process took too much, or nothing was proven.
func (s series) verdict(o options) error {
	limit := int64(o.cap) << 20
	var fullest, evicted int64
	for _, r := range s.rows {
		fullest, evicted = max(fullest, r.cache.Bytes), r.cache.Evictions
	}
	switch {
	case s.distinct < int64(o.urls):
		return fmt.Errorf("%d distinct URLs of %d", s.distinct, o.urls)
	case fullest < limit*7/10 || evicted == 0: // a quarter may be given up
		return fmt.Errorf("the cache had %s at most, of %d MiB: nothing is proven: ask for more URLs", mebibytes(fullest), o.cap)
	case s.highest*100 > most*limit:
		return fmt.Errorf("resident set of %s: want %d %% of %d MiB at most", mebibytes(s.highest), most, o.cap)
	}
	return nil
}
