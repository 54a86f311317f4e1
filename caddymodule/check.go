package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/spf13/cobra"

	"github.com/edgegw/edge/internal/cli"
	"github.com/edgegw/edge/internal/control"
	"github.com/edgegw/edge/internal/purge"
	"github.com/edgegw/edge/internal/unit"
)

// checkConfig is what edge check takes; the fields are its flags.
type checkConfig struct {
	config, adapter string
	json            bool
	samples, visits []string
	env             environment
}

// finding is one thing that edge check has to say.
type finding struct {
	Severity string `json:"severity"` // error, warning
	Problem  string `json:"problem"`
}

func checkCommand(c *cobra.Command) {
	var k checkConfig
	c.Args = cobra.NoArgs
	c.Long = `
Adapts the configuration, provisions everything without starting it, and looks
for what would only show under traffic: rules that nothing can reach, folders
that cannot be written, placeholders without a value, weak tokens, a token that
Cloudflare does not know, a zone of another domain or plan.

Every mistake is said at once: those in sites too, if the global block has some.
Nothing is written: no authority is made, no log opened, no folder.

With --env production, staging or preview it also judges each {env.*}, {file.*} and
{$…} of the configuration (is it there, filled in, hard to guess), and asks Redis,
discovery and the store of backups; docs/configuration.md says what is an error where.

With --sample it also finds each pool's replicas, asks each of them twice for
the path or URL, and looks at the answers: validators that differ between
replicas of one version, s-maxage and other fields that Cloudflare takes in
another sense, caches in between, versions that are not told.

With --visit it asks for the URL twice as visitors do, and looks whether the
answers came through Cloudflare and edge, and through nothing else that caches.

Exit codes: 0 no error (warnings may be printed), 2 at least one error.`
	f := c.Flags()
	f.StringVarP(&k.config, "config", "c", "Caddyfile", "configuration file")
	f.StringVarP(&k.adapter, "adapter", "a", "", adapterUsage)
	f.BoolVar(&k.json, "json", false, "print the findings as JSON")
	f.StringVar((*string)(&k.env), "env", "", "where it is to run: production, staging or preview")
	f.StringArrayVar(&k.samples, "sample", nil, "path, or URL whose host is to be asked for, such as https://crm.example.com/; may be repeated")
	f.StringArrayVar(&k.visits, "visit", nil, "URL to be asked for as visitors do, through the CDN, from the gateway that runs; may be repeated")
	run(c, func(ctx context.Context, _ []string) int {
		if err := k.env.check(); err != nil {
			fmt.Fprintf(os.Stderr, "edge check: %v\n", err)
			return cli.ExitUsage
		}
		return check(ctx, k, os.Stdout, os.Stderr)
	})
}

func check(ctx context.Context, k checkConfig, stdout, stderr io.Writer) int {
	findings := findProblems(ctx, k)
	failed := slices.ContainsFunc(findings, func(f finding) bool { return f.Severity == "error" })
	if k.json {
		if findings == nil {
			findings = []finding{}
		}
		if err := json.NewEncoder(stdout).Encode(map[string]any{"ok": !failed, "findings": findings}); err != nil {
			fmt.Fprintf(stderr, "edge check: %v\n", err)
			return 1
		}
	} else {
		for _, f := range findings {
			fmt.Fprintf(stdout, "%-8s %s\n", f.Severity, f.Problem)
		}
		if !failed {
			fmt.Fprintf(stdout, "%s: no error, %d warnings\n", k.config, len(findings))
		}
	}
	if failed {
		return cli.ExitUsage
	}
	return 0
}

// findProblems goes as far as it can: what cannot be adapted cannot be
// provisioned, but everything within one step is found at once.
func findProblems(asking context.Context, k checkConfig) []finding {
	var findings []finding
	problem := func(severity string, err error) {
		for _, one := range flatten(err) {
			findings = append(findings, finding{severity, suggested(one)})
		}
	}
	unsettled := k.env.settings(k.config)
	findings = append(findings, unsettled...)
	text, warnings, err := adapted(k)
	for _, w := range warnings {
		// The adapter names the command by the name of stock Caddy.
		problem("warning", errors.New(strings.Replace(w.String(), "'caddy fmt", "'edge fmt", 1)))
	}
	if err != nil {
		problem("error", everyMistake(k, err))
		return findings
	}
	var config caddy.Config
	if err := caddy.StrictUnmarshalJSON(text, &config); err != nil {
		problem("error", err)
		return findings
	}
	findings = append(findings, k.env.certificateFindings(&config, time.Now())...)
	quieten(&config)
	onlyLooked(&config)
	sites := slices.Clone(config.AppsRaw["http"]) // gone once it is provisioned
	ctx, err := caddy.ProvisionContext(&config)
	if err != nil {
		said := flatten(withoutTrail(err))
		for _, one := range append(said, hiddenMistakes(text, said)...) {
			if !about(one, unsettled) {
				findings = append(findings, finding{"error", suggested(one)})
			}
		}
		return findings
	}
	app, err := ctx.AppIfConfigured("edge")
	if err != nil {
		problem("warning", errors.New("no edge block: nothing to check beyond Caddy's own rules"))
		return findings
	}
	findings = append(findings, app.(*App).advise(asking, k.env)...)
	findings = append(findings, app.(*App).lookAround(asking, k.env)...)
	regrets := app.(*App).regrets(asking, k.samples)
	regrets = append(regrets, app.(*App).asVisitors(asking, k.visits)...)
	regrets = append(regrets, serverRegrets(sites, app.(*App).Cloudflare != nil)...)
	for _, regret := range regrets {
		findings = append(findings, finding{"warning", regret})
	}
	return findings
}

