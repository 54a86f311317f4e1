//go:build systemd

package realsystemd

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	site       = "https://crm.example.com"
	caddyfile  = "/etc/edge/Caddyfile"
	exampleEnv = "/etc/edge/edge.env"
)

// packages builds two releases, whose binaries differ, and puts them on the machine.
func (m *machine) packages() {
	m.t.Helper()
	binary := filepath.Join(m.t.TempDir(), "edge")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, "./cmd/edge")
	build.Dir = "../.."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		m.t.Fatalf("%v\n%s", err, out)
	}
	for _, version := range []string{"1.2.0", "1.3.0"} {
		deb := filepath.Join(m.t.TempDir(), version+".deb")
		if out, err := exec.Command("../debian/build.sh", version, binary, deb).CombinedOutput(); err != nil {
			m.t.Fatalf("%v\n%s", err, out)
		}
		m.put(deb, "/root/edge_"+version+".deb")
		f, err := os.OpenFile(binary, os.O_APPEND|os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteString("another") // after the program
			_ = f.Close()                     // if it was lost, the build fails
		}
		if err != nil {
			m.t.Fatal(err)
		}
	}
}

// configured writes what docs/deployment/systemd.md has somebody write.
func (m *machine) configured() {
	m.t.Helper()
	m.run("echo '127.0.0.1 localhost crm.example.com' >/etc/hosts")
	m.run("install -m 640 -g edge /usr/share/doc/edge/Caddyfile.example " + caddyfile)
	m.run(`sed -i "s/^APP_ADDRESS=.*/APP_ADDRESS=localhost:3000/; s/^EDGE_TOKEN=.*/EDGE_TOKEN=$(openssl rand -hex 32)/; /CLOUDFLARE/d" ` + exampleEnv)
	text := m.run("cat " + caddyfile)
	before, cloudflare, _ := strings.Cut(text, "\t\t# Leave this block out when")
	_, after, found := strings.Cut(cloudflare, "\t\t# Several nodes share")
	if !found {
		m.t.Fatalf("the example has no block to leave out:\n%s", text)
	}
	text = before + "\t\t#" + after
	for old, with := range map[string]string{
		"\tservers {\n":                     "\tlocal_certs\n\tskip_install_trust\n\tservers {\n\t\tprotocols h1 h2\n",
		"announce 5s":                       "announce 2s",
		"{$SITE_ADDRESS:crm.example.com} {": "{$SITE_ADDRESS:crm.example.com} {\n\tbind fd/4",
	} {
		if strings.Count(text, old) != 1 {
			m.t.Fatalf("want one %q in\n%s", old, text)
		}
		text = strings.Replace(text, old, with, 1)
	}
	m.write(caddyfile, text+"\nhttp:// {\n\tbind fd/3\n\tredir https://{host}{uri} permanent\n}\n")
	m.run("systemd-run --unit=sample edge sample --listen 127.0.0.1:3000")
	m.run("set -a; . " + exampleEnv + "; edge check --env production --config " + caddyfile)
}

// crowd asks for pages until it is told to stop: on connections that last, of HTTP/1.1
// and 2, and on one for each request.
type crowd struct {
	m            *machine
	sent, failed atomic.Int64
	stop         atomic.Bool
	work         sync.WaitGroup
}

func (m *machine) client(n int) *http.Client {
	return &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		DisableKeepAlives: n%3 == 0, ForceAttemptHTTP2: n%3 == 1,
		DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			return m.dial("127.0.0.1:" + port)
		},
	}}
}

func (m *machine) ask(client *http.Client, path string) error {
	got, err := client.Get(site + path)
	if err != nil {
		return err
	}
	defer got.Body.Close()
	if _, err := io.Copy(io.Discard, got.Body); err != nil {
		return err
	}
	if got.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, got.Status)
	}
	return nil
}

func (m *machine) crowd() *crowd {
	c := &crowd{m: m}
	for n := range 6 {
		c.work.Go(func() {
			client := m.client(n)
			defer client.CloseIdleConnections()
			for k := 0; !c.stop.Load(); k++ {
				c.sent.Add(1)
				if err := m.ask(client, []string{"/", "/contacts", "/api/contacts"}[k%3]); err != nil && c.failed.Add(1) <= 10 {
					m.t.Errorf("a visitor: %v", err)
				}
				<-time.After(5 * time.Millisecond) // a visitor, not a benchmark
			}
		})
	}
	return c
}

// more waits until more has been asked.
func (c *crowd) more() {
	c.m.t.Helper()
	before := c.sent.Load()
	c.m.eventually("a hundred more were asked", func() bool { return c.sent.Load() > before+100 })
}

// leaves checks that a process has taken its leave, to the end.
func (m *machine) leaves(what, pid string) {
	m.t.Helper()
	if log := m.run("journalctl --sync; journalctl --no-pager _PID=" + pid); !strings.Contains(log, `"shutdown complete"`) || !strings.Contains(log, `"left"`) {
		m.t.Errorf("%s: process %s took no leave:\n%s", what, pid, m.journal())
	}
}

