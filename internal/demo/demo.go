// Package demo is the whole system on one machine with nothing else installed:
// the gateway and replicas of the sample application as real processes, a
// stand-in of Cloudflare, generated visitors, an autoscaler that goes from one
// replica to four and back, a rolling deploy from v1 to v2 in the middle, the
// purge that CI would call, and an account of what the visitors saw.
//
// Pages of v2 may name assets that a replica of v1 is asked for, and the other
// way round. Replicas therefore share a directory of assets, as builds that
// upload to a bucket before they roll out do.
package demo

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	defaultVisitors = 20
	maxVisitors     = 500
	// many is how many replicas the demo scales to.
	many = 4
)

// Config says how to run the demo. The zero value runs for a minute with
// twenty visitors on free ports, and says nothing.
type Config struct {
	// Duration is how long visitors come, at least 15s. Late acts, on a slow
	// machine, lengthen it. Default 60s.
	Duration time.Duration
	// Visitors is how many browse at a time, 1 to 500; a tenth as many follow
	// the event stream, and as many use the WebSocket. Default 20.
	Visitors int
	// Listen is the gateway's host:port. Default a free port of 127.0.0.1.
	Listen string
	// Admin is the host:port of the gateway's admin endpoint. Default a free
	// port of 127.0.0.1.
	Admin string
	// Keep leaves everything running after the summary, visitors included,
	// until the context is done.
	Keep bool
	// JSON prints the Summary, and nothing else, on Out; the account goes to
	// Err, line by line.
	JSON bool
	// Executable is the edge binary: it must know run, sample and deploy.
	// Default the running one.
	Executable string
	// Out takes the account and the summary. Default none.
	Out io.Writer
	// Err takes the account when JSON is set. Default none.
	Err io.Writer
}

func (c Config) withDefaults() Config {
	c.Duration = cmp.Or(c.Duration, defaultDuration)
	c.Visitors = cmp.Or(c.Visitors, defaultVisitors)
	if c.Out == nil {
		c.Out = io.Discard
	}
	if c.Err == nil {
		c.Err = io.Discard
	}
	return c
}

// Validate reports every mistake.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	if c.Duration < minDuration {
		errs = append(errs, fmt.Errorf("duration %s: want at least %s", c.Duration, minDuration))
	}
	if c.Visitors < 1 || c.Visitors > maxVisitors {
		errs = append(errs, fmt.Errorf("visitors %d: want 1 to %d", c.Visitors, maxVisitors))
	}
	for _, field := range []struct{ name, address string }{{"listen", c.Listen}, {"admin", c.Admin}} {
		if field.address == "" {
			continue
		}
		if host, port, err := net.SplitHostPort(field.address); err != nil || host == "" || port == "" || port == "0" {
			errs = append(errs, fmt.Errorf("%s %q: want host:port such as 127.0.0.1:8080", field.name, field.address))
		}
	}
	return errors.Join(errs...)
}

// Run plays the demo and prints the account and the summary. The error says
// why the demo could not be played to its end; whether the visitors were
// content is Summary.OK. Every process that it started has ended when it
// returns. What they wrote is kept, and named in the account, only if
// something went wrong; an end that the context asked for is not that.
func Run(ctx context.Context, c Config) (Summary, error) {
	c = c.withDefaults()
	if err := c.Validate(); err != nil {
		return Summary{}, err
	}
	if c.Executable == "" {
		var err error
		if c.Executable, err = os.Executable(); err != nil {
			return Summary{}, err
		}
	}
	dir, err := os.MkdirTemp("", "edge-demo-")
	if err != nil {
		return Summary{}, err
	}
	d := newDemo(c, workplace{dir: dir, controlToken: rand.Text(), cloudflareToken: rand.Text()})
	s, err := d.run(ctx)
	// Below what was drawn last.
	_ = d.account.say(func() error { return nil })
	if ctx.Err() == nil && (err != nil || !s.OK) {
		d.account.note("logs and configuration are in %s", dir)
		return s, err
	}
	return s, errors.Join(err, os.RemoveAll(dir))
}

// demo is one run.
type demo struct {
	config  Config
	place   workplace
	account *account
	tally   *tally
	// notes is where the account goes.
	notes io.Writer

	gateway         *gateway
	replicas        *replicas
	cloudflareCalls func() int

	mu     sync.Mutex
	purged Purge
}

func newDemo(c Config, w workplace) *demo {
	d := &demo{config: c, place: w, tally: newTally(), notes: c.Out, purged: Purge{Exit: -1, Error: "not run"}}
	if c.JSON {
		d.notes = c.Err
	}
	d.account = newAccount(d.notes)
	if c.JSON {
		d.account.terminal = false
	}
	return d
}

// run starts everything, plays, and ends everything, also on a panic.
func (d *demo) run(ctx context.Context) (s Summary, err error) {
	for name, text := range map[string]string{"control-token": d.place.controlToken, "cloudflare-token": d.place.cloudflareToken} {
		if err := d.place.write(name, text); err != nil {
			return s, err
		}
	}
	cloudflare, err := startCloudflare(d.place.cloudflareToken)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, cloudflare.close()) }()
	d.cloudflareCalls = cloudflare.calls

	d.account.note("starting the gateway")
	if d.gateway, err = startGateway(ctx, d.config, d.place, cloudflare.api()); err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, d.gateway.end()) }()

	log, err := os.Create(d.place.path("replicas.log"))
	if err != nil {
		return s, err
	}
	defer log.Close()
	d.replicas = &replicas{
		control: d.gateway.control, executable: d.config.Executable, note: d.account.note, log: log,
		assets: d.place.path("assets"), env: append(os.Environ(), sessionKeyEnv+"="+rand.Text()),
	}
	defer func() { err = errors.Join(err, d.replicas.end()) }()

	if err := d.replicas.add(ctx, before); err != nil {
		return s, err
	}
	d.account.note("open %s/ to be one visitor more", d.gateway.base)
	return d.play(ctx, plan(d.config.Duration))
}

