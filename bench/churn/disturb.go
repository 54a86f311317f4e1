package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"math/rand/v2"
	"os/exec"
	"time"

	"github.com/edgegw/edge/bench/gateway"
	"github.com/edgegw/edge/bench/peers"
)

// disturbance is something that befalls the gateway, and is over when it returns.
type disturbance struct {
	name string
	do   func(context.Context, *journal, *rand.Rand) error
}

var disturbances = []disturbance{
	{"the configuration loaded again", func(ctx context.Context, j *journal, _ *rand.Rand) error { return j.reload(ctx) }},
	{"the binary replaced by another process of it", func(ctx context.Context, j *journal, _ *rand.Rand) error { return j.handOver(ctx) }},
	{"Redis killed, empty again after up to 10 s", func(ctx context.Context, j *journal, dice *rand.Rand) error {
		return j.site.redis.Outage(ctx, gateway.UpTo(dice, j.spell))
	}},
	{"Redis stopped for up to 10 s and resumed", func(ctx context.Context, j *journal, dice *rand.Rand) error {
		return j.site.redis.Freeze(ctx, gateway.UpTo(dice, j.spell))
	}},
	{"Redis flushed", func(_ context.Context, j *journal, _ *rand.Rand) error { return j.site.redis.Flush() }},
}

// between is the mean time from one disturbance to the next, of runs that are long
// enough for each to come twice.
const between = 15 * time.Second

// disturb does one after the other, each once in another order every time.
func (j *journal) disturb(ctx, until context.Context, o options) error {
	dice := rand.New(rand.NewPCG(o.seed, 5))
	pause := min(between, o.duration/20)
	for until.Err() == nil {
		for _, i := range dice.Perm(len(disturbances)) {
			if !gateway.Pause(until, gateway.UpTo(dice, 2*pause)) {
				return nil
			}
			log.Print(disturbances[i].name)
			if err := disturbances[i].do(ctx, j, dice); err != nil {
				return fmt.Errorf("%s: %w", disturbances[i].name, err)
			}
			j.mu.Lock()
			j.done[disturbances[i].name]++
			j.mu.Unlock()
		}
	}
	return nil
}

// command runs a command of edge's that must succeed, and returns what it printed.
func (s *site) command(ctx context.Context, args ...string) ([]byte, error) {
	c := exec.CommandContext(ctx, s.binary, args...)
	c.Env = peers.Environment(s.dir)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("edge %v: %w\n%s%s", args, err, out, &stderr)
	}
	return out, nil
}

func (j *journal) reload(ctx context.Context) error {
	_, err := j.site.command(ctx, "reload", "--adapter", "caddyfile", "--config", j.site.config, "--address", j.site.admin, "--force")
	return err
}

// handOver has another process take over, which may take a while on a busy machine.
func (j *journal) handOver(ctx context.Context) error {
	out, err := j.site.command(ctx, "handover", "--json", "--wait", "2m", "--server", "http://"+j.site.admin+"/edge")
	if err != nil {
		return err
	}
	var report struct{ PID int }
	if err := json.Unmarshal(out, &report); err != nil || report.PID == 0 {
		return fmt.Errorf("edge handover printed %q: %w", out, err)
	}
	j.site.heir.Store(int64(report.PID))
	return nil
}
