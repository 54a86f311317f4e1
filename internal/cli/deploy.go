package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/control"
	"github.com/edgegw/edge/internal/deploy"
	"github.com/edgegw/edge/internal/purge"
	"github.com/edgegw/edge/internal/unit"
)

const (
	// defaultTimeout is how long replicas may take to run the version.
	defaultTimeout = 10 * time.Minute
	// purgeTime is what the purge may take besides, unless Wait says otherwise.
	purgeTime = 3 * time.Minute
)

// DeployConfig is what edge deploy takes; the fields are its flags.
type DeployConfig struct {
	Connection
	// Version is what every replica is to run.
	Version string
	// Pool names the pool. Default: the only one that reads versions.
	Pool string
	// Retire are versions to purge besides those that the gateway has seen.
	Retire []string
	// Timeout is how long the replicas may take. Default: 10m.
	Timeout time.Duration
	// Wait bounds the whole: the rollout, the purge, and the verification.
	// Default: Timeout and 3m.
	Wait time.Duration
	// Verify lists URLs to be fetched from here, as visitors do, until each
	// shows Version.
	Verify []string
	// Warm names pages that the gateway fetches when all is purged, as in
	// PurgeConfig.
	Warm []string
	// VersionHeader is the response field that shows the version to Verify.
	// Default: X-App-Version.
	VersionHeader string
	// Probe carries the fetches of Verify. Default: a transport of its own.
	Probe http.RoundTripper
	// DespiteGuard lets the version become current though the guard found it
	// worse, or finds it so later.
	DespiteGuard bool
	// Cancel withdraws the deploy with this id, and does nothing else.
	Cancel string
	// DryRun shows what would be done.
	DryRun bool
	// JSON prints exactly one object, a DeployReport, on stdout.
	JSON bool
	// IdempotencyKey lets the command be repeated without a second deploy.
	// Default: a random one.
	IdempotencyKey string
	// Reason is kept with the deploy, for people.
	Reason string
}

// DeployReport is what edge deploy prints as JSON: the deploy's record, if there
// is one, and what became of it here.
type DeployReport struct {
	*deploy.Record
	// Exit is the command's exit code.
	Exit int `json:"exit"`
	// Error says why, unless Exit is 0.
	Error string `json:"error,omitempty"`
	// Purged is the record of the purge, once it is ordered.
	Purged *purge.Record `json:"purged,omitempty"`
	// Checked is what the URLs of Verify showed last, seen from here.
	Checked []purge.Verification `json:"checked,omitempty"`
}

// deploying is one run of the command. What it has in common with a purge
// (following the order, verifying) is a purge's.
type deploying struct {
	DeployConfig
	purging
	deploy *deploy.Record // the last one seen
}

// Deploy calls for a version, waits until it is rolled out and the retired ones
// are purged, verifies it if asked, and reports.
func Deploy(ctx context.Context, c DeployConfig, stdout, stderr io.Writer) int {
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.Wait == 0 {
		c.Wait = c.Timeout + purgeTime
	}
	d := &deploying{DeployConfig: c}
	d.PurgeConfig = PurgeConfig{
		Connection: c.Connection, Expect: c.Version, Wait: c.Wait, Verify: c.Verify, VersionHeader: c.VersionHeader, Probe: c.Probe,
	}.withDefaults()
	d.purging.progress, d.purging.err = &console{w: stderr}, &console{w: stderr}
	if c.JSON {
		d.progress = &console{w: io.Discard}
	}
	code, err := d.run(ctx)
	if err != nil {
		d.err.complain("deploy", err)
	}
	if !c.JSON {
		d.receipt(&console{w: stdout}, code)
		return code
	}
	report := DeployReport{Record: d.deploy, Exit: code, Purged: d.record, Checked: d.checked}
	if err != nil {
		report.Error = err.Error()
	}
	if err := printJSON(stdout, report); err != nil {
		// The exit code is what CI branches on: it tells of the deploy.
		d.err.complain("deploy", err)
	}
	return code
}

