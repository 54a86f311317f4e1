package backup

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgegw/edge/internal/backup/standin"
)

const (
	accessKey = "AKIAEDGETESTSEDGETES"
	secretKey = "s3cr3t-of-the-store-of-tests-0123456789"
)

// clocked makes contents that differ, a minute apart.
func clocked() func(context.Context) (Content, error) {
	var n atomic.Int64
	return func(context.Context) (Content, error) {
		c := sample()
		i := n.Add(1)
		c.Manifest.Created = noon.Add(time.Duration(i) * time.Minute)
		c.Files = append(c.Files, File{Name: "state/number", Data: fmt.Append(nil, i)})
		return c, nil
	}
}

func vaultAt(t *testing.T, target Target) *Vault {
	t.Helper()
	store, err := target.Open()
	if err != nil {
		t.Fatal(err)
	}
	return &Vault{Store: store, Keep: 3, Collect: clocked(), Prove: func(dir string, c Content) error {
		for _, f := range c.Files {
			if data, err := os.ReadFile(filepath.Join(dir, f.Name)); err != nil || string(data) != string(f.Data) {
				return fmt.Errorf("%s: %w", f.Name, err)
			}
		}
		return nil
	}}
}

// inS3 is a target in a store that is strict, and the store.
func inS3(t *testing.T) (Target, *standin.Store) {
	t.Helper()
	store, err := standin.New("backups", accessKey, secretKey)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(store)
	t.Cleanup(server.Close)
	return Target{To: "s3://backups/site/a", Endpoint: server.URL, AccessKey: accessKey, SecretKey: secretKey, PathStyle: true}, store
}

func targets(t *testing.T) map[string]Target {
	s3, _ := inS3(t)
	return map[string]Target{"folder": {To: filepath.Join(t.TempDir(), "not", "there", "yet")}, "s3": s3}
}

