package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/edgegw/edge/internal/httpcache"
	"github.com/edgegw/edge/internal/purge"
	"github.com/edgegw/edge/internal/report"
)

var (
	errorsCaptured = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "edge_errors_captured_total",
		Help: "Reports that the error tracker took, by kind: panic, answer, purge, configuration, fault.",
	}, []string{"kind"})
	errorsDropped = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "edge_errors_dropped_total",
		Help: "Reports that it did not get, by kind and why: flood, queue-full, limited, refused, unreachable.",
	}, []string{"kind", "why"})
)

func init() {
	for _, kind := range report.Kinds() {
		errorsCaptured.WithLabelValues(string(kind))
		for _, why := range report.Drops() {
			errorsDropped.WithLabelValues(string(kind), string(why))
		}
	}
}

func onReport(e report.Event) {
	if e.Outcome == report.Captured {
		errorsCaptured.WithLabelValues(string(e.Kind)).Inc()
		return
	}
	errorsDropped.WithLabelValues(string(e.Kind), string(e.Outcome)).Inc()
}

// parseSentry reads "sentry { … }".
func (a *App) parseSentry(d *caddyfile.Dispenser) error {
	c := new(report.Config)
	a.Sentry = c
	err := block(func() words {
		return words{"dsn": text(&c.DSN), "environment": text(&c.Environment), "release": text(&c.Release)}
	})(d)
	if err != nil || hasPlaceholder(c.DSN) || hasPlaceholder(c.Environment) || hasPlaceholder(c.Release) {
		return err
	}
	if err := c.Validate(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func (a *App) replaceInSentry(replace func(place string, text *string)) {
	if c := a.Sentry; c != nil {
		replace("sentry dsn", &c.DSN)
		replace("sentry environment", &c.Environment)
		replace("sentry release", &c.Release)
	}
}

func (a *App) checkSentry() error {
	if a.Sentry == nil {
		return nil
	}
	return a.Sentry.Validate()
}

// reporter outlives configurations that report to the same tracker, so that a
// reload lets no flood through.
type reporter struct{ *report.Reporter }

type reporterKey struct{ report.Config }

// Destruct gives what waits a moment to go out.
func (r reporter) Destruct() error {
	r.Close()
	return nil
}

// acquireReporter finds or starts the reporter that the configuration wants.
func (a *App) acquireReporter() error {
	if a.Sentry == nil {
		return nil
	}
	config := *a.Sentry
	if config.Release == "" {
		version, _ := versions()
		config.Release = "edge@" + version
	}
	a.reporting = reporterKey{config}
	r, _, err := shared.LoadOrNew(a.reporting, func() (caddy.Destructor, error) {
		r, err := report.New(config, onReport)
		return reporter{r}, err
	})
	if err != nil {
		return err
	}
	a.reports = r.(reporter).Reporter
	return nil
}

func (a *App) releaseReporter() error {
	if a.reports == nil {
		return nil
	}
	a.reports = nil
	_, err := shared.Delete(a.reporting)
	return err
}

// reports is the live configuration's reporter; nil takes no report.
func reports() *report.Reporter {
	if a := live.Load(); a != nil {
		return a.reports
	}
	return nil
}

// facts are what is known of the request, for a report.
func (ex *exchange) facts() map[string]string {
	status, reason := ex.outcome()
	facts := map[string]string{
		"request_id": ex.id, "replica": ex.replica(), "address": ex.trace.Address, "version": ex.version(),
		"cache": status, "cache_reason": reason, "refused": ex.trace.Refused,
	}
	if p := ex.carriedBy(); p != nil {
		facts["pool"] = p.name
	}
	if ex.verdict != nil {
		facts["rule"] = ex.verdict.Rule
	}
	if n := ex.attempts(); n > 0 {
		facts["attempts"] = strconv.Itoa(n)
	}
	return facts
}

// carriedBy is the pool that was asked, for this request or for the fetch that
// it waited for.
func (ex *exchange) carriedBy() *pool {
	if ex.pool != nil {
		return ex.pool
	}
	return ex.origin.pool.Load()
}

// reportAnswer tells of a 5xx, or of an answer that was cut off although its
// client was there. status is 0 for that.
func (ex *exchange) reportAnswer(r *http.Request, status int, err error) {
	to := reports()
	if to == nil || status != 0 && status < http.StatusInternalServerError || status == 0 && r.Context().Err() != nil {
		return
	}
	facts := ex.facts()
	title, text := "answer cut off", ""
	if status != 0 {
		title = fmt.Sprintf("answered %d", status)
		facts["status"] = strconv.Itoa(status)
	}
	if err != nil && !errors.Is(err, errCutOff) {
		text = err.Error()
	}
	to.Report(report.Trouble{
		Kind: report.Answer, Title: title, Text: text,
		Like:   []string{facts["pool"], facts["rule"], facts["version"], facts["cache_reason"], facts["refused"]},
		Method: r.Method, Host: r.Host, Path: askedPath(r), Facts: facts,
	})
}

// reportPanic is called from a deferred function that has recovered p.
func (ex *exchange) reportPanic(r *http.Request, p any) {
	to := reports()
	if err, ok := p.(error); to == nil || ok && errors.Is(err, http.ErrAbortHandler) {
		return
	}
	stack := report.Here()
	to.Report(report.Trouble{
		Kind: report.Panic, Title: "panic", Text: fmt.Sprint(p), Stack: stack,
		Like:   []string{report.Site(stack, "reportPanic", "visited", ".Fetch.", "ServeHTTP.func")},
		Method: r.Method, Host: r.Host, Path: askedPath(r), Facts: ex.facts(),
	})
}

// reportFault tells of something of ours that failed.
func reportFault(what string, kind string, err error, facts map[string]string) {
	if err == nil {
		return
	}
	reports().Report(report.Trouble{Kind: report.Fault, Title: what, Like: []string{kind}, Text: err.Error(), Facts: facts})
}

func reportCacheEvent(e httpcache.Event) {
	if e.Kind == httpcache.EventFault {
		reportFault("cache fault", string(e.Reason), e.Err, nil)
	}
}

// reportPurge tells of an order that did not reach all copies, and of faults of
// the journal. What a caller ordered amiss is the caller's.
func reportPurge(e purge.Event) {
	record := e.Record
	switch {
	case e.Kind == purge.JournalFault:
		reportFault("purge journal", string(e.Kind), e.Err, nil)
	case e.Kind == purge.OrderFinished && (record.State == purge.Partial || record.State == purge.Failed):
		like, text := []string{string(record.State)}, []string{}
		if record.Error != "" {
			text = append(text, record.Error)
		}
		for _, t := range record.Targets {
			if t.Error != nil {
				like = append(like, t.Name, strconv.Itoa(t.Error.HTTP), strconv.Itoa(t.Error.Code))
				text = append(text, t.Name+": "+t.Error.Error())
			}
		}
		reports().Report(report.Trouble{
			Kind: report.Purge, Title: "purge " + string(record.State), Like: like, Text: strings.Join(text, "; "),
			Facts: map[string]string{"id": record.ID, "generation": strconv.FormatUint(record.Generation, 10)},
		})
	}
}

// watched is the context of the configuration whose fate is watched already: the
// admin endpoint is provisioned before the apps, and sees a configuration that
// fails before ours does, but may be off.
var watched struct {
	sync.Mutex
	done <-chan struct{}
}

// watchConfiguration reports to the tracker of the configuration in force if the
// one that is being loaded is refused.
func watchConfiguration(ctx caddy.Context) {
	before := live.Load()
	watched.Lock()
	defer watched.Unlock()
	if before == nil || before.reports == nil || watched.done == ctx.Done() {
		return
	}
	watched.done = ctx.Done()
	to := before.reports
	context.AfterFunc(ctx.Context, func() {
		// Caddy's words for what was not to begin; others end what ran.
		why := context.Cause(ctx.Context).Error()
		if strings.HasPrefix(why, "configuration error: ") || strings.HasPrefix(why, "configuration start error: ") {
			to.Report(report.Trouble{Kind: report.Configuration, Title: "configuration refused", Text: why})
		}
	})
}

// Provision is called for each configuration, before its apps are provisioned.
func (adminEndpoint) Provision(ctx caddy.Context) error {
	watchConfiguration(ctx)
	return nil
}
