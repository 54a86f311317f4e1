package cli

import "fmt"

// scalingView is what a table shows of how many replicas there should be.
type scalingView struct {
	Desired     int     `json:"desired_replicas"`
	Why         string  `json:"why"`
	Concurrency float64 `json:"concurrency"`
	Target      float64 `json:"target"`
	Min         int     `json:"min"`
	Max         int     `json:"max"`
	Utilisation float64 `json:"utilisation"`
}

// printScaling says nothing of a pool with nothing to reckon with.
func printScaling(out *console, s scalingView) {
	if s.Desired == 0 {
		return
	}
	out.say("  autoscale: %d wanted of %d to %d (%s), %.1f requests at a time for %s each, %.0f%% used",
		s.Desired, s.Min, s.Max, printable(s.Why), s.Concurrency, fmt.Sprintf("%g", s.Target), 100*s.Utilisation)
}
