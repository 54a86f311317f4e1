package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/edgegw/edge/bench/machine"
)

// elsewhere are the criteria that are held in virtual time, or by tests, alone.
var elsewhere = []struct{ criterion, tests string }{
	{"half of the replicas fast, half slow", "TestLeastTimeInSimulation"},
	{"five of ten replicas are new; all are new", "TestLeastTimeInSimulation"},
	{"ejections: exact timeline, cap, backoff, end", "TestEjectionsLastTwiceAsLongEachTime, TestAMinuteInRotationTakesOneDoublingBack, TestTheTimelineOfEjections, TestWhoIsEjected"},
	{"breaker: closed, open, half-open; a probe that is cancelled, or upgraded", "TestBreakerTimeline, TestAProbeThatSaysNothingDoesNotWedge, TestOneProbeAtATime"},
	{"1 → 10 → 1 replicas, a hundred replacements, kill -9, with GET, POST, SSE and WebSockets", "TestChurnUnderLoadFailsNothing, and `make churn`: CHURN.md"},
	{"sticky: keys that move, sessions that are pinned anew once", "TestOnlyTheKeysOfWhoComesOrGoesMove, TestAVisitorIsPinnedAnewExactlyOnce"},
	{"bounded load", "TestNobodyGetsMoreThanTheBound"},
	{"a reload keeps breakers, counts and health", "TestAReloadKeepsWhatIsKnown"},
	{"accounting: nothing in flight is left", "TestClaimsThatOverlapKeepTheLimit, TestABodyIsClosedWhateverHappens, TestAWebSocketThatEndsIsNotCountedAnyMore, TestAClientThatLeavesSaysNothingAboutTheReplica"},
	{"a body that is cut in the middle", "TestACutBodyCountsAndABodyNotReadDoesNot, TestAReplicaThatStallsInTheBodyFails"},
	{"10,000 connections held", "`make bench-connections`: CONNECTIONS.md"},
	{"proxied CPU for each request, beside Caddy's own reverse_proxy", "`make bench`: RESULTS.md, pass-1k"},
}

// page writes the results.
func page(versions map[string]string, found map[string][]row) string {
	var b strings.Builder
	said := "**kept**"
	if err := verdict(found); err != nil {
		said = "**NOT kept**, see below"
	}
	fmt.Fprintf(&b, `# The pool

Does the pool reach what a pool must reach? On real sockets, with replicas that are processes, and beside peers that are set up as their manuals have it: %s. Written by `+"`make bench-pool`"+`; README.md says how.

| criterion | what is done | bound | edge | held |`, said)
	for _, c := range contestants[1:] {
		fmt.Fprintf(&b, " %s |", c.name)
	}
	b.WriteString("\n| --- | --- | --- | --- | --- |" + strings.Repeat(" --- |", len(contestants)-1) + "\n")
	for _, key := range keys() {
		for _, r := range found[key] {
			held := "yes"
			if !r.Held {
				held = "**no**"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |", r.Criterion, r.Does, r.Bound, r.Numbers[edge.name], held)
			for _, c := range contestants[1:] {
				fmt.Fprintf(&b, " %s |", cmp.Or(r.Numbers[c.name], "–"))
			}
			b.WriteString("\n")
		}
	}
	var missing []string
	for _, key := range keys() {
		if len(found[key]) == 0 {
			missing = append(missing, key)
		}
	}
	if len(missing) > 0 {
		fmt.Fprintf(&b, "\n**Not played: %s.**\n", strings.Join(missing, ", "))
	}
	b.WriteString(`
"–" stands for what a peer was not asked for. Configurations are in ` + "`pool/contestants.go`" + `. Errors are whatever is not the answer of a replica that does well.

The same criteria in virtual time, and those that only tests hold (` + "`internal/lb`" + `, unless it says otherwise):

| criterion | tests |
| --- | --- |
`)
	for _, key := range keys() {
		for _, r := range found[key] {
			fmt.Fprintf(&b, "| %s | %s |\n", r.Criterion, r.Virtual)
		}
	}
	for _, e := range elsewhere {
		fmt.Fprintf(&b, "| %s | %s |\n", e.criterion, e.tests)
	}
	fmt.Fprintf(&b, "\n- edge %s\n- Caddy %s\n- nginx %s\n- HAProxy %s\n", versions["edge"], versions["caddy"], versions["nginx"], versions["haproxy"])
	for _, f := range machine.Known(append(machine.Facts(), machine.Load())...) {
		fmt.Fprintf(&b, "- %s: %s\n", f.Name, f.Value)
	}
	b.WriteString("\nCommand, in `bench`: `go run ./pool`\n")
	return b.String()
}
