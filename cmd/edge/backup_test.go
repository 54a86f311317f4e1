package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	backups "github.com/edgegw/edge/internal/backup/standin"
	"github.com/edgegw/edge/internal/purge/standin"
)

const (
	s3Access = "AKIAEDGETESTSEDGETES"
	s3Secret = "s3cr3t-of-the-store-of-tests-0123456789"
)

// kept is a gateway with all that a backup is of: a disk, certificates, two
// replicas whose pages have a number, Cloudflare, and a store to back up to.
type kept struct {
	*gateway
	number   atomic.Int64 // of the pages that replicas make
	replicas []string
	cdn      *standin.Server
	store    *backups.Store
	stored   atomic.Bool // the store takes no more archives
	target   string      // in the Caddyfile
	keyFile  string
	data     string // Caddy's storage
	secure   string // host:port of a site with a certificate
}

func newKept(t *testing.T) *kept {
	t.Helper()
	k := new(kept)
	for range 2 {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-App-Version", "v2")
			fmt.Fprint(w, k.number.Load())
		}))
		t.Cleanup(server.Close)
		k.replicas = append(k.replicas, strings.TrimPrefix(server.URL, "http://"))
	}
	var err error
	if k.store, err = backups.New("backups", s3Access, s3Secret); err != nil {
		t.Fatal(err)
	}
	k.store.FailBy(func(r *http.Request) backups.Fault {
		if k.stored.Load() && r.Method == http.MethodPut {
			return backups.SlowDown
		}
		return backups.None
	})
	server := httptest.NewServer(k.store)
	t.Cleanup(server.Close)
	made := command(t, nil, "backup", "--new-key")
	dir := t.TempDir()
	k.keyFile, k.data, k.secure = filepath.Join(dir, "key"), filepath.Join(dir, "caddy"), freeAddress(t)
	if err := os.WriteFile(k.keyFile, []byte(made.stdout), 0o600); err != nil || made.code != 0 {
		t.Fatalf("new key: exit %d, %v, %s", made.code, err, made.stderr)
	}
	k.target = fmt.Sprintf("to s3://backups/site {\nendpoint %s\naccess_key {env.BACKUP_ID}\nsecret_key {env.BACKUP_SECRET}\npath_style\n}", server.URL)
	var lines string
	k.cdn, lines = cloudflare(t)
	k.gateway = configure(t, strings.Join(k.replicas, " "), lines,
		fmt.Sprintf("cache {\ndisk 64MiB %q\n}", filepath.Join(dir, "disk")),
		fmt.Sprintf("backup {\n%s\nevery 1s\nkeep 3\nkey {file.%s}\n}", k.target, k.keyFile))
	k.env = []string{"BACKUP_ID=" + s3Access, "BACKUP_SECRET=" + s3Secret}
	k.rewrite("\tadmin ", fmt.Sprintf("\tskip_install_trust\n\tauto_https disable_redirects\n\tstorage file_system %q\n\tadmin ", k.data))
	k.rewrite("", fmt.Sprintf("\nhttps://%s {\n\ttls internal\n\trespond ok\n}\n", k.secure))
	return k
}

// rewrite replaces a text in the Caddyfile; an empty one stands for its end.
func (k *kept) rewrite(from, to string) {
	k.t.Helper()
	text := read(k.t, k.config)
	if from == "" {
		text += to
	} else {
		text = strings.Replace(text, from, to, 1)
	}
	if err := os.WriteFile(k.config, []byte(text), 0o600); err != nil {
		k.t.Fatal(err)
	}
}

// command runs edge with what the Caddyfile needs from the environment.
func (k *kept) command(args ...string) ran {
	k.t.Helper()
	return command(k.t, append(k.env, "EDGE_TOKEN="+controlToken), append(args, "--config", k.config)...)
}

// authority is the certificate of Caddy's own authority, by which a client would
// know the site again.
func (k *kept) authority() []byte {
	k.t.Helper()
	var chain []byte
	k.eventually("the site has a certificate", func() bool {
		conn, err := tls.Dial("tcp", k.secure, &tls.Config{InsecureSkipVerify: true}) // it is looked at below
		if err != nil {
			return false
		}
		defer conn.Close()
		certificates := conn.ConnectionState().PeerCertificates
		chain = certificates[len(certificates)-1].Raw
		return true
	})
	return chain
}

// backedUp waits for a backup that began after now.
func (k *kept) backedUp() {
	k.t.Helper()
	type listed struct {
		Name    string
		Created time.Time
	}
	began := time.Now()
	k.eventually("a backup is made", func() bool {
		r := k.command("backup", "--list", "--json")
		var list []listed
		if err := json.Unmarshal([]byte(r.stdout), &list); err != nil || r.code != 0 {
			k.t.Fatalf("exit %d: %v\n%s\n%s", r.code, err, r.stdout, r.stderr)
		}
		return len(list) > 0 && list[0].Created.After(began)
	})
}

