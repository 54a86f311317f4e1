//go:build systemd

package realsystemd

import (
	"bytes"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// machine is one of its own: its processes, files, network and control groups are not
// this one's. Its process 1 is systemd.
type machine struct {
	t    *testing.T
	init int // process 1, as it is called here
}

// boot starts one, which ends with the test.
func boot(t *testing.T) *machine {
	t.Helper()
	group := controlGroup(t)
	// What the shell starts is in the group already, whose root it takes for the root.
	script := `echo $$ >"$1/cgroup.procs" && exec unshare --kill-child --fork --pid --mount --uts --ipc --net --cgroup ./boot.sh "$2"`
	c := exec.Command("sh", "-c", script, "sh", group, t.TempDir())
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	m := &machine{t: t}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.Wait() // it is killed
	}()
	t.Cleanup(func() {
		if m.init > 0 {
			_ = syscall.Kill(m.init, syscall.SIGKILL) // and with it all that it has started
		}
		_ = c.Process.Kill() // it may have ended
		<-ended
	})
	children := fmt.Sprintf("/proc/%d/task/%d/children", c.Process.Pid, c.Process.Pid)
	m.eventually("systemd runs", func() bool {
		select {
		case <-ended:
			t.Fatalf("no machine could be made: want root, and a cgroup v2 that can be written\n%s", said.String())
		default:
		}
		text, _ := os.ReadFile(children) // read again
		if m.init, _ = strconv.Atoi(strings.TrimSpace(string(text))); m.init == 0 {
			return false
		}
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", m.init)) // read again
		return string(name) == "systemd\n" && m.try("systemctl is-system-running") == "running\n"
	})
	return m
}

// controlGroup makes one below this process's, and removes it with the test.
func controlGroup(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	var mount, path string
	for line := range strings.Lines(string(mounts)) {
		if words := strings.Fields(line); words[2] == "cgroup2" {
			mount = words[1]
		}
	}
	for line := range strings.Lines(string(own)) {
		if p, found := strings.CutPrefix(line, "0::"); found {
			path = strings.TrimSpace(p)
		}
	}
	if mount == "" {
		t.Fatal("no cgroup v2 is mounted: want one that can be written")
	}
	group := filepath.Join(mount, path, fmt.Sprintf("edge-test-%d", os.Getpid()))
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeGroups(t, group) })
	return group
}

func removeGroups(t *testing.T, group string) {
	var all []string
	err := filepath.WalkDir(group, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	slices.Reverse(all) // the inner first
	for _, path := range all {
		deadline := time.Now().Add(time.Minute)
		err := os.Remove(path)
		for ; err != nil && time.Now().Before(deadline); err = os.Remove(path) {
			<-time.After(20 * time.Millisecond) // its processes are on their way out
		}
		if err != nil {
			t.Error(err)
		}
	}
}

func (m *machine) command(script string) *exec.Cmd {
	return exec.Command("nsenter", "-t", strconv.Itoa(m.init), "-a", "env", "-i",
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "SYSTEMD_PAGER=", "bash", "-c", "cd /root; "+script)
}

// try runs a script on the machine, and gives what it says, whatever its exit.
func (m *machine) try(script string) string {
	out, _ := m.command(script).CombinedOutput() // the caller looks at what it said
	return string(out)
}

// run runs a script on the machine that must succeed.
func (m *machine) run(script string) string {
	m.t.Helper()
	out, err := m.command(script).CombinedOutput()
	if err != nil {
		m.t.Fatalf("%s: %v\n%s\n%s", script, err, out, m.journal())
	}
	return string(out)
}

// journal is what edge and systemd have said last, without the access log.
func (m *machine) journal() string {
	return m.try("journalctl --no-pager -n 400 _PID=1 + _SYSTEMD_UNIT=edge.service | grep -v 'handled request' | tail -60")
}

// is waits until a property of the service is what it should be.
func (m *machine) is(unit, property, want string) {
	m.t.Helper()
	m.eventually(unit+": "+property+" is "+want, func() bool { return m.property(unit, property) == want })
}

func (m *machine) property(unit, property string) string {
	return strings.TrimSpace(m.try("systemctl show --value -p " + property + " " + unit))
}

// put copies a file to the machine.
func (m *machine) put(from, to string) {
	m.t.Helper()
	text, err := os.ReadFile(from)
	if err == nil {
		m.write(to, string(text))
	} else {
		m.t.Fatal(err)
	}
}

func (m *machine) write(to, text string) {
	m.t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/root%s", m.init, to), []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) eventually(what string, holds func() bool) {
	m.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !holds() {
		if time.Now().After(deadline) {
			m.t.Fatalf("not within a minute: %s\n%s", what, m.journal())
		}
		<-time.After(50 * time.Millisecond)
	}
}

// dial connects to an address of the machine: sockets are of the network in which their
// thread is when it makes them.
func (m *machine) dial(address string) (net.Conn, error) {
	type dialled struct {
		conn net.Conn
		err  error
	}
	done := make(chan dialled)
	go func() {
		runtime.LockOSThread() // and never back: the thread ends with this
		network, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", m.init))
		if err == nil {
			defer network.Close()
			err = unix.Setns(int(network.Fd()), unix.CLONE_NEWNET)
		}
		if err != nil {
			done <- dialled{err: err}
			return
		}
		conn, err := net.Dial("tcp", address)
		done <- dialled{conn, err}
	}()
	d := <-done
	return d.conn, d.err
}
