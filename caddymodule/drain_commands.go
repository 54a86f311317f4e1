package caddymodule

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/edgegw/edge/internal/cli"
)

const drainLong = `
Sets replicas aside: they get nothing new and finish what they have. WebSockets
are told to come back (Close frame 1012) and event streams end between two
events, spread over the pool's drain; then connections are closed. Discoveries may
go on naming them: they stay aside until --undo, or until they register again.

A version means the replicas that run it now. If no healthy replica would be left,
nothing is done (exit code 2), unless --force.

  edge drain --replica 10.0.0.7:3000 --wait 1m
  edge drain --version v1 --wait 5m && …
  edge drain --version v1 --undo

Exit codes:
  0  done, and finished if waited for
  2  usage, unknown replica or version, or nobody would be left: nothing was done
  3  not allowed
  4  not finished within --wait; the gateway goes on
  8  gateway unreachable
  130  interrupted here; the gateway goes on`

func drainCommand(c *cobra.Command) {
	var d cli.DrainConfig
	c.Use = "drain {--replica ID | --version V} [--pool POOL] [--wait DURATION] [--undo | --force]"
	c.Args = cobra.NoArgs
	f := c.Flags()
	connectionFlags(c, &d.Connection)
	f.StringVar(&d.Pool, "pool", "", "pool of the replicas (default: the only one)")
	f.StringVar(&d.Replica, "replica", "", "id or host:port of a replica, as edge status shows them")
	f.StringVar(&d.Version, "version", "", "application version: all replicas that run it now")
	f.BoolVar(&d.Undo, "undo", false, "take them back")
	f.BoolVar(&d.Force, "force", false, "also if no healthy replica is left then")
	f.DurationVar(&d.Wait, "wait", 0, "how long to wait until they have finished, or with --undo take requests (default: not at all)")
	f.BoolVar(&d.JSON, "json", false, "print one JSON object")
	run(c, func(ctx context.Context, _ []string) int { return cli.Drain(ctx, d, os.Stdout, os.Stderr) })
}