func TestBackupsAreMadeListedFetchedAndLetGo(t *testing.T) {
	for name, target := range targets(t) {
		for sealed, key := range map[string]*Key{"open": nil, "encrypted": newKey(t)} {
			t.Run(name+", "+sealed, func(t *testing.T) {
				v := vaultAt(t, target)
				v.Key = key
				var made []Marker
				for range 5 {
					m, err := v.Make(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					made = append(made, m)
				}
				list, err := v.List(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				slices.Reverse(list)
				same := func(a, b Marker) bool { return a.Name == b.Name && a.SHA256 == b.SHA256 }
				if own := slices.DeleteFunc(list, func(m Marker) bool { return m.Encrypted != (key != nil) }); !slices.EqualFunc(own, made[2:], same) {
					t.Fatalf("listed %v: want the last three of %v", own, made)
				}
				c, err := v.Check(t.Context(), made[4])
				if err != nil {
					t.Fatal(err)
				}
				if last := c.Files[len(c.Files)-1]; string(last.Data) != "5" {
					t.Errorf("the last backup has number %q: want 5", last.Data)
				}
				if _, err := v.Fetch(t.Context(), made[0]); err == nil {
					t.Errorf("%s is there still: want it gone", made[0].Name)
				}
				objects, err := v.Store.List(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range made[2:] {
					if err := errors.Join(v.Store.Delete(t.Context(), m.Name+markerSuffix), v.Store.Delete(t.Context(), m.Name)); err != nil {
						t.Fatal(err)
					}
				}
				if len(objects) != 6 {
					t.Errorf("%d objects: want three archives and their markers, %v", len(objects), objects)
				}
			})
		}
	}
}

func TestWhatIsNotWholeIsNoBackup(t *testing.T) {
	target, store := inS3(t)
	v := vaultAt(t, target)
	first, err := v.Make(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	archive := func(method string) func(*http.Request) bool {
		return func(r *http.Request) bool { return r.Method == method && strings.HasSuffix(r.URL.Path, ".tar.gz") }
	}
	marker := func(r *http.Request) bool { return r.Method == "PUT" && strings.HasSuffix(r.URL.Path, markerSuffix) }
	for _, c := range []struct {
		name  string
		when  func(*http.Request) bool
		fault standin.Fault
	}{
		{"the store is busy", archive("PUT"), standin.SlowDown},
		{"the answer to the upload is lost", archive("PUT"), standin.Lost},
		{"it comes back cut off", archive("GET"), standin.CutOff},
		{"it comes back as something else", archive("GET"), standin.Flipped},
		{"the marker is refused", marker, standin.SlowDown},
	} {
		store.FailBy(func(r *http.Request) standin.Fault {
			if c.when(r) {
				return c.fault
			}
			return standin.None
		})
		if m, err := v.Make(t.Context()); err == nil {
			t.Errorf("%s: made %s: want an error", c.name, m.Name)
		} else if strings.Contains(err.Error(), secretKey) {
			t.Errorf("%s: %v shows the secret", c.name, err)
		}
		store.FailBy(func(*http.Request) standin.Fault { return standin.None })
		list, err := v.List(t.Context())
		if err != nil || len(list) != 1 || list[0].Name != first.Name {
			t.Fatalf("%s: listed %v, %v: want only %s", c.name, list, err, first.Name)
		}
		if _, err := v.Check(t.Context(), first); err != nil {
			t.Fatalf("%s: the good one: %v", c.name, err)
		}
	}
	if m, err := v.Make(t.Context()); err != nil {
		t.Errorf("afterwards: %s, %v", m.Name, err)
	}
}

func TestABackupThatDoesNotProveIsNone(t *testing.T) {
	v := vaultAt(t, Target{To: t.TempDir()})
	v.Prove = func(string, Content) error { return errors.New("journal is damaged") }
	if _, err := v.Make(t.Context()); err == nil || !strings.Contains(err.Error(), "journal is damaged") {
		t.Errorf("got %v: want why", err)
	}
	if list, err := v.List(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("listed %v, %v: want none", list, err)
	}
}

func TestOldOnesThatStayAreSaid(t *testing.T) {
	target, store := inS3(t)
	v := vaultAt(t, target)
	v.Keep = 1
	if _, err := v.Make(t.Context()); err != nil {
		t.Fatal(err)
	}
	store.FailBy(func(r *http.Request) standin.Fault {
		if r.Method == "DELETE" {
			return standin.SlowDown
		}
		return standin.None
	})
	m, err := v.Make(t.Context())
	if tidying := new(Tidying); !errors.As(err, &tidying) {
		t.Fatalf("got %v: want what was not deleted", err)
	}
	if list, err := v.List(t.Context()); err != nil || len(list) != 2 || list[0].Name != m.Name {
		t.Errorf("listed %v, %v: want both", list, err)
	}
}

func TestAStoreThatRefusesSaysWhy(t *testing.T) {
	target, _ := inS3(t)
	for _, c := range []struct {
		name   string
		change func(*Target)
		want   string
	}{
		{"another secret", func(t *Target) { t.SecretKey = "another-secret-0123456789" }, "SignatureDoesNotMatch"},
		{"a key that nobody knows", func(t *Target) { t.AccessKey = "AKIANOBODY" }, "want keys that may"},
		{"no such bucket", func(t *Target) { t.To = "s3://elsewhere/x" }, "NoSuchBucket"},
		{"nobody there", func(t *Target) { t.Endpoint = "http://127.0.0.1:1" }, "127.0.0.1:1"},
	} {
		changed := target
		c.change(&changed)
		_, err := vaultAt(t, changed).Make(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), changed.SecretKey) {
			t.Errorf("%s: got %v: want %q, and no secret", c.name, err, c.want)
		}
	}
}

func TestManyBackupsAreListedOverPages(t *testing.T) {
	target, _ := inS3(t)
	v := vaultAt(t, target)
	v.Keep = 2000
	m, err := v.Make(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1100 {
		if err := v.Store.Put(t.Context(), fmt.Sprintf("edge-zzzzzzzz-%04d.tar.gz", i), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	objects, markers, err := v.survey(t.Context())
	if err != nil || len(objects) != 1102 || len(markers) != 1 || markers[0].Name != m.Name {
		t.Errorf("%d objects, %v, %v: want 1102 on two pages, and one backup", len(objects), markers, err)
	}
}

// hasty is a Store from which somebody deletes an object as soon as it was listed.
type hasty struct {
	Store
	loses string
}

func (h hasty) List(ctx context.Context) ([]Object, error) {
	objects, err := h.Store.List(ctx)
	return objects, errors.Join(err, h.Delete(ctx, h.loses))
}

func TestABackupThatGoesWhileItIsListedIsNone(t *testing.T) {
	for name, target := range targets(t) {
		v := vaultAt(t, target)
		first, err := v.Make(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		second, err := v.Make(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		other := vaultAt(t, target) // which has read no marker yet
		other.Store = hasty{other.Store, first.Name + markerSuffix}
		list, err := other.List(t.Context())
		if err != nil || len(list) != 1 || list[0].Name != second.Name {
			t.Errorf("%s: listed %v, %v: want %s alone", name, list, err, second.Name)
		}
	}
}

// memory is a Store for tests of time, where nothing may wait for the network.
type memory struct {
	folder
	fail atomic.Bool
}

func (m *memory) Put(ctx context.Context, name string, data []byte) error {
	if m.fail.Load() {
		return errors.New("store is full")
	}
	return m.folder.Put(ctx, name, data)
}

func TestTheRunnerKeepsItsInterval(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		store := &memory{folder: folder(dir)}
		collect := func(context.Context) (Content, error) {
			c := sample()
			c.Manifest.Created = time.Now()
			return c, nil
		}
		plan := &Plan{Vault: &Vault{Store: store, Keep: 2, Collect: collect, Prove: func(string, Content) error { return nil }}, Every: 10 * time.Minute, Timeout: time.Minute, Lineage: func() (string, error) { return "abcd2345", nil }}
		var made, failed atomic.Int64
		event := func(e Event) {
			if e.Err != nil {
				failed.Add(1)
			} else {
				made.Add(1)
			}
		}
		pass := func(d time.Duration) {
			time.Sleep(d)
			synctest.Wait()
		}
		r := NewRunner(event)
		r.Configure(plan)
		pass(time.Second)
		if made.Load() != 1 {
			t.Fatalf("%d made at the start: want one", made.Load())
		}
		pass(30 * time.Minute)
		if made.Load() != 4 {
			t.Errorf("%d made after half an hour: want 4", made.Load())
		}
		r.Configure(plan) // as after a reload
		pass(5 * time.Minute)
		if made.Load() != 4 {
			t.Errorf("%d made after a reload: want none before its time", made.Load())
		}
		store.fail.Store(true)
		pass(6 * time.Minute)
		if s := r.Status(); s.Err == nil || failed.Load() == 0 || s.Failed != failed.Load() || s.Last.Name == "" {
			t.Errorf("got %+v: want the failure, and the last good one", s)
		}
		store.fail.Store(false)
		pass(6 * time.Minute)
		if s := r.Status(); s.Err != nil || made.Load() != 5 {
			t.Errorf("got %+v, %d made: want it tried again soon", s, made.Load())
		}
		r.Close()
		other := NewRunner(event) // as in another process
		other.Configure(plan)
		pass(time.Second)
		if s := other.Status(); made.Load() != 5 || s.Last.Name == "" {
			t.Errorf("%d made, %+v: want the store's newest known, and none made before its time", made.Load(), s)
		}
		other.Close()
		pass(time.Hour)
		if made.Load() != 5 {
			t.Errorf("%d made after the end: want none", made.Load())
		}
	})
}
