package purge

import (
	"slices"

	"github.com/edgegw/edge/internal/unit"
)

// plan is the record of a dry run: the steps that would be applied, and what
// they would cost. Nothing is journaled, sent or purged.
func (p *Parts) plan(r Record) Record {
	r.State = Planned
	for _, name := range steps(r) {
		r.Steps = append(r.Steps, Step{Name: name})
	}
	r.Targets = slices.Clone(r.Targets)
	for i := range r.Targets {
		r.Targets[i].State = Planned
		planner, ok := p.target(r.Targets[i].Name).(Planner)
		if !ok {
			continue
		}
		r.Targets[i] = r.Targets[i].plus(planner.Plan(r.Order, 2))
		r.Takes = max(r.Takes, r.Targets[i].RateLimited)
	}
	if len(r.Targets) > 0 {
		s := p.Settings.withDefaults()
		r.Takes += unit.Duration(s.settle(r.Order) + s.spread(r.Order))
	}
	r.Exit = ExitCode(r)
	return r
}
