package caddymodule

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/edgegw/edge/internal/control"
	"github.com/edgegw/edge/internal/lb"
)

// controlledPool finds a pool by the name that a caller of the API gives.
func (a *App) controlledPool(name string) (*pool, error) {
	p, ok := a.pools[name]
	if !ok {
		return nil, fmt.Errorf("pool %q: %w: want one of %s", name, control.ErrUnknownPool, strings.Join(slices.Sorted(maps.Keys(a.pools)), ", "))
	}
	return p, nil
}

// Drain lets replicas finish what they have and gives them nothing new.
func (controlled) Drain(name string, o control.DrainOrder) ([]control.Drainee, error) {
	return drainees(name, o, func(p *pool, which lb.Selection) ([]lb.ReplicaStatus, error) {
		return p.shareAside(true, func() ([]lb.ReplicaStatus, error) { return p.SetAside(which, o.Force) })
	})
}

// Undrain takes back what Drain has set aside.
func (controlled) Undrain(name string, o control.DrainOrder) ([]control.Drainee, error) {
	return drainees(name, o, func(p *pool, which lb.Selection) ([]lb.ReplicaStatus, error) {
		return p.shareAside(false, func() ([]lb.ReplicaStatus, error) { return p.TakeBack(which) })
	})
}

func drainees(name string, o control.DrainOrder, carry func(*pool, lb.Selection) ([]lb.ReplicaStatus, error)) ([]control.Drainee, error) {
	var list []lb.ReplicaStatus
	ask := func(p *pool) (err error) {
		list, err = carry(p, lb.Selection{Replica: o.Replica, Version: o.Version})
		return err
	}
	if err := inPool(name, o.Replica, ask); err != nil {
		return nil, err
	}
	found := make([]control.Drainee, 0, len(list))
	for _, r := range list {
		found = append(found, control.Drainee{ID: r.ID, Address: r.Address, Version: r.Version, State: r.State})
	}
	return found, nil
}

// inPool asks the pool, or without a name each until one knows the replica. The
// errors are those that the API knows.
func inPool(name, replica string, ask func(*pool) error) error {
	if name == "" {
		return ofTheAPI(eachPool(replica, ask))
	}
	a := live.Load()
	if a == nil {
		return errNotStarted
	}
	p, err := a.controlledPool(name)
	if err != nil {
		return err
	}
	return ofTheAPI(ask(p))
}

// ofTheAPI lets the API know what an error of a pool means.
func ofTheAPI(err error) error {
	for theirs, ours := range map[error]error{lb.ErrUnknownReplica: control.ErrUnknownReplica, lb.ErrLastReplica: control.ErrLastReplica} {
		if errors.Is(err, theirs) {
			return &meaning{err, ours}
		}
	}
	return err
}

// meaning is an error with the sentinel of another package beside its own.
type meaning struct {
	error

	also error
}

func (m *meaning) Unwrap() []error { return []error{m.error, m.also} }
