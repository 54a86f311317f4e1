// Package autoscale reckons how many replicas a pool should have, and asks
// whoever runs them for that many. What is wanted is a pure function of what
// was measured (Decide); a Driver acts on it.
package autoscale

import (
	"errors"
	"fmt"
	"time"

	"github.com/edgegw/edge/internal/named"
	"github.com/edgegw/edge/internal/unit"
)

// Config says how many replicas a pool should have, and who is told. The zero
// value is valid: every default, and nobody is told.
type Config struct {
	// Min and Max bound the number of replicas. Defaults 1 and 10.
	Min int `json:"min,omitempty"`
	Max int `json:"max,omitempty"`

	// Target is how many requests at a time one replica should have, those that
	// wait included. Default 70% of queue max_inflight: the rest is room for the
	// time that a new replica takes to start.
	Target int `json:"target,omitempty"`

	// Window is the time over which requests are averaged. Default 1m. A burst
	// is seen in a tenth of it.
	Window unit.Duration `json:"window,omitzero"`

	// Up is how long more must be wanted before more are asked for; a burst
	// does not wait. Default none.
	Up unit.Duration `json:"up,omitzero"`

	// Down is how long fewer must be wanted before fewer are asked for. Default
	// 5m.
	Down unit.Duration `json:"down,omitzero"`

	// Tolerance is how far from Target the average may be before the number
	// changes. Default 10%.
	Tolerance unit.Ratio `json:"tolerance,omitzero"`

	// Driver makes the number so. Default none: the number is published only.
	Driver named.Spec `json:"driver,omitzero"`
}

// busyShare is how full replicas should be when nothing else is said. Knative
// has the same default (container-concurrency-target-percentage: 70).
const busyShare = 0.7

const (
	maxReplicas = 1000
	minWindow   = time.Second
	maxWindow   = time.Hour
)

// Settings are a Config with every default filled in, for one pool.
type Settings struct {
	Min, Max         int
	Target           float64 // 0 when there is nothing to reckon with
	Window, Up, Down time.Duration
	Tolerance        float64
}

// Settings fills in the defaults. A replica of the pool works on maxInflight
// requests at a time; none or less says that there is no limit.
//
// The window is Knative's stable-window; down and tolerance are those of the
// Kubernetes HPA (stabilizationWindowSeconds 300,
// --horizontal-pod-autoscaler-tolerance 0.1), and so is no wait for up.
func (c Config) Settings(maxInflight int) Settings {
	s := Settings{
		Min: c.Min, Max: c.Max, Target: float64(c.Target),
		Window: c.Window.Or(time.Minute), Up: c.Up.D(), Down: c.Down.Or(5 * time.Minute),
		Tolerance: c.Tolerance.Or(0.1),
	}
	if s.Min == 0 {
		s.Min = 1
	}
	if s.Max == 0 {
		s.Max = max(10, s.Min)
	}
	if s.Target == 0 && maxInflight > 0 {
		s.Target = busyShare * float64(maxInflight)
	}
	return s
}

// Validate returns every mistake of c at once, or nil, for a pool whose
// replicas work on maxInflight requests at a time.
func (c Config) Validate(maxInflight int) error {
	var errs []error
	for _, n := range []struct {
		word string
		n    int
		most int
	}{{"min", c.Min, maxReplicas}, {"max", c.Max, maxReplicas}, {"target", c.Target, 1e6}} {
		if n.n < 0 || n.n > n.most {
			errs = append(errs, fmt.Errorf("autoscale %s %d: want a number from 1 to %d", n.word, n.n, n.most))
		}
	}
	if c.Max > 0 && c.Min > c.Max {
		errs = append(errs, fmt.Errorf("autoscale min %d: want at most max, %d", c.Min, c.Max))
	}
	if c.Window != 0 && (c.Window.D() < minWindow || c.Window.D() > maxWindow) {
		errs = append(errs, fmt.Errorf("autoscale window %s: want a duration from %s to %s", c.Window, unit.Duration(minWindow), unit.Duration(maxWindow)))
	}
	for _, d := range []struct {
		word string
		d    unit.Duration
	}{{"up", c.Up}, {"down", c.Down}} {
		if d.d < 0 || d.d.D() > maxWindow {
			errs = append(errs, fmt.Errorf("autoscale %s %s: want a duration of at most %s", d.word, d.d, unit.Duration(maxWindow)))
		}
	}
	if !(c.Tolerance >= 0 && c.Tolerance < 1) {
		errs = append(errs, fmt.Errorf("autoscale tolerance %v: want a share below 1, such as 10%%", float64(c.Tolerance)))
	}
	if c.Driver.Name == "" {
		return errors.Join(errs...)
	}
	if _, err := Drivers.New(c.Driver); err != nil {
		errs = append(errs, fmt.Errorf("autoscale driver: %w", err))
	}
	if c.Settings(maxInflight).Target == 0 {
		errs = append(errs, errors.New("autoscale: without queue max_inflight there is no default: want target, the requests at a time for one replica"))
	}
	return errors.Join(errs...)
}
