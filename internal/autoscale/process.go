package autoscale

import (
	"context"
	"errors"
	"time"

	"github.com/edgegw/edge/internal/named"
)

func init() { Drivers.Register("process", newProcess, named.Spec{}) }

// process drives a pool that runs its replicas itself. The pool drains whom it
// ends.
type process struct{}

func newProcess(s named.Spec) (Driver, error) {
	return process{}, errors.Join(s.Want(0, 0, "none")...)
}

func (process) Scale(_ context.Context, o Order) error {
	if o.Local == nil {
		return errors.New("process: the pool does not run its replicas itself: write discover process")
	}
	o.Local(o.Replicas)
	return nil
}

func (process) Lowers() Lowering { return LowersItself }

func (process) Pause() time.Duration { return 0 }
