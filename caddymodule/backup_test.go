package caddymodule

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/edgegw/edge/internal/backup"
	"github.com/edgegw/edge/internal/purge"
)

func put(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func contents(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// pairFor is a certificate and its key.
func pairFor(t *testing.T, host string) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{host}, NotAfter: time.Now().Add(time.Hour)}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}

func fileNames(files []backup.File) (names []string) {
	for _, f := range files {
		names = append(names, f.Name)
	}
	return names
}

func TestWhatOfTheStateIsCopied(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"deploys.json", "aside.json", "sticky.key", "backup.id", "cache.id", "restore.json", "edge.lock", "owner.lock", ".probe-1", "aside.json.new", "sticky.key-1", "cache/fence.log", "a-file-of-tomorrow"} {
		put(t, filepath.Join(dir, name), "x")
	}
	put(t, filepath.Join(dir, "purge.journal"), "one line\nhalf a li")
	files, err := stateFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"state/a-file-of-tomorrow", "state/aside.json", "state/backup.id", "state/deploys.json", "state/sticky.key", "state/purge.journal"}
	if got := fileNames(files); !slices.Equal(got, want) {
		t.Errorf("got %q: want %q, the journal last", got, want)
	}
	if last := string(files[len(files)-1].Data); last != "one line\n" {
		t.Errorf("the journal has %q: want whole lines", last)
	}
}

func TestWhatOfCaddysStorageIsCopied(t *testing.T) {
	root := t.TempDir()
	storage := &certmagic.FileStorage{Path: root}
	for _, name := range []string{"certificates/a/a.crt", "acme/b/c.json", "locks/x.lock", "ocsp/y", "instance.uuid", "edge/purge.journal", "edge/cache/1.blob"} {
		put(t, filepath.Join(root, name), "x")
	}
	files, err := storedFiles(t.Context(), storage, filepath.Join(root, "edge"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fileNames(files), []string{"storage/acme/b/c.json", "storage/certificates/a/a.crt"}; !slices.Equal(got, want) {
		t.Errorf("got %q: want %q", got, want)
	}
	empty := &certmagic.FileStorage{Path: filepath.Join(root, "not", "there")}
	if files, err := storedFiles(t.Context(), empty, root); err != nil || len(files) != 0 {
		t.Errorf("a storage that nothing was stored in: %q, %v", fileNames(files), err)
	}
}

func TestTheConfigurationIsCopiedWithWhatItImports(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "sites", "a.caddy"), "a.example.com {\n\trespond a\n}\n")
	put(t, filepath.Join(dir, "snippets"), "(s) {\n\theader X y\n}\n")
	main := put(t, filepath.Join(dir, "Caddyfile"), "import snippets\nimport sites/*\nb.example.com {\n\timport s\n}\n")
	files, err := configFiles([]string{main})
	if err != nil {
		t.Fatal(err)
	}
	var from []string
	for _, f := range files {
		from = append(from, strings.TrimPrefix(f.From, dir+"/"))
	}
	slices.Sort(from)
	if want := []string{"Caddyfile", "sites/a.caddy", "snippets"}; !slices.Equal(from, want) {
		t.Errorf("got %q: want %q", from, want)
	}
	if _, err := configFiles([]string{filepath.Join(dir, "none")}); err == nil {
		t.Error("a file that is not there: want an error")
	}
}

func TestWhichConfigurationTheProcessRuns(t *testing.T) {
	for args, want := range map[string]string{
		"run --config /etc/edge/Caddyfile": "/etc/edge/Caddyfile", "run --config=x": "x", "run -c x": "x", "run": "", "run --config": "", "--version": "",
	} {
		if got := strings.Join(configOf(strings.Fields(args)), " "); got != want {
			t.Errorf("edge %s: got %q: want %q", args, got, want)
		}
	}
}

