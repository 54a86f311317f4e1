package caddymodule

import (
	"net/http"
	"strings"
	"testing"
)

// scalingAnswer is what a scaler reads.
type scalingAnswer struct {
	Pool        string  `json:"pool"`
	InFlight    int     `json:"in_flight"`
	Up          int     `json:"up"`
	Desired     int     `json:"desired_replicas"`
	Why         string  `json:"why"`
	Concurrency float64 `json:"concurrency"`
	Target      float64 `json:"target"`
}

func TestAScalerReadsHowManyReplicasThereShouldBe(t *testing.T) {
	hold := make(chan struct{})
	address := startOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/held") {
			<-hold
		}
	})
	block := strings.Replace(staticPool(address), "\tdiscover", "\tautoscale {\n\t\ttarget 2\n\t\tmax 4\n\t\twindow 1s\n\t}\n\tdiscover", 1)
	e := startEdge(t, block, "edge_proxy app")
	eventually(t, "the replica is up", func() bool { return e.replicasUp() == 1 })

	var answers []chan response
	for range 5 {
		answer := make(chan response, 1)
		answers = append(answers, answer)
		go func() {
			r, err := e.try(http.MethodGet, "/held", nil)
			if err != nil {
				t.Errorf("a held request: %v", err)
			}
			answer <- r
		}()
	}
	var got scalingAnswer
	eventually(t, "five requests ask for three replicas of two each", func() bool {
		e.control(http.MethodGet, "autoscale/app", nil, &got)
		return got.Desired == 3
	})
	if got.Pool != "app" || got.Target != 2 || got.Up != 1 || got.InFlight != 5 {
		t.Errorf("%+v: want pool app, target 2, one replica up, five in flight", got)
	}
	text := scrapeText(t, e.metricsURL())
	for _, line := range []string{
		`edge_pool_desired_replicas{pool="app"} 3`,
		`edge_pool_target_concurrency{pool="app"} 2`,
		`edge_pool_in_flight{pool="app"} 5`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("the metrics lack %s", line)
		}
	}
	if status := e.poolStatus(); status.Desired != 3 || status.Scaling.Max != 4 {
		t.Errorf("status: %d desired, %+v: want 3, and max 4", status.Desired, status.Scaling)
	}
	if code := e.control(http.MethodGet, "autoscale/nope", nil, nil); code != http.StatusNotFound {
		t.Errorf("an unknown pool: %d: want 404", code)
	}
	close(hold)
	for _, answer := range answers {
		if r := <-answer; r.StatusCode != http.StatusOK {
			t.Errorf("a held request: %d: want 200", r.StatusCode)
		}
	}
}
