package caddymodule

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/edgegw/edge/internal/deploy"
	"github.com/edgegw/edge/internal/purge"
)

// missingFor is how long a purge of another node may be told about by nobody, such
// as while Redis is away, or empty, before it counts as lost.
const missingFor = 2 * time.Minute

// order orders the purges of what deploys have retired. What cannot be ordered
// now is tried again at the next look. The key is the same after a crash, and at
// the other nodes of a fleet: there is one order.
func (p *pool) order(a *App, book *deploy.Book, orders []deploy.Order) (all bool) {
	all = true
	for _, o := range orders {
		r, err := p.orderOne(o)
		if err != nil {
			a.logger.Error("retired version not purged", zap.String("pool", p.name), zap.Strings("retired", o.Versions), zap.Error(err))
			all = false
			continue
		}
		a.logger.Info("version retired", zap.String("pool", p.name), zap.Strings("retired", o.Versions), zap.String("current", p.versions.Current()), zap.String("purge", r.ID))
		book.Ordered(o.Deploy, r.ID)
	}
	return all
}

func (p *pool) orderOne(o deploy.Order) (purge.Record, error) {
	order := purge.Order{
		IdempotencyKey: o.Key,
		Selectors:      purge.Selectors{Versions: o.Versions},
		Rollout:        &purge.RolledOut{Pool: p.name, To: o.Version},
		Warm:           o.Warm,
		Reason:         o.Reason, Actor: o.Actor,
	}
	r, err := controlled{}.Submit(context.Background(), order)
	if err == nil && p.serves(r) || err != nil && !errors.Is(err, purge.ErrConflict) {
		return r, err
	}
	order.IdempotencyKey = "deploy-" + o.Deploy
	return controlled{}.Submit(context.Background(), order)
}

// serves reports whether the purge that a key has led to purges what this node
// wants purged. It does not if it failed, nor if it was over before this node was
// there to hear of it: what was stored here since is not purged then.
func (p *pool) serves(r purge.Record) bool {
	failed := r.State.Final() && r.State != purge.Done
	return !failed && (p.versions.Heard(r.ID) || !r.Did(purge.StepFleet))
}

// followPurges tells the book how far the purges of its deploys are.
func (p *pool) followPurges(book *deploy.Book, now time.Time, purges map[string]string) {
	for id, order := range purges {
		r, known := controlled{}.Purge(order)
		if !known {
			if p.isLost(order, now) {
				book.Purged(now, id, deploy.Outcome{Lost: true})
			}
			continue
		}
		delete(p.missing, order)
		if r.State == purge.Done && r.Follows == "" && !p.serves(r) {
			// It was announced while this node was away.
			book.Purged(now, id, deploy.Outcome{Lost: true})
			continue
		}
		if r.State == purge.Done && p.warmAfter(book, id, r) {
			continue
		}
		book.Purged(now, id, deploy.Outcome{Final: r.State.Final(), State: string(r.State), Exit: r.Exit, Error: r.Error})
	}
}

// isLost reports whether a purge was told about by nobody for too long.
func (p *pool) isLost(order string, now time.Time) bool {
	since, known := p.missing[order]
	if !known {
		p.missing[order] = now
		return false
	}
	if now.Sub(since) < missingFor {
		return false
	}
	delete(p.missing, order)
	return true
}

// warmAfter orders what a deploy wants warmed, if another node's purge has purged
// for it, and knew nothing of that. It reports whether it did.
func (p *pool) warmAfter(book *deploy.Book, id string, done purge.Record) bool {
	d, _ := book.Get(id)
	if len(d.Warm) == 0 || slices.Equal(d.Warm, done.Warm) || done.Follows != "" {
		return false
	}
	r, err := controlled{}.Submit(context.Background(), purge.Order{
		IdempotencyKey: "warm-" + id, Follows: done.ID,
		Selectors: purge.Selectors{Versions: d.Retired}, Warm: d.Warm, Reason: done.Reason, Actor: d.Actor,
	})
	if err != nil {
		return false // a warm-up fails no deploy
	}
	book.Ordered(id, r.ID)
	return true
}
