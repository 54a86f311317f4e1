package httpcache

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// gate is an origin that answers when it is let.
type gate struct {
	header, body chan struct{}
}

func newGate() *gate { return &gate{header: make(chan struct{}), body: make(chan struct{})} }

// answer sends the header once let, and the body once let.
func (g *gate) answer(status int, body string, fields ...string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		select {
		case <-g.header:
		case <-r.Context().Done():
			return r.Context().Err()
		}
		setFields(w.Header(), fields)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body[:len(body)/2]))
		select {
		case <-g.body:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
		_, err := w.Write([]byte(body[len(body)/2:]))
		return err
	}
}

// start sends a request on a goroutine of its own.
func (w *world) start(r *http.Request) <-chan answer {
	done := make(chan answer, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- answer{ResponseRecorder: httptest.NewRecorder(), err: fmt.Errorf("panic: %v", p)}
			}
		}()
		done <- w.send(r)
	}()
	return done
}

func (w *world) startGet(url string, fields ...string) <-chan answer {
	r := httptest.NewRequest(http.MethodGet, url, nil)
	setFields(r.Header, fields)
	return w.start(r)
}

func (w *world) startMany(n int, url string) []<-chan answer {
	all := make([]<-chan answer, n)
	for i := range all {
		all[i] = w.startGet(url)
	}
	synctest.Wait()
	return all
}

func TestOneFillPerKey(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		g := newGate()
		w.origin.answer = g.answer(200, "hello", "Cache-Control: max-age=60")
		all := w.startMany(20, site)
		close(g.header)
		close(g.body)
		collapsed := 0
		for _, one := range all {
			got := <-one
			got.wants(t, StatusMiss, 200, "hello")
			if got.Collapsed {
				collapsed++
			}
		}
		if n := w.origin.fetches(); n != 1 || collapsed != 19 {
			t.Errorf("%d fetches, %d collapsed: want 1 and 19", n, collapsed)
		}
		if n := w.h.Store.Stats().Collapsed; n != 19 {
			t.Errorf("%d counted as collapsed: want 19", n)
		}
	})
}

func TestFollowersStreamAsTheBodyGrows(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		g := newGate()
		w.origin.answer = g.answer(200, "hello!", "Cache-Control: max-age=60")
		leader := w.startGet(site)
		close(g.header)
		synctest.Wait()
		rec := httptest.NewRecorder()
		follower := make(chan Result, 1)
		go func() {
			res, _ := w.h.Serve(rec, httptest.NewRequest("GET", site, nil), w.verdict, w.origin)
			follower <- res
		}()
		synctest.Wait()
		if rec.Body.String() != "hel" || !rec.Flushed {
			t.Errorf("half way the follower has %q, flushed %v: want the first half, flushed", rec.Body, rec.Flushed)
		}
		close(g.body)
		if res := <-follower; !res.Collapsed || rec.Body.String() != "hello!" {
			t.Errorf("in the end %+v %q: want collapsed, and all of it", res, rec.Body)
		}
		(<-leader).wants(t, StatusMiss, 200, "hello!")
	})
}

func TestWaitersAreReleased(t *testing.T) {
	panics := func(value any) func(http.ResponseWriter, *http.Request) error {
		return func(http.ResponseWriter, *http.Request) error { panic(value) }
	}
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request) error
		want   func(error) bool
	}{
		"on an error": {down, func(err error) bool { return err == errDown }},
		"on a panic":  {panics("boom"), func(err error) bool { return errors.Is(err, ErrOriginPanic) }},
		"on an aborted answer": {panics(http.ErrAbortHandler), func(err error) bool {
			return err != nil && strings.Contains(err.Error(), "abort Handler")
		}},
		"when the goroutine ends": {func(http.ResponseWriter, *http.Request) error {
			runtime.Goexit()
			return nil
		}, func(err error) bool { return errors.Is(err, ErrOriginPanic) }},
	} {
		inBubble(t, func(t *testing.T) {
			w := newWorld(t)
			let := make(chan struct{})
			w.origin.answer = func(rw http.ResponseWriter, r *http.Request) error {
				<-let
				return c.answer(rw, r)
			}
			all := w.startMany(3, site)
			close(let)
			for _, one := range all {
				if got := <-one; !c.want(got.err) {
					t.Errorf("%s: error %v", name, got.err)
				}
			}
			if w.origin.fetches() != 1 {
				t.Errorf("%s: %d fetches: want 1 for all", name, w.origin.fetches())
			}
			if w.count(EventFillFailed) != 1 {
				t.Errorf("%s: %d fill-failed events: want 1", name, w.count(EventFillFailed))
			}
		})
	}
}

