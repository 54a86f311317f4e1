package lb

import (
	"os"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/process"
)

// newWarden runs a program of one word, for a pool that makes of every address
// what seen says. It starts nothing by itself.
func newWarden(seen *sight, failed *[]error) *warden {
	return &warden{
		launch: launch{program: program{command: []string{"server"}, host: "127.0.0.1"}, replicas: 1, ready: time.Minute},
		feed: Feed{
			Found: func([]Address) {}, Failed: func(err error) { *failed = append(*failed, err) },
			look: func(Address) sight { return *seen },
		},
	}
}

func TestHalfAMinuteOfRunningForgivesWhatWas(t *testing.T) {
	seen, failed := &sight{listed: true, state: up}, []error{}
	w := newWarden(seen, &failed)
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	w.procs = []*proc{{id: 1, program: w.launch.program, address: "127.0.0.1:1", began: began}}
	w.failures, w.problem = 3, os.ErrInvalid
	w.views(began.Add(settled - time.Second))
	if w.failures != 3 || w.problem != nil {
		t.Errorf("a second before: %d failures, problem %v: want three, and none now that one is up", w.failures, w.problem)
	}
	seen.state = sick
	w.views(began.Add(settled + time.Second))
	if w.failures != 3 {
		t.Errorf("sick after half a minute: %d failures: want three still", w.failures)
	}
	seen.state = up
	if w.views(began.Add(settled + time.Second)); w.failures != 0 {
		t.Errorf("up for half a minute: %d failures: want none", w.failures)
	}
}

func TestSicknessCountsFromWhenItBegan(t *testing.T) {
	seen, failed := &sight{listed: true, state: up}, []error{}
	w := newWarden(seen, &failed)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	w.procs = []*proc{{id: 1, program: w.launch.program, address: "127.0.0.1:1", began: now}}
	w.views(now)
	seen.state = sick
	w.views(now.Add(time.Second))
	if v := w.views(now.Add(time.Second + sickLong))[0]; v.sickFor != sickLong || !v.failing() {
		t.Errorf("%+v: want it sick for a minute, and failing", v)
	}
	seen.state = up
	w.views(now.Add(2 * sickLong))
	seen.state = sick
	if v := w.views(now.Add(2*sickLong + time.Second))[0]; v.sickFor != 0 || v.failing() {
		t.Errorf("%+v: want it to begin anew", v)
	}
}

func TestAnotherProgramHasNotFailedYet(t *testing.T) {
	seen, failed := &sight{}, []error{}
	w := newWarden(seen, &failed)
	now := time.Now()
	for want := 1; want <= 4; want++ {
		w.failed(now, os.ErrInvalid)
		pause := process.Backoff(want)
		if got := w.next.Sub(now); got < pause*9/10 || got > pause*11/10 {
			t.Errorf("after %d failures, the next start is in %s: want about %s", want, got, pause)
		}
	}
	same := w.launch
	same.grace = time.Second
	if w.configure(same); w.failures != 4 {
		t.Errorf("the same program: %d failures: want four still", w.failures)
	}
	other := w.launch
	other.command = []string{"server", "-v2"}
	if w.configure(other); w.failures != 0 || now.Before(w.next) {
		t.Errorf("another program: %d failures, next start in %s: want it started at once", w.failures, w.next.Sub(now))
	}
}

func TestOneThatWasToGoAnywayIsNoFailure(t *testing.T) {
	for phase, want := range map[phase]int{offered: 1, withdrawn: 0, stopping: 0} {
		seen, failed := &sight{}, []error{}
		w := newWarden(seen, &failed)
		child, err := process.Start(process.Spec{Command: []string{os.Args[0]}, Env: []string{childEnv + "=broken"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		<-child.Ended()
		p := &proc{id: 1, program: w.launch.program, child: child, phase: phase, began: time.Now()}
		w.procs = []*proc{p}
		w.exited(p, time.Now())
		if w.failures != want || len(failed) != want || len(w.procs) != 0 {
			t.Errorf("phase %d: %d failures, %v, %d left: want %d, and none left", phase, w.failures, failed, len(w.procs), want)
		}
	}
}
