package main

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/purge/standin"
)

// rolling is a gateway whose replicas are processes, named in a file.
type rolling struct {
	*gateway
	t          *testing.T
	cloudflare *standin.Server
	accepted   atomic.Pointer[func(standin.Call)] // what takes calls besides; may be nil
	file       string
	replicas   []*sampled
	visits     atomic.Int64
	failed     atomic.Pointer[string]
}

// sampled is a process of the sample application.
type sampled struct {
	address, version string
	process          *exec.Cmd
}

// rollout is a gateway with n replicas of version v1.
func rollout(t *testing.T, n int, lines ...string) *rolling {
	t.Helper()
	x := &rolling{t: t, file: filepath.Join(t.TempDir(), "replicas")}
	server, cloudflareLines := cloudflare(t, func(c standin.Call) {
		if accepted := x.accepted.Load(); accepted != nil {
			(*accepted)(c)
		}
	})
	x.cloudflare = server
	if err := os.WriteFile(x.file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	guard := ""
	if i := slices.Index(lines, "GUARD"); i >= 0 {
		lines, guard = slices.Delete(lines, i, i+1), "\n\t\t\tguard {\n\t\t\t\tfall_back\n\t\t\t}"
	}
	if i := slices.Index(lines, "SETTLES"); i >= 0 {
		lines, cloudflareLines = slices.Delete(lines, i, i+1), strings.Replace(cloudflareLines, "settle 10ms", settles, 1)
	}
	x.gateway = configure(t, "127.0.0.1:1", append(lines, cloudflareLines)...)
	text, err := os.ReadFile(x.config)
	if err != nil {
		t.Fatal(err)
	}
	text = []byte(strings.Replace(string(text), "discover static 127.0.0.1:1", "discover file "+x.file+"\n\t\t\tdrain 2s"+guard, 1))
	if err := os.WriteFile(x.config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for range n {
		x.add("v1")
	}
	x.start()
	x.eventually("v1 is current", func() bool { return x.current() == "v1" })
	return x
}

// add starts a replica and names it.
func (x *rolling) add(version string) {
	x.t.Helper()
	x.replicas = append(x.replicas, sample(x.t, version))
	x.name()
}

// sample starts a replica.
func sample(t *testing.T, version string) *sampled {
	t.Helper()
	c := exec.Command(binary, "sample", "--version", version)
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill() // it may have been asked to end
		_ = c.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(line)
	return &sampled{fields[len(fields)-1], version, c}
}

// name writes down the replicas there are.
func (x *rolling) name() {
	x.t.Helper()
	list(x.t, x.file, x.replicas...)
}

// list writes the file of a discovery, whole.
func list(t *testing.T, file string, replicas ...*sampled) {
	t.Helper()
	var text strings.Builder
	for _, r := range replicas {
		text.WriteString(r.address + "\n")
	}
	if err := os.WriteFile(file+".new", []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// roll replaces every replica, some at a time: new ones are up before as many
// old ones leave, which end when they are not named any more.
func (x *rolling) roll(to string, atOnce int) {
	x.t.Helper()
	for left := len(x.replicas); left > 0; left -= atOnce {
		atOnce = min(atOnce, left)
		for range atOnce {
			x.add(to)
		}
		for _, newest := range x.replicas[len(x.replicas)-atOnce:] {
			x.eventually("the new replica is up", func() bool { return x.state(newest.address) == "up" })
		}
		old := x.replicas[:atOnce]
		x.replicas = x.replicas[atOnce:]
		x.name()
		for _, r := range old {
			x.eventually("the old replica is gone", func() bool { return x.state(r.address) == "" })
			if err := r.process.Process.Signal(syscall.SIGTERM); err != nil {
				x.t.Fatal(err)
			}
		}
	}
}

// seen is what edge status says.
type seen struct {
	Pools []struct {
		Replicas []struct{ Address, State, Version string }
	}
	Deploys struct {
		Pools map[string]struct {
			Current string
			Rollout struct{ On bool }
		}
		Last []deployed
	}
	Purges struct{ Last []report }
}

// deployed is a deploy's record.
type deployed struct {
	ID, Version, Previous, State, Actor, Purge, Error string
	Retired                                           []string
	Exit                                              int
	Traffic                                           map[string]struct{ Requests, Failures int64 }
}

func (x *rolling) seen() seen {
	x.t.Helper()
	r := x.edge("status", "--json")
	var s seen
	if err := json.Unmarshal([]byte(r.stdout), &s); err != nil {
		x.t.Fatalf("status: %v\n%s\n%s", err, r.stdout, r.stderr)
	}
	return s
}

func (x *rolling) current() string { return x.seen().Deploys.Pools["app"].Current }

func (x *rolling) state(address string) string {
	for _, r := range x.seen().Pools[0].Replicas {
		if r.Address == address {
			return r.State
		}
	}
	return ""
}

// shows is the version of a page, and what the cache says of it.
func (x *rolling) shows(path string) (version, status string) {
	x.t.Helper()
	text, status := x.page(path)
	for _, v := range []string{"v1", "v2", "v3"} {
		if strings.Contains(text, "app-"+v) || strings.Contains(text, v) {
			return v, status
		}
	}
	return text, status
}

// visit has somebody load pages until the test stops it, and complains about
// every answer that is no 200.
func (x *rolling) visit() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			x.visits.Add(1)
			if problem := x.load([]string{"/contacts", "/", "/api/contacts"}[i%3]); problem != "" {
				x.failed.CompareAndSwap(nil, &problem)
			}
		}
	}()
	return func() {
		close(done)
		<-ended
		if problem := x.failed.Load(); problem != nil {
			x.t.Errorf("%d visits, and one failed: %s", x.visits.Load(), *problem)
		}
	}
}

// Only the current version's answers are stored, and the CDN is told so.
func TestWhileARolloutIsOn(t *testing.T) {
	t.Parallel()
	x := rollout(t, 1)
	x.add("v2")
	x.eventually("both versions are live", func() bool { return x.seen().Deploys.Pools["app"].Rollout.On })
	got := map[string]bool{}
	x.eventually("both versions have answered", func() bool {
		a := x.answer("/contacts?page=" + time.Now().Format("150405.000000000"))
		version := a.header.Get("X-App-Version")
		got[version] = true
		kept := !strings.Contains(a.header.Get("Cdn-Cache-Control")+a.header.Get("Cloudflare-Cdn-Cache-Control"), "no-store")
		stored := strings.Contains(a.header.Get("Cache-Status"), "; stored")
		if want := version == "v1"; kept != want || stored != want {
			t.Fatalf("%s: %v", version, a.header)
		}
		return got["v1"] && got["v2"]
	})
	if n := len(x.cloudflare.Calls()); n != 0 {
		t.Errorf("%d calls at Cloudflare", n)
	}
}

func TestARolloutThatDoesNotArrivePurgesNothing(t *testing.T) {
	t.Parallel()
	x := rollout(t, 2)
	x.add("v2")
	r := x.edge("deploy", "--version", "v2", "--timeout", "1s")
	if r.code != 7 || !strings.Contains(r.stderr, "version v1 up") || len(x.cloudflare.Calls()) != 0 {
		t.Errorf("exit %d, %d calls\n%s", r.code, len(x.cloudflare.Calls()), r.stderr)
	}
	for args, want := range map[string]string{"--version v9 --pool none": "no such pool", "--version=": "no version", "--cancel none": "no such deploy"} {
		if r := x.edge(append([]string{"deploy"}, strings.Fields(args)...)...); r.code == 0 || !strings.Contains(r.stderr, want) {
			t.Errorf("%s: exit %d\n%s", args, r.code, r.stderr)
		}
	}
	if r := x.edge("deploy", "--version", "v2", "--dry-run"); r.code != 0 || !strings.Contains(r.stdout, "to be purged: v1") || !strings.Contains(r.stdout, "target cloudflare planned: 2 batches") || len(x.cloudflare.Calls()) != 0 {
		t.Errorf("exit %d\n%s\n%s", r.code, r.stdout, r.stderr)
	}
	if r := x.edge("deploys"); r.code != 0 || !strings.Contains(r.stdout, "failed") {
		t.Errorf("exit %d\n%s", r.code, r.stdout)
	}
}

// Killed at any moment of a deploy, the gateway does the rest when it is back.
func TestAKilledGatewayFinishesADeploy(t *testing.T) {
	t.Parallel()
	x := rollout(t, 1)
	called := x.edge("deploy", "--version", "v2", "--wait", "1s", "--timeout", "5m")
	if called.code != 7 {
		t.Fatalf("exit %d\n%s", called.code, called.stderr)
	}
	x.kill()
	// The rollout goes on without it.
	x.add("v2")
	x.replicas = x.replicas[1:]
	x.name()
	x.cloudflare.Fail(10_000, standin.Hang)
	x.start()
	x.eventually("its purge is on its way", func() bool { return x.seen().Deploys.Last[0].Purge != "" })
	x.kill()
	x.cloudflare.Recover()
	x.start()
	r := x.edge("deploy", "--version", "v2")
	if r.code != 0 {
		t.Fatalf("exit %d\n%s", r.code, r.stderr)
	}
	s := x.seen()
	if len(s.Deploys.Last) != 1 || strings.Join(s.Deploys.Last[0].Retired, " ") != "v1" || len(s.Purges.Last) != 1 || s.Purges.Last[0].State != "done" {
		t.Errorf("%+v: want one deploy with one purge", s)
	}
}

// A version that fails is found out at the edge: its purge is refused, the old
// pages stay, and visitors are sent back.
func TestTheGuardRefusesAWorseVersion(t *testing.T) {
	t.Parallel()
	x := rollout(t, 2, "GUARD")
	if r := x.edge("deploy", "--version", "v1"); r.code != 0 {
		t.Fatalf("exit %d\n%s", r.code, r.stderr)
	}
	stop := x.visit()
	x.eventually("a page of v1 is a hit", func() bool {
		_, status := x.shows("/contacts")
		return strings.Contains(status, "; hit")
	})
	x.add("v2")
	bad := x.replicas[len(x.replicas)-1]
	got, err := http.Post("http://"+bad.address+"/trouble?for=4m", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	got.Body.Close()
	r := x.edge("deploy", "--version", "v2", "--timeout", "2m")
	if r.code != 7 || !strings.Contains(r.stderr, "is refused: v2 is worse than v1, nothing purged: errors: ") {
		t.Fatalf("exit %d\n%s\n%s", r.code, r.stderr, x.log)
	}
	stop() // nobody noticed: what failed was tried again
	if last := x.seen().Deploys.Last; last[0].State != "held" || last[1].State != "refused" {
		t.Errorf("%+v", last)
	}
	// Visitors are kept from it, though its checks pass.
	before := x.seen().Deploys.Last[0].Traffic["v2"].Requests
	for range 50 {
		if version := x.answer("/api/contacts").header.Get("X-App-Version"); version != "v1" {
			t.Fatalf("answered by %q", version)
		}
	}
	if after := x.seen().Deploys.Last[0].Traffic["v2"].Requests; after > before+1 {
		t.Errorf("v2 was asked %d times more", after-before)
	}
	// Only it is left: the old pages are better than its.
	x.replicas = x.replicas[2:]
	x.name()
	x.eventually("the old replicas are gone", func() bool { return len(x.seen().Pools[0].Replicas) == 1 })
	if version, status := x.shows("/contacts"); version != "v1" || !strings.Contains(status, "; hit") {
		t.Errorf("%s, %s: want the page of v1", version, status)
	}
	if n := len(x.cloudflare.Calls()); n != 0 || x.current() != "v1" {
		t.Errorf("%d calls at Cloudflare, current %s", n, x.current())
	}
	if r := x.edge("deploy", "--version", "v2", "--despite-guard"); r.code != 0 || len(x.cloudflare.Calls()) != 2 || x.current() != "v2" {
		t.Errorf("despite the guard: exit %d, %d calls\n%s", r.code, len(x.cloudflare.Calls()), r.stderr)
	}
}
