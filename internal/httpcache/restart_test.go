package httpcache

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// lives is what must hold about purges over the lives of several processes that
// follow each other on one disk. The origin's content has a number that rises
// before each purge and each unsafe request.
type lives struct {
	mu     sync.Mutex
	random *rand.Rand
	now    int
	// least is the number below which nothing of a path may be served. It rises
	// when a purge or an unsafe request is acknowledged by a living process.
	least map[string]int
	wrong []string
	// fromDisk counts hits that were read from disk.
	fromDisk int
}

// life is one process.
type life struct {
	*lives
	w    *diskWorld
	dead atomic.Bool // what it says from now on, nobody hears
}

func (l *lives) intn(n int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.random.IntN(n)
}

func (l *lives) nap(longest time.Duration) { time.Sleep(time.Duration(l.intn(int(longest)))) }

// answer produces the current content, slowly, and sometimes confirms that what
// is stored still is it.
func (l *lives) answer(w http.ResponseWriter, r *http.Request) error {
	l.mu.Lock()
	produced := strconv.Itoa(l.now)
	l.mu.Unlock()
	l.nap(40 * time.Millisecond)
	h := w.Header()
	if l.intn(10) == 0 {
		return respond(http.StatusOK, produced, "Cache-Control: no-store")(w, r)
	}
	h.Set("Cache-Control", fmt.Sprintf("max-age=%d, stale-while-revalidate=%d", 1+l.intn(20), l.intn(3)))
	h.Set("ETag", `"`+produced+`"`)
	h.Set("Cache-Tag", "tag,"+r.URL.Path[1:])
	h.Set("Vary", "Accept-Language")
	if r.Header.Get("If-None-Match") == h.Get("ETag") {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	_, err := io.WriteString(w, produced)
	return err
}

func (l *life) visit(path string) {
	l.mu.Lock()
	least := l.least[path]
	l.mu.Unlock()
	r := httptest.NewRequest(http.MethodGet, "http://example.com"+path, nil)
	r.Header.Set("Accept-Language", []string{"de", "en"}[l.intn(2)])
	got := l.w.send(r)
	if got.err != nil || got.ResponseRecorder.Code != http.StatusOK || l.dead.Load() {
		return
	}
	produced, err := strconv.Atoi(got.Body.String())
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil || produced < least {
		l.wrong = append(l.wrong, fmt.Sprintf("%s: %s (%s) of %q, after %d was acknowledged", path, got.Status, got.Reason, got.Body, least))
	}
	if got.Reason == ReasonDisk {
		l.fromDisk++
	}
}

// change raises the content's number, does what makes the old content
// unservable, and notes it if the process lives to say so.
func (l *life) change(paths []string, do func(path string) (matched []string)) {
	path := paths[l.intn(len(paths))]
	l.mu.Lock()
	l.now++
	number := l.now
	l.mu.Unlock()
	matched := do(path)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead.Load() {
		return
	}
	for _, path := range matched {
		l.least[path] = max(l.least[path], number)
	}
}

func (l *life) purge(paths []string) {
	l.change(paths, func(path string) []string {
		p, matched := Purge{}, []string{path}
		switch l.intn(6) {
		case 0:
			p.URLs = []string{"https://example.com" + path}
		case 1:
			p.Tags = []string{path[1:]}
		case 2:
			p.Prefixes, matched = []string{"example.com/"}, paths
		case 3:
			p.Hosts, matched = []string{"example.com"}, paths
		case 4:
			p.Versions, matched = []string{"v1"}, paths
		case 5:
			p.Everything, matched = true, paths
		}
		l.w.h.Store.Purge(p)
		return matched
	})
}

func (l *life) post(paths []string) {
	l.change(paths, func(path string) []string {
		posted := &testOrigin{answer: respond(http.StatusNoContent, ""), source: Source{Version: "v1", Current: true}}
		r := httptest.NewRequest(http.MethodPost, "http://example.com"+path, nil)
		_, _ = l.w.h.Serve(httptest.NewRecorder(), r, nil, posted) // only what it invalidates is of interest
		return []string{path}
	})
}

// live is one process's time; spoil may change what it leaves on disk.
func (l *lives) live(t *testing.T, w *diskWorld, paths []string, marks int) (left *folder) {
	one := &life{lives: l, w: w}
	w.h = &Handler{Store: newStore(Options{MaxBytes: 12 << 10}, marks)}
	if found := w.open(t); !found.Warm && l.now > 0 {
		t.Error("a cold start")
	}
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			for range 25 {
				one.visit(paths[l.intn(len(paths))])
				l.nap(200 * time.Millisecond)
			}
		})
	}
	all.Go(func() {
		for range 12 {
			l.nap(400 * time.Millisecond)
			one.purge(paths)
		}
	})
	all.Go(func() {
		for range 8 {
			l.nap(600 * time.Millisecond)
			one.post(paths)
		}
	})
	l.nap(3 * time.Second)
	if l.intn(4) == 0 {
		all.Wait()
		w.h.Store.Close() // in order
		return w.files
	}
	one.dead.Store(true)
	left = w.files.crashed()
	all.Wait()
	w.h.Store.Close()
	return left
}

