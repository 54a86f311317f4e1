package caddymodule

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	zapobserver "go.uber.org/zap/zaptest/observer"

	"github.com/edgegw/edge/internal/disk"
	"github.com/edgegw/edge/internal/httpcache"
	"github.com/edgegw/edge/internal/purge"
	"github.com/edgegw/edge/internal/traffic"
)

func TestOrdersThatTheDiskHasNotSeen(t *testing.T) {
	order := func(id string, state purge.State, generation uint64, expect string, steps ...purge.StepName) purge.Record {
		r := purge.Record{Order: purge.Order{ID: id, Expect: expect}, State: state, Generation: generation}
		for _, name := range steps {
			r.Steps = append(r.Steps, purge.Step{Name: name})
		}
		return r
	}
	numbered, applied := purge.StepGeneration, purge.StepNode
	for name, c := range map[string]struct {
		records           []purge.Record
		journaled, fenced uint64
		unseen            []string
		whole             bool
	}{
		"nothing was ever purged":                 {whole: true},
		"all is done and seen":                    {[]purge.Record{order("a", purge.Done, 4, "", numbered, applied)}, 4, 4, nil, true},
		"seen, not journaled as done":             {[]purge.Record{order("a", purge.Running, 5, "", numbered)}, 5, 5, []string{"a"}, true},
		"numbered, not applied":                   {[]purge.Record{order("a", purge.Running, 5, "", numbered)}, 5, 4, []string{"a"}, true},
		"accepted, not numbered":                  {[]purge.Record{order("a", purge.Accepted, 0, "")}, 4, 4, []string{"a"}, true},
		"waits for its gate":                      {[]purge.Record{order("a", purge.Accepted, 0, "v2")}, 4, 4, nil, true},
		"past its gate":                           {[]purge.Record{order("a", purge.Running, 5, "v2", purge.StepGate, numbered)}, 5, 4, []string{"a"}, true},
		"journaled as applied, not seen":          {[]purge.Record{order("a", purge.Done, 5, "", numbered, applied)}, 5, 4, nil, false},
		"forgotten by the journal, not seen":      {nil, 9, 4, nil, false},
		"given up after it was numbered, unseen":  {[]purge.Record{order("a", purge.Failed, 5, "", numbered)}, 5, 4, nil, true},
		"one unseen, an earlier one lost as well": {[]purge.Record{order("a", purge.Running, 6, "", numbered), order("b", purge.Done, 5, "", numbered, applied)}, 6, 4, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			unseen, whole := unseenOrders(c.records, c.journaled, c.fenced)
			if whole != c.whole || len(unseen) != len(c.unseen) {
				t.Fatalf("%d unseen, whole %v: want %v, %v", len(unseen), whole, c.unseen, c.whole)
			}
			for i, r := range unseen {
				if r.ID != c.unseen[i] {
					t.Errorf("unseen %s: want %v", r.ID, c.unseen)
				}
			}
		})
	}
}

func TestNotesOfAnotherFormatAreRefused(t *testing.T) {
	good := map[string][]byte{"pool a": []byte(`{"current":"v1"}`), "pool b": nil, "else": []byte("x")}
	if versions, ok := readVersions(good); !ok || len(versions) != 1 || versions["a"].Current != "v1" {
		t.Errorf("%v, %v", versions, ok)
	}
	for _, note := range []string{`{"current":`, `{"seen":["v2"]}`} {
		if _, ok := readVersions(map[string][]byte{"pool a": []byte(note)}); ok {
			t.Errorf("%s is taken for a note", note)
		}
	}
}

// fixedOrigin answers each request alike.
type fixedOrigin struct {
	text    string
	fetches int
}

func (o *fixedOrigin) Detach(ctx context.Context, r *http.Request) *http.Request { return r.Clone(ctx) }
func (o *fixedOrigin) Source(*http.Request) httpcache.Source {
	return httpcache.Source{Current: true}
}