// mainProcess is the one that systemd takes for the service, which must be its child.
func (m *machine) mainProcess() string {
	m.t.Helper()
	pid := m.property("edge.service", "MainPID")
	if parent := strings.TrimSpace(m.run("ps -o ppid= -p " + pid)); parent != "1" {
		m.t.Errorf("main process %s is a child of %s: want systemd's", pid, parent)
	}
	return pid
}

func TestFromThePackageToAnUpgrade(t *testing.T) {
	m := boot(t)
	m.packages()
	m.run("dpkg -i edge_1.2.0.deb")
	if state := m.property("edge.service", "ActiveState") + m.property("edge.socket", "ActiveState"); state != "inactiveinactive" {
		t.Errorf("installed, service and socket are %s: want nothing started", state)
	}
	m.configured()
	m.run("systemctl enable --now edge.socket edge.service")
	visitor := m.client(0)
	m.eventually("a first answer", func() bool { return m.ask(visitor, "/") == nil })
	m.run("systemd-analyze security --threshold=20 --no-pager edge.service")

	visitors := m.crowd()
	defer visitors.work.Wait()
	defer visitors.stop.Store(true)
	visitors.more()
	m.run("systemctl reload edge.service")
	m.startsBadly()
	visitors.more()
	first := m.mainProcess()
	m.run("systemctl restart edge.service")
	m.leaves("restart", first)
	visitors.more()

	first = m.mainProcess()
	m.run("dpkg -i edge_1.3.0.deb")
	second := m.mainProcess()
	if first == second || m.try("cmp /proc/"+second+"/exe /usr/bin/edge") != "" {
		t.Errorf("an upgrade: process %s, then %s: want one of the new binary", first, second)
	}
	visitors.more()
	m.run("systemctl restart edge.service") // while the first takes its leave
	m.leaves("restart after an upgrade", second)
	m.leaves("restart after an upgrade", first)
	visitors.more()
	m.run("edge handover")
	second = m.mainProcess()
	m.eventually("the one before has ended", func() bool {
		return strings.Count(m.run("cat /sys/fs/cgroup/system.slice/edge.service/cgroup.procs"), "\n") == 1
	})
	m.run("systemctl restart edge.service")
	m.leaves("restart long after a handover", second)
	visitors.more()
	visitors.stop.Store(true)
	visitors.work.Wait()
	t.Logf("%d requests, %d failed", visitors.sent.Load(), visitors.failed.Load())

	m.crashes()
	m.stops()
	m.run("systemctl start edge.socket edge.service; dpkg --remove edge")
	if conn, err := m.dial("127.0.0.1:443"); err == nil {
		_ = conn.Close() // was not to be had
		t.Error("the package is removed, and the socket is there")
	}
}

// startsBadly: visitors wait while a configuration with a mistake is started, more often
// than systemd would.
func (m *machine) startsBadly() {
	m.t.Helper()
	m.run("cp " + caddyfile + " good; echo 'x {' >>" + caddyfile + "; systemctl reload edge.service && exit 1; systemctl restart edge.service && exit 1; exit 0")
	m.eventually("six starts have failed", func() bool {
		n, err := strconv.Atoi(m.property("edge.service", "NRestarts"))
		return err == nil && n >= 6
	})
	m.is("edge.socket", "ActiveState", "active")
	m.run("cp good " + caddyfile)
	m.is("edge.service", "SubState", "running")
}

// crashes: one that ends by itself is started again, also while its predecessor is there.
func (m *machine) crashes() {
	m.t.Helper()
	for _, before := range []string{"", "edge handover; "} {
		restarts := m.property("edge.service", "NRestarts")
		m.run(before + "kill -9 $(systemctl show --value -p MainPID edge.service)")
		m.eventually("it is started again", func() bool {
			return m.property("edge.service", "NRestarts") != restarts && m.property("edge.service", "SubState") == "running"
		})
		if err := m.ask(m.client(0), "/"); err != nil {
			m.t.Errorf("after a crash: %v", err)
		}
	}
}

// stops: an event stream is ended in good order, and systemd need not kill.
func (m *machine) stops() {
	m.t.Helper()
	got, err := m.client(2).Get(site + "/events")
	if err != nil {
		m.t.Fatal(err)
	}
	defer got.Body.Close()
	stream := bufio.NewReader(got.Body)
	if _, err := stream.ReadString('\n'); err != nil {
		m.t.Fatalf("an event: %v", err)
	}
	pid := m.mainProcess()
	m.run("systemctl stop edge.socket edge.service")
	m.leaves("stop", pid)
	m.is("edge.service", "Result", "success")
	if _, err := io.Copy(io.Discard, stream); err != nil {
		m.t.Errorf("the event stream: %v: want its end", err)
	}
}
