package httpcache

import (
	"strings"

	"github.com/edgegw/edge/internal/cacherules"
)

// maxDelta is what longer delta-seconds count as (RFC 9111, 1.2.2).
const maxDelta = 1 << 31

// parseTargeted reads a targeted cache-control field such as CDN-Cache-Control
// (RFC 9213): a Dictionary of RFC 9651, all or nothing. It reports false when
// the field is empty, breaks the grammar, or gives a directive that we know a
// value of the wrong type; then the field counts as absent (RFC 9213, 2.1).
func parseTargeted(lines []string) (cacherules.Directives, bool) {
	var d cacherules.Directives
	p := structuredParser{rest: strings.Trim(strings.Join(lines, ","), " \t")}
	if p.rest == "" {
		return d, false
	}
	members := make(map[string]item)
	for {
		key, ok := p.key()
		if !ok {
			return d, false
		}
		value := item{kind: 'b', truth: true}
		if p.take('=') {
			if value, ok = p.member(); !ok {
				return d, false
			}
		}
		if !p.parameters() {
			return d, false
		}
		members[key] = value // the last of several counts: RFC 9651, 4.2.2
		p.blanks()
		if p.rest == "" {
			return applyMembers(members)
		}
		if !p.take(',') {
			return d, false
		}
		p.blanks()
	}
}

// parseStrings reads a List of Strings (RFC 9651, 4.2.1), such as Cache-Groups.
// Parameters are ignored. It reports false unless every member is a string.
func parseStrings(lines []string) ([]string, bool) {
	var out []string
	p := structuredParser{rest: strings.Trim(strings.Join(lines, ","), " ")}
	if p.rest == "" {
		return nil, true
	}
	for {
		one, ok := p.member()
		if !ok || one.kind != 's' || !p.parameters() {
			return nil, false
		}
		out = append(out, one.text)
		p.blanks()
		if p.rest == "" {
			return out, true
		}
		if !p.take(',') {
			return nil, false
		}
		p.blanks()
		if p.rest == "" {
			return nil, false // a trailing comma
		}
	}
}

// item is a bare item: kind i integer, d decimal, s string, t token, b boolean,
// o other (byte sequence, date, display string), l inner list.
type item struct {
	kind  byte
	n     int64
	truth bool
	text  string // of strings
}

func applyMembers(members map[string]item) (cacherules.Directives, bool) {
	var d cacherules.Directives
	flags := map[string]*bool{
		"no-store": &d.NoStore, "private": &d.Private, "no-cache": &d.NoCache,
		"must-revalidate": &d.MustRevalidate, "proxy-revalidate": &d.ProxyRevalidate,
		"public": &d.Public, "must-understand": &d.MustUnderstand, "immutable": &d.Immutable,
		"no-transform": &d.NoTransform,
	}
	seconds := map[string]*cacherules.Seconds{
		"max-age": &d.MaxAge, "s-maxage": &d.SMaxAge,
		"stale-while-revalidate": &d.StaleWhileRevalidate, "stale-if-error": &d.StaleIfError,
	}
	for key, value := range members {
		if flag := flags[key]; flag != nil {
			// The forms with field names come as strings; they count as the
			// forms without, the stricter reading.
			if value.kind != 'b' && value.kind != 's' {
				return d, false
			}
			*flag = value.kind == 's' || value.truth
		}
		if field := seconds[key]; field != nil {
			if value.kind != 'i' || value.n < 0 {
				return d, false
			}
			*field = cacherules.Seconds{Set: true, N: min(value.n, maxDelta)}
		}
	}
	return d, true
}

// structuredParser walks through RFC 9651, 4.2.
type structuredParser struct{ rest string }

func (p *structuredParser) take(c byte) bool {
	if p.rest != "" && p.rest[0] == c {
		p.rest = p.rest[1:]
		return true
	}
	return false
}

func (p *structuredParser) blanks() { p.rest = strings.TrimLeft(p.rest, " \t") }

// while cuts off the longest start of which every byte is fine.
func (p *structuredParser) while(fine func(byte) bool) string {
	n := 0
	for n < len(p.rest) && fine(p.rest[n]) {
		n++
	}
	text := p.rest[:n]
	p.rest = p.rest[n:]
	return text
}

