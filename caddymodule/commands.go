package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/edgegw/edge/internal/cli"
	"github.com/edgegw/edge/internal/control"
	"github.com/edgegw/edge/internal/demo"
	"github.com/edgegw/edge/internal/sample"
)

func init() {
	register([]caddycmd.Command{
		{Name: "purge", Short: "Purges the gateway, its fleet and Cloudflare, and tells the truth about it", Long: purgeLong, CobraFunc: purgeCommand},
		{Name: "deploy", Short: "Waits until a version is rolled out, purges what it retired, and tells the truth about it", Long: deployLong, CobraFunc: deployCommand},
		{Name: "deploys", Short: "Shows the history of deploys", CobraFunc: deploysCommand},
		{Name: "drain", Short: "Sets replicas aside: one, or all that run a version; and takes them back", Long: drainLong, CobraFunc: drainCommand},
		{Name: "status", Short: "Shows pools, replicas, breakers, cache, versions, deploys, purges and dependencies", CobraFunc: statusCommand},
		{Name: "handover", Short: "Puts another binary in charge, without losing a request", Long: handoverLong, CobraFunc: handoverCommand},
		{Name: "explain", Short: "Says why a URL was or was not cached", CobraFunc: explainCommand},
		{Name: "replay", Short: "Plays an access log through another configuration, and says what would change", Long: replayLong, CobraFunc: replayCommand},
		{Name: "backup", Short: "Copies what a gateway must not lose, and tries the copy", CobraFunc: backupCommand},
		{Name: "restore", Short: "Brings a backup back: what was purged stays purged", CobraFunc: restoreCommand},
		{Name: "check", Short: "Finds every problem of a configuration at once, before traffic does", CobraFunc: checkCommand},
		{Name: "demo", Short: "Runs the whole system on this machine, with visitors and a deploy", CobraFunc: demoCommand},
		{Name: "sample", Short: "Runs one replica of the sample application", CobraFunc: sampleCommand},
		{Name: "standin", Short: "Runs a strict stand-in of Cloudflare's purge API and caches, for dry runs", CobraFunc: standinCommand},
	})
}

const exitCodes = `Exit codes:
  0  done, and verified if asked
  2  usage, or no selector: nothing was purged
  3  not allowed
  4  partial: journaled, and still being retried by the gateway unless the CDN
     has refused it for good
  5  rate limited past the deadline
  6  applied, but verification still sees the old version
  7  the replicas did not reach the expected version, or the guard holds it
     back: nothing was purged
  8  gateway unreachable
  130  interrupted here; the gateway goes on`

const deployLong = `
What CI calls around a rollout, before, during or after it: waits until every
replica runs the version and is healthy, lets edge purge what the versions before
have left behind, here and at Cloudflare, and looks at it from outside (--verify).
If the replicas do not get there within --timeout, nothing is purged, and the exit
code is 7; whenever the last old replica goes, edge purges by itself. The same if
the guard finds the version worse than the one before: then nothing is purged until
another version comes, or somebody says --despite-guard.

A version that is rolled out and purged already is done at once, without another
call to Cloudflare. Ctrl-C ends the waiting only: the deploy goes on at the
gateway, and edge deploy --cancel ID withdraws it.

` + exitCodes

const purgeLong = `
Orders a purge and waits for it: this node, then Cloudflare, drained and
repeated so that no copy slips in behind.

` + exitCodes

// run makes a command of a function that takes a context, which ends at an
// interrupt, and returns an exit code.
func run(c *cobra.Command, work func(ctx context.Context, args []string) int) {
	var args []string
	c.SilenceUsage, c.SilenceErrors = true, true
	wrapped := caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		code := work(ctx, args)
		if code == 1 { // Caddy takes 1 without an error for success.
			return 1, errors.New(c.Name() + ": failed")
		}
		return code, nil
	})
	c.RunE = func(c *cobra.Command, given []string) error {
		args = given
		return wrapped(c, given)
	}
	// A flag or argument that is wrong is a matter of usage: exit code 2.
	misused := func(c *cobra.Command, err error) error {
		fmt.Fprintf(os.Stderr, "edge %s: %v; see edge %s --help\n", c.Name(), err, c.Name())
		os.Exit(cli.ExitUsage)
		return err
	}
	c.SetFlagErrorFunc(misused)
	if fits := c.Args; fits != nil {
		c.Args = func(c *cobra.Command, given []string) error {
			if err := fits(c, given); err != nil {
				return misused(c, err)
			}
			return nil
		}
	}
}

