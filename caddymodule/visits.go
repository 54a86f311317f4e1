package caddymodule

import (
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/edgegw/edge/internal/httpcache"
	"github.com/edgegw/edge/internal/traffic"
)

// What visitors got, counted once for each request by the first of edge's
// handlers that sees it. Calls of the control API are not visits.
var (
	visitSeconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "edge_response_seconds",
		Help:    "Time from a request to the header of its answer, by where that came from: cache, replica, or edge itself.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
	}, []string{"from"})
)

// visits are the requests by what they were answered with.
var visits answers

var visitsDesc = prometheus.NewDesc("edge_requests_total",
	"Requests by what they were answered with: 1xx (an upgrade), 2xx, 3xx, 4xx, 5xx, or cut when the answer was cut off.", []string{"code"}, nil)

// visitCodes are the values of the label code, by the status' first digit.
var visitCodes = [...]string{"cut", "1xx", "2xx", "3xx", "4xx", "5xx"}

// answers count requests by the first digit of the status; 0 stands for an answer
// that was cut off.
type answers [len(visitCodes)]atomic.Int64

// count counts one. A status above 599 is a failure too.
func (a *answers) count(code int) { a[min(code/100, len(a)-1)].Add(1) }

// Describe tells what there is.
func (a *answers) Describe(to chan<- *prometheus.Desc) { to <- visitsDesc }

// Collect reads the counts.
func (a *answers) Collect(to chan<- prometheus.Metric) {
	for i := range a {
		to <- prometheus.MustNewConstMetric(visitsDesc, prometheus.CounterValue, float64(a[i].Load()), visitCodes[i])
	}
}

// tell adds the counts to those of the traffic.
func (a *answers) tell(t *traffic.Totals) {
	for i := range a {
		t.Visits += a[i].Load()
	}
	t.ClientErrors = a[4].Load()
	t.Failures = a[0].Load() + a[5].Load()
}

var (
	fromCache   = visitSeconds.WithLabelValues("cache")
	fromReplica = visitSeconds.WithLabelValues("replica")
	fromEdge    = visitSeconds.WithLabelValues("edge")
)

// errCutOff stands for the panic that ends a client's connection because the
// rest of its answer is missing.
var errCutOff = errors.New("answer cut off")

// visited counts the request, which has ended with err or the panic that was
// recovered, and reports what a visitor should not have got. It goes on with the
// panic.
func (ex *exchange) visited(r *http.Request, err error, panicked any) {
	if panicked != nil {
		defer panic(panicked)
	}
	if panicked != nil && !ex.origin.panicked.Load() {
		ex.reportPanic(r, panicked)
	}
	ex.spans.tell(ex)
	if ex.called {
		ex.spans.visited(unknownStatus, err)
		ex.log(r)
		return
	}
	code := ex.code(err)
	ex.spans.visited(code, err)
	ex.record(r, code, err)
	visits.count(code)
	if ex.headed.IsZero() {
		ex.headed = time.Now()
	}
	ex.source().Observe(ex.headed.Sub(ex.began).Seconds())
	if code == 0 || code >= http.StatusInternalServerError {
		ex.reportAnswer(r, code, err)
	}
}

// code is the status with which the request was answered, 0 if the answer was
// cut off.
func (ex *exchange) code(err error) int {
	switch {
	case errors.Is(err, errCutOff):
		return 0
	case err != nil:
		return statusOf(err)
	case ex.cache.Code != 0:
		return ex.cache.Code
	}
	return max(ex.status, http.StatusOK) // who tells no status sends 200
}

// source is where the answer came from.
func (ex *exchange) source() prometheus.Observer {
	switch {
	case ex.cache.Status == httpcache.StatusHit, ex.cache.Status == httpcache.StatusStale:
		return fromCache
	case ex.replica() != "":
		return fromReplica
	}
	return fromEdge
}

// countRepeated counts hits that are given again on the connection.
func countRepeated(rule string) func(took time.Duration) {
	hits := cacheRequests.WithLabelValues(rule, string(httpcache.StatusHit))
	return func(took time.Duration) {
		hits.Inc()
		visits.count(http.StatusOK)
		fromCache.Observe(took.Seconds())
	}
}
