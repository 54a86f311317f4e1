package fleet

import (
	"context"

	"github.com/edgegw/edge/internal/redisclient"
)

// Ask finds out whether the Redis of a configuration answers, and takes its password.
func Ask(ctx context.Context, c Config) error {
	options, err := c.parse()
	if err != nil {
		return err
	}
	return redisclient.Ping(ctx, options)
}