// read gives what the file holds, and the adapter for it: none for JSON.
func (k checkConfig) read() (body []byte, adapter string, err error) {
	body, err = os.ReadFile(k.config)
	if adapter = k.adapter; adapter == "" && isCaddyfile(k.config, body) {
		adapter = caddyfileAdapter
	}
	return body, adapter, err
}

func adapted(k checkConfig) ([]byte, []caddyconfig.Warning, error) {
	body, adapter, err := k.read()
	if err != nil {
		return nil, nil, err
	}
	if adapter == "" {
		return body, nil, nil
	}
	a := caddyconfig.GetAdapter(adapter)
	if a == nil {
		return nil, nil, fmt.Errorf("adapter %q: unknown: want caddyfile", adapter)
	}
	return a.Adapt(body, map[string]any{"filename": k.config})
}

// provisioned is the app of a configuration, as far as it goes without starting.
// Whoever asked for it calls Cleanup.
func provisioned(k checkConfig) (*App, error) {
	text, _, err := adapted(k)
	if err != nil {
		return nil, err
	}
	var config caddy.Config
	if err := caddy.StrictUnmarshalJSON(text, &config); err != nil {
		return nil, err
	}
	quieten(&config)
	onlyLooked(&config)
	ctx, err := caddy.ProvisionContext(&config)
	if err != nil {
		return nil, withoutTrail(err)
	}
	app, err := ctx.AppIfConfigured("edge")
	if err != nil {
		return nil, errors.New("no edge block, and none of edge's handlers: nothing to play")
	}
	return app.(*App), nil
}

// quieten leaves out of the log what provisioning has to say of a gateway that is
// not going to run, unless the configuration asks for it.
func quieten(config *caddy.Config) {
	if config.Logging == nil {
		config.Logging = new(caddy.Logging)
	}
	if config.Logging.Logs == nil {
		config.Logging.Logs = make(map[string]*caddy.CustomLog)
	}
	const standard = "default"
	if config.Logging.Logs[standard] == nil {
		config.Logging.Logs[standard] = new(caddy.CustomLog)
	}
	if log := config.Logging.Logs[standard]; log.Level == "" {
		log.Level = "ERROR"
	}
}

// trails is what Caddy puts in front of a mistake in the edge block or in one of
// edge's handlers: numbers of routes and handlers of the adapted configuration,
// which nobody has seen.
var trails = regexp.MustCompile(`(?s)^.*?provision (edge|http\.handlers\.edge_\w+): (?:.*?provision edge: )?`)

// withoutTrail leaves out the way on which Caddy came upon the mistake. Which
// handler made it provision the edge block first is its whim.
func withoutTrail(err error) error {
	return errors.New(trails.ReplaceAllString(err.Error(), ""))
}

// flatten lists the mistakes that were joined, one line each.
func flatten(err error) []string {
	var all []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
	}
	return all
}

// advise says what a valid configuration will regret.
func (a *App) advise(ctx context.Context, e environment) []finding {
	var findings []finding
	say := func(severity, format string, args ...any) {
		findings = append(findings, finding{severity, fmt.Sprintf(format, args...)})
	}
	if err := writable(a.StateDir); err != nil {
		say("error", "state_dir %q: want a folder that can be written: %v", a.StateDir, err)
	}
	if folder := a.diskFolder(); folder != "" {
		if err := writable(folder); err != nil {
			say("error", "cache disk %q: want a folder that can be written: %v", folder, err)
		} else if free, ok := freeSpace(nearest(folder)); ok && free < int64(a.Cache.Disk) {
			say("warning", "cache disk %q: %s are free of the %s that it may take: stored answers make room when the disk is full", folder, unit.Bytes(free), a.Cache.Disk)
		}
	}
	a.rulesMu.Lock()
	defer a.rulesMu.Unlock()
	for _, rules := range a.rules {
		for _, rule := range rules.Unreachable() {
			say("warning", "%s", rule)
		}
	}
	if a.Cloudflare != nil {
		for _, problem := range purge.CheckCloudflare(ctx, *a.Cloudflare) {
			say(severities[e][unanswered], "%v", problem)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.Pools)) {
		pool := a.Pools[name]
		if pool.Health.Path == "" {
			say("warning", "pool %s: no health path: a replica that accepts connections counts as healthy: write health /healthz", name)
		}
		if pool.Health.VersionHeader == "" {
			say("warning", "pool %s: no version_header: edge cannot tell versions apart, so deploys are purged by CI alone", name)
		}
		if _, vouched := pool.Autoscale.Driver.Options["replicas_finish"]; pool.Autoscale.Driver.Name == "railway" && !vouched {
			say("warning", "pool %s: autoscale driver railway without replicas_finish: the number of replicas only rises", name)
		}
		for _, problem := range missingPrograms(pool.Config) {
			say("error", "pool %s: %s", name, problem)
		}
		if len(pool.Discover) == 0 && !a.mayCall(control.ScopeReplicas) {
			say("error", "pool %s: no discover, and no control token with which replicas could register: it can have no replica", name)
		}
	}
	if a.mayCall(control.ScopePurge) && a.Cloudflare == nil {
		say("warning", "no cloudflare block: purges end at this gateway; a CDN in front keeps its copies")
	}
	return findings
}
