package caddymodule

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/edgegw/edge/internal/lb"
)

// lasting are clients that stay: WebSockets that echo and streams of events.
type lasting struct {
	e    *edge
	ctx  context.Context
	work sync.WaitGroup

	members []*member
}

// member is one of them.
type member struct {
	name     string
	messages atomic.Int64
	end      atomic.Pointer[error] // nil while it is there; an error that is nil is a clean end
}

func (m *member) ended(err error) { m.end.Store(&err) }

// stay begins with n of each below a prefix of paths.
func (l *lasting) stay(prefix string, n int) {
	l.e.t.Helper()
	for range n {
		l.converse(prefix + "/ws")
		l.listen(prefix + "/events")
	}
}

func (l *lasting) converse(path string) {
	l.e.t.Helper()
	socket, _, err := websocket.Dial(l.ctx, l.e.URL+path, nil)
	if err != nil {
		l.e.t.Fatal(err)
	}
	m := &member{name: path}
	l.members = append(l.members, m)
	l.work.Go(func() {
		defer socket.CloseNow()
		for n := 0; ; n++ {
			sent := fmt.Sprint("message ", n)
			if err := socket.Write(l.ctx, websocket.MessageText, []byte(sent)); err != nil {
				_, _, err = socket.Read(l.ctx) // why it could not be written
				m.ended(err)
				return
			}
			_, text, err := socket.Read(l.ctx)
			if err == nil && string(text) != sent {
				err = fmt.Errorf("%q: want %q", text, sent)
			}
			if err != nil {
				m.ended(err)
				return
			}
			m.messages.Add(1)
			select {
			case <-time.After(20 * time.Millisecond):
			case <-l.ctx.Done():
			}
		}
	})
}

func (l *lasting) listen(path string) {
	l.e.t.Helper()
	r, err := http.NewRequestWithContext(l.ctx, http.MethodGet, l.e.URL+path, nil)
	if err != nil {
		l.e.t.Fatal(err)
	}
	resp, err := testClient.Transport.RoundTrip(r)
	if err != nil {
		l.e.t.Fatal(err)
	}
	m := &member{name: path}
	l.members = append(l.members, m)
	l.work.Go(func() {
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		whole := true
		for lines.Scan() {
			if whole = lines.Text() == ""; whole {
				m.messages.Add(1)
			}
		}
		err := lines.Err()
		if err == nil && !whole {
			err = fmt.Errorf("it ends within an event")
		}
		m.ended(err)
	})
}

// flowing waits until each has n messages more, and wants that nobody's end has
// come.
func (l *lasting) flowing(n int64) {
	l.e.t.Helper()
	before := make([]int64, len(l.members))
	for i, m := range l.members {
		before[i] = m.messages.Load()
	}
	eventually(l.e.t, "messages flow", func() bool {
		for i, m := range l.members {
			if end := m.end.Load(); end != nil {
				l.e.t.Fatalf("%s ended: %v", m.name, *end)
			}
			if m.messages.Load() < before[i]+n {
				return false
			}
		}
		return true
	})
}

// parted wants that all were told to come back, and came to a clean end.
func (l *lasting) parted() {
	l.e.t.Helper()
	for _, m := range l.members {
		eventually(l.e.t, m.name+" has ended", func() bool { return m.end.Load() != nil })
		err := *m.end.Load()
		if strings.HasSuffix(m.name, "/ws") != (websocket.CloseStatus(err) == websocket.StatusServiceRestart) {
			l.e.t.Errorf("%s: %v: want a Close frame 1012", m.name, err)
		}
		if !strings.HasSuffix(m.name, "/ws") && err != nil {
			l.e.t.Errorf("%s: %v: want a clean end", m.name, err)
		}
	}
}

// startLasting runs a gateway before a replica, with sites that go through our
// lean handler and through Caddy's, with a cache and without.
func startLasting(t *testing.T, pool string) *lasting {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	e := startEdge(t, pool, lastingSite)
	l := &lasting{e: e, ctx: ctx}
	t.Cleanup(func() {
		cancel()
		l.work.Wait()
	})
	eventually(t, "a replica is up", func() bool { return e.replicasUp() >= 1 })
	return l
}

const lastingSite = `
handle_path /caddy/* {
	edge_proxy app {
		lean off
	}
}
handle_path /cached/* {
	edge_cache
	edge_proxy app
}
handle {
	edge_proxy app
}
`

func TestAReloadCutsNobody(t *testing.T) {
	one := startReplica(t, "v1")
	l := startLasting(t, staticPool(one.address))
	l.stay("", 7)
	l.stay("/caddy", 7)
	l.stay("/cached", 6)
	l.flowing(2)
	for n, site := range []string{
		lastingSite,
		strings.Replace(lastingSite, "handle {", "handle /new {\n\trespond new\n}\nhandle {\n\theader X-New yes", 1),
		strings.Replace(lastingSite, "lean off", "header_up X-New yes", 1),
	} {
		if err := l.e.reload(strings.Replace(staticPool(one.address), "200ms", fmt.Sprintf("%dms", 201+n), 1), site); err != nil {
			t.Fatal(err)
		}
		l.flowing(1)
	}
	l.flowing(4) // seconds, longer than the grace period of two
	if s := l.e.poolStatus().Replicas[0]; s.WebSockets != 20 || s.Streams != 20 {
		t.Errorf("%d WebSockets, %d streams counted: want 20 of each", s.WebSockets, s.Streams)
	}
}

