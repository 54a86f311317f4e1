package purge

import (
	"context"
	"fmt"
	"strings"
)

// Warmer fills the caches that a purge has emptied.
type Warmer interface {
	// Warm fetches what the order wants fetched, until that is done or ctx is.
	// What fails is counted: a cold cache is no fault of a purge.
	Warm(ctx context.Context, o Order) []Warmed
}

// Warmed counts what became of the URLs that were fetched in one way.
type Warmed struct {
	// Via is node or cdn, for the URLs of Warm; hottest, for those that this
	// node chose.
	Via string `json:"via"`
	// Hit were there already; Miss were fetched; Failed got no answer, or one
	// of 500 and above; Skipped were not asked for, and Note says why.
	Hit     int    `json:"hit"`
	Miss    int    `json:"miss"`
	Failed  int    `json:"failed"`
	Skipped int    `json:"skipped,omitempty"`
	Note    string `json:"note,omitempty"`
}

// String is for people.
func (w Warmed) String() string {
	text := fmt.Sprintf("%s: %d hit, %d miss, %d failed", w.Via, w.Hit, w.Miss, w.Failed)
	if w.Skipped > 0 {
		text += fmt.Sprintf(", %d skipped", w.Skipped)
	}
	if w.Note != "" {
		text += " (" + w.Note + ")"
	}
	return text
}

const (
	maxWarm = 1000 // URLs
	// hottest is how many copies a soft purge has refreshed.
	hottest = 100
)

// WarmURLs gives the URLs to be fetched as an order has them, or every mistake
// in them.
func WarmURLs(urls []string) ([]string, error) {
	var m mistakes
	clean := m.warm(urls)
	return clean, m.join()
}

func (m *mistakes) warm(urls []string) []string {
	clean := m.cleanEach("warm", urls, cleanURL)
	if len(clean) > maxWarm {
		m.add(&Mistake{"warm", fmt.Sprint(len(clean)), fmt.Sprintf("at most %d URLs", maxWarm)})
	}
	return clean
}

// warms reports whether there is anything to be fetched.
func (o Order) warms() bool { return len(o.Warm) > 0 || o.Hottest > 0 }

// warm fetches for as long as the settings allow.
func (x *run) warm(ctx context.Context, p *Parts) (string, error) {
	if p.Warmer == nil {
		return "skipped: this gateway has no site any more", nil
	}
	bounded, cancel := context.WithTimeoutCause(ctx, p.Settings.WarmFor.D(), fmt.Errorf("not within %s", p.Settings.WarmFor))
	defer cancel()
	warmed := p.Warmer.Warm(bounded, x.record.Order)
	if ended(ctx) {
		return "", context.Cause(ctx)
	}
	x.change(func(r *Record) { r.Warmed = warmed })
	var parts []string
	for _, w := range warmed {
		parts = append(parts, w.String())
	}
	return strings.Join(parts, "; "), nil
}
