package caddymodule

import (
	"go.uber.org/zap"

	"github.com/edgegw/edge/internal/control"
	"github.com/edgegw/edge/internal/deploy"
	"github.com/edgegw/edge/internal/httpcache"
	"github.com/edgegw/edge/internal/lb"
	"github.com/edgegw/edge/internal/purge"
)

// logger is the live configuration's. Before the first there is nothing to
// report to, and nothing that reports.
func logger() *zap.Logger {
	if a := live.Load(); a != nil {
		return a.logger
	}
	return zap.NewNop()
}

// poolTrouble lists the events of a pool that someone may have to act on.
var poolTrouble = map[lb.Kind]bool{
	lb.ReplicaSick: true, lb.ReplicaEjected: true, lb.BreakerOpened: true, lb.PanicBegan: true,
	lb.DiscoveryFailed: true, lb.RegistrationExpired: true, lb.ProcessExited: true, lb.ProcessLate: true, lb.ScaleFailed: true,
}

func onPoolEvent(e lb.Event) {
	if e.Kind == lb.ReplicaOutput {
		logger().Info("replica output", zap.String("pool", e.Pool), zap.String("address", e.Address), zap.String("stream", e.Stream), zap.String("line", e.Why))
		return
	}
	poolEvents.WithLabelValues(e.Pool, string(e.Kind)).Inc()
	fields := []zap.Field{zap.String("event", string(e.Kind)), zap.String("pool", e.Pool)}
	for _, f := range []struct{ name, value string }{
		{"replica", e.Replica}, {"address", e.Address}, {"version", e.Version}, {"why", e.Why},
	} {
		if f.value != "" {
			fields = append(fields, zap.String(f.name, f.value))
		}
	}
	if e.Err != nil {
		fields = append(fields, zap.Error(e.Err))
	}
	if poolTrouble[e.Kind] {
		logger().Warn("pool changed", fields...)
		return
	}
	logger().Info("pool changed", fields...)
}

func onCacheEvent(e httpcache.Event) {
	reportCacheEvent(e)
	cacheEvents.WithLabelValues(string(e.Kind)).Add(float64(max(1, e.Count)))
	if e.Err != nil {
		logger().Warn("cache fault", zap.String("event", string(e.Kind)), zap.String("host", e.Host), zap.String("path", e.Path), zap.String("reason", string(e.Reason)), zap.Error(e.Err))
	}
}

func onPurgeEvent(e purge.Event) {
	reportPurge(e)
	tracePurge(e)
	fields := []zap.Field{zap.String("event", string(e.Kind))}
	if e.Record.ID != "" {
		fields = append(fields, zap.String("id", e.Record.ID))
	}
	if e.Detail != "" {
		fields = append(fields, zap.String("detail", e.Detail))
	}
	if e.Err != nil && e.Kind != purge.OrderFinished { // whose record says it
		fields = append(fields, zap.Error(e.Err))
	}
	switch e.Kind {
	case purge.OrderStep:
		purgeSteps.WithLabelValues(string(e.Step)).Observe(e.Took.Seconds())
		logger().Debug("purge step", append(fields, zap.String("step", string(e.Step)), zap.Duration("took", e.Took))...)
	case purge.OrderFinished:
		pokePools()
		purgesDone.WithLabelValues(string(e.Record.State)).Inc()
		fields = append(fields, zap.String("state", string(e.Record.State)), zap.Duration("took", e.Took), zap.Uint64("generation", e.Record.Generation))
		if e.Record.State != purge.Done {
			logger().Error("purge finished", append(fields, zap.String("error", e.Record.Error))...)
			return
		}
		logger().Info("purge finished", fields...)
	case purge.OrderLanded:
		// The node that finished it counts it.
		pokePools()
		logger().Info("purge finished", append(fields, zap.String("state", string(e.Record.State)), zap.Uint64("generation", e.Record.Generation))...)
	case purge.OrderAccepted, purge.OrderResumed, purge.OrderTaken:
		logger().Info("purge accepted", append(fields, zap.String("actor", e.Record.Actor), zap.String("reason", e.Record.Reason))...)
	case purge.TargetRetry, purge.StepRetry:
		purgeRetries.WithLabelValues(e.Target).Inc()
		logger().Warn("purge retried", append(fields, zap.String("target", e.Target), zap.Duration("wait", e.Wait))...)
	default:
		logger().Error("purge fault", fields...)
	}
}

func onDeployEvent(e deploy.Event) {
	r := e.Record
	fields := []zap.Field{zap.String("event", string(e.Kind))}
	for _, f := range []struct{ name, value string }{
		{"id", r.ID}, {"pool", r.Pool}, {"version", r.Version}, {"previous", r.Previous}, {"state", string(r.Stage)}, {"actor", r.Actor},
		{"purge", r.Purge}, {"error", r.Error},
	} {
		if f.value != "" {
			fields = append(fields, zap.String(f.name, f.value))
		}
	}
	if e.Err != nil {
		fields = append(fields, zap.Error(e.Err))
	}
	switch {
	case e.Kind == deploy.EventJournal:
		logger().Error("deploy journal", fields...)
	case e.Kind == deploy.EventHeld:
		logger().Warn("deploy", fields...)
	case e.Kind != deploy.EventFinished:
		logger().Info("deploy", fields...)
	case r.Stage == deploy.Done, r.Stage == deploy.Dropped, r.Stage == deploy.Canceled:
		deploysDone.WithLabelValues(r.Pool, string(r.Stage)).Inc()
		logger().Info("deploy", append(fields, zap.Duration("took", r.Took.D()))...)
	default:
		deploysDone.WithLabelValues(r.Pool, string(r.Stage)).Inc()
		logger().Warn("deploy", fields...)
	}
}

func onControlEvent(e control.Event) {
	controlEvents.WithLabelValues(string(e.Kind)).Inc()
	fields := []zap.Field{zap.String("event", string(e.Kind)), zap.String("route", e.Route), zap.String("client", e.Client)}
	if e.Actor != "" {
		fields = append(fields, zap.String("actor", e.Actor))
	}
	if e.ID != "" {
		fields = append(fields, zap.String("id", e.ID))
	}
	switch e.Kind {
	case control.Denied, control.Refused:
		logger().Warn("control call denied", append(fields, zap.String("detail", e.Detail))...)
	case control.Fault:
		reportFault("control call failed", e.Route, e.Err, map[string]string{"id": e.ID})
		logger().Error("control call failed", append(fields, zap.Error(e.Err))...)
	case control.Registered:
		logger().Debug("control call", fields...) // each renewal of each lease
	default:
		logger().Info("control call", fields...)
	}
}