func TestAFollowerThatLeavesIsReleased(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		g := newGate()
		w.origin.answer = g.answer(200, "hello", "Cache-Control: max-age=60")
		leader := w.startGet(site)
		synctest.Wait()
		ctx, leave := context.WithCancel(t.Context())
		follower := w.start(httptest.NewRequest("GET", site, nil).WithContext(ctx))
		synctest.Wait()
		leave()
		if got := <-follower; !errors.Is(got.err, context.Canceled) {
			t.Errorf("error %v: want that the client left", got.err)
		}
		close(g.header)
		close(g.body)
		(<-leader).wants(t, StatusMiss, 200, "hello")
	})
}

func TestTheLeaderMayLeave(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		g := newGate()
		w.origin.answer = g.answer(200, "hello", "Cache-Control: max-age=60")
		ctx, leave := context.WithCancel(t.Context())
		leader := w.start(httptest.NewRequest("GET", site, nil).WithContext(ctx))
		synctest.Wait()
		follower := w.startGet(site)
		synctest.Wait()
		leave()
		if got := <-leader; !errors.Is(got.err, context.Canceled) {
			t.Errorf("error %v: want that the client left", got.err)
		}
		close(g.header)
		close(g.body)
		(<-follower).wants(t, StatusMiss, 200, "hello")
		w.get(site).wants(t, StatusHit, 200, "hello")
	})
}

func TestAFetchThatNobodyWaitsForEnds(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		w.origin.answer = newGate().answer(200, "hello", "Cache-Control: max-age=60")
		ctx, leave := context.WithCancel(t.Context())
		leader := w.start(httptest.NewRequest("GET", site, nil).WithContext(ctx))
		synctest.Wait()
		leave()
		<-leader
		wait(time.Minute - time.Second)
		if n := w.fetching(site); n != 1 {
			t.Errorf("%d fetches before the minute is over: want 1", n)
		}
		wait(2 * time.Second)
		synctest.Wait()
		if n := w.fetching(site); n != 0 {
			t.Errorf("%d fetches after the minute: want 0", n)
		}
	})
}

// An answer for one client only ends with that client, before its header or
// after, however silent the origin is.
func TestAnAnswerForNobodyElseEndsWithItsClient(t *testing.T) {
	for _, header := range []bool{false, true} {
		inBubble(t, func(t *testing.T) {
			w := newWorld(t)
			left := make(chan struct{})
			w.origin.answer = func(rw http.ResponseWriter, r *http.Request) error {
				if !header {
					<-left
				}
				if err := respond(200, "", "Cache-Control: no-store")(rw, r); err != nil {
					return err
				}
				<-r.Context().Done()
				return r.Context().Err()
			}
			ctx, leave := context.WithCancel(t.Context())
			one := w.start(httptest.NewRequestWithContext(ctx, "GET", site, nil))
			w.settled()
			began := time.Now()
			leave()
			<-one
			close(left)
			w.settled()
			if n := w.fetching(site); n != 0 || time.Since(began) != 0 {
				t.Errorf("header sent %t: %d fetches go on without anybody", header, n)
			}
			if n := w.count(EventFillFailed); n != 0 {
				t.Errorf("header sent %t: %d failures reported: leaving is none", header, n)
			}
		})
	}
}

