package cli

import (
	"fmt"
	"strings"
	"time"
)

// scalingView is what a table shows of how many replicas there should be.
type scalingView struct {
	Desired     int     `json:"desired_replicas"`
	Why         string  `json:"why"`
	Concurrency float64 `json:"concurrency"`
	Target      float64 `json:"target"`
	Min         int     `json:"min"`
	Max         int     `json:"max"`
	Utilisation float64 `json:"utilisation"`
	Driver      *struct {
		Driver   string    `json:"driver"`
		Told     int       `json:"told"`
		Draining []string  `json:"draining"`
		Problem  string    `json:"problem"`
		NextTry  time.Time `json:"next_try"`
		Held     string    `json:"held_back"`
	} `json:"driver"`
}

// printScaling says nothing of a pool with nothing to reckon with.
func printScaling(out *console, s scalingView) {
	if s.Desired == 0 {
		return
	}
	out.say("  autoscale: %d wanted of %d to %d (%s), %.1f requests at a time for %s each, %.0f%% used",
		s.Desired, s.Min, s.Max, printable(s.Why), s.Concurrency, fmt.Sprintf("%g", s.Target), 100*s.Utilisation)
	d := s.Driver
	if d == nil {
		return
	}
	line := fmt.Sprintf("  driver %s: told %d", printable(d.Driver), d.Told)
	if len(d.Draining) > 0 {
		line += ", draining " + printable(strings.Join(d.Draining, ", "))
	}
	if d.Held != "" {
		line += "; " + printable(d.Held)
	}
	if d.Problem != "" {
		line += fmt.Sprintf("; FAILING: %s; next try %s", printable(d.Problem), stamp(d.NextTry))
	}
	out.say("%s", line)
}
