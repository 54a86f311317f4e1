package purge

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edgegw/edge/internal/purge/standin"
)

func TestCloudflareFaults(t *testing.T) {
	cases := map[string]struct {
		fault    standin.Fault
		n        int
		deadline time.Duration
		attempts int
		applied  int
		kind     Kind
		atLeast  time.Duration
	}{
		"no fault: one call":                                     {"", 0, time.Hour, 1, 1, "", 0},
		"429: wait as long as it says, again":                    {standin.TooManyRequests, 1, time.Hour, 2, 1, "", time.Second},
		"1134 under 400: a rate limit all the same":              {standin.LimitUnder400, 3, time.Hour, 4, 1, "", 0},
		"1134 under 200 with success:false: a rate limit":        {standin.SuccessFalse, 2, time.Hour, 3, 1, "", 0},
		"success:false without a reason: again":                  {standin.SilentFalse, 2, time.Hour, 3, 1, "", 0},
		"500 without a body: again":                              {standin.ServerError, 2, time.Hour, 3, 1, "", 0},
		"502 with a page: again":                                 {standin.BadGateway, 2, time.Hour, 3, 1, "", 0},
		"half an answer under 200: again":                        {standin.Garbage, 2, time.Hour, 3, 1, "", 0},
		"no answer: time out after 10 s, again":                  {standin.Hang, 2, time.Hour, 3, 1, "", 20 * time.Second},
		"reset after it was applied: again, applied twice":       {standin.ResetAfter, 1, time.Hour, 2, 2, "", 0},
		"five failures: the breaker waits 30 s":                  {standin.ServerError, 5, time.Hour, 6, 1, "", 30 * time.Second},
		"400 with a string as error: refused":                    {standin.StringErrors, 9, time.Hour, 1, 0, Refused, 0},
		"a redirect: refused, the token stays here":              {standin.Redirect, 9, time.Hour, 1, 0, Refused, 0},
		"429 for ever: rate limited, before the deadline passes": {standin.TooManyRequests, 999, time.Second / 2, 1, 0, RateLimited, 0},
		"hanging for ever: unreachable":                          {standin.Hang, 999, 11 * time.Second, -1, 0, Unreachable, 10 * time.Second},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, config := newStandIn(t, "pro", nil)
				s.Fail(c.n, c.fault)
				start := time.Now()
				got, err := purgeAt(t, newTarget(t, s, config), until(Selectors{Tags: []string{"a"}}, c.deadline))
				if !kindIs(err, c.kind) {
					t.Fatalf("error %v: want kind %q", err, c.kind)
				}
				if c.attempts >= 0 && got.Attempts != c.attempts {
					t.Errorf("attempts %d: want %d", got.Attempts, c.attempts)
				}
				if len(s.Calls()) != c.applied {
					t.Errorf("applied %v: want %d calls", s.Calls(), c.applied)
				}
				if took := time.Since(start); took < c.atLeast || took > c.deadline {
					t.Errorf("took %s: want at least %s and at most %s", took, c.atLeast, c.deadline)
				}
				if err != nil && strings.Contains(err.Error(), config.APIToken) {
					t.Errorf("error shows the token: %v", err)
				}
			})
		})
	}
}

func TestCloudflareRefusals(t *testing.T) {
	cases := map[string]struct {
		change   func(*CloudflareConfig)
		soft     bool
		kind     Kind
		code     int
		attempts int
	}{
		"a wrong token is never tried again":                        {func(c *CloudflareConfig) { c.APIToken += "x" }, false, NotAllowed, 10000, 1},
		"an unknown zone is never tried again":                      {func(c *CloudflareConfig) { c.ZoneIDs = []string{strings.Repeat("0", 32)} }, false, Refused, 7003, 1},
		"an unknown zone, soft: one try the hard way, then refused": {func(c *CloudflareConfig) { c.ZoneIDs = []string{strings.Repeat("0", 32)} }, true, Refused, 7003, 2},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s, config := newStandIn(t, "pro", nil)
			c.change(&config)
			order := until(Selectors{Tags: numbered("t%d", 300)}, time.Hour)
			order.Soft = c.soft
			got, err := purgeAt(t, newTarget(t, s, config), order)
			var failed *TargetError
			if !errors.As(err, &failed) || failed.Kind != c.kind || failed.Code != c.code || got.Attempts != c.attempts {
				t.Errorf("%+v, %d attempts: want %s, code %d, %d attempts", err, got.Attempts, c.kind, c.code, c.attempts)
			}
			if len(s.Calls()) != 0 {
				t.Errorf("applied %v", s.Calls())
			}
		})
	}
}

func TestCloudflareSoft(t *testing.T) {
	cases := map[string]struct {
		soft, unknown bool
		operation     string
		attempts      int
		note          bool
	}{
		"hard purges":      {false, false, "purge_cache", 2, false},
		"soft invalidates": {true, false, "invalidate_cache", 2, false},
		"soft where that is unknown: falls back, once":    {true, true, "purge_cache", 3, true},
		"hard where invalidating is unknown: no fallback": {false, true, "purge_cache", 2, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s, config := newStandIn(t, "pro", func(o *standin.Options) { o.NoInvalidate = c.unknown })
			order := until(Selectors{Tags: []string{"a"}, Hosts: []string{"example.com"}}, time.Hour)
			order.Soft = c.soft
			got, err := purgeAt(t, newTarget(t, s, config), order)
			if err != nil || got.Attempts != c.attempts || got.Batches != 2 || (got.Note != "") != c.note {
				t.Errorf("%+v, %v: want %d attempts, a note: %t", got, err, c.attempts, c.note)
			}
			for _, call := range s.Calls() {
				if call.Operation != c.operation {
					t.Errorf("called %s: want %s", call.Operation, c.operation)
				}
			}
		})
	}
}

