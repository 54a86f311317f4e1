package httpcache

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgegw/edge/internal/cacherules"
)

const roundTrip = time.Second

// slowly answers after a round trip.
func slowly(answer func(http.ResponseWriter, *http.Request) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		wait(roundTrip)
		return answer(w, r)
	}
}

// A thousand at once for one key: one fetch if its answer may be shared, and if
// not nobody waits longer than for one more.
func TestACrowdWaitsForOneMoreRoundTripAtMost(t *testing.T) {
	const crowd = 1000
	fresh := "Cache-Control: max-age=60"
	for name, c := range map[string]struct {
		answer  func(http.ResponseWriter, *http.Request) error
		fetches int
		trips   time.Duration
	}{
		"storable":             {respond(200, "hello", fresh), 1, 1},
		"no connection":        {down, 1, 1},
		"no-store":             {respond(200, "hello", "Cache-Control: no-store"), crowd, 2},
		"private":              {respond(200, "hello", "Cache-Control: private, max-age=60"), crowd, 2},
		"sets a cookie":        {respond(200, "hello", fresh, "Set-Cookie: a=b"), crowd, 2},
		"varies on everything": {respond(200, "hello", fresh, "Vary: *"), crowd, 2},
		"varies on the visitor": {func(w http.ResponseWriter, r *http.Request) error {
			return respond(200, "hello", fresh, "Vary: X-Visitor")(w, r)
		}, crowd, 2},
		"varies on one of ten": {func(w http.ResponseWriter, r *http.Request) error {
			return respond(200, "hello", fresh, "Vary: X-Language")(w, r)
		}, 10, 2},
		"to be confirmed for each": {respond(200, "hello", "Cache-Control: no-cache", `ETag: "a"`), crowd, 2},
		"stale on arrival":         {respond(200, "hello", "Cache-Control: max-age=0", `ETag: "a"`), crowd, 2},
		"a failure":                {respond(503, "sorry"), crowd, 2},
		"too large, and says so":   {respond(200, "hello", fresh, "Content-Length: 99999999"), crowd, 2},
	} {
		inBubble(t, func(t *testing.T) {
			w := newWorld(t)
			w.origin.answer = slowly(c.answer)
			began := time.Now()
			waited := make(chan time.Duration, crowd)
			for n := range crowd {
				r := httptest.NewRequest(http.MethodGet, site, nil)
				r.Header.Set("X-Visitor", itoa(n))
				r.Header.Set("X-Language", itoa(n%10))
				done := w.start(r)
				go func() {
					<-done
					waited <- time.Since(began)
				}()
			}
			longest := time.Duration(0)
			for range crowd {
				longest = max(longest, <-waited)
			}
			if n := w.origin.fetches(); n != c.fetches || longest != c.trips*roundTrip {
				t.Errorf("%s: %d fetches, and the last waited %v: want %d and %v", name, n, longest, c.fetches, c.trips*roundTrip)
			}
		})
	}
}

// Whoever comes after a purge gets a fetch of his own, at once: the one before
// may never end, and what its answer will be tagged with nobody knows yet.
func TestAPurgeSendsLaterArrivalsToANewFill(t *testing.T) {
	for name, purge := range map[string]Purge{
		"everything":           {Everything: true},
		"its URL":              {URLs: []string{"https://example.com/page"}},
		"its host":             {Hosts: []string{"example.com"}},
		"a prefix of it":       {Prefixes: []string{"example.com/p"}},
		"a tag of its answer":  {Tags: []string{"pages"}},
		"its version":          {Versions: []string{"v1"}},
		"its version's tag":    {Tags: []string{cacherules.VersionTag("v1")}},
		"all of these at once": {Hosts: []string{"example.com"}, Tags: []string{"pages"}, Versions: []string{"v1"}},
	} {
		for _, soft := range []bool{false, true} {
			for _, sent := range []string{"nothing", "the header"} {
				inBubble(t, func(t *testing.T) {
					w := newWorld(t)
					w.origin.source.Version = "v1"
					g := newGate()
					w.origin.answer = g.answer(200, "old!", "Cache-Control: max-age=60", "Cache-Tag: pages")
					before := w.startGet(site)
					synctest.Wait()
					if sent == "the header" {
						close(g.header)
						synctest.Wait()
					}
					purge.Soft = soft
					w.h.Store.Purge(purge)
					w.origin.answer = respond(200, "new!", "Cache-Control: max-age=60", "Cache-Tag: pages")
					after := w.startGet(site)
					synctest.Wait()
					select {
					case got := <-after:
						got.wants(t, StatusMiss, 200, "new!")
					default:
						t.Errorf("%s, soft %t, sent %s: who came after the purge waits for what began before it", name, soft, sent)
						close(g.header)
					}
					if sent == "nothing" {
						close(g.header)
					}
					close(g.body)
					(<-before).wants(t, StatusMiss, 200, "old!")
					w.get(site).wants(t, StatusHit, 200, "new!")
					if n := w.origin.fetches(); n != 2 {
						t.Errorf("%s, soft %t, sent %s: %d fetches: want the old one and one new", name, soft, sent, n)
					}
				})
			}
		}
	}
}

