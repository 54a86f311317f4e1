package main

import (
	"errors"
	"fmt"

	"github.com/edgegw/edge/internal/purge/history"
)

// failures are the violations that are no stale answers.
func (r *result) failures() []history.Violation { return history.Unanswered(r.violations) }

// verdict is an error if a promise was broken, or if nothing was shown.
func (r *result) verdict() error {
	var errs []error
	if n := len(r.violations); n > 0 {
		errs = append(errs, fmt.Errorf("%d answers that should not have been: %v", n, first(r.violations, 10)))
	}
	if n := len(r.lies); n > 0 {
		errs = append(errs, fmt.Errorf("%d exit codes that were not true: %v", n, first(r.lies, 5)))
	}
	purges, deploys := r.history.Acknowledged()
	if purges < nodes+1 || deploys < 1 {
		errs = append(errs, fmt.Errorf("%d purges and %d deploys were acknowledged: want more than %d, and one", purges, deploys, nodes))
	}
	for _, d := range r.deploys {
		if d.calls > d.most() {
			errs = append(errs, fmt.Errorf("the deploy of %s took %d calls of Cloudflare, with %d troubles on the way: want %d at most", d.version, d.calls, d.wrong, d.most()))
		}
	}
	for from, least := range map[string]int{"lower tier": 100, "node's cache": 100, "replica": 100, "Redis": 10} {
		if r.from[from] < least {
			errs = append(errs, fmt.Errorf("%d answers came from the %s: want %d, or nothing is shown", r.from[from], from, least))
		}
	}
	return errors.Join(errs...)
}
