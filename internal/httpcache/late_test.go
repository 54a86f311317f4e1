package httpcache

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"
)

var filmLength = fmt.Sprintf("Content-Length: %d", len(film))

// halfFilm has sent half of the film, and goes on when body is closed. One
// visitor has it.
func halfFilm(t *testing.T) (w *diskWorld, body chan struct{}, first <-chan answer, leave context.CancelFunc) {
	w = filmWorld(t)
	g := newGate()
	close(g.header)
	w.origin.answer = g.answer(200, film, lasting, `ETag: "a"`, filmLength)
	ctx, leave := context.WithCancel(context.Background())
	first = w.start(httptest.NewRequest(http.MethodGet, site, nil).WithContext(ctx))
	w.settled()
	return w, g.body, first, leave
}

func TestWhoComesLateReadsWhatIsBeingWritten(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, body, first, leave := halfFilm(t)
		defer leave()
		defer w.h.Store.Close()
		late := w.startMany(5, site)
		w.settled()
		close(body)
		(<-first).wants(t, StatusMiss, 200, film)
		for _, one := range late {
			got := <-one
			got.wants(t, StatusMiss, 200, film)
			if !got.Collapsed || got.Header().Get("Content-Length") != fmt.Sprint(len(film)) {
				t.Errorf("collapsed %v, %v", got.Collapsed, got.Header())
			}
		}
		w.spilled()
		w.get(site).wants(t, StatusHit, 200, film)
		if n := w.origin.fetches(); n != 1 {
			t.Errorf("%d fetches: want one", n)
		}
	})
}

func TestWhoComesWhileABodyIsSyncedReadsIt(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w, body, first, leave := halfFilm(t)
		defer leave()
		defer w.h.Store.Close()
		syncing := make(chan struct{})
		w.files.setSyncing(func(string) { <-syncing })
		close(body)
		(<-first).wants(t, StatusMiss, 200, film)
		w.settled()
		w.get(site).wants(t, StatusMiss, 200, film)
		close(syncing)
		w.spilled()
		w.get(site).wants(t, StatusHit, 200, film)
		if n := w.origin.fetches(); n != 1 {
			t.Errorf("%d fetches: want one", n)
		}
	})
}

// The leader may leave, as long as somebody reads the file.
func TestWhoComesLateKeepsAFetchGoing(t *testing.T) {
	for _, stays := range []bool{true, false} {
		t.Run(fmt.Sprint("stays ", stays), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w, body, first, leave := halfFilm(t)
				defer w.h.Store.Close()
				ctx, leaveLate := context.WithCancel(context.Background())
				defer leaveLate()
				late := w.start(httptest.NewRequest(http.MethodGet, site, nil).WithContext(ctx))
				w.settled()
				leave()
				<-first
				if !stays {
					leaveLate()
					<-late
				}
				wait(2 * defaultAbandon)
				close(body)
				w.spilled()
				if stays {
					(<-late).wants(t, StatusMiss, 200, film)
					w.get(site).wants(t, StatusHit, 200, film)
					return
				}
				w.origin.answer = screen("new"+film, true, `"b"`)
				w.get(site).wants(t, StatusMiss, 200, "new"+film)
			})
		})
	}
}

// A purge, or an unsafe request, sends who comes after it to the origin, and who
// came before it has what it asked for.
func TestWhoComesAfterAPurgeReadsNothingOlder(t *testing.T) {
	for how, purge := range map[string]func(*diskWorld){
		"everything":   func(w *diskWorld) { w.h.Store.Purge(Purge{Everything: true}) },
		"URL, softly":  func(w *diskWorld) { w.h.Store.Purge(Purge{URLs: []string{site}, Soft: true}) },
		"a POST to it": func(w *diskWorld) { w.do(http.MethodPost, site) },
	} {
		t.Run(how, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w, body, first, leave := halfFilm(t)
				defer leave()
				defer w.h.Store.Close()
				before := w.startGet(site)
				w.settled()
				w.origin.answer = screen("new"+film, true, `"b"`)
				purge(w)
				w.get(site).wants(t, StatusMiss, 200, "new"+film)
				close(body)
				(<-first).wants(t, StatusMiss, 200, film)
				(<-before).wants(t, StatusMiss, 200, film)
				w.spilled()
				if got := w.get(site); got.Body.String() != "new"+film {
					t.Errorf("%s, %d bytes: want the new film", got.Status, got.Body.Len())
				}
			})
		})
	}
}