// journalIn writes a journal with a generation and the orders.
func journalIn(t *testing.T, dir string, generation uint64, records ...purge.Record) {
	t.Helper()
	j, err := purge.OpenJournal(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Rewrite(records, generation); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestARestoredJournalGoesOnAboveAll(t *testing.T) {
	order := func(id string, state purge.State) purge.Record {
		return purge.Record{Order: purge.Order{ID: id, Selectors: purge.Selectors{Tags: []string{"t"}}}, State: state}
	}
	backedUp, there := t.TempDir(), t.TempDir()
	journalIn(t, backedUp, 7, order("a", purge.Done), order("b", purge.Running))
	journalIn(t, there, 90)
	text := contents(t, filepath.Join(backedUp, journalFile))
	for _, c := range []struct {
		name, purge string
		fleet       bool
		dir         string
		generation  uint64
		unfinished  purge.State
	}{
		{"alone, nothing there: all is purged, what waits is over", purgeAuto, false, t.TempDir(), 7 + generationJump, purge.Canceled},
		{"a newer journal there", purgeAuto, false, there, 90 + generationJump, purge.Canceled},
		{"a fleet: what waits goes on", purgeAuto, true, t.TempDir(), 7 + generationJump, purge.Running},
		{"nothing is purged: what waits goes on", purgeNever, false, t.TempDir(), 7 + generationJump, purge.Running},
		{"a fleet that is purged all the same", purgeAlways, true, t.TempDir(), 7 + generationJump, purge.Canceled},
	} {
		r := restoration{stateDir: c.dir, purge: c.purge, content: backup.Content{Manifest: backup.Manifest{Fleet: c.fleet}}}
		raised, err := r.raised(text)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		put(t, filepath.Join(dir, journalFile), string(raised))
		j, err := purge.OpenJournal(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		records, generation := j.Load()
		if j.Damaged() || generation != c.generation || len(records) != 2 || records[0].State != purge.Done || records[1].State != c.unfinished {
			t.Errorf("%s: damaged %t, generation %d, %+v", c.name, j.Damaged(), generation, records)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatARestoreSaysOfTheJournal(t *testing.T) {
	backedUp := t.TempDir()
	journalIn(t, backedUp, 7)
	text := contents(t, filepath.Join(backedUp, journalFile))
	for name, c := range map[string]struct {
		there  func(dir string)
		action string
	}{
		"nothing there":               {func(string) {}, changeCreate},
		"the same: goes on above it":  {func(dir string) { put(t, filepath.Join(dir, journalFile), string(text)) }, changeReplace},
		"another one, which is newer": {func(dir string) { journalIn(t, dir, 90) }, changeReplace},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c.there(dir)
			r := restoration{stateDir: dir, purge: purgeAuto, content: backup.Content{Files: []backup.File{{Name: stateFolder + journalFile, Data: text}}}}
			changes, err := r.plan(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := r.apply(t.Context(), changes); err != nil {
				t.Fatal(err)
			}
			if len(changes) != 1 || changes[0].Action != c.action {
				t.Errorf("%+v: want %s", changes, c.action)
			}
		})
	}
}

func TestWhatDoesNotProve(t *testing.T) {
	dir := t.TempDir()
	certificate, key := pairFor(t, "a.test")
	_, other := pairFor(t, "b.test")
	journalIn(t, dir, 1)
	journal := backup.File{Name: "state/purge.journal", Data: contents(t, filepath.Join(dir, journalFile))}
	for _, c := range []struct {
		name  string
		files []backup.File
		want  string
	}{
		{"all is well", []backup.File{journal, {Name: "state/aside.json", Data: []byte("{}")}, {Name: "storage/c/a.crt", Data: certificate}, {Name: "storage/c/a.key", Data: key}, {Name: "storage/acme/b.key", Data: []byte("an account's")}}, ""},
		{"a journal with a torn line", []backup.File{{Name: "state/purge.journal", Data: journal.Data[:len(journal.Data)-3]}}, "damaged lines"},
		{"half a history", []backup.File{journal, {Name: "state/deploys.json", Data: []byte(`{"schema":1`)}}, "deploys.json"},
		{"an empty key", []backup.File{journal, {Name: "state/sticky.key"}}, "sticky.key"},
		{"a certificate with another key", []backup.File{journal, {Name: "storage/c/a.crt", Data: certificate}, {Name: "storage/c/a.key", Data: other}}, "certificate c/a"},
	} {
		scratch := t.TempDir()
		for _, f := range c.files {
			put(t, filepath.Join(scratch, f.Name), string(f.Data))
		}
		err := proveBackup(scratch, backup.Content{Files: c.files})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v: want %q", c.name, err, c.want)
		}
	}
}

func TestWhenBackupsAreOverdue(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(ago time.Duration) backup.Status {
		return backup.Status{Last: backup.Marker{Created: now.Add(-ago)}, Every: 5 * time.Minute}
	}
	for _, c := range []struct {
		name   string
		status backup.Status
		wrong  bool
	}{
		{"the first is being made", backup.Status{Every: 5 * time.Minute}, false},
		{"made in time", at(14 * time.Minute), false},
		{"three intervals ago", at(16 * time.Minute), true},
	} {
		if err := backupOverdue(c.status, now); (err != nil) != c.wrong || backupState(c.status, now).OK == c.wrong {
			t.Errorf("%s: got %v", c.name, err)
		}
	}
}
