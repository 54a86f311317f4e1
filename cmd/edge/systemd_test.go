package main

import (
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
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