func (o *fixedOrigin) Fetch(w http.ResponseWriter, _ *http.Request) error {
	o.fetches++
	w.Header().Set("Cache-Control", "max-age=3600")
	_, err := io.WriteString(w, o.text)
	return err
}

// opened is a gateway of its own on a state folder, as it is before its first
// configuration begins to serve.
func opened(t *testing.T, stateDir string, size CacheSize) *gateway {
	t.Helper()
	g := &gateway{store: httpcache.NewStore(httpcache.Options{}), traffic: traffic.New()}
	if err := g.open(&App{StateDir: stateDir, Cache: size, logger: zap.NewNop()}); err != nil {
		t.Fatal(err)
	}
	return g
}

// fetched asks a gateway's cache for a page and says whether the origin had to
// be asked.
func fetched(t *testing.T, g *gateway, url string) bool {
	t.Helper()
	o := &fixedOrigin{text: url}
	h := &httpcache.Handler{Store: g.store}
	if _, err := h.Serve(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, url, nil), nil, o); err != nil {
		t.Fatal(err)
	}
	return o.fetches > 0
}

func TestJournaledOrdersComeBeforeTheFirstRequest(t *testing.T) {
	const first, second = "http://example.com/first", "http://example.com/second"
	on := CacheSize{Disk: 64 << 20}
	for name, c := range map[string]struct {
		between       func(t *testing.T, dir string) // two runs with a disk
		first, second bool                           // the origin is asked again
	}{
		"nothing happened": {func(*testing.T, string) {}, false, false},
		"an order was accepted": {func(t *testing.T, dir string) {
			journalled(t, dir, purge.Record{Order: purge.Order{ID: "a", Selectors: purge.Selectors{URLs: []string{first}}}, State: purge.Accepted})
		}, true, false},
		"an order is said to have reached this node": {func(t *testing.T, dir string) {
			journalled(t, dir, purge.Record{
				Order: purge.Order{ID: "a", Selectors: purge.Selectors{URLs: []string{first}}}, State: purge.Running, Generation: 9,
				Steps: []purge.Step{{Name: purge.StepGeneration}, {Name: purge.StepNode}},
			})
		}, true, true},
		"the journal is damaged": {func(t *testing.T, dir string) {
			path := filepath.Join(dir, "purge.journal")
			if err := os.WriteFile(path, []byte("00000000 {}\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, true, true},
		"a run without the disk": {func(t *testing.T, dir string) {
			if err := opened(t, dir, CacheSize{}).Destruct(); err != nil {
				t.Fatal(err)
			}
		}, true, true},
		"a run with another folder": {func(t *testing.T, dir string) {
			if err := opened(t, dir, CacheSize{Disk: 64 << 20, DiskFolder: filepath.Join(dir, "other")}).Destruct(); err != nil {
				t.Fatal(err)
			}
		}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			g := opened(t, dir, on)
			if !fetched(t, g, first) || !fetched(t, g, second) {
				t.Fatal("an empty cache has pages")
			}
			if err := g.Destruct(); err != nil {
				t.Fatal(err)
			}
			c.between(t, dir)
			g = opened(t, dir, on)
			if got := fetched(t, g, first); got != c.first {
				t.Errorf("first page: fetched %v, want %v", got, c.first)
			}
			if got := fetched(t, g, second); got != c.second {
				t.Errorf("second page: fetched %v, want %v", got, c.second)
			}
			if err := g.Destruct(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// journalled adds a record to the journal in a folder.
func journalled(t *testing.T, dir string, r purge.Record) {
	t.Helper()
	j, err := purge.OpenJournal(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Created, r.Deadline = time.Now(), time.Now().Add(time.Hour)
	if err := errors.Join(j.Append(r, true), j.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestARunningGatewayKeepsItsDisk(t *testing.T) {
	dir := t.TempDir()
	g := opened(t, dir, CacheSize{Disk: 64 << 20})
	defer func() {
		if err := g.Destruct(); err != nil {
			t.Error(err)
		}
	}()
	for name, c := range map[string]struct {
		size CacheSize
		says string
	}{
		"another size":   {CacheSize{Disk: 32 << 20}, ""},
		"another folder": {CacheSize{Disk: 64 << 20, DiskFolder: "/elsewhere"}, `cannot move its disk from "` + filepath.Join(dir, "cache") + `" to "/elsewhere"`},
		"none":           {CacheSize{}, "cannot give up"},
	} {
		err := g.open(&App{StateDir: dir, Cache: c.size, logger: zap.NewNop()})
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

// Whoever wonders where the cache has gone reads it in the log.
func TestAColdStartSaysWhy(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		before string
		do     func() error
		why    string // the beginning
	}{
		{"the first start", func() error { return nil }, "no record of purges"},
		{"a start after a proper end", func() error { return nil }, ""},
		{"a proper end, and the machine was down", func() error { return rebooted(dir, true) }, ""},
		{"the machine went down", func() error { return rebooted(dir, false) }, "the machine went down before the last run had ended"},
		{"a kill", func() error { return unended(dir) }, ""},
		{"a damaged record of purges", func() error { return os.WriteFile(filepath.Join(dir, "cache", "fence.log"), []byte("?"), 0o600) }, "no record of purges"},
		{"a damaged journal", func() error { return os.WriteFile(filepath.Join(dir, "purge.journal"), []byte("?\n?\n"), 0o600) }, "the purge journal has damaged lines"},
	} {
		if err := c.do(); err != nil {
			t.Fatal(err)
		}
		core, records := zapobserver.New(zapcore.InfoLevel)
		g := &gateway{store: httpcache.NewStore(httpcache.Options{}), traffic: traffic.New()}
		if err := g.open(&App{StateDir: dir, Cache: CacheSize{Disk: 64 << 20}, logger: zap.New(core)}); err != nil {
			t.Fatalf("%s: %v", c.before, err)
		}
		opened := records.FilterMessage("cache disk opened").All()
		if len(opened) != 1 {
			t.Fatalf("%s: %d records: want one", c.before, len(opened))
		}
		fields := opened[0].ContextMap()
		why, _ := fields["why"].(string)
		if fields["warm"] != (c.why == "") || !strings.HasPrefix(why, c.why) || (c.why == "" && why != "") {
			t.Errorf("%s: %v: want why %q", c.before, fields, c.why)
		}
		if err := g.Destruct(); err != nil {
			t.Fatal(err)
		}
	}
}

// recorded changes the first frame of the record of purges, as it would be after
// another end.
func recorded(dir string, change func(frame []byte) []byte) error {
	log, frames, intact, err := disk.ReadLog(filepath.Join(dir, "cache"), "fence.log", nil)
	if err != nil || !intact || disk.Boot() == "" {
		return fmt.Errorf("record of purges: %v, intact %v, boot %q", err, intact, disk.Boot())
	}
	defer log.Close()
	before := bytes.Clone(frames[0])
	if frames[0] = change(frames[0]); bytes.Equal(frames[0], before) {
		return fmt.Errorf("record of purges says %q: want the boot %q, and an end", before, disk.Boot())
	}
	return log.Rewrite(frames...)
}

// unended takes back the word that the last run has ended: it was killed.
func unended(dir string) error {
	boot := []byte(disk.Boot())
	return recorded(dir, func(frame []byte) []byte {
		return bytes.Replace(frame, append(bytes.Clone(boot), 1), append(bytes.Clone(boot), 0), 1)
	})
}

// rebooted says that the machine was down since, after the last run had ended or
// while it ran.
func rebooted(dir string, ended bool) error {
	if !ended {
		if err := unended(dir); err != nil {
			return err
		}
	}
	return recorded(dir, func(frame []byte) []byte {
		return bytes.Replace(frame, []byte(disk.Boot()), bytes.Repeat([]byte("0"), len(disk.Boot())), 1)
	})
}
