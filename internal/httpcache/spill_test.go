package httpcache

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// film is larger than the memory of a filmWorld takes.
var film = strings.Repeat("0123456789abcdef", 40_000)

// filmWorld has a disk, and memory for small answers only.
func filmWorld(t *testing.T) *diskWorld {
	w := newDiskWorld(t)
	w.h.Store.Configure(Options{MaxObject: 64 << 10})
	w.origin.answer = screen(film, true, `"a"`)
	return w
}

// screen sends a film in pieces; or confirms it.
func screen(text string, declared bool, tag string, fields ...string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		h := w.Header()
		h.Set("Cache-Control", "max-age=60, stale-while-revalidate=10, stale-if-error=600")
		h.Set("ETag", tag)
		h.Set("Cache-Tag", "films")
		setFields(h, fields)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
		if declared {
			h.Set("Content-Length", strconv.Itoa(len(text)))
		}
		for piece := range slices.Chunk([]byte(text), 10_007) {
			if _, err := w.Write(piece); err != nil {
				return err
			}
		}
		return nil
	}
}

// spilled waits until what was on its way to the disk is there.
func (w *diskWorld) spilled() {
	w.settled()
	w.written()
	w.written() // after which files without a record are gone
}

func TestWhatIsTooLargeForMemoryIsStoredOnDisk(t *testing.T) {
	for how, declared := range map[string]bool{"declared": true, "not declared": false} {
		for _, end := range []string{"", "crash", "restart"} {
			t.Run(how+", "+end, func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					w := filmWorld(t)
					defer func() { w.h.Store.Close() }()
					w.origin.answer = screen(film, declared, `"a"`)
					first := w.get(site)
					first.wants(t, StatusMiss, 200, film)
					if first.Reason != ReasonToDisk {
						t.Errorf("reason %q", first.Reason)
					}
					w.spilled()
					switch end {
					case "crash":
						w.crash(t)
					case "restart":
						w.restart(t)
					}
					hit := w.get(site)
					hit.wants(t, StatusHit, 200, film)
					if hit.Reason != ReasonDisk || hit.Header().Get("Content-Length") != strconv.Itoa(len(film)) || hit.Header().Get("ETag") != `"a"` {
						t.Errorf("reason %q, %v", hit.Reason, hit.Header())
					}
					w.get(site, "Range: bytes=300000-300004").wants(t, StatusHit, 206, film[300000:300005])
					w.get(site, "Range: bytes=-3").wants(t, StatusHit, 206, "def")
					w.get(site, "Range: bytes=700000-").wants(t, StatusHit, 416, "")
					w.get(site, "Range: bytes=0-4", `If-Range: "other"`).wants(t, StatusHit, 200, film)
					w.get(site, `If-None-Match: "a"`).wants(t, StatusHit, 304, "")
					w.do(http.MethodHead, site).wants(t, StatusHit, 200, "")
					if two := w.get(site, "Range: bytes=0-1,639990-639991"); two.Code() != 206 || !strings.Contains(two.Body.String(), "\r\n\r\n01\r\n") || !strings.Contains(two.Body.String(), "\r\n\r\n67\r\n") {
						t.Errorf("two parts: %d %q", two.Code(), two.Body)
					}
					if n := w.origin.fetches(); n != 1 {
						t.Errorf("%d fetches: want one", n)
					}
					if n := w.h.Store.Stats().Bytes; n > 64<<10 {
						t.Errorf("%d bytes of memory are held", n)
					}
				})
			})
		}
	}
}

func (a answer) Code() int { return a.ResponseRecorder.Code }

// What is under way to the disk is under way to those who asked too; who comes
// later need not wait for it.
func TestASpillHasFollowers(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := filmWorld(t)
		defer w.h.Store.Close()
		g := newGate()
		w.origin.answer = g.answer(200, film, lasting, fmt.Sprintf("Content-Length: %d", len(film)))
		all := w.startMany(3, site)
		close(g.header)
		w.settled()
		late := w.startGet(site)
		w.settled()
		if n := w.origin.fetches(); n != 2 {
			t.Errorf("%d fetches: want that of the leader, and of who came late", n)
		}
		close(g.body)
		for _, one := range all {
			got := <-one
			got.wants(t, StatusMiss, 200, film)
		}
		(<-late).wants(t, StatusMiss, 200, film)
		w.spilled()
		w.get(site).wants(t, StatusHit, 200, film)
	})
}

