package lb

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// serving is a process that has been up for as many minutes as its number.
func serving(id int) procView {
	return procView{id: id, current: true, up: true, everUp: true, listed: true, age: time.Duration(id) * time.Minute}
}

func with(v procView, change func(*procView)) procView {
	change(&v)
	return v
}

func outdated(v procView) procView { v.current = false; return v }
func begun(v procView) procView {
	v.up, v.everUp, v.age = false, false, time.Second
	return v
}
func gonesick(v procView) procView { v.up, v.sickFor = false, sickLong; return v }
func drains(v procView) procView   { v.phase = withdrawn; return v }

func TestPlans(t *testing.T) {
	for name, c := range map[string]struct {
		want  int
		views []procView
		plan  procPlan
	}{
		"nothing there: all at once":                    {3, nil, procPlan{start: 3}},
		"as many as wanted: nothing":                    {2, []procView{serving(1), serving(2)}, procPlan{}},
		"one is missing":                                {3, []procView{serving(1), serving(2)}, procPlan{start: 1}},
		"those that start count":                        {3, []procView{serving(1), begun(serving(2)), begun(serving(3))}, procPlan{}},
		"too many: the youngest goes":                   {1, []procView{serving(2), serving(1)}, procPlan{withdraw: []int{1}}},
		"too many: the idle one goes before":            {1, []procView{with(serving(1), func(v *procView) { v.busy = 3 }), serving(2)}, procPlan{withdraw: []int{2}}},
		"too many: who does not serve goes first":       {1, []procView{serving(1), begun(serving(2))}, procPlan{withdraw: []int{2}}},
		"wanted again while it drains: taken back":      {2, []procView{serving(1), drains(serving(2))}, procPlan{offer: []int{2}}},
		"not if an operator wanted it gone":             {2, []procView{serving(1), drains(with(serving(2), func(v *procView) { v.doomed = true }))}, procPlan{start: 1}},
		"not if it is outdated":                         {2, []procView{serving(1), drains(outdated(serving(2)))}, procPlan{start: 1}},
		"the pool has finished with it: stopped":        {1, []procView{serving(1), with(drains(serving(2)), func(v *procView) { v.listed = false })}, procPlan{stop: []int{2}}},
		"not while the pool lists it":                   {1, []procView{serving(1), drains(serving(2))}, procPlan{}},
		"all outdated: one new one beside them":         {2, []procView{outdated(serving(1)), outdated(serving(2))}, procPlan{start: 1}},
		"the new one starts: wait":                      {2, []procView{outdated(serving(1)), outdated(serving(2)), begun(serving(3))}, procPlan{}},
		"the new one is up: an old one goes, next":      {2, []procView{outdated(serving(1)), outdated(serving(2)), serving(3)}, procPlan{start: 1, replace: []int{1}}},
		"an outdated one that never was up goes":        {1, []procView{outdated(begun(serving(1)))}, procPlan{start: 1, replace: []int{1}}},
		"an old one crashed: two may start":             {3, []procView{outdated(serving(1)), begun(serving(2))}, procPlan{start: 1}},
		"sick for a moment: kept":                       {1, []procView{with(serving(1), func(v *procView) { v.up, v.sickFor = false, time.Second })}, procPlan{}},
		"sick for long: another beside it":              {1, []procView{gonesick(serving(1))}, procPlan{start: 1}},
		"sick for long, and another is up: it goes":     {1, []procView{gonesick(serving(1)), serving(2)}, procPlan{replace: []int{1}}},
		"all sick for long: one beside them, not three": {3, []procView{gonesick(serving(1)), gonesick(serving(2)), gonesick(serving(3))}, procPlan{start: 1}},
		"not up in time":                                {1, []procView{with(begun(serving(1)), func(v *procView) { v.age = time.Hour })}, procPlan{start: 1, late: []int{1}}},
		"drained by hand: replaced":                     {2, []procView{serving(1), with(serving(2), func(v *procView) { v.held = true })}, procPlan{start: 1, replace: []int{2}}},
		"asked to finish: no longer there":              {1, []procView{with(serving(1), func(v *procView) { v.phase = stopping })}, procPlan{start: 1}},
		"fewer wanted in the middle of a replacement":   {1, []procView{outdated(serving(1)), outdated(serving(2)), serving(3)}, procPlan{replace: []int{1, 2}}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := planProcesses(c.want, c.views, time.Minute); fmt.Sprint(got) != fmt.Sprint(c.plan) {
				t.Errorf("%+v: want %+v", got, c.plan)
			}
		})
	}
}

