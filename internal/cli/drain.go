package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/control"
)

// DrainConfig is what edge drain takes; the fields are its flags.
type DrainConfig struct {
	Connection
	// Pool names the pool. Default: the only one.
	Pool string
	// Replica is the id or the address of one. It, or Version, is required.
	Replica string
	// Version means all replicas that run it now.
	Version string
	// Undo takes them back.
	Undo bool
	// Force drains also when no healthy replica is left then.
	Force bool
	// Wait bounds the time until they have finished, or with Undo until they
	// take requests. Default: it is not waited for.
	Wait time.Duration
	// JSON prints exactly one object, a DrainReport, on stdout.
	JSON bool
}

// DrainReport is what edge drain prints as JSON.
type DrainReport struct {
	Pool string `json:"pool,omitempty"`
	// Replicas are those that were meant, as they were seen last; state "gone" is
	// one that is not listed any more.
	Replicas []control.Drainee `json:"replicas"`
	// Exit is the command's exit code.
	Exit int `json:"exit"`
	// Error says why, unless Exit is 0.
	Error string `json:"error,omitempty"`
}

// drainPoll is how often the gateway is asked whether they have finished.
const drainPoll = 250 * time.Millisecond

// draining is one run of the command.
type draining struct {
	DrainConfig
	client   *Client
	progress *console
	report   DrainReport
}

// Drain has replicas finish what they have and take nothing new, or takes them
// back, and waits for it if asked.
func Drain(ctx context.Context, c DrainConfig, stdout, stderr io.Writer) int {
	d := &draining{DrainConfig: c, progress: &console{w: stderr}, report: DrainReport{Pool: c.Pool, Replicas: []control.Drainee{}}}
	if err := d.run(ctx); err != nil {
		d.report.Exit = exitOf(err)
		if d.report.Exit == ExitInterrupted {
			err = errors.New("interrupted here; the gateway goes on")
		}
		d.report.Error = err.Error()
		d.progress.complain("drain", err)
	}
	if c.JSON {
		if err := printJSON(stdout, d.report); err != nil {
			d.progress.complain("drain", err)
			return ExitUnreachable
		}
		return d.report.Exit
	}
	out := &console{w: stdout}
	for _, r := range d.report.Replicas {
		out.say("%s %s %s: %s", r.ID, r.Address, r.Version, r.State)
	}
	return d.report.Exit
}

func (d *draining) run(ctx context.Context) error {
	if (d.Replica == "") == (d.Version == "") {
		return &failure{exit: ExitUsage, text: "want --replica ID or --version V, one of them"}
	}
	if d.Undo && d.Force {
		return &failure{exit: ExitUsage, text: "--undo and --force: want one of them"}
	}
	var err error
	if d.client, err = NewClient(d.Connection); err != nil {
		return &failure{exit: ExitUsage, text: err.Error()}
	}
	if d.report.Pool == "" {
		if d.report.Pool, err = d.onlyPool(ctx); err != nil {
			return err
		}
	}
	verb := "drain"
	if d.Undo {
		verb = "undrain"
	}
	q := request{method: http.MethodPost, path: "pools/" + url.PathEscape(d.report.Pool) + "/" + verb,
		body: control.DrainOrder{Replica: d.Replica, Version: d.Version, Force: d.Force}}
	if err := d.client.call(ctx, q, &d.report); err != nil {
		return d.explained(err)
	}
	if len(d.report.Replicas) == 0 {
		d.progress.say("none of them was set aside: nothing to take back")
	}
	return d.await(ctx)
}

// explained names the flag that helps, and tells what the caller got wrong from
// a gateway that is not there.
func (d *draining) explained(err error) error {
	var f *failure
	if !errors.As(err, &f) {
		return err
	}
	switch f.code {
	case control.CodeLastReplica:
		f.text += ": --force"
	case control.CodeUnknown:
		f.exit = ExitUsage
	}
	return err
}

// onlyPool is the pool that is meant when none is named.
func (d *draining) onlyPool(ctx context.Context) (string, error) {
	pools, err := d.pools(ctx)
	if err != nil {
		return "", err
	}
	if len(pools) == 1 {
		return pools[0].Name, nil
	}
	names := make([]string, 0, len(pools))
	for _, p := range pools {
		names = append(names, p.Name)
	}
	return "", &failure{exit: ExitUsage, text: fmt.Sprintf("the gateway has %d pools: want --pool, one of %s", len(pools), strings.Join(names, ", "))}
}

func (d *draining) pools(ctx context.Context) ([]poolView, error) {
	var status statusView
	err := d.client.call(ctx, request{method: http.MethodGet, path: "status"}, &status)
	return status.Pools, err
}

// await looks at the replicas until they are where they should be.
func (d *draining) await(ctx context.Context) error {
	if d.Wait <= 0 {
		return nil
	}
	until := time.Now().Add(d.Wait)
	for {
		var pools []poolView
		err := retrying(ctx, until, func() (err error) {
			pools, err = d.pools(ctx)
			return err
		}, func(err error, _ time.Duration) { d.progress.once(err.Error()) })
		if err != nil {
			return err
		}
		open := d.look(pools)
		if len(open) == 0 {
			return nil
		}
		if time.Now().Add(drainPoll).After(until) {
			return &failure{exit: ExitPartial, text: fmt.Sprintf("not within %s: %s; the gateway goes on", d.Wait, strings.Join(open, ", "))}
		}
		if err := sleep(ctx, drainPoll); err != nil {
			return err
		}
	}
}

// look brings the report up to date, and says who is not where he should be.
func (d *draining) look(pools []poolView) (open []string) {
	there := make(map[string]string)
	for _, p := range pools {
		if p.Name == d.report.Pool {
			for _, r := range p.Replicas {
				there[r.ID] = r.State
			}
		}
	}
	want := []string{"drained", "gone"}
	if d.Undo {
		want = []string{"up"}
	}
	for i := range d.report.Replicas {
		r := &d.report.Replicas[i]
		r.State = "gone"
		if state, listed := there[r.ID]; listed {
			r.State = state
		}
		if !slices.Contains(want, r.State) {
			open = append(open, r.Address+" is "+r.State)
		}
	}
	return open
}
