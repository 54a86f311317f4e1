package demo

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

// fine is what a good run counts.
func fine() counts {
	c := counts{requests: 1000, hits: 750, misses: 250, events: 5, echoes: 6, pages: map[string]int{"v1": 40, "v2": 60}}
	c.latency.add(2 * time.Millisecond)
	return c
}

func TestWhatIsOK(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*counts, *Purge)
		want   bool
	}{
		"a good run":               {func(*counts, *Purge) {}, true},
		"one failure":              {func(c *counts, _ *Purge) { c.failures = 1 }, false},
		"one old page":             {func(c *counts, _ *Purge) { c.outdated = 1 }, false},
		"a purge not done":         {func(_ *counts, p *Purge) { p.Exit = 4 }, false},
		"a purge not run":          {func(_ *counts, p *Purge) { p.Exit = -1 }, false},
		"nobody saw the new pages": {func(c *counts, _ *Purge) { delete(c.pages, "v2") }, false},
		"nobody saw the old pages": {func(c *counts, _ *Purge) { delete(c.pages, "v1") }, false},
		"no events":                {func(c *counts, _ *Purge) { c.events = 0 }, false},
		"no echoes":                {func(c *counts, _ *Purge) { c.echoes = 0 }, false},
		"stale as the rules allow": {func(c *counts, _ *Purge) { c.stale = 9 }, true},
	} {
		counted, purge := fine(), Purge{}
		c.change(&counted, &purge)
		if got := summarize(counted, time.Minute, 20, 5, purge).OK; got != c.want {
			t.Errorf("%s: ok %t: want %t", name, got, c.want)
		}
	}
}

func TestTheSummaryAsJSON(t *testing.T) {
	var out bytes.Buffer
	s := summarize(fine(), 61234567890*time.Nanosecond, 20, 5, Purge{ID: "p1", State: "done", CloudflareCalls: 2})
	if err := s.print(&out, true); err != nil {
		t.Fatal(err)
	}
	var object map[string]any
	if err := json.Unmarshal(out.Bytes(), &object); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"ok": true, "duration": "1m1.235s", "visitors": 20.0, "requests": 1000.0, "failures": 0.0,
		"hit_ratio": 0.75, "stale_after_purge": 0.0, "pages_v1": 40.0, "pages_v2": 60.0, "replicas_max": 5.0,
		"sse_events": 5.0, "websocket_echoes": 6.0,
	} {
		if object[name] != want {
			t.Errorf("%s is %v: want %v", name, object[name], want)
		}
	}
	if purge := object["purge"].(map[string]any); purge["id"] != "p1" || purge["exit"] != 0.0 || purge["cloudflare_calls"] != 2.0 {
		t.Errorf("purge %v", purge)
	}
	// 5 % above 2 ms at most, in milliseconds.
	if p50 := object["p50_ms"].(float64); p50 < 2 || p50 > 2.1 {
		t.Errorf("p50_ms %g: want 2 to 2.1", p50)
	}
	for _, list := range []any{object["failures_seen"], object["purge"].(map[string]any)["steps"]} {
		if _, ok := list.([]any); !ok {
			t.Errorf("an empty list stands as %v: want []", list)
		}
	}
}

func TestTheSummaryForPeople(t *testing.T) {
	c := fine()
	if text := summarize(c, time.Minute, 20, 5, Purge{}).text(); !strings.Contains(text, "ok: nobody saw a failure") {
		t.Errorf("%s", text)
	}
	if text := summarize(c, time.Minute, 20, 5, Purge{Exit: -1, Error: "not run"}).text(); !strings.Contains(text, "purge      not run\n") {
		t.Errorf("%s", text)
	}
	c.failures, c.described = 1, []string{"GET /: status 502"}
	text := summarize(c, time.Minute, 20, 5, Purge{ID: "p1", State: "failed", Exit: 7, Error: "v1 still runs"}).text()
	for _, part := range []string{"NOT OK", "failure: GET /: status 502", "p1 failed, exit 7, 0 calls to Cloudflare; v1 still runs", "hit ratio 75.0 %"} {
		if !strings.Contains(text, part) {
			t.Errorf("%s: does not say %q", text, part)
		}
	}
}

// seen is a moment with two replicas and a purge under way.
func seen(t *testing.T) scene {
	t.Helper()
	s := scene{counts: fine(), replicas: []running{
		{"r1", "v1", "127.0.0.1:4001", "a", 101, true}, {"r2", "v2", "127.0.0.1:4002", "b", 102, true},
		{"r3", "v2", "127.0.0.1:4003", "", 103, true}, {"r4", "v2", "127.0.0.1:4004", "d", 104, false},
	}}
	status := `{"pools":[{"name":"app","replicas":[{"id":"a","state":"draining","why":"drained by an operator","in_flight":3},{"id":"b","state":"up","why":"its checks pass"}]}],
		"purges":{"last":[{"id":"p1","state":"running","steps":[{"name":"gate"},{"name":"generation"}]}]}}`
	if err := json.Unmarshal([]byte(status), &s.status); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheAccountInLines(t *testing.T) {
	var out bytes.Buffer
	a := newAccount(&out)
	a.note("deploy %s", "v2")
	a.show(seen(t))
	want := "  0:00  deploy v2\n  0:00  1000 requests, 0 failures, hit ratio 75.0 %, 0 old pages after the purge, " +
		"replicas: 1 of v1, 2 of v2, purge running: gate generation\n"
	if got := out.String(); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestTheAccountIsRedrawnInPlace(t *testing.T) {
	var out bytes.Buffer
	a := newAccount(&out)
	a.terminal = true
	a.note("before anything is drawn")
	s := seen(t)
	a.show(s)
	first := out.String()
	for _, part := range []string{
		"before anything is drawn\n", "  r1   v1   127.0.0.1:4001        process 101       3 in flight  draining: dra…\n", "\x1b[2Kpurge running: gate generation\n",
	} {
		if !strings.Contains(first, part) {
			t.Errorf("%q is not in %q", part, first)
		}
	}
	for _, state := range []string{"up", "starting", "ended"} {
		if !slices.ContainsFunc(s.block("0:00"), func(line string) bool { return strings.HasSuffix(line, " "+state) }) {
			t.Errorf("no replica is %s", state)
		}
	}
	if strings.Contains(first, "\x1b[10A") {
		t.Error("the first drawing goes back over what was there")
	}
	out.Reset()
	a.note("a note of many words, %s", strings.Repeat("long ", 30))
	if out.Len() > 0 {
		t.Errorf("a note wrote %q outside the drawing", &out)
	}
	a.show(s)
	// Four lines of counts, four replicas, the purge, an empty line.
	if got := out.String(); !strings.HasPrefix(got, "\x1b[10A\x1b[2Kedge demo") {
		t.Errorf("redrawn as %q: want it to go back ten lines", got)
	}
	for line := range strings.SplitSeq(out.String(), "\n") {
		_, line, _ = strings.Cut(line, "\x1b[2K")
		if n := len([]rune(line)); n > width {
			t.Errorf("%d columns would wrap: %q", n, line)
		}
	}
	out.Reset()
	if err := a.say(func() error { out.WriteString("the end\n"); return nil }); err != nil {
		t.Fatal(err)
	}
	a.note("after the end")
	if got := out.String(); !strings.HasPrefix(got, "the end\n") || !strings.Contains(got, "after the end\n") {
		t.Errorf("%q", got)
	}
}
