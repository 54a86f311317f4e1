package httpcache

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

const lasting = "Cache-Control: max-age=3600, stale-if-error=86400"

func TestARestartIsWarm(t *testing.T) {
	for _, how := range []string{"crash", "restart"} {
		t.Run(how, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newDiskWorld(t, lasting, `ETag: "a"`, "X-Two: 1", "X-Two: 2", "Cache-Status: before; hit", "Age: 5")
				defer func() { w.h.Store.Close() }()
				first := w.get(site)
				first.wants(t, StatusMiss, 200, "hello")
				w.written()
				wait(time.Minute)
				found := map[string]func(*testing.T) DiskFound{"crash": w.crash, "restart": w.restart}[how](t)
				if !found.Warm {
					t.Fatal("cold")
				}
				got := w.get(site)
				got.wants(t, StatusHit, 200, "hello")
				if got.Reason != ReasonDisk || got.Age != 65*time.Second || got.Header().Get("Age") != "65" ||
					got.Header().Get("Content-Length") != "5" || len(got.Header()["X-Two"]) != 2 ||
					got.Header()["Cache-Status"][1] != "edge; hit; ttl=3535; detail=disk" {
					t.Errorf("%s, %s, %v", got.Reason, got.Age, got.Header())
				}
				w.get(site, `If-None-Match: "a"`).wants(t, StatusHit, 304, "")
				if again := w.get(site); again.Reason != "" || w.origin.fetches() != 1 {
					t.Errorf("reason %q and %d fetches: want it in memory, and one", again.Reason, w.origin.fetches())
				}
				wait(time.Hour)
				w.origin.answer = down
				if stale := w.get(site); stale.Status != StatusStale || stale.Reason != ReasonStaleIfError {
					t.Errorf("%s %s: want it for when the origin fails", stale.Status, stale.Reason)
				}
			})
		})
	}
}

// Each purge is on disk when it is acknowledged: no restart brings back what
// it removed, in either way of ending.
func TestPurgesHoldOverRestarts(t *testing.T) {
	for name, p := range map[string]Purge{
		"url": {URLs: []string{site}}, "tag": {Tags: []string{"news"}}, "prefix": {Prefixes: []string{"example.com/pa"}},
		"host": {Hosts: []string{"example.com"}}, "version": {Versions: []string{"v1"}}, "everything": {Everything: true},
		"soft": {Tags: []string{"news"}, Soft: true}, "in the fleet": {Tags: []string{"news"}, Generation: 77},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newDiskWorld(t, lasting, "Cache-Tag: news")
				defer func() { w.h.Store.Close() }()
				w.origin.source.Version = "v1"
				w.get(site).wants(t, StatusMiss, 200, "hello")
				w.origin.source.Version = "v2"
				w.origin.answer = respond(200, "other", lasting)
				w.get("http://other.example/x").wants(t, StatusMiss, 200, "other")
				w.written()
				generation := w.h.Store.Purge(p)
				for range 3 { // again and again: the log is written afresh at each start
					if found := w.crash(t); !found.Warm || w.h.Store.Generation() != generation || found.Generation != generation {
						t.Fatalf("warm %v, generation %d, %d: want %d", found.Warm, found.Generation, w.h.Store.Generation(), generation)
					}
				}
				w.origin.answer = respond(200, "new", lasting)
				w.get(site).wants(t, StatusMiss, 200, "new")
				want, body := StatusHit, "other"
				if p.Everything {
					want, body = StatusMiss, "new"
				}
				w.get("http://other.example/x").wants(t, want, 200, body)
				if next := w.h.Store.Purge(Purge{Tags: []string{"x"}}); next <= generation {
					t.Errorf("the next purge is %d, after %d", next, generation)
				}
			})
		})
	}
}

// What is on disk and what judges it belong together; one without the other is
// given up.
func TestWithoutItsFenceADiskIsCold(t *testing.T) {
	for name, spoil := range map[string]func(w *diskWorld){
		"damaged": func(w *diskWorld) {
			f := w.files.file(fenceLogName)
			f.Data[len(f.Data)/2] ^= 1
		},
		"torn": func(w *diskWorld) {
			f := w.files.file(fenceLogName)
			f.Data = f.Data[:len(f.Data)-1]
		},
		"missing":         func(w *diskWorld) { _ = w.files.Remove(w.files.name(fenceLogName)) },
		"of another time": func(w *diskWorld) { w.id = "another" },
		"of nobody":       func(w *diskWorld) { w.id = "" },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newDiskWorld(t, lasting)
				defer func() { w.h.Store.Close() }()
				w.get(site).wants(t, StatusMiss, 200, "hello")
				w.h.Store.Purge(Purge{Tags: []string{"a"}})
				w.h.Store.Close()
				before := w.id
				spoil(w)
				if found := w.begin(t); found.Warm || w.id == before {
					t.Fatalf("warm %v, id %q again", found.Warm, w.id)
				}
				w.get(site).wants(t, StatusMiss, 200, "hello")
				if w.h.Store.Stats().Disk.Recovered != 0 {
					t.Error("something was kept")
				}
			})
		})
	}
}

