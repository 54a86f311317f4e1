package lb

import (
	"context"
	"errors"
	"fmt"

	"github.com/edgegw/edge/internal/named"
)

func init() {
	Discoveries.Register("static", newStatic, named.Spec{Args: []string{"127.0.0.1:3000", "127.0.0.1:3001"}})
}

// static is a list of addresses that the operator wrote down.
type static []Address

func newStatic(s named.Spec) (Discovery, error) {
	errs := s.Want(1, 1000, "host:port …")
	var set static
	for _, text := range s.Args {
		address, err := ParseAddress(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("static: %w", err))
		}
		set = append(set, address)
	}
	return set, errors.Join(errs...)
}

func (s static) Run(ctx context.Context, feed Feed) {
	feed.Found(s)
	<-ctx.Done()
}
