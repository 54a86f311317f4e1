package purge

import "testing"

func TestExitCode(t *testing.T) {
	did := func(names ...StepName) []Step {
		var steps []Step
		for _, n := range names {
			steps = append(steps, Step{Name: n})
		}
		return steps
	}
	failed := func(kinds ...Kind) []TargetState {
		var states []TargetState
		for _, k := range kinds {
			states = append(states, TargetState{Error: &TargetError{Kind: k}})
		}
		return append(states, TargetState{})
	}
	expect := Order{Expect: "2"}
	cases := map[string]struct {
		record Record
		want   int
	}{
		"done":                                 {Record{State: Done}, 0},
		"a dry run":                            {Record{State: Planned, Order: expect}, 0},
		"just accepted":                        {Record{State: Accepted}, 4},
		"waiting for the gate":                 {Record{State: Accepted, Order: expect}, 7},
		"the gate was passed":                  {Record{State: Running, Order: expect, Steps: did(StepGate)}, 4},
		"the gate was not passed":              {Record{State: Failed, Order: expect}, 7},
		"a target waits for its limit":         {Record{State: Running, Targets: failed(RateLimited)}, 5},
		"a target is down":                     {Record{State: Partial, Targets: failed(Unreachable)}, 4},
		"a target refused the order":           {Record{State: Partial, Targets: failed(Refused)}, 4},
		"limited, and another refuses a token": {Record{State: Partial, Targets: failed(RateLimited, NotAllowed)}, 3},
		"stale when verified":                  {Record{State: Partial, Steps: did(StepVerify), Verified: []Verification{{OK: true}, {}}}, 6},
		"stale, but a target failed":           {Record{State: Partial, Steps: did(StepVerify), Verified: []Verification{{}}, Targets: failed(RateLimited)}, 5},
		"cancelled":                            {Record{State: Canceled, Steps: did(StepNode)}, 4},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := ExitCode(c.record); got != c.want {
				t.Errorf("exit %d: want %d", got, c.want)
			}
		})
	}
}