// An answer that takes longer to come than it stays fresh is not for those who ask
// when it is stale, whether it is kept in memory or on disk (RFC 9111, 4.2).
func TestWhoComesWhenItIsStaleJoinsNothing(t *testing.T) {
	for where, text := range map[string]string{"memory": film[:60_000], "disk": film} {
		t.Run(where, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := filmWorld(t)
				defer w.h.Store.Close()
				g := newGate()
				close(g.header)
				length := fmt.Sprintf("Content-Length: %d", len(text))
				w.origin.answer = g.answer(200, text, "Cache-Control: max-age=60", `ETag: "a"`, length)
				first := w.startGet(site)
				wait(59 * time.Second)
				fresh := w.startGet(site)
				wait(2 * time.Second)
				w.settled()
				w.origin.answer = screen("new"+text, true, `"b"`)
				later := w.startGet(site)
				w.settled()
				close(g.body)
				(<-later).wants(t, StatusMiss, 200, "new"+text)
				for _, one := range []<-chan answer{first, fresh} {
					(<-one).wants(t, StatusMiss, 200, text)
				}
				if n := w.origin.fetches(); n != 2 {
					t.Errorf("%d fetches: want two", n)
				}
			})
		})
	}
}

// A fault of the disk is not the visitors': the origin gives the rest.
func TestWhoReadsAFileThatIsGivenUpHasTheRestFromTheOrigin(t *testing.T) {
	rest := film[len(film)/2:]
	part := func(tag string, from int, text string) func(http.ResponseWriter, *http.Request) error {
		return respond(206, text, "ETag: "+tag, fmt.Sprintf("Content-Range: bytes %d-%d/%d", from, len(film)-1, len(film)))
	}
	for how, c := range map[string]struct {
		then  func(http.ResponseWriter, *http.Request) error
		whole bool
	}{
		"the rest":                 {part(`"a"`, len(film)/2, rest), true},
		"the whole of it":          {respond(200, film, `ETag: "a"`, filmLength), true},
		"another rest":             {part(`"b"`, len(film)/2, rest), false},
		"another part":             {part(`"a"`, len(film)/2-5, film[len(film)/2-5:]), false},
		"less than that":           {part(`"a"`, len(film)/2, rest[:100]), false},
		"more than that":           {respond(200, film+"!", `ETag: "a"`), false},
		"what is without a tag":    {respond(200, film), false},
		"an error":                 {respond(500, "oops"), false},
		"nothing, as it is silent": {down, false},
	} {
		t.Run(how, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w, body, first, leave := halfFilm(t)
				defer leave()
				defer w.h.Store.Close()
				late := w.startGet(site)
				w.settled()
				w.origin.answer = c.then
				w.files.fail(syscall.ENOSPC)
				close(body)
				(<-first).wants(t, StatusMiss, 200, film)
				got := <-late
				if asked := w.origin.lastAsked(); asked.Get("Range") != fmt.Sprintf("bytes=%d-", len(film)/2) || asked.Get("If-Range") != `"a"` {
					t.Errorf("the origin was asked for %v", asked)
				}
				switch {
				case c.whole:
					got.wants(t, StatusMiss, 200, film)
				case got.err == nil || !strings.Contains(got.err.Error(), http.ErrAbortHandler.Error()):
					t.Errorf("%v, %d bytes: want it broken off", got.err, got.Body.Len())
				}
				w.files.fail(nil)
			})
		})
	}
}

// Where the origin breaks off, everybody's answer is.
func TestWhoReadsAFileThatIsCutOffHasNoWholeAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := filmWorld(t)
		defer w.h.Store.Close()
		cut := make(chan struct{})
		fetches := 0
		w.origin.answer = func(rw http.ResponseWriter, _ *http.Request) error {
			if fetches++; fetches > 1 {
				return errors.New("gone for good")
			}
			setFields(rw.Header(), []string{lasting, `ETag: "a"`, filmLength})
			_, _ = rw.Write([]byte(film[:400_000]))
			<-cut
			panic(http.ErrAbortHandler)
		}
		first := w.startGet(site)
		w.settled()
		late := w.startGet(site)
		w.settled()
		close(cut)
		for _, one := range []<-chan answer{first, late} {
			if got := <-one; got.err == nil {
				t.Errorf("%d bytes passed for whole", got.Body.Len())
			}
		}
	})
}

// A disk that hangs while somebody reads the file is waited for, but not for ever.
func TestADiskThatHangsIsGivenUpThoughSomebodyReadsTheFile(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := filmWorld(t)
		w.h.Store.Configure(Options{MaxBytes: 4 << 20, MaxObject: 64 << 10})
		g := newGate()
		close(g.header)
		w.origin.answer = g.answer(200, film, lasting, `ETag: "a"`, filmLength)
		first := w.startGet(site)
		w.settled()
		late := w.startGet(site)
		w.settled()
		w.origin.answer = respond(200, film, `ETag: "a"`, filmLength)
		w.files.setPace(nil, func(string) { wait(time.Hour) })
		start := time.Now()
		close(g.body)
		(<-first).wants(t, StatusMiss, 200, film)
		(<-late).wants(t, StatusMiss, 200, film)
		if took := time.Since(start); took > latePatience+time.Second {
			t.Errorf("it took %v: want %v at most", took, latePatience)
		}
		wait(2 * time.Hour)
		w.files.setPace(nil, nil)
		w.h.Store.Close()
	})
}