func TestWhoLeavesDoesNotEndASpill(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := filmWorld(t)
		defer w.h.Store.Close()
		g := newGate()
		w.origin.answer = g.answer(200, film, lasting)
		ctx, leave := context.WithCancel(context.Background())
		waiting := w.start(httptest.NewRequest(http.MethodGet, site, nil).WithContext(ctx))
		close(g.header)
		w.settled()
		leave()
		<-waiting
		wait(time.Second)
		close(g.body)
		w.spilled()
		w.get(site).wants(t, StatusHit, 200, film)
	})
}

// The fence and unsafe requests reach what is on disk, and what is on its way.
func TestSpillsArePurged(t *testing.T) {
	post := func(w *diskWorld) {
		before := w.origin.answer
		w.origin.answer = respond(204, "")
		w.do(http.MethodPost, site)
		w.origin.answer = before
	}
	for how, purge := range map[string]func(*diskWorld){
		"everything": func(w *diskWorld) { w.h.Store.Purge(Purge{Everything: true}) },
		"tag":        func(w *diskWorld) { w.h.Store.Purge(Purge{Tags: []string{"films"}}) },
		"url":        func(w *diskWorld) { w.h.Store.Purge(Purge{URLs: []string{site}}) },
		"POST":       post,
	} {
		for _, when := range []string{"stored", "stored, and after a crash", "on its way", "being synced"} {
			t.Run(how+", "+when, func(t *testing.T) {
				inBubble(t, func(t *testing.T) {
					w := filmWorld(t)
					defer func() { w.h.Store.Close() }()
					g, syncing := newGate(), make(chan struct{})
					w.origin.answer = g.answer(200, film, lasting, "Cache-Tag: films")
					if when == "being synced" {
						w.files.setSyncing(func(name string) {
							if strings.HasSuffix(name, ".part") {
								<-syncing
							}
						})
					}
					first := w.startGet(site)
					close(g.header)
					w.settled()
					if when == "on its way" {
						purge(w)
					}
					close(g.body)
					(<-first).wants(t, StatusMiss, 200, film)
					w.settled()
					if when == "being synced" {
						purge(w)
					}
					close(syncing)
					w.spilled()
					if strings.HasPrefix(when, "stored") {
						w.get(site).wants(t, StatusHit, 200, film)
						purge(w)
					}
					if strings.HasSuffix(when, "crash") {
						w.crash(t)
						w.h.Store.Configure(Options{MaxObject: 64 << 10})
					}
					w.origin.answer = screen("new"+film, true, `"b"`)
					w.get(site).wants(t, StatusMiss, 200, "new"+film)
					w.spilled()
					w.get(site).wants(t, StatusHit, 200, "new"+film)
				})
			})
		}
	}
}

// A 304 gives what is on disk a new header, not a new body.
func TestASpillIsRevalidated(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := filmWorld(t)
		defer func() { w.h.Store.Close() }()
		w.get(site).wants(t, StatusMiss, 200, film)
		w.spilled()
		wait(65 * time.Second) // within stale-while-revalidate
		w.origin.answer = screen(film, true, `"a"`, "X-Times: 2")
		w.get(site).wants(t, StatusStale, 200, film)
		w.spilled()
		if again := w.get(site); again.Status != StatusHit || again.Header().Get("X-Times") != "2" || again.Body.String() != film {
			t.Errorf("%s, X-Times %q, %d bytes after the refresh", again.Status, again.Header().Get("X-Times"), again.Body.Len())
		}
		w.crash(t)
		w.h.Store.Configure(Options{MaxObject: 64 << 10})
		w.h.Store.Purge(Purge{Everything: true, Soft: true})
		w.origin.answer = screen(film, true, `"a"`, "X-Times: 3")
		w.get(site).wants(t, StatusRevalidated, 200, film)
		w.spilled()
		w.get(site).wants(t, StatusHit, 200, film)
		wait(2 * time.Minute)
		w.origin.answer = down
		w.get(site).wants(t, StatusStale, 200, film)
		w.origin.answer = respond(200, "short", "Cache-Control: max-age=60")
		w.get(site).wants(t, StatusMiss, 200, "short")
		w.spilled()
		w.crash(t)
		w.get(site).wants(t, StatusHit, 200, "short")
		if left := w.files.named(".body"); len(left) != 0 {
			t.Errorf("%v are left", left)
		}
	})
}

