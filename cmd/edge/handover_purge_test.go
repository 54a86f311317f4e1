package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// keptConn is a connection that a client keeps.
type keptConn struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	host string
}

// connect opens a connection to a site.
func (g *gateway) connect(base string) *keptConn {
	g.t.Helper()
	scheme, host, _ := strings.Cut(base, "://")
	conn, err := net.Dial("tcp", strings.Replace(host, "localhost", "127.0.0.1", 1))
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = conn.Close() }) // the gateway may have closed it
	if scheme == "https" {
		conn = tls.Client(conn, &tls.Config{ServerName: "localhost", InsecureSkipVerify: true})
	}
	return &keptConn{t: g.t, conn: conn, in: bufio.NewReader(conn), host: host}
}

// certified waits until a site has its certificate, which is made after the start.
func (g *gateway) certified(base string) {
	g.t.Helper()
	g.eventually("a certificate", func() bool {
		conn := g.connect(base).conn.(*tls.Conn)
		defer conn.Close()
		return conn.HandshakeContext(g.t.Context()) == nil
	})
}

// used is one over which a request was made.
func (g *gateway) used(base string) *keptConn {
	g.t.Helper()
	k := g.connect(base)
	k.ask(http.MethodGet, "/page0")
	return k
}

func (k *keptConn) secure() bool {
	_, secure := k.conn.(*tls.Conn)
	return secure
}

// ask makes a request over the connection, and gives the answer's text.
func (k *keptConn) ask(method, path string) string {
	k.t.Helper()
	k.send(method, path)
	return k.read()
}

func (k *keptConn) send(method, path string) {
	k.t.Helper()
	if err := k.conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		k.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(k.conn, "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\n\r\n", method, path, k.host); err != nil {
		k.t.Fatalf("%s %s: %v", method, path, err)
	}
}

// read gives an answer's text.
func (k *keptConn) read() string {
	k.t.Helper()
	got, err := http.ReadResponse(k.in, nil)
	if err != nil {
		k.t.Fatal(err)
	}
	text, err := io.ReadAll(got.Body)
	if err != nil || got.StatusCode != http.StatusOK {
		k.t.Fatalf("status %d, %v", got.StatusCode, err)
	}
	return string(text)
}

// TestWhatIsPurgedAfterAHandoverIsGoneFromBothProcesses: connections that the old
// one still serves, which are those of TLS, get nothing that was made before, and what is changed by way of
// one process is not given by the other.
func TestWhatIsPurgedAfterAHandoverIsGoneFromBothProcesses(t *testing.T) {
	t.Parallel()
	o := newCounted(t, "v1")
	g := configure(t, o.address, diskLines, "stop {\nannounce 1m\n}")
	secure := g.secured()
	g.start()
	g.certified(secure)
	var old []*keptConn
	for n := range 6 {
		old = append(old, g.used(secure))
		old[n].ask(http.MethodGet, fmt.Sprint("/page", n))
	}
	r, h := g.handOver(binary)
	if r.code != 0 {
		t.Fatalf("handover: exit %d, %s\n%s", r.code, h.Error, g.log)
	}
	g.follow(h)

	fetched := func(page string, n int) string { return fmt.Sprintf("%s %d ", page, n) }
	if text := old[0].ask(http.MethodGet, "/page1"); !strings.HasPrefix(text, fetched("/page1", 1)) {
		t.Fatalf("the old process gives %.30q: want what it has stored, or nothing is shown", text)
	}
	purge := func(what ...string) {
		t.Helper()
		if r := g.edge(append([]string{"purge", "--wait", "1m"}, what...)...); r.code != 0 {
			t.Fatalf("purge: exit %d\n%s", r.code, r.stderr)
		}
	}
	purge("--url", secure+"/page1")
	if text := old[1].ask(http.MethodGet, "/page1"); strings.HasPrefix(text, fetched("/page1", 1)) {
		t.Errorf("the old process gives %.30q after the purge was acknowledged", text)
	}
	g.used(secure).ask(http.MethodPost, "/page2") // the second time that the replica is asked
	if text := old[2].ask(http.MethodGet, "/page2"); !strings.HasPrefix(text, fetched("/page2", 3)) {
		t.Errorf("the old process gives %.30q after a POST to the new one: want a fetch", text)
	}
	old[3].ask(http.MethodPost, "/page3")
	if text := g.used(secure).ask(http.MethodGet, "/page3"); !strings.HasPrefix(text, fetched("/page3", 3)) {
		t.Errorf("the new process gives %.30q after a POST to the old one: want a fetch", text)
	}
	purge("--everything", "--yes")
	if text := old[4].ask(http.MethodGet, "/page4"); !strings.HasPrefix(text, fetched("/page4", 2)) {
		t.Errorf("the old process gives %.30q after everything was purged", text)
	}
}
