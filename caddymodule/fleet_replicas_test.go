package caddymodule

import (
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/fleet"
	"github.com/edgegw/edge/internal/redistest"
)

// The roster was read when another node had just renewed the registration; it is
// taken over when somebody has drained or deregistered the replica here.
func TestARosterFromBeforeAChangeUndoesNothing(t *testing.T) {
	address, _ := counting(t, func(http.ResponseWriter, *http.Request) {})
	redis := redistest.New(t)
	line := newLine(t, filepath.Join(redis.Dir, "line"), redis)
	e := startEdge(t, fmt.Sprintf("fleet unix://%s\n%s", line.Socket, registeredPool), pagesSite)
	g := live.Load().gateway
	n := fleetNode{g.node(live.Load()), g}
	renewals := 0
	renewed := func(asked time.Time) {
		renewals++
		mark := fmt.Sprintf("600000:%d:another:0", renewals)
		n.Roster([]fleet.Replica{{Pool: "app", Address: address, Lease: 10 * time.Minute, Mark: mark}}, asked)
	}
	state := func() string {
		for _, r := range e.poolStatus().Replicas {
			return r.State
		}
		return ""
	}
	change := func(method, path string, body any) {
		t.Helper()
		if code := e.control(method, "replicas"+path, body, nil); code >= 300 {
			t.Fatalf("%s replicas%s: %d", method, path, code)
		}
	}
	change(http.MethodPost, "", map[string]string{"pool": "app", "address": address, "lease": "10m"})
	eventually(t, "it is up", func() bool { return state() == "up" })
	line.Cut() // From now on no roster comes but the test's.

	asked := time.Now()
	change(http.MethodPost, "/"+address+"/drain?force=true", nil)
	renewed(asked)
	if s := state(); s != "drained" && s != "draining" {
		t.Errorf("it is %s: want it drained, as somebody wished since", s)
	}
	renewed(time.Now())
	eventually(t, "it is up when it has registered again elsewhere", func() bool { return state() == "up" })

	asked = time.Now()
	change(http.MethodDelete, "/"+address, nil)
	renewed(asked)
	eventually(t, "it is gone", func() bool { return state() == "" })
	renewed(time.Now())
	eventually(t, "it is back when it has registered again", func() bool { return state() == "up" })
}
