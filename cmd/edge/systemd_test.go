package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const systemd = "../../packaging/systemd"

// The units are what systemd's own tools call right and well shut off: an
// exposure of 2.0 at most, of 10.
func TestTheUnitsAreSound(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"edge.service", "edge.socket"} {
		text := strings.ReplaceAll(read(t, filepath.Join(systemd, name)), "/usr/bin/edge", binary)
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"verify", filepath.Join(folder, "edge.service"), filepath.Join(folder, "edge.socket")},
		{"security", "--offline=true", "--threshold=20", "--no-pager", filepath.Join(folder, "edge.service")},
	} {
		out, err := exec.Command("systemd-analyze", args...).CombinedOutput()
		if err != nil || args[0] == "verify" && len(out) > 0 {
			t.Errorf("systemd-analyze %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// As systemd does with edge.socket, the test holds the socket while edge ends and
// another one begins, twice, each followed by a reload, under load.
func TestARestartWithASocketThatIsHeldRefusesNobody(t *testing.T) {
	origin := newCounted(t, "v1")
	g := configure(t, origin.address)
	held, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	file, err := held.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	site := g.url
	g.url = "http://" + held.Addr().String()
	text := strings.Replace(read(t, g.config), site+" {", "http:// {\n\tbind fd/3", 1)
	text = strings.Replace(text, "persist_config off", "persist_config off\n\tservers {\n\t\tlistener_wrappers {\n\t\t\tedge\n\t\t\ttls\n\t\t\tedge_hits\n\t\t}\n\t}", 1)
	text = strings.Replace(text, "\t\tstate_dir", "\t\tstop {\n\t\t\tannounce 200ms\n\t\t}\n\t\tstate_dir", 1)
	if err := os.WriteFile(g.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	g.files = []*os.File{file}
	g.start()

	var sent, failed atomic.Int64
	var stop atomic.Bool
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			client := &http.Client{Transport: new(http.Transport), Timeout: time.Minute}
			defer client.CloseIdleConnections()
			for !stop.Load() {
				sent.Add(1)
				got, err := client.Get(g.url + "/page")
				if err == nil {
					_, err = io.Copy(io.Discard, got.Body)
					_ = got.Body.Close() // It has been read to its end.
				}
				if err != nil || got.StatusCode != http.StatusOK {
					failed.Add(1)
					t.Errorf("GET: %v", err)
				}
			}
		})
	}
	for range 2 {
		before := sent.Load()
		g.eventually("fifty more were sent", func() bool { return sent.Load() > before+50 })
		if err := g.process.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		<-g.ended
		g.launch()
		g.ready()
		if r := g.edgeReload(); r.code != 0 {
			t.Errorf("reload: exit %d\n%s", r.code, r.stderr)
		}
	}
	before := sent.Load()
	g.eventually("fifty more were sent", func() bool { return sent.Load() > before+50 })
	stop.Store(true)
	all.Wait()
	t.Logf("%d requests over two restarts, %d failed", sent.Load(), failed.Load())
}

// edgeReload loads the same configuration anew.
func (g *gateway) edgeReload() ran {
	g.t.Helper()
	return command(g.t, []string{"EDGE_TOKEN=" + controlToken}, "reload", "--config", g.config, "--adapter", "caddyfile", "--force")
}

// underSystemd has the gateway take its sites from a socket that the test holds, one
// with TLS, and gives its address.
func (g *gateway) underSystemd() string {
	g.t.Helper()
	held, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		g.t.Fatal(err)
	}
	file, err := held.(*net.TCPListener).File()
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _, _ = held.Close(), file.Close() }) // nobody waits there
	secure := g.secured()
	text := strings.Replace(read(g.t, g.config), secure+" {\nbind 127.0.0.1\n", "https://localhost {\nbind fd/3\n", 1)
	text = strings.Replace(text, "servers {\n", "servers {\nprotocols h1 h2\n", 1)
	text = strings.Replace(text, "\t\tstate_dir", "\t\tstop {\n\t\t\tannounce 200ms\n\t\t}\n\t\tstate_dir", 1)
	if err := os.WriteFile(g.config, []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
	g.files = []*os.File{file}
	return held.Addr().String()
}

