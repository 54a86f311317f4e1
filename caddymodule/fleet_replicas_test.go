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
	marks := 0
	heard := func(r fleet.Replica, asked time.Time) {
		marks++
		r.Pool, r.Address, r.Lease, r.Mark = "app", address, 10*time.Minute, fmt.Sprint(marks)
		n.Roster([]fleet.Replica{r}, asked)
	}
	renewed := func(asked time.Time) { heard(fleet.Replica{}, asked) }
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

	heard(fleet.Replica{Gone: true}, time.Now())
	eventually(t, "it is gone when another node says so", func() bool { return state() == "" })
	change(http.MethodPost, "", map[string]string{"pool": "app", "address": address, "lease": "10m"})
	eventually(t, "it is up again", func() bool { return state() == "up" })
	heard(fleet.Replica{Gone: true}, time.Now())
	if s := state(); s != "up" {
		t.Errorf("it is %q: want it up, for the fleet has not heard that it registered again", s)
	}
}