// run gives the exit code, and why unless it is 0.
func (d *deploying) run(ctx context.Context) (int, error) {
	usage := d.check()
	warm, left, err := warmList(ctx, d.DeployConfig.Warm)
	d.sayLeft(left)
	usage = errors.Join(usage, err)
	d.DeployConfig.Warm = warm
	client, clientErr := NewClient(d.DeployConfig.Connection)
	if err := errors.Join(usage, clientErr); err != nil {
		return ExitUsage, err
	}
	d.client = client
	if client.exposesToken() {
		d.err.say("edge deploy: warning: the token travels unencrypted to %s: want https", client.Server)
	}
	d.began = time.Now()
	d.deadline = d.began.Add(d.DeployConfig.Wait)
	if d.Cancel != "" {
		return d.withdraw(ctx)
	}
	if err := d.call(ctx); err != nil {
		return d.callFailed(err)
	}
	if d.DeployConfig.DryRun {
		return ExitDone, nil
	}
	if err := d.await(ctx); err != nil {
		return d.awaitFailed(err)
	}
	if code := d.deploy.Exit; code != ExitDone {
		return code, d.notDone()
	}
	d.warmNow(ctx)
	if len(d.DeployConfig.Verify) == 0 {
		return ExitDone, nil
	}
	code, err := d.verify(ctx)
	if code != ExitDone {
		err = fmt.Errorf("deploy %s is done, but: %w", d.deploy.ID, err)
	}
	return code, err
}

// warmNow calls again, now that the deploy is done, if what is to be warmed came when
// its purge was under way, too late for that, or if there was nothing to purge. A
// warm-up fails no deploy.
func (d *deploying) warmNow(ctx context.Context) {
	var known []string
	if d.record != nil {
		known = slices.Concat(d.deploy.Warm, d.record.Warm)
	}
	late := slices.ContainsFunc(d.DeployConfig.Warm, func(url string) bool { return !slices.Contains(known, url) })
	if !late || d.record != nil && d.deploy.Note != "" {
		return
	}
	err := d.call(ctx)
	if err == nil {
		d.record = nil
		err = d.await(ctx)
	}
	if err != nil {
		d.err.say("edge deploy: warning: not warmed: %v", err)
	}
}

// check gives every mistake of the flags.
func (d *deploying) check() error {
	var errs []error
	switch {
	case d.Cancel != "" && d.Version != "":
		errs = append(errs, errors.New("cancel and version: want one of them"))
	case d.Cancel == "" && d.Version == "":
		errs = append(errs, errors.New("no version: want --version, what every replica is to run"))
	case d.Cancel == "":
		_, err := purge.Selectors{Versions: append(slices.Clone(d.Retire), d.Version)}.Normalize()
		errs = append(errs, err)
	}
	if d.Timeout < 0 {
		errs = append(errs, fmt.Errorf("timeout %v: want a duration such as 10m", d.Timeout))
	}
	return errors.Join(append(errs, checkVerify(d.DeployConfig.Wait, d.DeployConfig.Verify))...)
}

// call tells the gateway which version is to come.
func (d *deploying) call(ctx context.Context) error {
	if d.DeployConfig.IdempotencyKey == "" {
		d.DeployConfig.IdempotencyKey = "edge-" + rand.Text()
	}
	c := request{method: http.MethodPost, path: "deploy", body: control.DeployRequest{
		Version: d.Version, Pool: d.Pool, Retire: d.Retire, Warm: d.DeployConfig.Warm, Timeout: unit.Duration(d.Timeout), Reason: d.DeployConfig.Reason,
		DespiteGuard: d.DespiteGuard, DryRun: d.DeployConfig.DryRun, IdempotencyKey: d.DeployConfig.IdempotencyKey,
	}}
	return retrying(ctx, d.began.Add(min(submitFor, d.DeployConfig.Wait)), func() error {
		var r deploy.Record
		if err := d.client.call(ctx, c, &r); err != nil {
			return err
		}
		return d.takeDeploy(r)
	}, d.sayRetry)
}

