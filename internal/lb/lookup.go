package lb

import (
	"context"
	"errors"
	"fmt"

	"github.com/edgegw/edge/internal/named"
)

// LookUp finds replicas once, by each of a pool's discoveries, and waits for
// each until it has found some or failed. Discovery process is left out: it
// starts what it finds. An error says which found none, and why; the addresses
// of the others are there all the same.
func LookUp(ctx context.Context, specs []named.Spec) ([]Address, error) {
	var found []Address
	var errs []error
	for _, spec := range specs {
		if spec.Name == "process" {
			continue
		}
		discovery, err := Discoveries.New(spec)
		if err != nil {
			return nil, err // the configuration was not validated
		}
		set, err := once(ctx, discovery)
		if err != nil {
			errs = append(errs, fmt.Errorf("discover %s: %w", spec.Name, err))
		}
		found = append(found, set...)
	}
	return found, errors.Join(errs...)
}

// once runs a discovery until the first thing that it says.
func once(ctx context.Context, d Discovery) (set []Address, err error) {
	said, cancel := context.WithCancel(ctx)
	defer cancel()
	heard := false
	d.Run(said, Feed{
		Found: func(found []Address) {
			if !heard {
				heard, set = true, found
				cancel()
			}
		},
		Failed: func(failed error) {
			if !heard {
				heard, err = true, failed
				cancel()
			}
		},
	})
	if !heard {
		return nil, fmt.Errorf("no answer: %w", context.Cause(ctx))
	}
	return set, err
}