func connectionFlags(c *cobra.Command, to *cli.Connection) {
	c.Flags().StringVar(&to.Server, "server", "", "where edge_control is mounted, such as https://crm.example.com/.edge (default: $EDGE_SERVER, then the local admin endpoint "+cli.DefaultServer+")")
	c.Flags().StringVar(&to.TokenFile, "token-file", "", "file with the bearer token (default: the token in $EDGE_TOKEN)")
}

func purgeCommand(c *cobra.Command) {
	var p cli.PurgeConfig
	var hard bool
	c.Use = "purge [--url URL]... [--tag TAG]... [--prefix HOST/PATH]... [--host HOST]... [--version V]... [--everything]"
	c.Args = cobra.NoArgs
	f := c.Flags()
	connectionFlags(c, &p.Connection)
	f.StringArrayVar(&p.URLs, "url", nil, "URL to purge; may be repeated")
	f.StringVar(&p.URLFile, "url-file", "", "file with URLs to purge, one a line")
	f.StringArrayVar(&p.Tags, "tag", nil, "tag to purge; may be repeated")
	f.StringArrayVar(&p.Prefixes, "prefix", nil, "host/path whose URLs to purge; may be repeated")
	f.StringArrayVar(&p.Hosts, "host", nil, "host to purge; may be repeated")
	f.StringArrayVar(&p.Versions, "version", nil, "application version whose responses to purge; may be repeated")
	f.BoolVar(&p.Everything, "everything", false, "purge everything; asks first, or takes --yes")
	f.BoolVarP(&p.Yes, "yes", "y", false, "do not ask")
	f.BoolVar(&p.Soft, "soft", false, "mark copies stale: kept as validators and for when the origin fails")
	f.BoolVar(&hard, "hard", false, "no copy is served again (default)")
	f.StringVar(&p.Expect, "expect", "", "version that every replica must run before anything is purged")
	f.DurationVar(&p.Wait, "wait", 3*time.Minute, "how long to wait for the purge, and for --verify")
	f.StringArrayVar(&p.Verify, "verify", nil, "URL that must show the new state afterwards; may be repeated")
	f.StringArrayVar(&p.Warm, "warm", nil, "page that the gateway fetches afterwards, here and through the CDN: a URL, the URL of a sitemap (.xml), or a file with either; may be repeated")
	f.StringVar(&p.VersionHeader, "version-header", "X-App-Version", "response header that shows the version to --verify")
	f.StringVar(&p.Cancel, "cancel", "", "end the purge with this id; what was applied stays so")
	f.BoolVar(&p.DryRun, "dry-run", false, "show what would be done, and do nothing")
	f.BoolVar(&p.JSON, "json", false, "print one JSON object")
	f.StringVar(&p.IdempotencyKey, "idempotency-key", "", "repeat the command without a second purge (default: random)")
	f.StringVar(&p.Reason, "reason", "", "kept in the journal, for people")
	run(c, func(ctx context.Context, _ []string) int {
		if p.Soft && hard {
			fmt.Fprintln(os.Stderr, "edge purge: --soft and --hard: want one of them")
			return cli.ExitUsage
		}
		p.Confirm = terminal(os.Stdin)
		return cli.Purge(ctx, p, os.Stdout, os.Stderr)
	})
}

// terminal is the file if a person sits at it, else nil.
func terminal(f *os.File) io.Reader {
	if !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return f
}

