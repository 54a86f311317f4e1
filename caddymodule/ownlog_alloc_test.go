package caddymodule

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/edgegw/edge/internal/freeport"
)

// A request that has no record costs the log no allocation of its own. By Caddy's log
// it is nine. What else the process does is counted too, and the race detector has
// pools forget.
func TestARequestWithoutARecordCostsTheLogHardlyAnything(t *testing.T) {
	c := startChain(t, unkept)
	without, with := c.off.mallocs(), c.logged.mallocs()
	c.stop()
	c = startChain(t, "")
	each := c.logged.mallocs()
	c.stop()
	t.Logf("allocations: %.1f without a log, %.1f with one that leaves the request out, %.1f with its record", without, with, each)
	if more := with - without; more > 3 {
		t.Errorf("a request without a record costs %.1f allocations more than without a log: want 3 at most", more)
	}
	if each-without < 20 {
		t.Errorf("a record costs %.1f allocations: that proves little", each-without)
	}
}

// mallocs are those for a hit, the least of some rounds: what else the process does
// adds to it.
func (c *chainClient) mallocs() (least float64) {
	for range 200 {
		c.ask()
	}
	const rounds, requests = 5, 500
	for round := range rounds {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range requests {
			c.ask()
		}
		runtime.ReadMemStats(&after)
		if n := float64(after.Mallocs-before.Mallocs) / requests; round == 0 || n < least {
			least = n
		}
	}
	return least
}

// BenchmarkLogThatLeavesARequestOut is a hit through the chain, and its client, on a
// site without a log and on one whose log leaves it out, in turn. What the log costs
// is their quotient, by the lower quartile of both.
func BenchmarkLogThatLeavesARequestOut(b *testing.B) {
	c := startChain(b, unkept)
	defer c.stop()
	const requests = 50
	batch := func(c *chainClient) time.Duration {
		began := time.Now()
		for range requests {
			c.ask()
		}
		return time.Since(began)
	}
	var off, logged []time.Duration
	for i := 0; b.Loop(); i++ {
		if i%2 == 0 {
			off = append(off, batch(c.off))
			logged = append(logged, batch(c.logged))
			continue
		}
		logged = append(logged, batch(c.logged))
		off = append(off, batch(c.off))
	}
	quartile := func(all []time.Duration) float64 {
		slices.Sort(all)
		return float64(all[len(all)/4]) / requests
	}
	b.ReportMetric(quartile(off), "ns/off")
	b.ReportMetric(quartile(logged), "ns/logged")
	b.ReportMetric(quartile(logged)/quartile(off), "logged/off")
}

// chain is a gateway with the same site twice, without a log and with one.
type chain struct {
	t           testing.TB
	off, logged *chainClient
}

// chainClient asks for one page, and allocates nothing.
type chainClient struct {
	t       testing.TB
	conn    net.Conn
	request []byte
	buffer  []byte
}

const chainBody = 1024

const chainCaddyfile = `{
	admin off
	persist_config off
	grace_period 1s
	log {
		output discard
	}
	edge {
		state_dir %[1]q
		pool app {
			discover static %[2]s
		}
		%[3]s
	}
}
(site) {
	edge_rules {
		page /* {
			edge 1h
		}
	}
	edge_cache
	edge_proxy app
}
http://%[4]s {
	import site
}
http://%[5]s {
	log {
		output edge_batch file %[6]s
	}
	import site
}
`

func startChain(t testing.TB, block string) *chain {
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, strings.Repeat("x", chainBody))
	}))
	t.Cleanup(origin.Close)
	at, err := freeport.Addresses(2)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(chainCaddyfile, t.TempDir(), origin.Listener.Addr(), block, at[0], at[1], filepath.Join(t.TempDir(), "access.log"))
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	if err := caddy.Load(adapted, true); err != nil {
		t.Fatal(err)
	}
	return &chain{t: t, off: newChainClient(t, at[0]), logged: newChainClient(t, at[1])}
}

func newChainClient(t testing.TB, address string) *chainClient {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	c := &chainClient{t: t, conn: conn, buffer: make([]byte, 16<<10),
		request: []byte("GET /page HTTP/1.1\r\nHost: " + address + "\r\nUser-Agent: one\r\nAccept: */*\r\n\r\n")}
	c.ask()
	return c
}

func (c *chain) stop() {
	_, _ = c.off.conn.Close(), c.logged.conn.Close() // the test has what it wanted
	if err := caddy.Stop(); err != nil {
		c.t.Error(err)
	}
}

var headEnd = []byte("\r\n\r\n")

func (c *chainClient) ask() {
	if _, err := c.conn.Write(c.request); err != nil {
		c.t.Fatal(err)
	}
	for n := 0; ; {
		more, err := c.conn.Read(c.buffer[n:])
		if err != nil {
			c.t.Fatal(err)
		}
		n += more
		if head := bytes.Index(c.buffer[:n], headEnd); head >= 0 && n >= head+len(headEnd)+chainBody {
			return
		}
	}
}
