package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// control is a control API in memory.
type control func(*http.Request) (status int, body string)

func (c control) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := c(r)
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func (c control) replicas(note func(string, ...any)) *replicas {
	return &replicas{control: &controller{server: "http://edge/.edge", client: &http.Client{Transport: c}}, note: note}
}

func TestALeaseIsRenewedUntilTheReplicaLeaves(t *testing.T) {
	for name, leave := range map[string]func(*replica){
		"it is retired":     func(r *replica) { r.stopRenewing() },
		"its process ended": func(r *replica) { close(r.child.ended) },
	} {
		synctest.Test(t, func(t *testing.T) {
			var calls, notes atomic.Int32
			api := control(func(r *http.Request) (int, string) {
				if got, _ := io.ReadAll(r.Body); r.Method+r.URL.Path != "POST/.edge/replicas" || string(got) != `{"address":"10.0.0.1:80","lease":"10s","pool":"app"}` {
					t.Errorf("%s: %s %s %s", name, r.Method, r.URL, got)
				}
				if calls.Add(1) == 2 {
					return 503, "busy" // a renewal that fails is tried again
				}
				return 200, `{"id":"x"}`
			})
			rs := api.replicas(func(string, ...any) { notes.Add(1) })
			r := &replica{name: "r1", address: "10.0.0.1:80", child: &child{ended: make(chan struct{})}}
			rs.renew(r)
			time.Sleep(lease) // three thirds of it
			synctest.Wait()
			if got := calls.Load(); got != 3 || notes.Load() != 1 {
				t.Errorf("%s: %d renewals in a lease, %d notes: want 3, and 1 of the failure", name, got, notes.Load())
			}
			leave(r)
			r.renewing.Wait()
			time.Sleep(lease)
			if got := calls.Load(); got != 3 {
				t.Errorf("%s: renewed %d times afterwards", name, got-3)
			}
		})
	}
}

func TestAReplicaLeavesWhenItHasFinished(t *testing.T) {
	for name, c := range map[string]struct {
		states []string // what the status says of it, one after the other
		forget int      // the status of DELETE
		fails  bool
	}{
		"it drains, and stands aside":    {[]string{"draining", "draining", "drained"}, 204, false},
		"it drains, and is not listed":   {[]string{"draining", ""}, 404, false},
		"it is gone at once":             {[]string{"gone"}, 204, false},
		"the gateway does not forget it": {[]string{"drained"}, 500, true},
		"it never finishes":              {[]string{"draining"}, 204, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			var asked []string
			looks := 0
			rs := control(func(r *http.Request) (int, string) {
				asked = append(asked, r.Method)
				switch r.Method {
				case "POST":
					return 200, ""
				case "DELETE":
					return c.forget, ""
				}
				state := c.states[min(looks, len(c.states)-1)]
				looks++
				return 200, fmt.Sprintf(`{"pools":[{"name":"other","replicas":[{"id":"x","state":"up"}]},{"name":"app","replicas":[{"id":%q,"state":%q}]}]}`,
					map[bool]string{true: "x", false: "y"}[state != ""], state)
			}).replicas(nil)
			err := rs.leave(t.Context(), &replica{id: "x"})
			if (err != nil) != c.fails {
				t.Errorf("%s: %v", name, err)
			}
			if asked[0] != "POST" || (!c.fails && (asked[len(asked)-1] != "DELETE" || looks != len(c.states))) {
				t.Errorf("%s: asked %v", name, asked)
			}
		})
	}
}

func TestControlErrorsSayWhatWasAsked(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"refused":    {401, `{"title":"no token"}`, `register a:1: POST replicas: 401 {"title":"no token"}`},
		"no id":      {200, `{}`, "register a:1: the answer has no id"},
		"no JSON":    {200, `<html>`, "register a:1: POST replicas: invalid character"},
		"a long one": {500, strings.Repeat("x", 5000), strings.Repeat("x", 400)},
	} {
		rs := control(func(*http.Request) (int, string) { return c.status, c.body }).replicas(nil)
		_, err := rs.control.register(t.Context(), "a:1", lease)
		if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 500 {
			t.Errorf("%s: %v: want %s", name, err, c.want)
		}
	}
}

