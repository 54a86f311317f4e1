package cacherules

import (
	"fmt"
	"strconv"
	"time"

	"github.com/edgegw/edge/internal/unit"
)

// Lifetime is a duration that may be unsaid. As text, in JSON too, it is a
// duration in whole seconds such as "1h" or "7d", or "none" for zero. JSON
// leaves it out when unsaid, given omitzero.
type Lifetime struct {
	// Set reports whether the operator wrote a lifetime at all.
	Set bool
	// D is the lifetime; zero with Set means "always revalidate".
	D unit.Duration
}

// For is a lifetime that is said.
func For(d time.Duration) Lifetime { return Lifetime{Set: true, D: unit.Duration(d)} }

// ParseLifetime reads "none" or a duration in whole seconds: HTTP knows no
// fractions of them (RFC 9111, 1.2.2).
func ParseLifetime(text string) (Lifetime, error) {
	if text == "none" {
		return For(0), nil
	}
	d, err := unit.ParseDuration(text)
	if err != nil || d.D()%time.Second != 0 {
		return Lifetime{}, fmt.Errorf("%q: want none, or whole seconds such as 30s, 10m, 1h or 7d", text)
	}
	return For(d.D()), nil
}

// String is the text that ParseLifetime reads; empty when unsaid.
func (l Lifetime) String() string {
	switch {
	case !l.Set:
		return ""
	case l.D == 0:
		return "none"
	}
	return l.D.String()
}

// MarshalText writes what UnmarshalText reads.
func (l Lifetime) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what ParseLifetime does. Empty text is unsaid.
func (l *Lifetime) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*l = Lifetime{}
		return nil
	}
	parsed, err := ParseLifetime(string(text))
	*l = parsed
	return err
}

// or is l, or the fallback where the operator said nothing.
func (l Lifetime) or(fallback Lifetime) Lifetime {
	if l.Set {
		return l
	}
	return fallback
}

// deltaSecondsOf writes a duration as HTTP does, 2³¹ at most (RFC 9111, 1.2.2).
func deltaSecondsOf(d unit.Duration) string {
	return strconv.FormatInt(min(int64(d.D()/time.Second), maxSeconds), 10)
}