func (p *structuredParser) key() (string, bool) {
	if p.rest == "" || !isLower(p.rest[0]) && p.rest[0] != '*' {
		return "", false
	}
	return p.while(func(c byte) bool {
		return isLower(c) || isDigit(c) || strings.IndexByte("_-.*", c) >= 0
	}), true
}

// member reads an item or an inner list, without its parameters.
func (p *structuredParser) member() (item, bool) {
	if !p.take('(') {
		return p.bareItem()
	}
	for {
		p.rest = strings.TrimLeft(p.rest, " ")
		if p.take(')') {
			return item{kind: 'l'}, true
		}
		if _, ok := p.bareItem(); !ok || !p.parameters() {
			return item{}, false
		}
		if p.rest == "" || p.rest[0] != ' ' && p.rest[0] != ')' {
			return item{}, false
		}
	}
}

func (p *structuredParser) parameters() bool {
	for p.take(';') {
		p.rest = strings.TrimLeft(p.rest, " ")
		if _, ok := p.key(); !ok {
			return false
		}
		if p.take('=') {
			if _, ok := p.bareItem(); !ok {
				return false
			}
		}
	}
	return true
}

func (p *structuredParser) bareItem() (item, bool) {
	if p.rest == "" {
		return item{}, false
	}
	switch c := p.rest[0]; {
	case c == '-' || isDigit(c):
		return p.number()
	case c == '"':
		return p.text()
	case c == '*' || isLower(c|0x20):
		p.while(func(c byte) bool {
			return isLower(c|0x20) || isDigit(c) || strings.IndexByte("!#$%&'*+-.^_`|~:/", c) >= 0
		})
		return item{kind: 't'}, true
	case c == ':':
		return p.enclosed(":", func(c byte) bool {
			return isLower(c|0x20) || isDigit(c) || strings.IndexByte("+/=", c) >= 0
		}, ":")
	case c == '%':
		return p.enclosed(`%"`, func(c byte) bool { return c >= ' ' && c < 0x7f && c != '"' }, `"`)
	case c == '@':
		p.take('@')
		n, ok := p.number()
		return item{kind: 'o'}, ok && n.kind == 'i'
	case c == '?':
		p.take('?')
		truth := p.take('1')
		return item{kind: 'b', truth: truth}, truth || p.take('0')
	}
	return item{}, false
}

// enclosed reads a byte sequence or display string. Its content is of no use
// to a directive, so only its extent is checked.
func (p *structuredParser) enclosed(open string, fine func(byte) bool, end string) (item, bool) {
	rest, found := strings.CutPrefix(p.rest, open)
	if !found {
		return item{}, false
	}
	p.rest = rest
	p.while(fine)
	return item{kind: 'o'}, p.take(end[0])
}

// number reads an integer of up to 15 digits, or a decimal of up to 12 digits
// and 3 after the point (RFC 9651, 4.2.4).
func (p *structuredParser) number() (item, bool) {
	negative := p.take('-')
	whole := p.while(isDigit)
	if whole == "" || len(whole) > 15 {
		return item{}, false
	}
	if p.take('.') {
		fraction := p.while(isDigit)
		return item{kind: 'd'}, len(whole) <= 12 && fraction != "" && len(fraction) <= 3
	}
	var n int64
	for i := range len(whole) {
		n = n*10 + int64(whole[i]-'0')
	}
	if negative {
		n = -n
	}
	return item{kind: 'i', n: n}, true
}

func (p *structuredParser) text() (item, bool) {
	p.take('"')
	whole := p.rest
	for p.rest != "" {
		c := p.rest[0]
		p.rest = p.rest[1:]
		switch {
		case c == '"':
			return item{kind: 's', text: unescaped(whole[:len(whole)-len(p.rest)-1])}, true
		case c == '\\':
			if !p.take('"') && !p.take('\\') {
				return item{}, false
			}
		case c < ' ' || c >= 0x7f:
			return item{}, false
		}
	}
	return item{}, false
}

// unescaped is the content of a valid string (RFC 9651, 4.2.5).
func unescaped(text string) string {
	if strings.IndexByte(text, '\\') < 0 {
		return text
	}
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' {
			i++
		}
		out = append(out, text[i])
	}
	return string(out)
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }
