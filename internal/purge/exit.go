package purge

// Exit codes of an order, as the command line gives them to CI.
const (
	ExitDone        = 0 // done, and verified if asked
	ExitNotAllowed  = 3 // a target refused the token
	ExitPartial     = 4 // partial, or still being retried
	ExitRateLimited = 5 // rate limited past the deadline, or for as long as the caller waited
	ExitStale       = 6 // applied, but verification still sees the old state
	ExitGate        = 7 // the rollout gate was not reached, nothing was purged
)

// ExitCode is the exit code for a record at the moment the caller stops
// waiting, whether or not the order is finished. An order that waits for its
// gate counts as one whose gate was not reached.
func ExitCode(r Record) int {
	switch {
	case r.State == Done, r.State == Planned:
		return ExitDone
	case r.Expect != "" && !r.Did(StepGate):
		return ExitGate
	}
	code := ExitPartial
	for _, t := range r.Targets {
		if t.Error == nil {
			continue
		}
		// A token to be fixed outranks a limit to be waited out.
		switch t.Error.Kind {
		case NotAllowed:
			return ExitNotAllowed
		case RateLimited:
			code = ExitRateLimited
		}
	}
	if code == ExitPartial && r.Did(StepVerify) && r.stale() {
		return ExitStale
	}
	return code
}

// stale reports whether a verified URL still shows the old state.
func (r Record) stale() bool {
	for _, v := range r.Verified {
		if !v.OK {
			return true
		}
	}
	return false
}
