package caddymodule

import (
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/edgegw/edge/internal/cli"
)

func deployCommand(c *cobra.Command) {
	var d cli.DeployConfig
	c.Use = "deploy --version V [--pool NAME] [--verify URL]... | --cancel ID"
	c.Args = cobra.NoArgs
	f := c.Flags()
	connectionFlags(c, &d.Connection)
	f.StringVar(&d.Version, "version", "", "application version that every replica is to run")
	f.StringVar(&d.Pool, "pool", "", "pool that is deployed to (default: the only one that reads versions)")
	f.StringArrayVar(&d.Retire, "retire", nil, "version to purge besides those that edge has seen; may be repeated")
	f.DurationVar(&d.Timeout, "timeout", 10*time.Minute, "how long the replicas may take; after that, nothing is purged")
	f.DurationVar(&d.Wait, "wait", 0, "how long to wait for all of it: rollout, purge, --verify (default: the timeout and 3m)")
	f.StringArrayVar(&d.Verify, "verify", nil, "URL that must show the version afterwards; may be repeated")
	f.StringArrayVar(&d.Warm, "warm", nil, "page that the gateway fetches afterwards, here and through the CDN: a URL, the URL of a sitemap (.xml), or a file with either; may be repeated")
	f.StringVar(&d.VersionHeader, "version-header", "X-App-Version", "response header that shows the version to --verify")
	f.BoolVar(&d.DespiteGuard, "despite-guard", false, "let the version become current though the guard found it worse")
	f.StringVar(&d.Cancel, "cancel", "", "withdraw the deploy with this id")
	f.BoolVar(&d.DryRun, "dry-run", false, "show what would be purged, and do nothing")
	f.BoolVar(&d.JSON, "json", false, "print one JSON object")
	f.StringVar(&d.IdempotencyKey, "idempotency-key", "", "repeat the command without a second deploy (default: random)")
	f.StringVar(&d.Reason, "reason", "", "kept in the history, for people")
	run(c, func(ctx context.Context, _ []string) int { return cli.Deploy(ctx, d, os.Stdout, os.Stderr) })
}

func deploysCommand(c *cobra.Command) {
	var d cli.DeploysConfig
	c.Args = cobra.NoArgs
	connectionFlags(c, &d.Connection)
	c.Flags().StringVar(&d.Pool, "pool", "", "show one pool's only")
	c.Flags().BoolVar(&d.JSON, "json", false, "print the gateway's answer as JSON")
	run(c, func(ctx context.Context, _ []string) int { return cli.Deploys(ctx, d, os.Stdout, os.Stderr) })
}