// generations runs several lives after each other. With log false the fence is
// not kept, as a check that the model notices.
func generations(t *testing.T, seed uint64, log bool) *lives {
	l := &lives{random: rand.New(rand.NewPCG(seed, 7)), least: map[string]int{}}
	synctest.Test(t, func(t *testing.T) {
		paths := []string{"/a", "/b", "/c", "/d", "/e", "/f", "/g", "/h"}
		marks := []int{maxMarks, 3}[seed%2] // or the fence overflows all the time
		files, id, dir := newFolder(), "", t.TempDir()
		var kept []byte
		for range 4 {
			w := &diskWorld{world: newWorld(t), files: files, id: id, dir: dir}
			w.origin.answer, w.origin.source = l.answer, Source{Version: "v1", Current: true}
			files = l.live(t, w, paths, marks)
			id = w.id
			if log {
				continue
			}
			if kept == nil {
				kept = files.file(fenceLogName).Data
			}
			files.file(fenceLogName).Data = kept
		}
	})
	return l
}

// TestRestarts: `make schedules` runs as many of these as of the others. Run one
// of them again with
//
//	go test ./internal/httpcache -run TestRestarts -schedules 1 -seed N
func TestRestarts(t *testing.T) {
	var mu sync.Mutex
	var next uint64
	fromDisk, bad := 0, 0
	t.Run("all", func(t *testing.T) {
		for range runtime.GOMAXPROCS(0) {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				for {
					mu.Lock()
					seed, over := *firstSeed+next, next >= *schedules || bad >= 5
					next++
					mu.Unlock()
					if over {
						return
					}
					l := generations(t, seed, true)
					mu.Lock()
					fromDisk += l.fromDisk
					if len(l.wrong) > 0 {
						bad++
						t.Errorf("seed %d: %s", seed, l.wrong[0])
					}
					mu.Unlock()
				}
			})
		}
	})
	t.Logf("%8d hits from disk", fromDisk)
	if *schedules >= 40 && bad == 0 && uint64(fromDisk) < 10**schedules {
		t.Errorf("%d hits from disk in %d schedules: the model looks at nothing", fromDisk, *schedules)
	}
}

func TestTheModelNoticesAForgottenFence(t *testing.T) {
	for seed := range uint64(10) {
		if len(generations(t, 2*seed, false).wrong) > 0 {
			return
		}
	}
	t.Error("no violation without the fence's log: the model checks nothing")
}

func FuzzRestarts(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) {
		for _, wrong := range generations(t, seed, true).wrong {
			t.Errorf("seed %d: %s", seed, wrong)
		}
	})
}
