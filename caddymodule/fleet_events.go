package caddymodule

import (
	"go.uber.org/zap"

	"github.com/edgegw/edge/internal/fleet"
)

// fleetTrouble lists the events of the fleet that someone may have to act on.
var fleetTrouble = map[fleet.Kind]bool{
	fleet.CutOff: true, fleet.Removed: true, fleet.Evicted: true, fleet.Lost: true, fleet.Overtaken: true, fleet.Fault: true,
}

func onFleetEvent(e fleet.Event) {
	fleetEvents.WithLabelValues(string(e.Kind)).Inc()
	fields := []zap.Field{zap.String("event", string(e.Kind)), zap.String("member", e.Member)}
	if e.For > 0 {
		fields = append(fields, zap.Duration("after", e.For))
	}
	if e.Token > 0 {
		fields = append(fields, zap.Uint64("token", e.Token))
	}
	if e.Err != nil {
		fields = append(fields, zap.Error(e.Err))
	}
	if fleetTrouble[e.Kind] {
		logger().Warn("fleet changed", fields...)
		return
	}
	logger().Info("fleet changed", fields...)
}