// sessionKeyEnv is sample.SessionKeyEnv; this package does not link the sample
// application that it runs.
const sessionKeyEnv = "EDGE_SAMPLE_SESSION_KEY"

// play lets visitors come while the acts are carried out, and sums up.
func (d *demo) play(ctx context.Context, s schedule) (Summary, error) {
	began := time.Now()
	crowd := d.gather(ctx)
	defer crowd.disperse()
	err := d.act(crowd.ctx, s, began)
	if cause := context.Cause(crowd.ctx); err != nil && cause != nil && !errors.Is(err, cause) {
		err = errors.Join(err, cause)
	}
	if err != nil || !d.config.Keep {
		crowd.disperse()
	}
	sum := summarize(d.tally.now(), time.Since(began), d.config.Visitors, d.replicas.peak(), d.purgeDone())
	sum.OK = sum.OK && err == nil
	printErr := d.account.say(func() error { return sum.print(d.config.Out, d.config.JSON) })
	if printErr != nil || err != nil {
		return sum, errors.Join(err, printErr)
	}
	if d.config.Keep {
		return sum, d.keep(crowd.ctx, ctx)
	}
	return sum, nil
}

// act carries out the acts when they are due.
func (d *demo) act(ctx context.Context, s schedule, began time.Time) error {
	acts := []struct {
		name string
		due  time.Duration
		do   func(context.Context) error
	}{
		{fmt.Sprintf("scale from 1 to %d replicas", many), s.scaleUp, func(ctx context.Context) error {
			return d.replicas.addAll(ctx, many-1, before)
		}},
		{fmt.Sprintf("deploy %s, one replica at a time", after), s.deploy, d.roll},
		{"edge deploy, as CI calls it", 0, func(ctx context.Context) error { d.purge(ctx); return nil }},
		{fmt.Sprintf("scale from %d replicas to 1", many), s.scaleDown, func(ctx context.Context) error {
			return d.shrink(ctx, 1)
		}},
		{"a moment more", max(s.end-s.settle, 0), func(ctx context.Context) error { return wait(ctx, s.settle) }},
	}
	for _, act := range acts {
		if err := wait(ctx, act.due-time.Since(began)); err != nil {
			return err
		}
		d.account.note("%s", act.name)
		if err := act.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", act.name, err)
		}
	}
	return nil
}

// shrink retires the oldest replicas of the new version until n are left.
func (d *demo) shrink(ctx context.Context, n int) error {
	list := d.replicas.of(after)
	spare := list[:max(0, len(list)-n)]
	errs := make([]error, len(spare))
	var group sync.WaitGroup
	for i, r := range spare {
		group.Go(func() { errs[i] = d.replicas.retire(ctx, r) })
	}
	group.Wait()
	return errors.Join(errs...)
}

func (d *demo) purgeDone() Purge {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.purged
}

// keep says what to try and leaves everything running until asked is done, the
// end that was asked for; playing may end before, by a fault.
func (d *demo) keep(playing, asked context.Context) error {
	if err := d.replicas.addAll(playing, 2, after); err != nil {
		return err
	}
	err := d.account.say(func() error {
		_, err := fmt.Fprint(d.notes, d.suggestions())
		return err
	})
	if err != nil {
		return err
	}
	<-playing.Done()
	if asked.Err() != nil {
		return nil
	}
	return context.Cause(playing)
}

// suggestions is what a person may open and try.
func (d *demo) suggestions() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nopen    %s/\n        %s/dashboard    # its token: %s\n\ntry\n", d.gateway.base, d.gateway.control.server, d.place.controlToken)
	lines := []string{
		fmt.Sprintf("export EDGE_SERVER=%s EDGE_TOKEN=$(cat %s)    # what the commands below need", d.gateway.control.server, d.gateway.token),
		fmt.Sprintf("curl -sI -X GET %s/contacts | grep -i -e cache -e age -e version    # twice: the second is a hit", d.gateway.base),
		d.config.Executable + " status",
		fmt.Sprintf("%s explain %s/contacts", d.config.Executable, d.gateway.base),
		d.config.Executable + " deploys",
		d.config.Executable + " purge --tag pages --wait 30s",
	}
	if list := d.replicas.now(); len(list) > 0 {
		first, last := list[0], list[len(list)-1]
		lines = append(lines,
			fmt.Sprintf("curl -X POST 'http://%s/trouble?for=60s'    # replica %s answers 503 and calls itself healthy: its breaker opens, see status", first.address, first.name),
			fmt.Sprintf("kill -9 %d    # replica %s: the others take over", last.pid, last.name))
	}
	for _, line := range lines {
		fmt.Fprintf(&b, "        %s\n", line)
	}
	fmt.Fprintf(&b, "\nlogs    %s\nCtrl-C ends everything.\n\n", d.place.dir)
	return b.String()
}
