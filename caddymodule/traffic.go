package caddymodule

import (
	"context"
	"net/http"
	"time"

	"github.com/edgegw/edge/internal/cacherules"
	"github.com/edgegw/edge/internal/httpcache"
	"github.com/edgegw/edge/internal/traffic"
)

// noteMiss counts a request for which a replica was asked because the cache had
// nothing. Hits are not looked at here: they must cost nothing.
func (a *App) noteMiss(r *http.Request, v *cacherules.Verdict, result httpcache.Result) {
	if result.Status != httpcache.StatusMiss || result.Collapsed {
		return
	}
	a.gateway.traffic.Missed(time.Now(), counted(r), traffic.Note{Rule: v.Rule, Reason: string(result.Reason)})
}

// noteCost counts the time that a pool took, until the header of its answer was
// there or it had none to give: bodies may go on for as long as clients like.
func (a *App) noteCost(r *http.Request, ex *exchange, began time.Time) {
	if ex.trace.Attempts == 0 {
		return
	}
	now := time.Now()
	took := now.Sub(began)
	if ex.headed.After(began) {
		took = ex.headed.Sub(began)
	}
	note := traffic.Note{}
	if ex.verdict != nil {
		note.Rule = ex.verdict.Rule
	}
	a.gateway.traffic.Asked(now, counted(r), took, note)
}

// counted is a request as it is counted: without its query.
func counted(r *http.Request) traffic.Request {
	return traffic.Request{Method: r.Method, Host: r.Host, Path: r.URL.Path}
}

// watch looks at the counts at intervals, until it is told to end. A look takes
// no lock of the gateway: who ends it may hold that.
func (g *gateway) watch() (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		g.traffic.Run(ctx, g.totals)
	}()
	return func() {
		cancel()
		<-ended
	}
}

// totals are the counts as they are now.
func (g *gateway) totals() traffic.Totals {
	s := g.store.Stats()
	t := traffic.Totals{
		Hits: s.Hits, Stale: s.Stale, Revalidated: s.Revalidated, Misses: s.Misses, Bypasses: s.Bypasses, Errors: s.Errors,
		CacheBytes: s.SentBytes,
	}
	visits.tell(&t)
	if a := live.Load(); a != nil {
		for _, p := range a.pools {
			status := p.Status()
			t.ReplicaBytes += status.Received
			t.Refused += status.Refused
		}
	}
	return t
}

// Traffic is what requests cost of late, and how the last hour went.
func (controlled) Traffic(after time.Time) any {
	a := live.Load()
	if a == nil {
		return traffic.New().Report(time.Now(), after)
	}
	return a.gateway.traffic.Report(time.Now(), after)
}
