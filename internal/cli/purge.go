package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/edgegw/edge/internal/control"
	"github.com/edgegw/edge/internal/purge"
	"github.com/edgegw/edge/internal/unit"
)

const (
	// defaultWait is longer than a rollout gate of two minutes.
	defaultWait = 3 * time.Minute
	// defaultVersionHeader is the one that the manual uses for pools.
	defaultVersionHeader = "X-App-Version"
	// submitFor is how long a gateway that restarts is waited for.
	submitFor = 10 * time.Second
	// cancelFor is how long the end of a canceled purge is waited for.
	cancelFor = 10 * time.Second
	// pollWait is how long one question about an order may take: as often
	// can progress be shown.
	pollWait = 2 * time.Second
	// minPoll apart are two questions, whatever the gateway makes of pollWait.
	minPoll = 500 * time.Millisecond
)

// PurgeConfig is what edge purge takes; the fields are its flags.
type PurgeConfig struct {
	Connection
	// URLs, Tags, Prefixes, Hosts and Versions name what to purge.
	URLs, Tags, Prefixes, Hosts, Versions []string
	// URLFile adds the URLs of a file, one a line; empty lines and lines that
	// begin with # are skipped. A file without URLs is a mistake.
	URLFile string
	// Everything stands alone, and has to be confirmed.
	Everything bool
	// Yes confirms it.
	Yes bool
	// Confirm is a terminal on which to ask. nil: there is none, Yes is needed.
	Confirm io.Reader
	// Soft marks copies stale. Default: no copy is served again.
	Soft bool
	// Expect is the version that every replica must report before anything
	// is purged, and that verified URLs must show.
	Expect string
	// Wait bounds the whole: waiting for the order, then verifying.
	// Default: 3m. One look at each URL is taken even when it has passed.
	Wait time.Duration
	// Verify lists URLs to be fetched from here, as visitors do, until each
	// shows Expect; without Expect, until none is older than the purge.
	Verify []string
	// Warm names pages that the gateway fetches when all is purged: the URL of a
	// page or of a sitemap (.xml), or a file with either, one URL a line.
	Warm []string
	// VersionHeader is the response field that shows the version to Verify.
	// Default: X-App-Version.
	VersionHeader string
	// Probe carries the fetches of Verify. Default: a transport of its own.
	Probe http.RoundTripper
	// Cancel ends the purge with this id, and does nothing else. What was
	// applied stays so.
	Cancel string
	// DryRun shows what would be done.
	DryRun bool
	// JSON prints exactly one object, a PurgeReport, on stdout.
	JSON bool
	// IdempotencyKey lets the command be repeated without a second purge.
	// Default: a random one.
	IdempotencyKey string
	// Reason is kept with the order, for people.
	Reason string
}

// PurgeReport is what edge purge prints as JSON: the order's record, if there
// is one, and what became of it here.
type PurgeReport struct {
	*purge.Record
	// Exit is the command's exit code.
	Exit int `json:"exit"`
	// Error says why, unless Exit is 0.
	Error string `json:"error,omitempty"`
	// Checked is what the URLs of Verify showed last, seen from here.
	Checked []purge.Verification `json:"checked,omitempty"`
}

func (c PurgeConfig) withDefaults() PurgeConfig {
	if c.Wait == 0 {
		c.Wait = defaultWait
	}
	if c.VersionHeader == "" {
		c.VersionHeader = defaultVersionHeader
	}
	return c
}

// purging is one run of the command.
type purging struct {
	PurgeConfig
	client   *Client
	order    control.PurgeRequest
	began    time.Time
	deadline time.Time
	progress *console // discards when the report is JSON
	err      *console
	record   *purge.Record // the last one seen
	checked  []purge.Verification
}

// Purge orders a purge, waits for it, verifies it if asked, and reports.
func Purge(ctx context.Context, c PurgeConfig, stdout, stderr io.Writer) int {
	p := &purging{PurgeConfig: c.withDefaults(), progress: &console{w: stderr}, err: &console{w: stderr}}
	if c.JSON {
		p.progress = &console{w: io.Discard}
	}
	code, err := p.run(ctx)
	if err != nil {
		p.err.complain("purge", err)
	}
	if !c.JSON {
		p.receipt(&console{w: stdout}, code)
		return code
	}
	report := PurgeReport{Record: p.record, Exit: code, Checked: p.checked}
	if err != nil {
		report.Error = err.Error()
	}
	if err := printJSON(stdout, report); err != nil {
		// The exit code is what CI branches on: it tells of the purge.
		p.err.complain("purge", err)
	}
	return code
}

// run gives the exit code, and why unless it is 0.
func (p *purging) run(ctx context.Context) (int, error) {
	if p.Cancel != "" {
		return p.withdraw(ctx)
	}
	orderErr := p.readOrder(ctx)
	client, clientErr := NewClient(p.Connection)
	if err := errors.Join(orderErr, clientErr); err != nil {
		return ExitUsage, err
	}
	p.client = client
	if client.exposesToken() {
		p.err.say("edge purge: warning: the token travels unencrypted to %s: want https", client.Server)
	}
	if code, err := p.confirm(ctx); err != nil {
		return code, err
	}
	p.began = time.Now()
	p.deadline = p.began.Add(p.Wait)
	if err := p.submit(ctx); err != nil {
		return p.submitFailed(err)
	}
	if err := p.follow(ctx); err != nil {
		return p.followFailed(err)
	}
	if code := purge.ExitCode(*p.record); code != ExitDone {
		return code, p.unfinished(code)
	}
	if p.DryRun || len(p.Verify) == 0 {
		return ExitDone, nil
	}
	return p.verify(ctx)
}

