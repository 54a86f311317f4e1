package control

import (
	"strings"
	"testing"
)

func TestAScalerFindsItsNumber(t *testing.T) {
	h := trusted(newFakeGateway())
	one := decode[map[string]float64](t, ask(h, "GET", "/autoscale/app", ""), 200)
	if one["desired_replicas"] != 3 {
		t.Errorf("%v: want desired_replicas 3", one)
	}
	all := decode[struct {
		Pools map[string]map[string]float64 `json:"pools"`
	}](t, ask(h, "GET", "/autoscale", ""), 200)
	if all.Pools["app"]["desired_replicas"] != 3 {
		t.Errorf("%v: want pool app with 3", all)
	}
	if p := decode[Problem](t, ask(h, "GET", "/autoscale/nope", ""), 404); !strings.Contains(p.Detail, `pool "nope"`) {
		t.Errorf("%+v: want the pool named", p)
	}
}

func TestAScalerWantsAToken(t *testing.T) {
	h := New(Config{Gateway: newFakeGateway(), Tokens: []string{rightToken}})
	if got := ask(h, "GET", "/autoscale/app", "").StatusCode; got != 401 {
		t.Errorf("%d without a token: want 401", got)
	}
	if got := ask(h, "GET", "/autoscale/app", "", "Authorization", "Bearer "+rightToken).StatusCode; got != 200 {
		t.Errorf("%d with it: want 200", got)
	}
}
