package httpcache

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/edgegw/edge/internal/cacherules"
	"github.com/edgegw/edge/internal/unit"
)

// past is a GET at so many seconds, and its answer: "200 Cache-Control: max-age=60|Etag: "a"".
func past(t *testing.T, at int, request, answer string) Past {
	t.Helper()
	fields := func(text string, into http.Header) {
		for _, field := range strings.Split(text, "|") {
			if name, value, ok := strings.Cut(field, ": "); ok {
				into.Add(name, value)
			}
		}
	}
	p := Past{At: time.Date(2026, 1, 2, 3, 4, at, 0, time.UTC), Request: httptest.NewRequest(http.MethodGet, "http://a.test/x", nil), Header: make(http.Header), Size: 10}
	fields(request, p.Request.Header)
	status, rest, _ := strings.Cut(answer, " ")
	fields(rest, p.Header)
	p.Status = map[string]int{"200": 200, "304": 304, "503": 503}[status]
	return p
}

func TestReplayDecidesAsTheCacheDoes(t *testing.T) {
	page := &cacherules.Verdict{Rule: "page /*", Edge: cacherules.Lifetime{D: unit.Duration(time.Minute), Set: true}, Stale: unit.Duration(5 * time.Minute)}
	const minute = "200 Cache-Control: max-age=60"
	type step struct {
		at              int
		request, answer string
		status          Status
		reason          Reason
		asked           bool
		bytes           int64
	}
	for name, c := range map[string]struct {
		verdict *cacherules.Verdict
		steps   []step
	}{
		"fresh, then stale: RFC 9111, 4.2": {nil, []step{
			{0, "", minute, StatusMiss, "", true, 10}, {59, "", minute, StatusHit, "", false, 0}, {60, "", minute, StatusMiss, "", true, 10},
		}},
		"what is confirmed brings no body: RFC 9111, 4.3": {nil, []step{
			{0, "", minute + `|Etag: "a"`, StatusMiss, "", true, 10}, {61, "", minute + `|Etag: "a"`, StatusRevalidated, ReasonStale, true, 0},
			{130, "", minute + `|Etag: "b"`, StatusMiss, "", true, 10},
		}},
		"stale while it is revalidated: RFC 5861, 3": {nil, []step{
			{0, "", minute + ", stale-while-revalidate=30", StatusMiss, "", true, 10},
			{70, "", minute + ", stale-while-revalidate=30", StatusStale, ReasonStaleWhileRevalidate, true, 10},
			{71, "", minute, StatusHit, "", false, 0},
		}},
		"a failure is covered: RFC 5861, 4": {nil, []step{
			{0, "", minute + ", stale-if-error=90", StatusMiss, "", true, 10}, {100, "", "503 ", StatusStale, ReasonStaleIfError, true, 10},
			{200, "", "503 ", StatusMiss, ReasonNoFreshness, true, 10},
		}},
		"by what the answer varies: RFC 9111, 4.1": {nil, []step{
			{0, "Accept: a", minute + "|Vary: Accept", StatusMiss, "", true, 10}, {1, "Accept: b", minute + "|Vary: Accept", StatusMiss, "", true, 10},
			{2, "Accept: a", minute + "|Vary: Accept", StatusHit, "", false, 0},
		}},
		"a visitor's 304 stands for the answer before": {nil, []step{
			{0, "", minute + `|Etag: "a"`, StatusMiss, "", true, 10}, {100, `If-None-Match: "a"`, `304 Etag: "a"`, StatusRevalidated, ReasonStale, true, 0},
			{101, "", minute + `|Etag: "a"`, StatusHit, "", false, 0},
		}},
		"no-store is obeyed: RFC 9111, 5.2.2.5": {page, []step{
			{0, "", "200 Cache-Control: no-store", StatusMiss, ReasonNoStore, true, 10}, {1, "", "200 Cache-Control: no-store", StatusMiss, ReasonNoStore, true, 10},
		}},
		"a rule's lifetime": {page, []step{
			{0, "", "200 ", StatusMiss, "", true, 10}, {59, "", "200 ", StatusHit, "", false, 0}, {61, "", "200 ", StatusStale, ReasonStaleWhileRevalidate, true, 10},
		}},
		"a private rule": {&cacherules.Verdict{Mode: cacherules.Private}, []step{
			{0, "", minute, StatusBypass, ReasonRule, true, 10}, {1, "", minute, StatusBypass, ReasonRule, true, 10},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p := NewReplay(Policy{}, nil)
			for i, s := range c.steps {
				one := past(t, s.at, s.request, s.answer)
				one.Verdict = c.verdict
				got := p.Play(one)
				if got.Status != s.status || got.Reason != s.reason || got.Asked != s.asked || got.Bytes != s.bytes {
					t.Errorf("step %d: %s %q, asked %t, %d bytes: want %s %q, %t, %d", i, got.Status, got.Reason, got.Asked, got.Bytes, s.status, s.reason, s.asked, s.bytes)
				}
			}
		})
	}
}
