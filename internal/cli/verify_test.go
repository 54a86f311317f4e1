package cli

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgegw/edge/internal/purge"
)

// look is one answer of the website that is verified.
type look struct {
	status  int
	version string
	age     string
	cache   string
}

// website answers the looks in turn, the last one for ever.
func website(looks []look, seen *atomic.Int32, tokens *atomic.Int32) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			tokens.Add(1)
		}
		at := looks[min(int(seen.Add(1)), len(looks))-1]
		if at.status == 0 {
			panic(http.ErrAbortHandler)
		}
		if at.version != "" {
			w.Header().Set("X-App-Version", at.version)
		}
		if at.age != "" {
			w.Header().Set("Age", at.age)
		}
		if at.cache != "" {
			w.Header().Set("CF-Cache-Status", at.cache)
		}
		w.Header().Set("Location", "https://elsewhere.example/")
		w.WriteHeader(at.status)
		fmt.Fprint(w, "page")
	})
}

func TestVerifying(t *testing.T) {
	cases := map[string]struct {
		expect string
		looks  []look
		exit   int
		after  time.Duration // how long verification takes
		says   string
	}{
		"new at once":                   {"v2", []look{{200, "v2", "", "MISS"}}, ExitDone, 0, `version "v2", MISS, new`},
		"new after two looks":           {"v2", []look{{200, "v1", "90", "HIT"}, {200, "v1", "91", "UPDATING"}, {200, "v2", "", ""}}, ExitDone, 2 * time.Second, "UPDATING"},
		"new, and kept from before":     {"v2", []look{{200, "v2", "500", "HIT"}}, ExitDone, 0, ""},
		"old for ever":                  {"v2", []look{{200, "v1", "90", "HIT"}}, ExitStale, 30 * time.Second, `version "v1", HIT, age 1m30s, want "v2"`},
		"shows no version":              {"v2", []look{{200, "", "", ""}}, ExitStale, 30 * time.Second, "no field X-App-Version"},
		"new version, but it fails":     {"v2", []look{{500, "v2", "", ""}}, ExitStale, 30 * time.Second, "500"},
		"cannot be fetched":             {"v2", []look{{0, "", "", ""}}, ExitStale, 30 * time.Second, "EOF"},
		"a redirect is an answer":       {"v2", []look{{302, "v2", "", ""}}, ExitDone, 0, "302"},
		"no version expected, no cache": {"", []look{{200, "", "", ""}}, ExitDone, 0, ""},
		"no version expected, old copy": {"", []look{{200, "", "90", "HIT"}}, ExitStale, 30 * time.Second, "age 1m30s, older than the purge"},
		"no version expected, new copy": {"", []look{{200, "", "2", "HIT"}, {200, "", "0", "HIT"}}, ExitDone, time.Second, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var seen, tokens atomic.Int32
				s := &site{gateway: newGateway()}
				c := PurgeConfig{
					Connection: bubbled(t, s.handler()), Tags: []string{"a"}, Expect: tc.expect,
					Verify: []string{"http://www.example.test/page"}, Wait: 30 * time.Second,
					Probe: bubble(t, website(tc.looks, &seen, &tokens)),
				}
				began := time.Now()
				got := runPurge(t.Context(), c)
				took := time.Since(began)
				// The last look comes up to a pause before the deadline.
				if got.code != tc.exit || took > tc.after || took < tc.after-verifyPause {
					t.Errorf("exit %d after %v, want %d after %v: %s", got.code, took, tc.exit, tc.after, got.stderr)
				}
				if !strings.Contains(got.stdout+got.stderr, tc.says) {
					t.Errorf("said %s%s: want %q in it", got.stdout, got.stderr, tc.says)
				}
				if tokens.Load() != 0 {
					t.Error("the website was shown the token")
				}
			})
		})
	}
}

func TestNothingIsVerifiedUnlessThePurgeIsDone(t *testing.T) {
	for name, tc := range map[string]struct {
		become func(*purge.Record)
		dryRun bool
		exit   int
	}{
		"partial":   {targetFails(purge.Unreachable), false, ExitPartial},
		"a dry run": {done, true, ExitDone},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var seen, tokens atomic.Int32
				s := &site{gateway: newGateway()}
				s.become = tc.become
				got := runPurge(t.Context(), PurgeConfig{
					Connection: bubbled(t, s.handler()), Tags: []string{"a"}, DryRun: tc.dryRun,
					Verify: []string{"http://www.example.test/"}, Probe: bubble(t, website([]look{{200, "", "", ""}}, &seen, &tokens)),
				})
				if got.code != tc.exit || seen.Load() != 0 {
					t.Errorf("exit %d after %d looks: want %d, none", got.code, seen.Load(), tc.exit)
				}
			})
		})
	}
}

func TestManyURLsAreVerifiedSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		slow := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(time.Second)
			now.Add(-1)
			w.Header().Set("X-App-Version", "v2")
		})
		c := PurgeConfig{Connection: bubbled(t, (&site{gateway: newGateway()}).handler()), Tags: []string{"a"}, Expect: "v2", Probe: bubble(t, slow)}
		for i := range 20 {
			c.Verify = append(c.Verify, fmt.Sprintf("http://www.example.test/%d", i))
		}
		began := time.Now()
		got := runPurge(t.Context(), c)
		// 20 URLs, 8 at a time, one second each: three rounds.
		if took := time.Since(began); got.code != ExitDone || took != 3*time.Second || most.Load() != verifyAtOnce {
			t.Errorf("exit %d after %v, %d at once: want 0 after 3s, %d", got.code, took, most.Load(), verifyAtOnce)
		}
	})
}

func TestAWebsiteThatHangsDoesNotHoldTheCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		c := PurgeConfig{Connection: bubbled(t, (&site{gateway: newGateway()}).handler()), Tags: []string{"a"}, Wait: 20 * time.Second, Probe: bubble(t, hang)}
		for i := range 100 {
			c.Verify = append(c.Verify, fmt.Sprintf("http://www.example.test/%d", i))
		}
		began := time.Now()
		if got := runPurge(t.Context(), c); got.code != ExitStale || time.Since(began) > 20*time.Second {
			t.Errorf("exit %d after %v: want 6 within 20s", got.code, time.Since(began))
		}
	})
}

func TestAnInterruptWhileVerifying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen, tokens atomic.Int32
		ctx, interrupt := context.WithCancel(t.Context())
		time.AfterFunc(5500*time.Millisecond, interrupt)
		got := runPurge(ctx, PurgeConfig{
			Connection: bubbled(t, (&site{gateway: newGateway()}).handler()), Tags: []string{"a"}, Expect: "v2",
			Verify: []string{"http://www.example.test/"}, Probe: bubble(t, website([]look{{200, "v1", "", ""}}, &seen, &tokens)),
		})
		if got.code != ExitInterrupted || seen.Load() != 6 {
			t.Errorf("exit %d after %d looks: want 130 after 6", got.code, seen.Load())
		}
	})
}