func (f *folder) name(suffix string) string {
	for name := range f.files {
		if strings.HasSuffix(name, suffix) {
			return name
		}
	}
	return ""
}

func TestInvalidationsHoldOverRestarts(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newDiskWorld(t, lasting)
		defer func() { w.h.Store.Close() }()
		w.get(site).wants(t, StatusMiss, 200, "hello")
		w.written()
		w.do(http.MethodPost, site)
		w.crash(t)
		w.origin.answer = respond(200, "new", lasting)
		w.get(site).wants(t, StatusMiss, 200, "new")
		// And right after the answer, when it waits to be written.
		w.do(http.MethodPost, site)
		w.crash(t)
		w.get(site).wants(t, StatusMiss, 200, "new")
	})
}

// It is invalidated while it is read from disk, and must not get into memory.
func TestAnInvalidationOvertakesAReading(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newDiskWorld(t, lasting)
		defer func() { w.h.Store.Close() }()
		w.get(site).wants(t, StatusMiss, 200, "hello")
		w.restart(t)
		read, goOn := make(chan struct{}), make(chan struct{})
		w.files.reading = func(name string) {
			if strings.HasSuffix(name, ".seg") {
				read <- struct{}{}
				<-goOn
			}
		}
		w.origin.answer = respond(200, "new", lasting)
		first := w.startGet(site)
		<-read
		w.do(http.MethodPost, site)
		close(goOn)
		if got := <-first; got.Body.String() != "new" {
			t.Errorf("%q (%s): want what the origin says", got.Body, got.Status)
		}
		w.files.reading = nil
		w.get(site).wants(t, StatusHit, 200, "new")
	})
}

func TestWhatIsOutdatedDoesNotComeBack(t *testing.T) {
	for name, c := range map[string]struct {
		then func(http.ResponseWriter, *http.Request) error
		want string
	}{
		"by an answer that may not be stored": {respond(200, "secret", "Cache-Control: no-store"), "new"},
		"by a newer one":                      {respond(200, "newer", lasting), "newer"},
		"by one of little use":                {respond(200, "brief", "Cache-Control: max-age=0", `ETag: "b"`), "new"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := newDiskWorld(t, "Cache-Control: max-age=10, stale-if-error=3600", `ETag: "a"`)
				defer func() { w.h.Store.Close() }()
				w.get(site).wants(t, StatusMiss, 200, "hello")
				w.written()
				wait(11 * time.Second)
				w.origin.answer = c.then
				w.get(site)
				w.written()
				w.crash(t)
				w.origin.answer = down
				if got := w.get(site); got.err == nil && got.Body.String() != c.want {
					t.Errorf("%q (%s) while the origin is down", got.Body.String(), got.Status)
				}
				w.origin.answer = respond(200, "new", lasting)
				if got := w.get(site); got.Body.String() != c.want {
					t.Errorf("%q (%s), want %q", got.Body.String(), got.Status, c.want)
				}
			})
		})
	}
}

func TestVariantsAreFoundOnDisk(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newDiskWorld(t)
		defer func() { w.h.Store.Close() }()
		w.origin.answer = func(rw http.ResponseWriter, r *http.Request) error {
			return respond(200, "in "+r.Header.Get("Accept-Language"), lasting, "Vary: Accept-Language")(rw, r)
		}
		for _, language := range []string{"de", "en", ""} {
			w.get(site, "Accept-Language: "+language).wants(t, StatusMiss, 200, "in "+language)
		}
		w.restart(t)
		for _, language := range []string{"en", "", "de"} {
			got := w.get(site, "Accept-Language: "+language)
			got.wants(t, StatusHit, 200, "in "+language)
			if got.Reason != ReasonDisk {
				t.Errorf("reason %q", got.Reason)
			}
		}
		missing := w.get(site, "Accept-Language: fr")
		missing.wants(t, StatusMiss, 200, "in fr")
		if !strings.Contains(missing.Header().Get("Cache-Status"), "fwd=vary-miss") {
			t.Errorf("Cache-Status %q", missing.Header().Get("Cache-Status"))
		}
	})
}

// What is compared in another form than as it was sent is found in that form.
func TestFormsOfVaryOutliveARestart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newDiskWorld(t, lasting, "Vary: Accept, Accept-Encoding", "Content-Encoding: gzip")
		defer func() { w.h.Store.Close() }()
		w.h.Policy.NormalizeVary = []string{"Accept"}
		w.get(site, "Accept: text/html,text/plain", "Accept-Encoding: gzip, br").wants(t, StatusMiss, 200, "hello")
		w.restart(t)
		w.get(site, "Accept: text/plain , TEXT/html", "Accept-Encoding: br,gzip").wants(t, StatusHit, 200, "hello")
		w.get(site, "Accept: text/plain", "Accept-Encoding: br,gzip").wants(t, StatusMiss, 200, "hello")
	})
}