func statusCommand(c *cobra.Command) {
	var s cli.StatusConfig
	c.Args = cobra.NoArgs
	connectionFlags(c, &s.Connection)
	c.Flags().BoolVar(&s.JSON, "json", false, "print the gateway's answer as JSON")
	c.Flags().DurationVar(&s.Watch, "watch", 0, "print it again and again, so far apart, such as 2s, until Ctrl-C; alone: every 2s")
	c.Flags().Lookup("watch").NoOptDefVal = "2s"
	run(c, func(ctx context.Context, _ []string) int {
		s.Clear = term.IsTerminal(int(os.Stdout.Fd())) && !s.JSON
		return cli.Status(ctx, s, os.Stdout, os.Stderr)
	})
}

func explainCommand(c *cobra.Command) {
	var e cli.ExplainConfig
	c.Use = "explain URL"
	connectionFlags(c, &e.Connection)
	c.Flags().StringVar(&e.Method, "method", "GET", "request method")
	c.Flags().StringArrayVarP(&e.Header, "header", "H", nil, `request field, as "Name: value"; may be repeated`)
	c.Flags().BoolVar(&e.JSON, "json", false, "print the gateway's answer as JSON")
	var k checkConfig
	c.Flags().StringVarP(&k.config, "config", "c", "", "explain by this configuration alone: no gateway is asked")
	c.Flags().StringVarP(&k.adapter, "adapter", "a", "", adapterUsage)
	run(c, func(ctx context.Context, args []string) int {
		if len(args) != 1 {
			fmt.Fprintf(os.Stderr, "edge explain: got %d arguments: want one URL\n", len(args))
			return cli.ExitUsage
		}
		e.URL = args[0]
		if k.config != "" {
			e.Ask = func(q control.ExplainQuery) (any, error) { return explainAlone(ctx, k, q) }
		}
		return cli.Explain(ctx, e, os.Stdout, os.Stderr)
	})
}

func demoCommand(c *cobra.Command) {
	d := demo.Config{Out: os.Stdout, Err: os.Stderr}
	c.Args = cobra.NoArgs
	f := c.Flags()
	f.DurationVar(&d.Duration, "duration", time.Minute, "how long visitors come, at least 15s")
	f.IntVar(&d.Visitors, "visitors", 20, "how many browse at a time")
	f.StringVar(&d.Listen, "listen", "", "the gateway's host:port (default: a free port of 127.0.0.1)")
	f.StringVar(&d.Admin, "admin", "", "host:port of the gateway's admin endpoint (default: a free port of 127.0.0.1)")
	f.BoolVar(&d.Keep, "keep", false, "stay up after the summary, to look around, until interrupted")
	f.BoolVar(&d.JSON, "json", false, "print the summary as one JSON object; the account goes to standard error")
	run(c, func(ctx context.Context, _ []string) int {
		if err := d.Validate(); err != nil {
			fmt.Fprintf(os.Stderr, "edge demo: %v\n", err)
			return cli.ExitUsage
		}
		summary, err := demo.Run(ctx, d)
		if err != nil {
			fmt.Fprintf(os.Stderr, "edge demo: %v\n", err)
			return 1
		}
		if !summary.OK {
			return 1
		}
		return 0
	})
}

func sampleCommand(c *cobra.Command) {
	s := sample.Config{Out: os.Stdout}
	c.Args = cobra.NoArgs
	f := c.Flags()
	f.StringVar(&s.Listen, "listen", "127.0.0.1:0", "address to serve on; the one in use is printed")
	f.StringVar(&s.Version, "version", "v1", "what the replica says it runs")
	f.StringVar(&s.Instance, "instance", "", "name of the replica (default: sample-PID)")
	f.DurationVar(&s.StartDelay, "start-delay", 0, "how long it is unhealthy after its start")
	f.DurationVar(&s.Linger, "linger", 0, "how long it serves, unhealthy, after it was told to stop")
	f.StringVar(&s.AssetsDir, "assets-dir", "", "folder that replicas of all versions share for their assets")
	run(c, func(ctx context.Context, _ []string) int {
		if err := sample.Run(ctx, s); err != nil {
			fmt.Fprintf(os.Stderr, "edge sample: %v\n", err)
			return 1
		}
		return 0
	})
}