// Caddy listens before it reads its certificates: whoever waits at the socket would get
// an alert in place of a handshake.
func TestWhoWaitsAtTheSocketIsGreetedWithACertificate(t *testing.T) {
	t.Parallel()
	g := configure(t, newCounted(t, "v1").address)
	address := g.underSystemd()
	ask := func() error {
		client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"}, DisableKeepAlives: true}}
		got, err := client.Get("https://" + address + "/page")
		if err != nil {
			return err
		}
		if got.StatusCode != http.StatusOK {
			err = errors.New(got.Status)
		}
		return errors.Join(err, got.Body.Close())
	}
	g.env = []string{"XDG_DATA_HOME=" + t.TempDir()}
	g.start()
	g.eventually("a certificate was made", func() bool { return ask() == nil })
	for range 3 {
		if err := g.process.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		<-g.ended
		var waiting sync.WaitGroup
		for range 8 {
			waiting.Go(func() {
				if err := ask(); err != nil {
					t.Errorf("who waited: %v\n%s", err, g.log)
				}
			})
		}
		g.launch()
		waiting.Wait()
	}
}

// manager is a service manager, as far as edge talks to it.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
}

func manage(g *gateway) *manager {
	g.t.Helper()
	path := filepath.Join(g.t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = conn.Close() })
	g.env = append(g.env, "NOTIFY_SOCKET="+path)
	return &manager{g.t, conn}
}

// hears waits until something is said.
func (m *manager) hears(what string) {
	m.t.Helper()
	if err := m.conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		m.t.Fatal(err)
	}
	for b := make([]byte, 4096); ; {
		n, err := m.conn.Read(b)
		if err != nil {
			m.t.Fatalf("it was not told %s: %v", what, err)
		}
		if slices.Contains(strings.Split(string(b[:n]), "\n"), what) {
			return
		}
	}
}

// systemd waits for the end of a main process, and notices its crash, only if that is
// its child, when it is told of it: it looks once.
func TestWhoTakesOverIsTheManagersChild(t *testing.T) {
	t.Parallel()
	g := configure(t, newCounted(t, "v1").address)
	g.underSystemd()
	m := manage(g)
	g.start()
	m.hears("READY=1")
	if r, h := g.handOver(script(t, "echo it is broken >&2\nexit 3")); r.code != 7 || !strings.Contains(h.Error, "it ended: it is broken") {
		t.Errorf("one that dies: exit %d, %q: want 7, and what it said", r.code, h.Error)
	}
	r, h := g.handOver(binary)
	g.follow(h)
	if r.code != 0 {
		t.Fatalf("handover: exit %d: %s\n%s", r.code, h.Error, g.log)
	}
	m.hears(fmt.Sprintf("MAINPID=%d", h.PID))
	if status := read(t, fmt.Sprintf("/proc/%d/status", h.PID)); !strings.Contains(status, fmt.Sprintf("\nPPid:\t%d\n", os.Getpid())) {
		t.Errorf("want a child of process %d:\n%s", os.Getpid(), status)
	}
	g.eventually("the first has ended", func() bool { return strings.Contains(g.log.String(), "shutdown complete") })
	// And once more, from one that has taken over, which is ended then.
	r, next := g.handOver(binary)
	g.follow(next)
	if r.code != 0 {
		t.Fatalf("the next handover: exit %d: %s\n%s", r.code, next.Error, g.log)
	}
	if err := syscall.Kill(next.PID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{h.PID, next.PID} { // whose predecessor it waits for
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil || !status.Exited() || status.ExitStatus() != 0 {
			t.Errorf("process %d: %v, %+v: want exit 0", pid, err, status)
		}
	}
}