// What memory has no room for is found on disk.
func TestWhatIsEvictedIsOnDisk(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newDiskWorld(t)
		defer func() { w.h.Store.Close() }()
		w.h.Store.Configure(Options{MaxBytes: 200 << 10})
		w.origin.answer = func(rw http.ResponseWriter, r *http.Request) error {
			return respond(200, r.URL.Path+strings.Repeat("x", 4000), lasting)(rw, r)
		}
		const pages = 100
		for i := range pages {
			w.get(fmt.Sprint(site, i))
			w.written()
		}
		for i := range pages {
			w.get(fmt.Sprint(site, i)).wants(t, StatusHit, 200, "/page"+itoa(i)+strings.Repeat("x", 4000))
			if st := w.h.Store.Stats(); st.Bytes > st.MaxBytes {
				t.Fatalf("%d bytes in memory, at most %d", st.Bytes, st.MaxBytes)
			}
		}
		if st := w.h.Store.Stats(); w.origin.fetches() != pages || st.Disk.Hits < pages/2 || st.Evictions == 0 {
			t.Errorf("%d fetches, %+v", w.origin.fetches(), st)
		}
	})
}

// A disk that fails costs nobody their answer, and no purge its effect; what
// may be wrong on it is never served; and it comes back, empty.
func TestADiskThatFails(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newDiskWorld(t, lasting, "Cache-Tag: news")
		defer func() { w.h.Store.Close() }()
		w.get(site).wants(t, StatusMiss, 200, "hello")
		w.get(site+"/b").wants(t, StatusMiss, 200, "hello")
		w.written()
		w.files.fail(errors.New("no space left"))
		w.get(site+"/c").wants(t, StatusMiss, 200, "hello")
		w.get(site+"/c").wants(t, StatusHit, 200, "hello")
		w.h.Store.Purge(Purge{URLs: []string{site}})
		if w.h.Store.DiskFault() == nil {
			t.Error("a purge that is nowhere on disk counts as durable")
		}
		w.get(site).wants(t, StatusMiss, 200, "hello")
		w.get(site+"/b").wants(t, StatusHit, 200, "hello")
		w.do(http.MethodPost, site+"/b")
		w.get(site+"/b").wants(t, StatusMiss, 200, "hello")
		if st := w.h.Store.Stats().Disk; st.Serving || st.Fault == "" {
			t.Errorf("%+v: want it off, and a word why", st)
		}
		w.files.fail(nil)
		w.h.Store.Purge(Purge{URLs: []string{site}}) // as the coordinator does
		if err := w.h.Store.DiskFault(); err != nil {
			t.Errorf("the disk works, and still: %v", err)
		}
		if w.files.file(fenceLogName) != nil {
			t.Error("a log that lacks a purge is still there")
		}
		wait(2 * revivePause)
		w.settled()
		w.get(site+"/d").wants(t, StatusMiss, 200, "hello")
		w.written()
		if found := w.crash(t); !found.Warm {
			t.Fatal("cold, after it worked again")
		}
		w.get(site+"/d").wants(t, StatusHit, 200, "hello")
		w.get(site+"/b").wants(t, StatusMiss, 200, "hello")
	})
}

func TestAVersionOnHoldIsNotServed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newDiskWorld(t, lasting)
		defer func() { w.h.Store.Close() }()
		w.origin.source.Version = "v1"
		w.get(site).wants(t, StatusMiss, 200, "hello")
		if err := w.h.Store.Note("pool app", []byte("v1")); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if found := w.restart(t); string(found.Notes["pool app"]) != "v1" {
				t.Fatalf("notes %q", found.Notes)
			}
		}
		w.h.Store.Hold("v1")
		w.origin.answer = down
		if got := w.get(site); got.err == nil {
			t.Fatalf("%s %q: want it held back", got.Status, got.Body)
		}
		w.h.Store.Release("v1")
		w.get(site).wants(t, StatusHit, 200, "hello")
	})
}

func TestExplainLooksOnDisk(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newDiskWorld(t, lasting)
		defer func() { w.h.Store.Close() }()
		w.get(site)
		w.restart(t)
		r, err := http.NewRequest(http.MethodGet, site, nil)
		if err != nil {
			t.Fatal(err)
		}
		x := w.h.Explain(r, nil, time.Now())
		if x.Decision != "serve" || x.Reason != ReasonDisk || x.OnDisk != 1 || x.Variants != 0 || x.Entry == nil || x.Entry.Bytes != 5 {
			t.Errorf("%+v", x)
		}
		if w.h.Store.Stats().Entries != 0 {
			t.Error("explaining put it into memory")
		}
	})
}