// purged purges all pages, and gives the order's id. From then on no page may have
// a number below the one that replicas have now.
func (k *kept) purged() string {
	k.t.Helper()
	r := k.edge("purge", "--json", "--tag", "pages", "--wait", "1m")
	if r.code != 0 {
		k.t.Fatalf("purge: exit %d\n%s\n%s", r.code, r.stdout, r.stderr)
	}
	return reportOf(k.t, r).ID
}

// traffic is visitors who look whether an old page comes back.
type traffic struct {
	least    atomic.Int64 // number that a page must have
	up       atomic.Bool  // the gateway should answer
	pages    atomic.Int64
	mu       sync.Mutex
	faults   []string
	visitors sync.WaitGroup
}

func (k *kept) load(ctx context.Context, visitors int) *traffic {
	x := new(traffic)
	x.up.Store(true)
	for v := range visitors {
		x.visitors.Go(func() {
			for i := v; ctx.Err() == nil; i++ {
				least, up := x.least.Load(), x.up.Load()
				a := k.answer(fmt.Sprintf("/page%d", i%40))
				number, err := strconv.ParseInt(a.text, 10, 64)
				fault := ""
				switch {
				case a.err == nil && a.code == http.StatusOK && (err != nil || number < least):
					fault = fmt.Sprintf("page %q after a purge that wants %d; %s", a.text, least, a.header.Get("Cache-Status"))
				case (a.err != nil || a.code != http.StatusOK) && up && x.up.Load():
					fault = fmt.Sprintf("%d, %v, %.100s", a.code, a.err, a.text)
				}
				x.pages.Add(1)
				if fault != "" {
					x.mu.Lock()
					x.faults = append(x.faults, fault)
					x.mu.Unlock()
				}
			}
		})
	}
	return x
}

// TestADestroyedNodeIsRestored: under load, with its state and its certificates gone
// and the cache's disk left, one command brings a node back.
func TestADestroyedNodeIsRestored(t *testing.T) {
	t.Parallel()
	k := newKept(t)
	k.start()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	x := k.load(ctx, 8)
	k.number.Store(1)
	first := k.purged()
	x.least.Store(1)
	k.eventually("pages are on disk", func() bool { return k.disk().Blobs >= 40 })
	if r := k.edge("drain", "--replica", k.replicas[1], "--wait", "1m"); r.code != 0 {
		t.Fatalf("drain: exit %d\n%s", r.code, r.stderr)
	}
	authority := k.authority()
	k.backedUp()
	k.stored.Store(true) // what follows is in no backup

	k.number.Store(2)
	k.purged()
	x.least.Store(2)
	before := k.generation()
	x.up.Store(false)
	k.kill()
	destroyed := time.Now()
	for _, folder := range []string{k.stateDir, k.data} {
		if err := os.RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
	}
	told := len(k.cdn.Calls())
	r := k.command("restore")
	if r.code != 0 {
		t.Fatalf("restore: exit %d\n%s\n%s", r.code, r.stdout, r.stderr)
	}
	k.stored.Store(false)
	k.start()
	restored := time.Since(destroyed)
	x.up.Store(true)

	if a := k.control(http.MethodGet, "purge/"+first, ""); a.code != http.StatusOK {
		t.Errorf("the purge before the backup: %d %s: want it known", a.code, a.text)
	}
	if got := k.state(k.replicas[1]); got != "drained" {
		t.Errorf("the replica that was set aside is %q: want it drained", got)
	}
	if now := k.generation(); now <= before {
		t.Errorf("generation %d: want more than %d, which was given out after the backup", now, before)
	}
	if !bytes.Equal(k.authority(), authority) {
		t.Error("the site has a certificate of another authority: want Caddy's storage back")
	}
	k.eventually("everything is purged at Cloudflare", func() bool {
		for _, c := range k.cdn.Calls()[told:] {
			if c.Kind == "purge_everything" {
				return true
			}
		}
		return false
	})
	seen := x.pages.Load()
	k.eventually("visitors come again", func() bool { return x.pages.Load() > seen+400 })
	k.backedUp()
	stop()
	x.visitors.Wait()
	for _, fault := range x.faults {
		t.Error(fault)
	}
	t.Logf("%d pages, restored and answering %s after the node was destroyed: %s", x.pages.Load(), restored.Round(time.Millisecond), strings.Split(r.stdout, "\n")[0])
}

// generation is what edge status says.
func (k *kept) generation() uint64 {
	k.t.Helper()
	var s struct{ Generation uint64 }
	if a := k.control(http.MethodGet, "status", ""); json.Unmarshal([]byte(a.text), &s) != nil || s.Generation == 0 {
		k.t.Fatalf("status: %.200s", a.text)
	}
	return s.Generation
}

