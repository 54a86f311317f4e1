package lb

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"time"
)

// While two versions are live, a file whose name changes with its content is at
// the replicas of one of them. A replica that says that it does not have it is
// believed for its own version only.
const (
	// maxRescues is how many other versions are asked.
	maxRescues = 2
	// rescueWithin is how long each may take to answer: somebody waits, and has an
	// answer already.
	rescueWithin = 10 * time.Second
	// rescueKeeps is how much of the first answer's body is read, to give its slot
	// back, before others are asked.
	rescueKeeps = 64 << 10
)

var errRescueLate = errors.New("another version's replica took too long")

// rescued is resp, or what a replica of another version has where resp says that
// its own has nothing. A replica without a version is one of a version of its own:
// of the one before the application began to tell. Asked are replicas in good
// standing only, none that leaves (DESIGN, 7.3), one of each version, the version
// that most of them run first.
//
// It is no retry: nothing has failed, and neither breaker nor budget hear of it.
func (x *exchange) rescued(resp *http.Response, err error) (*http.Response, error) {
	if err != nil || !x.lacking(resp) {
		return resp, err
	}
	asked := []string{x.trace.Version}
	version, ok := x.otherVersion(asked)
	if !ok {
		return resp, nil
	}
	kept := false
	defer func() {
		if !kept { // also on a panic of the caller's hooks
			_ = resp.Body.Close()
		}
	}()
	before := *x.trace
	patient := keepStart(resp)
	for ; ok && len(asked) <= maxRescues; version, ok = x.otherVersion(asked) {
		asked = append(asked, version)
		if found := x.askOther(version, patient); found != nil {
			x.trace.Rescued = true
			x.pool.rescued.Add(1)
			return found, nil
		}
	}
	kept = true
	x.trace.Replica, x.trace.Address, x.trace.Version = before.Replica, before.Address, before.Version
	return resp, nil
}

// lacking reports that the replica does not have what others may have.
func (x *exchange) lacking(resp *http.Response) bool {
	t := x.trace
	if t == nil || t.Absent == nil || !bodyless(x.in) || x.in.Context().Err() != nil {
		return false
	}
	get := x.in.Method == "" || x.in.Method == http.MethodGet || x.in.Method == http.MethodHead
	return get && t.Absent(x.in, resp)
}

// has reports an answer of somebody who has it, be it a part, or nothing new.
func (x *exchange) has(resp *http.Response) bool {
	switch status := resp.StatusCode; {
	case status >= 200 && status < 300, status == http.StatusNotModified, status == http.StatusRequestedRangeNotSatisfiable:
		return !x.trace.Absent(x.in, resp)
	}
	return false
}

// keepStart reads a short body to its end, so that its slot is free; then it
// reports true. All of the body can be read still.
func keepStart(resp *http.Response) (ended bool) {
	src := resp.Body
	start, err := io.ReadAll(io.LimitReader(src, rescueKeeps+1))
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(start), src), src} // which says again how it ended
	return err != nil || len(start) <= rescueKeeps
}

// otherVersion is the version to ask next.
func (x *exchange) otherVersion(asked []string) (version string, ok bool) {
	x.look()
	runs := make(map[string]int)
	for _, r := range x.view.members {
		if known := r.identity.Load().version; x.spotless(r) && !slices.Contains(asked, known) {
			runs[known]++
		}
	}
	for known, n := range runs {
		if !ok || n > runs[version] || n == runs[version] && known > version {
			version, ok = known, true
		}
	}
	return version, ok
}

// spotless reports whether r is in good standing beyond doubt.
func (x *exchange) spotless(r *replica) bool {
	record := r.record.Load()
	return r.is() == up && !record.ejection.on() && record.breaker.Load().closed() && !x.hasTried(r)
}

// askOther asks a replica of a version, and returns its answer if it has what was
// asked for, else nil. A patient request, which holds no slot, waits for one.
func (x *exchange) askOther(version string, patient bool) *http.Response {
	s, ok := x.takeOf(version)
	if q := &x.view.settings.Queue; !ok && patient {
		ok = x.pool.rescuers.wait(x.in.Context(), q.Wait.D(), q.Length, func() bool {
			s, ok = x.takeOf(version)
			return ok
		}) == ""
	}
	if !ok {
		return nil
	}
	y := &exchange{pool: x.pool, view: x.view, in: x.in, trace: x.trace, tries: x.tries, tried: x.tried, attempts: x.attempts, errand: true}
	resp, err := y.run(s)
	x.tried, x.attempts = y.tried, y.attempts
	if err != nil {
		return nil
	}
	if !x.has(resp) {
		_ = resp.Body.Close() // Its connection goes with it.
		return nil
	}
	return resp
}

// takeOf takes a slot of the replica of a version that has the least to do.
func (x *exchange) takeOf(version string) (slot, bool) {
	x.look()
	var least *replica
	for _, r := range x.view.members {
		if r.identity.Load().version != version || !x.spotless(r) || x.full(r) {
			continue
		}
		if least == nil || r.inflight.Load() < least.inflight.Load() {
			least = r
		}
	}
	if least == nil {
		return slot{}, false
	}
	return x.claim(least)
}

// run makes one try, and passes on what it came to. Who is late has done nothing
// wrong.
func (x *exchange) run(s slot) (*http.Response, error) {
	x.hold(s)
	defer x.leave()
	ctx, cancel := context.WithCancelCause(x.in.Context())
	x.ctx, x.stop = ctx, cancel
	timer := time.AfterFunc(rescueWithin, func() { cancel(errRescueLate) })
	resp, err := x.send()
	o := x.outcomeOf(resp, err)
	if !timer.Stop() {
		o = neutral
		if err == nil {
			_ = resp.Body.Close() // Its context has ended.
			resp, err = nil, errRescueLate
		}
	}
	return x.deliver(resp, err, o)
}
