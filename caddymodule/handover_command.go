package caddymodule

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/edgegw/edge/internal/cli"
	"github.com/edgegw/edge/internal/control"
)

const handoverLong = `
Has a process of another binary, such as the release that was just installed, take
over from the gateway that runs on this machine, and fails no request on the way:
it gets the sockets, waits until its replicas are checked, takes over journal, disk,
history and control address, and begins where the old one stopped. The old one
accepts nothing more, finishes what it has, gives WebSockets their window, and ends.
What was purged stays purged, and purges meanwhile hold in both.

A binary that does not start, or does not get ready, leaves the old process in
charge. The new one has the arguments and the environment of the old one, and reads
the configuration again, as a restart would.

Exit codes:
  0  the new process is in charge
  2  usage
  7  the old process is in charge as before; the reason is printed
  8  gateway unreachable
  130  interrupted here: the old process is in charge, unless the new one was already`

func handoverCommand(c *cobra.Command) {
	var h cli.HandoverConfig
	c.Args = cobra.NoArgs
	f := c.Flags()
	f.StringVar(&h.Server, "server", "", "the gateway's admin endpoint; sites offer no handover (default: $EDGE_SERVER, then "+cli.DefaultServer+")")
	f.StringVar(&h.Binary, "binary", "", "absolute path of the binary that takes over (default: this one)")
	f.DurationVar(&h.Wait, "wait", control.DefaultHandover, "how long it may take to get ready")
	f.BoolVar(&h.JSON, "json", false, "print one JSON object")
	run(c, func(ctx context.Context, _ []string) int {
		return cli.Handover(ctx, h, os.Stdout, os.Stderr)
	})
}