// yard is processes in numbers: each is up after a while, drains for a while,
// and is gone. It carries out plans.
type yard struct {
	t     testing.TB
	views []procView
	last  int
	dice  *rand.Rand
}

func (y *yard) find(id int) *procView {
	return &y.views[slices.IndexFunc(y.views, func(v procView) bool { return v.id == id })]
}

// follow carries a plan out and checks that it names nobody twice or in vain.
func (y *yard) follow(plan procPlan) {
	for _, ids := range [][]int{plan.late, plan.replace} {
		for _, id := range ids {
			v := y.find(id)
			if v.phase != offered {
				y.t.Fatalf("withdraws %d twice", id)
			}
			v.phase, v.doomed = withdrawn, true
		}
	}
	for _, id := range plan.withdraw {
		v := y.find(id)
		if v.phase != offered {
			y.t.Fatalf("withdraws %d twice", id)
		}
		v.phase = withdrawn
	}
	for _, id := range plan.offer {
		v := y.find(id)
		if v.phase != withdrawn || v.doomed || !v.current {
			y.t.Fatalf("takes back %+v", *v)
		}
		v.phase = offered
	}
	for _, id := range plan.stop {
		if v := y.find(id); v.listed || v.phase != withdrawn {
			y.t.Fatalf("stops %+v, which the pool still has", *v)
		} else {
			v.phase = stopping
		}
	}
	for range plan.start {
		y.last++
		y.views = append(y.views, procView{id: y.last, current: true, listed: true})
	}
}

// pass lets time pass: what starts may come up, what drains may be done.
func (y *yard) pass(by time.Duration) {
	for i := range y.views {
		v := &y.views[i]
		v.age += by
		switch {
		case v.phase == offered && !v.up && y.dice.IntN(3) == 0:
			v.up, v.everUp, v.sickFor = true, true, 0
		case v.phase == offered && !v.up && v.everUp:
			v.sickFor += by
		case v.phase == withdrawn && y.dice.IntN(3) == 0:
			v.listed, v.up = false, false
		}
	}
	y.views = slices.DeleteFunc(y.views, func(v procView) bool { return v.phase == stopping && y.dice.IntN(2) == 0 })
}

func (y *yard) count(of func(procView) bool) (n int) {
	for _, v := range y.views {
		if of(v) {
			n++
		}
	}
	return n
}

func isServing(v procView) bool { return v.phase == offered && v.up }

// Whatever is asked for, in whatever order, what served is kept until another
// serves, and in the end there is what was asked for, with no more than one
// beside it on the way once nothing new is asked for.
func TestPlansLeadThere(t *testing.T) {
	for seed := range uint64(500) {
		y := &yard{t: t, dice: rand.New(rand.NewPCG(seed, 3))}
		want := 1 + y.dice.IntN(6)
		served := 0
		for step := range 200 {
			calm := step >= 120 // nothing new happens from here on
			if !calm {
				switch y.dice.IntN(12) {
				case 0:
					want = 1 + y.dice.IntN(6)
				case 1: // another program
					for i := range y.views {
						y.views[i].current = false
					}
				case 2: // one falls ill, or over
					if n := len(y.views); n > 0 {
						i := y.dice.IntN(n)
						if y.dice.IntN(2) == 0 {
							y.views = slices.Delete(y.views, i, i+1)
						} else if y.views[i].phase == offered {
							y.views[i].up = false
						}
					}
				}
				served = min(want, y.count(isServing))
			}
			y.follow(planProcesses(want, y.views, time.Minute))
			if there := y.count(func(v procView) bool { return v.phase == offered }); step >= 150 && there > want+1 {
				t.Fatalf("seed %d, step %d: %d are there: want at most %d", seed, step, there, want+1)
			}
			if now := y.count(isServing); now < min(served, want) {
				t.Fatalf("seed %d, step %d: %d serve where %d did, and %d are wanted", seed, step, now, served, want)
			}
			y.pass(time.Second)
			served = min(want, y.count(isServing))
		}
		current := func(v procView) bool { return isServing(v) && v.current }
		if y.count(current) != want || len(y.views) != want {
			t.Fatalf("seed %d: in the end %+v: want %d that serve", seed, y.views, want)
		}
	}
}