// A purge of something else does not part those who wait for one fetch, where
// that can be told before its answer is there.
func TestAPurgeOfAnotherPlacePartsNobody(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		g := newGate()
		w.origin.answer = g.answer(200, "hello", "Cache-Control: max-age=60")
		first := w.startGet(site)
		synctest.Wait()
		w.h.Store.Purge(Purge{URLs: []string{"https://example.com/other"}, Hosts: []string{"other.example"}})
		second := w.startGet(site)
		synctest.Wait()
		close(g.header)
		close(g.body)
		(<-first).wants(t, StatusMiss, 200, "hello")
		(<-second).wants(t, StatusMiss, 200, "hello")
		if n := w.origin.fetches(); n != 1 {
			t.Errorf("%d fetches: want 1", n)
		}
	})
}

func TestARefreshOutlivesItsClient(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t, "Cache-Control: max-age=10, stale-while-revalidate=30")
		w.get(site)
		wait(13 * time.Second)
		w.origin.answer = func(rw http.ResponseWriter, r *http.Request) error {
			select {
			case <-time.After(roundTrip):
				return respond(200, "news", "Cache-Control: max-age=10")(rw, r)
			case <-r.Context().Done():
				return r.Context().Err()
			}
		}
		ctx, leave := context.WithCancel(t.Context())
		(<-w.start(httptest.NewRequestWithContext(ctx, "GET", site, nil))).wants(t, StatusStale, 200, "hello")
		leave()
		wait(2 * roundTrip)
		w.get(site).wants(t, StatusHit, 200, "news")
	})
}

// The leader leaves in the middle of the body; the followers get all of it.
func TestTheLeaderHandsOverInTheMiddle(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		w := newWorld(t)
		g := newGate()
		w.origin.answer = g.answer(200, "hello!", "Cache-Control: max-age=60")
		ctx, leave := context.WithCancel(t.Context())
		leader := w.start(httptest.NewRequestWithContext(ctx, "GET", site, nil))
		synctest.Wait()
		early := w.startGet(site)
		close(g.header)
		synctest.Wait()
		late := w.startGet(site)
		synctest.Wait()
		leave()
		if got := (<-leader).Body.String(); got != "hel" {
			t.Errorf("the leader left with %q: want the first half", got)
		}
		close(g.body)
		(<-early).wants(t, StatusMiss, 200, "hello!")
		(<-late).wants(t, StatusMiss, 200, "hello!")
		w.get(site).wants(t, StatusHit, 200, "hello!")
		if n := w.origin.fetches(); n != 1 {
			t.Errorf("%d fetches: want 1", n)
		}
	})
}

// The memory of uncacheable keys is bounded in number, as well as in time, and
// a crawler's keys push out old ones.
func TestTheMemoryOfUncacheableKeysIsBounded(t *testing.T) {
	s := NewStore(Options{})
	now := time.Now()
	for n := range uint64(3 * shardCount * maxRefused) {
		s.refuse(n, ReasonNoStore, now)
	}
	kept := 0
	for i := range s.shards {
		kept += s.shards[i].refused.Len()
	}
	if want := shardCount * maxRefused; kept != want {
		t.Errorf("%d keys remembered: want %d", kept, want)
	}
	if s.isRefused(0, now) || !s.isRefused(3*shardCount*maxRefused-1, now) {
		t.Error("want the oldest forgotten and the newest remembered")
	}
}