// A body that has been cut off is of no use to a request that comes later.
func TestNobodyJoinsWhatWasCutOff(t *testing.T) {
	b := &buffer{limit: 100}
	b.close(errDown)
	if b.attach() != nil {
		t.Error("attached to a body that is cut off")
	}
}

// fetching is how many fetches for a URL are in flight.
func (w *world) fetching(url string) int {
	return w.h.Explain(httptest.NewRequest("GET", url, nil), w.verdict, time.Now()).Fetching
}

func TestPrivateAnswersAreNeverShared(t *testing.T) {
	for name, fields := range map[string][]string{
		"private":    {"Cache-Control: private, max-age=60"},
		"set-cookie": {"Cache-Control: max-age=60", "Set-Cookie: a=b"},
		"no-store":   {"Cache-Control: no-store"},
		"vary star":  {"Cache-Control: max-age=60", "Vary: *"},
	} {
		inBubble(t, func(t *testing.T) {
			w := newWorld(t)
			let := make(chan struct{})
			w.origin.answer = func(rw http.ResponseWriter, r *http.Request) error {
				<-let
				return respond(200, "for "+r.Header.Get("X-User"), fields...)(rw, r)
			}
			users := []string{"ann", "bob", "cem", "dea"}
			all := make([]<-chan answer, len(users))
			for i, user := range users {
				all[i] = w.startGet(site, "X-User: "+user)
			}
			synctest.Wait()
			close(let)
			for i, user := range users {
				(<-all[i]).wants(t, StatusMiss, 200, "for "+user)
			}
			if n := w.origin.fetches(); n != len(users) {
				t.Errorf("%s: %d fetches: want one for each of %d", name, n, len(users))
			}
			if got := w.get(site, "X-User: eve"); got.Reason != ReasonRefused || got.Body.String() != "for eve" {
				t.Errorf("%s: next %q %q: want to pass straight through", name, got.Reason, got.Body)
			}
		})
	}
}

func TestRefusedKeysAreForgotten(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, "Cache-Control: no-store")
		w.get(site)
		w.origin.answer = respond(200, "hello", "Cache-Control: max-age=60")
		if got := w.get(site); got.Reason != ReasonRefused {
			t.Errorf("reason %q: want to pass straight through", got.Reason)
		}
		w.get(site).wants(t, StatusMiss, 200, "hello") // a storable answer passed: fill again
		w.get(site).wants(t, StatusHit, 200, "hello")

		other := site + "?other"
		w.origin.answer = respond(200, "hello", "Cache-Control: no-store")
		w.get(other)
		wait(refusedFor)
		if got := w.get(other); got.Reason != ReasonNoStore {
			t.Errorf("reason %q after %v: want to have tried a fill again", got.Reason, refusedFor)
		}
	})
}

func TestFollowersOfAnotherVariantFillTheirOwn(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		let := make(chan struct{})
		w.origin.answer = func(rw http.ResponseWriter, r *http.Request) error {
			<-let
			return respond(200, r.Header.Get("Accept-Language"), "Cache-Control: max-age=60", "Vary: Accept-Language")(rw, r)
		}
		var all [3][]<-chan answer
		languages := []string{"de", "en", "tr"}
		for i, language := range languages {
			for range 4 {
				all[i] = append(all[i], w.startGet(site, "Accept-Language: "+language))
			}
		}
		synctest.Wait()
		close(let)
		for i, language := range languages {
			for _, one := range all[i] {
				got := <-one
				if got.err != nil || got.Body.String() != language {
					t.Errorf("%v %q: want %q", got.err, got.Body, language)
				}
			}
			w.get(site, "Accept-Language: "+language).wants(t, StatusHit, 200, language)
		}
		if n := w.origin.fetches(); n != len(languages) {
			t.Errorf("%d fetches: want one for each of %d languages", n, len(languages))
		}
	})
}
