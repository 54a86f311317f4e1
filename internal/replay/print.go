package replay

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/edgegw/edge/internal/unit"
)

// Print writes the report for people, with at most so many changes. before names
// what the candidate is compared with.
func Print(w io.Writer, r Report, before string, most int) error {
	const stamp = "2006-01-02 15:04:05"
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	say := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) } // kept until Flush, which has the error
	say("%d requests from %s to %s", r.Requests, r.First.UTC().Format(stamp), r.Last.UTC().Format(stamp))
	if r.Other > 0 {
		say("%d lines are no records of requests", r.Other)
	}
	say("")
	say("\t%s\tcandidate", before)
	say("hit ratio\t%.1f %%\t%.1f %%", 100*r.Before.HitRatio(), 100*r.After.HitRatio())
	say("origin requests\t%d\t%d", r.Before.Origin, r.After.Origin)
	say("origin bytes\t%s\t%s", unit.Bytes(r.Before.Bytes), unit.Bytes(r.After.Bytes))
	say("")
	if len(r.Changes) == 0 {
		say("no URL's verdict changes")
		return out.Flush()
	}
	say("verdicts that change: %d", len(r.Changes))
	say("")
	say("requests\turl\t%s\tcandidate", before)
	for _, c := range r.Changes[:min(most, len(r.Changes))] {
		say("%d\t%s\t%s\t%s", c.Requests, c.URL, c.Before, c.After)
	}
	if left := len(r.Changes) - most; left > 0 {
		say("… and %d more: --changes %d, or --json", left, len(r.Changes))
	}
	if r.Uncounted > 0 {
		say("%d requests of further URLs change too", r.Uncounted)
	}
	return out.Flush()
}