// TestAnOlderJournalBringsNoPageBack: a backup is restored over a state that is
// there, with a disk that is warm.
func TestAnOlderJournalBringsNoPageBack(t *testing.T) {
	t.Parallel()
	k := newKept(t)
	k.start()
	k.number.Store(1)
	k.page("/a")
	k.eventually("the page is on disk", func() bool { return k.disk().Blobs >= 1 })
	k.backedUp()
	k.stored.Store(true)
	k.number.Store(2)
	k.purged()
	before := k.generation()
	if r := k.command("restore", "--force"); r.code != 1 || !strings.Contains(r.stderr, "a gateway runs there") {
		t.Fatalf("while it runs: exit %d\n%s: want it refused", r.code, r.stderr)
	}
	k.kill()
	held := read(t, k.journal())
	if r := k.command("restore"); r.code != 2 || !strings.Contains(r.stderr, "purge.journal") || !strings.Contains(r.stderr, "--force") {
		t.Fatalf("without --force: exit %d\n%s: want it refused", r.code, r.stderr)
	}
	if r := k.command("restore", "--dry-run"); r.code != 0 || !strings.Contains(r.stdout, "replace  "+k.journal()) {
		t.Fatalf("--dry-run: exit %d\n%s%s: want what it would do", r.code, r.stdout, r.stderr)
	}
	if now := read(t, k.journal()); now != held {
		t.Fatal("the journal has changed before anybody allowed it")
	}
	if r := k.command("restore", "--force", "--purge", "never"); r.code != 0 {
		t.Fatalf("--force: exit %d\n%s", r.code, r.stderr)
	}
	k.start()
	if text, status := k.page("/a"); text != "2" {
		t.Errorf("got page %q, %s: want 2, since 1 was purged", text, status)
	}
	if now := k.generation(); now <= before {
		t.Errorf("generation %d: want more than %d", now, before)
	}
}

func TestARestoreThatWasCutOffIsNoStart(t *testing.T) {
	t.Parallel()
	k := newKept(t)
	k.start()
	k.backedUp()
	k.kill()
	note := filepath.Join(k.stateDir, "restore.json")
	if err := os.WriteFile(note, []byte(`{"backup":"x","finished":false}`), 0o600); err != nil {
		t.Fatal(err)
	}
	k.launch()
	<-k.ended
	if !strings.Contains(k.log.String(), "edge restore --force") {
		t.Errorf("%s\nwant what to do", k.log)
	}
	if r := k.command("restore", "--force"); r.code != 0 {
		t.Fatalf("exit %d\n%s", r.code, r.stderr)
	}
	k.start()
	k.eventually("what was to be done is done", func() bool {
		_, err := os.Stat(note)
		return errors.Is(err, os.ErrNotExist)
	})
}

func TestBackupsFromTheCommandLine(t *testing.T) {
	t.Parallel()
	k := newKept(t)
	k.start()
	k.backedUp()
	k.kill()
	k.rewrite("every 1s", "every 1h")
	folder := filepath.Join(t.TempDir(), "copies")
	if r := k.command("backup", "--to", folder); r.code != 0 || !strings.Contains(r.stdout, "made: edge-") {
		t.Fatalf("a gateway that does not run is backed up too: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if r := k.command("backup", "--to", folder, "--verify", "latest"); r.code != 0 || !strings.Contains(r.stdout, "good: edge-") {
		t.Fatalf("verify: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	archives, err := filepath.Glob(filepath.Join(folder, "*.tar.gz.age"))
	if err != nil || len(archives) != 1 {
		t.Fatalf("archives %v, %v: want one", archives, err)
	}
	other := filepath.Join(t.TempDir(), "state")
	alone := func(args ...string) ran {
		t.Helper()
		return command(t, nil, append([]string{"restore", "--state-dir", other, "--from", folder, "--only", "state,config", "--config-dir", filepath.Dir(other)}, args...)...)
	}
	if r := alone(); r.code == 0 || !strings.Contains(r.stderr, "want its key") {
		t.Errorf("without the key: exit %d\n%s", r.code, r.stderr)
	}
	if r := alone("--key-file", k.keyFile); r.code != 0 {
		t.Fatalf("with nothing but the key: exit %d\n%s", r.code, r.stderr)
	}
	if now := read(t, filepath.Join(filepath.Dir(other), "Caddyfile")); now != read(t, k.config) {
		t.Errorf("the Caddyfile came back as\n%s", now)
	}
	if r := alone("--key-file", k.keyFile, "--if-empty"); r.code != 0 || !strings.Contains(r.stdout, "nothing was done") {
		t.Errorf("--if-empty: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	data, err := os.ReadFile(archives[0])
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(archives[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"backup", "--to", folder, "--verify", "latest"}, {"restore", "--from", folder, "--force"}} {
		if r := k.command(args...); r.code != 1 || !strings.Contains(r.stderr, "damaged") {
			t.Errorf("%v of a damaged one: exit %d\n%s", args, r.code, r.stderr)
		}
	}
	k.stored.Store(true)
	if r := k.command("backup"); r.code != 1 || !strings.Contains(r.stderr, "SlowDown") || strings.Contains(r.stderr, s3Secret) {
		t.Errorf("a store that refuses: exit %d\n%s", r.code, r.stderr)
	}
	if r := k.command("restore", "--purge", "sometimes", "--only", "cache"); r.code != 2 || !strings.Contains(r.stderr, "sometimes") || !strings.Contains(r.stderr, `"cache"`) {
		t.Errorf("two mistakes: exit %d\n%s", r.code, r.stderr)
	}
}
