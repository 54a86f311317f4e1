package caddymodule

import "github.com/prometheus/client_golang/prometheus"

// fleetGauges reads the membership when a scrape asks. A node alone has none.
type fleetGauges struct{}

var (
	fleetMembers      = describe("edge_fleet_members", "Members of the fleet, as this node last heard.")
	fleetTrusted      = describe("edge_fleet_trusted", "1 while this node serves from its cache; 0 while it may have missed purges.")
	fleetLeft         = describe("edge_fleet_lease_left_seconds", "How long this node would go on to serve from its cache without Redis.")
	fleetLag          = describe("edge_fleet_lag", "Orders that this node knows of and has not applied yet.")
	fleetPosition     = describe("edge_fleet_position", "The newest order in the fleet's log.")
	fleetCaller       = describe("edge_fleet_caller", "1 while this node calls CDNs for the fleet.")
	fleetToken        = describe("edge_fleet_token", "The highest token that was given to a caller.")
	fleetAcknowledged = describe("edge_fleet_acknowledged_position", "The order up to which every member has applied all.")
)

// Describe names every gauge.
func (fleetGauges) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{fleetMembers, fleetTrusted, fleetLeft, fleetLag, fleetPosition, fleetAcknowledged, fleetCaller, fleetToken} {
		to <- d
	}
}

// Collect reads them.
func (fleetGauges) Collect(to chan<- prometheus.Metric) {
	a := live.Load()
	if a == nil || a.gateway.member == nil {
		return
	}
	s := a.gateway.member.Status()
	for _, one := range []struct {
		desc  *prometheus.Desc
		value float64
	}{
		{fleetMembers, float64(len(s.Members))}, {fleetTrusted, oneIf(s.Trusted)}, {fleetLeft, s.Left.D().Seconds()},
		{fleetLag, float64(s.Lag)}, {fleetPosition, float64(s.Position)}, {fleetAcknowledged, float64(s.Acknowledged)},
		{fleetCaller, oneIf(s.Calls)}, {fleetToken, float64(s.Token)},
	} {
		to <- prometheus.MustNewConstMetric(one.desc, prometheus.GaugeValue, one.value)
	}
}
