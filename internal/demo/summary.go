package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/edgegw/edge/internal/unit"
)

// Summary is what the demo found: the object that --json prints.
type Summary struct {
	// OK is true when no visitor saw a failure or a page of the old version
	// after the purge, the purge was done, and there was something to see:
	// pages of both versions, events and echoes.
	OK bool `json:"ok"`
	// Duration is how long visitors were there.
	Duration unit.Duration `json:"duration"`
	Visitors int           `json:"visitors"`
	// Requests of visitors, streams and sockets included.
	Requests int `json:"requests"`
	// Failures are answers that never came, were cut, had the wrong status or
	// the wrong content. The first ten stand in FailuresSeen.
	Failures     int      `json:"failures"`
	FailuresSeen []string `json:"failures_seen"`
	// HitRatio is the share that the cache answered of the requests that it
	// may answer; Bypassed were not among those.
	HitRatio float64 `json:"hit_ratio"`
	Hits     int     `json:"hits"`
	Misses   int     `json:"misses"`
	Bypassed int     `json:"bypassed"`
	// StaleServed are answers past their lifetime, as the rules allow;
	// StaleAfterPurge are pages of the old version that were asked for after
	// edge deploy had said done.
	StaleServed     int `json:"stale_served"`
	StaleAfterPurge int `json:"stale_after_purge"`
	// PagesV1 and PagesV2 are pages seen of each version.
	PagesV1 int `json:"pages_v1"`
	PagesV2 int `json:"pages_v2"`
	// ReplicasMax is the most replicas at a time: one more than the four,
	// while one replaces another.
	ReplicasMax     int   `json:"replicas_max"`
	Purge           Purge `json:"purge"`
	SSEEvents       int   `json:"sse_events"`
	WebSocketEchoes int   `json:"websocket_echoes"`
	// P50 and P99 are how long requests took, at most 5 % too high.
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
}

// summarize turns counts into a summary.
func summarize(c counts, took time.Duration, visitors, replicasMax int, p Purge) Summary {
	s := Summary{
		Duration:        unit.Duration(took.Round(time.Millisecond)),
		Visitors:        visitors,
		Requests:        c.requests,
		Failures:        c.failures,
		FailuresSeen:    append([]string{}, c.described...),
		HitRatio:        rounded(c.hitRatio(), 4),
		Hits:            c.hits,
		Misses:          c.misses,
		Bypassed:        c.bypassed,
		StaleServed:     c.stale,
		StaleAfterPurge: c.outdated,
		PagesV1:         c.pages[before],
		PagesV2:         c.pages[after],
		ReplicasMax:     replicasMax,
		Purge:           p,
		SSEEvents:       c.events,
		WebSocketEchoes: c.echoes,
		P50:             milliseconds(c.latency.quantile(0.50)),
		P99:             milliseconds(c.latency.quantile(0.99)),
	}
	if s.Purge.Steps == nil {
		s.Purge.Steps = []string{}
	}
	seen := s.PagesV1 > 0 && s.PagesV2 > 0 && s.SSEEvents > 0 && s.WebSocketEchoes > 0
	s.OK = s.Failures == 0 && s.StaleAfterPurge == 0 && s.Purge.Exit == 0 && seen
	return s
}

func milliseconds(d time.Duration) float64 {
	return rounded(float64(d)/float64(time.Millisecond), 2)
}

func rounded(x float64, digits int) float64 {
	scale := math.Pow10(digits)
	return math.Round(x*scale) / scale
}

// print writes the summary for people, or as one JSON object.
func (s Summary) print(w io.Writer, asJSON bool) error {
	if !asJSON {
		_, err := io.WriteString(w, s.text())
		return err
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(s)
}

func (s Summary) text() string {
	var b strings.Builder
	verdict := "ok: nobody saw a failure, and no old page after the purge"
	if !s.OK {
		verdict = "NOT OK"
	}
	fmt.Fprintf(&b, "\n%s\n", verdict)
	for _, line := range []struct{ name, value string }{
		{"requests", fmt.Sprintf("%d by %d visitors in %s, p50 %g ms, p99 %g ms", s.Requests, s.Visitors, s.Duration, s.P50, s.P99)},
		{"failures", fmt.Sprint(s.Failures)},
		{"old pages", fmt.Sprintf("%d after the purge (%d of %s and %d of %s seen in all)", s.StaleAfterPurge, s.PagesV1, before, s.PagesV2, after)},
		{"cache", fmt.Sprintf("hit ratio %.1f %% (%d hits, %d misses, %d bypassed, %d stale as allowed)", 100*s.HitRatio, s.Hits, s.Misses, s.Bypassed, s.StaleServed)},
		{"replicas", fmt.Sprintf("at most %d", s.ReplicasMax)},
		{"purge", s.Purge.text()},
		{"streams", fmt.Sprintf("%d events, %d echoes", s.SSEEvents, s.WebSocketEchoes)},
	} {
		fmt.Fprintf(&b, "  %-10s %s\n", line.name, line.value)
	}
	for _, failure := range s.FailuresSeen {
		fmt.Fprintf(&b, "  failure: %s\n", failure)
	}
	return b.String()
}

// text is the purge in one line.
func (p Purge) text() string {
	if p.ID == "" {
		return p.Error
	}
	line := fmt.Sprintf("%s %s, exit %d, %d calls to Cloudflare", p.ID, p.State, p.Exit, p.CloudflareCalls)
	if len(p.Steps) > 0 {
		line += ": " + strings.Join(p.Steps, ", ")
	}
	if p.Error != "" {
		line += "; " + p.Error
	}
	return line
}
