package fleet

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Ask finds out whether the Redis of a configuration answers, and takes its password.
func Ask(ctx context.Context, c Config) error {
	options, err := c.parse()
	if err != nil {
		return err
	}
	client := redis.NewClient(options)
	defer client.Close()
	return client.Ping(ctx).Err()
}
