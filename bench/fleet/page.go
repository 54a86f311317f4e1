package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/edgegw/edge/bench/gateway"
	"github.com/edgegw/edge/bench/machine"
)

// page writes the results.
func page(o options, version string, r result) string {
	var b strings.Builder
	said := "kept"
	if err := r.verdict(); err != nil {
		said = "NOT kept: " + err.Error()
	}
	purges, deploys := r.history.Acknowledged()
	stale := len(r.violations) - len(r.failures())
	fmt.Fprintf(&b, `# The fleet in chaos

Does exit code 0 of `+"`edge purge`"+` and `+"`edge deploy`"+` mean what it says, whatever happens to gateways and Redis? From the acknowledgement on, nobody may get what was made before a purge, or another version than the one deployed, from any node or any data centre of the CDN. Written by `+"`make soak-fleet`"+`; README.md says how.

**%s**: %d answers in %s to visitors of %d nodes and 2 data centres, %d of them stale after an acknowledgement, %d failed without an excuse.

- %d of %d purges and %d of %d deploys were acknowledged with exit code 0; %d exit codes contradicted what was the case
- %d answers of nodes that did not trust their cache at that moment, and asked a replica
- %d requests without an answer, or with a 5xx, were to a node that was killed or stopped meanwhile

`, said, len(r.history.Reads), r.took.Round(time.Second), nodes, stale, len(r.failures()),
		purges, len(r.history.Purges), deploys, len(r.history.Deploys), len(r.lies), r.behind, r.excused)

	b.WriteString("| what happened | times |\n| --- | --: |\n")
	for _, m := range mischiefs {
		fmt.Fprintf(&b, "| %s | %d |\n", m.name, r.done[m.name])
	}
	b.WriteString("\n" + gateway.ExitTable(r.exits))
	b.WriteString("\n| answers came from | answers |\n| --- | --: |\n")
	for _, from := range slices.Sorted(maps.Keys(r.from)) {
		fmt.Fprintf(&b, "| %s | %d |\n", from, r.from[from])
	}
	var calls []string
	for _, d := range r.deploys {
		calls = append(calls, fmt.Sprintf("%d (%d)", d.calls, d.wrong))
	}
	fmt.Fprintf(&b, `
Calls that Cloudflare accepted for versions that were retired, from the start of each acknowledged deploy to its end, and in brackets how often something above was going on, or just over, meanwhile: %s. Two are allowed, and two more for each of these: a call that was made, and not written down, is made again.

The nodes have a cache in common (`+"`cache { shared }`"+`) in the Redis to which all of this happens; what came from there is counted above.

The judge is `+"`internal/purge/history`"+`: each answer carries the version and the moment at which a replica made it, each purge and deploy the moments of its call and its acknowledgement. The CDN is `+"`internal/purge/standin/cdn`"+`: two tiers, purged one after the other within 0.8 s of the acceptance, which store what is under way meanwhile.

- edge %s
`, strings.Join(calls, ", "), version)
	for _, fact := range machine.Facts() {
		fmt.Fprintf(&b, "- %s: %s\n", fact.Name, fact.Value)
	}
	fmt.Fprintf(&b, "\nCommand, in `bench`: `go run ./fleet -duration %s -replicas %d -visitors %d -seed %d -lease %s`\n",
		o.duration, o.replicas, o.visitors, o.seed, o.lease)
	return b.String()
}
