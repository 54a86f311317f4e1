package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/purge"
	"github.com/edgegw/edge/internal/unit"
)

// show prints what is new about the order.
func (p *purging) show() {
	r := p.record
	if p.DryRun {
		return // nothing goes on; the receipt has it all
	}
	p.progress.once(fmt.Sprintf("purge %s %s", r.ID, r.State))
	for _, s := range r.Steps {
		p.progress.once("  " + stepLine(s))
	}
	for _, t := range r.Targets {
		p.progress.once("  " + targetLine(t))
	}
}

func stepLine(s purge.Step) string {
	line := fmt.Sprintf("step %s", s.Name)
	if took := s.Finished.Sub(s.Started); !s.Finished.IsZero() && !s.Started.IsZero() && took >= 0 {
		line += " in " + took.Round(time.Millisecond).String()
	}
	if s.Detail != "" {
		line += ": " + s.Detail
	}
	return line
}

func targetLine(t purge.TargetState) string {
	parts := []string{fmt.Sprintf("target %s %s: %d batches, %d items, %d attempts", t.Name, t.State, t.Batches, t.Items, t.Attempts)}
	if t.State == purge.Planned {
		parts[0] = fmt.Sprintf("target %s planned: %d batches, %d items", t.Name, t.Batches, t.Items)
	}
	if t.Cost != nil {
		parts = append(parts, t.Cost.String())
	}
	if t.RateLimited > 0 {
		parts = append(parts, "rate limited for "+t.RateLimited.String())
	}
	if t.Note != "" {
		parts = append(parts, t.Note)
	}
	if t.Error != nil {
		parts = append(parts, t.Error.Error())
	}
	return strings.Join(parts, "; ")
}

// receipt prints how it ended. Without a record there is nothing to sign for.
func (p *purging) receipt(out *console, code int) {
	r := p.record
	if r == nil {
		return
	}
	if p.DryRun {
		out.say("dry run: nothing was purged")
		for _, s := range r.Steps {
			out.say("  %s", stepLine(s))
		}
	} else {
		out.say("purge %s %s, generation %d%s, exit %d", r.ID, r.State, r.Generation, tookText(*r), code)
	}
	for _, t := range r.Targets {
		out.say("  %s", targetLine(t))
	}
	if r.Takes > 0 {
		out.say("  %s", takesLine(*r))
	}
	for _, w := range r.Warmed {
		out.say("  %s", warmedLine(w))
	}
	for _, v := range p.checked {
		out.say("  %s", p.checkedLine(v))
	}
}

// takesLine is for a dry run.
func takesLine(r purge.Record) string {
	return fmt.Sprintf("would take %s, if nothing has to be tried again", unit.Duration(r.Takes.D().Round(100*time.Millisecond)))
}

func tookText(r purge.Record) string {
	if r.Finished.IsZero() || r.Created.IsZero() {
		return ""
	}
	return ", took " + unit.Duration(r.Finished.Sub(r.Created).Round(time.Millisecond)).String()
}
