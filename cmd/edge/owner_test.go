package main

import (
	"strings"
	"testing"
)

// twin is another process with the same configuration.
func (g *gateway) twin() *gateway {
	return &gateway{t: g.t, url: g.url, stateDir: g.stateDir, config: g.config, env: g.env, log: new(lockedBuffer)}
}

// TestAStateFolderHasOneGateway: a second process on the folder would take the place
// of the first one's journal, and half of its visitors, whom no purge would reach.
func TestAStateFolderHasOneGateway(t *testing.T) {
	t.Parallel()
	o := newCounted(t, "v1")
	first := configure(t, o.address)
	first.start()

	second := first.twin()
	second.launch()
	for running := true; running; {
		select {
		case <-second.ended:
			running = false
		default:
		}
		first.purged(o, "/page")
	}
	if code := second.process.ProcessState.ExitCode(); code != 1 {
		t.Errorf("exit code %d: want 1\n%s", code, second.log)
	}
	for _, want := range []string{"waiting for its end", "another edge runs there: end it first, let it hand over (edge handover), or give this one a folder of its own"} {
		if !strings.Contains(second.log.String(), want) {
			t.Errorf("the second process does not say %q:\n%s", want, second.log)
		}
	}

	third := first.twin()
	third.launch()
	third.eventually("a process that waits", func() bool { return strings.Contains(third.log.String(), "waiting for its end") })
	first.kill()
	third.ready()
	third.purged(o, "/page")
}