func TestAReplicaThatTheGatewayDoesNotUse(t *testing.T) {
	m := new(miniature)
	d := stage(t, Config{}, m)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	looks := 0
	d.replicas.control = control(func(r *http.Request) (int, string) {
		if r.URL.Path == "/healthz" || r.Method == "POST" {
			return 200, `{"id":"x"}`
		}
		if looks++; looks == 3 { // enough, however long the process took to start
			cancel()
		}
		return 200, `{"pools":[{"name":"app","replicas":[{"id":"x","state":"sick","why":"health: 500"}]}]}`
	}).replicas(nil).control
	err := d.replicas.add(ctx, after)
	if err == nil || !strings.Contains(err.Error(), "the gateway does not use it (sick health: 500)") || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if got := len(d.replicas.now()); got != 1 || d.replicas.peak() != 2 {
		t.Errorf("%d replicas: want the new one ended", got)
	}
}

func TestAReplicaThatDoesNotStart(t *testing.T) {
	d := stage(t, Config{}, new(miniature))
	err := d.replicas.add(t.Context(), "not a version")
	if err == nil || !strings.Contains(err.Error(), `version "not a version": want`) {
		t.Errorf("%v: want what the replica said", err)
	}
	d.replicas.executable = "/nowhere/edge"
	if err := d.replicas.addAll(t.Context(), 2, after); err == nil || strings.Count(err.Error(), "start replica r") != 2 {
		t.Errorf("%v: want both", err)
	}
}

func TestAKilledReplicaIsSeenAsEnded(t *testing.T) {
	d := stage(t, Config{}, new(miniature))
	first := d.replicas.now()[0]
	killed, err := os.FindProcess(first.pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := killed.Kill(); err != nil {
		t.Fatal(err)
	}
	err = await(t.Context(), asking, func(context.Context) (bool, error) { return !d.replicas.now()[0].alive, nil })
	if err != nil || len(d.replicas.of(before)) != 0 {
		t.Errorf("%v, still counted: %v", err, d.replicas.of(before))
	}
}

func TestTheCaddyfileSaysWhereThingsAre(t *testing.T) {
	text, err := caddyfileFor(gatewayConfig{
		Listen: "[::1]:8080", Admin: "127.0.0.1:2020", StateDir: "/tmp/a b/state", AccessLog: `/tmp/"x"/access.log`,
		ControlToken: "/tmp/a b/control", CloudflareToken: "/tmp/cf", CloudflareAPI: "http://127.0.0.1:9/client/v4", Drain: 2 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"admin 127.0.0.1:2020", `state_dir "/tmp/a b/state"`, "pool app {", "drain 2s", "zone_id " + zoneID,
		`api_token "{file./tmp/cf}"`, "api_url http://127.0.0.1:9/client/v4", `token "{file./tmp/a b/control}"`,
		"http://:8080 {", "bind ::1", `output file "/tmp/\"x\"/access.log"`, "edge_proxy app", "handle /.edge/* {",
	} {
		if !strings.Contains(text, "\t"+line+"\n") && !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("no line %q in\n%s", line, text)
		}
	}
	if opened, closed := strings.Count("\n"+text, "{\n"), strings.Count(text, "}\n"); opened != closed {
		t.Errorf("%d blocks opened, %d closed", opened, closed)
	}
	if _, err := caddyfileFor(gatewayConfig{Listen: "8080"}); err == nil {
		t.Error("an address without a port was accepted")
	}
}

func TestAddressesAreFreeOnesUnlessGiven(t *testing.T) {
	listen, admin, err := addresses("", "127.0.0.1:2020")
	if err != nil || admin != "127.0.0.1:2020" {
		t.Fatalf("%q, %v", admin, err)
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatalf("not free: %v", err)
	}
	defer l.Close()
	if a, b, err := addresses("", ""); err != nil || a == b || a == listen {
		t.Errorf("%q, %q, %v: want two free ones", a, b, err)
	}
}

func TestTheStandInCountsPurges(t *testing.T) {
	c, err := startCloudflare("a token for the stand-in")
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{"a token for the stand-in", "another"} {
		r, err := http.NewRequest("POST", c.api()+"/zones/"+zoneID+"/purge_cache", strings.NewReader(`{"tags":["v-v1"]}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/json")
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	}
	if got := c.calls(); got != 1 {
		t.Errorf("%d calls: want the one with the right token", got)
	}
	if err := c.close(); err != nil {
		t.Error(err)
	}
}