// takeDeploy keeps a record that was answered, if it is one and the right one.
func (d *deploying) takeDeploy(r deploy.Record) error {
	planned := r.Stage == deploy.Planned
	if r.Stage == "" || planned != d.DeployConfig.DryRun || !planned && (r.ID == "" || d.deploy != nil && d.deploy.ID != r.ID) {
		return &failure{exit: ExitUnreachable, text: fmt.Sprintf("%s answered JSON of another kind: want the record of a deploy", d.client.Server)}
	}
	d.deploy = &r
	if !planned {
		d.showDeploy()
	}
	return nil
}

// await follows the deploy, and its purge once that is ordered, until it is
// final or the time is up.
func (d *deploying) await(ctx context.Context) error {
	for !d.deploy.Stage.Final() || d.deploy.Purge != "" && d.record == nil {
		if d.deploy.Purge != "" {
			d.record = &purge.Record{Order: purge.Order{ID: d.deploy.Purge}}
			if err := d.follow(ctx); err != nil {
				return err
			}
		}
		if !time.Now().Before(d.deadline) {
			return nil
		}
		if err := d.poll(ctx, "deploys/"+url.PathEscape(d.deploy.ID), d.askDeploy, func() bool { return d.deploy.Stage.Final() }); err != nil {
			return err
		}
	}
	return nil
}

func (d *deploying) askDeploy(ctx context.Context, c request) error {
	var r deploy.Record
	if err := d.client.call(ctx, c, &r); err != nil {
		return err
	}
	return d.takeDeploy(r)
}

// withdraw cancels a deploy that somebody has called for.
func (d *deploying) withdraw(ctx context.Context) (int, error) {
	var r deploy.Record
	if err := d.client.cancel(ctx, "deploys", d.Cancel, &r); err != nil {
		return exitOf(err), err
	}
	d.deploy = &r
	return ExitDone, nil
}

func (d *deploying) callFailed(err error) (int, error) {
	code := exitOf(err)
	switch code {
	case ExitInterrupted:
		return code, fmt.Errorf("interrupted before the gateway answered; it may have taken the call: repeat with --idempotency-key %s", d.DeployConfig.IdempotencyKey)
	case ExitUnreachable:
		return code, fmt.Errorf("%w; to repeat it safely: --idempotency-key %s", err, d.DeployConfig.IdempotencyKey)
	}
	return code, err
}

func (d *deploying) awaitFailed(err error) (int, error) {
	code := exitOf(err)
	if code == ExitInterrupted {
		return code, fmt.Errorf("interrupted; deploy %s goes on at the gateway: edge deploy --cancel %s withdraws it", d.deploy.ID, d.deploy.ID)
	}
	if code == ExitUsage {
		// The call was taken: a question about it that was not understood is
		// no mistake of the caller's.
		code = ExitUnreachable
	}
	return code, fmt.Errorf("deploy %s was taken, its outcome is unknown: %w", d.deploy.ID, err)
}

// notDone says why the exit code of a deploy is not 0.
func (d *deploying) notDone() error {
	r := d.deploy
	var why []string
	if r.Error != "" {
		why = append(why, r.Error)
	} else if len(r.Behind) > 0 {
		why = append(why, "not there yet: "+strings.Join(r.Behind, ", "))
	}
	if d.record != nil {
		why = append(why, d.unfinished(purge.ExitCode(*d.record)).Error())
	}
	state := "is " + string(r.Stage)
	if !r.Stage.Final() {
		state = fmt.Sprintf("is still %s after %v, and goes on at the gateway", r.Stage, unit.Duration(d.DeployConfig.Wait))
	}
	return fmt.Errorf("deploy %s %s: %s", r.ID, state, strings.Join(why, "; "))
}
