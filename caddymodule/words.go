package caddymodule

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/edgegw/edge/internal/named"
	"github.com/edgegw/edge/internal/unit"
)

// words maps each word that a block knows to what reads its arguments. A
// reader stands on its word and must leave the dispenser on the last token
// that it used.
type words map[string]func(d *caddyfile.Dispenser) error

// readBlock reads the block that follows the current token. It returns every
// mistake at once, each with file and line; after one it goes on with the next
// line.
func readBlock(d *caddyfile.Dispenser, known words) error {
	var errs []error
	seen := make(map[string]int)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		word, line := d.Val(), d.Line()
		read, ok := known[word]
		if !ok {
			errs = append(errs, d.Errf("unknown word %q: want one of %s",
				word, strings.Join(slices.Sorted(maps.Keys(known)), ", ")))
			skipSegment(d)
			continue
		}
		if before := seen[word]; before != 0 && !repeatable[word] {
			errs = append(errs, d.Errf("%s: already given on line %d: give it once", word, before))
		}
		seen[word] = line
		segment := d.NewFromNextSegment()
		segment.Next()
		if err := read(segment); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// each says where each of the joined mistakes is, which the text of one for all
// would say of the first or the last only.
func each(err error, place func(error) error) error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || !strings.Contains(err.Error(), "\n") {
		return place(err)
	}
	var errs []error
	for _, mistake := range joined.Unwrap() {
		errs = append(errs, each(mistake, place))
	}
	return errors.Join(errs...)
}

// repeatable names the words that may stand on several lines.
var repeatable = map[string]bool{"pool": true, "cdn": true, "discover": true, "tag": true, "without_cookie": true, "token": true, "caller": true, "zone_id": true}

// skipSegment leaves out the rest of an unknown line and its block.
func skipSegment(d *caddyfile.Dispenser) {
	d.NextSegment()
}

// text reads one argument.
func text(to *string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		word := d.Val()
		args := d.RemainingArgs()
		if len(args) != 1 {
			return d.Errf("%s: got %d arguments: want one", word, len(args))
		}
		*to = args[0]
		return noBlock(d, word)
	}
}

// texts reads one or more arguments and appends them.
func texts(to *[]string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		word := d.Val()
		args := d.RemainingArgs()
		if len(args) == 0 {
			return d.Errf("%s: got no argument: want at least one", word)
		}
		*to = append(*to, args...)
		return noBlock(d, word)
	}
}

// alone reads a word that stands alone.
func alone(to *bool) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		word := d.Val()
		if args := d.RemainingArgs(); len(args) != 0 {
			return d.Errf("%s: spare argument %q: it stands alone", word, args[0])
		}
		*to = true
		return noBlock(d, word)
	}
}

// parsed reads one argument through a parser such as unit.ParseDuration.
func parsed[T any](to *T, parse func(string) (T, error)) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		word := d.Val()
		var value string
		if err := text(&value)(d); err != nil {
			return err
		}
		v, err := parse(value)
		if err != nil {
			return d.Errf("%s %v", word, err)
		}
		*to = v
		return nil
	}
}

// parsedList reads one or more arguments through a parser, and names each that
// it does not take.
func parsedList[T any](to *[]T, parse func(string) (T, error)) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		word := d.Val()
		var values []string
		if err := texts(&values)(d); err != nil {
			return err
		}
		var errs []error
		for _, value := range values {
			v, err := parse(value)
			if err != nil {
				errs = append(errs, d.Errf("%s %v", word, err))
			}
			*to = append(*to, v)
		}
		return errors.Join(errs...)
	}
}

func duration(to *unit.Duration) func(*caddyfile.Dispenser) error {
	return parsed(to, positive(unit.ParseDuration))
}

func size(to *unit.Bytes) func(*caddyfile.Dispenser) error {
	return parsed(to, positive(unit.ParseBytes))
}

func ratio(to *unit.Ratio) func(*caddyfile.Dispenser) error {
	return parsed(to, positive(unit.ParseRatio))
}

// positive refuses zero, which stands for the default in engines: an operator
// who writes it means something else.
func positive[T ~int64 | ~float64](parse func(string) (T, error)) func(string) (T, error) {
	return func(text string) (T, error) {
		value, err := parse(text)
		if err == nil && value == 0 {
			err = fmt.Errorf("%q: want more than zero, or leave the line out for the default", text)
		}
		return value, err
	}
}

// count reads a whole number of at least one.
func count(to *int) func(*caddyfile.Dispenser) error {
	return parsed(to, func(s string) (int, error) {
		var n int
		if _, err := fmt.Sscanf(s, "%d", &n); err != nil || fmt.Sprint(n) != s || n < 1 {
			return 0, fmt.Errorf("%q: want a whole number of at least 1", s)
		}
		return n, nil
	})
}

// countOrNone reads a whole number of at least one, or "none", which engines
// know as -1.
func countOrNone(to *int) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		if next := *d; next.NextArg() && next.Val() == "none" {
			*to = -1
			return text(new(string))(d)
		}
		return count(to)(d)
	}
}

// spec reads a name, its arguments, and a block of options, each option a word
// and its values.
func spec(d *caddyfile.Dispenser) (named.Spec, error) {
	word := d.Val()
	if !d.NextArg() {
		return named.Spec{}, d.Errf("%s: got no argument: want a name", word)
	}
	s := named.Spec{Name: d.Val(), Args: d.RemainingArgs()}
	if len(s.Args) == 0 {
		s.Args = nil
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if s.Options == nil {
			s.Options = make(map[string][]string)
		}
		option := d.Val()
		s.Options[option] = append(s.Options[option], d.RemainingArgs()...)
	}
	return s, nil
}

func noBlock(d *caddyfile.Dispenser, word string) error {
	if d.NextBlock(0) {
		return d.Errf("%s: spare block: it takes none", word)
	}
	return nil
}