// TestADrainedReplicaSendsItsClientsElsewhere: those of the other replica stay.
func TestADrainedReplicaSendsItsClientsElsewhere(t *testing.T) {
	one, two := startReplica(t, "v1"), startReplica(t, "v1")
	l := startLasting(t, strings.Replace(staticPool(one.address, two.address), "discover", "policy round_robin\n\tdrain 4s\n\tdiscover", 1))
	eventually(t, "both are up", func() bool { return l.e.replicasUp() == 2 })
	l.stay("", 5)
	l.stay("/caddy", 5)
	l.flowing(2)
	stop := l.e.underLoad(50, "/api/contacts", "/?n=N")
	r := l.e.poolStatus().Replicas[0]
	before := slices.Clone(l.members)
	if code := l.e.control(http.MethodPost, "replicas/"+r.ID+"/drain", nil, nil); code != http.StatusOK {
		t.Fatalf("drain: %d", code)
	}
	ended := func() (n int64) {
		for _, m := range before {
			if m.end.Load() != nil {
				n++
			}
		}
		return n
	}
	eventually(t, "it is drained", func() bool {
		for _, now := range l.e.poolStatus().Replicas {
			if now.ID == r.ID {
				return now.State == "drained"
			}
		}
		return false
	})
	sent, failures := stop()
	if len(failures) > 0 || sent == 0 {
		t.Errorf("%d of %d requests failed: %v", len(failures), sent, failures[:min(3, len(failures))])
	}
	want := r.WebSockets + r.Streams
	if want == 0 {
		t.Fatal("nobody's connection was to the drained replica")
	}
	// The gateway knows of the end before its clients do.
	eventually(t, "its clients have parted", func() bool { return ended() >= want })
	if n := ended(); n != want {
		t.Errorf("%d clients parted: want the %d of the drained replica", n, want)
	}
	l.members = slices.DeleteFunc(before, func(m *member) bool { return m.end.Load() == nil })
	l.parted()
}

// TestADrainedVersionSendsItsClientsElsewhere, and is taken back.
func TestADrainedVersionSendsItsClientsElsewhere(t *testing.T) {
	one, two := startReplica(t, "v1"), startReplica(t, "v2")
	l := startLasting(t, strings.Replace(staticPool(one.address, two.address), "discover", "policy round_robin\n\tdrain 2s\n\tdiscover", 1))
	eventually(t, "both are up", func() bool { return l.e.replicasUp() == 2 })
	l.stay("", 6)
	l.flowing(1)
	order := func(verb string, body map[string]any) (code int, addresses []string) {
		t.Helper()
		var answer struct{ Replicas []struct{ Address string } }
		code = l.e.control(http.MethodPost, "pools/app/"+verb, body, &answer)
		for _, r := range answer.Replicas {
			addresses = append(addresses, r.Address)
		}
		return code, addresses
	}
	if code, list := order("drain", map[string]any{"version": "v1"}); code != http.StatusOK || !slices.Equal(list, []string{one.address}) {
		t.Fatalf("drain v1: %d %v: want it to be %s", code, list, one.address)
	}
	for _, path := range []string{"pools/app/drain", "pools/other/drain"} {
		want := map[string]int{"pools/app/drain": http.StatusConflict, "pools/other/drain": http.StatusNotFound}[path]
		if code := l.e.control(http.MethodPost, path, map[string]any{"version": "v2"}, nil); code != want {
			t.Errorf("%s of v2: %d: want %d", path, code, want)
		}
	}
	if code := l.e.control(http.MethodPost, "replicas/"+two.address+"/drain", nil, nil); code != http.StatusConflict {
		t.Errorf("drain of the last replica: %d: want 409", code)
	}
	eventually(t, "v1 is drained", func() bool {
		return slices.ContainsFunc(l.e.poolStatus().Replicas, func(r lb.ReplicaStatus) bool { return r.Address == one.address && r.State == "drained" })
	})
	for range 10 {
		if version := l.e.get("/api/contacts").Header.Get("X-App-Version"); version != "v2" {
			t.Errorf("%s answers: want v2", version)
		}
	}
	if gone := slices.DeleteFunc(slices.Clone(l.members), func(m *member) bool { return m.end.Load() == nil }); len(gone) != 6 {
		t.Errorf("%d of 12 clients parted: want the half that v1 had", len(gone))
	} else {
		(&lasting{e: l.e, members: gone}).parted()
	}
	if code, list := order("undrain", map[string]any{"version": "v1"}); code != http.StatusOK || len(list) != 1 {
		t.Fatalf("undrain: %d %v", code, list)
	}
	eventually(t, "v1 answers again", func() bool { return l.e.get("/api/contacts").Header.Get("X-App-Version") == "v1" })
}

func TestAnExplicitStreamCloseDelayIsRefused(t *testing.T) {
	e := newEdge(t)
	err := e.load(staticPool("127.0.0.1:1"), "edge_proxy app {\n\tstream_close_delay 5m\n}")
	if err == nil || !strings.Contains(err.Error(), "stream_close_delay") || !strings.Contains(err.Error(), "leave the line out") {
		t.Errorf("%v: want it refused, and what to do instead", err)
	}
}