// withdraw cancels a purge.
func (p *purging) withdraw(ctx context.Context) (int, error) {
	client, err := NewClient(p.Connection)
	if p.URLFile != "" || p.Everything || len(p.URLs)+len(p.Tags)+len(p.Prefixes)+len(p.Hosts)+len(p.Versions) > 0 {
		err = errors.Join(errors.New("cancel and a selector: want one of them"), err)
	}
	if err != nil {
		return ExitUsage, err
	}
	var r purge.Record
	if err := client.cancel(ctx, "purge", p.Cancel, &r); err != nil {
		return exitOf(err), err
	}
	p.client, p.record = client, &r
	// What is under way ends first.
	p.deadline = time.Now().Add(min(p.Wait, cancelFor))
	if err := p.follow(ctx); err != nil {
		return p.followFailed(err)
	}
	if !p.record.State.Final() {
		p.err.say("edge purge: purge %s will be canceled, and is still %s", p.record.ID, p.record.State)
	}
	return ExitDone, nil
}

func (p *purging) submit(ctx context.Context) error {
	call := request{
		method: http.MethodPost, path: "purge", body: p.order,
		header: http.Header{"Idempotency-Key": {p.order.IdempotencyKey}},
	}
	until := p.began.Add(min(submitFor, p.Wait))
	return retrying(ctx, until, func() error {
		var record purge.Record
		if err := p.client.call(ctx, call, &record); err != nil {
			return err
		}
		return p.take(record, "")
	}, p.sayRetry)
}

// take keeps a record that was answered, if it is one and the right one.
func (p *purging) take(record purge.Record, id string) error {
	planned := p.DryRun && record.State == purge.Planned
	if record.State == "" || (record.ID == "" && !planned) || (id != "" && record.ID != id) {
		return &failure{exit: ExitUnreachable, text: fmt.Sprintf("%s answered JSON of another kind: want the record of a purge", p.client.Server)}
	}
	if p.DryRun && !planned {
		return &failure{exit: ExitUnreachable, text: fmt.Sprintf("%s took a dry run for an order: it is %s", p.client.Server, record.State)}
	}
	p.record = &record
	p.show()
	return nil
}

func (p *purging) sayRetry(err error, wait time.Duration) {
	p.progress.say("%v; trying again in %v", err, unit.Duration(wait.Round(100*time.Millisecond)))
}

// follow waits until the order is finished or the deadline has passed.
func (p *purging) follow(ctx context.Context) error {
	ask := func(ctx context.Context, c request) error {
		var record purge.Record
		if err := p.client.call(ctx, c, &record); err != nil {
			return err
		}
		return p.take(record, p.record.ID)
	}
	final := func() bool { return p.record.State.Final() }
	for !final() && time.Now().Before(p.deadline) {
		if err := p.poll(ctx, "purge/"+url.PathEscape(p.record.ID), ask, final); err != nil {
			return err
		}
	}
	return nil
}

// poll asks once for a record that may change soon, and takes its time over it:
// the gateway answers when the record is final, or after a while.
func (p *purging) poll(ctx context.Context, path string, ask func(context.Context, request) error, final func() bool) error {
	// Whole milliseconds, and never none.
	wait := max(min(time.Until(p.deadline), pollWait).Round(time.Millisecond), time.Millisecond)
	call := request{method: http.MethodGet, path: path, query: url.Values{"wait": {unit.Duration(wait).String()}}, wait: wait}
	asked := time.Now()
	if err := retrying(ctx, p.deadline, func() error { return ask(ctx, call) }, p.sayRetry); err != nil {
		return err
	}
	if early := minPoll - time.Since(asked); early > 0 && !final() {
		return sleep(ctx, min(early, time.Until(p.deadline)))
	}
	return nil
}

func (p *purging) submitFailed(err error) (int, error) {
	code := exitOf(err)
	switch code {
	case ExitInterrupted:
		return code, fmt.Errorf("interrupted before the gateway answered; it may have taken the order: repeat with --idempotency-key %s", p.order.IdempotencyKey)
	case ExitUnreachable:
		return code, fmt.Errorf("%w; to repeat it safely: --idempotency-key %s", err, p.order.IdempotencyKey)
	}
	return code, err
}

func (p *purging) followFailed(err error) (int, error) {
	code := exitOf(err)
	if code == ExitInterrupted {
		return code, fmt.Errorf("interrupted; purge %s goes on at the gateway", p.record.ID)
	}
	if code == ExitUsage {
		// The order was accepted: a question about it that was not
		// understood is no mistake of the caller's.
		code = ExitUnreachable
	}
	return code, fmt.Errorf("purge %s was accepted, its outcome is unknown: %w", p.record.ID, err)
}

// unfinished says why the exit code of an order is not 0.
func (p *purging) unfinished(code int) error {
	r := p.record
	var why string
	switch {
	case code == ExitGate:
		why = fmt.Sprintf("not every replica reports version %q: nothing was purged", r.Expect)
	case code == ExitNotAllowed:
		why = "a target refused the gateway's token"
	case code == ExitRateLimited:
		why = "rate limited by a target"
	case r.Error != "":
		why = r.Error
	default:
		why = "not every target is purged"
	}
	if r.Error != "" && why != r.Error {
		why += ": " + r.Error
	}
	for _, t := range r.Targets {
		if t.Error != nil {
			why += fmt.Sprintf("; %s: %v", t.Name, t.Error)
		}
	}
	if r.State.Final() {
		return fmt.Errorf("purge %s is %s: %s", r.ID, r.State, why)
	}
	return fmt.Errorf("purge %s is still %s after %v, and goes on at the gateway: %s", r.ID, r.State, unit.Duration(p.Wait), why)
}
