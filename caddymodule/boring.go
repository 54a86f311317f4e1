package caddymodule

import (
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/edgegw/edge/internal/sampling"
	"github.com/edgegw/edge/internal/unit"
)

// LogSampling says which boring requests have a record in the access log. The
// others have none, which is decided before anything is made of it. Boring is a
// request that one replica at most was asked for, that was answered at once,
// whole and below 500, and of which there is no trace.
type LogSampling struct {
	// First is how many boring requests of each second are recorded; -1 stands
	// for none. Default: 100.
	First int `json:"first,omitempty"`

	// Share of the others that are recorded. Default: 1 %.
	Share unit.Ratio `json:"share,omitempty"`

	// Slow is what a request must take to be no longer boring. Default: 1s.
	Slow unit.Duration `json:"slow,omitempty"`
}

const (
	defaultFirst = 100
	defaultShare = 0.01
	defaultSlow  = time.Second
)

// boredom keeps count of boring requests.
type boredom struct {
	sampler *sampling.Sampler
	slow    time.Duration
}

// boredom is nil when each request is recorded.
func (s *LogSampling) boredom() *boredom {
	if s == nil {
		return nil
	}
	first, share, slow := s.First, float64(s.Share), time.Duration(s.Slow)
	switch {
	case first == 0:
		first = defaultFirst
	case first < 0:
		first = 0
	}
	if share == 0 {
		share = defaultShare
	}
	if slow == 0 {
		slow = defaultSlow
	}
	return &boredom{sampler: sampling.New(sampling.RateOf(first, share)), slow: slow}
}

// records reports whether a boring request that took this long has a record.
func (b *boredom) records(now time.Time, took time.Duration) bool {
	return took >= b.slow || b.sampler.Keep(now)
}

// boring reports whether the request, which was answered with code, went as
// nearly all do. What an error comes to is not known here.
func (ex *exchange) boring(code int, err error) bool {
	return err == nil && code != 0 && code < http.StatusInternalServerError && ex.attempts() <= 1 && ex.spans == nil
}

// record has the access log tell of the request, unless it is one of the boring
// ones that are left out.
func (ex *exchange) record(r *http.Request, code int, err error) {
	ex.recorded = true
	if a := live.Load(); a != nil && a.bored != nil && ex.vars != nil && ex.boring(code, err) {
		now := time.Now()
		if !a.bored.records(now, now.Sub(ex.began)) {
			ex.unrecorded()
			return
		}
	}
	ex.log(r)
}

// unrecorded has the request left out.
func (ex *exchange) unrecorded() {
	if ex.own != nil {
		ex.own.skip = true
		return
	}
	ex.vars[caddyhttp.LogSkipVar] = true
}

// recordAgain is for a handler of a route of errors, which comes after the record.
func (ex *exchange) recordAgain(r *http.Request) {
	if ex.recorded {
		ex.log(r)
	}
}

// parseLogSampling reads
//
//	log_sampling {
//	    first <number>|none
//	    share <share>
//	    slow  <duration>
//	}
func (a *App) parseLogSampling(d *caddyfile.Dispenser) error {
	s := new(LogSampling)
	a.LogSampling = s
	return block(func() words {
		return words{"first": countOrNone(&s.First), "share": ratio(&s.Share), "slow": duration(&s.Slow)}
	})(d)
}
