package cacherules

import (
	"net/textproto"
	"strings"
)

// maxSeconds is what longer delta-seconds count as: RFC 9111, 1.2.2.
const maxSeconds = 1 << 31

// Seconds is the argument of a directive that takes delta-seconds.
type Seconds struct {
	// Set reports whether the directive was there at all.
	Set bool
	// Invalid reports an argument that is no non-negative integer, or none
	// where one is needed. N is zero then: RFC 9111, 4.2.1, encourages caches
	// to take a response with invalid freshness information for stale.
	Invalid bool
	// N is the number of seconds, at most 2³¹.
	N int64
}

// Directives is what the Cache-Control field of a request or a response says
// (RFC 9111, 5.2; RFC 5861; RFC 8246). Unknown directives leave no trace.
type Directives struct {
	NoStore bool
	// Private and NoCache are the forms without field names, which are about
	// the whole response. PrivateFields and NoCacheFields hold the names of the
	// qualified forms, such as private="set-cookie". An argument that is no
	// list of field names counts as the form without: the stricter reading.
	Private         bool
	NoCache         bool
	MustRevalidate  bool
	ProxyRevalidate bool
	Public          bool
	Immutable       bool
	MustUnderstand  bool
	OnlyIfCached    bool
	NoTransform     bool

	MaxAge               Seconds
	SMaxAge              Seconds
	StaleWhileRevalidate Seconds
	StaleIfError         Seconds
	MinFresh             Seconds
	// MaxStale without an argument accepts any staleness (RFC 9111, 5.2.1.2):
	// its N is 2³¹ then.
	MaxStale Seconds

	// NoCacheFields and PrivateFields are in canonical form, such as Set-Cookie.
	NoCacheFields []string
	PrivateFields []string
}

// directive is one member of the field as it was written.
type directive struct {
	name     string
	argument string
	// assigned reports an equals sign; an empty argument differs from none.
	assigned bool
	// broken reports a member that the grammar does not allow. It may still
	// forbid something; it grants nothing.
	broken bool
}

// ParseDirectives reads the field lines of a Cache-Control field, in order.
//
//   - Names are compared without regard to case; arguments may be tokens or
//     quoted strings, whichever a directive asks for (RFC 9111, 5.2).
//   - The first of several directives with delta-seconds counts, even if it is
//     invalid (RFC 9111, 4.2.1); flags and field names add up.
//   - Empty members are skipped (RFC 9110, 5.6.1.2).
//   - A member that breaks the grammar (a blank around the equals sign, junk
//     after a quoted string, a quoted string without an end) forbids what it
//     names but grants nothing: its seconds are invalid.
func ParseDirectives(values []string) Directives {
	var d Directives
	for _, line := range values {
		unclosed := false
		for line != "" {
			var one directive
			one, line, unclosed = nextDirective(line, unclosed)
			if one.name != "" {
				d.add(one)
			}
		}
	}
	return d
}

// nextDirective cuts the first member off the line. A quoted string without an
// end cannot be told from what follows it, so the rest of such a line is cut
// at every comma, and all of it is broken.
func nextDirective(line string, unclosed bool) (one directive, rest string, stillUnclosed bool) {
	end := strings.IndexAny(line, ",=")
	if end < 0 || line[end] == ',' {
		member, rest := cutAt(line, end)
		return directive{name: trim(member), broken: unclosed}, rest, unclosed
	}
	name, after := line[:end], strings.TrimLeft(line[end+1:], " \t")
	one = directive{name: trim(name), assigned: true, broken: unclosed}
	if strings.TrimRight(name, " \t") != name || len(after) != len(line)-end-1 {
		one.broken = true
	}
	if strings.HasPrefix(after, `"`) && !unclosed {
		if text, tail, ok := unquote(after); ok {
			junk, rest := cutAt(tail, strings.IndexByte(tail, ','))
			one.argument, one.broken = text, one.broken || trim(junk) != ""
			return one, rest, false
		}
		one.broken, unclosed = true, true
	}
	argument, rest := cutAt(after, strings.IndexByte(after, ','))
	one.argument = trim(argument)
	return one, rest, unclosed
}

// cutAt splits at the separator at index i; below zero means there is none.
func cutAt(s string, i int) (before, after string) {
	if i < 0 {
		return s, ""
	}
	return s[:i], s[i+1:]
}

func trim(s string) string { return strings.Trim(s, " \t") }

// unquote reads the quoted string that s begins with (RFC 9110, 5.6.4). It
// reports false when the closing quote is missing.
func unquote(s string) (text, rest string, ok bool) {
	var unescaped []byte
	start := 1
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			if unescaped == nil {
				return s[1:i], s[i+1:], true
			}
			return string(append(unescaped, s[start:i]...)), s[i+1:], true
		case '\\':
			unescaped = append(unescaped, s[start:i]...)
			start = i + 1
			i++
		}
	}
	return "", "", false
}

func (d *Directives) add(one directive) {
	switch strings.ToLower(one.name) {
	case "no-store":
		d.NoStore = true
	case "private":
		d.Private = addFields(&d.PrivateFields, one) || d.Private
	case "no-cache":
		d.NoCache = addFields(&d.NoCacheFields, one) || d.NoCache
	case "proxy-revalidate":
		d.ProxyRevalidate = true
	case "only-if-cached":
		d.OnlyIfCached = true
	case "no-transform":
		d.NoTransform = true
	case "must-revalidate":
		// Broken: RFC 9111, 3.5, lets must-revalidate permit the storing of
		// authorized responses, but forgetting it would permit stale ones.
		d.MustRevalidate = true
	case "public":
		d.Public = d.Public || !one.broken
	case "immutable":
		d.Immutable = d.Immutable || !one.broken
	case "must-understand":
		// It may lift no-store (RFC 9111, 5.2.2.3), hence it grants.
		d.MustUnderstand = d.MustUnderstand || !one.broken
	case "max-age":
		d.MaxAge.set(one)
	case "s-maxage":
		d.SMaxAge.set(one)
	case "stale-while-revalidate":
		d.StaleWhileRevalidate.set(one)
	case "stale-if-error":
		d.StaleIfError.set(one)
	case "min-fresh":
		d.MinFresh.set(one)
	case "max-stale":
		if !one.assigned && !one.broken && !d.MaxStale.Set {
			d.MaxStale = Seconds{Set: true, N: maxSeconds}
			return
		}
		d.MaxStale.set(one)
	}
}

func (s *Seconds) set(one directive) {
	if s.Set {
		return
	}
	n, ok := deltaSeconds(one.argument)
	*s = Seconds{Set: true, Invalid: !ok || one.broken}
	if !s.Invalid {
		s.N = n
	}
}

// deltaSeconds reads digits and nothing else (RFC 9111, 1.2.2).
func deltaSeconds(text string) (int64, bool) {
	var n int64
	for i := range len(text) {
		digit := text[i] - '0'
		if digit > 9 {
			return 0, false
		}
		n = min(n*10+int64(digit), maxSeconds)
	}
	return n, text != ""
}

// addFields adds the field names of a qualified directive. It reports true
// when the directive is about the whole response instead.
func addFields(fields *[]string, one directive) (whole bool) {
	if !one.assigned || one.broken {
		return true
	}
	var names []string
	for name := range strings.SplitSeq(one.argument, ",") {
		name = trim(name)
		if name == "" {
			continue
		}
		if !isToken(name) {
			return true
		}
		names = append(names, textproto.CanonicalMIMEHeaderKey(name))
	}
	*fields = append(*fields, names...)
	return len(names) == 0
}

// isToken reports a token of RFC 9110, 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c|0x20 && c|0x20 <= 'z'
		digit := '0' <= c && c <= '9'
		if !letter && !digit && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}