// A disk that hangs, is slow or full keeps nobody waiting.
func TestASpillDoesNotKeepVisitorsWaiting(t *testing.T) {
	for how, spoil := range map[string]func(*diskWorld){
		"hangs": func(w *diskWorld) {
			w.files.setPace(nil, func(string) { wait(time.Hour) })
		},
		"slow": func(w *diskWorld) {
			w.files.setPace(nil, func(string) { wait(time.Second) })
		},
		"full": func(w *diskWorld) { w.files.fail(syscall.ENOSPC) },
	} {
		t.Run(how, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := filmWorld(t)
				w.h.Store.Configure(Options{MaxBytes: 4 << 20, MaxObject: 64 << 10})
				spoil(w)
				start := time.Now()
				w.get(site).wants(t, StatusMiss, 200, film)
				if took := time.Since(start); took > spillPatience {
					t.Errorf("it took %v: want %v at most", took, spillPatience)
				}
				wait(2 * time.Hour)
				w.files.fail(nil)
				w.files.setPace(nil, nil)
				w.get(site).wants(t, StatusMiss, 200, film)
				w.spilled()
				if n := w.h.Store.Stats().Disk; n.Dropped == 0 && n.Errors == 0 {
					t.Error("nothing was counted")
				}
				wait(refusedFor)
				w.get(site)
				w.spilled()
				w.get(site).wants(t, StatusHit, 200, film)
				w.h.Store.Close()
				if left := w.files.named(".part"); len(left) != 0 {
					t.Errorf("%v are left", left)
				}
			})
		})
	}
}

func TestWhatIsCutOffIsNotStoredOnDisk(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := filmWorld(t)
		defer w.h.Store.Close()
		w.origin.answer = func(rw http.ResponseWriter, _ *http.Request) error {
			setFields(rw.Header(), []string{lasting})
			_, _ = io.WriteString(rw, film)
			panic(http.ErrAbortHandler)
		}
		if got := <-w.startGet(site); got.err == nil {
			t.Error("a cut-off answer passed for whole")
		}
		w.spilled()
		if left := append(w.files.named(".part"), w.files.named(".body")...); len(left) != 0 {
			t.Errorf("%v are left", left)
		}
		w.origin.answer = screen(film, false, `"a"`)
		w.get(site).wants(t, StatusMiss, 200, film)
	})
}

// What the disk has spoilt is not sent as if it were whole, and not twice.
func TestASpoiltBodyIsNoticed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := filmWorld(t)
		defer w.h.Store.Close()
		w.get(site).wants(t, StatusMiss, 200, film)
		w.spilled()
		w.files.file(".body").Data[300_000] ^= 1
		got := <-w.startGet(site)
		if got.err == nil || !strings.Contains(got.err.Error(), http.ErrAbortHandler.Error()) {
			t.Fatalf("%v, %d bytes: want it broken off", got.err, got.Body.Len())
		}
		w.get(site).wants(t, StatusMiss, 200, film)
		w.spilled()
		w.get(site).wants(t, StatusHit, 200, film)
	})
}

func TestWhatNobodyTakesIsPassedOn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := filmWorld(t)
		defer w.h.Store.Close()
		w.h.Store.ConfigureDisk(16<<20, 100<<10)
		for _, declared := range []bool{true, false} {
			w.origin.answer = screen(film, declared, `"a"`)
			got := w.get(site)
			got.wants(t, StatusMiss, 200, film)
			if declared && got.Reason != ReasonTooLarge {
				t.Errorf("reason %q", got.Reason)
			}
			wait(refusedFor)
		}
		w.spilled()
		if left := append(w.files.named(".part"), w.files.named(".body")...); len(left) != 0 {
			t.Errorf("%v are left", left)
		}
		if w.h.Store.Stats().Disk.MaxObject != 100<<10 {
			t.Error("the limit is not shown")
		}
	})
}

// it.
func TestAPartDoesNotRemoveASpill(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := filmWorld(t)
		defer w.h.Store.Close()
		slow, syncing := file(film, `"a"`, lasting), make(chan struct{})
		w.origin.answer = slow
		w.files.setSyncing(func(string) { <-syncing })
		w.get(site).wants(t, StatusMiss, 200, film)
		part := make(chan struct{})
		w.origin.answer = func(rw http.ResponseWriter, r *http.Request) error {
			<-part
			return slow(rw, r)
		}
		waiting := w.startGet(site, "Range: bytes=0-4")
		w.settled()
		close(syncing)
		w.spilled()
		close(part)
		(<-waiting).wants(t, StatusMiss, 206, film[:5])
		w.spilled()
		w.get(site).wants(t, StatusHit, 200, film)
	})
}
