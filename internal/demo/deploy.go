package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

const (
	before = "v1" // the version that the demo begins with
	after  = "v2" // the one that it deploys
	// purging is how long the command may take; it waits for 30s itself.
	purging = time.Minute
)

// Purge is what became of the command that CI would call.
type Purge struct {
	ID    string `json:"id"`
	State string `json:"state"`
	// Exit is the exit code of edge deploy; -1 if it was not run, or ended by a
	// signal.
	Exit int `json:"exit"`
	// Steps are the names of the applied steps, in order.
	Steps []string `json:"steps"`
	// CloudflareCalls is how many purge calls the stand-in of Cloudflare
	// accepted.
	CloudflareCalls int `json:"cloudflare_calls"`
	// Error says why, when Exit is not 0.
	Error string `json:"error,omitempty"`
}

// roll replaces the replicas of the old version one by one: a new one takes
// requests before an old one leaves, so that there is never one less.
func (d *demo) roll(ctx context.Context) error {
	old := d.replicas.of(before)
	for i, leaving := range old {
		if err := d.replicas.add(ctx, after); err != nil {
			return err
		}
		if err := d.replicas.retire(ctx, leaving); err != nil {
			return err
		}
		d.account.note("deploy: %d of %d replicas run %s", i+1, len(old), after)
	}
	return nil
}

// purge runs the command that CI runs after a deploy, and marks the moment at
// which it was told that the old version is gone.
func (d *demo) purge(ctx context.Context) {
	d.account.note("CI: %s", d.purgeCommand())
	p := d.runPurge(ctx)
	if p.Exit == 0 {
		d.tally.acknowledge(time.Now(), after)
	}
	p.CloudflareCalls = d.cloudflareCalls()
	d.mu.Lock()
	d.purged = p
	d.mu.Unlock()
	d.account.note("purge: %s", p.text())
}

// purgeArguments are what CI would say: see to it that every replica runs the new
// version, and that nothing of the retired one is left.
func (d *demo) purgeArguments() []string {
	return []string{"deploy", "--server", d.gateway.control.server, "--token-file", d.gateway.token,
		"--version", after, "--wait", "30s", "--json"}
}

func (d *demo) purgeCommand() string {
	return "edge " + strings.Join(d.purgeArguments(), " ")
}

// runPurge runs the command. Its exit code is what CI trusts; the record that it
// prints is for people.
func (d *demo) runPurge(ctx context.Context) Purge {
	ctx, cancel := context.WithTimeout(ctx, purging)
	defer cancel()
	var out, complaint bytes.Buffer
	command := exec.CommandContext(ctx, d.config.Executable, d.purgeArguments()...)
	command.Stdout, command.Stderr = &out, &complaint
	command.WaitDelay = time.Second
	p := Purge{Steps: []string{}}
	if err := command.Run(); err != nil {
		p.Error = strings.TrimSpace(err.Error() + " " + complaint.String())
		if failed := new(exec.ExitError); !errors.As(err, &failed) {
			p.Exit = -1
			return p
		}
	}
	p.Exit = command.ProcessState.ExitCode()
	var record struct {
		State  string      `json:"state"`
		Error  string      `json:"error"`
		Purged purgeStatus `json:"purged"`
	}
	if err := json.Unmarshal(out.Bytes(), &record); err != nil {
		p.Error = strings.TrimSpace(fmt.Sprintf("%s: no record: %v", p.Error, err))
		return p
	}
	p.ID, p.State = record.Purged.ID, record.State
	for _, step := range record.Purged.Steps {
		p.Steps = append(p.Steps, step.Name)
	}
	if p.Error == "" {
		p.Error = record.Error
	}
	return p
}
