// Package unit holds the units that operators write: durations, byte sizes and
// ratios. Each parses from text with an error that says what would be right,
// and stands in JSON as the same text.
package unit

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration that also reads days, as in 7d, and stands in
// JSON as text such as "1h30m". A JSON number is read as nanoseconds.
type Duration time.Duration

// longest is a hundred years: more than anybody means, and in text, in days or
// in hours, what the others read again.
const longest = 36500 * 24 * time.Hour

// ParseDuration reads "10s", "1h30m", "1d", "7d12h" or "0". Negative values, and
// those above 36500d, are errors.
func ParseDuration(text string) (Duration, error) {
	days, rest, found := strings.Cut(text, "d")
	var total time.Duration
	if found {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil || n < 0 || math.IsNaN(n) {
			return 0, durationError(text)
		}
		if n > longest.Hours()/24 {
			return 0, tooLong(text)
		}
		total = time.Duration(n * 24 * float64(time.Hour))
	} else {
		rest = text
	}
	if rest == "" && found {
		return Duration(total), nil
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 {
		return 0, durationError(text)
	}
	if d > longest-total {
		return 0, tooLong(text)
	}
	return Duration(total + d), nil
}

func durationError(text string) error {
	return fmt.Errorf("%q: want a duration such as 500ms, 10s, 5m, 1h or 7d", text)
}

func tooLong(text string) error {
	return fmt.Errorf("%q: want a duration such as 1h or 7d, and of at most 36500d", text)
}

// D is the standard library's form.
func (d Duration) D() time.Duration { return time.Duration(d) }

// Or is d, or the fallback when d is zero.
func (d Duration) Or(fallback time.Duration) time.Duration {
	if d == 0 {
		return fallback
	}
	return time.Duration(d)
}

// String writes whole days as days and drops zero minutes and seconds.
func (d Duration) String() string {
	t := time.Duration(d)
	if t >= 24*time.Hour && t%(24*time.Hour) == 0 {
		return strconv.FormatInt(int64(t/(24*time.Hour)), 10) + "d"
	}
	s := t.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// MarshalText writes the same text that ParseDuration reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalJSON reads text, or a number of nanoseconds.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var n int64
	if json.Unmarshal(data, &n) == nil {
		if n < 0 {
			return durationError(string(data))
		}
		if n > int64(longest) {
			return tooLong(string(data))
		}
		*d = Duration(n)
		return nil
	}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return durationError(string(data))
	}
	parsed, err := ParseDuration(text)
	*d = parsed
	return err
}

// Bytes is a size in bytes; it stands in JSON as text such as "512MiB". A JSON
// number is read as bytes.
type Bytes int64

var byteUnits = []struct {
	suffix string
	size   int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
	{"k", 1 << 10}, {"m", 1 << 20}, {"g", 1 << 30}, {"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30},
	{"B", 1},
}

// ParseBytes reads "512MiB", "2GB", "64k" or a plain number of bytes.
func ParseBytes(text string) (Bytes, error) {
	number, size := text, int64(1)
	for _, u := range byteUnits {
		if rest, ok := strings.CutSuffix(text, u.suffix); ok {
			number, size = strings.TrimSpace(rest), u.size
			break
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(n) || n < 0 || n*float64(size) >= math.MaxInt64 {
		return 0, fmt.Errorf("%q: want a size such as 64KiB, 512MiB or 2GB", text)
	}
	return Bytes(n * float64(size)), nil
}

// Or is b, or the fallback when b is zero.
func (b Bytes) Or(fallback int64) int64 {
	if b == 0 {
		return fallback
	}
	return int64(b)
}

// String writes the largest binary unit that divides b.
func (b Bytes) String() string {
	for _, u := range []struct {
		suffix string
		size   int64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if b != 0 && int64(b)%u.size == 0 {
			return strconv.FormatInt(int64(b)/u.size, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// MarshalText writes the same text that ParseBytes reads.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalJSON reads text, or a number of bytes.
func (b *Bytes) UnmarshalJSON(data []byte) error {
	text := string(data)
	if err := json.Unmarshal(data, &text); err != nil {
		text = string(data)
	}
	parsed, err := ParseBytes(text)
	*b = parsed
	return err
}

// Ratio is a share between 0 and 1. It reads "20%" and "0.2"; in JSON it is a
// number, or the same text.
type Ratio float64

// ParseRatio reads "20%" or "0.2".
func ParseRatio(text string) (Ratio, error) {
	number, percent := strings.CutSuffix(text, "%")
	n, err := strconv.ParseFloat(number, 64)
	if percent {
		n /= 100
	}
	if err != nil || math.IsNaN(n) || n < 0 || n > 1 {
		return 0, fmt.Errorf("%q: want a share such as 20%% or 0.2", text)
	}
	return Ratio(n), nil
}

// Or is r, or the fallback when r is zero.
func (r Ratio) Or(fallback float64) float64 {
	if r == 0 {
		return fallback
	}
	return float64(r)
}

// UnmarshalJSON reads a number between 0 and 1, or text.
func (r *Ratio) UnmarshalJSON(data []byte) error {
	text := string(data)
	if err := json.Unmarshal(data, &text); err != nil {
		text = string(data)
	}
	parsed, err := ParseRatio(text)
	*r = parsed
	return err
}