func TestCloudflareSendsEachKindOverTheNetwork(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	s, config := newStandIn(t, "enterprise", nil)
	server := httptest.NewServer(s)
	defer server.Close()
	config.APIURL = server.URL + "/client/v4/"
	target, err := NewCloudflare(config)
	if err != nil {
		t.Fatal(err)
	}
	everything, err := target.Purge(t.Context(), until(Selectors{Everything: true}, time.Minute), nil, nil)
	if err != nil || everything.Items != 1 {
		t.Fatalf("%+v, %v", everything, err)
	}
	var shown []Result
	got, err := target.Purge(t.Context(), until(Selectors{
		URLs: []string{"https://example.com/a?b=1&c=<2>"}, Tags: []string{"Tag", "v-x"},
		Prefixes: []string{"example.com/p"}, Hosts: []string{"example.com"}, Versions: []string{"X", "y z"},
	}, time.Minute), nil, func(r Result) { shown = append(shown, r) })
	if err != nil || got.Batches != 4 || got.Items != 6 || len(shown) != 4 || !reflect.DeepEqual(shown[3], got) {
		t.Fatalf("%+v, %v, shown %+v: want 4 batches of 6 items", got, err, shown)
	}
	want := []struct {
		kind  string
		items []string
	}{
		{"purge_everything", nil},
		{"files", []string{"https://example.com/a?b=1&c=<2>"}},
		{"tags", []string{"Tag", "v-x", "v-y%20z"}},
		{"prefixes", []string{"example.com/p"}},
		{"hosts", []string{"example.com"}},
	}
	for i, call := range s.Calls() {
		if call.Zone != zoneOne || call.Kind != want[i].kind || !reflect.DeepEqual(call.Items, want[i].items) {
			t.Errorf("call %d is %+v: want %+v", i, call, want[i])
		}
	}
}

// cut answers with half of what it promised.
func cut(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = w.Write([]byte(`{"success":true,`))
}

func TestCloudflareCutAnswerIsRetried(t *testing.T) {
	s, config := newStandIn(t, "pro", nil)
	first := true
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if first {
			first = false
			cut(w, r)
			return
		}
		s.ServeHTTP(w, r)
	}))
	defer server.Close()
	config.APIURL = server.URL + "/client/v4"
	target, err := NewCloudflare(config)
	if err != nil {
		t.Fatal(err)
	}
	got, err := target.Purge(t.Context(), until(Selectors{Tags: []string{"a"}}, time.Minute), nil, nil)
	if err != nil || got.Attempts != 2 {
		t.Errorf("%+v, %v: want success at the second attempt", got, err)
	}
}

func TestCloudflareStopsWhenTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, config := newStandIn(t, "pro", nil)
		s.Fail(999, standin.Hang)
		cause := errors.New("closing")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(3*time.Second, func() { cancel(cause) })
		start := time.Now()
		_, err := newTarget(t, s, config).Purge(ctx, until(Selectors{Tags: []string{"a"}}, time.Hour), nil, nil)
		if !errors.Is(err, cause) || time.Since(start) != 3*time.Second {
			t.Errorf("%v after %s: want the cause after 3s", err, time.Since(start))
		}
	})
}

func TestCloudflareSplitsABatchRefusedForItsSize(t *testing.T) {
	s, config := newStandIn(t, "pro", nil)
	var sizes []int
	small := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > 400 { // as the API would with an older limit
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"success":false,"errors":[{"code":1004,"message":"too many items"}]}`))
			return
		}
		s.ServeHTTP(w, r)
	})
	got, err := purgeAt(t, newTarget(t, small, config), until(Selectors{Tags: numbered("tag%03d", 100)}, time.Hour))
	for _, call := range s.Calls() {
		sizes = append(sizes, len(call.Items))
	}
	if err != nil || got.Items != 100 || !reflect.DeepEqual(sizes, []int{30, 30, 30, 10}) {
		t.Errorf("%+v, %v, sizes %v: want 100 items in 30, 30, 30, 10", got, err, sizes)
	}
}

func TestCloudflareGoesOnAfterARefusedBatch(t *testing.T) {
	s, config := newStandIn(t, "pro", nil)
	// Not normalised: the stand-in refuses the prefix.
	got, err := purgeAt(t, newTarget(t, s, config), until(Selectors{
		Prefixes: []string{"https://example.com/"}, Hosts: []string{"example.com"},
	}, time.Hour))
	if !kindIs(err, Refused) || got.Batches != 1 || len(s.Calls()) != 1 {
		t.Errorf("%+v, %v: want the hosts accepted and the prefixes refused", got, err)
	}
}
