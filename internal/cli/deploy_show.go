package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/edgegw/edge/internal/deploy"
	"github.com/edgegw/edge/internal/purge"
)

// showDeploy prints what is new about the deploy.
func (d *deploying) showDeploy() {
	r := d.deploy
	d.progress.once(fmt.Sprintf("deploy %s of %s to pool %s %s", r.ID, r.Version, r.Pool, r.Stage))
	if len(r.Behind) > 0 {
		d.progress.once("  not there yet: " + strings.Join(r.Behind, ", "))
	}
}

// receipt prints how it ended.
func (d *deploying) receipt(out *console, code int) {
	r := d.deploy
	if r == nil {
		return
	}
	if r.Stage == deploy.Planned {
		d.planned(out)
		return
	}
	took := ""
	if r.Took > 0 {
		took = ", took " + r.Took.String()
	}
	out.say("deploy %s of %s to pool %s %s%s, exit %d", r.ID, r.Version, r.Pool, r.Stage, took, code)
	if len(r.Retired) > 0 {
		out.say("  retired %s", strings.Join(r.Retired, ", "))
	}
	for _, version := range slices.Sorted(maps.Keys(r.Traffic)) {
		t := r.Traffic[version]
		out.say("  while it rolled, %s was asked %d times, %d failed", version, t.Requests, t.Failures)
	}
	if r.Note != "" {
		out.say("  %s", r.Note)
	}
	if d.record != nil {
		d.purging.receipt(out, purge.ExitCode(*d.record))
		return
	}
	for _, v := range d.checked {
		out.say("  %s", d.checkedLine(v))
	}
}

// planned prints a dry run.
func (d *deploying) planned(out *console) {
	r := d.deploy
	out.say("dry run: nothing was purged")
	out.say("  pool %s, current %s", r.Pool, or(r.Previous, "none"))
	for _, behind := range r.Behind {
		out.say("  not there yet: %s", behind)
	}
	if len(r.Retired) == 0 {
		out.say("  no version would be purged")
	} else {
		out.say("  to be purged: %s", strings.Join(r.Retired, ", "))
	}
	if r.Note != "" {
		out.say("  %s", r.Note)
	}
	plan, ok := d.plan()
	if !ok {
		return
	}
	for _, s := range plan.Steps {
		out.say("  %s", stepLine(s))
	}
	for _, t := range plan.Targets {
		out.say("  %s", targetLine(t))
	}
	if plan.Takes > 0 {
		out.say("  %s", takesLine(plan))
	}
}

// plan is the purge that a dry run would order.
func (d *deploying) plan() (plan purge.Record, ok bool) {
	text, err := json.Marshal(d.deploy.Plan)
	return plan, err == nil && d.deploy.Plan != nil && json.Unmarshal(text, &plan) == nil
}

// DeploysConfig is what edge deploys takes; the fields are its flags.
type DeploysConfig struct {
	Connection
	// Pool shows one pool's only.
	Pool string
	// JSON prints the gateway's answer as it is.
	JSON bool
}

// Deploys prints the history of deploys, newest first.
func Deploys(ctx context.Context, c DeploysConfig, stdout, stderr io.Writer) int {
	query := url.Values{"limit": {"100"}}
	if c.Pool != "" {
		query.Set("pool", c.Pool)
	}
	return inspect(ctx, inspection{
		command: "deploys", connection: c.Connection, json: c.JSON,
		request: request{method: http.MethodGet, path: "deploys", query: query},
		print: func(w io.Writer, answer json.RawMessage) error {
			var list struct{ Deploys []deploy.Record }
			if err := json.Unmarshal(answer, &list); err != nil {
				return err
			}
			if list.Deploys == nil {
				return fmt.Errorf("no deploys: want a list")
			}
			printDeploys(&console{w: w}, list.Deploys)
			return nil
		},
	}, stdout, stderr)
}

func printDeploys(out *console, list []deploy.Record) {
	if len(list) == 0 {
		out.say("no deploy yet")
		return
	}
	rows := [][]string{{"ID", "POOL", "FROM", "TO", "STATE", "EXIT", "BEGAN", "TOOK", "RETIRED", "BY", "TRAFFIC", "WHY"}}
	for _, r := range list {
		took, exit := "", ""
		if r.Stage.Final() {
			took, exit = r.Took.String(), fmt.Sprint(r.Exit)
		}
		began := r.Began
		if began.IsZero() {
			began = r.Created
		}
		why := r.Error
		if why == "" {
			why = strings.Join(r.Behind, ", ")
		}
		rows = append(rows, []string{
			r.ID, r.Pool, r.Previous, r.Version, string(r.Stage), exit, stamp(began), took, strings.Join(r.Retired, " "), r.Actor, trafficText(r.Traffic), why,
		})
	}
	out.table(rows)
}

// trafficText reads "v1 200 (3 failed), v2 90".
func trafficText(traffic map[string]deploy.Traffic) string {
	var parts []string
	for _, version := range slices.Sorted(maps.Keys(traffic)) {
		t := traffic[version]
		part := fmt.Sprintf("%s %d", version, t.Requests)
		if t.Failures > 0 {
			part += fmt.Sprintf(" (%d failed)", t.Failures)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}

// printVersions prints what the pools run and ran.
func printVersions(out *console, pools map[string]deploy.Status, last []deploy.Record) {
	for _, name := range slices.Sorted(maps.Keys(pools)) {
		s := pools[name]
		if !s.Tracking {
			continue
		}
		out.say("")
		line := fmt.Sprintf("versions of %s: current %s", name, or(s.Current, "none yet"))
		if !s.Since.IsZero() {
			line += " since " + stamp(s.Since)
		}
		if s.Rollout.On {
			line += fmt.Sprintf(", rolling to %s since %s", s.Rollout.To, stamp(s.Rollout.Since))
		}
		var runs []string
		for _, version := range slices.Sorted(maps.Keys(s.Rollout.Replicas)) {
			runs = append(runs, fmt.Sprintf("%d on %s", s.Rollout.Replicas[version], version))
		}
		if s.Rollout.Unknown > 0 {
			runs = append(runs, fmt.Sprintf("%d unknown", s.Rollout.Unknown))
		}
		out.say("%s: %s", line, or(strings.Join(runs, ", "), "no replica"))
	}
	if len(last) > 0 {
		out.say("")
		out.say("deploys")
		printDeploys(out, last)
	}
}
